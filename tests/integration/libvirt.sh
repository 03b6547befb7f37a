# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2034
#
# For tests with domains of a real libvirt; sourced after lib.sh. Each host of the test ($host, see
# `on`) may have a libvirt of its own, with directories of its own in a mount namespace of its own,
# reached from outside by its URI. Domains are the small guest; log_file, witness_ok, tell and their
# like work on them as on guests, whether vmckpt knows them or not.

PATH=$PATH:/usr/sbin:/sbin
unshare -m true 2>/dev/null || skip "a libvirt of its own needs root"
for program in libvirtd virtlogd virsh; do
  command -v "$program" >/dev/null || skip "no $program"
done
LIBVIRT_PLACES='etc:/etc lib:/var/lib log:/var/log cache:/var/cache run:/run'

# The URI of this host's libvirt.
libvirt_uri() { echo "qemu+unix:///system?socket=$T/$host/libvirt/run/libvirt-sock"; }

# v ARGUMENT...: virsh, to this host's libvirt.
v() { virsh -q -c "$(libvirt_uri)" "$@"; }

# start_libvirt: on this host. After connect_hosts it is in the host's network and listens there.
start_libvirt() {
  local d=$T/$host/libvirt
  if [ ! -d "$d" ]; then
    mkdir -p "$d"/{etc,lib,log,cache,run}
    write_configuration "$d"
  fi
  manager_lives virtlogd || start_manager virtlogd "$d/run/virtlogd-sock"
  start_manager libvirtd "$d/run/libvirt-sock"
  within 30 v list >/dev/null 2>&1 || skip "libvirtd does not work here: $(tail -n 5 "$d/libvirtd.out")"
}

manager_lives() { kill -0 "$(cat "$T/$host/libvirt/$1.pid" 2>/dev/null || echo 0x)" 2>/dev/null; }

# QEMU is root, as background snapshots need it. LIBVIRT_STOCK=yes: as libvirt comes, QEMU is a user of
# its own, confined to its own mounts and by seccomp. LIBVIRT_QEMU_CONF: more lines of qemu.conf.
write_configuration() {
  local address
  echo 'cgroup_controllers = []' >"$1/etc/qemu.conf"
  if [ "${LIBVIRT_STOCK:-}" = yes ]; then
    chmod 711 "$T" # disks are there; names are not for that user, nor may the build directory be
    mkdir -p "$T/boot"
    cp "$GUEST/vmlinuz" "$GUEST/initrd" "$T/boot"
    chmod 644 "$T/boot"/*
    GUEST=$T/boot
  else
    cat >>"$1/etc/qemu.conf" <<'C'
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
seccomp_sandbox = 0
C
  fi
  echo "${LIBVIRT_QEMU_CONF:-}" >>"$1/etc/qemu.conf"
  cat >"$1/etc/libvirtd.conf" <<C
host_uuid = "$(cat /proc/sys/kernel/random/uuid)"
auth_unix_rw = "none"
log_outputs = "3:file:$1/libvirtd.log"
C
  echo 'max_size = 0' >"$1/etc/virtlogd.conf"
  if address=$(host_address); then
    printf 'migration_address = "%s"\nmigration_host = "%s"\n' "$address" "$address" >>"$1/etc/qemu.conf"
    printf 'listen_tls = 0\nlisten_tcp = 1\nlisten_addr = "%s"\nauth_tcp = "none"\n' "$address" >>"$1/etc/libvirtd.conf"
  fi
}

# start_manager PROGRAM SOCKET: in this host's namespaces.
start_manager() {
  local d=$T/$host/libvirt listen=() network=() modules=
  [ "$QEMU" != 10.0 ] || modules=$(dirname "$QEMU_PROGRAM")/usr/lib/x86_64-linux-gnu/qemu
  if host_address >/dev/null; then
    network=(nsenter "--net=/run/netns/$(host_network)")
    [ "$1" = virtlogd ] || listen=(--listen)
  fi
  rm -f "$2"
  # shellcheck disable=SC2016
  D=$d MODULES=$modules setsid "${network[@]}" unshare -m -u --propagation private bash -c '
    for place in '"$LIBVIRT_PLACES"'; do
      mkdir -p "${place#*:}/libvirt"
      mount --bind "$D/${place%%:*}" "${place#*:}/libvirt" || exit 1
    done
    # libvirt asks QEMU for all types, which loads all modules: those of the installed QEMU end another.
    [ -z "$MODULES" ] || mount --bind "$MODULES" "/usr/${MODULES##*/usr/}" || exit 1
    hostname "$0"
    program=$1
    shift
    unset VMCKPT_TEST_DIR MODULES
    exec "$program" -p "$D/$program.pid" "$@"' \
    "$host" "$1" "${listen[@]}" >>"$d/$1.out" 2>&1 </dev/null &
  disown
  within 30 test -S "$2" || skip "$1 does not start here: $(tail -n 5 "$d/$1.out")"
}

libvirtd_pid() { cat "$T/$host/libvirt/libvirtd.pid"; }

# end_libvirtd [SIGNAL]: its domains run on.
end_libvirtd() {
  local pid
  pid=$(libvirtd_pid)
  kill "-${1:-TERM}" "$pid"
  within "$PATIENCE" gone "$pid" || fail "libvirtd does not end"
}

restart_libvirtd() {
  end_libvirtd "$@"
  start_libvirt
}

# --- two hosts with a network between them ---

host_network() { echo "${T##*.}-$host"; }

host_address() {
  [ -e "$T/network" ] || return 1
  [ "$host" = a ] && echo 10.99.0.1 || echo 10.99.0.2
}

