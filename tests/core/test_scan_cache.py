"""Records and outcomes kept between runs: used while they hold, dropped as soon as they don't."""

from __future__ import annotations

import importlib
import os
import sqlite3
from pathlib import Path

import cv2
import numpy as np
import pytest

from medimg.core.checking import CheckContext, Checked, run_checks
from medimg.core.index import FileSource
from medimg.core.scan import scan_samples
from medimg.core.scan_cache import Judged, KeptRecords, ScanCache, judged_key
from medimg.core.types import DatasetIndex, Finding, Sample

NAMES = ("a.png", "b.jpg", "torn.png")


@pytest.fixture
def root(tmp_path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    picture = np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)
    for name in NAMES[:2]:
        cv2.imwrite(str(folder / name), picture)
    (folder / "torn.png").write_bytes(b"\x89PNG")
    return folder


@pytest.fixture
def cache(root, tmp_path) -> ScanCache:
    return ScanCache(FileSource(root), tmp_path / "cache")


def filled(cache: ScanCache) -> dict:
    stamps = cache.stamps(NAMES)
    records = scan_samples([Sample(n, "a") for n in NAMES], cache.source)
    cache.keep(records, stamps)
    return records


def test_records_come_back_as_they_were(cache):
    records = filled(cache)
    found = cache.records(NAMES)
    assert set(found) == set(NAMES)
    for name, record in records.items():
        again = found[name]
        assert again.packed() == record.packed()
        assert again.percentiles == record.percentiles and again.private == record.private
        if record.histogram is not None:
            np.testing.assert_array_equal(again.histogram, record.histogram)
            assert again.features.dtype == np.float32


def test_a_changed_file_is_read_again(cache, root):
    filled(cache)
    os.utime(root / "a.png", ns=(1, 1))
    (root / "b.jpg").write_bytes((root / "b.jpg").read_bytes() + b"\0")
    (root / "torn.png").unlink()
    assert cache.records(NAMES) == {}


def test_a_file_that_changes_while_it_is_read_is_read_again(cache, root):
    stamps = cache.stamps(NAMES)
    records = scan_samples([Sample(n, "a") for n in NAMES], cache.source)
    os.utime(root / "a.png", ns=(1, 1))
    cache.keep(records, stamps)
    assert "a.png" not in cache.records(NAMES)


def test_another_folder_has_records_of_its_own(cache, root, tmp_path):
    filled(cache)
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.png").write_bytes((root / "a.png").read_bytes())
    assert ScanCache(FileSource(other), tmp_path / "cache").records(["a.png"]) == {}


def test_records_of_another_version_are_not_used(cache, monkeypatch):
    filled(cache)
    monkeypatch.setattr("medimg.core.scan_cache.RECORDS", 999)
    assert cache.records(NAMES) == {}


def test_pixels_that_are_no_files_are_not_kept(tmp_path):
    class Arrays:
        def read(self, path: str) -> np.ndarray:
            return np.zeros((4, 4), np.uint8)

    cache = ScanCache(Arrays(), tmp_path / "cache")
    assert cache.stamps(["1"]) == {} and cache.records(["1"]) == {}
    cache.keep({}, {})
    assert not cache.file.exists()


@pytest.mark.parametrize("damage", ["no database", "not writable"])
def test_a_cache_that_can_not_be_used_is_passed_over(cache, damage):
    if damage == "no database":
        cache.file.parent.mkdir()
        cache.file.write_bytes(b"not a database at all, but long enough to be looked at" * 40)
    else:
        cache.file.parent.write_text("a file where a folder should be")
    filled(cache)
    assert cache.records(NAMES) == {}
    cache.keep_judged("key", Judged({"x": Checked("ok", (), 0.1)}, "sha256:0"))
    assert cache.judged("key") is None


# -- what checks said --------------------------------------------------------------------------


def warn(context: CheckContext, *, least: int = 1) -> list[Finding]:
    return [Finding("warn", "warning", "something", 1, ({"file": "a.png"},), "look")]


def context_of(cache: ScanCache, **changes) -> CheckContext:
    samples = tuple(changes.pop("samples", [Sample(n, "a") for n in NAMES]))
    index = DatasetIndex("x", Path("x"), "folder", cache.source, samples, ("a",), **changes)
    return CheckContext(index, scan_samples(samples, cache.source))


