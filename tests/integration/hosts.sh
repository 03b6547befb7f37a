# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# Two hosts on two networks: host `a` is where the test runs, with the address 10.9.0.1, host `b` a
# network namespace with 10.9.0.2. To be sourced instead of lib.sh. Both have certificates of one
# authority in $T/tls/a and $T/tls/b.
if [ "${NETWORK:-}" != own ]; then
  unshare -n true 2>/dev/null || { echo "SKIP: it makes network namespaces, which needs root" && exit 77; }
  NETWORK=own exec unshare -n "$0"
fi
# shellcheck source=tests/integration/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

ip link set lo up
unshare -n sleep 1000 &
other=$!
end_network() { kill "$other"; }
clean_up+=(end_network)
elsewhere() { nsenter -t "$other" -n "$@"; }
apart() { [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/self/ns/net)" ]; }
within "$PATIENCE" apart
ip link add here type veth peer name there netns "$other"
ip addr add 10.9.0.1/24 dev here
ip link set here up
elsewhere ip addr add 10.9.0.2/24 dev there
elsewhere ip link set there up
elsewhere ip link set lo up

# certificates NAME ADDRESS [AUTHORITY [DAYS]]: what that host has, in $T/tls/NAME.
certificates() {
  "$here/../tools/make-certificates" "$T/tls/$1" "$T/tls/${3:-authority}" "$2" "${4:-2}"
}
# Where each lets guests of the other have files, and the store.
export VMCKPT_GUEST_FILES=$T:$GUEST
mkdir "$T/tls"
certificates a 10.9.0.1
certificates b 10.9.0.2

# listen HOST [VARIABLE=VALUE...]: its daemon, which other hosts may call.
listen() {
  local host=$1 address=10.9.0.1 place=()
  shift
  end_daemon
  [ "$host" = a ] || { address=10.9.0.2 && place=(elsewhere); }
  "${place[@]}" env "$@" "$VMCKPTD" --runtime "$T/$host" --listen "$address" --tls "$T/tls/$host" \
    >>"$T/$host/daemon.out" 2>&1 &
  within "$PATIENCE" daemon_pid >/dev/null || fail "no daemon answers: $(tail -n 5 "$T/$host/daemon.out")"
}

# slow_network MS [PERCENT]: both ways, so long and with so much lost. Fails where the kernel cannot.
slow_network() {
  tc qdisc add dev here root netem delay "${1}ms" loss "${2:-0}%" 2>"$T/err" &&
    elsewhere tc qdisc add dev there root netem delay "${1}ms" loss "${2:-0}%" 2>"$T/err"
}