# connect_hosts: before start_libvirt: a and b become network namespaces; addresses by host_address.
connect_hosts() {
  local host
  touch "$T/network"
  for host in a b; do
    ip netns add "$(host_network)" || skip "no network namespaces"
    ip -n "$(host_network)" link set lo up
  done
  ip link add "va${T##*.}" netns "${T##*.}-a" type veth peer name "vb${T##*.}" netns "${T##*.}-b"
  for host in a b; do
    ip -n "$(host_network)" addr add "$(host_address)/24" dev "v$host${T##*.}"
    ip -n "$(host_network)" link set "v$host${T##*.}" up
  done
}

# in_network COMMAND...: with this host's network.
in_network() { nsenter "--net=/run/netns/$(host_network)" "$@"; }

# --- domains ---

# domain_xml NAME [KERNEL ARGUMENT...]: its description. From the environment: MEMORY=private for
# libvirt's own kind of memory (the default here; shared: memfd), DOMAIN_DEVICES: more devices,
# DOMAIN_MORE: more of the domain, MACHINE, CPU_MODEL; CONSOLE=pty: as usual with libvirt, which `tell`
# cannot reach then.
domain_xml() {
  local name=$1 machine=pc-q35-7.2 memory='' serial="<serial type='unix'><source mode='bind' path='/var/lib/libvirt/$1.console'/>"
  [ "${CONSOLE:-}" != pty ] || serial="<serial type='pty'>"
  [ "$QEMU" = 7.2 ] || machine=q35
  [ "${MEMORY:-private}" = private ] || memory="<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
  shift
  cat <<X
<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>$name</name>
 <memory unit='MiB'>${RAM%M}</memory>$memory<vcpu>2</vcpu>
 <os><type arch='x86_64' machine='${MACHINE:-$machine}'>hvm</type><kernel>$GUEST/vmlinuz</kernel>
  <initrd>$GUEST/initrd</initrd><cmdline>console=ttyS0 quiet panic=-1 $*</cmdline></os>
 <features><acpi/></features><cpu mode='custom'><model>${CPU_MODEL:-qemu64}</model></cpu>
 <devices><emulator>$(command -v "$QEMU_PROGRAM")</emulator><controller type='usb' model='none'/>
  $serial<log file='$(log_file "$name")' append='on'/></serial><memballoon model='none'/>
  ${DOMAIN_DEVICES:-}</devices>${DOMAIN_MORE:-}</domain>
X
}

# start_domain NAME [KERNEL ARGUMENT...]: runs it and waits until all its witnesses are well. With
# PERSISTENT=yes it is defined, too.
start_domain() {
  local file=$T/$host/domains/$1.xml
  mkdir -p "$T/$host/domains"
  : >"$T/$host/domains/$1.log"
  domain_xml "$@" >"$file"
  if [ "${PERSISTENT:-}" = yes ]; then
    v define "$file" >/dev/null && v start "$1" >/dev/null
  else
    v create "$file" >/dev/null
  fi
  wait_log "$1" 'witness all ok'
}

uuid_of() { v domuuid "$1"; }

# What libvirt says of it, e.g. "running (booted)".
domain_state() { v domstate "$1" --reason; }

# A domain's log is where its description says, on the host that made it; else it is a guest's.
log_file() {
  local file=$T/$host/domains/$1.log
  [ ! -e "$file" ] && [ -e "$T/$host/guests/$1/serial.log" ] && file=$T/$host/guests/$1/serial.log
  echo "$file"
}

# tell NAME TEXT: types a line on the console, on a guest's as on a domain's.
tell() {
  local socket=$T/$host/libvirt/lib/$1.console
  [ -S "$socket" ] || socket=$T/$host/guests/$1/console.sock
  python3 - "$socket" "$2" <<'P'
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(20)
s.connect(sys.argv[1])
s.sendall((sys.argv[2] + '\n').encode())
if sys.argv[1].endswith('.console'):
    # QEMU's own socket, which may forget what it has not read when its client goes.
    s.shutdown(socket.SHUT_WR)
    while s.recv(4096):
        pass
P
}

# domain_goes_on NAME SIZE BEFORE AFTER: its first report since its log, which goes on, too, had that
# size, follows a state between two rounds.
domain_goes_on() {
  local first
  first_round() { tail -c "+$(($2 + 1))" "$(log_file "$1")" | grep -aEom 1 'witness all ok [0-9]+' | grep -Eo '[0-9]+$'; }
  within "$PATIENCE" first_round "$1" "$2" >"$T/first" || fail "$1 does not go on"
  first=$(cat "$T/first")
  if [ "$first" -lt "$3" ] || [ "$first" -gt $(($4 + 1)) ]; then
    fail "$1 goes on at round $first, but its checkpoint is from between $3 and $4"
  fi
  witness_ok "$1"
}

domain_pid() { cat "$T/$host/libvirt/run/qemu/$1.pid"; }

# --- the end ---

end_libvirt() {
  local host pid file
  for host in a b; do
    [ -d "$T/$host/libvirt" ] || continue
    for file in "$T/$host/libvirt"/{libvirtd,virtlogd}.pid; do
      ! pid=$(cat "$file" 2>/dev/null) || kill -KILL "$pid" 2>/dev/null || true
    done
    for file in "$T/$host/libvirt/run/qemu"/*.pid; do
      ! pid=$(cat "$file" 2>/dev/null) || ! grep -qs '^qemu-' "/proc/$pid/comm" || kill -KILL "$pid"
    done
    [ ! -e "$T/network" ] || ip netns del "$(host_network)" 2>/dev/null || true
  done
}
clean_up+=(end_libvirt)
