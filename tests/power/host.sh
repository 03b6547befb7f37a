# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# A test host that is a virtual machine, for check-power: Debian with systemd, vmckpt as `make install`
# puts it there, a guest's boot files, and a disk of its own for the store. Nothing here measures
# time: every wait is for an event, with a deadline that a slow machine meets.
set -Eeuo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
BUILD=$(cd "${BUILD:-$here/../../build}" && pwd)
GUEST=$BUILD/tests/guest
PATIENCE=${PATIENCE:-1800} # seconds; a guest in a guest, both emulated, takes minutes to boot
T=$(mktemp -d /tmp/vmckpt-power.XXXXXX)
host_pid=''
began=$SECONDS

say () { printf '%3d:%02d  %s\n' $(((SECONDS - began) / 60)) $(((SECONDS - began) % 60)) "$*"; }

fail () {
  echo "FAILED: $*" >&2
  exit 1
}

at_end () {
  local status=$?
  trap - EXIT
  [ "$status" = 0 ] || [ "$status" = 77 ] || { echo "--- the host's console" && tail -n 60 "$T/console.log"; } >&2
  [ -z "$host_pid" ] || { kill -KILL "$host_pid" && wait "$host_pid"; } 2>/dev/null || true
  [ -n "${KEEP:-}" ] || rm -rf "$T"
  exit "$status"
}
trap at_end EXIT

# within SECONDS COMMAND...: tries the command until it succeeds.
within () {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.5
  done
}

# --- making it ---

# The prefix that BUILD has, so that this does not build anything anew.
build_prefix () {
  meson introspect "$BUILD" --buildoptions |
    python3 -c 'import json, sys; print(next(o["value"] for o in json.load(sys.stdin) if o["name"] == "prefix"))'
}

# make_host DEBIAN: its disks. What `make install` puts below DESTDIR is handed over as a tar on a disk.
make_host () {
  local debian=$1
  qemu-img create -q -f qcow2 -b "$debian/disk.raw" -F raw "$T/root.qcow2"
  truncate -s 2G "$T/store.raw"
  mke2fs -q -F -t ext4 -L store "$T/store.raw"
  make --no-print-directory -C "$here/../.." install BUILD="$BUILD" PREFIX="$(build_prefix)" DESTDIR="$T/installed" >"$T/install.log" 2>&1 ||
    fail "make install: $(tail -n 5 "$T/install.log")"
  install -D -t "$T/installed/srv/guest" "$GUEST/vmlinuz" "$GUEST/initrd"
  tar -cf "$T/installed.tar" --owner=0 --group=0 -C "$T/installed" .
}

# --- running it ---

# power_on DEBIAN: starts it, and waits until it takes orders.
power_on () {
  local from
  from=$(console_size)
  qemu-system-x86_64 -accel tcg,thread=multi -machine q35 -m 2560M -smp 2 -nodefaults -no-reboot -display none \
    -kernel "$1/vmlinuz" -initrd "$1/initrd" -append "console=ttyS0 quiet panic=-1" \
    -drive "if=virtio,format=qcow2,file=$T/root.qcow2" -drive "if=virtio,format=raw,file=$T/store.raw" \
    -drive "if=virtio,format=raw,readonly=on,file=$T/installed.tar" \
    -chardev "socket,id=console,path=$T/console.sock,server=on,wait=off,logfile=$T/console.log,logappend=on" \
    -serial chardev:console 9>&- &
  host_pid=$!
  wait_console '^orders ready' "$from"
}

# The power goes: nothing of the host is told.
power_cut () {
  kill -KILL "$host_pid"
  wait "$host_pid" 2>/dev/null || true
  host_pid=''
}

is_off () { ! kill -0 "$host_pid" 2>/dev/null; }

# The host ends by itself, by having been shut down.
wait_off () {
  within "$PATIENCE" is_off || fail "the host does not shut down"
  wait "$host_pid" || fail "the host's QEMU has failed"
  host_pid=''
}

# --- its console ---

console_size () { stat -c %s "$T/console.log" 2>/dev/null || echo 0; }

console_has () {
  tail -c "+$(($2 + 1))" "$T/console.log" 2>/dev/null | tr -d '\r' >"$T/console.new"
  grep -aEq -- "$1" "$T/console.new"
}

# wait_console PATTERN FROM
wait_console () {
  within "$PATIENCE" console_has "$1" "$2" || fail "the host's console does not show '$1'"
}

# order COMMAND...: has the host run it, and prints what it printed; fails as it did.
order () { "$here/order" "$T/console.sock" "$PATIENCE" "$*"; }

# until_order COMMAND...: tries it until it succeeds.
until_order () {
  within "$PATIENCE" order "$@" >/dev/null || fail "the host does not come to: $*"
}
