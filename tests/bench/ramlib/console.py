# SPDX-License-Identifier: LGPL-2.1-or-later
"""The witness's console: its orders, and what it answers at what time."""
import itertools
import re
import socket
import threading
import time

from .monitor import PATIENCE


class Console:
    """Reads all that the guest prints, whether anybody waits for it or not."""
    words = itertools.count(1)

    def __init__(self, path):
        deadline = time.monotonic() + PATIENCE
        while True:
            self.sock = socket.socket(socket.AF_UNIX)
            try:
                self.sock.connect(path)
                break
            except OSError:
                self.sock.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.002)
        self.text = b''
        self.more = threading.Condition()
        self.ended = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            try:
                data = self.sock.recv(65536)
            except OSError:
                data = b''
            with self.more:
                self.text += data
                self.ended = not data
                self.more.notify_all()
            if not data:
                return

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()

    def mark(self):
        return len(self.text)

    def wait(self, pattern, start=0, patience=PATIENCE):
        """Waits for a line after byte @start of what was read; returns the match."""
        compiled = re.compile(pattern.encode())
        deadline = time.monotonic() + patience
        with self.more:
            while not (found := compiled.search(self.text, start)):
                left = deadline - time.monotonic()
                if self.ended or left <= 0:
                    raise RuntimeError(f'the guest does not say "{pattern}": '
                                       f'{self.text[-300:].decode(errors="replace")}')
                self.more.wait(left)
        return found

    def tell(self, line):
        self.sock.sendall((line + '\n').encode())

    def work(self):
        """What the workers have done so far, and when that was said."""
        start = self.mark()
        self.tell('work')
        done = int(self.wait(r'work done (\d+)\r', start).group(1))
        return done, time.monotonic()

    def rest(self, rest):
        """Workers rest, or go on."""
        start = self.mark()
        self.tell('work rest' if rest else 'work on')
        self.wait('work rests' if rest else 'work goes on', start)

    def write(self, mib):
        """The guest rewrites that much."""
        start = self.mark()
        self.tell(f'dirty {mib}')
        self.wait(f'load wrote {mib} MiB', start)

    def first_answer(self):
        """Asks until the guest answers; returns when that was (host's clock)."""
        start, deadline = self.mark(), time.monotonic() + PATIENCE
        words = []
        while time.monotonic() < deadline:
            words.append(f'w{next(self.words)}')
            self.tell(f'ping {words[-1]}')
            try:
                self.wait('pong (' + '|'.join(words) + r')\r', start, 0.02)
                return time.time()
            except RuntimeError:
                if self.ended:
                    raise
        raise RuntimeError('the guest does not answer')
