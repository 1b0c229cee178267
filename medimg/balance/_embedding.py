"""Where SMOTE and its kin look for neighbours: a small grey picture's principal components."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from medimg.core.cache import PixelSpec, load_pixels
from medimg.core.types import Sample, Source

SIDE_PX = 16
COMPONENTS = 32
# rows that are in memory as floats at a time
CHUNK = 8192
# coordinates are whole eighths of a grey level, so that distances are sums of whole numbers and
# the neighbours don't depend on the number of threads: a resumed run has the same plan
STEPS = 8


def picture_embedding(
    samples: Sequence[Sample],
    source: Source,
    sha256: Mapping[str, str],
    progress: Callable[[int], object] | None = None,
) -> np.ndarray:
    """Float32[N, D]: each image at 16×16 in grey, in its 32 directions of greatest variance.

    The small pictures are cached by content, apart from those of training, so that `balance` and
    `train` find the same neighbours whatever the network's size.

    Raises:
        InputError: an image can't be decoded.
    """
    spec = PixelSpec(SIDE_PX, SIDE_PX, 1)
    pixels = load_pixels(samples, source, sha256, spec, progress)
    rows = pixels.rows_of([sha256[sample.path] for sample in samples])
    return principal_components(pixels.array, rows)


def principal_components(
    pixels: np.ndarray, rows: np.ndarray, components: int = COMPONENTS
) -> np.ndarray:
    """Float32[N, D] of the rows of UInt8[M, …], D at most `components` and the values a picture.

    Memory: N * D floats and a chunk, however many pictures there are.
    """
    size = int(np.prod(pixels.shape[1:]))
    total, products = np.zeros(size), np.zeros((size, size))
    for part in chunks(pixels, rows):
        total += part.sum(axis=0)
        products += part.T @ part
    mean = total / max(1, len(rows))
    covariance = products / max(1, len(rows)) - np.outer(mean, mean)
    directions = np.linalg.eigh(covariance)[1][:, ::-1][:, :components]
    placed = [np.rint((part - mean) @ directions * STEPS) / STEPS for part in chunks(pixels, rows)]
    return np.concatenate(placed).astype(np.float32) if placed else np.zeros((0, 1), np.float32)


def chunks(pixels: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Float64[≤ 8192, values], some pictures at a time."""
    for start in range(0, len(rows), CHUNK):
        part = pixels[rows[start : start + CHUNK]]
        yield part.reshape(len(part), -1).astype(np.float64)
