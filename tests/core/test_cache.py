"""Decoded pixels: the key, the file, and a disk that has no room for it."""

from __future__ import annotations

import errno
import hashlib
import os
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from medimg.core import cache
from medimg.core.cache import PixelSpec, cache_key, load_pixels
from medimg.core.errors import InputError
from medimg.core.types import Sample

SPEC = PixelSpec(8, 8, 1)


class Pictures:
    """A source in memory that counts its reads; `same` is a second path to the picture `a`."""

    def __init__(self) -> None:
        self.reads = 0
        self.files = {}
        for number, name in enumerate("abc"):
            pixels = np.full((8, 8), 40 * number + 10, np.uint8)
            self.files[name] = cv2.imencode(".png", pixels)[1].tobytes()
        self.files["same"] = self.files["a"]

    def read(self, path: str) -> bytes:
        self.reads += 1
        return self.files[path]

    def load(self, spec: PixelSpec = SPEC):
        samples = [Sample(name, "x") for name in self.files]
        digests = {n: hashlib.sha256(data).hexdigest() for n, data in self.files.items()}
        pixels = load_pixels(samples, self, digests, spec)
        return pixels.array[pixels.rows_of([digests[s.path] for s in samples])][:, 0, 0, 0].tolist()


@pytest.fixture
def source(tmp_path, monkeypatch) -> Pictures:
    monkeypatch.setenv("MEDIMG_CACHE", str(tmp_path / "cache"))
    return Pictures()


def kept(tmp_path) -> list[str]:
    return [f.name for f in (tmp_path / "cache").rglob("*") if f.is_file()]


def test_a_picture_is_decoded_once_and_then_mapped(source, tmp_path):
    assert source.load() == [10, 50, 90, 10]
    assert source.reads == 3
    assert len(kept(tmp_path)) == 1
    assert source.load() == [10, 50, 90, 10]
    assert source.reads == 3


def test_the_key_follows_bytes_size_and_resizing():
    keys = {
        cache_key(digests, spec)
        for digests in (["a"], ["b"], ["a", "b"])
        for spec in (SPEC, PixelSpec(8, 9, 1), PixelSpec(8, 8, 3), PixelSpec(8, 8, 1, "pad"))
    }
    assert len(keys) == 12
    assert cache_key(["a"], SPEC) == cache_key(["a"], PixelSpec(8, 8, 1))


def test_a_changed_picture_is_decoded_anew(source):
    source.load()
    source.files["b"] = cv2.imencode(".png", np.full((8, 8), 200, np.uint8))[1].tobytes()
    assert source.load() == [10, 200, 90, 10]


def test_a_damaged_file_is_replaced(source, tmp_path):
    source.load()
    (file,) = (tmp_path / "cache").rglob("*.npy")
    file.write_bytes(b"no array")
    assert source.load() == [10, 50, 90, 10]
    assert source.reads == 6


def no_space(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    "break_it",
    [
        lambda patch: patch.setattr(cache.tempfile, "mkstemp", no_space),
        lambda patch: patch.setattr(cache.np.lib.format, "open_memmap", no_space),
        lambda patch: patch.setattr(cache.os, "replace", no_space),
        lambda patch: patch.setattr(
            cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000)
        ),
    ],
    ids=["temporary file", "array", "move", "hardly any room"],
)
def test_a_full_disk_costs_the_cache_and_not_the_run(source, tmp_path, monkeypatch, break_it):
    break_it(monkeypatch)
    assert source.load() == [10, 50, 90, 10]
    assert kept(tmp_path) == []


def test_a_picture_that_cannot_be_decoded_is_named_and_nothing_kept(source, tmp_path):
    source.files["b"] = b"no picture"
    with pytest.raises(InputError, match="^b can't be decoded"):
        source.load()
    assert kept(tmp_path) == []
