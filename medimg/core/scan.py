"""One pass over a dataset's files: everything the checks and reports ask of an image.

Each file is read and decoded once, on all cores (cv2 and hashlib release the GIL).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
import xxhash

from medimg.core.images import (
    Header,
    UnreadableImage,
    check_file,
    ends_early,
    is_damaged,
    plain_array,
    to_bytes,
    unpack_bgr,
)
from medimg.core.metadata import NOTHING, metadata_of
from medimg.core.types import DatasetIndex, Sample, Source
from medimg.core.workers import in_blocks, one_thread_a_call, pieces

BINS = 64
LEVELS = np.arange(256.0)
PERCENTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
# 8×9 cells of 4×4 pixels: the gradient hash and the outer frame come from one small picture,
# which is made from four samples a pixel, sixteen of pictures that are large
SMALL_HEIGHT, SMALL_WIDTH = 32, 36
LARGE = 16
# the nine lowest frequencies of 32 rows and of 36 columns: a cosine transform without its scale
WAVES = tuple(
    np.cos(np.pi / n * np.outer(np.arange(9), np.arange(n) + 0.5)).astype(np.float32)
    for n in (SMALL_HEIGHT, SMALL_WIDTH)
)
# by so many levels the channels of a grey picture differ once it was saved with losses (WebP: 1)
GREY_LEVELS = 2
# grey levels are counted in this many rows at least, evenly spread
COUNTED_ROWS = 48
# so many are taken through each step together, as long as they are small: code that runs twice
# in a row is at hand, and a step for all pictures of one size costs little more than for one
TOGETHER, TOGETHER_PX = 64, 1 << 22
# filters take so many in one row: more of them would not stay in a processor's cache
IN_A_ROW = 16
# up to this many pixels it is calls that cost
SMALL_PICTURE_PX = 1 << 16
# how sharp a picture is is read in a band across its middle, of so many rows and pixels at least:
# it meets outlines of organs and cells, where a square in the middle may hold none
BAND_ROWS, BAND_PX = 32, 1 << 12
# it is the detail of up to 5 pixels over that of up to 17, or over this share of the whole
# picture's spread where blur has left less than that
FINE_PX, DETAIL_PX, LEAST_DETAIL = 5, 17, 0.08
MARGIN = DETAIL_PX // 2
# what rounding to whole grey levels leaves of each, so that smooth pictures stay finite
ROUNDING = 0.02
# an eighth of each side, all round
FRAME = np.flatnonzero(np.pad(np.zeros((24, 28), bool), 4, constant_values=True))
FEATURE_NAMES = (
    "corner top left mean",
    "corner top right mean",
    "corner bottom left mean",
    "corner bottom right mean",
    "corner top left spread",
    "corner top right spread",
    "corner bottom left spread",
    "corner bottom right spread",
    "border mean",
    "border spread",
    "mean",
    "spread",
)
# corners, mean, spread, border mean and spread, as they are put together
FEATURE_ORDER = (0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 8, 9)


class ScanRecord(NamedTuple):
    """What one image is: a tuple, because records are made and sent by the hundred thousand.

    Args:
        sha256: of the file's bytes; of type, shape and bytes for an array. Empty where the file
            can't even be read.
        pixel_hash: XXH3 of 128 bits; the same picture in another format, or grey stored as RGB,
            has the same.
        width, height: pixels after EXIF orientation; 0 where it can't be decoded.
        mode: L, RGB, RGBA, P, L;16, …; format: JPEG, PNG, …, or ARRAY.
        size_bytes: of the file.
        mean, std: grey levels 0..255.
        percentiles: grey levels at 1, 25, 50, 75 and 99 %, of 48 rows or more of a tall picture.
        histogram: UInt16[64], shares of grey levels times 65,535, of the same rows.
        dhash, phash: 64 bits of a gradient and of a frequency hash, for near copies.
        thumbnail: UInt8[16, 18], the picture squashed, for the same.
        features: Float32[12], `FEATURE_NAMES`: what a shortcut could be read from.
        frames: pictures in the file (animation, pages); only the first is looked at.
        orientation: EXIF orientation, 1 to 8; 1 is upright.
        quality: of a JPEG's quantisation tables, 1 to 100; None for other formats.
        grey: whether all channels are equal, however it is stored, but for two levels that lossy
            formats leave between them.
        sharpness: mean size of the detail of up to 5 pixels over that of up to 17 (or over 8 % of
            `std`, if that is more), in a band across the middle at full size; the less the more
            it is blurred. None where the band is blank.
        private: names of filled metadata fields that may identify a person, never their values.
        error: why it can't be decoded; kind: the check that names it.
    """

    sha256: str
    pixel_hash: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""
    format: str = ""
    size_bytes: int = 0
    mean: float | None = None
    std: float | None = None
    percentiles: tuple[float, ...] = ()
    histogram: np.ndarray | None = None
    dhash: int | None = None
    phash: int | None = None
    thumbnail: np.ndarray | None = None
    features: np.ndarray | None = None
    frames: int = 1
    orientation: int = 1
    quality: int | None = None
    grey: bool = False
    sharpness: float | None = None
    private: tuple[str, ...] = ()
    error: str = ""
    kind: str = ""

    def packed(self) -> tuple[list[Any], bytes | None]:
        """Its values in order as JSON can hold them, and all arrays one after the other."""
        values = self.values(np.ndarray.tobytes)
        arrays = [values[place] for place in ARRAYS]
        for place in ARRAYS:
            values[place] = None
        return values, None if None in arrays else b"".join(arrays)

    @classmethod
    def unpacked(cls, values: list[Any], arrays: bytes | None) -> ScanRecord:
        """The record that `packed` gave.

        Raises:
            ValueError, TypeError: it gave something else.
        """
        for place in SEVERAL:
            values[place] = tuple(values[place])
        start = 0
        for place, (kept, shape) in ARRAYS.items() if arrays is not None else ():
            values[place] = np.ndarray(shape, kept, arrays, start)
            start += values[place].nbytes
        return cls._make(values)

    def values(self, packed: Callable[[np.ndarray], Any]) -> list[Any]:
        """Its values in order, arrays as `packed` makes them."""
        values = list(self)
        for place, (kept, _) in ARRAYS.items():
            if values[place] is not None:
                values[place] = packed(np.asarray(values[place], kept))
        return values


# where in a record they stand, of what type and shape they are
ARRAYS: dict[int, tuple[type, tuple[int, ...]]] = {
    ScanRecord._fields.index("histogram"): (np.uint16, (BINS,)),
    ScanRecord._fields.index("features"): (np.float32, (len(FEATURE_NAMES),)),
    ScanRecord._fields.index("thumbnail"): (np.uint8, (SMALL_HEIGHT // 2, SMALL_WIDTH // 2)),
}
# values that JSON has as lists
SEVERAL = (ScanRecord._fields.index("percentiles"), ScanRecord._fields.index("private"))
# of a file that an interrupted scan did not reach
NOT_READ = ScanRecord("", error="it was not read: the scan was interrupted", kind="not-read")


def restored(values: list[Any]) -> ScanRecord:
    """A record from its values in order, arrays as bytes."""
    for place, (kept, shape) in ARRAYS.items():
        if values[place] is not None:
            values[place] = np.ndarray(shape, kept, values[place])
    return ScanRecord._make(values)


def scan(
    index: DatasetIndex,
    progress: Callable[[int], object] | None = None,
    workers: int | None = None,
) -> dict[str, ScanRecord]:
    """Path to record, for every labelled image."""
    return scan_samples(index.samples, index.source, progress, workers)


def scan_samples(
    samples: Iterable[Sample],
    source: Source,
    progress: Callable[[int], object] | None = None,
    workers: int | None = None,
) -> dict[str, ScanRecord]:
    """Path to record of some samples."""
    return dict(scan_paths(dict.fromkeys(s.path for s in samples), source, progress, workers))


def scan_paths(
    paths: Iterable[str],
    source: Source,
    progress: Callable[[int], object] | None = None,
    workers: int | None = None,
) -> Iterator[tuple[str, ScanRecord]]:
    """The same of paths, one after the other, so that an interrupt leaves what is done."""

    def examined(block: list[str]) -> list[list[Any]]:
        # plain values: other processes send them in a quarter of the time that records take
        return [record.values(np.ndarray.tobytes) for record in examine_all(block, source)]

    with one_thread_a_call():
        for path, values in pieces(list(paths), examined, progress, workers):
            yield path, restored(values)


class Opened(NamedTuple):
    """What was read of one image; `known` are fields of its record."""

    data: Any
    header: Header | None
    known: dict[str, Any]

    @property
    def pixels(self) -> int:
        """At least as many as it unpacks to, where the file says so."""
        if self.header is None:
            return self.data.size
        return max((self.header.width or 0) * (self.header.height or 0), len(self.data))


@dataclass(slots=True)
class Raw:
    """What is taken from one picture's pixels, before a block of them is described together.

    Args:
        counts: Float32[256], pixels by grey level, of `COUNTED_ROWS` rows or more.
        whole: mean and standard deviation of all pixels; None where all are counted.
        small: UInt8[32, 36], the picture squashed.
        band: UInt8[h, w], where sharpness is read.
        corners: UInt8[4, h, w], at full size: letters are small.
    """

    known: dict[str, Any]
    counts: np.ndarray
    whole: tuple[float, float] | None
    small: np.ndarray
    band: np.ndarray
    corners: np.ndarray


def examine_all(paths: list[str], source: Source) -> list[ScanRecord]:
    """The records of a block of images; statistics are computed for all of them at once."""
    found: list[Raw | ScanRecord] = []
    waiting: list[Opened | ScanRecord] = []
    pixels = 0
    for path in paths:
        opened = open_one(path, source)
        waiting.append(opened)
        pixels += opened.pixels if isinstance(opened, Opened) else 0
        if len(waiting) == TOGETHER or pixels > TOGETHER_PX:
            found += look(waiting)
            waiting, pixels = [], 0
    found += look(waiting)
    described = iter(describe([one for one in found if isinstance(one, Raw)]))
    return [next(described) if isinstance(one, Raw) else one for one in found]


def open_one(path: str, source: Source) -> Opened | ScanRecord:
    """Reads one file; what can't be read or is no whole image becomes a record that says why."""
    try:
        data = source.read(path)
    except OSError as error:
        kind = getattr(error, "kind", "unreadable")
        return ScanRecord("", error=error.strerror or str(error), kind=kind)
    size = len(data) if isinstance(data, bytes) else int(data.nbytes)
    known: dict[str, Any] = {"sha256": content_hash(data), "size_bytes": size}
    try:
        return Opened(data, check_file(data) if isinstance(data, bytes) else None, known)
    except UnreadableImage as error:
        return ScanRecord(**known, error=error.reason, kind=error.kind)


