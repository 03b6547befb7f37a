# SPDX-License-Identifier: LGPL-2.1-or-later
"""The guest of the benchmark under vmckpt: one daemon of its own, guests with shared or private memory."""
import contextlib
import dataclasses
import json
import os
import socket
import struct
import subprocess
import time

from .console import Console
from .monitor import Monitor


@dataclasses.dataclass
class Load:
    """What the guest is and does; the same for everybody who is compared."""
    name: str
    ram: int           # MiB
    fill: int = 0      # MiB, half of each page random
    rate: int = 0      # MiB per second of random pages rewritten
    touch: int = 0     # MiB per second of random pages of which the first words are written
    work: int = 0      # MiB that each worker computes over
    workers: int = 1
    cpus: int = 2

    def append(self):
        text = 'console=ttyS0 quiet panic=-1 witness.cells=pipe witness.sweep=0'
        if self.fill:
            text += (f' witness.fill={self.fill} witness.compress=50 witness.dirty={self.rate}'
                     f' witness.touch={self.touch}')
        if self.work:
            text += f' witness.work={self.work} witness.workers={self.workers}'
        return text

    def await_ready(self, console):
        if self.fill:
            console.wait(f'load filled {self.fill} MiB')
        if self.work:
            console.wait(f'work ready {self.work} MiB')
        console.wait('witness all ok', console.mark())


def cpu_seconds(pid):
    """Processor time that a process has had."""
    with open(f'/proc/{pid}/stat', encoding='ascii') as stat:
        fields = stat.read().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


class Host:
    """A runtime directory with its daemon."""

    def __init__(self, options, work):
        self.options = options
        self.work = work
        self.runtime = os.path.join(work, 'run')
        self.stores = 0

    def vmckpt(self, *args, store=None, env=None):
        command = [os.path.join(self.options.build, 'vmckpt/cli/vmckpt'), '--json',
                   '--runtime', self.runtime]
        if store:
            command += ['--store', store]
        done = subprocess.run(command + list(args), check=False, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env={**os.environ, **(env or {})})
        if done.returncode != 0:
            raise RuntimeError(f"vmckpt {' '.join(args)}: {done.stderr.strip()}")
        lines = done.stdout.strip().splitlines()
        return json.loads(lines[-1]) if lines and lines[-1].startswith('{') else None

    def help(self, verb):
        return subprocess.run([os.path.join(self.options.build, 'vmckpt/cli/vmckpt'), verb, '--help'],
                              check=True, text=True, stdout=subprocess.PIPE).stdout

    def new_store(self):
        self.stores += 1
        store = os.path.join(self.work, f'store{self.stores}')
        self.vmckpt('store', 'init', store=store)
        return store

    def daemon(self):
        """The daemon's process."""
        with socket.socket(socket.AF_UNIX) as api:
            api.connect(os.path.join(self.runtime, 'api.sock'))
            return struct.unpack('3i', api.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]

    def forget_peak(self):
        """From now on peak_mib() counts."""
        with contextlib.suppress(OSError), open(f'/proc/{self.daemon()}/clear_refs', 'w') as refs:
            refs.write('5')

    def peak_mib(self):
        with open(f'/proc/{self.daemon()}/status', encoding='ascii') as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith('VmHWM'))

    def cpu_seconds(self):
        """Of the daemon, so far."""
        return cpu_seconds(self.daemon())

    def end(self):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as api:
            api.settimeout(30)
            api.connect(os.path.join(self.runtime, 'api.sock'))
            api.sendall(b'POST /v1/shutdown HTTP/1.1\r\nHost: vmckpt\r\nContent-Length: 2\r\n\r\n{}')
            while api.recv(4096):
                pass


class Guest:
    """One guest that vmckpt runs."""

    def __init__(self, host, name, load, private=False, qemu=None):
        self.host, self.name, self.load = host, name, load
        self.monitor_path = os.path.join(host.work, f'{name}.qmp')
        self.console_path = os.path.join(host.runtime, 'guests', name, 'console.sock')
        files = os.path.join(host.options.build, 'tests/guest')
        host.vmckpt('run', name, '--ram', f'{load.ram}M', '--cpus', str(load.cpus),
                    '--accel', 'tcg', '--qemu', qemu or host.options.qemu, '--paused',
                    *(['--memory', 'private'] if private else []),
                    '--kernel', f'{files}/vmlinuz', '--initrd', f'{files}/initrd',
                    '--append', load.append(),
                    '--', '-qmp', f'unix:{self.monitor_path},server=on,wait=off')
        self.attach()
        host.vmckpt('continue', name)

    def attach(self):
        self.monitor = Monitor(self.monitor_path)
        self.console = Console(self.console_path)

    def await_ready(self):
        self.load.await_ready(self.console)

    def cpu_seconds(self):
        """Of its QEMU, so far."""
        with open(os.path.join(self.host.runtime, 'guests', self.name, 'keeper.json'),
                  encoding='utf-8') as file:
            return cpu_seconds(json.load(file)['qemu']['pid'])

    def stop(self):
        """Its CPUs take nothing from others now."""
        self.monitor.command('stop')

    def go(self):
        self.monitor.command('cont')

    def checkpoint(self, store, *args):
        """One by vmckpt; its report, and the pause that QEMU's events tell."""
        self.monitor.forget()
        begun = time.monotonic()
        report = self.host.vmckpt('checkpoint', self.name, *args, store=store)
        report['wall_ms'] = (time.monotonic() - begun) * 1e3
        report['pause_ms'] = self.monitor.pause_ms()
        return report

    def kill(self):
        self.monitor.close()
        self.console.close()
        with contextlib.suppress(RuntimeError):
            self.host.vmckpt('kill', self.name)

    def restore(self, store, ref, *args):
        """From a checkpoint, after its end: when it ran and when it answered, from the command on."""
        begun = time.time()
        result = self.host.vmckpt('restore', ref, *args, store=store)
        done = time.time()
        self.attach()
        answered = self.console.first_answer()
        return {'running_ms': (done - begun) * 1e3, 'answers_ms': (answered - begun) * 1e3,
                'report': result, 'begun': begun}
