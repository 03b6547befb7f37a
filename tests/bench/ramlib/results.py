# SPDX-License-Identifier: LGPL-2.1-or-later
"""What was measured: one record for each step, medians over them, tables, and how far the goals are."""
import json
import os
import platform
import statistics
import subprocess

# Part: its title, the way that ratios refer to, the figures of which ratios are shown, and the columns
# (figure, heading, divisor, digits).
TABLES = {
    'checkpoints': ('pause, time until durable, bytes', 'virsh save lzop', {'pause_ms': 'pause', 'wall_ms': 'time'}, (
        ('pause_ms', 'pause ms', 1, 1), ('wall_ms', 'durable after ms', 1, 0),
        ('stored_bytes', 'stored MiB', 2**20, 1), ('cpu_s', 'CPU s', 1, 2),
        ('peak_mib', 'daemon MiB', 1, 0))),
    'restores': ('running, answering, and pages worked on in the first seconds', 'virsh restore raw',
                 {'running_ms': 'running'}, (
        ('running_ms', 'running after ms', 1, 0), ('answers_ms', 'answers after ms', 1, 0),
        ('work', 'work, 1000 pages', 1000, 0), ('peak_mib', 'daemon MiB', 1, 0))),
    'slowdown': ('pages per second that a busy guest works on', 'private memory', {'pages_per_s': 'work'}, (
        ('pages_per_s', '1000 pages/s', 1000, 1), ('guest_cpu', 'QEMU CPU', 1, 2),
        ('daemon_cpu', 'daemon CPU', 1, 3))),
    'stored': ('an increment beside its changed pages, compressed', None, {}, (
        ('pages', 'changed pages', 1, 0), ('dirty_bytes', 'dirty MiB', 2**20, 1),
        ('stored_bytes', 'stored MiB', 2**20, 2), ('compressed_bytes', 'zstd -1 MiB', 2**20, 2))),
}


def _version(command):
    try:
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None


def describe_host(options):
    """On what it was measured."""
    with open('/proc/cpuinfo', encoding='ascii', errors='replace') as info:
        model = next((line.split(':')[1].strip() for line in info if line.startswith('model name')), '')
    medium = subprocess.run(['stat', '-f', '-c', '%T', options.work], check=True, text=True,
                            stdout=subprocess.PIPE).stdout.strip()
    return {'processors': os.cpu_count(), 'model': model, 'kernel': platform.release(),
            'memory_mib': os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') >> 20,
            'medium': medium, 'load_average': os.getloadavg()[0], 'qemu': _version([options.qemu, '--version']),
            'libvirt': _version(['libvirtd', '--version']), 'accel': 'tcg'}


class Results:
    def __init__(self, host):
        self.host = host
        self.records = []

    def add(self, part, load, way, **figures):
        self.records.append({'part': part, 'load': load, 'way': way, **figures})

    def values(self, part, load, way, figure):
        return [r[figure] for r in self.records
                if (r['part'], r['load'], r['way']) == (part, load, way)
                and r.get(figure) is not None]

    def median(self, part, load, way, figure):
        values = self.values(part, load, way, figure)
        return statistics.median(values) if values else None

    def loads(self, part):
        return list(dict.fromkeys(r['load'] for r in self.records if r['part'] == part))

    def ways(self, part, load):
        return list(dict.fromkeys(r['way'] for r in self.records
                                  if r['part'] == part and r['load'] == load))

    def save(self, path):
        with open(path, 'w', encoding='utf-8') as out:
            json.dump({'host': self.host, 'records': self.records}, out, indent=1)

    @classmethod
    def read(cls, path):
        with open(path, encoding='utf-8') as file:
            data = json.load(file)
        results = cls(data['host'])
        results.records = data['records']
        return results


def _cell(results, part, load, way, column):
    figure, _, divisor, digits = column
    values = [v / divisor for v in results.values(part, load, way, figure)]
    if not values:
        return ''
    text = f'{statistics.median(values):.{digits}f}'
    return text if len(values) == 1 else f'{text} [{min(values):.{digits}f} – {max(values):.{digits}f}]'


def _ratio(results, part, load, way, base, figure):
    mine, other = (results.median(part, load, w, figure) for w in (way, base))
    return f'{other / mine:.3g}' if mine and other and way != base else ''


def show(results, tables=None):
    """Markdown tables: medians, ranges in brackets, and × how much less than the base's."""
    print('\nOn ' + ', '.join(f'{k} {v}' for k, v in results.host.items()))
    for part, (title, base, ratios, columns) in (tables or TABLES).items():
        for load in results.loads(part):
            ways = results.ways(part, load)
            shown = ratios if base in ways else {}
            print(f'\n**{load}: {title}**\n')
            print('| | ' + ' | '.join([c[1] for c in columns] +
                                      [f'× {name} of {base}' for name in shown.values()]) + ' |')
            print('|---' * (1 + len(columns) + len(shown)) + '|')
            for way in ways:
                cells = [_cell(results, part, load, way, c) for c in columns]
                cells += [_ratio(results, part, load, way, base, f) for f in shown]
                print(f'| {way} | ' + ' | '.join(cells) + ' |')
