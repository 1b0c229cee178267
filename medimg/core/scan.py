"""One pass over a dataset's files: everything the checks and reports ask of an image.

Each file is read and decoded once, on all cores (cv2 and hashlib release the GIL).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import xxhash

from medimg.core.images import (
    Header,
    UnreadableImage,
    check_file,
    ends_early,
    plain_array,
    to_bytes,
    unpack_bgr,
)
from medimg.core.metadata import NOTHING, metadata_of
from medimg.core.types import DatasetIndex, Sample, Source
from medimg.core.workers import in_blocks, one_thread_a_call, pieces

BINS = 64
PERCENTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
# 8×9 cells of 4×4 pixels: the gradient hash and the outer frame come from one small picture,
# which is made from nine samples a pixel, sixteen of pictures that are large
SMALL_HEIGHT, SMALL_WIDTH = 32, 36
LARGE = 16
COLUMN_CELLS = np.repeat(np.eye(9, dtype=np.float32), SMALL_WIDTH // 9, axis=0)
# grey levels are counted in this many rows at least, evenly spread
COUNTED_ROWS = 48
# so many are taken through each step together, as long as they are small: code that runs twice
# in a row is at hand, and a step for all pictures of one size costs little more than for one
TOGETHER, TOGETHER_PX = 16, 1 << 22
# how sharp a picture is is read in its middle: an eighth of each side, this much at least
SHARP_PX, DETAIL_PX = 72, 17
MARGIN = DETAIL_PX // 2
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


@dataclass(frozen=True, slots=True)
class ScanRecord:
    """What one image is.

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
        dhash: 64 bits of a gradient hash, for near copies.
        features: Float32[12], `FEATURE_NAMES`: what a shortcut could be read from.
        frames: pictures in the file (animation, pages); only the first is looked at.
        orientation: EXIF orientation, 1 to 8; 1 is upright.
        quality: of a JPEG's quantisation tables, 1 to 100; None for other formats.
        grey: whether all channels are equal, however it is stored.
        sharpness: mean size of the Laplacian in the picture's middle over that of its detail of
            up to 17 pixels, at full size; None where the middle is blank.
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
    features: np.ndarray | None = None
    frames: int = 1
    orientation: int = 1
    quality: int | None = None
    grey: bool = False
    sharpness: float | None = None
    private: tuple[str, ...] = ()
    error: str = ""
    kind: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        """Small arrays as bytes: they come from other processes by the hundred thousand."""
        return restored, (self._values(np.ndarray.tobytes),)

    def to_json(self) -> list[Any]:
        """Its values in order, as JSON can hold them."""
        return self._values(lambda array: array.tobytes().hex())

    @classmethod
    def from_json(cls, values: list[Any]) -> ScanRecord:
        """The record that `to_json` gave.

        Raises:
            ValueError, TypeError: it gave something else.
        """
        values = [tuple(v) if isinstance(v, list) else v for v in values]
        for place in ARRAYS:
            if values[place] is not None:
                values[place] = bytes.fromhex(values[place])
        return restored(values)

    def _values(self, packed: Callable[[np.ndarray], Any]) -> list[Any]:
        values = [getattr(self, name) for name in RECORD_FIELDS]
        for place, kept in ARRAYS.items():
            if values[place] is not None:
                values[place] = packed(np.asarray(values[place], kept))
        return values


RECORD_FIELDS = tuple(field.name for field in fields(ScanRecord))
ARRAYS = {RECORD_FIELDS.index("histogram"): np.uint16, RECORD_FIELDS.index("features"): np.float32}


# of a file that an interrupted scan did not reach
NOT_READ = ScanRecord("", error="it was not read: the scan was interrupted", kind="not-read")


def restored(values: list[Any]) -> ScanRecord:
    """A record from its values in order, arrays as bytes."""
    for place, kept in ARRAYS.items():
        if values[place] is not None:
            values[place] = np.frombuffer(values[place], kept)
    return ScanRecord(*values)


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
    with one_thread_a_call():
        yield from pieces(list(paths), lambda b: examine_all(b, source), progress, workers)


@dataclass(frozen=True, slots=True)
class Opened:
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
        mean, std: of all pixels.
        small: UInt8[32, 36], the picture squashed.
        corners: Float32[8], means and standard deviations of the corners, at full size: letters
            are small.
    """

    known: dict[str, Any]
    counts: np.ndarray
    mean: float
    std: float
    small: np.ndarray
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


def as_bgr(image: np.ndarray) -> np.ndarray:
    """An array's pixels in the order that cv2 decodes to, so that hashes agree."""
    return image if image.ndim == 2 else np.ascontiguousarray(image[..., ::-1])


