#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A second reader of the store format, written from docs/store-format.md alone.

    store-reader.py STORE list                checkpoints, oldest first: ID GUEST PART...
    store-reader.py STORE cat ID ROLE NAME    the bytes of one part, to stdout
    store-reader.py STORE check               verify everything that the checkpoints need

It uses neither the index nor any of the program's code: chunks are found by the packs' footers.
"""
import hashlib
import json
import os
import struct
import subprocess
import sys

ZERO = bytes(32)
PAGE = 4096


class Damaged(Exception):
    pass


def require(condition, what):
    if not condition:
        raise Damaged(what)


class Store:
    def __init__(self, path):
        self.path = path
        form = self.text("format", b"vmckpt-store", key=ZERO)
        require(not form.get("requires") and "encryption" not in form,
                "the store requires something unknown")
        require(form["page_size"] == PAGE, "unknown page size")
        self.key = bytes.fromhex(form["hash_key"])
        self.places = None
        self.frames = {}

    def name_of(self, data, key=None):
        return hashlib.blake2b(data, digest_size=32, key=self.key if key is None else key).digest()

    def read(self, name):
        with open(os.path.join(self.path, name), "rb") as file:
            return file.read()

    def text(self, name, magic, key=None, content_named=False):
        data = self.read(name)
        require(len(data) <= 4 << 20, name + " is too long")
        first, rest = data.split(b"\n", 1)
        words = first.split(b" ")
        require(len(words) == 3 and words[0] == magic, name + " has another first line")
        require(int(words[2]) <= 1, name + " needs a newer reader")
        if content_named:
            require(self.name_of(data).hex() == os.path.basename(name), name + " is damaged")
        else:
            body, digest = data[:-65], data[-65:]
            require(digest == self.name_of(body, key).hex().encode() + b"\n", name + " is damaged")
            rest = rest[:-65]
        return json.loads(rest)

    # ---- checkpoints ----

    def manifests(self):
        found = []
        directory = os.path.join(self.path, "manifests")
        for name in os.listdir(directory) if os.path.isdir(directory) else []:
            manifest = self.text("manifests/" + name, b"vmckpt-manifest", content_named=True)
            found.append((manifest["created_us"], name, manifest))
        return [(name, manifest) for _, name, manifest in sorted(found, key=lambda m: m[:2])]

    # ---- chunks ----

    def load_footers(self):
        self.places = {}
        for root, _, files in os.walk(os.path.join(self.path, "packs")):
            for name in files:
                self.load_footer(os.path.join(root, name), bytes.fromhex(name))

    def load_footer(self, path, name):
        with open(path, "rb") as file:
            magic, version, since, _ = struct.unpack("<8sHHI", file.read(16))
            require(magic == b"vmckpack" and since <= 1, path + " is no pack")
            file.seek(-56, os.SEEK_END)
            at, size, _, digest, magic = struct.unpack("<QII32s8s", file.read(56))
            require(magic == b"vmckpend" and digest == name, path + " has a wrong trailer")
            file.seek(at)
            footer = file.read(size)
        require(self.name_of(footer) == name, path + " has a wrong footer")
        n_frames, n_chunks = struct.unpack_from("<II", footer, 16)
        chunk_at = 32 + 16 * n_frames
        require(len(footer) == chunk_at + 36 * n_chunks, path + " has a wrong footer")
        end = 16
        for i in range(n_frames):
            offset, stored, raw, chunks, codec = struct.unpack_from("<IIIHH", footer, 32 + 16 * i)
            require(offset == end and raw <= 512 << 10, path + " has a wrong frame")
            end += stored
            inside = 0
            for _ in range(chunks):
                chunk, length = struct.unpack_from("<32sI", footer, chunk_at)
                chunk_at += 36
                self.places[chunk] = (path, offset, stored, raw, codec, inside, length)
                inside += length
            require(inside == raw, path + " has a wrong frame")
        require(end == at, path + " has a gap")

    def frame(self, path, offset, stored, raw, codec):
        if (path, offset) not in self.frames:
            with open(path, "rb") as file:
                file.seek(offset)
                data = file.read(stored)
            if codec == 1:
                run = subprocess.run(["zstd", "-d", "-c", "-q"], input=data, stdout=subprocess.PIPE)
                require(run.returncode == 0, path + " has a frame that does not decompress")
                data = run.stdout
            require(len(data) == raw, path + " has a frame of the wrong size")
            if len(self.frames) > 256:
                self.frames.clear()
            self.frames[path, offset] = data
        return self.frames[path, offset]

    def chunk(self, name):
        if self.places is None:
            self.load_footers()
        require(name in self.places, "chunk %s is missing" % name.hex())
        path, offset, stored, raw, codec, inside, length = self.places[name]
        data = self.frame(path, offset, stored, raw, codec)[inside:inside + length]
        require(self.name_of(data) == name, "chunk %s is damaged" % name.hex())
        return data

    # ---- page maps ----

    def node(self, name, kind, level=None):
        data = self.chunk(name)
        magic, version, found, found_level = struct.unpack_from("<2sBBB", data)
        require(magic == b"VN" and version == 1 and found == kind, "a node is something else")
        require(level is None or found_level == level, "a node has another level")
        return found_level, data[8:]

    def tree_pages(self, name, level, first):
        """Yields (page, name) of the pages below a node of a tree."""
        _, body = self.node(name, 1, level)
        for i in range(256):
            below = body[32 * i:32 * i + 32]
            if below == ZERO:
                continue
            at = first + i * 256 ** level
            if level == 0:
                yield at, below
            else:
                yield from self.tree_pages(below, level - 1, at)

    def run_pages(self, name, level):
        """Yields (page, name) of the overrides of a run."""
        _, body = self.node(name, 2, level)
        first, count, _ = struct.unpack_from("<QII", body)
        if level == 0:
            pages = [first + p for p in struct.unpack_from("<%dI" % count, body, 16)]
            names_at = 16 + 4 * count
        else:
            pages = struct.unpack_from("<%dQ" % count, body, 16)
            names_at = 16 + 8 * count
        for i, page in enumerate(pages):
            below = body[names_at + 32 * i:names_at + 32 * i + 32]
            if level == 0:
                yield page, below
            else:
                yield from self.run_pages(below, level - 1)

    def page_names(self, length, root):
        """The map as a dictionary: page → name; pages of zeros are not in it."""
        if root == ZERO:
            return {}
        levels, body = self.node(root, 3)
        stored_length, n_runs, _, tree = struct.unpack_from("<QII32s", body)
        require(stored_length == length and n_runs <= 256, "a map's root is wrong")
        pages = dict(self.tree_pages(tree, levels - 1, 0)) if tree != ZERO else {}
        for i in range(n_runs):
            name, _, _, level = struct.unpack_from("<32sQII", body, 48 + 48 * i)
            for page, below in self.run_pages(name, level):
                pages[page] = below
        return {page: name for page, name in pages.items() if name != ZERO}

    def write_map(self, length, root, out):
        pages = self.page_names(length, root)
        for page in range((length + PAGE - 1) // PAGE):
            data = self.chunk(pages[page]) if page in pages else bytes(PAGE)
            require(len(data) == PAGE, "a page is no page")
            out.write(data[:min(PAGE, length - page * PAGE)])


class Nowhere:
    def write(self, data):
        pass


def main(argv):
    if len(argv) < 3:
        sys.exit(__doc__)
    store = Store(argv[1])
    if argv[2] == "list":
        for name, manifest in store.manifests():
            parts = ["%s:%s:%d" % (p["role"], p["name"], p["length"]) for p in manifest["parts"]]
            print(name, manifest["guest"], *parts)
    elif argv[2] == "check":
        for _, manifest in store.manifests():
            for part in manifest["parts"]:
                store.write_map(part["length"], bytes.fromhex(part["root"]), Nowhere())
    elif argv[2] == "cat" and len(argv) == 6:
        for name, manifest in store.manifests():
            for part in manifest["parts"]:
                if (name, part["role"], part["name"]) == (argv[3], argv[4], argv[5]):
                    store.write_map(part["length"], bytes.fromhex(part["root"]), sys.stdout.buffer)
                    return
        sys.exit("no such part")
    else:
        sys.exit(__doc__)


try:
    main(sys.argv)
except Damaged as damage:
    sys.exit("damaged: %s" % damage)
