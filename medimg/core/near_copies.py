"""Near copies: pictures saved anew, resized or recompressed.

A hash says who might be a copy, comparing aligned pixels says who is: chest X-rays look alike,
so hash neighbours alone are no proof.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from medimg.core.images import UnreadableImage, decode_to_input
from medimg.core.scan import ScanRecord
from medimg.core.types import Sample, Source
from medimg.core.workers import in_blocks

# 64 bits in five bands: two hashes that differ in at most four bits agree in a band
DISTANCE_BITS = 4
BANDS = ((0, 13), (13, 13), (26, 13), (39, 13), (52, 12))
COMPARED_PX = 64
CONFIRMED = 0.999
# pairs below this are look-alikes, not candidates
PLAUSIBLE = 0.99
# pictures with less spread than this are blank: their hash is noise
LEAST_SPREAD = 4.0
# bounds on a search among pictures that all look alike: seconds and some hundred megabytes
MOST_HASH_PAIRS = 2_000_000_000
MOST_CANDIDATES = 500_000
MOST_PICTURES = 40_000
TILE = 2048


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


@dataclass(frozen=True, slots=True)
class NearCopies:
    """What a search found, the likest first, and what it did not look at, in words."""

    pairs: tuple[NearCopy, ...]
    not_searched: str = ""


def find_near_copies(
    samples: Sequence[Sample], records: Mapping[str, ScanRecord], source: Source
) -> NearCopies:
    """Pairs that look alike and are not pixel-identical.

    Of pictures that are pixel-identical one, the first, stands for all.
    """
    unique: dict[str, Sample] = {}
    for sample in samples:
        record = records[sample.path]
        if record.dhash is not None and (record.std or 0) >= LEAST_SPREAD:
            unique.setdefault(record.pixel_hash, sample)
    kept = list(unique.values())
    hashes = np.array([records[s.path].dhash for s in kept], dtype=np.uint64)
    close, not_searched = neighbours(hashes)
    candidates = within_bounds(close)
    if len(candidates) < len(close):
        not_searched = not_searched or left_out(close[len(candidates) :])
    distances = distance_bits(hashes[candidates[:, 0]], hashes[candidates[:, 1]])
    likeness = correlations([s.path for s in kept], candidates, source)
    found = [
        NearCopy(kept[i], kept[j], float(likeness[n]), int(distances[n]))
        for n, (i, j) in enumerate(candidates.tolist())
        if likeness[n] >= PLAUSIBLE
    ]
    found.sort(key=lambda pair: (-pair.correlation, pair.first.path, pair.second.path))
    return NearCopies(tuple(found), not_searched)


# -- hashes that lie close together ------------------------------------------------------------


def neighbours(hashes: np.ndarray) -> tuple[np.ndarray, str]:
    """(Int64[P, 2] pairs i < j of hashes that differ in at most 4 bits, what was left out).

    Nothing is missed below the bounds: the fullest buckets are left out where comparing them
    would take too long, and the search ends where too much looks alike.

    Args:
        hashes: UInt64[N].
    """
    found: list[np.ndarray] = []
    work = candidates = 0
    buckets = sorted(shared_bands(hashes), key=len)
    for place, members in enumerate(buckets):
        work += len(members) ** 2 // 2
        if work > MOST_HASH_PAIRS or candidates > MOST_CANDIDATES:
            return joined(found, len(hashes)), left_out(np.concatenate(buckets[place:]))
        for pairs in close_pairs(hashes, members):
            found.append(pairs)
            candidates += len(pairs)
            if candidates > 2 * MOST_CANDIDATES:
                break
    return joined(found, len(hashes)), ""


def within_bounds(pairs: np.ndarray) -> np.ndarray:
    """The first pairs, as many as have pictures that fit into memory."""
    first_seen = np.unique(pairs, return_index=True)[1]
    if len(first_seen) <= MOST_PICTURES:
        return pairs
    return pairs[: np.partition(first_seen, MOST_PICTURES)[MOST_PICTURES] // 2]


def left_out(members: np.ndarray) -> str:
    pictures = len(np.unique(members))
    return f"{pictures:,} pictures are so much alike that not all pairs of them were compared"


def shared_bands(hashes: np.ndarray) -> Iterator[np.ndarray]:
    """Places of hashes that agree in a band, two at least, band by band."""
    for start, width in BANDS:
        values = (hashes >> np.uint64(start)) & np.uint64((1 << width) - 1)
        order = np.argsort(values, kind="stable")
        edges = np.flatnonzero(np.diff(values[order])) + 1
        yield from (members for members in np.split(order, edges) if len(members) > 1)


def close_pairs(hashes: np.ndarray, members: np.ndarray) -> Iterator[np.ndarray]:
    """Int64[P, 2] pairs within one bucket, tile by tile; P is never 0."""
    for top in range(0, len(members), TILE):
        for left in range(top, len(members), TILE):
            rows, columns = members[top : top + TILE], members[left : left + TILE]
            near = distance_bits(hashes[rows][:, None], hashes[columns][None, :]) <= DISTANCE_BITS
            if top == left:
                near = np.triu(near, k=1)
            i, j = np.nonzero(near)
            if len(i):
                yield np.sort(np.stack([rows[i], columns[j]], axis=1), axis=1)


def distance_bits(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """UInt8: in how many bits UInt64 hashes differ."""
    return np.bitwise_count(first ^ second)


def joined(found: list[np.ndarray], hashes: int) -> np.ndarray:
    """All pairs once; two hashes may agree in several bands."""
    if not found:
        return np.empty((0, 2), np.int64)
    pairs = np.concatenate(found).astype(np.int64)
    codes = np.unique(pairs[:, 0] * hashes + pairs[:, 1])
    return np.stack([codes // hashes, codes % hashes], axis=1)


# -- pixels ------------------------------------------------------------------------------------


def correlations(paths: Sequence[str], candidates: np.ndarray, source: Source) -> np.ndarray:
    """Float32[P] of the pairs Int64[P, 2] of paths; -1 where one can't be read any more."""
    wanted, places = np.unique(candidates, return_inverse=True)
    places = places.reshape(candidates.shape)
    if not len(wanted):
        return np.empty(0, np.float32)
    read = in_blocks(
        [paths[i] for i in wanted],
        lambda block: [standardised(source, path) for path in block],
        None,
        None,
    )
    pixels = np.stack(list(read.values()))
    found = np.empty(len(candidates), np.float32)
    for start in range(0, len(candidates), TILE):
        one, other = (pixels[places[start : start + TILE, side]] for side in (0, 1))
        products = np.einsum("ij,ij->i", one.astype(np.float32), other.astype(np.float32))
        found[start : start + TILE] = products / pixels.shape[1]
    return found


