"""The scan beside only reading and decoding the same files with cv2, on all cores."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from medimg.core.index import FileSource
from medimg.core.scan import scan_paths

FILES, ROUNDS = 4000, 5
# the share of bare decoding's rate that each is held to, with room for a busy machine. BMP files
# hold no code to decode: they are read in a quarter of the time that it takes to look at their
# pixels, and with a hash in place of SHA-256 that takes no time it would still be no third.
LEAST_SHARE = {
    "all samples": 0.5,
    "chest X-rays (JPEG 224×224)": 0.5,
    "breast histopathology (PNG 50×50)": 0.42,
    "brain MRI (JPEG)": 0.5,
    "fundus photographs (JPEG 256×256)": 0.5,
    "blood cells (BMP 120×120)": 0.12,
}


def scan_all(folder: Path, paths: list[str]) -> float:
    """Seconds."""
    started = time.perf_counter()
    for _, record in scan_paths(paths, FileSource(folder)):
        assert record.pixel_hash
    return time.perf_counter() - started


def with_work(run: Callable[[Path, list[str]], float], *given) -> tuple[float, float]:
    """Seconds by the clock, and of all cores' work: what else the machine does is not in that."""
    before = os.times()
    seconds = run(*given)
    after = os.times()
    return seconds, sum(after[:4]) - sum(before[:4])


@pytest.mark.parametrize("name", list(LEAST_SHARE))
def test_a_scan_beside_bare_decoding(name, cycled, decode_only, table):
    folder = cycled(name, FILES)
    paths = sorted(p.name for p in folder.iterdir())
    # by turns, so that what else the machine does meets both; the first round warms the cache
    rounds = [
        (*with_work(decode_only, folder, paths), *with_work(scan_all, folder, paths))
        for _ in range(1 + ROUNDS)
    ][1:]
    shares = [bare / scan for bare, _, scan, _ in rounds]
    share = statistics.median(shares)
    work = statistics.median(bare / scan for _, bare, _, scan in rounds)
    bare, _, scan, _ = (len(paths) / statistics.median(one) for one in zip(*rounds, strict=True))
    table(
        f"{name}, {len(paths):,} files, medians of {ROUNDS} rounds",
        ["decode only, images/s", "scan, images/s", "share", "lowest", "highest", "of work"],
        [[f"{bare:,.0f}", f"{scan:,.0f}", share, min(shares), max(shares), work]],
    )
    assert max(share, work) >= LEAST_SHARE[name]
