"""Near copies: pictures saved anew, resized or recompressed.

Two hashes say who might be a copy, the correlation of thumbnails who is not, and comparing aligned
pixels who is: chest X-rays look alike, so hash neighbours alone are no proof. What one hash loses
by another size or by recompression the other keeps: gradients stand a shift by a few pixels,
the lowest frequencies stand noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np

from medimg.core.alignment import centred, most_alike_moved, thumbnails_moved
from medimg.core.errors import UsageError
from medimg.core.images import UnreadableImage, decode_to_input
from medimg.core.scan import ScanRecord, mean_and_spread_of
from medimg.core.types import Sample, Source
from medimg.core.workers import in_blocks, pieces

HASH_BITS = 64
DISTANCE_BITS, MOST_DISTANCE_BITS = 4, 12
COMPARED_PX, STEPS = 64, 1024
CONFIRMED = 0.999
# pairs below this are look-alikes, not candidates
PLAUSIBLE = 0.99
# of pictures that one side is less than 64 pixels of, recompression and resizing touch more; those
# of one modality are less alike too
FEW_PLAUSIBLE, FEW_LOOK_ALIKE = 0.97, 0.96
# of thumbnails, less than what pairs that reach `LOOK_ALIKE` as they lie have; and what those have
# that reach it once one is moved: as they lie, and moved by half a pixel or one
ALIKE, NEARLY_ALIKE, MOVED_ALIKE = 0.97, 0.85, 0.96
# each of 4×4 parts of confirmed pictures may differ by so much of the picture's variance, or of
# the part's own: 99 % of the samples at JPEG quality 20 do not, other contents in one frame do
PARTS, LEAST_APART, MOST_APART = 4, 0.001, 0.1
# pairs of which there are many where a modality looks alike by nature
LOOK_ALIKE = 0.98
# from here on moving one picture may make a pair of copies of it
DOUBTFUL, MOST_ALIGNED = 0.9, 20_000
ALIGNED_PX, MOVED_PX = 128, 8
# by so much less than at 128×128 pixels may agree at 64×64
COARSER = 0.003
# pictures with less spread than this are blank: their hash is noise
LEAST_SPREAD = 4.0
# bounds on a search among pictures that all look alike: seconds and some hundred megabytes
MOST_HASH_PAIRS = 2_000_000_000
MOST_CANDIDATES = 2_000_000
MOST_PICTURES = 40_000
# buckets up to this size are searched all at once, fuller ones tile by tile
FEW = 32
TILE = 2048
# from so many pairs for each picture on, copies of one picture are looked for first
MANY_EACH = 8
# pairs whose pixels are compared at once: what fits into a processor's cache
AT_ONCE = 256
# pictures that a worker reads at once. They are made small by long calls, so that threads are as
# fast; processes would start as copies of one that holds all records by now
FEW_AT_ONCE, FEWEST_FOR_PROCESSES = 16, 8192
# and pairs whose pictures are kept at 128×128 at a time
TOGETHER = 4096


@dataclass(frozen=True, slots=True)
class NearCopy:
    """Two pictures that look alike.

    Args:
        correlation: of their pixels at 64×64, at 32×32 where one of them is smaller than 64 pixels.
        distance_bits: in how many bits their hashes differ, those of the kind that differs less.
        confirmed: the correlation reaches the one asked for, and no part of them differs.
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
    """What a search found, the likest first, and what it did not look at, in words.

    Args:
        pairs: of many copies of one picture those that connect them, one less than there are.
        look_alikes: pairs beside those, a little less alike (correlation 0.98 to 0.99, of pictures
            smaller than 64 pixels 0.96 to 0.97).
    """

    pairs: tuple[NearCopy, ...]
    not_searched: str = ""
    look_alikes: int = 0


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
    found = [search_by(kind, kept, records, distance, mirror) for kind in KINDS]
    not_searched = next((left for *_, left in found if left), "")
    candidates, turned, distances = united(found, len(kept))
    paths = [s.path for s in kept]
    small = np.array([min(records[p].width, records[p].height) < COMPARED_PX for p in paths])
    # thumbnails are hardly less alike than their pictures
    plausible = np.where(small[candidates].any(axis=1), FEW_PLAUSIBLE, PLAUSIBLE)
    least = np.minimum(plausible, correlation) - (PLAUSIBLE - ALIKE)
    alike = thumbnails_alike([records[p].thumbnail for p in paths], candidates, turned, least)
    candidates, turned, distances = candidates[alike], turned[alike], distances[alike]
    bound = within_bounds(candidates)
    if bound < len(candidates):
        not_searched = not_searched or left_out(candidates[bound:])
    candidates, turned, distances = candidates[:bound], turned[:bound], distances[:bound]
    few = small[candidates].any(axis=1)
    pixels, places = standardised_pictures(paths, candidates, source)
    open_ones = unsettled(pixels, places, turned, few, correlation)
    candidates, turned, distances, few, places = (
        array[open_ones] for array in (candidates, turned, distances, few, places)
    )
    likeness = correlations(pixels, places, turned, few)
    reached = likeness >= correlation
    confirmed = reached.copy()
    confirmed[reached] = alike_everywhere(pixels, places[reached], turned[reached], few[reached])
    plausible = np.where(few, FEW_PLAUSIBLE, PLAUSIBLE)
    least = np.minimum(plausible, correlation)
    steps = np.where(few, FEW_LOOK_ALIKE, LOOK_ALIKE), least
    doubtful = worth_moving(likeness, pixels, places, turned, steps) & ~reached
    del pixels
    align(likeness, doubtful, paths, candidates, source, turned)
    moved = (likeness >= correlation) & ~reached
    told = likeness >= least
    told[told] = telling(candidates[told], likeness[told], confirmed[told], moved[told])
    pairs = [
        NearCopy(
            kept[i],
            kept[j],
            float(likeness[n]),
            int(distances[n]),
            bool(confirmed[n]),
            bool(turned[n]),
            bool(moved[n]),
        )
        for n, (i, j) in enumerate(candidates.tolist())
        if told[n]
    ]
    pairs.sort(key=lambda pair: (-pair.correlation, pair.first.path, pair.second.path))
    beside = (likeness >= np.where(few, FEW_LOOK_ALIKE, LOOK_ALIKE)) & (likeness < plausible)
    return NearCopies(tuple(pairs), not_searched, int(beside.sum()))


