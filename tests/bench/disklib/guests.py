# SPDX-License-Identifier: LGPL-2.1-or-later
"""Guests with one disk, under vmckpt and under libvirt, and what is written to that disk."""
import contextlib
import dataclasses
import os
import random
import shutil

from ramlib.console import Console
from ramlib.guest import Guest
from ramlib.monitor import Monitor

MIB, BLOCK = 1 << 20, 4096


@dataclasses.dataclass
class Load:
    """The disk; the same content for everybody who is compared."""
    name: str
    size: int         # MiB that the guest sees
    data: int         # MiB of data, half of each page random; the rest are holes
    ram: int = 256    # MiB
    busy: bool = False  # the guest itself writes, as fast as it can

    def append(self):
        text = 'console=ttyS0 quiet panic=-1 witness.cells=pipe witness.sweep=0'
        if self.busy:
            text += f' witness.disk=blocks:vda witness.disk-rate=0 witness.disk-mib={self.data // 4}'
        return text

    def await_ready(self, console):
        console.wait('witness all ok', console.mark())

    def make_image(self, path):
        numbers = random.Random(1)
        with open(path, 'wb') as file:
            for _ in range(self.data):
                file.write(b''.join(numbers.randbytes(BLOCK // 2) + bytes(range(256)) * (BLOCK // 512)
                                    for _ in range(MIB // BLOCK)))
            file.truncate(self.size * MIB)
            os.fsync(file.fileno())


class Writer:
    """Writes to a guest's disk through QEMU, as its device would."""

    def __init__(self, work, load):
        self.path = os.path.join(work, 'block')
        self.load = load
        self.numbers = random.Random(2)

    def write(self, monitor, device, percent):
        """So much of the data, in blocks at random; returns bytes."""
        blocks = self.numbers.sample(range(self.load.data * MIB // BLOCK),
                                     self.load.data * MIB // BLOCK * percent // 100)
        for block in blocks:
            with open(self.path, 'wb') as file:
                file.write(self.numbers.randbytes(BLOCK))
            said = monitor.command('human-monitor-command', **{
                'command-line':
                f'qemu-io -d {device} "write -q -s {self.path} {block * BLOCK} {BLOCK}"'})
            if said.strip():
                raise RuntimeError(f'qemu-io: {said.strip()}')
        return len(blocks) * BLOCK


class DiskGuest(Guest):
    """A guest of vmckpt with a disk that is captured."""

    def __init__(self, host, name, load, image):  # pylint: disable=super-init-not-called
        self.host, self.name, self.load = host, name, load
        self.monitor_path = os.path.join(host.work, f'{name}.qmp')
        self.console_path = os.path.join(host.runtime, 'guests', name, 'console.sock')
        self.device = '/machine/peripheral/disk0/virtio-backend'
        files = os.path.join(host.options.build, 'tests/guest')
        host.vmckpt('run', name, '--ram', f'{load.ram}M', '--cpus', '2', '--accel', 'tcg',
                    '--qemu', host.options.qemu, '--paused', '--disk', image,
                    '--kernel', f'{files}/vmlinuz', '--initrd', f'{files}/initrd',
                    '--append', load.append(),
                    '--', '-qmp', f'unix:{self.monitor_path},server=on,wait=off')
        self.attach()
        host.vmckpt('continue', name)

    def writes(self):
        """Requests that its disk has served so far."""
        stats = self.monitor.command('query-blockstats')
        return sum(s['stats']['wr_operations'] + s['stats']['rd_operations']
                   for s in stats if s.get('qdev'))


class DiskDomain:
    """The guest as a domain of libvirt, its disk a qcow2 image (backups of changes need one)."""

    def __init__(self, libvirt, options, work, load, image):
        self.libvirt, self.name = libvirt, 'bench'
        self.alias = 'ua-disk'
        self.device = f'/machine/peripheral/{self.alias}/virtio-backend'
        self.monitor_path = os.path.join(work, 'domain.qmp')
        self.console_path = os.path.join(work, 'domain.console')
        files = os.path.abspath(os.path.join(options.build, 'tests/guest'))
        xml = os.path.join(work, 'domain.xml')
        with open(xml, 'w', encoding='utf-8') as out:
            out.write(f"""<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
<name>bench</name><memory unit='MiB'>{load.ram}</memory><vcpu>2</vcpu>
<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><kernel>{files}/vmlinuz</kernel>
<initrd>{files}/initrd</initrd><cmdline>{load.append()}</cmdline></os><features><acpi/></features>
<cpu mode='custom'><model>qemu64</model></cpu>
<devices><emulator>{shutil.which(options.qemu)}</emulator><controller type='usb' model='none'/>
<disk type='file' device='disk'><driver name='qemu' type='qcow2' discard='unmap'/><source file='{image}'/>
<target dev='vda' bus='virtio'/><alias name='{self.alias}'/></disk>
<serial type='unix'><source mode='bind' path='{self.console_path}'/></serial>
<memballoon model='none'/></devices>
<qemu:commandline><qemu:arg value='-qmp'/>
<qemu:arg value='unix:{self.monitor_path},server=on,wait=off'/></qemu:commandline></domain>""")
        libvirt.start('raw')
        libvirt.virsh('create', '--paused', xml)
        self.monitor = Monitor(self.monitor_path)
        self.console = Console(self.console_path)
        self.monitor.command('cont')

    def stop(self):
        self.monitor.command('stop')

    def go(self):
        self.monitor.command('cont')

    def kill(self):
        self.monitor.close()
        self.console.close()
        with contextlib.suppress(RuntimeError):
            self.libvirt.virsh('destroy', self.name)
