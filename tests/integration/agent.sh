# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# A guest with a guest agent, and an ext4 file system that it writes to for ever. Source after lib.sh.

PATH=$PATH:/usr/sbin:/sbin
command -v mke2fs >/dev/null || skip "mke2fs is missing: install e2fsprogs"
"$here/../../images/mkagent" "$GUEST" "${VMCKPT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vmckpt}/guest" "$T/guest" 2>"$T/err" ||
  skip "no guest with an agent: $(cat "$T/err")"

# start_agent_guest NAME: runs it and waits until its agent starts and it writes.
start_agent_guest() {
  truncate -s 16M "$T/$1.raw"
  mke2fs -q -F -t ext4 "$T/$1.raw"
  vm run "$1" --agent --ram "$RAM" --accel tcg --qemu "$QEMU_PROGRAM" --disk "$T/$1.raw" \
    --memory "${MEMORY:-shared}" --kernel "$T/guest/vmlinuz" --initrd "$T/guest/initrd" \
    --append "console=ttyS0 quiet panic=-1 agent" >/dev/null
  wait_log "$1" 'agent starts on vport'
  writes_go_on "$1"
}

# written NAME: how many lines of its log tell of a write.
written() { grep -aEc 'agent wrote [0-9]+' "$(log_file "$1")"; }

# writes_go_on NAME: from now on it writes again, and its witnesses are well.
writes_go_on() {
  wait_log "$1" 'agent wrote [0-9]+' "$PATIENCE" "$(log_size "$1")"
  ! grep -a 'agent FAIL' "$(log_file "$1")" || fail "a write of $1 failed"
  answers "$1"
}

# is_frozen NAME: it runs, and over two rounds of its witnesses no write ended.
is_frozen() {
  local before
  answers "$1"
  before=$(written "$1")
  witness_ok "$1"
  witness_ok "$1"
  [ "$(written "$1")" = "$before" ]
}
