"""Near copies: pictures saved anew, resized or recompressed.

A hash says who might be a copy, comparing aligned pixels says who is: chest X-rays look alike,
so hash neighbours alone are no proof.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import cv2
import numpy as np

from medimg.core.errors import UsageError
from medimg.core.images import UnreadableImage, decode_to_input
from medimg.core.scan import ScanRecord
from medimg.core.types import Sample, Source
from medimg.core.workers import in_blocks

HASH_BITS = 64
DISTANCE_BITS, MOST_DISTANCE_BITS = 4, 12
COMPARED_PX = 64
CONFIRMED = 0.999
# pairs below this are look-alikes, not candidates
PLAUSIBLE = 0.99
# from here on moving one picture may make a pair of copies of it
DOUBTFUL, MOST_ALIGNED = 0.9, 20_000
ALIGNED_PX, MOVED_PX = 128, 8
# what two crops of one picture reach at 32×32 at the least, moved by whole pixels
NEARLY_ALIGNED, COARSE_PX, COARSE_MOVED_PX = 0.94, 32, 2
# pictures with less spread than this are blank: their hash is noise
LEAST_SPREAD = 4.0
# bounds on a search among pictures that all look alike: seconds and some hundred megabytes
MOST_HASH_PAIRS = 2_000_000_000
MOST_CANDIDATES = 500_000
MOST_PICTURES = 40_000
# buckets up to this size are searched all at once, fuller ones tile by tile
FEW = 32
TILE = 2048


@dataclass(frozen=True, slots=True)
class NearCopy:
    """Two pictures that look alike.

    Args:
        correlation: of their pixels at 64×64.
        distance_bits: in how many bits their hashes differ.
        confirmed: the correlation reaches the one asked for.
        mirrored: one is the mirror image of the other.
        moved: not confirmed, but once one is moved by a few pixels: a crop, or a neighbour in a
            series that hardly differs.
    """

    first: Sample
    second: Sample
    correlation: float
    distance_bits: int
    confirmed: bool
    mirrored: bool = False
    moved: bool = False


@dataclass(frozen=True, slots=True)
class NearCopies:
    """What a search found, the likest first, and what it did not look at, in words."""

    pairs: tuple[NearCopy, ...]
    not_searched: str = ""


def find_near_copies(
    samples: Sequence[Sample],
    records: Mapping[str, ScanRecord],
    source: Source,
    *,
    distance: int = DISTANCE_BITS,
    correlation: float = CONFIRMED,
    mirror: bool = False,
) -> NearCopies:
    """Pairs that look alike and are not pixel-identical.

    Of pictures that are pixel-identical one, the first, stands for all.

    Args:
        distance: bits in which the hashes of two candidates may differ, 0 to 12.
        correlation: of aligned pixels, from which a pair is confirmed.
        mirror: look for mirror images too.
    Raises:
        UsageError: a distance that would make everything a candidate.
    """
    if not 0 <= correlation <= 1:
        raise UsageError(f"near-duplicates.correlation is 0 to 1, not {correlation}")
    kept = distinct(samples, records)
    hashes = np.array([records[s.path].dhash for s in kept], dtype=np.uint64)
    close, not_searched = neighbours(hashes, distance)
    turned = np.zeros(len(close), bool)
    if mirror:
        others, left = mirror_neighbours(hashes, distance)
        close, turned = (
            np.concatenate([close, others]),
            np.repeat([False, True], [len(close), len(others)]),
        )
        not_searched = not_searched or left
    candidates = within_bounds(close)
    if len(candidates) < len(close):
        not_searched = not_searched or left_out(close[len(candidates) :])
    turned = turned[: len(candidates)]
    second = np.where(turned, mirrored_hashes(hashes)[candidates[:, 1]], hashes[candidates[:, 1]])
    distances = distance_bits(hashes[candidates[:, 0]], second)
    paths = [s.path for s in kept]
    likeness, doubtful = correlations(paths, candidates, source, turned)
    confirmed = likeness >= correlation
    doubtful &= ~confirmed
    align(likeness, doubtful, paths, candidates, source, turned)
    found = [
        NearCopy(
            kept[i],
            kept[j],
            float(likeness[n]),
            int(distances[n]),
            bool(confirmed[n]),
            bool(turned[n]),
            bool(likeness[n] >= correlation and not confirmed[n]),
        )
        for n, (i, j) in enumerate(candidates.tolist())
        if likeness[n] >= min(PLAUSIBLE, correlation)
    ]
    found.sort(key=lambda pair: (-pair.correlation, pair.first.path, pair.second.path))
    return NearCopies(tuple(found), not_searched)


def distinct(samples: Sequence[Sample], records: Mapping[str, ScanRecord]) -> list[Sample]:
    """One sample of each picture that is not blank."""
    unique: dict[str, Sample] = {}
    for sample in samples:
        record = records[sample.path]
        if record.dhash is not None and (record.std or 0) >= LEAST_SPREAD:
            unique.setdefault(record.pixel_hash, sample)
    return list(unique.values())


# -- hashes that lie close together ------------------------------------------------------------


def neighbours(hashes: np.ndarray, distance: int = DISTANCE_BITS) -> tuple[np.ndarray, str]:
    """(Int64[P, 2] pairs i < j of hashes that differ in few bits, what was left out).

    Hashes that differ in d bits agree in two of d + 2 bands: only those are compared, so that a
    million distinct pictures take seconds (multi-index hashing, Norouzi et al., CVPR 2012).
    Nothing is missed below the bounds: the fullest buckets are left out where comparing them
    would take too long, and the search ends where too much looks alike.

    Args:
        hashes: UInt64[N].
    Raises:
        UsageError: a distance that would make everything a candidate.
    """
    found: list[np.ndarray] = []
    full: list[np.ndarray] = []
    for mask in masks(distance):
        shared = buckets(hashes & mask)
        found.append(close_in_small(hashes, *shared, distance))
        full += fuller(*shared)
    full.sort(key=len)
    work, new = 0, sum(map(len, found))
    for place, members in enumerate(full):
        work += len(members) ** 2 // 2
        if work > MOST_HASH_PAIRS:
            return joined(found, len(hashes)), left_out(np.concatenate(full[place:]))
        for more in close_pairs(hashes, members, distance):
            found.append(more)
            new += len(more)
            if new > MOST_CANDIDATES // 4:
                # the same pair is met in several bands
                found, new = [joined(found, len(hashes))], 0
                if len(found[0]) > MOST_CANDIDATES:
                    return found[0], left_out(np.concatenate(full[place:]))
    return joined(found, len(hashes)), ""


def mirror_neighbours(hashes: np.ndarray, distance: int) -> tuple[np.ndarray, str]:
    """The same of hashes and the mirror images of others."""
    count = len(hashes)
    pairs, words = neighbours(np.concatenate([hashes, mirrored_hashes(hashes)]), distance)
    across = pairs[(pairs[:, 0] < count) & (pairs[:, 1] >= count)] - [0, count]
    # a picture and its own mirror image are no pair, and each pair is met twice
    return across[across[:, 0] < across[:, 1]], words


def mirrored_hashes(hashes: np.ndarray) -> np.ndarray:
    """Those of the mirror images: the bits of each row back to front, and inverted."""
    bits = np.unpackbits(hashes.astype(">u8").view(np.uint8).reshape(-1, 8, 1), axis=2)
    turned = np.packbits(1 - bits[..., ::-1], axis=2)
    return np.ascontiguousarray(turned.reshape(-1, 8)).view(">u8").ravel().astype(np.uint64)


def masks(distance: int) -> Iterator[np.uint64]:
    """The bits of each two of distance + 2 bands."""
    if not 0 <= distance <= MOST_DISTANCE_BITS:
        raise UsageError(f"near-duplicates.distance is 0 to {MOST_DISTANCE_BITS}, not {distance}")
    edges = np.linspace(0, HASH_BITS, distance + 3).astype(int).tolist()
    bands = [(1 << high) - (1 << low) for low, high in zip(edges, edges[1:], strict=False)]
    for one, other in combinations(bands, 2):
        yield np.uint64(one | other)


def buckets(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(places sorted by value, where in that order each bucket of one value starts, its size)."""
    order = np.argsort(values, kind="stable")
    arranged = values[order]
    changes = np.concatenate([arranged[:1] == arranged[:1], arranged[1:] != arranged[:-1]])
    starts = np.flatnonzero(changes)
    return order, starts, np.diff(np.append(starts, len(values)))