def look(opened: list[Opened | ScanRecord]) -> list[Raw | ScanRecord]:
    """Decodes and measures a few images, step by step; records stay as they are."""
    decoded = [unpacked(one) if isinstance(one, Opened) else one for one in opened]
    pictures = [one for one in decoded if not isinstance(one, ScanRecord)]
    known = [
        one.known | beside(one)
        for one, got in zip(opened, decoded, strict=True)
        if isinstance(one, Opened) and not isinstance(got, ScanRecord)
    ]
    raws = iter(measured(pictures, known))
    return [one if isinstance(one, ScanRecord) else next(raws) for one in decoded]


def unpacked(opened: Opened) -> np.ndarray | ScanRecord:
    """Pixels as cv2 orders them: UInt8/UInt16[h, w] or [h, w, 3] (BGR)."""
    try:
        if opened.header is None or not isinstance(opened.data, bytes):
            return as_bgr(plain_array(opened.data))
        image = unpack_bgr(opened.data)
        if ends_early(opened.data, opened.header, image):
            raise UnreadableImage("its data end before the picture does", "truncated")
        if is_damaged(opened.data, opened.header):
            raise UnreadableImage("its data don't fit their check sum")
    except UnreadableImage as error:
        return ScanRecord(**opened.known, error=error.reason, kind=error.kind)
    return image


