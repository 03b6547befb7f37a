# SPDX-License-Identifier: LGPL-2.1-or-later
"""Domains of a libvirt of our own, and what virsh does with them. Everything is durable after."""
import contextlib
import os
import shutil
import time

from ramlib.console import Console
from ramlib.monitor import Monitor, sync_file

# What both names stand for in libvirt's mount namespace; one per libvirt, since the QEMU that goes
# removes the socket of the one that came.
INSIDE = '/var/lib/libvirt'


def uri(libvirt):
    return f'qemu+unix:///system?socket={libvirt.dir}/run/libvirt-sock'


def bytes_in(path):
    """What a file or tree takes on its medium."""
    if os.path.isfile(path):
        return os.stat(path).st_blocks * 512
    return sum(os.lstat(os.path.join(place, f)).st_blocks * 512
               for place, _, files in os.walk(path) for f in files)


class Domain:
    """A defined domain that runs, with a monitor and a console that are the benchmark's."""

    def __init__(self, libvirt, options, name, load):
        self.libvirt, self.name, self.load = libvirt, name, load
        self.monitor = self.console = None
        files = os.path.abspath(os.path.join(options.build, 'tests/guest'))
        machine = 'pc-q35-7.2' if options.qemu == 'qemu-system-x86_64' else 'q35'
        xml = os.path.join(libvirt.dir, f'{name}.xml')
        with open(xml, 'w', encoding='utf-8') as out:
            out.write(f"""<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
<name>{name}</name><memory unit='MiB'>{load.ram}</memory><vcpu>{load.cpus}</vcpu>
<os><type arch='x86_64' machine='{machine}'>hvm</type><kernel>{files}/vmlinuz</kernel>
<initrd>{files}/initrd</initrd><cmdline>{load.append()}</cmdline></os><features><acpi/></features>
<cpu mode='custom'><model>qemu64</model></cpu>
<devices><emulator>{shutil.which(options.qemu)}</emulator><controller type='usb' model='none'/>
<serial type='unix'><source mode='bind' path='{INSIDE}/{name}.console'/></serial>
<memballoon model='none'/></devices>
<qemu:commandline><qemu:arg value='-qmp'/>
<qemu:arg value='unix:{INSIDE}/{name}.qmp,server=on,wait=off'/></qemu:commandline></domain>""")
        libvirt.start('raw')
        libvirt.virsh('define', xml)
        libvirt.virsh('start', '--paused', name)
        self.attach()
        self.monitor.command('cont')

    def attach(self, libvirt=None):
        """To its QEMU, under its libvirt or another."""
        self.libvirt = libvirt or self.libvirt
        self.monitor = Monitor(f'{self.libvirt.dir}/lib/{self.name}.qmp')
        self.console = Console(f'{self.libvirt.dir}/lib/{self.name}.console')

    def detach(self):
        for end in (self.monitor, self.console):
            if end:
                end.close()
        self.monitor = self.console = None

    def await_ready(self):
        self.load.await_ready(self.console)

    def _gone_and_back(self, save, stored, back):
        """Saved by one command and running again by another; what lies between is not counted."""
        self.monitor.forget()
        begun = time.time()
        self.libvirt.virsh(*save)
        saved = time.time()
        sync = sync_file(stored)
        self.monitor.until_gone()
        stop = self.monitor.time_of('STOP')
        size = bytes_in(stored)
        restoring = time.time()
        self.libvirt.virsh(*back)
        running = time.time()
        self.detach()
        self.attach()
        answered = self.console.first_answer()
        return {'pause_ms': (saved - stop + running - restoring) * 1e3,
                'wall_ms': (saved - begun) * 1e3 + sync, 'stored_bytes': size,
                'running_ms': (running - restoring) * 1e3, 'answers_ms': (answered - restoring) * 1e3}

    def save(self):
        """virsh save and virsh restore."""
        path = os.path.join(self.libvirt.dir, 'saved')
        figures = self._gone_and_back(('save', self.name, path), path, ('restore', path))
        os.unlink(path)
        return figures

    def managed_path(self):
        return f'{self.libvirt.dir}/lib/qemu/save/{self.name}.save'

    def managed_save(self):
        """virsh managedsave and virsh start."""
        return self._gone_and_back(('managedsave', self.name), self.managed_path(),
                                   ('start', self.name))

    def snapshot(self):
        """An external snapshot of the live memory; the guest runs on."""
        path = os.path.join(self.libvirt.dir, 'snapshot')
        self.monitor.forget()
        begun = time.monotonic()
        self.libvirt.virsh('snapshot-create-as', self.name, 'bench', '--memspec',
                           f'file={path},snapshot=external', '--live', '--no-metadata')
        sync_file(path)
        wall = (time.monotonic() - begun) * 1e3
        size = bytes_in(path)
        os.unlink(path)
        return {'pause_ms': self.monitor.pause_ms(), 'wall_ms': wall, 'stored_bytes': size}

    def checkpoint(self, host, store):
        """One by vmckpt; its report, and the pause that QEMU's events tell."""
        self.monitor.forget()
        begun = time.monotonic()
        report = host.vmckpt('checkpoint', self.name, store=store)
        return {'wall_ms': (time.monotonic() - begun) * 1e3, 'pause_ms': self.monitor.pause_ms(),
                'stored_bytes': report['stored_bytes'], 'id': report['id']}

    def restore(self, host, store, checkpoint):
        """By vmckpt, after its end: when it ran and when it answered."""
        self.detach()
        self.libvirt.virsh('destroy', self.name)
        begun = time.time()
        host.vmckpt('restore', checkpoint, store=store)
        done = time.time()
        self.attach()
        return {'running_ms': (done - begun) * 1e3,
                'answers_ms': (self.console.first_answer() - begun) * 1e3}

    def kill(self):
        self.detach()
        with contextlib.suppress(RuntimeError):
            self.libvirt.virsh('destroy', self.name)
