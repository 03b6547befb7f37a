# SPDX-License-Identifier: LGPL-2.1-or-later
"""The guests of one load that stand beside each other; of these only one runs at a time."""
import os
import shutil
import tempfile

from . import libvirt
from .guest import Guest, Host


class Stage:
    def __init__(self, options, load, results):
        self.options, self.load, self.results = options, load, results
        self.work = tempfile.mkdtemp(prefix='vmckpt-bench.', dir=options.work)
        self.host = Host(options, self.work)
        self.libvirt = None
        self.guests = []
        self.shared = self.private = self.untracked = self.domain = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for guest in self.guests:
            guest.kill()
        if self.libvirt:
            self.libvirt.end()
        self.host.end()
        shutil.rmtree(self.work, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.work, name)

    def start(self, shared=True, private=False, untracked=False, domain=False, qemu=None):
        """Starts these guests together, waits until all have filled their memory, and stops them."""
        if domain and not self.options.no_libvirt:
            self.libvirt = libvirt.Libvirt(self.work)
            self.domain = libvirt.Domain(self.libvirt, self.options, self.work, self.load)
            self.guests.append(self.domain)
        if shared:
            self.shared = Guest(self.host, 'shared', self.load, qemu=qemu)
            self.guests.append(self.shared)
        if untracked:
            self.untracked = Guest(self.host, 'untracked', self.load, qemu=qemu)
            self.guests.append(self.untracked)
        if private:
            self.private = Guest(self.host, 'private', self.load, private=True, qemu=qemu)
            self.guests.append(self.private)
        for guest in self.guests:
            guest.await_ready()
            if self.load.work:
                guest.console.rest(True)
            guest.stop()

    def only(self, guest):
        """Context: this guest runs, the others do not."""
        return _Running(guest)

    def add(self, part, way, **figures):
        self.results.add(part, self.load.name, way, **figures)

    def healthy(self):
        """No witness has found anything wrong."""
        for guest in self.guests:
            if b' FAIL ' in guest.console.text:
                raise RuntimeError(f'the guest {guest.name} has suffered')


class _Running:
    def __init__(self, guest):
        self.guest = guest

    def __enter__(self):
        self.guest.go()
        return self.guest

    def __exit__(self, *_):
        self.guest.stop()
