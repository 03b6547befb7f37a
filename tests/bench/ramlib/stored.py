# SPDX-License-Identifier: LGPL-2.1-or-later
"""Part stored: bytes that an increment takes, against the compressed size of exactly the pages that differ."""
import shutil
import subprocess
import time

PAGE = 4096


def _changed(old, new, out):
    """Writes to @out every page of @new that differs from @old; returns how many."""
    count, step = 0, 1024 * PAGE
    with open(old, 'rb') as a, open(new, 'rb') as b, open(out, 'wb') as changed:
        while data := b.read(step):
            before = a.read(step)
            if data == before:
                continue
            for at in range(0, len(data), PAGE):
                if data[at:at + PAGE] != before[at:at + PAGE]:
                    changed.write(data[at:at + PAGE])
                    count += 1
    return count


def _compressed(path):
    done = subprocess.run(['zstd', '-q', '-1', '-c', path], stdout=subprocess.PIPE, check=True)
    return len(done.stdout)


def run(stage, rounds):
    store = stage.host.new_store()
    images = [stage.path('ram.0'), stage.path('ram.1')]
    with stage.only(stage.shared) as guest:
        last = guest.checkpoint(store)['id']
    stage.host.vmckpt('export', last, '--format', 'ram', '--output', images[0], store=store)
    for _ in range(rounds):
        with stage.only(stage.shared) as guest:
            time.sleep(1)
            report = guest.checkpoint(store)
        stage.host.vmckpt('export', report['id'], '--format', 'ram', '--output', images[1],
                          store=store)
        pages = _changed(*images, stage.path('changed'))
        stage.add('stored', 'vmckpt, increment', pages=pages, dirty_bytes=report['dirty_bytes'],
                  stored_bytes=report['stored_bytes'], wall_ms=report['wall_ms'],
                  compressed_bytes=_compressed(stage.path('changed')))
        images.reverse()
    shutil.rmtree(store)
