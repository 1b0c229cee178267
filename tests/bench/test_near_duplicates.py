"""The search for near copies on hashes alone: how it grows from ten thousand to a million.

A picture has two hashes, and each kind is searched by itself: a row is what both take together.
The exponent is that of time in the number of pictures: 1 is linear, 2 would be comparing all pairs.
"""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

import numpy as np

from medimg.core.near_copies import joined, neighbours

COUNTS = (10_000, 100_000, 1_000_000)


# from ten thousand to a million, with room for processor caches that a million don't fit into
MOST_EXPONENT = 1.35
MOST_BYTES = 500_000_000


def random_hashes(count: int, seed: int) -> np.ndarray:
    """Distinct pictures, and every hundredth saved anew: two bits differ."""
    random = np.random.default_rng(seed)
    hashes = random.integers(0, 2**64, count, dtype=np.uint64)
    again = hashes[: count // 100]
    bits = random.integers(0, 64, (2, len(again)), dtype=np.uint64)
    hashes[-len(again) :] = again ^ (np.uint64(1) << bits[0]) ^ (np.uint64(1) << bits[1])
    return hashes


def clustered_hashes(count: int, seed: int) -> np.ndarray:
    """Pictures that look alike: all of a class share three bits of four, as chest X-rays do."""
    random = np.random.default_rng(seed)
    shared = random.integers(0, 2**64, 10, dtype=np.uint64)
    own = random.integers(0, 2**64, (3, count), dtype=np.uint64)
    return shared[random.integers(0, 10, count)] ^ (own[0] & own[1] | own[2] & own[0] & own[1])


def both_searched(kinds: list[np.ndarray]) -> tuple[float, int, str]:
    """Seconds of work, pairs, what was left out; two kinds of hash of the same pictures."""
    started = time.process_time()
    found = [neighbours(hashes) for hashes in kinds]
    pairs = joined([pairs for pairs, _ in found], len(kinds[0]))
    left = next((words for _, words in found if words), "")
    return time.process_time() - started, len(pairs), left


def peak_of_search(draw: str, count: int, run_command) -> tuple[int, int]:
    """Bytes of a process that draws hashes, and of one that searches them too."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"import test_near_duplicates as t\n"
        f"kinds = [t.{draw}({count}, seed) for seed in (0, 1)]\n"
    )
    return tuple(
        run_command([sys.executable, "-c", code + more]).peak_bytes
        for more in ("", "t.both_searched(kinds)\n")
    )


def test_the_search_grows_near_linearly(table, run_command):
    rows, seconds = [], {}
    draws = {"random": random_hashes, "clustered": clustered_hashes}
    for name, draw in draws.items():
        for count in COUNTS:
            kinds = [draw(count, seed) for seed in (0, 1)]
            # the fastest: what else the machine does only adds
            taken = [both_searched(kinds) for _ in range(3 if count < COUNTS[-1] else 2)]
            seconds[name, count], pairs, left_out = min(taken)
            before = seconds.get((name, count // 10))
            exponent = math.log10(seconds[name, count] / before) if before else None
            rows.append([name, f"{count:,}", seconds[name, count], exponent, pairs, left_out])
    peaks = {
        name: peak_of_search(draw.__name__, COUNTS[-1], run_command) for name, draw in draws.items()
    }
    table(
        "Near copies by two hashes",
        ["hashes", "pictures", "seconds of work", "exponent", "pairs", "left out"],
        rows,
    )
    table(
        f"Memory at {COUNTS[-1]:,} pictures",
        ["hashes", "drawn, MB", "drawn and searched, MB"],
        [[name, *(peak / 1e6 for peak in both)] for name, both in peaks.items()],
    )
    growth = math.log10(seconds["random", COUNTS[-1]] / seconds["random", COUNTS[0]])
    assert growth / math.log10(COUNTS[-1] / COUNTS[0]) < MOST_EXPONENT
    for before, peak in peaks.values():
        assert peak - before < MOST_BYTES