def beside(opened: Opened) -> dict[str, Any]:
    """What an image's file says of it beside the pixels, as fields of its record."""
    if opened.header is None or not isinstance(opened.data, bytes):
        return {"format": "ARRAY"}
    said: dict[str, Any] = {"format": opened.header.format, "mode": opened.header.mode or ""}
    found = metadata_of(opened.data, opened.header)
    if found is not NOTHING:
        said |= {"frames": found.frames, "orientation": found.orientation}
        said |= {"quality": found.quality, "private": found.private}
    return said


def plain_mode(image: np.ndarray) -> str:
    """L or RGB, with the depth where that is not 8 bits."""
    mode = "L" if image.ndim == 2 else "RGB"
    return mode if image.itemsize == 1 else f"{mode};{8 * image.itemsize}"


def as_bgr(image: np.ndarray) -> np.ndarray:
    """An array's pixels in the order that cv2 decodes to, so that hashes agree."""
    return image if image.ndim == 2 else np.ascontiguousarray(image[..., ::-1])


def measured(images: list[np.ndarray], known: list[dict[str, Any]]) -> list[Raw]:
    """What one pass over each of UInt8/UInt16[h, w] or [h, w, 3] (BGR) gives.

    Args:
        known: fields of their records, to which this adds.
    """
    greys = [in_grey(image) for image in images]
    hashes = [
        pixel_hash(image if away else grey)
        for image, (grey, away) in zip(images, greys, strict=True)
    ]
    levels = [to_bytes(grey) for grey, _ in greys]
    counts = [grey_levels(level) for level in levels]
    small = [shrunk(level) for level in levels]
    raws = []
    for place, (image, own, level) in enumerate(zip(images, known, levels, strict=True)):
        own["mode"] = own.get("mode") or plain_mode(image)
        own["height"], own["width"] = level.shape
        own["grey"], own["pixel_hash"] = greys[place][1] <= GREY_LEVELS, hashes[place]
        whole = None if len(level) < 2 * COUNTED_ROWS else mean_and_spread_of(level)
        raws.append(Raw(own, counts[place], whole, small[place], band(level), corners(level)))
    return raws


