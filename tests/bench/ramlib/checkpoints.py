# SPDX-License-Identifier: LGPL-2.1-or-later
"""Part checkpoints: pause, time until durable and bytes, full and again, beside the peers."""
import shutil
import time

from . import peers

SETTLE = 1.0      # seconds that the guest runs before each step
INCREMENTS = 6    # after each full checkpoint

FIGURES = ('pause_ms', 'wall_ms', 'stored_bytes')


def _one(stage, way, store, number=None):
    stage.host.forget_peak()
    cpu = stage.host.cpu_seconds()
    report = stage.shared.checkpoint(store)
    stage.add('checkpoints', way, number=number, peak_mib=stage.host.peak_mib(),
              cpu_s=stage.host.cpu_seconds() - cpu, dirty_bytes=report['dirty_bytes'],
              engine=report['engine'], phases=report['phases'],
              messages=report.get('messages', []), **{f: report[f] for f in FIGURES})


def vmckpt(stage):
    """A full checkpoint into an empty store, then some more."""
    store = stage.host.new_store()
    with stage.only(stage.shared):
        time.sleep(SETTLE)
        _one(stage, 'vmckpt, full', store, 0)
        for number in range(stage.options.increments):
            time.sleep(SETTLE)
            _one(stage, 'vmckpt, increment', store, number + 1)
    shutil.rmtree(store)


def qemu(stage, guest, ways=None):
    """QEMU's own ways."""
    for name, way in (ways or peers.ALL).items():
        with stage.only(guest):
            time.sleep(SETTLE)
            stage.add('checkpoints', name, **way(guest, stage.path('copy')))


def virsh(stage):
    """libvirt's way, raw and compressed; the restore is counted, too."""
    for save_format in ('raw', 'lzop'):
        with stage.only(stage.domain):
            time.sleep(SETTLE)
            figures = stage.domain.save_and_restore(stage.path('saved'), save_format)
            stage.add('checkpoints', f'virsh save {save_format}', **figures)


def run(stage, rounds):
    for number in range(rounds):
        begun = time.monotonic()
        vmckpt(stage)
        if stage.domain:
            qemu(stage, stage.domain)
            virsh(stage)
        print(f'  checkpoints, round {number + 1} of {rounds}: {time.monotonic() - begun:.0f} s',
              flush=True)


def run_qemu10(stage, rounds):
    """On QEMU 10: what only it has."""
    for _ in range(rounds):
        vmckpt(stage)
        qemu(stage, stage.private, {**peers.QEMU10, 'stop + migrate': peers.stop_and_copy,
                                    'stop + exec:zstd -1': peers.stop_and_zstd})
