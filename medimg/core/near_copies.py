"""Near copies: pictures saved anew, resized or recompressed.

A hash says who might be a copy, comparing aligned pixels says who is: chest X-rays look alike,
so hash neighbours alone are no proof.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from medimg.core.images import decode_to_input
from medimg.core.scan import ScanRecord
from medimg.core.types import Sample, Source

# 64 bits in five bands: two hashes that differ in at most four bits agree in a band
DISTANCE_BITS = 4
BANDS = ((0, 13), (13, 13), (26, 13), (39, 13), (52, 12))
# a band value that so many pictures share says nothing about any of them
MOST_IN_A_BAND = 400
COMPARED_PX = 64
CONFIRMED = 0.999
# pairs below this are look-alikes, not candidates
PLAUSIBLE = 0.99
# pictures with less spread than this are blank: their hash is noise
LEAST_SPREAD = 4.0


@dataclass(frozen=True, slots=True)
class NearCopy:
    """Two pictures that look alike: correlation of their pixels at 64×64, and hash distance."""

    first: Sample
    second: Sample
    correlation: float
    distance_bits: int

    @property
    def confirmed(self) -> bool:
        return self.correlation >= CONFIRMED


def neighbours(hashes: np.ndarray, distance_bits: int = DISTANCE_BITS) -> Iterator[tuple[int, int]]:
    """Pairs (i < j) of UInt64[N] hashes that differ in at most `distance_bits` bits.

    Args:
        distance_bits: at most 4, for which the bands miss nothing but crowded values.
    """
    seen: set[tuple[int, int]] = set()
    for start, width in BANDS:
        values = (hashes >> np.uint64(start)) & np.uint64((1 << width) - 1)
        buckets: dict[int, list[int]] = defaultdict(list)
        for place, value in enumerate(values.tolist()):
            buckets[value].append(place)
        for members in buckets.values():
            if 1 < len(members) <= MOST_IN_A_BAND:
                for pair in close_pairs(hashes, np.array(members), distance_bits):
                    if pair not in seen:
                        seen.add(pair)
                        yield pair


def close_pairs(
    hashes: np.ndarray, members: np.ndarray, distance_bits: int
) -> Iterator[tuple[int, int]]:
    own = hashes[members]
    differing = np.bitwise_count(own[:, None] ^ own[None, :])
    for i, j in np.argwhere(np.triu(differing <= distance_bits, k=1)):
        yield int(members[i]), int(members[j])


def find_near_copies(
    samples: Sequence[Sample], records: Mapping[str, ScanRecord], source: Source
) -> list[NearCopy]:
    """Pairs that look alike and are not pixel-identical; the likest first.

    Of pictures that are pixel-identical one stands for all.
    """
    unique: dict[str, Sample] = {}
    for sample in samples:
        record = records[sample.path]
        if record.dhash is not None and (record.std or 0) >= LEAST_SPREAD:
            unique.setdefault(record.pixel_hash, sample)
    kept = list(unique.values())
    hashes = np.array([records[s.path].dhash for s in kept], dtype=np.uint64)
    small: dict[str, np.ndarray] = {}

    def pixels(sample: Sample) -> np.ndarray:
        if sample.path not in small:
            small[sample.path] = standardised(source, sample.path)
        return small[sample.path]

    found = []
    for i, j in neighbours(hashes):
        correlation = float(np.mean(pixels(kept[i]) * pixels(kept[j])))
        distance = int(np.bitwise_count(hashes[i] ^ hashes[j]))
        found.append(NearCopy(kept[i], kept[j], correlation, distance))
    return sorted(found, key=lambda n: (-n.correlation, n.first.path, n.second.path))


def standardised(source: Source, path: str) -> np.ndarray:
    """Float32[64, 64] of mean 0 and standard deviation 1."""
    grey = decode_to_input(source.read(path), COMPARED_PX, COMPARED_PX, 1)[..., 0]
    # a recompressed picture differs in its finest detail
    smooth = cv2.GaussianBlur(grey.astype(np.float32), (3, 3), 0)
    return (smooth - smooth.mean()) / max(float(smooth.std()), 1e-6)


def picture_keys(
    samples: Sequence[Sample], records: Mapping[str, ScanRecord], source: Source
) -> dict[str, str]:
    """Path to a key that all copies of one picture share, confirmed near copies included.

    Images that can't be decoded have no key.
    """
    readable = [s for s in samples if not records[s.path].error]
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.get(key, key) != key:
            key = parent[key]
        return key

    for pair in find_near_copies(readable, records, source):
        if pair.confirmed:
            first, second = (root(records[s.path].pixel_hash) for s in (pair.first, pair.second))
            parent[max(first, second)] = min(first, second)
    return {s.path: root(records[s.path].pixel_hash) for s in readable}
