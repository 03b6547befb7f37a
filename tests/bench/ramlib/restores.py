# SPDX-License-Identifier: LGPL-2.1-or-later
"""Part restores: how soon the guest runs, answers, and how much it does in its first ten seconds."""
import shutil
import time

SECONDS = 10  # of work that is counted


def _work_done(stage, console, before, began):
    """Workers' count since the checkpoint, @SECONDS after the guest went on at @began."""
    time.sleep(max(0, began + stage.options.seconds - time.time()))
    return console.work()[0] - before


def _vmckpt(stage, store, ref, before, lazy):
    guest = stage.shared
    stage.host.forget_peak()
    figures = guest.restore(store, ref, '--lazy' if lazy else '--eager')
    began = figures['begun'] + figures['running_ms'] / 1e3
    done = _work_done(stage, guest.console, before, began)
    stage.add('restores', 'vmckpt, lazy' if lazy else 'vmckpt, eager', work=done,
              running_ms=figures['running_ms'], answers_ms=figures['answers_ms'],
              peak_mib=stage.host.peak_mib(), report=figures['report'])
    guest.kill()  # before anybody else has memory


def _virsh(stage, path, before):
    domain = stage.domain
    domain.detach()
    began = time.time()
    domain.libvirt.virsh('restore', path)
    running = time.time()
    domain.attach()
    answered = domain.console.first_answer()
    done = _work_done(stage, domain.console, before, running)
    stage.add('restores', f'virsh restore {domain.libvirt.format}', work=done,
              running_ms=(running - began) * 1e3, answers_ms=(answered - began) * 1e3)


def _save_domain(stage, path):
    """The domain is saved once; it is restored from the same file in every round."""
    domain = stage.domain
    domain.libvirt.start('raw')
    domain.go()
    domain.console.rest(False)
    time.sleep(1)
    before, _ = domain.console.work()
    domain.libvirt.virsh('save', domain.name, path)
    return before


def run(stage, rounds):
    store = stage.host.new_store()
    guest = stage.shared
    guest.go()
    guest.console.rest(False)
    time.sleep(1)
    before, _ = guest.console.work()
    ref = guest.checkpoint(store)['id']
    guest.kill()
    saved = _save_domain(stage, stage.path('saved')) if stage.domain else None
    for number in range(rounds):
        begun = time.monotonic()
        for lazy in (False, True):
            _vmckpt(stage, store, ref, before, lazy)
        if stage.domain:
            _virsh(stage, stage.path('saved'), saved)
            stage.domain.libvirt.virsh('destroy', 'bench')
        print(f'  restores, round {number + 1} of {rounds}: {time.monotonic() - begun:.0f} s',
              flush=True)
    shutil.rmtree(store)