def in_grey(image: np.ndarray) -> tuple[np.ndarray, float]:
    """A picture's luminance, and by how many of 256 levels a channel lies apart from it at most.

    In a picture whose middle shows colour, it is known to be more than `GREY_LEVELS`, no more.
    """
    if image.ndim == 2:
        return image, 0.0
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    unit = 257 if image.itemsize == 2 else 1
    # nearly every coloured picture shows it in one pixel, or in one row
    tall, wide = grey.shape[0] // 2, grey.shape[1] // 2
    across = abs(image.item(tall, wide, 0) - image.item(tall, wide, 2)) / unit
    if across > 2 * GREY_LEVELS:
        return grey, across
    row = slice(tall, tall + 1)
    away = from_grey(image[row], grey[row]) / unit
    return grey, away if away > GREY_LEVELS else from_grey(image, grey) / unit


def from_grey(image: np.ndarray, grey: np.ndarray) -> float:
    """How far a channel lies from the luminance at most."""
    return cv2.norm(image, cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), cv2.NORM_INF)


def grey_levels(grey: np.ndarray) -> np.ndarray:
    """Float32[256]: pixels by level, of rows that are evenly spread."""
    rows = grey[:: max(1, len(grey) // COUNTED_ROWS)]
    return cv2.calcHist([rows], [0], None, [256], [0, 256]).ravel()


def mean_and_spread_of(grey: np.ndarray) -> tuple[float, float]:
    mean, std = cv2.meanStdDev(grey)
    return mean.item(), std.item()


def band(grey: np.ndarray) -> np.ndarray:
    """A copy of the rows in the middle that `sharpness` looks at."""
    height = max(BAND_ROWS, BAND_PX // grey.shape[1], len(grey) // 64)
    top = max(0, (len(grey) - height) // 2)
    return grey[top : top + height].copy()


def corners(grey: np.ndarray) -> np.ndarray:
    """UInt8[4, h, w], an eighth of each side: top left and right, bottom left and right."""
    if grey.size <= SMALL_PICTURE_PX:
        return grey.take(corner_places(*grey.shape))
    tall, wide = grey.shape[0] // 8, grey.shape[1] // 8
    four = np.empty((4, max(1, tall), max(1, wide)), np.uint8)
    for place, corner in enumerate(four):
        rows = slice(-len(corner), None) if place > 1 else slice(len(corner))
        columns = slice(-corner.shape[1], None) if place % 2 else slice(corner.shape[1])
        corner[:] = grey[rows, columns]
    return four


@lru_cache
def corner_places(tall: int, wide: int) -> np.ndarray:
    """Where `corners` stand in all pixels, one after the other: one call instead of eight."""
    places = np.arange(tall * wide).reshape(tall, wide)
    down, right = max(1, tall // 8), max(1, wide // 8)
    left, other = places[:, :right], places[:, -right:]
    return np.stack([left[:down], other[:down], left[-down:], other[-down:]])


def shrunk(grey: np.ndarray) -> np.ndarray:
    """UInt8[32, 36] of UInt8[h, w].

    Averaging every pixel costs more than decoding, where the sides are no multiples of 32 and 36.
    """
    height, width = grey.shape
    times = min(height // SMALL_HEIGHT, width // SMALL_WIDTH)
    if times == 0:
        # larger by whole numbers first: no pixel is between two then
        grey = grey.repeat(-(-SMALL_HEIGHT // height), axis=0)
        grey = grey.repeat(-(-SMALL_WIDTH // width), axis=1)
    if times >= 2:
        samples = 4 if times >= LARGE else 2
        grey = cv2.resize(grey, (samples * SMALL_WIDTH, samples * SMALL_HEIGHT))
    return cv2.resize(grey, (SMALL_WIDTH, SMALL_HEIGHT), interpolation=cv2.INTER_AREA)


def by_shape(arrays: list[np.ndarray], work: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What `work` makes of arrays, those of one shape at once: one row of its answer for each."""
    places: dict[tuple[int, ...], list[int]] = {}
    for place, array in enumerate(arrays):
        places.setdefault(array.shape, []).append(place)
    found = [work(np.stack([arrays[place] for place in alike])) for alike in places.values()]
    if len(found) == 1:
        return found[0]
    order = np.argsort([place for alike in places.values() for place in alike])
    return np.concatenate(found)[order]


def sharpness(raws: list[Raw], spreads: np.ndarray) -> np.ndarray:
    """Float64[N], see `ScanRecord`; not a number where the band is blank.

    Each of both details goes to zero as a picture is blurred, the finer one first. Only beside
    the spread of the whole picture, which lasts, can it be seen to the end.

    Args:
        spreads: Float64[N], standard deviations of the whole pictures.
    """
    fine, coarse = by_shape([raw.band for raw in raws], details).T
    found = (fine + ROUNDING) / (np.maximum(coarse, LEAST_DETAIL * spreads) + ROUNDING)
    # where the mean is taken a pixel counts four times at most: only these can be blank
    for place in np.flatnonzero(coarse <= 5):
        if mean_and_spread_of(raws[place].band)[1] < 1:
            found[place] = np.nan
    return found


def details(bands: np.ndarray) -> np.ndarray:
    """Float64[N, 2] of UInt8[N, h, w]: mean sizes of the detail of up to 5 and 17 pixels.

    Differences are of whole grey levels, so that what rounding leaves of a smooth slope, half a
    level at most, is none.
    """
    found = np.empty((len(bands), 2))
    for start in range(0, len(bands), IN_A_ROW):
        part = slice(start, start + IN_A_ROW)
        row = side_by_side(bands[part])
        for place, size in enumerate((FINE_PX, DETAIL_PX)):
            detail = cv2.absdiff(row, cv2.blur(row, (size, size)))
            found[part, place] = means_of_each(detail, bands.shape[2])
    return found


def side_by_side(pictures: np.ndarray) -> np.ndarray:
    """UInt8[h, N·(w + 16)] of UInt8[N, h, w]: filters take few long rows faster than many short.

    Each is continued to both sides as OpenCV does it at a border, so that no filter reaches the
    next.
    """
    count, tall, wide = pictures.shape
    row = np.empty((tall, count, wide + 2 * MARGIN), np.uint8)
    row[:, :, MARGIN:-MARGIN] = pictures.transpose(1, 0, 2)
    left, right = mirrored_columns(wide)
    row[:, :, :MARGIN] = row[:, :, left]
    row[:, :, -MARGIN:] = row[:, :, right]
    return row.reshape(tall, -1)


@lru_cache
def mirrored_columns(wide: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the columns of both margins stand in a picture that has them already."""
    places = np.pad(np.arange(wide), MARGIN, mode="reflect") + MARGIN
    return places[:MARGIN], places[-MARGIN:]


def means_of_each(row: np.ndarray, wide: int) -> np.ndarray:
    """Float64[N]: the mean of each picture in a row of them, of UInt8, exact."""
    columns = cv2.reduce(row, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S).reshape(-1, wide + 2 * MARGIN)
    return columns[:, MARGIN:-MARGIN].sum(axis=1, dtype=np.float64) / (wide * len(row))


def pixel_hash(canonical: np.ndarray) -> str:
    """XXH3 of depth, shape and pixels; 16-bit pictures that hold 8-bit ones count as those.

    Cryptographic hashes would take as long as decoding; nobody forges a copy to be left out.
    """
    if canonical.dtype == np.uint16:
        low = canonical.astype(np.uint8)
        if np.array_equal(low * np.uint16(257), canonical):
            canonical = low
    height, width = canonical.shape[:2]
    kind = 2 * canonical.ndim + canonical.itemsize
    # the seed has 64 bits: 30 for each side are more than any picture's
    seed = height << 34 | width << 4 | kind
    return xxhash.xxh3_128_hexdigest(np.ascontiguousarray(canonical).data, seed)


def content_hash(data: bytes | np.ndarray) -> str:
    """SHA-256 of a file's bytes, or of an array's type, shape and bytes."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    digest = hashlib.sha256(f"{data.dtype.str}{data.shape}".encode())
    digest.update(np.ascontiguousarray(data).data)
    return digest.hexdigest()


def describe(raws: list[Raw]) -> list[ScanRecord]:
    """The records of N pictures."""
    if not raws:
        return []
    counts = np.stack([raw.counts for raw in raws]).astype(np.float64)
    shares = counts / counts.sum(axis=1, keepdims=True)
    below = np.cumsum(shares, axis=1)
    levels = np.stack([(below < p - 1e-6).sum(axis=1) for p in PERCENTILES], axis=1)
    small = np.stack([raw.small for raw in raws])
    frame = np.stack(mean_and_spread(small.reshape(len(small), -1)[:, FRAME]), axis=1)
    corner = by_shape([raw.corners for raw in raws], of_corners)
    whole = whole_pictures(raws, shares)
    sharp = sharpness(raws, whole[:, 1]).tolist()
    features = np.column_stack([corner, whole, frame]).astype(np.float32)[:, FEATURE_ORDER]
    # four levels a bin: adding columns is faster than sums over short axes
    bins = sum(shares[:, first :: len(LEVELS) // BINS] for first in range(len(LEVELS) // BINS))
    histograms = np.rint(bins * 65535).astype(np.uint16)
    return [
        ScanRecord(
            **raw.known,
            mean=mean,
            std=std,
            percentiles=tuple(percentiles),
            # copies, so that a kept record does not keep its whole block
            histogram=histogram.copy(),
            dhash=dhash,
            phash=phash,
            thumbnail=thumbnail.copy(),
            features=own.copy(),
            sharpness=edges if edges == edges else None,
        )
        for raw, (mean, std), percentiles, histogram, dhash, phash, thumbnail, own, edges in zip(
            raws,
            whole.tolist(),
            levels.astype(float).tolist(),
            histograms,
            gradient_hashes(small),
            frequency_hashes(small),
            halved(small),
            features,
            sharp,
            strict=True,
        )
    ]


def whole_pictures(raws: list[Raw], shares: np.ndarray) -> np.ndarray:
    """Float64[N, 2]: mean and standard deviation of each, from Float64[N, 256] where all counts."""
    means = shares @ LEVELS
    variances = np.einsum("ij,ij->i", shares, (LEVELS - means[:, None]) ** 2)
    found = np.stack([means, np.sqrt(variances)], axis=1)
    for place, raw in enumerate(raws):
        if raw.whole is not None:
            found[place] = raw.whole
    return found


def of_corners(pictures: np.ndarray) -> np.ndarray:
    """Float32[N, 8] of UInt8[N, 4, h, w]: four means, then four standard deviations."""
    flat = pictures.reshape(4 * len(pictures), -1)
    return np.hstack([found.reshape(-1, 4) for found in mean_and_spread(flat)])


def gradient_hashes(small: np.ndarray) -> list[int]:
    """64 bits each: whether each of 8×9 cells is darker than its right neighbour (dHash).

    Args:
        small: UInt8[N, 32, 36].
    """
    # means of whole numbers, exact in float32
    pile = small.reshape(-1, SMALL_WIDTH).astype(np.float32)
    means = cv2.resize(pile, (9, 8 * len(small)), interpolation=cv2.INTER_AREA)
    cells = means.reshape(len(small), 8, 9)
    return as_numbers((cells[:, :, 1:] > cells[:, :, :-1]).reshape(len(small), 64))


def halved(small: np.ndarray) -> np.ndarray:
    """UInt8[N, 16, 18] of UInt8[N, 32, 36]."""
    pile, wide = small.reshape(-1, SMALL_WIDTH), SMALL_WIDTH // 2
    size = (wide, len(pile) // 2)
    half = cv2.resize(pile, size, interpolation=cv2.INTER_AREA)
    return half.reshape(len(small), -1, wide)


def frequency_hashes(small: np.ndarray) -> list[int]:
    """64 bits each: the signs of the lowest frequencies, brightness left out (a pHash).

    Noise, recompression and another size hardly touch them; pictures that only look alike, as
    chest X-rays do, differ in more of them than in a gradient hash.

    Args:
        small: UInt8[N, 32, 36].
    """
    across = (small.reshape(-1, SMALL_WIDTH).astype(np.float32) @ WAVES[1].T).reshape(-1, 32, 9)
    lowest = np.matmul(WAVES[0], across).reshape(len(small), -1)[:, 1:65]
    return as_numbers(lowest > 0)


def as_numbers(bits: np.ndarray) -> list[int]:
    """Of Bool[N, 64], the first bit the highest."""
    return np.packbits(bits, axis=1).view(">u8").ravel().tolist()


def row_means(values: np.ndarray) -> np.ndarray:
    """Float64[N] of UInt8 (exact) or Int16[N, P]; ten times as fast as NumPy's."""
    kind = cv2.CV_32S if values.dtype == np.uint8 else cv2.CV_32F
    return cv2.reduce(values, 1, cv2.REDUCE_SUM, dtype=kind)[:, 0] / values.shape[1]


def mean_and_spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Float64[N] and Float32[N], of UInt8[N, P] by row."""
    means = row_means(values)
    # what is left is small: squares of grey levels would be too large for exact sums
    apart = values - means.astype(np.float32)[:, None]
    squares = np.einsum("ij,ij->i", apart, apart) / values.shape[1]
    return means, np.sqrt(squares)


def hash_only(
    index: DatasetIndex,
    progress: Callable[[int], object] | None = None,
    workers: int | None = None,
) -> dict[str, str]:
    """Path to SHA-256 of the bytes, nothing decoded; empty where a file can't be read."""

    def one(path: str) -> str:
        try:
            return content_hash(index.source.read(path))
        except OSError:
            return ""

    return in_blocks(
        list(dict.fromkeys(s.path for s in index.samples)),
        lambda block: [one(path) for path in block],
        progress,
        workers,
    )
