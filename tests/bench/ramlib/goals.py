# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is to be reached, what is, and by how much it is missed."""
import statistics

FULL, AGAIN = 'vmckpt, full', 'vmckpt, increment'
COMPRESSING = ('virsh save lzop', 'stop + exec:zstd -1')


def _checkpoints(results, load):
    pauses = [p for way in (FULL, AGAIN) for p in results.values('checkpoints', load, way, 'pause_ms')]
    if pauses:
        yield 'pause, median, ms', statistics.median(pauses), '≤', 15
        yield 'pause, worst, ms', max(pauses), '≤', 40

    def ratio(way, peer, figure):
        mine, other = (results.median('checkpoints', load, w, figure) for w in (way, peer))
        return other / mine if mine and other else None

    yield 'pause of virsh save raw, × ours', ratio(AGAIN, 'virsh save raw', 'pause_ms'), '≥', 100
    yield ('increment: time of virsh save lzop, × ours', ratio(AGAIN, 'virsh save lzop', 'wall_ms'),
           '≥', 30)
    walls = [w for p in COMPRESSING if (w := results.median('checkpoints', load, p, 'wall_ms'))]
    mine = results.median('checkpoints', load, FULL, 'wall_ms')
    yield ('full: time of the fastest compressing peer, × ours',
           min(walls) / mine if walls and mine else None, '≥', 1.5)
    peaks = [p for w in (FULL, AGAIN) for p in results.values('checkpoints', load, w, 'peak_mib')]
    yield 'daemon, MiB at most', max(peaks) if peaks else None, '≤', 256


def _restores(results, load):
    lazy = results.median('restores', load, 'vmckpt, lazy', 'running_ms')
    virsh = results.median('restores', load, 'virsh restore raw', 'running_ms')
    yield 'running after a lazy restore, ms', lazy, '≤', 150
    yield 'virsh restore, × lazy', virsh / lazy if lazy and virsh else None, '≥', 20
    lazy, eager = (results.median('restores', load, f'vmckpt, {w}', 'work') for w in ('lazy', 'eager'))
    yield ('work in the first seconds after lazy, of eager', lazy / eager if lazy and eager else None,
           '≥', 0.9)


def _slowdown(results, load):
    def slower(way, base):
        mine, other = (results.values('slowdown', load, w, 'pages_per_s') for w in (way, base))
        return statistics.median(1 - a / b for a, b in zip(mine, other)) * 100 if mine and other else None
    tracked = results.values('slowdown', load, 'tracked', 'pages_per_s')
    again = results.values('slowdown', load, 'tracked again', 'pages_per_s')
    busy = results.values('slowdown', load, 'a checkpoint each second', 'pages_per_s')
    yield 'slower while tracked than with private memory, %', slower('tracked', 'private memory'), '≤', 1
    yield ('slower while tracked than shared and not tracked, %', slower('tracked', 'shared, not tracked'),
           '≤', 1)
    if busy:
        # Between two stretches without checkpoints, so that a drift of the machine does not count.
        yield ('slower with a checkpoint each second, %', statistics.median(
            1 - 2 * b / (t + a) for b, t, a in zip(busy, tracked, again)) * 100, '≤', 5)


def _stored(results, load):
    stored = results.median('stored', load, AGAIN, 'stored_bytes')
    packed = results.median('stored', load, AGAIN, 'compressed_bytes')
    yield 'stored, × the changed pages compressed', stored / packed if packed else None, '≤', 1.5


def goals(results):
    for part, figures in (('checkpoints', _checkpoints), ('restores', _restores),
                          ('slowdown', _slowdown), ('stored', _stored)):
        for load in results.loads(part):
            for what, figure, relation, goal in figures(results, load):
                if figure is not None:
                    yield load, what, figure, relation, goal


def show(results, found=None):
    print('\n| guest | to reach | is | goal | |\n|---|---|---|---|---|')
    for load, what, figure, relation, goal in found or goals(results):
        reached = figure <= goal if relation == '≤' else figure >= goal
        print(f"| {load} | {what} | {figure:.3g} | {relation} {goal} | {'' if reached else 'MISSED'} |")