def test_outcomes_come_back_as_they_were(cache):
    judged = Judged(run_checks({"warn": warn}, context_of(cache)), "sha256:0")
    cache.keep_judged("key", judged)
    assert cache.judged("key") == judged
    assert cache.judged("another") is None


def test_what_failed_is_not_kept(cache):
    failed = Checked("skipped", (), 0.1, "it broke", failed=True)
    cache.keep_judged("key", Judged({"x": failed}, "sha256:0"))
    assert cache.judged("key") is None
    # nor what has no key
    cache.keep_judged("", Judged({}, "sha256:0"))
    assert cache.judged("") is None


def test_the_key_depends_on_all_that_checks_may_look_at(cache, root):
    base = context_of(cache)
    relabelled = [Sample(n, "b" if n == "a.png" else "a") for n in NAMES]
    split = [Sample(n, "a", split="train") for n in NAMES]
    grouped = [Sample(n, "a", "train") for n in NAMES]
    columns = [Sample(n, "a", columns={"age": "3"}) for n in NAMES]
    own = {"warn": {"least": 2}}

    def key(context: CheckContext, checks=None, asked: object = None) -> str:
        return judged_key(context, cache.stamps(NAMES), checks or {"warn": warn}, asked)

    keys = [
        key(base),
        *(key(context_of(cache, samples=s)) for s in (relabelled, split, grouped, columns)),
        key(context_of(cache, positive="a")),
        key(context_of(cache, strays=("Thumbs.db",))),
        key(CheckContext(base.index, base.scan, own)),
        key(base, {"warn": warn, "other": test_what_failed_is_not_kept}),
        key(base, asked=("warn",)),
    ]
    first = cache.stamps(NAMES)
    (root / "a.png").write_bytes((root / "b.jpg").read_bytes())
    keys.append(key(base))
    # of the same size, at another time
    os.utime(root / "a.png", ns=(1, 1))
    keys.append(key(base))
    assert len(set(keys)) == len(keys) and "" not in keys
    assert judged_key(base, first, {"warn": warn}) == keys[0]


def test_the_key_depends_on_what_a_check_shares_with_others(cache, tmp_path, monkeypatch):
    folder = tmp_path / "checks"
    folder.mkdir()
    (folder / "own_check.py").write_text(
        "from _shared_words import WORDS\ndef check(context):\n    return []\n"
    )
    (folder / "_shared_words.py").write_text("WORDS = 1\n")
    monkeypatch.syspath_prepend(str(folder))
    check = importlib.import_module("own_check").check
    keys = [judged_key(context_of(cache), cache.stamps(NAMES), {"own": check})]
    (folder / "_shared_words.py").write_text("WORDS = 2\n")
    keys.append(judged_key(context_of(cache), cache.stamps(NAMES), {"own": check}))
    assert keys[0] != keys[1]


def test_what_may_have_changed_has_no_key(cache, root):
    base = context_of(cache)
    (root / "a.png").unlink()
    assert judged_key(base, cache.stamps(NAMES), {"warn": warn}) == ""


def test_records_are_read_once_they_are_asked_for(cache, root, monkeypatch):
    stamps, records = cache.stamps(NAMES), filled(cache)
    asked = []
    found = cache.records
    monkeypatch.setattr(cache, "records", lambda *given: asked.append(given) or found(*given))
    kept = KeptRecords(cache, NAMES, stamps)
    assert len(kept) == len(NAMES) and tuple(kept) == NAMES
    digests = {path: record.sha256 for path, record in records.items()}
    assert kept.digests == digests and asked == []
    assert kept["a.png"].packed() == records["a.png"].packed()
    assert {path: record.sha256 for path, record in kept.items()} == digests
    assert len(asked) == 1
    # somebody cleared the cache meanwhile
    cache.file.unlink()
    again = KeptRecords(cache, NAMES, stamps)
    assert again.digests == digests
    assert again["b.jpg"].packed() == records["b.jpg"].packed()


def test_the_database_is_one_file_of_plain_text(cache):
    filled(cache)
    with sqlite3.connect(cache.file) as base:
        (text,) = base.execute("select record from records where path = 'a.png'").fetchone()
    assert text.startswith('["')
