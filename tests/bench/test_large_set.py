"""277,524 images of 50×50: memory, and how long a second look takes.

As many as the published set of breast histopathology has. They are cut at random places out of
a mosaic of the real patches and turned, so that no two are the same. MEDIMG_BENCH_IMAGES makes
another number of them.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from medimg.core.checking import CheckContext
from medimg.core.scan import scan_paths
from medimg.core.scan_cache import Judged, ScanCache, judged_key

IMAGES = int(os.environ.get("MEDIMG_BENCH_IMAGES", "277524"))
SIDE = 50
MOST_BYTES = 1_500_000_000
# from so many on a second look is held to a tenth: of fewer tiny pictures starting Python is most
FEWEST = 100_000


@pytest.fixture(scope="module")
def patches(shared_data, tmp_path_factory) -> Path:
    """Two class folders of distinct patches."""
    found = sorted((shared_data / "idc_breast_histopathology").rglob("*.png"))
    tiles = [t for t in map(cv2.imread, map(str, found)) if t.shape == (SIDE, SIDE, 3)]
    across = int(len(tiles) ** 0.5)
    mosaic = np.vstack([np.hstack(tiles[r * across : (r + 1) * across]) for r in range(across)])
    root = tmp_path_factory.mktemp("patches")
    for label in "01":
        (root / label).mkdir()
    random = np.random.default_rng(0)
    corners = random.integers(0, len(mosaic) - SIDE, (IMAGES, 2)).tolist()
    turns = random.integers(0, 4, IMAGES).tolist()

    def write(number: int) -> None:
        top, left = corners[number]
        patch = np.rot90(mosaic[top : top + SIDE, left : left + SIDE], turns[number])
        file = root / str(number % 2) / f"{number:06d}.png"
        assert cv2.imwrite(str(file), np.ascontiguousarray(patch))

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, range(IMAGES), chunksize=1000))
    return root


def test_memory_and_a_second_look(patches, verify_command, run_command, tmp_path, table):
    # a run without the cache puts it right for the next: it has one of its own
    other, cache = ({"MEDIMG_CACHE": str(tmp_path / name)} for name in ("other", "cache"))
    fresh = run_command(verify_command(patches, "--no-cache"), **other)
    first = run_command(verify_command(patches), **cache)
    again = run_command(verify_command(patches), **cache)
    table(
        f"medimg verify, {IMAGES:,} images of {SIDE}×{SIDE}",
        ["", "seconds", "peak MB", "share of the first", "of work"],
        [
            [
                *(name, run.seconds, run.peak_bytes / 1e6),
                *(run.seconds / first.seconds, run.work / first.work),
            ]
            for name, run in (("--no-cache", fresh), ("first", first), ("second", again))
        ],
    )
    assert max(run.peak_bytes for run in (fresh, first, again)) < MOST_BYTES
    # seconds by the clock depend on what else the machine does; three quarters of a second of
    # either is starting Python, of few files that is most of the second
    assert again.seconds < first.seconds / 5
    assert again.work < first.work / (10 if IMAGES >= FEWEST else 4)


def test_a_second_look_at_unchanged_files(
    shared_data, verify_command, run_command, tmp_path, table
):
    from medimg.manager import plugins
    from medimg.opening import open_dataset

    manager = plugins()
    dataset = shared_data / "chest_xray_kermany"
    commands = [
        run_command(verify_command(dataset), MEDIMG_CACHE=str(tmp_path / "a")) for _ in range(2)
    ]
    index = open_dataset(
        str(dataset), layout=None, options={}, manager=manager, registry=manager.registry()
    )
    checks = manager.functions(manager.checks())
    cache = ScanCache(index.source, tmp_path / "b")
    work = [seconds_of_work(index, checks, cache) for _ in range(2)]
    rows = [
        ["whole command", commands[0].seconds, commands[1].seconds],
        ["reading and checks alone", *work],
    ]
    table(
        f"medimg verify of the chest X-rays, {len(index):,} images",
        ["", "first s", "second s", "share"],
        [[*row, row[2] / row[1]] for row in rows],
    )
    assert work[1] < work[0] / 10
    assert commands[1].seconds < commands[0].seconds


def seconds_of_work(index, checks, cache: ScanCache) -> float:
    """Of what `verify` does between opening a dataset and telling about it."""
    from medimg.commands.verify import verify

    started = time.perf_counter()
    paths = [s.path for s in index.samples]
    stamps = cache.stamps(paths)
    key = judged_key(CheckContext(index, {}), stamps, checks)
    judged = cache.judged(key)
    if judged is None:
        records = cache.records(paths, stamps)
        read = dict(scan_paths([p for p in paths if p not in records], index.source))
        cache.keep(read, stamps)
        found = verify(CheckContext(index, records | read), checks)
        cache.keep_judged(key, Judged(found.checks, ""))
    else:
        verify(CheckContext(index, {}), checks, outcomes=judged.outcomes)
    return time.perf_counter() - started
