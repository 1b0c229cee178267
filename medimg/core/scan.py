"""One pass over a dataset's files: everything the checks and reports ask of an image.

Each file is read and decoded once, on all cores (cv2 and hashlib release the GIL).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
import xxhash

from medimg.core.images import (
    UnreadableImage,
    check_file,
    ends_early,
    plain_array,
    to_bytes,
    unpack_bgr,
)
from medimg.core.metadata import NOTHING, Metadata, metadata_of
from medimg.core.types import DatasetIndex, Sample, Source
from medimg.core.workers import in_blocks, one_thread_a_call, pieces

BINS = 64
PERCENTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
# 8×9 cells of 4×4 pixels: the gradient hash and the outer frame come from one small picture
SMALL_HEIGHT, SMALL_WIDTH = 32, 36
COLUMN_CELLS = np.repeat(np.eye(9, dtype=np.float32), SMALL_WIDTH // 9, axis=0)
# grey levels are counted in this many rows at most, evenly spread
COUNTED_ROWS = 96
# how sharp a picture is is read in its middle: an eighth of each side, this much at least
SHARP_PX, DETAIL_PX = 72, 17
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
class Raw:
    """What is taken from one picture's pixels, before a block of them is described together.

    Args:
        counts: Float32[256], pixels by grey level, of `COUNTED_ROWS` rows.
        mean, std: of all pixels.
        small: UInt8[32, 36], the picture squashed.
        corners: mean and standard deviation of each corner, at full size: letters are small.
    """

    known: dict[str, Any]
    counts: np.ndarray
    mean: float
    std: float
    small: np.ndarray
    corners: list[float]


def examine_all(paths: list[str], source: Source) -> list[ScanRecord]:
    """The records of a block of images; statistics are computed for all of them at once."""
    raws = [examine(path, source) for path in paths]
    described = iter(describe([raw for raw in raws if isinstance(raw, Raw)]))
    return [next(described) if isinstance(raw, Raw) else raw for raw in raws]


def examine(path: str, source: Source) -> Raw | ScanRecord:
    """Reads and decodes one image; what can't be decoded becomes a record that says why."""
    try:
        data = source.read(path)
    except OSError as error:
        return ScanRecord("", error=error.strerror or str(error), kind="unreadable")
    digest = content_hash(data)
    size = len(data) if isinstance(data, bytes) else int(data.nbytes)
    try:
        if isinstance(data, bytes):
            header = check_file(data)
            image = unpack_bgr(data)
            if ends_early(data, header, image):
                raise UnreadableImage("its data end before the picture does", "truncated")
            mode, kind, beside = header.mode or "", header.format, metadata_of(data, header)
        else:
            image, mode, kind, beside = as_bgr(plain_array(data)), "", "ARRAY", NOTHING
    except UnreadableImage as error:
        return ScanRecord(digest, size_bytes=size, error=error.reason, kind=error.kind)
    known = {
        "sha256": digest,
        "size_bytes": size,
        "format": kind,
        "mode": mode or ("L" if image.ndim == 2 else "RGB"),
        "width": image.shape[1],
        "height": image.shape[0],
    }
    return measured(image, known, beside)


def as_bgr(image: np.ndarray) -> np.ndarray:
    """An array's pixels in the order that cv2 decodes to, so that hashes agree."""
    return image if image.ndim == 2 else np.ascontiguousarray(image[..., ::-1])


def measured(image: np.ndarray, known: dict[str, Any], beside: Metadata = NOTHING) -> Raw:
    """What one pass over UInt8/UInt16[h, w] or [h, w, 3] (BGR) gives."""
    canonical = single_channel(image)
    known["pixel_hash"] = pixel_hash(canonical)
    known["grey"] = canonical.ndim == 2
    if beside is not NOTHING:
        known["frames"], known["orientation"] = beside.frames, beside.orientation
        known["quality"], known["private"] = beside.quality, beside.private
    deep = canonical if canonical.ndim == 2 else cv2.cvtColor(canonical, cv2.COLOR_BGR2GRAY)
    grey = to_bytes(deep)
    known["sharpness"] = sharpness(grey)
    mean, std = cv2.meanStdDev(grey)
    rows = grey[:: 1 + len(grey) // COUNTED_ROWS]
    return Raw(
        known,
        cv2.calcHist([rows], [0], None, [256], [0, 256]).ravel(),
        mean.item(),
        std.item(),
        shrunk(grey),
        corner_statistics(grey),
    )


def sharpness(grey: np.ndarray) -> float | None:
    """Edges of the picture's middle beside its contrast; see `ScanRecord`."""
    tall, wide = (min(n, max(n // 8, SHARP_PX)) for n in grey.shape)
    top, left = (grey.shape[0] - tall) // 2, (grey.shape[1] - wide) // 2
    middle = np.ascontiguousarray(grey[top : top + tall, left : left + wide])
    if cv2.meanStdDev(middle)[1].item() < 1:
        return None
    edges = cv2.norm(cv2.Laplacian(middle, cv2.CV_16S), cv2.NORM_L1) / middle.size
    detail = cv2.norm(middle, cv2.blur(middle, (DETAIL_PX, DETAIL_PX)), cv2.NORM_L1) / middle.size
    # what rounding leaves of both, so that smooth middles stay finite
    return (edges + 0.02) / (detail + 0.02)


def corner_statistics(grey: np.ndarray) -> list[float]:
    """Four means, then four standard deviations; a corner is an eighth of each side."""
    tall, wide = max(1, grey.shape[0] // 8), max(1, grey.shape[1] // 8)
    found = [
        cv2.meanStdDev(grey[rows, columns])
        for rows in (slice(None, tall), slice(-tall, None))
        for columns in (slice(None, wide), slice(-wide, None))
    ]
    return [float(mean.item()) for mean, _ in found] + [float(std.item()) for _, std in found]


def shrunk(grey: np.ndarray) -> np.ndarray:
    """UInt8[32, 36]: averages of 4×4 samples a cell.

    Averaging every pixel costs more than decoding, where the sides are no multiples of 32 and 36.
    """
    if grey.shape[0] >= 4 * SMALL_HEIGHT and grey.shape[1] >= 4 * SMALL_WIDTH:
        grey = cv2.resize(grey, (4 * SMALL_WIDTH, 4 * SMALL_HEIGHT))
    return cv2.resize(grey, (SMALL_WIDTH, SMALL_HEIGHT), interpolation=cv2.INTER_AREA)


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
    rest = [[*raw.corners, raw.mean, raw.std] for raw in raws]
    features = np.column_stack([rest, *frame]).astype(np.float32)[:, FEATURE_ORDER]
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
