# SPDX-License-Identifier: LGPL-2.1-or-later
"""What QEMU itself offers: one function for each way, of a guest that has a monitor and goes on after.

Each makes what it wrote durable, and returns pause, wall time until that, and bytes.
"""
import contextlib
import os
import time

from .monitor import sync_file


def _measure(guest, path, copy):
    """@copy makes the file @path; the guest runs again when it returns."""
    guest.monitor.forget()
    begun = time.monotonic()
    copy()
    wall = (time.monotonic() - begun) * 1e3 + sync_file(path)
    result = {'pause_ms': guest.monitor.pause_ms(), 'wall_ms': wall,
              'stored_bytes': os.stat(path).st_blocks * 512}
    os.unlink(path)
    return result


def _stopped(guest, uri):
    guest.monitor.command('stop')
    guest.monitor.migrate(uri)
    while guest.monitor.command('query-status')['status'] == 'finish-migrate':
        time.sleep(0.002)
    guest.monitor.command('cont')


def stop_and_copy(guest, path):
    """QMP stop, migrate into a file, cont."""
    guest.monitor.capabilities()
    with open(path, 'wb') as file:
        guest.monitor.command('getfd', fds=[file.fileno()], fdname='bench')
        return _measure(guest, path, lambda: _stopped(guest, 'fd:bench'))


def stop_and_zstd(guest, path):
    """The same through exec:zstd -T0 -1."""
    def copy():
        _stopped(guest, f'exec:zstd -q -T0 -1 -f -o {path} && : > {path}.done')
        while not os.path.exists(path + '.done'):
            time.sleep(0.002)
        os.unlink(path + '.done')
    guest.monitor.capabilities()
    return _measure(guest, path, copy)


def background_snapshot(guest, path):
    """QEMU's live snapshot of RAM, raw into a file; the guest runs on after a moment."""
    guest.monitor.capabilities('background-snapshot')
    try:
        with open(path, 'wb') as file:
            guest.monitor.command('getfd', fds=[file.fileno()], fdname='bench')
            return _measure(guest, path, lambda: guest.monitor.migrate('fd:bench'))
    finally:
        with contextlib.suppress(RuntimeError):
            guest.monitor.capabilities()


def savevm(guest, path):
    """What savevm does: state and RAM into a qcow2 image, the guest stopped."""
    qmp = guest.monitor
    qmp.capabilities()
    with open(path, 'wb'):
        pass
    qmp.command('blockdev-add', **{'driver': 'file', 'node-name': 'bench-file', 'filename': path})
    qmp.job('blockdev-create', options={'driver': 'qcow2', 'file': 'bench-file', 'size': 1 << 20})
    qmp.command('blockdev-add', **{'driver': 'qcow2', 'node-name': 'bench-disk', 'file': 'bench-file'})
    try:
        return _measure(guest, path, lambda: qmp.job('snapshot-save', tag='bench', vmstate='bench-disk',
                                                     devices=['bench-disk']))
    finally:
        qmp.command('blockdev-del', **{'node-name': 'bench-disk'})
        qmp.command('blockdev-del', **{'node-name': 'bench-file'})


def mapped_ram(guest, path):
    """QEMU 9 and newer: every page at its own place of the file, several threads, O_DIRECT."""
    guest.monitor.capabilities('mapped-ram', 'multifd')
    guest.monitor.command('migrate-set-parameters', **{'multifd-channels': 2, 'direct-io': True})
    try:
        return _measure(guest, path, lambda: _stopped(guest, f'file:{path}'))
    finally:
        guest.monitor.command('migrate-set-parameters', **{'direct-io': False})
        guest.monitor.capabilities()


ALL = {'stop + migrate': stop_and_copy, 'stop + exec:zstd -1': stop_and_zstd,
       'background-snapshot': background_snapshot, 'savevm': savevm}
QEMU10 = {'mapped-ram, multifd, direct-io': mapped_ram}