def search_by(
    kind: str,
    kept: Sequence[Sample],
    records: Mapping[str, ScanRecord],
    distance: int,
    mirror: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Neighbours by one kind of hash: Int64[P, 2] pairs, Bool[P] mirrored, UInt8[P] bits, words."""
    hashes = np.array([getattr(records[s.path], kind) for s in kept], dtype=np.uint64)
    close, not_searched = neighbours(hashes, distance)
    turned = np.zeros(len(close), bool)
    mirrored = KINDS[kind](hashes) if mirror else hashes
    if mirror:
        others, left = mirror_neighbours(hashes, mirrored, distance)
        close = np.concatenate([close, others])
        turned = np.append(turned, np.ones(len(others), bool))
        not_searched = not_searched or left
    second = np.where(turned, mirrored[close[:, 1]], hashes[close[:, 1]])
    return close, turned, distance_bits(hashes[close[:, 0]], second), not_searched


def united(
    found: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray, str]], pictures: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs once, by number, with the least bits of any kind of hash."""
    pairs, turned, bits = (np.concatenate(one) for one in list(zip(*found, strict=True))[:3])
    codes = (pairs[:, 0] * pictures + pairs[:, 1]) * 2 + turned
    order = np.lexsort((bits, codes))
    first = order[np.unique(codes[order], return_index=True)[1]]
    return pairs[first], turned[first], bits[first]


def thumbnails_alike(
    thumbnails: Sequence[np.ndarray | None],
    pairs: np.ndarray,
    turned: np.ndarray,
    least: np.ndarray,
) -> np.ndarray:
    """Bool[P]: whether two thumbnails correlate by Float64[P] for their pictures to be read again.

    As they lie or, where crops of one picture might be, moved by up to a pixel.
    """
    wanted, places = np.unique(pairs, return_inverse=True)
    places = places.reshape(pairs.shape)
    if not len(wanted):
        return np.zeros(0, bool)
    small = np.stack([thumbnails[i] for i in wanted])
    mean, spread = means_and_spreads(small)
    likeness = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        one, other = places[part].T
        first, seen = small[one].astype(np.float32), small[other].astype(np.float32)
        seen[turned[part]] = seen[turned[part]][:, :, ::-1]
        both = np.einsum("ijk,ijk->i", first, seen) / small[0].size - mean[one] * mean[other]
        likeness[part] = both / np.maximum(spread[one] * spread[other], 1e-6)
    alike = likeness >= least
    unclear = np.flatnonzero((likeness >= NEARLY_ALIKE) & ~alike)
    alike[unclear] = thumbnails_moved(small, places[unclear], turned[unclear]) >= MOVED_ALIKE
    return alike


def means_and_spreads(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Float32[N] means and standard deviations of UInt8[N, h, w], some at a time."""
    mean, spread = np.empty((2, len(pictures)), np.float32)
    for start in range(0, len(pictures), TILE):
        part = slice(start, start + TILE)
        mean[part] = pictures[part].mean(axis=(1, 2), dtype=np.float32)
        spread[part] = pictures[part].std(axis=(1, 2), dtype=np.float32)
    return mean, spread


def distinct(samples: Sequence[Sample], records: Mapping[str, ScanRecord]) -> list[Sample]:
    """One sample of each picture that is not blank."""
    unique: dict[str, Sample] = {}
    for sample in samples:
        record = records[sample.path]
        if record.dhash is not None and (record.std or 0) >= LEAST_SPREAD:
            unique.setdefault(record.pixel_hash, sample)
    return list(unique.values())


def telling(
    candidates: np.ndarray, likeness: np.ndarray, confirmed: np.ndarray, moved: np.ndarray
) -> np.ndarray:
    """Bool[P]: the pairs that say something new, the likest first.

    Hundreds of frames of one video are a hundred thousand pairs of copies; those that connect all
    of them say the same. Look-alikes among copies of one picture are none.
    """
    same = np.flatnonzero(confirmed | moved)
    same = same[np.lexsort((-likeness[same], ~confirmed[same]))]
    roots, connecting = connected(candidates[same], int(candidates.max(initial=-1)) + 1)
    found = roots[candidates[:, 0]] != roots[candidates[:, 1]]
    found[same] = connecting
    return found


def connected(pairs: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """What Int64[P, 2] connect, one after the other, of so many.

    Returns:
        Int64[count], one number for all that are connected; Bool[P], the pairs that did it.
    """
    parent = list(range(count))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    connecting = np.zeros(len(pairs), bool)
    for n, (one, other) in enumerate(pairs.tolist()):
        first, second = root(one), root(other)
        if first != second:
            parent[max(first, second)] = min(first, second)
            connecting[n] = True
    return np.array([root(place) for place in range(count)], np.int64), connecting


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


def mirror_neighbours(
    hashes: np.ndarray, mirrored: np.ndarray, distance: int
) -> tuple[np.ndarray, str]:
    """The same of hashes and those of the mirror images of others."""
    count = len(hashes)
    pairs, words = neighbours(np.concatenate([hashes, mirrored]), distance)
    across = pairs[(pairs[:, 0] < count) & (pairs[:, 1] >= count)] - [0, count]
    # a picture and its own mirror image are no pair, and each pair is met twice
    return across[across[:, 0] < across[:, 1]], words


def mirrored_gradients(hashes: np.ndarray) -> np.ndarray:
    """Gradient hashes of mirror images: the bits of each row back to front, and inverted."""
    bits = np.unpackbits(hashes.astype(">u8").view(np.uint8).reshape(-1, 8, 1), axis=2)
    turned = np.packbits(1 - bits[..., ::-1], axis=2)
    return np.ascontiguousarray(turned.reshape(-1, 8)).view(">u8").ravel().astype(np.uint64)


def mirrored_frequencies(hashes: np.ndarray) -> np.ndarray:
    """Frequency hashes of mirror images: every other frequency across changes its sign."""
    odd = [(place + 1) % 9 % 2 for place in range(HASH_BITS)]
    return hashes ^ np.uint64(int("".join(map(str, odd)), 2))


# kinds of hash, as records name them, and what a mirror makes of each
KINDS = {"dhash": mirrored_gradients, "phash": mirrored_frequencies}


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


def within_bounds(pairs: np.ndarray) -> int:
    """How many of the first pairs have pictures that fit into memory."""
    first_seen = np.unique(pairs, return_index=True)[1]
    if len(first_seen) <= MOST_PICTURES:
        return len(pairs)
    return int(np.partition(first_seen, MOST_PICTURES)[MOST_PICTURES]) // 2


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
    # sorted: NumPy's own way to unique numbers, by hashing, takes minutes of such as these
    codes = np.sort(pairs[:, 0] * hashes + pairs[:, 1])
    codes = codes[np.append(True, codes[1:] != codes[:-1])[: len(codes)]]
    return np.stack([codes // hashes, codes % hashes], axis=1)


# -- pixels ------------------------------------------------------------------------------------


def standardised_pictures(
    paths: Sequence[str], candidates: np.ndarray, source: Source
) -> tuple[np.ndarray, np.ndarray]:
    """Int16[N, 64, 64] of the pictures that Int64[P, 2] name, and Int64[P, 2] places in it.

    All is 0 where a picture can't be read any more.
    """
    wanted, places = np.unique(candidates, return_inverse=True)
    pixels = np.zeros((len(wanted), COMPARED_PX, COMPARED_PX), np.int16)
    read = pieces(
        [paths[i] for i in wanted],
        lambda block: [standardised(source, path) for path in block],
        block=FEW_AT_ONCE,
        fewest=FEWEST_FOR_PROCESSES,
    )
    for place, (_, one) in enumerate(read):
        if one is not None:
            pixels[place] = one
    return pixels, places.reshape(candidates.shape)


def correlations(
    pixels: np.ndarray, places: np.ndarray, turned: np.ndarray, few: np.ndarray
) -> np.ndarray:
    """Float32[P]: of pairs as they lie; not a number where one of the two could not be read.

    Args:
        pixels, places: what `standardised_pictures` gives.
        turned: Bool[P], whether the second is looked at in a mirror.
        few: Bool[P], whether one has so few pixels that what is finer than 32×32 is noise.
    """
    missing = np.array([not one.any() for one in pixels], bool)
    found = np.empty(len(places), np.float32)
    for start in range(0, len(places), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        one, other = (pixels[places[part, side]].astype(np.float32) for side in (0, 1))
        mirror = turned[part]
        other[mirror] = other[mirror][:, :, ::-1]
        products = np.einsum("ijk,ijk->i", one, other) / (COMPARED_PX * STEPS) ** 2
        coarse = few[part]
        products[coarse] = correlated(halved(one[coarse]), halved(other[coarse]))
        # rounding may make a little more than 1 of it
        found[part] = np.minimum(products, 1)
        found[part][missing[places[part]].any(axis=1)] = np.nan
    return found


def unsettled(
    pixels: np.ndarray,
    places: np.ndarray,
    turned: np.ndarray,
    few: np.ndarray,
    correlation: float,
) -> np.ndarray:
    """Bool[P]: the pairs that have to be compared, where there are many of each picture.

    Each picture is compared with the last two before it that it might be a copy of. What these
    show to be copies of one picture need not be compared all with all.
    """
    if len(places) < MANY_EACH * len(pixels):
        return np.ones(len(places), bool)
    # pairs stand in the order of their first: the last of each second are those just before it,
    # as frames of one video are
    order = np.argsort(places[:, 1], kind="stable")
    ends = np.searchsorted(places[order, 1], np.arange(len(pixels)), side="right")
    rank = ends[places[order, 1]] - 1 - np.arange(len(places))
    some = order[rank < 2]
    chosen = places[some], turned[some], few[some]
    same = correlations(pixels, *chosen) >= correlation
    same[same] = alike_everywhere(pixels, *(array[same] for array in chosen))
    roots, connecting = connected(places[some[same]], len(pixels))
    found = roots[places[:, 0]] != roots[places[:, 1]]
    found[some[same][connecting]] = True
    return found


def alike_everywhere(
    pixels: np.ndarray, places: np.ndarray, turned: np.ndarray, few: np.ndarray
) -> np.ndarray:
    """Bool[P]: whether no part of two pictures differs by more than saving anew makes of it.

    A frame or a scale that all pictures of a device share correlates for them, whatever is inside.
    The same arguments as of `correlations`.
    """
    found = np.empty(len(places), bool)
    for start in range(0, len(places), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        one, other = (pixels[places[part, side]].astype(np.float32) / STEPS for side in (0, 1))
        mirror, coarse = turned[part], few[part]
        other[mirror] = other[mirror][:, :, ::-1]
        agree = parts_agree(one, other)
        agree[coarse] = parts_agree(halved(one[coarse]) / 4, halved(other[coarse]) / 4)
        found[part] = agree
    return found


def parts_agree(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Bool[P] of Float32[P, h, w] each, whose standard deviation is about 1; see `PARTS`."""
    apart = part_means(np.square(one - other))
    # only where they differ a part's own variance has to be known
    unclear = np.flatnonzero((apart > LEAST_APART).any(axis=(1, 2)))
    found = np.ones(len(one), bool)
    if len(unclear):
        both = (one[unclear], other[unclear])
        own = sum(part_means(np.square(p)) - part_means(p) ** 2 for p in both) / 2
        allowed = np.maximum(LEAST_APART, MOST_APART * own)
        found[unclear] = (apart[unclear] <= allowed).all(axis=(1, 2))
    return found


def part_means(pictures: np.ndarray) -> np.ndarray:
    """Float32[P, 4, 4] of Float32[P, h, w]."""
    tall, wide = (side // PARTS for side in pictures.shape[1:])
    columns = pictures.reshape(-1, wide).sum(axis=1).reshape(-1, PARTS, tall, PARTS)
    return columns.sum(axis=2) / (tall * wide)


def worth_moving(
    likeness: np.ndarray,
    pixels: np.ndarray,
    places: np.ndarray,
    turned: np.ndarray,
    steps: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Bool[P]: whether moving one of two may say more of a pair than is known.

    Args:
        steps: Float64[P] each, correlations from which on a pair counts as a look-alike, and is
            told.
    """
    alike, told = steps
    worth = likeness >= told
    unclear = np.flatnonzero((likeness >= DOUBTFUL) & ~worth)
    wanted = np.where(likeness < alike, np.minimum(alike, told), told)[unclear]
    most = most_alike_moved(pixels, places[unclear], turned[unclear])
    worth[unclear] = most >= wanted - COARSER
    return worth


def halved(pixels: np.ndarray) -> np.ndarray:
    """Float32[P, h/2, w/2], the sum of each four."""
    rows = pixels[:, ::2] + pixels[:, 1::2]
    return rows[:, :, ::2] + rows[:, :, 1::2]


def correlated(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Float32[P], of Float32[P, h, w] each."""
    return np.einsum("ij,ij->i", centred(first), centred(second))


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
    # those of one picture stand together, so that it is read once
    wanted = wanted[np.lexsort((candidates[wanted, 1], candidates[wanted, 0]))]
    for start in range(0, len(wanted), TOGETHER):
        some = wanted[start : start + TOGETHER]
        seen = in_blocks(
            [paths[i] for i in np.unique(candidates[some])],
            lambda block: [smoothed(source, path) for path in block],
        )

        def moved(block: list[str], seen: Mapping[str, np.ndarray | None] = seen) -> list[float]:
            pairs = [(*candidates[int(n)].tolist(), bool(turned[int(n)])) for n in block]
            return [best_match(seen[paths[i]], seen[paths[j]], turn) for i, j, turn in pairs]

        for n, best in in_blocks([str(n) for n in some], moved).items():
            likeness[int(n)] = max(likeness[int(n)], best)


def smoothed(source: Source, path: str) -> np.ndarray | None:
    """UInt8[128, 128] of a picture; None where it can't be read."""
    try:
        grey = decode_to_input(source.read(path), ALIGNED_PX, ALIGNED_PX, 1, finer=2)
    except (OSError, UnreadableImage):
        return None
    return cv2.GaussianBlur(grey, (3, 3), 0)


def best_match(first: np.ndarray | None, second: np.ndarray | None, mirror: bool) -> float:
    """The highest correlation of the first's middle with a place in the second; -1 for none."""
    if first is None or second is None:
        return -1.0
    middle = first[MOVED_PX:-MOVED_PX, MOVED_PX:-MOVED_PX]
    if mean_and_spread_of(middle)[1] < LEAST_SPREAD:
        return -1.0
    other = np.ascontiguousarray(second[:, ::-1]) if mirror else second
    _, best, _, (left, top) = cv2.minMaxLoc(cv2.matchTemplate(other, middle, cv2.TM_CCOEFF_NORMED))
    window = other[top : top + len(middle), left : left + len(middle)]
    if not parts_agree(standard(middle)[None], standard(window)[None])[0]:
        return -1.0
    return min(1.0, best)


def standard(grey: np.ndarray) -> np.ndarray:
    """Float32[h/2, w/2] of UInt8[h, w], mean 0 and standard deviation 1."""
    half = cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).astype(np.float32)
    mean, spread = mean_and_spread_of(half)
    return (half - mean) / max(spread, 1e-6)


def standardised(source: Source, path: str) -> np.ndarray | None:
    """Int16[64, 64] of mean 0 and standard deviation `STEPS`; None where it can't be read."""
    try:
        grey = decode_to_input(source.read(path), COMPARED_PX, COMPARED_PX, 1, finer=2)[..., 0]
    except (OSError, UnreadableImage):
        return None
    # a recompressed picture differs in its finest detail
    smooth = cv2.GaussianBlur(grey.astype(np.float32), (3, 3), 0)
    mean, spread = mean_and_spread_of(smooth)
    # whole numbers become floats again much faster than those of half precision do; what is too
    # large for them becomes the largest
    scale = STEPS / max(spread, 1e-6)
    return cv2.addWeighted(smooth, scale, smooth, 0, -mean * scale, dtype=cv2.CV_16S)


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
