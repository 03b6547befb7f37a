# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# For tests with the guest of minutes, a Debian with systemd and PostgreSQL; sourced after lib.sh.

DEBIAN=$("$here/../tools/debian-guest" "$GUEST" 2>"$T/err") || skip "$(sed 's/^SKIP: //' "$T/err")"

# start_debian NAME DISK [RUN OPTION...]: on a disk of its own, and waits until it takes orders.
start_debian() {
  local name=$1 disk=$2
  shift 2
  vm run "$name" --ram 384M --cpus 2 --accel tcg --qemu "$QEMU_PROGRAM" \
    --kernel "$DEBIAN/vmlinuz" --initrd "$DEBIAN/initrd" --append "console=ttyS0 quiet panic=-1" \
    --disk "$disk" "$@" >/dev/null
  wait_log "$name" '^orders ready'
}

# debian_disk FILE: a new disk with Debian on it.
debian_disk() {
  qemu-img create -q -f qcow2 -b "$DEBIAN/disk.raw" -F raw "$1"
}

# order NAME COMMAND...: has the guest run it, and prints what it printed; fails as it did. A command
# that begins with & goes on in the background.
order() {
  local name=$1 word=o$RANDOM$RANDOM from
  shift
  from=$(log_size "$name")
  tell "$name" "$word $*"
  wait_log "$name" "^done $word [0-9]+" "$PATIENCE" "$from"
  tail -c "+$((from + 1))" "$(log_file "$name")" | tr -d '\r' | sed "/^done $word /,\$d"
  log_has "$name" "^done $word 0" "$from"
}

# kernel_is_content NAME: it has seen no error.
kernel_is_content() {
  order "$1" 'dmesg --kernel --level emerg,alert,crit,err' >"$T/dmesg" || fail "$1 does not answer"
  [ ! -s "$T/dmesg" ] || fail "the kernel of $1 complains: $(head -n 5 "$T/dmesg")"
}
