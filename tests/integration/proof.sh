# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# For tests that prove that no write of a guest is missed; sourced after lib.sh. A second program,
# tests/tools/track-proof, follows the guest as a checkpoint would, and compares all of its memory.

TRACK_PROOF=$BUILD/tests/track-proof

# start_tracked_guest NAME KERNEL-ARGUMENTS [QEMU-ARGUMENT...]: it has two more monitors, for us.
start_tracked_guest() {
  local name=$1 append=$2
  shift 2
  vm run "$name" --ram "$RAM" --cpus 2 --accel tcg --qemu "$QEMU_PROGRAM" \
    --kernel "$GUEST/vmlinuz" --initrd "$GUEST/initrd" \
    --append "console=ttyS0 quiet panic=-1 $append" \
    -- -qmp "unix:$T/$name.monitor,server=on,wait=off" -qmp "unix:$T/$name.orders,server=on,wait=off" \
    "$@" >/dev/null
  wait_log "$name" 'witness all ok'
}

# order NAME COMMAND [JSON ARGUMENTS]: of QMP; prints the answer.
order() {
  python3 - "$T/$1.orders" "$2" "${3:-{\}}" <<'P'
import json, socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(60)
s.connect(sys.argv[1])
lines = s.makefile('r')
lines.readline()
for name, arguments in ('qmp_capabilities', {}), (sys.argv[2], json.loads(sys.argv[3])):
    s.sendall(json.dumps({'execute': name, 'arguments': arguments}).encode())
    answer = {}
    while not {'return', 'error'} & set(answer):
        answer = json.loads(lines.readline())
    if 'error' in answer:
        sys.exit(f'{name}: {answer["error"]}')
print(json.dumps(answer['return']))
P
}

# proof NAME ROUNDS: its exit status; what it says is in $T/proof.
proof() {
  "$TRACK_PROOF" "$(qemu_pid "$1")" "$T/$1.monitor" "$RANDOM" "$2" >"$T/proof" 2>&1
}

# proves NAME ROUNDS: nothing is missed, in so many instants and the rounds before them.
proves() {
  proof "$1" "$2" || fail "writes were missed: $(cat "$T/proof")"
  echo "$1: $(tail -n 1 "$T/proof")"
}

# misses NAME ROUNDS: something is missed, in one of so many tries.
misses() {
  ! proof "$1" "$2" || fail "nothing was missed, yet something should have been: $(cat "$T/proof")"
  grep -q 'was changed and not found' "$T/proof" || fail "the proof did not work: $(cat "$T/proof")"
}

# open_shell NAME: from here on the guest's console is a shell. What it is told too early is lost.
open_shell() {
  tell "$1" shell
  wait_log "$1" '^/ # '
}

# keep_doing COMMAND...: again and again, beside the test, until `enough` is called or it ends.
keep_doing() {
  while kill -0 $$ 2>/dev/null && "$@"; do sleep 0.3; done &
  busy=$!
}

enough() {
  kill "$busy" 2>/dev/null
  wait "$busy" 2>/dev/null || true
}

# without_marks: guests from here on are run without what notes changes that protection does not show.
without_marks() {
  kill_daemon
  start_daemon VMCKPT_PRELOAD="$BUILD/tests/preload-no-marks.so"
}

# needs_tracking: the test is about what only such a host can do.
needs_tracking() {
  vm doctor | grep -q '^ok *write-tracking' || skip "this host cannot track writes"
}
