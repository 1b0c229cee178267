"""The search for near copies on hashes alone: how it grows from ten thousand to a million."""

from __future__ import annotations

import statistics
import time

import numpy as np

from medimg.core.near_copies import neighbours

COUNTS = (10_000, 100_000, 1_000_000)


def random_hashes(count: int) -> np.ndarray:
    """Distinct pictures, and every hundredth saved anew: two bits differ."""
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**64, count, dtype=np.uint64)
    again = hashes[: count // 100]
    bits = random.integers(0, 64, (2, len(again)), dtype=np.uint64)
    hashes[-len(again) :] = again ^ (np.uint64(1) << bits[0]) ^ (np.uint64(1) << bits[1])
    return hashes


def clustered_hashes(count: int) -> np.ndarray:
    """Pictures that look alike: all of a class share three bits of four, as chest X-rays do."""
    random = np.random.default_rng(1)
    shared = random.integers(0, 2**64, 10, dtype=np.uint64)
    own = random.integers(0, 2**64, (3, count), dtype=np.uint64)
    return shared[random.integers(0, 10, count)] ^ (own[0] & own[1] | own[2] & own[0] & own[1])


def test_the_search_grows_near_linearly(table):
    rows, seconds = [], {}
    for name, draw in (("random", random_hashes), ("clustered", clustered_hashes)):
        for count in COUNTS:
            hashes = draw(count)
            taken, pairs = [], 0
            for _ in range(3 if count < COUNTS[-1] else 1):
                started = time.perf_counter()
                found, left_out = neighbours(hashes)
                taken.append(time.perf_counter() - started)
                pairs = len(found)
            seconds[name, count] = statistics.median(taken)
            before = seconds.get((name, count // 10))
            growth = seconds[name, count] / before if before else None
            rows.append([name, f"{count:,}", seconds[name, count], growth, pairs, left_out])
    table(
        "Near copies by hash",
        ["hashes", "number", "seconds", "times ten times fewer", "pairs", "left out"],
        rows,
    )
    for before, count in zip(COUNTS, COUNTS[1:], strict=False):
        # comparing all pairs would take a hundred times as long
        assert seconds["random", count] < 40 * seconds["random", before]
