# SPDX-License-Identifier: LGPL-2.1-or-later
"""The same guest under a real libvirt, in a mount namespace of its own: virsh save and restore."""
import contextlib
import os
import shutil
import signal
import subprocess
import time

from .console import Console
from .monitor import Monitor, sync_file

QEMU_CONF = """user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
seccomp_sandbox = 0
cgroup_controllers = []
save_image_format = "{format}"
"""
INNER = """mount --make-rprivate /
for place in etc:/etc lib:/var/lib log:/var/log cache:/var/cache run:/run; do
  mkdir -p "${{place#*:}}/libvirt"
  mount --bind "{dir}/${{place%%:*}}" "${{place#*:}}/libvirt"
done
virtlogd -p "{dir}/virtlogd.pid" &
exec libvirtd -p "{dir}/libvirtd.pid"
"""


def missing():
    """Why there is no libvirt here, or None."""
    for program in ('libvirtd', 'virtlogd', 'virsh', 'unshare'):
        if not shutil.which(program):
            return f'{program} is not installed'
    return None if os.geteuid() == 0 else 'libvirt in a mount namespace of its own needs root'


class Libvirt:
    """A libvirtd of our own."""

    def __init__(self, work):
        self.dir = os.path.join(work, 'lv')
        for name in ('etc', 'lib', 'log', 'cache', 'run'):
            os.makedirs(os.path.join(self.dir, name))
        with open('/proc/sys/kernel/random/uuid', encoding='ascii') as uuid:
            self._write('libvirtd.conf', f'host_uuid = "{uuid.read().strip()}"\n'
                        'auth_unix_rw = "none"\n')
        self.process = None
        self.format = None

    def _write(self, name, text):
        with open(os.path.join(self.dir, 'etc', name), 'w', encoding='utf-8') as file:
            file.write(text)

    def start(self, save_format):
        """(Again) with that format of saved images; running guests are found again."""
        if self.format == save_format:
            return
        self._stop()
        self._write('qemu.conf', QEMU_CONF.format(format=save_format))
        self.process = subprocess.Popen(
            ['unshare', '-m', 'bash', '-c', INNER.format(dir=self.dir)], start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(RuntimeError):
                self.virsh('list')
                break
            if time.monotonic() > deadline:
                raise RuntimeError('libvirtd does not answer')
            time.sleep(0.05)
        self.format = save_format

    def virsh(self, *args):
        done = subprocess.run(
            ['virsh', '-q', '-c', f'qemu+unix:///system?socket={self.dir}/run/libvirt-sock', *args],
            check=False, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        if done.returncode != 0:
            raise RuntimeError(f"virsh {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def _stop(self):
        """Both daemons; domains run on."""
        if self.process is None:
            return
        for name in ('libvirtd', 'virtlogd'):
            with contextlib.suppress(OSError, ValueError):
                with open(os.path.join(self.dir, f'{name}.pid'), encoding='ascii') as file:
                    os.kill(int(file.read()), signal.SIGTERM)
        self.process.wait()
        self.process = None
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self.dir, 'run', 'libvirt-sock'))

    def end(self):
        self._stop()


class Domain:
    """The guest as a domain, with a monitor and a console for the benchmark."""

    def __init__(self, libvirt, options, work, load):
        self.libvirt, self.load, self.name = libvirt, load, 'bench'
        self.monitor_path = os.path.join(work, 'domain.qmp')
        self.console_path = os.path.join(work, 'domain.console')
        files = os.path.abspath(os.path.join(options.build, 'tests/guest'))
        xml = os.path.join(work, 'domain.xml')
        with open(xml, 'w', encoding='utf-8') as out:
            out.write(f"""<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
<name>bench</name><memory unit='MiB'>{load.ram}</memory><vcpu>{load.cpus}</vcpu>
<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><kernel>{files}/vmlinuz</kernel>
<initrd>{files}/initrd</initrd><cmdline>{load.append()}</cmdline></os><features><acpi/></features>
<cpu mode='custom'><model>qemu64</model></cpu>
<devices><emulator>{shutil.which(options.qemu)}</emulator><controller type='usb' model='none'/>
<serial type='unix'><source mode='bind' path='{self.console_path}'/></serial>
<memballoon model='none'/></devices>
<qemu:commandline><qemu:arg value='-qmp'/>
<qemu:arg value='unix:{self.monitor_path},server=on,wait=off'/></qemu:commandline></domain>""")
        libvirt.start('raw')
        libvirt.virsh('create', '--paused', xml)
        self.attach()
        self.monitor.command('cont')

    def attach(self):
        self.monitor = Monitor(self.monitor_path)
        self.console = Console(self.console_path)

    def detach(self):
        self.monitor.close()
        self.console.close()

    def await_ready(self):
        self.load.await_ready(self.console)

    def stop(self):
        self.monitor.command('stop')

    def go(self):
        self.monitor.command('cont')

    def save_and_restore(self, path, save_format):
        """virsh save, and at once virsh restore: the guest stands still until it is back.

        Making the file durable lies between the two and is not counted in the pause."""
        self.libvirt.start(save_format)
        self.monitor.forget()
        begun = time.time()
        self.libvirt.virsh('save', self.name, path)
        saved = time.time()
        sync = sync_file(path)
        self.monitor.until_gone()
        stop = self.monitor.time_of('STOP')
        restoring = time.time()
        self.libvirt.virsh('restore', path)
        running = time.time()
        self.detach()
        self.attach()
        answered = self.console.first_answer()
        size = os.stat(path).st_size
        os.unlink(path)
        return {'pause_ms': (running - stop) * 1e3 - sync, 'save_ms': (saved - begun) * 1e3,
                'wall_ms': (saved - begun) * 1e3 + sync, 'stored_bytes': size,
                'running_ms': (running - restoring) * 1e3, 'answers_ms': (answered - restoring) * 1e3}

    def kill(self):
        self.detach()
        with contextlib.suppress(RuntimeError):
            self.libvirt.virsh('destroy', self.name)
