# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# For tests that bring disks back; sourced after lib.sh. The guest holds the same sequence in RAM and
# on its disks, so disks of another instant than its RAM fail in it.

# start_writing_guest NAME: works on a file system, disk0, and on checksummed blocks, disk1.
start_writing_guest() {
  truncate -s 64M "$T/journal"
  mkfs.ext4 -q -F "$T/journal"
  truncate -s 32M "$T/blocks"
  vm run "$1" --ram "$RAM" --cpus 2 --accel tcg --qemu "$QEMU_PROGRAM" --memory "${MEMORY:-shared}" \
    --kernel "$GUEST/vmlinuz" --initrd "$GUEST/initrd" --disk "$T/journal" --disk "$T/blocks" \
    --append "console=ttyS0 quiet panic=-1 witness.disk=journal:vda,blocks:vdb" >/dev/null
  wait_log "$1" 'witness blocks-vdb ok'
  wait_log "$1" 'witness journal-vda ok'
  witness_ok "$1"
}

# disks_are_good NAME: the guest compares all that it wrote, and goes on writing.
disks_are_good() {
  witness_ok "$1"
  local from
  from=$(log_size "$1")
  tell "$1" disks
  wait_log "$1" '^disk blocks-vdb (good|verified|ok)' "$PATIENCE" "$from"
  witness_ok "$1"
}

# cut_loose NAME: nothing of its disks comes from the store any more, and no server is left.
cut_loose() {
  vm ps --wait "$1"
  [ "$(vm --json ps | field disk_bytes_there)" = None ] || fail "its disks are not all there: $(vm ps)"
  ! grep -q 'nbd+unix' "$T/$host/guests/$1/guest.json" || fail "a disk of $1 is on the export still"
  within "$PATIENCE" no_server || fail "a server is left: $(show_processes)"
}

no_server() { ! shows nbdkit show_processes; }

server_pid() { pgrep -f "^[^ ]*nbdkit .*$T/store" | head -n 1; }

# fsck_clean FILE FORMAT: the file system of a guest that is gone, after its journal was played back.
fsck_clean() {
  qemu-img convert -f "$2" -O raw "$1" "$T/fsck"
  e2fsck -p "$T/fsck" >"$T/out" 2>&1 || [ $? = 1 ] || fail "the file system is damaged: $(cat "$T/out")"
  e2fsck -fn "$T/fsck" >"$T/out" 2>&1 || fail "the file system is damaged: $(cat "$T/out")"
}
