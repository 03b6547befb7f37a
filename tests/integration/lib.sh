# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# The integration tests' harness. A test sources it and reads like its sentence: two hosts (two
# runtime directories), one store, guests whose witnesses say whether anything was lost.
#
# From the environment: BUILD (build directory), QEMU (7.2, 10.0 or a program), SEED (replays what a
# test does at random). Set before sourcing: PRIVATE_MOUNTS=yes for a test that mounts things.
# Every wait has a deadline. At the end every process that the test started, which is every process
# that has the test's directory in its environment, must be gone, or the test fails.
set -Eeuo pipefail

PATH=/usr/bin:$PATH # Debian's programs, not what wraps them: some are called many times a second
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
BUILD=${BUILD:-$here/../../build}
VMCKPT=$BUILD/vmckpt/cli/vmckpt
VMCKPTD=$BUILD/vmckpt/daemon/vmckptd
GUEST=${GUEST:-$BUILD/tests/guest}
RAM=${RAM:-192M}
PATIENCE=${PATIENCE:-120} # seconds that a wait lasts at most
host=a                    # the host that commands go to; see `on`

if [ "${PRIVATE_MOUNTS:-}" = yes ]; then
  # Once more from the start, where mounts disappear with the test.
  unshare -m true 2>/dev/null || { echo "SKIP: it mounts file systems, which needs root" && exit 77; }
  PRIVATE_MOUNTS=made exec unshare -m --propagation private "$0" "$@"
fi

T=$(mktemp -d /tmp/vmckpt-test.XXXXXX)
export VMCKPT_TEST_DIR=$T
unset VMCKPT_STORE VMCKPT_RUNTIME VMCKPT_KEY_FILE VMCKPT_PASSWORD_FILE # those of the developer's shell
mkdir "$T/a" "$T/b"
store=$T/store

# --- verdicts ---

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

skip() {
  echo "SKIP: $*"
  exit 77
}

# expect CODE COMMAND...: runs it and wants exactly this exit status; output is in $T/out and $T/err.
expect() {
  local want=$1 got=0
  shift
  "$@" >"$T/out" 2>"$T/err" || got=$?
  [ "$got" = "$want" ] || fail "'$*' ended with $got instead of $want: $(tail -n 5 "$T/err")"
}

# says PATTERN: the last expected command told its user so.
says() {
  grep -Eiq -- "$1" "$T/err" || fail "the message should say '$1', but it is: $(cat "$T/err")"
}

# shows PATTERN COMMAND...: it prints that. (A pipe into grep -q would cut the command off.)
shows() {
  local pattern=$1
  shift
  "$@" >"$T/shown" && grep -aEq -- "$pattern" "$T/shown"
}

# within SECONDS COMMAND...: tries the command until it succeeds.
within() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.1
  done
}

# --- the program ---

vm() {
  VMCKPT_RUNTIME=$T/$host "$VMCKPT" --runtime "$T/$host" --store "$store" "$@"
}

# on HOST COMMAND...: the command, sent to that host.
on() {
  local host=$1
  shift
  "$@"
}

# field NAME...: members of the last JSON object on standard input.
field() {
  python3 -c '
import json, sys
value = json.loads(sys.stdin.read().strip().splitlines()[-1])
for name in sys.argv[1:]:
    value = value[int(name) if isinstance(value, list) else name]
print(json.dumps(value) if isinstance(value, (dict, list, bool)) else value)' "$@"
}

# take NAME [OPTION...]: a checkpoint; prints its whole id.
take() {
  vm --json checkpoint "$@" | field id
}

# store_is_good: nothing in the store is damaged, read to the last byte.
store_is_good() {
  vm store check --read-data >"$T/check" 2>&1 || fail "the store is damaged: $(cat "$T/check")"
}

# --- daemon and QEMU ---

# end_daemon: kills the one that is there, if there is one.
end_daemon() {
  local pid
  ! pid=$(daemon_pid) || end_process "$pid"
}

# start_daemon [VARIABLE=VALUE...]: one of our own on this host, with that in its environment.
start_daemon() {
  env "$@" "$VMCKPTD" --runtime "$T/$host" >>"$T/$host/daemon.out" 2>&1 &
  within "$PATIENCE" daemon_pid >/dev/null || fail "no daemon answers: $(tail -n 5 "$T/$host/daemon.out")"
}

# The pid of whoever listens on the host's socket; fails if nobody does.
daemon_pid() {
  python3 - "$T/$host/api.sock" 2>/dev/null <<'P'
import socket, struct, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
print(struct.unpack('3i', s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])
P
}

no_daemon() { ! daemon_pid >/dev/null; }

# daemon_passed POINT: the daemon has died there. One that was just killed may still take a connection.
daemon_passed() {
  within "$PATIENCE" no_daemon || fail "the daemon did not pass $1"
}

kill_daemon() {
  local pid
  pid=$(daemon_pid) || fail "there is no daemon to kill"
  end_process "$pid"
}

