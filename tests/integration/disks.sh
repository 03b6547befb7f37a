# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# For tests about what the disks of a guest hold; sourced after lib.sh and proof.sh. The guest's
# console is a shell.

# start_disk_guest NAME [RUN-ARGUMENT...]: its virtio disks are there; `random SEED MIB` there prints
# so much that is the same for the same seed.
start_disk_guest() {
  local name=$1
  shift
  vm run "$name" --ram "$RAM" --cpus 2 --accel tcg --qemu "$QEMU_PROGRAM" --memory "${MEMORY:-shared}" \
    --kernel "$GUEST/vmlinuz" --initrd "$GUEST/initrd" \
    --append 'console=ttyS0 quiet panic=-1 witness.off' "$@" \
    -- -qmp "unix:$T/$name.orders,server=on,wait=off" >/dev/null
  wait_log "$name" 'witness all ok'
  open_shell "$name"
  in_guest "$name" 'drivers disks; until [ -e /dev/vda ]; do sleep 0.1; done'
  in_guest "$name" 'random() { i=0; while [ $i -lt $2 ]; do head -c 512 /dev/zero | tr "\0" "$(printf "\\\\$(printf %o $((33 + ($1 + i) % 90)))")" >/r
    for k in 1 2 3 4 5 6 7 8 9 10 11; do cat /r /r >/s; mv /s /r; done; cat /r; i=$((i + 1)); done; }'
}

# in_guest NAME COMMAND: waits until the guest's shell has done that.
in_guest() {
  local from word=$RANDOM$RANDOM
  from=$(log_size "$1")
  tell "$1" "$2; echo done \$((1$word + 1))"
  wait_log "$1" "^done $((1$word + 1))" "$PATIENCE" "$from"
}

# sums NAME: what the guest has on its virtio disks.
sums() {
  local from
  from=$(log_size "$1")
  in_guest "$1" 'echo 3 >/proc/sys/vm/drop_caches; md5sum /dev/vd?'
  tail -c "+$((from + 1))" "$(log_file "$1")" | tr -d '\r' | sed -n 's|^\([0-9a-f]\{32\}\) *//*dev.*|\1|p'
}

# exported ID DISK...: the same of the disks in a checkpoint.
exported() {
  local id=$1 disk
  shift
  for disk; do
    vm export "$id" --format disk --part "$disk" --output "$T/exported" --force >/dev/null
    md5sum <"$T/exported" | cut -d ' ' -f 1
  done
}

# nothing_left_in NAME: QEMU has nothing of ours but what collects writes.
nothing_left_in() {
  order "$1" query-named-block-nodes '{"flat":true}' >"$T/nodes"
  ! grep -Eo '"vmckpt-[^"]*"' "$T/nodes" | grep -Fvx '"vmckpt-acc"' >"$T/left" || fail "left in QEMU: $(cat "$T/left")"
  [ "$(order "$1" query-block-exports)" = '[]' ] || fail "an export is left in QEMU"
  [ -z "$(find "$T/$host/disks/temporary" -type f)" ] || fail "a temporary is left"
}
