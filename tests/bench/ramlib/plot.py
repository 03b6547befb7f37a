# SPDX-License-Identifier: LGPL-2.1-or-later
"""Plots as SVG: lines over a logarithmic or a linear axis, drawn with nothing but text."""
import math
import os
import statistics
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 440, 70, 210, 40, 50
COLOURS = ('#c1272d', '#e8862a', '#0b5fa5', '#2a9d8f', '#6a4c93', '#8a8a8a', '#3d405b', '#a0712b')


class Axis:
    """Maps values to a stretch of the page."""

    def __init__(self, values, low, high, logarithmic):
        self.log = logarithmic
        first, last = min(values), max(values)
        if logarithmic:
            first, last = 10 ** math.floor(math.log10(first)), 10 ** math.ceil(math.log10(last * 1.01))
        else:
            first = 0
        self.first, self.last, self.low, self.high = first, last or 1, low, high

    def at(self, value):
        if self.log:
            part = math.log(value / self.first) / math.log(self.last / self.first)
        else:
            part = (value - self.first) / (self.last - self.first)
        return self.low + part * (self.high - self.low)

    def ticks(self):
        if self.log:
            return [10.0 ** e for e in range(round(math.log10(self.first)),
                                             round(math.log10(self.last)) + 1)]
        step = 10 ** math.floor(math.log10(self.last))
        step = next(s for s in (step / 5, step / 2, step, 2 * step) if self.last / s <= 8)
        return [step * i for i in range(int(self.last / step + 0.001) + 1)]


def _text(x, y, text, anchor='middle', more=''):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(text)}</text>'


def _scales(points, x_ticks, x_log, y_log):
    xs = [x for x, *_ in points]
    x = Axis(xs, LEFT, WIDTH - RIGHT, False)
    if x_log:
        x = Axis(xs, LEFT, WIDTH - RIGHT, True)
        x.first, x.last = min(x_ticks or xs), max(x_ticks or xs)
        if x.first == x.last:
            x.first, x.last = x.first / 2, x.last * 2
    return x, Axis([v for _, *vs in points for v in vs if v > 0] or [1], HEIGHT - BOTTOM, TOP, y_log)


def draw(path, title, x_name, y_name, series, x_ticks=None, x_log=False, y_log=False):
    """@series: name → list of (x, median, least, most)."""
    points = [p for values in series.values() for p in values]
    if not points:
        return
    x, y = _scales(points, x_ticks, x_log, y_log)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
           f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           _text((LEFT + WIDTH - RIGHT) / 2, 22, title, more='font-size="15"'),
           _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x_name),
           _text(18, (TOP + HEIGHT - BOTTOM) / 2, y_name,
                 more=f'transform="rotate(-90 18 {(TOP + HEIGHT - BOTTOM) / 2})"')]
    for value in y.ticks():
        at = y.at(value)
        out += [f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>',
                _text(LEFT - 6, at + 4, f'{value:g}', 'end')]
    for value in x_ticks or x.ticks():
        at = x.at(value)
        out += [f'<path d="M{at:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#eee"/>',
                _text(at, HEIGHT - BOTTOM + 16, f'{value:g}')]
    for number, (name, values) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        line = ' '.join(f'{x.at(p[0]):.1f},{y.at(p[1]):.1f}' for p in values if p[1] > 0)
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for where, middle, least, most in values:
            if least > 0:
                out += [f'<path d="M{x.at(where):.1f} {y.at(least):.1f}V{y.at(most):.1f}" '
                        f'stroke="{colour}"/>',
                        f'<circle cx="{x.at(where):.1f}" cy="{y.at(middle):.1f}" r="3" fill="{colour}"/>']
        row = TOP + 10 + number * 20
        out += [f'<path d="M{WIDTH - RIGHT + 14} {row}h22" stroke="{colour}" stroke-width="2"/>',
                _text(WIDTH - RIGHT + 42, row + 4, name, 'start')]
    with open(path, 'w', encoding='utf-8') as file:
        file.write('\n'.join(out + ['</svg>\n']))


def _over_ram(results, sizes, figure):
    series = {}
    for load, mib in sorted(sizes.items(), key=lambda item: item[1]):
        for way in results.ways('checkpoints', load):
            values = results.values('checkpoints', load, way, figure)
            if values:
                series.setdefault(way, []).append((mib / 1024, statistics.median(values), min(values),
                                                   max(values)))
    return series


def _over_number(results):
    """Stored bytes of one checkpoint after the other, beside what each of a peer's takes."""
    series = {}
    for load in results.loads('checkpoints'):
        numbers = {}
        for record in results.records:
            if (record['part'], record['load']) == ('checkpoints', load) and \
                    record.get('number') is not None:
                numbers.setdefault(record['number'], []).append(record['stored_bytes'] / 2**20)
        if len(numbers) > 1:
            series[load] = [(n, statistics.median(v), min(v), max(v)) for n, v in sorted(numbers.items())]
    return series


def draw_all(results, sizes, directory):
    """@sizes: which loads stand for which RAM size, in MiB."""
    os.makedirs(directory, exist_ok=True)
    ticks = [mib / 1024 for mib in sorted(sizes.values())]
    for figure, name, axis in (('pause_ms', 'pause', 'pause, ms'),
                               ('wall_ms', 'wall', 'time until durable, ms')):
        draw(os.path.join(directory, f'ram-{name}.svg'), f'{axis.split(",")[0].capitalize()} over RAM size',
             'RAM, GiB (three quarters filled, 20 MiB/s written)', axis,
             _over_ram(results, sizes, figure), ticks, x_log=True, y_log=True)
    numbers = _over_number(results)
    draw(os.path.join(directory, 'ram-stored.svg'), 'Stored bytes of a checkpoint, one after the other',
         'number of the checkpoint', 'MiB', numbers, sorted({p[0] for s in numbers.values() for p in s}),
         y_log=True)
