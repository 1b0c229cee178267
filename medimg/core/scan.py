"""One pass over a dataset's files: everything the checks and reports ask of an image.

Each file is read and decoded once, on all cores (cv2 and hashlib release the GIL).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from medimg.core.images import UnreadableImage, check_file, plain_array, to_bytes, unpack
from medimg.core.types import DatasetIndex, Sample, Source

BINS = 64
HASH_SIDE = 8
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


@dataclass(frozen=True, slots=True)
class ScanRecord:
    """What one image is.

    Args:
        sha256: of the file's bytes; of type, shape and bytes for an array. Empty where the file
            can't even be read.
        pixel_hash: the same picture in another format, or grey stored as RGB, has the same.
        width, height: pixels after EXIF orientation; 0 where it can't be decoded.
        mode: L, RGB, RGBA, P, L;16, …; format: JPEG, PNG, …, or ARRAY.
        size_bytes: of the file.
        mean, std: grey levels 0..255.
        percentiles: grey levels at 1, 25, 50, 75 and 99 %.
        histogram: UInt16[64], shares of grey levels times 65,535.
        dhash: 64 bits of a gradient hash, for near copies.
        features: Float32[12], `FEATURE_NAMES`: what a shortcut could be read from.
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
    error: str = ""
    kind: str = ""


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
    paths = list(dict.fromkeys(s.path for s in samples))
    records: dict[str, ScanRecord] = {}
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        blocks = [paths[i : i + 64] for i in range(0, len(paths), 64)]
        for block, found in zip(
            blocks, pool.map(lambda b: examine_all(b, source), blocks), strict=True
        ):
            records.update(zip(block, found, strict=True))
            if progress:
                progress(len(block))
    return records


def examine_all(paths: list[str], source: Source) -> list[ScanRecord]:
    return [examine(path, source) for path in paths]


def examine(path: str, source: Source) -> ScanRecord:
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
            mode, kind = header.mode or "", header.format
            image = unpack(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
        else:
            image, kind = plain_array(data), "ARRAY"
            mode = "L" if image.ndim == 2 else "RGB"
    except UnreadableImage as error:
        return ScanRecord(digest, size_bytes=size, error=error.reason, kind=error.kind)
    return describe(image, digest, mode or ("L" if image.ndim == 2 else "RGB"), kind, size)


def content_hash(data: bytes | np.ndarray) -> str:
    """SHA-256 of a file's bytes, or of an array's type, shape and bytes."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    prefix = f"{data.dtype.str}{data.shape}".encode()
    return hashlib.sha256(prefix + np.ascontiguousarray(data).tobytes()).hexdigest()


def describe(image: np.ndarray, digest: str, mode: str, kind: str, size: int) -> ScanRecord:
    canonical = single_channel(image)
    grey = to_bytes(
        canonical if canonical.ndim == 2 else cv2.cvtColor(canonical, cv2.COLOR_RGB2GRAY)
    )
    counts = np.bincount(grey.ravel(), minlength=256)
    total = grey.size
    levels = np.arange(256)
    mean = float(counts @ levels / total)
    std = float(np.sqrt(max(counts @ (levels - mean) ** 2 / total, 0.0)))
    cumulative = np.cumsum(counts) / total
    shares = counts.reshape(BINS, -1).sum(axis=1) / total
    return ScanRecord(
        sha256=digest,
        pixel_hash=content_hash(canonical),
        width=image.shape[1],
        height=image.shape[0],
        mode=mode,
        format=kind,
        size_bytes=size,
        mean=mean,
        std=std,
        percentiles=tuple(
            float(np.searchsorted(cumulative, p)) for p in (0.01, 0.25, 0.5, 0.75, 0.99)
        ),
        histogram=np.rint(shares * 65535).astype(np.uint16),
        dhash=gradient_hash(grey),
        features=border_features(grey, mean, std),
    )


def single_channel(image: np.ndarray) -> np.ndarray:
    """Grey pictures as [h, w], those stored as three equal channels too."""
    if image.ndim == 3:
        first = image[..., 0]
        if np.array_equal(first, image[..., 1]) and np.array_equal(first, image[..., 2]):
            return np.ascontiguousarray(first)
    return np.ascontiguousarray(image)


def gradient_hash(grey: np.ndarray) -> int:
    """64 bits: whether each of 8×9 cells is darker than its right neighbour (dHash)."""
    cells = cv2.resize(grey, (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA)
    bits = cells[:, 1:] > cells[:, :-1]
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def border_features(grey: np.ndarray, mean: float, std: float) -> np.ndarray:
    """Float32[12]: corners (an eighth of each side), the outer frame, the whole."""
    height, width = grey.shape
    tall, wide = max(1, height // 8), max(1, width // 8)
    corners = [
        grey[:tall, :wide],
        grey[:tall, -wide:],
        grey[-tall:, :wide],
        grey[-tall:, -wide:],
    ]
    frame = np.concatenate(
        [grey[:tall].ravel(), grey[-tall:].ravel(), grey[:, :wide].ravel(), grey[:, -wide:].ravel()]
    )
    values = [c.mean() for c in corners] + [c.std() for c in corners]
    return np.array([*values, frame.mean(), frame.std(), mean, std], np.float32)
