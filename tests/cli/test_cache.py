"""medimg cache: what is kept, how large, cleared; the size limit."""

from __future__ import annotations

import os

import numpy as np
import pytest

from medimg.core import cache
from medimg.core.cache import PixelSpec, cache_limit, in_units, load_pixels, make_room
from medimg.core.errors import InputError, UsageError
from medimg.core.types import Sample


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDIMG_CACHE", str(tmp_path / "kept"))
    monkeypatch.delenv("MEDIMG_CACHE_LIMIT", raising=False)
    return tmp_path / "kept"


class Arrays:
    def read(self, path: str) -> np.ndarray:
        return np.full((8, 8), int(path), np.uint8)


def decoded(*names: str, side: int = 16) -> cache.Pixels:
    samples = [Sample(name, "a") for name in names]
    spec = PixelSpec(side, side, 1)
    return load_pixels(samples, Arrays(), {n: f"{int(n):064d}" for n in names}, spec)


def kinds(answer) -> dict:
    return {row["kind"]: row for row in answer.report["kept"]}


def test_an_empty_cache(medimg, folder):
    answer = medimg("cache", "--json")
    assert answer.code == 0 and answer.report["folder"] == str(folder)
    assert answer.report["limit_bytes"] == 20 * 10**9
    assert kinds(answer)["pixels"]["files"] == kinds(answer)["scans"]["files"] == 0
    assert not folder.exists()


def test_what_runs_keep_is_shown_and_cleared(medimg, folder, phantoms):
    medimg("verify", phantoms, "--only", "blank")
    decoded("1", "2")
    shown = kinds(medimg("cache", "--json"))
    assert shown["pixels"]["files"] == 1 and shown["pixels"]["bytes"] >= 2 * 16 * 16
    assert shown["scans"]["bytes"] > 1000 and shown["scans"]["last_used"].endswith("Z")
    assert "scans" in medimg("cache").out
    cleared = medimg("cache", "--clear", "pixels", "--json")
    assert cleared.report["removed_bytes"] == shown["pixels"]["bytes"]
    assert kinds(cleared)["pixels"]["files"] == 0 and kinds(cleared)["scans"]["files"] == 1
    assert "Removed: " in medimg("cache", "--clear", "all").out
    assert kinds(medimg("cache", "--json"))["scans"]["files"] == 0


def test_the_arrays_used_longest_ago_go_first(folder):
    first, second, third = (decoded(name, side=64) for name in "123")
    files = sorted((folder / "pixels").iterdir(), key=lambda f: f.stat().st_mtime_ns)
    assert len(files) == 3
    for age, file in enumerate(reversed(files)):
        os.utime(file, (1_000_000 - age, 1_000_000 - age))
    # used again, so that it is no longer the oldest
    np.testing.assert_array_equal(decoded("1", side=64).array, first.array)
    size = files[0].stat().st_size
    make_room(folder / "pixels", 2 * size, spare=files[2])
    assert not files[1].exists() and files[0].exists() and files[2].exists()
    # pixels that are mapped can still be read
    assert second.array[0, 0, 0, 0] == 2 and third.array[0, 0, 0, 0] == 3


def test_what_a_killed_run_left_is_removed_after_a_day(folder):
    decoded("1")
    old, new = (folder / "pixels" / name for name in ("old.part", "new.part"))
    for file in (old, new):
        file.write_bytes(b"half")
    os.utime(old, (0, 0))
    decoded("2")
    assert not old.exists() and new.exists()


@pytest.mark.parametrize(("text", "size"), [("5GB", 5 * 10**9), ("1.5 mb", 1_500_000)])
def test_the_limit_is_a_size(folder, monkeypatch, text, size):
    monkeypatch.setenv("MEDIMG_CACHE_LIMIT", text)
    assert cache_limit() == size


def test_a_limit_that_is_no_size(folder, monkeypatch):
    monkeypatch.setenv("MEDIMG_CACHE_LIMIT", "plenty")
    with pytest.raises(UsageError, match="plenty"):
        cache_limit()


def test_pixels_that_fit_nowhere_are_said_before_the_disk_fills(folder, monkeypatch):
    monkeypatch.setattr(cache, "SPARE_BYTES", 10**18)
    assert decoded("1").array[0, 0, 0, 0] == 1
    monkeypatch.setattr(cache, "MEMORY_SHARE", 0.0)
    with pytest.raises(InputError) as error:
        decoded("1")
    assert "--image-size" in error.value.hint and not list((folder / "pixels").iterdir())


def test_sizes_for_people():
    assert in_units(3_200_000_000) == "3.2 GB"
