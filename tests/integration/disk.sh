# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# For tests whose guests have disks; sourced after lib.sh. The guest's witness writes the same
# numbers to RAM and to its disks (images/README.md), so it says whether they are of one instant.

PATH=$PATH:/usr/sbin:/sbin
DISK_SIZE=${DISK_SIZE:-64M}
# What the kernel says of a request that failed, and what is never said of one that did not.
IO_ERRORS='I/O error|EXT4-fs (error|warning)|exception Emask|blocked for more than|Remounting'

# make_disk FILE [ext4|qcow2]: an empty disk, with a file system or of that format.
make_disk() {
  case ${2:-raw} in
  qcow2) qemu-img create -q -f qcow2 "$1" "$DISK_SIZE" ;;
  ext4) truncate -s "$DISK_SIZE" "$1" && mke2fs -q -F -t ext4 "$1" ;;
  *) truncate -s "$DISK_SIZE" "$1" ;;
  esac
}

# start_disk_guest NAME WITNESS-OPTIONS [RUN OPTION...]: a guest, of machine type `pc` since the small
# guest's kernel has no other IDE; its witness does nothing but what the options say.
start_disk_guest() {
  local name=$1 append=$2
  shift 2
  vm run "$name" --ram "$RAM" --cpus 2 --accel tcg --qemu "$QEMU_PROGRAM" --machine pc \
    --memory "${MEMORY:-shared}" --kernel "$GUEST/vmlinuz" --initrd "$GUEST/initrd" \
    --append "console=ttyS0 quiet panic=-1 no_timer_check witness.off $append" "$@" >/dev/null
  wait_log "$name" 'witness all (ok|FAIL)'
  disks_ok "$name"
}

# disks_ok NAME: the guest compares every block that it ever wrote with its RAM; all is as it should
# be, and neither guest nor QEMU has seen an I/O error.
disks_ok() {
  local from cells
  witness_ok "$1"
  cells=$(grep -aEo 'cells [0-9]+' "$(log_file "$1")" | tail -n 1 | grep -Eo '[0-9]+')
  from=$(log_size "$1")
  tell "$1" disks
  within "$PATIENCE" cells_verified "$1" "$from" "$cells" || fail "$1 does not verify $cells disks"
  witness_ok "$1"
  no_io_errors "$1"
}

# cells_verified NAME FROM N: so many have said so after that byte of the log.
cells_verified() {
  [ "$(tail -c "+$(($2 + 1))" "$(log_file "$1")" | grep -aEo '^disk [a-z0-9-]+ verified' | sort -u | wc -l)" = "$3" ]
}

no_io_errors() {
  ! grep -asE "$IO_ERRORS" "$(log_file "$1")" "$T/$host/guests/$1/qemu.log" >"$T/bad" ||
    fail "$1 has seen an I/O error: $(head -n 3 "$T/bad")"
}

# file_system_ok FILE: a raw image holds an ext4 file system that is whole once its journal has been
# replayed, as after a loss of power.
file_system_ok() {
  e2fsck -p -E journal_only "$1" >"$T/fsck" 2>&1 || [ $? = 1 ] || fail "no journal is replayed on $1: $(cat "$T/fsck")"
  e2fsck -fn "$1" >"$T/fsck" 2>&1 || fail "the file system on $1 is damaged: $(cat "$T/fsck")"
}

# disk_of ID DISK FILE: that disk as the checkpoint has it, raw.
disk_of() {
  vm export "$1" --format disk --part "$2" --force --output "$3" >/dev/null
}