def measured(images: list[np.ndarray], known: list[dict[str, Any]]) -> list[Raw]:
    """What one pass over each of UInt8/UInt16[h, w] or [h, w, 3] (BGR) gives.

    Args:
        known: fields of their records, to which this adds.
    """
    canonical = [single_channel(image) for image in images]
    hashes = [pixel_hash(image) for image in canonical]
    greys = [to_grey(image) for image in canonical]
    whole = [cv2.meanStdDev(grey) for grey in greys]
    counts = [grey_levels(grey) for grey in greys]
    by_size = measured_by_size(greys)
    raws = []
    for place, (image, own) in enumerate(zip(images, known, strict=True)):
        own["mode"] = own.get("mode") or ("L" if image.ndim == 2 else "RGB")
        own["height"], own["width"] = image.shape[:2]
        own["grey"] = canonical[place].ndim == 2
        sharp, small, corner = by_size[place]
        own["pixel_hash"], own["sharpness"] = hashes[place], sharp
        mean, std = whole[place]
        raws.append(Raw(own, counts[place], mean.item(), std.item(), small, corner))
    return raws


def to_grey(image: np.ndarray) -> np.ndarray:
    """UInt8[h, w] of any depth, in colour or not."""
    return to_bytes(image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))


def grey_levels(grey: np.ndarray) -> np.ndarray:
    """Float32[256]: pixels by level, of rows that are evenly spread."""
    rows = grey[:: max(1, len(grey) // COUNTED_ROWS)]
    return cv2.calcHist([rows], [0], None, [256], [0, 256]).ravel()


def measured_by_size(greys: list[np.ndarray]) -> list[tuple[float | None, np.ndarray, np.ndarray]]:
    """Sharpness, small picture and corners of each, those of one size at once."""
    places: dict[tuple[int, ...], list[int]] = {}
    for place, grey in enumerate(greys):
        places.setdefault(grey.shape, []).append(place)
    found: dict[int, tuple[float | None, np.ndarray, np.ndarray]] = {}
    for alike in places.values():
        pictures = np.stack([greys[place] for place in alike])
        taken = zip(sharpness(pictures), shrunk(pictures), corners(pictures), strict=True)
        found.update(zip(alike, taken, strict=True))
    return [found[place] for place in range(len(greys))]


def sharpness(pictures: np.ndarray) -> list[float | None]:
    """Edges of each picture's middle beside its contrast, of UInt8[N, h, w]; see `ScanRecord`."""
    tall, wide = (min(n, max(n // 8, SHARP_PX)) for n in pictures.shape[1:])
    top, left = (pictures.shape[1] - tall) // 2, (pictures.shape[2] - wide) // 2
    middles = np.ascontiguousarray(pictures[:, top : top + tall, left : left + wide])
    # one upon the other, with rows between them in which no filter reaches the next
    pile = middles[:, mirrored_rows(tall)].reshape(-1, wide)
    inner = (len(pictures), -1, wide)
    edges = cv2.Laplacian(pile, cv2.CV_16S).reshape(inner)[:, MARGIN:-MARGIN]
    smooth = cv2.blur(pile, (DETAIL_PX, DETAIL_PX)).reshape(inner)[:, MARGIN:-MARGIN]
    return [edges_by_detail(*three) for three in zip(middles, edges, smooth, strict=True)]


def edges_by_detail(middle: np.ndarray, edges: np.ndarray, smooth: np.ndarray) -> float | None:
    """Of one picture: UInt8, Int16 and UInt8[h, w]."""
    if cv2.meanStdDev(middle)[1].item() < 1:
        return None
    detail = cv2.norm(middle, smooth, cv2.NORM_L1) / middle.size
    # what rounding leaves of both, so that smooth middles stay finite
    return (cv2.norm(edges, cv2.NORM_L1) / middle.size + 0.02) / (detail + 0.02)


@lru_cache
def mirrored_rows(tall: int) -> np.ndarray:
    """Row numbers with a margin on both sides, as OpenCV continues a picture."""
    return np.pad(np.arange(tall), MARGIN, mode="reflect")


def corners(pictures: np.ndarray) -> np.ndarray:
    """Float32[N, 8] of UInt8[N, h, w]: four means, then four standard deviations.

    A corner is an eighth of each side.
    """
    tall, wide = (max(1, n // 8) for n in pictures.shape[1:])
    four = [
        pictures[:, rows, columns]
        for rows in (slice(None, tall), slice(-tall, None))
        for columns in (slice(None, wide), slice(-wide, None))
    ]
    flat = np.stack(four, axis=1).reshape(-1, tall * wide)
    return np.hstack([found.reshape(-1, 4) for found in mean_and_spread(flat)])


def shrunk(pictures: np.ndarray) -> np.ndarray:
    """UInt8[N, 32, 36] of UInt8[N, h, w].

    Averaging every pixel costs more than decoding, where the sides are no multiples of 32 and 36.
    """
    count, height, width = pictures.shape
    times = min(height // SMALL_HEIGHT, width // SMALL_WIDTH)
    if times == 0:
        pictures = pictures.repeat(-(-SMALL_HEIGHT // height), axis=1)
        pictures = pictures.repeat(-(-SMALL_WIDTH // width), axis=2)
    # one upon the other: rows of two pictures don't mix where they become fewer
    pile = pictures.reshape(-1, pictures.shape[2])
    if times >= 3:
        samples = 4 if times >= LARGE else 3
        pile = cv2.resize(pile, (samples * SMALL_WIDTH, samples * SMALL_HEIGHT * count))
    small = cv2.resize(pile, (SMALL_WIDTH, SMALL_HEIGHT * count), interpolation=cv2.INTER_AREA)
    return small.reshape(count, SMALL_HEIGHT, SMALL_WIDTH)


def pixel_hash(canonical: np.ndarray) -> str:
    """XXH3 of depth, shape and pixels; 16-bit pictures that hold 8-bit ones count as those.

    Cryptographic hashes would take as long as decoding; nobody forges a copy to be left out.
    """
    if canonical.dtype == np.uint16:
        low = canonical.astype(np.uint8)
        if np.array_equal(low * np.uint16(257), canonical):
            canonical = low
    digest = xxhash.xxh3_128(f"{canonical.dtype.str}{canonical.shape}".encode())
    digest.update(np.ascontiguousarray(canonical).data)
    return digest.hexdigest()


def content_hash(data: bytes | np.ndarray) -> str:
    """SHA-256 of a file's bytes, or of an array's type, shape and bytes."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    digest = hashlib.sha256(f"{data.dtype.str}{data.shape}".encode())
    digest.update(np.ascontiguousarray(data).data)
    return digest.hexdigest()


def single_channel(image: np.ndarray) -> np.ndarray:
    """Grey pictures as [h, w], those stored as three equal channels too."""
    if image.ndim == 2:
        return image
    # nearly every coloured picture shows it in one row
    row = image[len(image) // 2]
    if not (np.array_equal(row[:, 0], row[:, 1]) and np.array_equal(row[:, 0], row[:, 2])):
        return image
    first = cv2.extractChannel(image, 0)
    grey = cv2.norm(image, cv2.cvtColor(first, cv2.COLOR_GRAY2BGR), cv2.NORM_INF) == 0
    return first if grey else image


def describe(raws: list[Raw]) -> list[ScanRecord]:
    """The records of N pictures."""
    if not raws:
        return []
    shares = np.stack([raw.counts for raw in raws])
    shares /= shares.sum(axis=1, keepdims=True)
    small = np.stack([raw.small for raw in raws])
    below = np.cumsum(shares, axis=1, dtype=np.float64)
    levels = np.stack([(below < p - 1e-6).sum(axis=1) for p in PERCENTILES], axis=1)
    percentiles = levels.astype(float).tolist()
    histograms = np.rint(shares.reshape(len(raws), BINS, -1).sum(axis=2) * 65535).astype(np.uint16)
    frame = mean_and_spread(small.reshape(len(small), -1)[:, FRAME])
    corner = np.stack([raw.corners for raw in raws])
    whole = [(raw.mean, raw.std) for raw in raws]
    features = np.column_stack([corner, whole, *frame]).astype(np.float32)[:, FEATURE_ORDER]
    hashes = gradient_hashes(small)
    return [
        ScanRecord(
            **raw.known,
            mean=raw.mean,
            std=raw.std,
            percentiles=tuple(percentiles[i]),
            # copies, so that a kept record does not keep its whole block
            histogram=histograms[i].copy(),
            dhash=hashes[i],
            features=features[i].copy(),
        )
        for i, raw in enumerate(raws)
    ]


def gradient_hashes(small: np.ndarray) -> list[int]:
    """64 bits each: whether each of 8×9 cells is darker than its right neighbour (dHash).

    Args:
        small: UInt8[N, 32, 36].
    """
    # whole numbers, exact in float32; a product is faster than sums over short axes
    rows = small.reshape(-1, SMALL_WIDTH).astype(np.float32) @ COLUMN_CELLS
    cells = rows.reshape(len(small), 8, SMALL_HEIGHT // 8, 9).sum(axis=2)
    bits = (cells[:, :, 1:] > cells[:, :, :-1]).reshape(len(small), 64)
    return [int.from_bytes(row.tobytes(), "big") for row in np.packbits(bits, axis=1)]


def mean_and_spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Float32[N] each, of UInt8[N, P] by row."""
    values = values.astype(np.float32)
    means = values.mean(axis=1)
    squares = np.einsum("ij,ij->i", values, values) / values.shape[1]
    return means, np.sqrt(np.maximum(squares - means**2, 0))


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