qemu_pid() {
  field qemu pid <<<"$(tr -d '\n' <"$T/$host/guests/$1/keeper.json")"
}

keeper_pid() {
  field keeper pid <<<"$(tr -d '\n' <"$T/$host/guests/$1/keeper.json")"
}

# gone PID: also its last thread; until then a dying process keeps what it has open.
gone() {
  [ ! -e "/proc/$1" ] || [ "$(sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null; ls "/proc/$1/task" 2>/dev/null)" = "Z
$1" ]
}

# stands_still PID: it was stopped by a signal.
stands_still() { grep -Eqs '^State:\s+T' "/proc/$1/status"; }

# end_process PID: SIGKILL, and wait until it is gone.
end_process() {
  kill -KILL "$1" 2>/dev/null || true
  within "$PATIENCE" gone "$1" || fail "process $1 does not die"
}

# --- guests ---

log_file() {
  echo "$T/$host/guests/$1/serial.log"
}

# start_guest NAME [KERNEL ARGUMENT...]: runs it and waits until all its witnesses are well. With
# MEMORY=private only the stream engine can take it.
start_guest() {
  local name=$1
  shift
  vm run "$name" --ram "$RAM" --cpus 2 --accel tcg --qemu "$QEMU_PROGRAM" \
    --memory "${MEMORY:-shared}" --kernel "$GUEST/vmlinuz" --initrd "$GUEST/initrd" \
    --append "console=ttyS0 quiet panic=-1 $*" >/dev/null
  wait_log "$name" 'witness all ok'
}

# wait_log NAME PATTERN [SECONDS [FROM]]: the guest has printed that (after byte FROM of its log).
wait_log() {
  local deadline=${3:-$PATIENCE} from=${4:-0}
  within "$deadline" log_has "$1" "$2" "$from" ||
    fail "the log of $1 does not show '$2' within $deadline s"
}

log_has() {
  shows "$2" tail -c "+$(($3 + 1))" "$(log_file "$1")" 2>/dev/null
}

log_size() {
  stat -c %s "$(log_file "$1")" 2>/dev/null || echo 0
}

# witness_ok NAME [SECONDS]: from now on the guest reports again, all is well, and never was not.
witness_ok() {
  local from
  from=$(log_size "$1")
  # A line that was begun before now does not count.
  wait_log "$1" '^witness all ok [0-9]+.*' "${2:-$PATIENCE}" "$((from + 1))"
  ! grep -aE 'FAIL|Oops|BUG:|Kernel panic' "$(log_file "$1")" >"$T/bad" || fail "$1 has suffered: $(head -n 3 "$T/bad")"
}

# round NAME [first|last]: number of a round of reports in the log, which begins anew with each QEMU.
round() {
  local stop=()
  wait_log "$1" 'witness all ok [0-9]+'
  [ "${2:-last}" = last ] || stop=(-m 1)
  grep -aEo "${stop[@]}" 'witness all ok [0-9]+' "$(log_file "$1")" | tail -n 1 | grep -Eo '[0-9]+$'
}

# counter NAME CELL: the last number that a cell has reported.
counter() {
  wait_log "$1" "witness $2 ok [0-9]+"
  grep -aEo "witness $2 ok [0-9]+" "$(log_file "$1")" | tail -n 1 | grep -Eo '[0-9]+$'
}

# tell NAME TEXT: types a line on the guest's console.
tell() {
  python3 - "$T/$host/guests/$1/console.sock" "$2" <<'P'
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall((sys.argv[2] + '\n').encode())
P
}

# answers NAME [SECONDS]: the guest's CPUs run: it answers what it is told now.
answers() {
  local word=$RANDOM$RANDOM from
  from=$(log_size "$1")
  tell "$1" "ping $word" || fail "nobody takes input for $1"
  wait_log "$1" "pong $word" "${2:-$PATIENCE}" "$from"
}

# writes NAME MIB: the guest changes that much of its memory.
writes() {
  local from
  from=$(log_size "$1")
  tell "$1" "dirty $2"
  wait_log "$1" "load wrote $2 MiB" "$PATIENCE" "$from"
}

state_of() {
  vm --json ps | python3 -c '
import json, sys
for line in sys.stdin:
    guest = json.loads(line)
    if guest["name"] == sys.argv[1]:
        print(guest["state"])' "$1"
}

is_running() { [ "$(state_of "$1")" = running ]; }
is_unresponsive() { [ "$(state_of "$1")" = unresponsive ]; }
has_exited() { [ "$(state_of "$1")" = exited ]; }

# filled NAME: how many bytes of its memory are there while some are missing, else None.
filled() { vm --json ps | grep -F "\"$1\"" | field filled_bytes; }

# resume_held NAME: brings a suspended guest back; its memory is read only as it needs it.
resume_held() {
  python3 - "$T/$host/api.sock" "/v1/guests/$1/resume?store=$store" <<'P'
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
body = '{"hold":true}'
s.sendall(f'POST {sys.argv[2]} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n'
          f'Content-Length: {len(body)}\r\n\r\n{body}'.encode())
answer = b''
while piece := s.recv(65536):
    answer += piece
if b' 200 ' not in answer.split(b'\r\n')[0]:
    sys.exit(answer.decode())
P
  answers "$1"
  [ "$(filled "$1")" != None ] || fail "all of $1's memory was read"
}

# idle NAME: nothing is at work on it.
idle() {
  [ "$(vm --json ps | grep -F "\"$1\"" | field operation)" = None ]
}

# restored NAME ID: it runs, because it is restored now or already was.
restored() {
  vm restore "$2" >"$T/out" 2>"$T/err" || is_running "$1"
}

require_running() {
  local state
  state=$(state_of "$1")
  [ "$state" = running ] || fail "$1 should be running but is '${state:-not there}'"
}

# goes_on_from NAME BEFORE AFTER: a restored guest's first report follows a state between two rounds.
goes_on_from() {
  local first
  witness_ok "$1"
  first=$(round "$1" first)
  if [ "$first" -lt "$2" ] || [ "$first" -gt $(($3 + 1)) ]; then
    fail "$1 goes on at round $first, but its checkpoint is from between $2 and $3"
  fi
}

# --- chance ---

RANDOM=${SEED:=$((RANDOM * 32768 + RANDOM))}

# Tells how to see the same again.
show_seed() {
  echo "SEED=$SEED replays this"
}

# at_random SECONDS: waits for a part of that time.
at_random() {
  sleep "$(awk -v max="$1" -v r="$RANDOM" 'BEGIN { print max * r / 32768 }')"
}

# --- the end ---

# Every process that this test started, however it was passed on.
our_processes() {
  local pid
  { grep -lszxF "VMCKPT_TEST_DIR=$T" /proc/[0-9]*/environ || true; } | cut -d / -f 3 | while read -r pid; do
    # The test's own shells and tools do not count.
    ! grep -Eqs '^(vmckpt|qemu-|nbdkit)' "/proc/$pid/comm" || echo "$pid"
  done
}

show_processes() {
  local pid
  for pid in $(our_processes); do
    echo "  $pid $(tr '\0' ' ' <"/proc/$pid/cmdline" | cut -c 1-200)"
  done
}

# Ends guests and daemons in the way that a user would; fails if that leaves something behind.
leave_nothing_behind() {
  local host name left
  for host in a b; do
    [ -d "$T/$host/guests" ] || continue
    for name in "$T/$host/guests"/*/; do
      [ ! -d "$name" ] || vm kill "$(basename "$name")" >/dev/null
    done
    left=$(find "$T/$host/guests" -mindepth 1 2>/dev/null || true)
    [ -z "$left" ] || fail "files left behind: $left"
    if daemon_pid >"$T/pid"; then
      kill -TERM "$(cat "$T/pid")"
      within 20 gone "$(cat "$T/pid")" || fail "the daemon does not end on SIGTERM"
    fi
  done
  within 10 no_processes || fail "processes left behind:
$(show_processes)"
}

no_qemu() {
  ! shows 'qemu|keeper' show_processes
}

no_processes() {
  [ -z "$(our_processes)" ]
}

# What a person wants to see of a failed test.
show_evidence() {
  local file
  echo "--- $0 with $QEMU"
  show_processes
  for file in "$T"/[ab]/*.log "$T"/[ab]/daemon.out "$T"/[ab]/guests/*/{qemu,serial,bridge}.log \
    "$T"/[ab]/domains/*.log "$T"/[ab]/libvirt/{libvirtd.log,log/qemu/*.log} "$T/err"; do
    [ ! -s "$file" ] || { echo "--- $file" && tail -n 15 "$file"; }
  done
}

# Functions that end what is not vmckpt's, run whatever the verdict is.
clean_up=()

at_end() {
  local status=$? step
  trap - EXIT ERR
  set +e
  if [ "$status" = 0 ]; then
    (leave_nothing_behind)
    status=$?
  fi
  [ "$status" = 0 ] || [ "$status" = 77 ] || show_evidence >&2
  local pid
  for pid in $(our_processes); do
    kill -KILL "$pid" 2>/dev/null
  done
  for step in "${clean_up[@]}"; do
    "$step"
  done
  rm -rf "$T"
  exit "$status"
}
trap at_end EXIT
trap 'echo "line $LINENO: $BASH_COMMAND" >&2' ERR

# --- which QEMU ---

QEMU=${QEMU:-7.2}
case $QEMU in
7.2) QEMU_PROGRAM=qemu-system-x86_64 ;;
10.0) QEMU_PROGRAM=$("$here/../tools/qemu10" 2>"$T/err") || skip "$(sed 's/^SKIP: //' "$T/err")" ;;
*) QEMU_PROGRAM=$QEMU ;;
esac
vm store init >/dev/null
