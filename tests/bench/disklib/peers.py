# SPDX-License-Identifier: LGPL-2.1-or-later
"""What others do with a disk: qemu-img, libvirt's backups, borg, restic. Everything is durable after."""
import os
import shutil
import subprocess
import time

from ramlib.monitor import sync_file

BACKUP = """<domainbackup mode='push'>{since}<disks><disk name='vda' backup='yes' type='file'>
<target file='{target}'/><driver type='qcow2'/></disk></disks></domainbackup>"""
CHECKPOINT = "<domaincheckpoint><name>{name}</name></domaincheckpoint>"


def _run(*command, env=None):
    done = subprocess.run(command, check=False, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})})
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout.strip()[-300:]}")


def bytes_in(path):
    """What a file or tree takes on its medium."""
    if os.path.isfile(path):
        return os.stat(path).st_blocks * 512
    return sum(os.lstat(os.path.join(place, f)).st_blocks * 512
               for place, _, files in os.walk(path) for f in files)


def _sync_tree(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        _run('sync', '-f', path)
    finally:
        os.close(fd)


class Convert:
    """A copy of the stopped guest's image."""
    name = 'qemu-img convert'

    def __init__(self, work):
        self.target = os.path.join(work, 'copy.qcow2')

    def take(self, image):
        """Returns wall_ms and kept_bytes."""
        begun = time.monotonic()
        _run('qemu-img', 'convert', '-U', '-O', 'qcow2', image, self.target)
        sync_file(self.target)
        wall = (time.monotonic() - begun) * 1e3
        kept = bytes_in(self.target)
        os.unlink(self.target)
        return {'wall_ms': wall, 'kept_bytes': kept}


class _Repository:
    def __init__(self, work):
        self.path = os.path.join(work, self.name)
        self.number = 0

    def take(self, image):
        self.number += 1
        before = bytes_in(self.path)
        begun = time.monotonic()
        self.backup(image)
        _sync_tree(self.path)
        return {'wall_ms': (time.monotonic() - begun) * 1e3, 'kept_bytes': bytes_in(self.path) - before}

    def end(self):
        shutil.rmtree(self.path, ignore_errors=True)


class Borg(_Repository):
    name = 'borg'
    env = {'BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK': 'yes'}

    def __init__(self, work):
        super().__init__(work)
        self.env = {**self.env, 'BORG_BASE_DIR': os.path.join(work, 'borg-home')}
        _run('borg', 'init', '-e', 'none', self.path, env=self.env)

    def backup(self, image):
        _run('borg', 'create', '--chunker-params=fixed,4096',
             f'{self.path}::{self.number}', image, env=self.env)


class Restic(_Repository):
    name = 'restic'

    def __init__(self, work):
        super().__init__(work)
        self.env = {'RESTIC_PASSWORD': 'x', 'RESTIC_CACHE_DIR': os.path.join(work, 'restic-cache')}
        _run('restic', '-r', self.path, 'init', env=self.env)

    def backup(self, image):
        _run('restic', '-r', self.path, 'backup', '-q', image, env=self.env)


class Backup:
    """libvirt's backup-begin in push mode of the running guest, full and of what changed since."""
    name = 'virsh backup-begin'

    def __init__(self, work, domain):
        self.work, self.domain, self.number = work, domain, 0

    def _write(self, name, text):
        path = os.path.join(self.work, name)
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)
        return path

    def take(self, _image):
        self.number += 1
        target = os.path.join(self.work, f'backup{self.number}.qcow2')
        since = f'<incremental>c{self.number - 1}</incremental>' if self.number > 1 else ''
        backup = self._write('backup.xml', BACKUP.format(since=since, target=target))
        checkpoint = self._write('checkpoint.xml', CHECKPOINT.format(name=f'c{self.number}'))
        begun = time.monotonic()
        self.domain.libvirt.virsh('backup-begin', self.domain.name, backup, checkpoint)
        self.domain.monitor.forget()
        while self.domain.libvirt.virsh('domjobinfo', self.domain.name).split(':')[1].split()[0] != 'None':
            time.sleep(0.01)
        sync_file(target)
        wall = (time.monotonic() - begun) * 1e3
        kept = bytes_in(target)
        os.unlink(target)
        return {'wall_ms': wall, 'kept_bytes': kept}


def installed():
    """Peers that work on the stopped image."""
    return [peer for peer, program in ((Convert, 'qemu-img'), (Borg, 'borg'), (Restic, 'restic'))
            if shutil.which(program)]