def standardised(source: Source, path: str) -> np.ndarray:
    """Float16[4096] of mean 0 and standard deviation 1; not a number where it can't be read."""
    try:
        grey = decode_to_input(source.read(path), COMPARED_PX, COMPARED_PX, 1)[..., 0]
    except (OSError, UnreadableImage):
        return np.full(COMPARED_PX**2, np.nan, np.float16)
    # a recompressed picture differs in its finest detail
    smooth = cv2.GaussianBlur(grey.astype(np.float32), (3, 3), 0).ravel()
    return ((smooth - smooth.mean()) / max(float(smooth.std()), 1e-6)).astype(np.float16)


# -- all copies of one picture -------------------------------------------------------------------


def picture_keys(
    samples: Sequence[Sample], records: Mapping[str, ScanRecord], source: Source
) -> dict[str, str]:
    """Path to a key that all copies of one picture share, confirmed near copies included.

    Images that can't be decoded have no key.
    """
    readable = [s for s in samples if not records[s.path].error]
    return keys_of(readable, records, find_near_copies(readable, records, source).pairs)


def keys_of(
    readable: Sequence[Sample], records: Mapping[str, ScanRecord], pairs: Sequence[NearCopy]
) -> dict[str, str]:
    """The same, of pairs already found."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.get(key, key) != key:
            key = parent[key]
        return key

    for pair in pairs:
        if pair.confirmed:
            first, second = (root(records[s.path].pixel_hash) for s in (pair.first, pair.second))
            parent[max(first, second)] = min(first, second)
    return {s.path: root(records[s.path].pixel_hash) for s in readable}
