"""Decoded pixels, kept as one memory-mapped array keyed by content and size.

A picture is decoded and resized once; every run on the same pictures at the same size maps the
same file. The file is written beside and moved into place, so two runs that build it at once
both end with a whole one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medimg.core.errors import InputError
from medimg.core.images import decode_to_input
from medimg.core.types import Sample, Source

# raise it when decoding or resizing changes what comes out
DECODING = 1
SPARE_BYTES = 200 * 2**20


@dataclass(frozen=True, slots=True)
class PixelSpec:
    """What pictures are brought to: `resize` is `squash` (the aspect ratio is lost) or `pad`."""

    height: int
    width: int
    channels: int
    resize: str = "squash"


@dataclass(frozen=True)
class Pixels:
    """Decoded pictures.

    Args:
        array: UInt8[M, H, W, C], memory-mapped where it lies on disk.
        rows: sha256 of a picture to its row.
        spec: size, channels, resizing.
    """

    array: np.ndarray
    rows: Mapping[str, int]
    spec: PixelSpec

    def rows_of(self, sha256: Sequence[str]) -> np.ndarray:
        """Int[N], the rows of pictures given by content."""
        return np.array([self.rows[digest] for digest in sha256], dtype=np.int64)


def cache_folder() -> Path:
    """`$MEDIMG_CACHE`, else the user's cache folder."""
    given = os.environ.get("MEDIMG_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "medimg"


def cache_key(digests: Sequence[str], spec: PixelSpec) -> str:
    """Depends on the pictures' bytes and on what is made of them."""
    text = json.dumps([DECODING, spec.height, spec.width, spec.channels, spec.resize])
    return hashlib.sha256((text + "".join(digests)).encode()).hexdigest()[:32]


def load_pixels(
    samples: Sequence[Sample],
    source: Source,
    sha256: Mapping[str, str],
    spec: PixelSpec,
    progress: Callable[[int], object] | None = None,
) -> Pixels:
    """The samples' pixels, from the cache where they are there.

    Args:
        samples: N samples.
        sha256: a sample's path to its content hash.

    Raises:
        InputError: a picture can't be decoded.
    """
    path_of = {sha256[sample.path]: sample.path for sample in reversed(samples)}
    digests = sorted(path_of)
    rows = {digest: row for row, digest in enumerate(digests)}
    file = cache_folder() / "pixels" / f"{cache_key(digests, spec)}.npy"
    shape = (len(digests), spec.height, spec.width, spec.channels)
    kept = mapped(file, shape)
    if kept is not None:
        if progress:
            progress(len(digests))
        return Pixels(kept, rows, spec)
    with room_for(file, shape) as (array, keep):
        decode_all([path_of[d] for d in digests], source, spec, array, progress)
        return Pixels(keep(), rows, spec)


def mapped(file: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The array of a cache file; None where it is missing or not of that shape."""
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None
    return array if array.shape == shape and array.dtype == np.uint8 else None


class room_for:
    """A new array to fill: in the cache where the disk has room for it, else in memory."""

    def __init__(self, file: Path, shape: tuple[int, ...]) -> None:
        self.file, self.shape = file, shape
        self.temporary: Path | None = None

    def __enter__(self) -> tuple[np.ndarray, Callable[[], np.ndarray]]:
        needed = int(np.prod(self.shape))
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(self.file.parent).free < needed + SPARE_BYTES:
                raise OSError("no room")
            handle, name = tempfile.mkstemp(dir=self.file.parent, suffix=".part")
            os.close(handle)
            self.temporary = Path(name)
            self.array: np.ndarray = np.lib.format.open_memmap(
                name, mode="w+", dtype=np.uint8, shape=self.shape
            )
        except OSError:
            # a cache saves time; a run must not fail for want of one
            self.forget()
            self.array = np.empty(self.shape, np.uint8)
        return self.array, self.keep

    def keep(self) -> np.ndarray:
        if self.temporary is None:
            return self.array
        try:
            self.array.flush()  # type: ignore[attr-defined]
            os.replace(self.temporary, self.file)
        except OSError:
            return self.array
        self.temporary = None
        kept = mapped(self.file, self.shape)
        return self.array if kept is None else kept

    def __exit__(self, *_: object) -> None:
        self.forget()

    def forget(self) -> None:
        """Removes a file that was not finished; pixels mapped from it can still be read."""
        if self.temporary is not None:
            self.temporary.unlink(missing_ok=True)
            self.temporary = None


def decode_all(
    paths: Sequence[str],
    source: Source,
    spec: PixelSpec,
    array: np.ndarray,
    progress: Callable[[int], object] | None,
) -> None:
    """Fills UInt8[M, H, W, C] with the pictures, on all cores (cv2 releases the GIL)."""

    def one(row: int) -> None:
        try:
            array[row] = decode_to_input(
                source.read(paths[row]), spec.height, spec.width, spec.channels, spec.resize
            )
        except (OSError, ValueError) as error:
            raise InputError(
                f"{paths[row]} can't be decoded: {error}", "medimg verify DATASET lists such files."
            ) from error

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for _ in pool.map(one, range(len(paths)), chunksize=16):
            if progress:
                progress(1)
