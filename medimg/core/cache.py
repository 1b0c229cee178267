"""Decoded pixels, kept as one memory-mapped array keyed by content and size.

A picture is decoded and resized once; every run on the same pictures at the same size maps the
same file. The file is written beside and moved into place, so two runs that build it at once
both end with a whole one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from medimg.core.errors import InputError, UsageError
from medimg.core.images import decode_to_input
from medimg.core.types import Sample, Source

# raise it when decoding or resizing changes what comes out
DECODING = 1
SPARE_BYTES = 200 * 2**20
DEFAULT_LIMIT = "20GB"
UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]B)\s*", re.IGNORECASE)
# an unfinished file of a run that was killed
ABANDONED_SECONDS = 24 * 3600
# what is decoded into memory for want of a disk may take this much of what is free there
MEMORY_SHARE = 0.6


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


def cache_limit() -> int:
    """Bytes that decoded pixels may take in all: `$MEDIMG_CACHE_LIMIT`, else 20 GB.

    Raises:
        UsageError: it is no size.
    """
    given = os.environ.get("MEDIMG_CACHE_LIMIT") or DEFAULT_LIMIT
    match = SIZE.fullmatch(given)
    if match is None:
        raise UsageError(f"MEDIMG_CACHE_LIMIT={given!r} is no size", "For example: 20GB, 500MB")
    return int(float(match[1]) * UNITS[match[2].upper()])


def in_units(size_bytes: float) -> str:
    """A size for people.

    >>> in_units(1_234_567), in_units(0)
    ('1.2 MB', '0 KB')
    """
    for unit in ("TB", "GB", "MB"):
        if size_bytes >= UNITS[unit]:
            return f"{size_bytes / UNITS[unit]:.1f} {unit}"
    return f"{size_bytes / UNITS['KB']:.0f} KB"


@dataclass(frozen=True)
class Kept:
    """Files of one kind in the cache."""

    kind: str
    what: str
    files: tuple[Path, ...]

    @property
    def size_bytes(self) -> int:
        return sum(size_of(file) for file in self.files)

    @property
    def last_used(self) -> str | None:
        """UTC, ISO 8601."""
        times = [file.stat().st_mtime for file in self.files if file.exists()]
        if not times:
            return None
        return datetime.fromtimestamp(max(times), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def kept_files() -> list[Kept]:
    """What is in the cache, by kind."""
    folder = cache_folder()
    return [
        Kept("pixels", "decoded and resized pictures", tuple(sorted(folder.glob("pixels/*")))),
        Kept("features", "what frozen backbones gave", tuple(sorted(folder.glob("features/*")))),
        Kept("scans", "what verify and inspect know", tuple(sorted(folder.glob("scans*.sqlite*")))),
    ]


def size_of(file: Path) -> int:
    """Bytes on disk; 0 where it has gone."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def remove(files: Sequence[Path]) -> int:
    """Removes files; the bytes that were freed. What is mapped can still be read by its run."""
    freed = 0
    for file in files:
        size = size_of(file)
        try:
            file.unlink()
        except OSError:
            continue
        freed += size
    return freed


def make_room(folder: Path, limit: int, spare: Path) -> None:
    """Removes the arrays used longest ago until all fit, and what killed runs left unfinished.

    Args:
        spare: the array just made, which stays.
    """
    now = time.time()
    arrays = []
    for file in folder.iterdir():
        try:
            used = file.stat().st_mtime
        except OSError:
            continue
        if file.suffix == ".part" and now - used > ABANDONED_SECONDS:
            remove([file])
        elif file.suffix == ".npy":
            arrays.append((used, file))
    total = sum(size_of(file) for _, file in arrays)
    for _, file in sorted(arrays):
        if total <= limit:
            return
        if file != spare:
            total -= remove([file])


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


def mapped(
    file: Path, shape: tuple[int, ...], dtype: type[np.generic] = np.uint8
) -> np.ndarray | None:
    """The array of a cache file; None where it is missing or not of that shape and kind."""
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None
    if array.shape != shape or array.dtype != dtype:
        return None
    with suppress(OSError):
        # when it was last used
        os.utime(file)
    return array


def demand_memory(needed: int, folder: Path, what: str = "decoded pictures") -> None:
    """Arrays that fit neither on disk nor in memory are said before anything fills up.

    Raises:
        InputError: they don't fit.
    """
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return
    if needed > MEMORY_SHARE * free:
        raise InputError(
            f"the {what} take {in_units(needed)}: there is no room in {folder}, and "
            f"{in_units(free)} of memory are free",
            "Make room there (medimg cache --clear all), name a folder on a larger disk with "
            "MEDIMG_CACHE, or take a smaller --image-size.",
        )


class room_for:
    """A new array to fill: in the cache where the disk has room for it, else in memory.

    Args:
        what: the array's contents, for the message where there is room in neither.
    """

    def __init__(
        self,
        file: Path,
        shape: tuple[int, ...],
        dtype: type[np.generic] = np.uint8,
        what: str = "decoded pictures",
    ) -> None:
        self.file, self.shape, self.dtype, self.what = file, shape, dtype, what
        self.temporary: Path | None = None

    def __enter__(self) -> tuple[np.ndarray, Callable[[], np.ndarray]]:
        needed = int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(self.file.parent).free < needed + SPARE_BYTES:
                raise OSError("no room")
            handle, name = tempfile.mkstemp(dir=self.file.parent, suffix=".part")
            os.close(handle)
            self.temporary = Path(name)
            self.array: np.ndarray = np.lib.format.open_memmap(
                name, mode="w+", dtype=self.dtype, shape=self.shape
            )
            reserve(self.temporary)
        except OSError:
            # a cache saves time; a run must not fail for want of one
            self.forget()
            demand_memory(needed, self.file.parent, self.what)
            self.array = np.empty(self.shape, self.dtype)
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
        make_room(self.file.parent, cache_limit(), self.file)
        kept = mapped(self.file, self.shape, self.dtype)
        return self.array if kept is None else kept

    def __exit__(self, *_: object) -> None:
        self.forget()

    def forget(self) -> None:
        """Removes a file that was not finished; what is mapped from it can still be read."""
        if self.temporary is not None:
            self.temporary.unlink(missing_ok=True)
            self.temporary = None


def reserve(file: Path) -> None:
    """Takes a file's blocks on the disk now: writing to a mapped file on a disk that another
    process filled meanwhile would end the process without a word.

    Raises:
        OSError: the disk has no room for it.
    """
    if hasattr(os, "posix_fallocate"):
        with file.open("r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)


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
