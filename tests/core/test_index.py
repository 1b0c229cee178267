"""Splits and classes by name, patients by pattern, fingerprints, and the index as a CSV file."""

from __future__ import annotations

import csv
import hashlib
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from medimg.api import (
    DatasetIndex,
    FileSource,
    InputError,
    Sample,
    UsageError,
    canonical_split,
    check_options,
    guess_positive,
    keep_classes,
    with_groups,
)
from medimg.core.index import MemberSource, fingerprint, write_index_csv
from medimg.datasets.folder import Reader as FolderReader
from medimg.datasets.labels_csv import Reader as CsvReader


@pytest.mark.parametrize(
    ("name", "split"),
    [("train", "train"), ("Training", "train"), ("TRAIN", "train"), ("training_set", "train"),
     ("train-images", "train"), ("val", "val"), ("valid", "val"), ("Validation", "val"),
     ("validation data", "val"), ("dev", "val"), ("test", "test"), ("Testing", "test"),
     ("test_set", "test"), (" Test ", "test"), ("NORMAL", None), ("trained", None), ("", None),
     ("external validation", None), ("train_test", None), ("testis", None), ("set", None)],
)  # fmt: skip
def test_canonical_split(name, split):
    assert canonical_split(name) == split


@pytest.mark.parametrize(
    ("classes", "positive"),
    [(("NORMAL", "PNEUMONIA"), "PNEUMONIA"), (("benign", "malignant"), "malignant"),
     (("0", "1"), "1"), (("COVID", "Normal"), "COVID"), (("No finding", "COVID-19"), "COVID-19"),
     (("no_tumor", "tumor"), "tumor"), (("yes", "no"), "yes"), (("neg", "pos"), "pos"),
     (("abnormal", "normal"), "abnormal"), (("COVID", "non-COVID"), "COVID"),
     (("Parasitized", "Uninfected"), "Parasitized"), (("IDC(+)", "IDC(-)"), "IDC(+)"),
     (("malignant", "normal or benign"), "malignant"), (("nodule", "healthy"), "nodule"),
     (("left", "right"), None), (("normal", "benign"), None), (("a", "b", "normal"), None),
     (("one",), None)],
)  # fmt: skip
def test_guess_positive(classes, positive):
    assert guess_positive(classes) == positive
    assert guess_positive(tuple(reversed(classes))) == positive


def test_check_options():
    check_options("folder", {"classes": "a"}, ("classes", "group"))
    with pytest.raises(UsageError, match="the layout 'folder' has no option 'clases'") as error:
        check_options("folder", {"clases": "a"}, ("classes", "group"))
    assert error.value.hint == "Did you mean 'classes'?"


def test_groups_are_the_first_group_searched_in_the_path():
    samples = [Sample("a/p1/x2.png", "A"), Sample("a/q/x3.png", "A", group="old")]
    assert [s.group for s in with_groups(samples, r"/(p\d)/(x)")] == ["p1", None]
    assert [s.group for s in with_groups(samples, r"(x\d)\.png$")] == ["x2", "x3"]


@pytest.mark.parametrize("regex", ["(", "no group", "(?:x)"])
def test_a_bad_pattern(regex):
    with pytest.raises(UsageError):
        with_groups([Sample("a", "A")], regex)


def test_keep_classes():
    samples = [Sample("a", "A"), Sample("b", "B"), Sample("c", "C")]
    assert [s.path for s in keep_classes(samples, ["A", "C"])] == ["a", "c"]
    with pytest.raises(UsageError, match="'D'"):
        keep_classes(samples, ["A", "D"])


# -- fingerprint ---------------------------------------------------------------------------------


@pytest.fixture
def index(tmp_path, write_image):
    """Two classes, two splits, patients, a further column."""
    root = tmp_path / "data"
    for name in ("A/p1 [1].png", "A/p2,2.png", "B/p3.png", "B/p4.png"):
        write_image(root / name)
    made = FolderReader().read(root, {"group_regex": r"(p\d)"})
    samples = [
        replace(s, split="train" if i % 2 else "test", columns={"sex": "m", "label": str(i)})
        for i, s in enumerate(made.samples)
    ]
    return made.with_samples(samples)


def hashes(index):
    return {s.path: hashlib.sha256(index.source.read(s.path)).hexdigest() for s in index.samples}


def test_fingerprint_is_of_bytes_labels_and_patients(index, tmp_path):
    mark = fingerprint(index, hashes(index))
    assert mark.startswith("sha256:") and len(mark) == 71
    shuffled = list(index.samples)
    random.Random(0).shuffle(shuffled)
    assert fingerprint(index.with_samples(shuffled), hashes(index)) == mark
    shutil.copytree(index.root, tmp_path / "moved")
    moved = FolderReader().read(tmp_path / "moved", {"group_regex": r"(p\d)"})
    assert fingerprint(moved, hashes(moved)) == mark

    first, *rest = index.samples
    for change in ({"label": "B"}, {"group": "p9"}, {"group": None}):
        other = index.with_samples([replace(first, **change), *rest])
        assert fingerprint(other, hashes(index)) != mark
    assert fingerprint(index, {**hashes(index), first.path: "0" * 64}) != mark
    assert fingerprint(index.with_samples(rest), hashes(index)) != mark


# -- the index as a CSV file ---------------------------------------------------------------------


def told(index):
    """What an index says about each image, by the file it names."""
    root = Path(index.source.root)
    return {(root / s.path).resolve(): (s.label, s.group, s.split) for s in index.samples}


