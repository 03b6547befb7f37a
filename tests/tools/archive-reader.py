#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads an archive of `vmckpt export` as docs/export-format.md describes it, and nothing else.

Usage: archive-reader.py FILE [--extract DIR]

Verifies every byte, prints the description as JSON, and with --extract writes each part to DIR
as ROLE-NAME.
"""
import hashlib
import json
import os
import struct
import sys

import zstandard

PAGE = 4096
ZEROS, CONTENT, COPY = range(3)


def fail(text):
    sys.exit(f'archive-reader: {text}')


class Archive:
    """An archive, read record by record."""

    def __init__(self, file):
        self.file = file
        header = self.take(16)
        magic, version, since = struct.unpack('<8sII', header)
        if magic != b'VMCKPTAR' or since > 1 or version < since:
            fail('this is no archive that this program reads')
        self.chain = hashlib.blake2b(header, digest_size=32).digest()
        self.records = 0

    def take(self, size):
        data = self.file.read(size)
        if len(data) != size:
            fail('it is cut')
        return data

    def record(self):
        """The next record: its tag and its content, verified."""
        head = self.take(12)
        tag, stored, size = struct.unpack('<4sII', head)
        payload = self.take(stored)
        self.chain = hashlib.blake2b(self.chain + head + payload, digest_size=32).digest()
        if self.take(32) != self.chain:
            fail(f'record {self.records} is not as it was written')
        content = zstandard.ZstdDecompressor().decompress(payload, max_output_size=size)
        if len(content) != size:
            fail(f'record {self.records} has another length than it says')
        self.records += 1
        return tag, content


class Parts:
    """The parts, written to files or only counted."""

    def __init__(self, document, folder):
        self.parts = document['parts']
        self.pages = [(part['length'] + PAGE - 1) // PAGE for part in self.parts]
        self.at = [0] * len(self.parts)
        self.files = []
        for part in self.parts if folder else []:
            name = (part['role'] + '-' + part['name']).rstrip('-').replace('/', '_')
            self.files.append(open(os.path.join(folder, name), 'w+b'))

    def put(self, index, count, data):
        """Pages at the part's present place; no data: zeros."""
        if data and self.files:
            self.files[index].seek(self.at[index] * PAGE)
            self.files[index].write(data)
        self.at[index] += count

    def copy(self, index, count, source, page):
        """Pages that are equal to earlier ones, one by one: the two ranges may overlap."""
        for i in range(count):
            data = b''
            if self.files:
                self.files[source].seek((page + i) * PAGE)
                data = self.files[source].read(PAGE).ljust(PAGE, b'\0')
            self.put(index, 1, data)

    def frame(self, content):
        """A record of pages; returns how many pages of content it held."""
        part, runs = struct.unpack_from('<II', content)
        data, used = content[8 + runs * 24:], 0
        for i in range(runs):
            kind, count, source, _, page = struct.unpack_from('<IIIIQ', content, 8 + i * 24)
            if kind == ZEROS:
                self.put(part, count, b'')
            elif kind == CONTENT:
                self.put(part, count, data[used * PAGE:(used + count) * PAGE])
                used += count
            else:
                self.copy(part, count, source, page)
        if used * PAGE != len(data):
            fail('a record holds other pages than it says')
        return used

    def finish(self):
        if self.at != self.pages:
            fail('pages are missing')
        for part, file in zip(self.parts, self.files):
            file.truncate(part['length'])
            file.close()


def main(args):
    folder = args[2] if args[1:2] == ['--extract'] else None
    if folder:
        os.makedirs(folder, exist_ok=True)
    with open(args[0], 'rb') as file:
        archive = Archive(file)
        tag, content = archive.record()
        document = json.loads(content)
        if tag != b'DOCU':
            fail('it does not begin with its description')
        parts, pages = Parts(document, folder), 0
        while True:
            before = archive.records
            tag, content = archive.record()
            if tag != b'PAGE':
                break
            pages += parts.frame(content)
        if tag != b'DONE' or struct.unpack('<QQ', content) != (before, pages) or file.read(1):
            fail('it does not end as it should')
        parts.finish()
    print(json.dumps(document, indent=2))


if __name__ == '__main__':
    main(sys.argv[1:])
