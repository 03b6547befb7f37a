# SPDX-License-Identifier: LGPL-2.1-or-later
"""A QMP monitor of a guest's QEMU that is the benchmark's alone, and what its events tell."""
import contextlib
import json
import os
import socket
import time

PATIENCE = 600  # seconds that any wait lasts at most
OURS = ('background-snapshot', 'multifd', 'mapped-ram', 'x-ignore-shared')


class Gone(Exception):
    """QEMU has closed the monitor."""


class Monitor:
    def __init__(self, path, patience=PATIENCE):
        """Waits until somebody listens on @path."""
        deadline = time.monotonic() + patience
        while True:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(patience)
            try:
                self.sock.connect(path)
                break
            except OSError:
                self.sock.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.002)
        self.lines = self.sock.makefile('r')
        self.events = []
        self._read()
        self.command('qmp_capabilities')

    def close(self):
        self.lines.close()
        self.sock.close()

    def _read(self):
        line = self.lines.readline()
        if not line:
            raise Gone
        return json.loads(line)

    def command(self, name, fds=(), **arguments):
        request = json.dumps({'execute': name, 'arguments': arguments}).encode()
        socket.send_fds(self.sock, [request], list(fds))
        while True:
            answer = self._read()
            if 'event' in answer:
                self.events.append(answer)
            elif 'error' in answer:
                raise RuntimeError(f"{name}: {answer['error']['desc']}")
            else:
                return answer['return']

    def forget(self):
        """Drops the events so far."""
        self.command('query-status')
        self.events = []

    def until_gone(self):
        """Reads events until QEMU ends."""
        with contextlib.suppress(Gone, OSError):
            while True:
                answer = self._read()
                if 'event' in answer:
                    self.events.append(answer)

    def wait_event(self, name):
        while not any(e['event'] == name for e in self.events):
            answer = self._read()
            if 'event' in answer:
                self.events.append(answer)
        return self.time_of(name)

    def time_of(self, name):
        """When the last event of that name was, in seconds of the host's clock; None if it was not."""
        stamps = [e['timestamp'] for e in self.events if e['event'] == name]
        return stamps[-1]['seconds'] + stamps[-1]['microseconds'] / 1e6 if stamps else None

    def pause_ms(self):
        """From STOP to RESUME by QEMU's own clock."""
        self.command('query-status')
        return (self.time_of('RESUME') - self.time_of('STOP')) * 1e3

    def capabilities(self, *wanted):
        """Switches these on, and off whatever else this benchmark or vmckpt has switched on."""
        known = {c['capability']: c['state'] for c in self.command('query-migrate-capabilities')}
        change = [{'capability': c, 'state': c in wanted} for c in {*OURS, *wanted}
                  if c in known and known[c] != (c in wanted)]
        missing = [c for c in wanted if c not in known]
        if missing:
            raise RuntimeError(f"this QEMU does not know {', '.join(missing)}")
        # One that forbids another has to go before the other comes.
        for part in ([c for c in change if not c['state']], [c for c in change if c['state']]):
            if part:
                self.command('migrate-set-capabilities', capabilities=part)

    def migrate(self, uri):
        """Has QEMU migrate to @uri, as fast as it can, and waits for the end."""
        self.command('migrate-set-parameters', **{'max-bandwidth': 1 << 40})
        self.command('migrate', uri=uri)
        while (status := self.command('query-migrate').get('status')) != 'completed':
            if status in ('failed', 'cancelled'):
                raise RuntimeError(f'the migration to {uri} has {status}')
            time.sleep(0.002)

    def job(self, command, **arguments):
        """A background job of QEMU's, to its end."""
        self.command(command, **{'job-id': 'bench'}, **arguments)
        while True:
            job = next(j for j in self.command('query-jobs') if j['id'] == 'bench')
            if job['status'] == 'concluded':
                break
            time.sleep(0.002)
        self.command('job-dismiss', id='bench')
        if 'error' in job:
            raise RuntimeError(f"{command}: {job['error']}")


def sync_file(path):
    """Makes a file durable; what it takes, in milliseconds."""
    begun = time.monotonic()
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    return (time.monotonic() - begun) * 1e3
