#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A second reader of the store format, written from docs/store-format.md alone.

    store-reader.py STORE list                checkpoints, oldest first: ID GUEST PART...
    store-reader.py STORE cat ID ROLE NAME    the bytes of one part, to stdout
    store-reader.py STORE check               verify everything that the checkpoints need

Before STORE, --key-file FILE or --password-file FILE gives the key of an encrypted store.

It uses neither the index nor any of the program's code: chunks are found by the packs' footers.
"""
import hashlib
import json
import os
import re
import struct
import subprocess
import sys

try:
    import nacl.bindings
    import nacl.exceptions
    import nacl.pwhash
except ImportError:
    nacl = None  # enough for a store that is not encrypted

ZERO = bytes(32)
PAGE = 4096


class Damaged(Exception):
    pass


def require(condition, what):
    if not condition:
        raise Damaged(what)


class Keys:
    """What an encrypted store's master key gives (docs/store-format.md, "Keys")."""

    def __init__(self, store, store_id, kind, given):
        self.master = None
        for name in sorted(store.names("keys")):
            if len(name) == len("keys/") + 36 and self.master is None:
                self.master = self.unwrap(store, name, store_id, kind, given)
        require(self.master is not None, "no key of the store is the one given")
        self.seal = self.derive(b"vmckpt objects")
        self.names = self.derive(b"vmckpt names")

    def derive(self, purpose):
        return hashlib.blake2b(purpose, digest_size=32, key=self.master).digest()

    def unwrap(self, store, name, store_id, kind, given):
        key = store.text(name, b"vmckpt-key", key=ZERO)
        if key["store"] != store_id or key["kind"] != kind:
            return None
        salt = bytes.fromhex(key["salt"])
        if kind == "password":
            require(key["kdf"] == "argon2id13" and key["ops"] <= 10 and
                    key["memory_bytes"] <= 1 << 30, name + " asks for too much")
            wrapping = nacl.pwhash.argon2id.kdf(32, given, salt, key["ops"], key["memory_bytes"])
        else:
            require(key["kdf"] == "blake2b", name + " has an unknown kdf")
            digest = hashlib.blake2b(given, digest_size=32).digest()
            wrapping = hashlib.blake2b(salt, digest_size=32, key=digest).digest()
        try:
            return nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
                bytes.fromhex(key["wrapped"]), ("vmckpt-key %s %s" % (store_id, kind)).encode(),
                bytes.fromhex(key["nonce"]), wrapping)
        except nacl.exceptions.CryptoError:
            return None

    def check_mac(self, store, name):
        text = store.read_file(name)[:-65]
        found = re.fullmatch(rb'(.*"mac":")([0-9a-f]{64})"}\n', text, re.DOTALL)
        require(found is not None, name + " has no MAC")
        mac = hashlib.blake2b(name.encode() + b"\n" + found[1], digest_size=32,
                              key=self.derive(b"vmckpt format")).hexdigest()
        require(mac.encode() == found[2], name + " was changed")


