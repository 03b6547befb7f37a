#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compares two ELF cores of a guest: memory by physical address, and the CPUs' notes.

Usage: compare-cores.py OURS THEIRS

Where RAM of the first is shadowed by firmware in the second (640 KiB to 1 MiB) is left out.
"""
import struct
import sys

SHADOW = (0xa0000, 0x100000)
STEP = 1 << 20


class Core:
    """An ELF64 core: its segments and notes."""

    def __init__(self, name):
        self.file = open(name, 'rb')
        head = self.file.read(64)
        if head[:6] != b'\x7fELF\x02\x01':
            sys.exit(f'{name} is no ELF64 file')
        self.machine = struct.unpack_from('<H', head, 18)[0]
        start, = struct.unpack_from('<Q', head, 32)
        count, = struct.unpack_from('<H', head, 56)
        self.loads, self.notes = [], {}
        for i in range(count):
            self.file.seek(start + i * 56)
            kind, _, offset, _, physical, size = struct.unpack_from('<IIQQQQ', self.file.read(56))
            if kind == 1:
                self.loads.append((physical, size, offset))
            elif kind == 4:
                self.read_notes(offset, size)
        self.loads.sort()

    def read_notes(self, offset, size):
        self.file.seek(offset)
        data, at = self.file.read(size), 0
        while at + 12 <= size:
            name_len, len_, kind = struct.unpack_from('<III', data, at)
            name = data[at + 12:at + 12 + name_len].rstrip(b'\0').decode()
            at += 12 + (name_len + 3) // 4 * 4
            self.notes.setdefault((name, kind), []).append(data[at:at + len_])
            at += (len_ + 3) // 4 * 4

    def memory(self, physical, size):
        """Bytes at an address, or None where the core has none."""
        for start, length, offset in self.loads:
            if start <= physical and physical + size <= start + length:
                self.file.seek(offset + physical - start)
                return self.file.read(size)
        return None


def main(args):
    ours, theirs = Core(args[0]), Core(args[1])
    compared = faults = 0
    for start, length, _ in ours.loads:
        for at in range(start, start + length, STEP):
            size = SHADOW[0] if at < SHADOW[1] else min(STEP, start + length - at)
            wanted = theirs.memory(at, size)
            if wanted is None or ours.memory(at, size) != wanted:
                faults += 1
                print(f'memory differs at 0x{at:x}' + (' (missing)' if wanted is None else ''))
            compared += size
    for note in (('CORE', 1), ('QEMU', 0)):
        if ours.notes.get(note) != theirs.notes.get(note):
            faults += 1
            for a, b in zip(ours.notes.get(note, []), theirs.notes.get(note, [])):
                places = [i for i in range(min(len(a), len(b))) if a[i] != b[i]]
                print(f'note {note} differs: {len(a)} and {len(b)} bytes, at {places[:16]}')
    if ours.machine != theirs.machine:
        faults += 1
        print(f'machine {ours.machine}, not {theirs.machine}')
    print(f'{compared >> 20} MiB and {len(ours.notes.get(("CORE", 1), []))} CPUs compared')
    return 1 if faults or not compared else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
