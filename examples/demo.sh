#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The main job, end to end: a guest is checkpointed live twice while it works, its QEMU is killed, and
# the second checkpoint is restored under another runtime directory, as on another host. The guest
# itself says whether anything was lost: its witnesses count, and notice every gap.
#
# usage: demo.sh [BUILD_DIRECTORY]       exit status 0: the guest said that all is well
set -euo pipefail

build=${1:-build}
vmckpt=$build/vmckpt/cli/vmckpt
guest=$build/tests/guest
work=$(mktemp -d /tmp/vmckpt-demo.XXXXXX)
store=$work/store
mode=--live

bold='' plain=''
[ ! -t 1 ] || bold=$'\033[1m' plain=$'\033[0m'
step() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
lack() { echo "demo: $*" >&2; }
fail() {
  lack "$*"
  exit 1
}

# here and there are two hosts: two runtime directories that share nothing but the store.
here() { "$vmckpt" --runtime "$work/here" --store "$store" "$@"; }
there() { "$vmckpt" --runtime "$work/there" --store "$store" "$@"; }
log_of() { echo "$work/$1/guests/demo/serial.log"; }

# wait_for HOST COUNT: so many reports that all witnesses are well have come from the guest.
wait_for() {
  local seen=-1 count deadline=$((SECONDS + 120))
  while count=$(grep -ac 'witness all ok' "$(log_of "$1")" || true) && [ "${count:-0}" -lt "$2" ]; do
    [ "$SECONDS" -lt "$deadline" ] || fail "the guest is silent: $(tail -n 3 "$(log_of "$1")")"
    [ ! -t 1 ] || [ "$count" = "$seen" ] || printf '\r  the guest has reported %s times' "$count"
    seen=$count
    sleep 0.1
  done
  [ ! -t 1 ] || printf '\r'
  printf '  the guest: %s\n' "$(grep -a 'witness all ok' "$(log_of "$1")" | tail -n 1 | tr -d '\r')"
}

# counters HOST first|last: each witness's name and first or last count in that host's log.
counters() {
  tr -d '\r' <"$(log_of "$1")" | awk -v want="$2" '
    $1 == "witness" && $2 != "all" && $3 == "ok" && (want == "last" || !($2 in n)) { n[$2] = $4 }
    END { for (cell in n) print cell, n[cell] }' | sort
}

report() { # ID FIELD...
  here --json show "$1" | python3 -c '
import json, sys
report = json.loads(sys.stdin.read().strip().splitlines()[-1])["report"]
print(*(report[name] for name in sys.argv[1:]))' "${@:2}"
}

# The daemons would end by themselves a minute after their last guest.
shut_down() {
  python3 - "$work/$1/api.sock" 2>/dev/null <<'P' || true
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(10)
s.connect(sys.argv[1])
s.sendall(b"POST /v1/shutdown HTTP/1.1\r\nHost: vmckpt\r\nContent-Length: 2\r\n\r\n{}")
while s.recv(4096):
    pass
P
}

end() {
  local status=$? host
  trap - EXIT
  for host in here there; do
    [ ! -d "$work/$host/guests/demo" ] || $host kill demo >/dev/null 2>&1 || true
    shut_down "$host"
  done
  rm -rf "$work"
  exit "$status"
}
trap end EXIT
trap 'exit 130' INT TERM

[ -x "$vmckpt" ] || fail "$vmckpt is not there: run 'make' first"
if [ "$(id -u)" != 0 ] && [ "$(cat /proc/sys/vm/unprivileged_userfaultfd 2>/dev/null)" != 1 ]; then
  lack "live checkpoints need root, or: sysctl vm.unprivileged_userfaultfd=1. Stopping the guest instead."
  mode=--stop
fi
mkdir "$work/here" "$work/there"

step "1. A guest starts: Debian's kernel and a few dozen witnesses, each watching one kind of state"
here store init >/dev/null
here run demo --ram 512M --cpus 2 --accel tcg --kernel "$guest/vmlinuz" --initrd "$guest/initrd" \
  --append "console=ttyS0 quiet witness.fill=128 witness.dirty=4" >/dev/null
wait_for here 2

step "2. It is checkpointed while it works"
first=$(here checkpoint demo $mode)
echo "  checkpoint ${first:0:12}"
wait_for here 4

step "3. And once more: only what it wrote in between is stored"
counters here last >"$work/before"
second=$(here checkpoint demo $mode)
echo "  checkpoint ${second:0:12}"
counters here last >"$work/after"
wait_for here 6

step "4. Its QEMU is killed"
pid=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["qemu"]["pid"])' <"$work/here/guests/demo/keeper.json")
kill -KILL "$pid"
echo "  kill -KILL $pid"

step "5. The second checkpoint is restored on another host"
begun=$(date +%s%N)
there restore "$second" >/dev/null
restored=$((($(date +%s%N) - begun) / 1000000))
wait_for there 3
counters there first >"$work/first"
counters there last >"$work/last"

step "6. What the witnesses say"
printf '  %-20s %12s %12s %12s %12s\n' witness "before it" "after it" "restored" "now"
cells=0
while read -r cell before after first_count last; do
  verdict=ok
  # The restored guest's first report belongs between the two around the checkpoint, or just after.
  if [ "$first_count" -lt "$before" ] || [ "$last" -le "$first_count" ]; then
    verdict='LOST'
  fi
  printf '  %-20s %12s %12s %12s %12s  %s\n' "$cell" "$before" "$after" "$first_count" "$last" "$verdict"
  [ "$verdict" = ok ] || fail "the witness $cell has lost something"
  cells=$((cells + 1))
done < <(join "$work/before" "$work/after" | join - "$work/first" | join - "$work/last")
[ "$cells" -gt 0 ] && [ "$cells" = "$(wc -l <"$work/before")" ] || fail "a witness is missing after the restore"
! grep -a FAIL "$(log_of there)" || fail "a witness has failed"
grep -aq 'witness all ok' "$(log_of there)" || fail "the guest does not say that all is well"

step "Summary"
row() { # TITLE ID
  read -r pause wall ram new stored <<<"$(report "$2" pause_ms wall_ms ram_bytes new_bytes stored_bytes)"
  awk -v t="$1" -v p="$pause" -v w="$wall" -v r="$ram" -v n="$new" -v s="$stored" 'BEGIN {
    printf "  %-20s %9.1f ms %9.0f ms %8.0f MiB %9.1f MiB %9.1f MiB\n", t, p, w, r / 2^20, n / 2^20, s / 2^20 }'
}
printf '  %-20s %12s %12s %12s %13s %13s\n' '' pause "wall time" RAM "new data" "stored"
row "first checkpoint" "$first"
row "second checkpoint" "$second"
printf '  %-20s %12s %9.0f ms\n' "restore" "" "$restored"
echo
echo "All $cells witnesses go on from the checkpointed state; nothing was lost."