class Store:
    def __init__(self, path, kind=None, given=None):
        self.path = path
        self.keys = None
        form = self.text("format", b"vmckpt-store", key=ZERO)
        require(form.get("requires", []) in ([], ["encryption"]) and "encryption" not in form,
                "the store requires something unknown")
        require(form["page_size"] == PAGE, "unknown page size")
        require(bool(form.get("requires")) == (kind is not None),
                "a key is given, or not, and the store is not, or is, encrypted")
        if kind is None:
            self.key = bytes.fromhex(form["hash_key"])
        else:
            keys = Keys(self, form["id"], kind, given)
            keys.check_mac(self, "format")
            self.key = keys.names
            self.keys = keys
        self.places = None
        self.frames = {}

    def name_of(self, data, key=None):
        return hashlib.blake2b(data, digest_size=32, key=self.key if key is None else key).digest()

    def names(self, directory):
        found = []
        for root, _, files in os.walk(os.path.join(self.path, directory)):
            found += [os.path.relpath(os.path.join(root, name), self.path) for name in files]
        return found

    # ---- objects, sealed or not ----

    def read_file(self, name, offset=0, length=-1):
        with open(os.path.join(self.path, name), "rb") as file:
            file.seek(offset)
            return file.read(length)

    def size(self, name):
        stored = os.path.getsize(os.path.join(self.path, name))
        if self.keys is None:
            return stored
        blocks = (stored - 48 + 4111) // 4112
        require(stored >= 64 and (stored - 48) % 4112 not in range(1, 16), name + " was cut")
        return stored - 48 - 16 * blocks

    def read(self, name, offset=0, length=None):
        """Bytes of the object; of a sealed one, those of the blocks that cover them are opened."""
        size = self.size(name) if self.keys is not None or length is None else None
        length = size - offset if length is None else length
        if self.keys is None:
            return self.read_file(name, offset, length)
        header = self.read_file(name, 0, 48)
        magic, _, since, _ = struct.unpack_from("<8sHHI", header)
        require(magic == b"vmckseal" and since <= 1, name + " is not sealed")
        key = hashlib.blake2b(header, digest_size=32, key=self.keys.seal).digest()
        last = max(0, size - 1) // 4096
        out = b""
        first = offset // 4096
        for number in range(first, max(offset, offset + length - 1) // 4096 + 1):
            block = self.read_file(name, 48 + number * 4112, 4112)
            end = struct.pack("<Q", size) + name.encode() if number == last else b""
            nonce = struct.pack("<QBxxx", number, number == last)
            try:
                out += nacl.bindings.crypto_aead_chacha20poly1305_ietf_decrypt(block, end, nonce, key)
            except nacl.exceptions.CryptoError:
                raise Damaged("%s: block %d does not open" % (name, number)) from None
        return out[offset - first * 4096:offset - first * 4096 + length]

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
        for name in map(os.path.basename, self.names("manifests")):
            manifest = self.text("manifests/" + name, b"vmckpt-manifest", content_named=True)
            found.append((manifest["created_us"], name, manifest))
        return [(name, manifest) for _, name, manifest in sorted(found, key=lambda m: m[:2])]

    # ---- chunks ----

    def load_footers(self):
        self.places, self.deltas = {}, {}
        for path in self.names("packs"):
            self.load_footer(path, bytes.fromhex(os.path.basename(path)))

    def load_footer(self, path, name):
        magic, version, since, _ = struct.unpack("<8sHHI", self.read(path, 0, 16))
        require(magic == b"vmckpack" and since <= 2, path + " is no pack")
        at, size, _, digest, magic = struct.unpack(
            "<QII32s8s", self.read(path, self.size(path) - 56, 56))
        require(magic == b"vmckpend" and digest == name, path + " has a wrong trailer")
        footer = self.read(path, at, size)
        require(self.name_of(footer) == name, path + " has a wrong footer")
        n_frames, n_chunks = struct.unpack_from("<II", footer, 16)
        chunk_at = 32 + 16 * n_frames
        require(len(footer) == chunk_at + 36 * n_chunks, path + " has a wrong footer")
        end = 16
        for i in range(n_frames):
            offset, stored, raw, chunks, codec = struct.unpack_from("<IIIHH", footer, 32 + 16 * i)
            require(offset == end and raw <= 512 << 10, path + " has a wrong frame")
            require(codec < 2 or (codec == 2 and since == 2 and raw == chunks * PAGE),
                    path + " has a wrong frame")
            end += stored
            inside = 0
            for _ in range(chunks):
                chunk, length = struct.unpack_from("<32sI", footer, chunk_at)
                chunk_at += 36
                place = (path, offset, stored, raw, codec, inside, length)
                if codec == 2:
                    require(length == PAGE, path + " has a wrong frame")
                    self.deltas[chunk] = place
                else:
                    self.places[chunk] = place
                inside += length
            require(inside == raw, path + " has a wrong frame")
        require(end == at, path + " has a gap")

    def frame(self, path, offset, stored, raw, codec):
        if (path, offset) not in self.frames:
            data = self.read(path, offset, stored)
            if codec == 1:
                data = self.unpack(data)
            require(codec == 2 or len(data) == raw, path + " has a frame of the wrong size")
            if len(self.frames) > 256:
                self.frames.clear()
            self.frames[path, offset] = data
        return self.frames[path, offset]

    def unpack(self, data):
        run = subprocess.run(["zstd", "-d", "-c", "-q"], input=data, stdout=subprocess.PIPE)
        require(run.returncode == 0, "a frame does not decompress")
        return run.stdout

    def delta(self, name):
        """A page that is stored as the lines in which it differs from another one."""
        path, offset, stored, raw, codec, inside, _ = self.deltas[name]
        frame = self.frame(path, offset, stored, raw, codec)
        require(self.name_of(frame[32:]) == frame[:32], path + " has a damaged frame")
        size, packed, xored = struct.unpack_from("<IBB", frame, 32)
        count, which = raw // PAGE, inside // PAGE
        body = frame[40 + 32 * count:]
        if packed:
            body = self.unpack(body)
        require(len(body) == size and xored < 2, path + " has a wrong frame")
        bitmaps = struct.unpack_from("<%dQ" % count, body)
        at = 8 * count + 64 * sum(bin(bitmap).count("1") for bitmap in bitmaps[:which])
        page = bytearray(self.full_chunk(frame[40 + 32 * which:72 + 32 * which]))
        require(len(page) == PAGE, "the base of a delta is no page")
        for line in range(64):
            if not bitmaps[which] >> line & 1:
                continue
            for i in range(64):
                old = page[64 * line + i] if xored else 0
                page[64 * line + i] = body[at + i] ^ old
            at += 64
        require(self.name_of(page) == name, "chunk %s is damaged" % name.hex())
        return bytes(page)

    def chunk(self, name):
        if self.places is None:
            self.load_footers()
        if name not in self.places and name in self.deltas:
            return self.delta(name)
        return self.full_chunk(name)

    def full_chunk(self, name):
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


def read_key(option, path):
    """The kind of key, and its material."""
    with open(path, "rb") as file:
        content = file.read()
    if option == "--key-file":
        return "file", content
    return "password", content.split(b"\n")[0].rstrip(b"\r")


def main(argv):
    key = ()
    if len(argv) > 3 and argv[1] in ("--key-file", "--password-file"):
        key = read_key(argv[1], argv[2])
        argv = argv[:1] + argv[3:]
    if len(argv) < 3:
        sys.exit(__doc__)
    if key and nacl is None:
        sys.exit("an encrypted store needs python3-nacl")
    store = Store(argv[1], *key)
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