@pytest.mark.parametrize("place", ["clean.csv", "data/clean.csv", "out/deep/clean.csv"])
def test_a_written_index_reads_back(index, tmp_path, monkeypatch, place):
    target = write_index_csv(index, tmp_path / place)
    monkeypatch.chdir(tmp_path / "data" / "A")
    again = CsvReader().read(target, {})
    assert told(again) == told(index)
    assert again.classes == index.classes and again.layout == "csv"
    assert again.findings == () and again.strays == ()
    assert fingerprint(again, hashes(again)) == fingerprint(index, hashes(index))
    assert [dict(s.columns) for s in again.samples] == [
        {"sex": "m", "label (original)": s.columns["label"]} for s in index.samples
    ]


def test_a_written_index_read_by_a_relative_path(index, tmp_path, monkeypatch):
    write_index_csv(index, tmp_path / "out" / "clean.csv")
    monkeypatch.chdir(tmp_path)
    relative = CsvReader().read(Path("out/clean.csv"), {})
    monkeypatch.chdir("/")
    assert relative.source.read(relative.samples[0].path)


def test_a_written_index_through_a_link(index, tmp_path):
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "deep")
    write_index_csv(index, tmp_path / "link" / "clean.csv")
    assert told(CsvReader().read(tmp_path / "link" / "clean.csv", {})) == told(index)


def test_header_and_paths(index, tmp_path):
    target = write_index_csv(index, tmp_path / "clean.csv", samples=index.samples[:1])
    with target.open(encoding="utf-8", newline="") as file:
        header, row = csv.reader(file)
    assert header == ["image", "label", "group", "split", "label (original)", "sex"]
    assert row == ["data/A/p1 [1].png", "A", "p1", "test", "0", "m"]


def test_odd_labels_read_back(index, tmp_path):
    odd = ["x|y", " blank ", "['N']", 'a,"b"', "nan", "1.0", "Entzündung", "a;b"]
    samples = [replace(index.samples[i % 4], label=odd[i]) for i in range(4)]
    made = replace(index, samples=tuple(samples), classes=tuple(sorted(odd[:4])))
    again = CsvReader().read(write_index_csv(made, tmp_path / "one.csv"), {})
    assert again.classes == made.classes
    samples = [replace(index.samples[i], label=odd[4 + i]) for i in range(4)]
    made = replace(index, samples=tuple(samples), classes=tuple(sorted(odd[4:])))
    assert CsvReader().read(write_index_csv(made, tmp_path / "2.csv"), {}).classes == made.classes


def test_no_patients_stay_none(index, tmp_path):
    bare = replace(index, samples=tuple(
        replace(s, group=None, split=None, columns={"patient": "z"}) for s in index.samples
    ))  # fmt: skip
    again = CsvReader().read(write_index_csv(bare, tmp_path / "clean.csv"), {})
    assert again.groups() == () and again.patients is None and again.splits() == ()


def test_a_file_that_went_away(index, tmp_path):
    target = write_index_csv(index, tmp_path / "clean.csv")
    (tmp_path / "data/B/p3.png").unlink()
    again = CsvReader().read(target, {})
    assert len(again) == 3 and [f.check for f in again.findings] == ["csv-missing-files"]


def test_nothing_of_the_users_is_replaced(index, tmp_path):
    theirs = tmp_path / "labels.csv"
    theirs.write_text("id,dx\n")
    with pytest.raises(InputError, match="no index written by medimg"):
        write_index_csv(index, theirs)
    assert theirs.read_text() == "id,dx\n"
    target = write_index_csv(index, tmp_path / "clean.csv")
    write_index_csv(index, target)  # its own earlier output may be replaced
    with pytest.raises(InputError, match="is the dataset itself"):
        write_index_csv(CsvReader().read(target, {}), target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clean.csv", "data", "labels.csv"]


def test_a_folder_that_cannot_be_written(index, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't be written"):
        write_index_csv(index, tmp_path / "file" / "clean.csv")


# -- sources -------------------------------------------------------------------------------------


def test_file_source(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").write_bytes(b"one")
    (tmp_path / "y.png").write_bytes(b"two")
    monkeypatch.chdir(tmp_path)
    source = FileSource(Path("a"))
    monkeypatch.chdir("/")
    assert source.read("x.png") == b"one"
    assert source.read("../y.png") == b"two"
    assert source.read(str(tmp_path / "y.png")) == b"two"
    with pytest.raises(OSError):
        source.read("z.png")


def test_member_source_opens_an_archive_once(tmp_path):
    (tmp_path / "x.png").write_bytes(b"file")
    opened = []

    class Archive:
        def read(self, path):
            return f"pixels of {path}"

    def opener(file):
        opened.append(file)
        return Archive()

    source = MemberSource(tmp_path, opener)
    assert source.read("x.png") == b"file"
    assert source.read("sub/s.npz::train/1") == "pixels of s.npz::train/1"
    assert source.read("sub/s.npz::val/2") == "pixels of s.npz::val/2"
    assert opened == [tmp_path / "sub/s.npz"]


def test_an_index_of_archive_members_is_written_as_such(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "s.npz").write_bytes(b"")
    made = DatasetIndex(
        "s", tmp_path / "in" / "s.npz", "medmnist", FileSource(tmp_path / "in"),
        (Sample("s.npz::train/12", "a", split="train"),), ("a",)
    )  # fmt: skip
    again = CsvReader().read(write_index_csv(made, tmp_path / "out" / "clean.csv"), {})
    assert [s.path for s in again.samples] == ["../in/s.npz::train/12"]
    assert again.samples[0].split == "train"
