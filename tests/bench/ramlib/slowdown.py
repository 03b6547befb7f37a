# SPDX-License-Identifier: LGPL-2.1-or-later
"""Part slowdown: what a busy guest does while it is tracked, and while it is checkpointed each second.

Shared memory has a price of its own: Linux gives it no huge pages unless told to. So a guest whose
memory is shared and has never been tracked runs beside the one with private memory.
"""
import shutil
import time


STRETCH = 6  # seconds that a guest is watched without a break


def _speed(guest, seconds, meanwhile=None):
    """Pages per second that the workers get done while @meanwhile is called again and again."""
    first, begun = guest.console.work()
    if meanwhile:
        meanwhile(begun + seconds)
    time.sleep(max(0, begun + seconds - time.monotonic()))
    last, ended = guest.console.work()
    return (last - first) / (ended - begun)


def _each_second(stage, store):
    """Checkpoints until a time, one begun in each second."""
    if '--every' in stage.host.help('checkpoint'):
        return lambda until: stage.host.vmckpt(
            'checkpoint', 'shared', '--every', '1s', '--for',
            f'{max(1, round(until - time.monotonic() - 0.5))}s', store=store)

    def checkpoints(until):
        due = time.monotonic()
        while due < until - 0.5:
            stage.shared.checkpoint(store)
            due += 1
            time.sleep(max(0, due - time.monotonic()))
    return checkpoints


def run(stage, rounds):
    """Interleaved stretches: private memory, shared, tracked, tracked and checkpointed."""
    store = stage.host.new_store()
    seconds = min(stage.options.seconds, STRETCH)
    for guest in (stage.private, stage.untracked, stage.shared):
        with stage.only(guest):
            guest.console.rest(False)
    with stage.only(stage.shared) as guest:
        guest.checkpoint(store)
        guest.checkpoint(store)
    for number in range(rounds):
        for way, guest, meanwhile in (
                ('private memory', stage.private, None),
                ('shared, not tracked', stage.untracked, None),
                ('tracked', stage.shared, None),
                ('a checkpoint each second', stage.shared, _each_second(stage, store)),
                ('tracked again', stage.shared, None)):
            with stage.only(guest):
                cpu = stage.host.cpu_seconds()
                spent = guest.cpu_seconds()
                speed = _speed(guest, seconds, meanwhile)
                stage.add('slowdown', way, pages_per_s=speed,
                          guest_cpu=(guest.cpu_seconds() - spent) / seconds,
                          daemon_cpu=(stage.host.cpu_seconds() - cpu) / seconds)
        print(f'  slowdown, round {number + 1} of {rounds}', flush=True)
    shutil.rmtree(store)