def close_in_small(
    hashes: np.ndarray, order: np.ndarray, starts: np.ndarray, sizes: np.ndarray, distance: int
) -> np.ndarray:
    """Int64[P, 2] pairs within all small buckets at once: each with the next, the one after, …"""
    few = (sizes > 1) & (sizes <= FEW)
    starts, sizes = starts[few], sizes[few]
    rank = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = np.repeat(starts, sizes) + rank
    following = np.repeat(sizes, sizes) - rank - 1
    found = [np.empty((0, 2), np.int64)]
    for step in range(1, FEW):
        going = following >= step
        place, following = place[going], following[going]
        if not len(place):
            break
        i, j = order[place], order[place + step]
        near = distance_bits(hashes[i], hashes[j]) <= distance
        found.append(np.sort(np.stack([i[near], j[near]], axis=1), axis=1))
    return np.concatenate(found)


def fuller(order: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
    """The members of each bucket of more than a few."""
    return [order[starts[k] : starts[k] + sizes[k]] for k in np.flatnonzero(sizes > FEW)]


def within_bounds(pairs: np.ndarray) -> np.ndarray:
    """The first pairs, as many as have pictures that fit into memory."""
    first_seen = np.unique(pairs, return_index=True)[1]
    if len(first_seen) <= MOST_PICTURES:
        return pairs
    return pairs[: np.partition(first_seen, MOST_PICTURES)[MOST_PICTURES] // 2]


def left_out(members: np.ndarray) -> str:
    pictures = len(np.unique(members))
    return f"{pictures:,} pictures are so much alike that not all pairs of them were compared"


def close_pairs(hashes: np.ndarray, members: np.ndarray, distance: int) -> Iterator[np.ndarray]:
    """Int64[P, 2] pairs within one bucket, tile by tile; P is never 0."""
    for top in range(0, len(members), TILE):
        for left in range(top, len(members), TILE):
            rows, columns = members[top : top + TILE], members[left : left + TILE]
            near = distance_bits(hashes[rows][:, None], hashes[columns][None, :]) <= distance
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


def correlations(
    paths: Sequence[str], candidates: np.ndarray, source: Source, turned: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of the pairs Int64[P, 2] of paths: Float32[P] correlations, Bool[P] whether moving may help.

    A correlation is not a number where one of the two can't be read any more.

    Args:
        turned: Bool[P], whether the second is looked at in a mirror.
    """
    wanted, places = np.unique(candidates, return_inverse=True)
    places = places.reshape(candidates.shape)
    if not len(wanted):
        return np.empty(0, np.float32), np.empty(0, bool)
    read = in_blocks(
        [paths[i] for i in wanted],
        lambda block: [standardised(source, path) for path in block],
        None,
        None,
    )
    pixels = np.stack(list(read.values()))
    found = np.empty(len(candidates), np.float32)
    doubtful = np.zeros(len(candidates), bool)
    for start in range(0, len(candidates), TILE):
        part = slice(start, start + TILE)
        one, other = (pixels[places[part, side]].astype(np.float32) for side in (0, 1))
        mirror = turned[part]
        other[mirror] = other[mirror][:, :, ::-1]
        # half precision may come out a little above 1
        found[part] = np.minimum(np.einsum("ijk,ijk->i", one, other) / COMPARED_PX**2, 1)
        doubtful[part] = found[part] >= PLAUSIBLE
        unclear = (found[part] >= DOUBTFUL) & ~doubtful[part]
        doubtful[part][unclear] = best_moved(one[unclear], other[unclear]) >= NEARLY_ALIGNED
    return found, doubtful


def best_moved(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Float32[P]: the highest correlation of Float32[P, 64, 64] with others, one of them moved.

    By whole pixels at 32×32: it leaves out most of the pairs that no moving makes copies.
    """
    step = COMPARED_PX // COARSE_PX
    small = (len(first), COARSE_PX, step, COARSE_PX, step)
    one, other = (pixels.reshape(small).mean(axis=(2, 4)) for pixels in (first, second))
    kept = COARSE_PX - 2 * COARSE_MOVED_PX
    middle = centred(one[:, COARSE_MOVED_PX:-COARSE_MOVED_PX, COARSE_MOVED_PX:-COARSE_MOVED_PX])
    best = np.full(len(first), -1, np.float32)
    for down, right in product(range(2 * COARSE_MOVED_PX + 1), repeat=2):
        there = centred(other[:, down : down + kept, right : right + kept])
        best = np.maximum(best, np.einsum("ij,ij->i", middle, there))
    return best


def centred(pixels: np.ndarray) -> np.ndarray:
    """Float32[P, h·w] of mean 0 and length 1."""
    flat = pixels.reshape(len(pixels), pixels.shape[1] * pixels.shape[2])
    flat = flat - flat.mean(axis=1, keepdims=True)
    lengths = np.sqrt(np.einsum("ij,ij->i", flat, flat))
    return flat / np.maximum(lengths, 1e-6)[:, None]


def align(
    likeness: np.ndarray,
    doubtful: np.ndarray,
    paths: Sequence[str],
    candidates: np.ndarray,
    source: Source,
    turned: np.ndarray,
) -> None:
    """Raises the correlation of pairs that are nearly the same once one is moved a little.

    Crops of one picture don't lie on each other: of doubtful pairs the middle of one is looked for
    in the other at 128×128, up to 6 % of the side away.
    """
    wanted = np.flatnonzero(doubtful)[:MOST_ALIGNED]

    def moved(block: list[str]) -> list[float]:
        return [
            best_match(source, paths[candidates[n, 0]], paths[candidates[n, 1]], bool(turned[n]))
            for n in map(int, block)
        ]

    found = in_blocks([str(n) for n in wanted], moved)
    for n, best in found.items():
        likeness[int(n)] = max(likeness[int(n)], best)


def best_match(source: Source, first: str, second: str, mirror: bool) -> float:
    """The highest correlation of the first's middle with a place in the second; -1 for none."""
    try:
        one, other = (
            cv2.GaussianBlur(decode_to_input(source.read(p), ALIGNED_PX, ALIGNED_PX, 1), (3, 3), 0)
            for p in (first, second)
        )
    except (OSError, UnreadableImage):
        return -1.0
    middle = one[MOVED_PX:-MOVED_PX, MOVED_PX:-MOVED_PX]
    if mirror:
        other = np.ascontiguousarray(other[:, ::-1])
    if middle.std() < LEAST_SPREAD:
        return -1.0
    return min(1.0, float(cv2.matchTemplate(other, middle, cv2.TM_CCOEFF_NORMED).max()))


def standardised(source: Source, path: str) -> np.ndarray:
    """Float16[64, 64] of mean 0 and standard deviation 1; not a number where it can't be read."""
    try:
        grey = decode_to_input(source.read(path), COMPARED_PX, COMPARED_PX, 1)[..., 0]
    except (OSError, UnreadableImage):
        return np.full((COMPARED_PX, COMPARED_PX), np.nan, np.float16)
    # a recompressed picture differs in its finest detail
    smooth = cv2.GaussianBlur(grey.astype(np.float32), (3, 3), 0)
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
        # what may be the same picture is kept on one side
        if pair.confirmed or pair.moved:
            first, second = (root(records[s.path].pixel_hash) for s in (pair.first, pair.second))
            parent[max(first, second)] = min(first, second)
    return {s.path: root(records[s.path].pixel_hash) for s in readable}
