"""The medmnist layout on archives made on the spot and on PneumoniaMNIST."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from medimg.api import InputError, UsageError
from medimg.core.index import write_index_csv
from medimg.core.registry import Registry
from medimg.manager import PluginManager
from medimg.opening import open_dataset
from medimg_medmnist import medimg_datasets
from medimg_medmnist.archive import Reader
from medimg_medmnist.names import CLASS_NAMES, class_names

SHARED = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "dev"


def write(path, labels=None, shape=(8, 8), dtype=np.uint8, parts=("train", "val", "test"), **more):
    """An archive with so many pictures a part as there are labels."""
    path.parent.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    labels = {"train": [0, 1, 1], "val": [0, 1], "test": [1]} if labels is None else labels
    arrays = {}
    for part in parts:
        arrays[f"{part}_images"] = rng.integers(0, 256, (len(labels[part]), *shape)).astype(dtype)
        arrays[f"{part}_labels"] = np.array(labels[part], dtype=np.uint8).reshape(-1, 1)
    np.savez_compressed(path, **{**arrays, **more})
    return path


def read(path, **options):
    return Reader().read(path, options)


@pytest.mark.parametrize("name", ["pneumoniamnist", "pneumoniamnist_64", "PneumoniaMNIST"])
def test_archive(tmp_path, name):
    file = write(tmp_path / f"{name}.npz")
    index = read(file)
    assert [(s.path.partition("::")[2], s.label, s.split) for s in index.samples] == [
        ("train/0", "normal", "train"), ("train/1", "pneumonia", "train"),
        ("train/2", "pneumonia", "train"), ("val/0", "normal", "val"),
        ("val/1", "pneumonia", "val"), ("test/0", "pneumonia", "test"),
    ]  # fmt: skip
    assert index.samples[0].path == f"{name}.npz::train/0"
    assert index.classes == ("normal", "pneumonia") and index.layout == "medmnist"
    expected = np.load(file)["val_images"][1]
    assert (index.source.read(f"{name}.npz::val/1") == expected).all()
    assert Reader().sniff(file).confidence == 1.0


def test_an_archive_of_another_name_has_numbers(tmp_path):
    index = read(write(tmp_path / "mine.npz", {"train": [0, 2], "val": [1], "test": [0]}))
    assert index.classes == ("0", "1", "2")
    assert "not known" in index.reason


def test_names_that_do_not_fit_are_not_used(tmp_path):
    labels = {"train": [0, 2], "val": [1], "test": [0]}
    assert read(write(tmp_path / "pneumoniamnist.npz", labels)).classes == ("0", "1", "2")


def test_a_class_without_a_picture_is_known(tmp_path):
    labels = {"train": [0, 0], "val": [0], "test": [0]}
    index = read(write(tmp_path / "pneumoniamnist.npz", labels))
    assert index.class_counts() == {"normal": 4, "pneumonia": 0}


def test_parts_that_are_missing(tmp_path):
    file = write(tmp_path / "x.npz", parts=("train", "test"))
    assert read(file).splits() == ("train", "test")


def test_colour_pictures(tmp_path):
    index = read(write(tmp_path / "x.npz", shape=(8, 9, 3)))
    assert index.source.read("x.npz::test/0").shape == (8, 9, 3)


def test_a_folder_that_holds_one(tmp_path):
    write(tmp_path / "pneumoniamnist.npz")
    (tmp_path / "README.md").write_text("x")
    assert Reader().sniff(tmp_path).confidence == 0.9
    assert read(tmp_path).samples == read(tmp_path / "pneumoniamnist.npz").samples
    write(tmp_path / "second.npz")
    assert Reader().sniff(tmp_path).confidence == 0.0
    with pytest.raises(InputError, match="no MedMNIST archive"):
        read(tmp_path)


def test_classes_narrow(tmp_path):
    file = write(tmp_path / "x.npz", {"train": [0, 1, 2], "val": [2], "test": [0]})
    assert read(file, classes="0, 2").class_counts() == {"0": 2, "2": 2}
    with pytest.raises(UsageError, match="'7'"):
        read(file, classes="0,7")
    with pytest.raises(UsageError, match="no option 'label'"):
        read(file, label="x")


def test_several_labels_a_picture(tmp_path):
    file = write(tmp_path / "chestmnist.npz", train_labels=np.zeros((3, 14), np.uint8))
    with pytest.raises(InputError, match="14 labels at once") as error:
        read(file)
    assert "ChestMNIST" in error.value.hint


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"shape": (8, 8, 8)}, "3 × 8 × 8 × 8 of uint8"),
        ({"dtype": np.float32}, "of float32"),
        ({"val_labels": np.zeros((3, 1), np.uint8)}, "each of the 2 pictures, not 3"),
        ({"val_labels": np.zeros((2, 1))}, "of type float64"),
        ({"val_labels": np.array([[0], [-1]])}, "whole number from 0"),
        ({"val_labels": np.array([{}, {}], dtype=object)}, "damaged"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, more, message):
    with pytest.raises(InputError, match=message):
        read(write(tmp_path / "x.npz", **more))


def test_other_files(tmp_path):
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 no zip")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    (tmp_path / "x.txt").write_text("")
    for name in ("broken.npz", "other.npz", "x.txt"):
        assert Reader().sniff(tmp_path / name).confidence == 0.0
        with pytest.raises(InputError):
            read(tmp_path / name)


@pytest.mark.parametrize("path", ["x.npz::train/3", "x.npz::train/x", "x.npz::more/0", "x.npz"])
def test_pictures_that_are_not_there(tmp_path, path):
    with pytest.raises(OSError):
        read(write(tmp_path / "x.npz")).source.read(path)


def test_damage_met_on_reading(tmp_path):
    file = write(tmp_path / "x.npz")
    index = read(file)
    file.unlink()
    with pytest.raises(OSError):
        index.source.read("x.npz::train/0")


def test_names():
    assert class_names("bloodmnist_224") == CLASS_NAMES["bloodmnist"]
    assert class_names("chestmnist") is None
    assert {name: len(classes) for name, classes in CLASS_NAMES.items()} == {
        # numbers of classes in table 2 of Yang et al. 2023
        "pathmnist": 9, "dermamnist": 7, "octmnist": 4, "pneumoniamnist": 2, "retinamnist": 5,
        "breastmnist": 2, "bloodmnist": 8, "tissuemnist": 8, "organamnist": 11, "organcmnist": 11,
        "organsmnist": 11,
    }  # fmt: skip
    assert all("," not in name for names in CLASS_NAMES.values() for name in names)


def test_the_plugin_names_its_reader_without_numpy():
    (info,) = medimg_datasets()
    assert (info.name, info.suffixes) == ("medmnist", (".npz",))
    code = "import sys, medimg_medmnist; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def opened(path):
    """The archive or table as medimg's commands open it."""
    points = [
        EntryPoint("builtin", "medimg.builtin", "medimg"),
        EntryPoint("medmnist", "medimg_medmnist", "medimg"),
    ]
    manager = PluginManager(points)
    registry = Registry({}, {}, {})
    return open_dataset(str(path), layout=None, options={}, manager=manager, registry=registry)


def test_an_index_written_as_a_table_reads_the_same_pictures(tmp_path, monkeypatch):
    write(tmp_path / "in" / "pneumoniamnist.npz")
    index = opened(tmp_path / "in")
    assert index.layout == "medmnist" and index.positive == "pneumonia"
    table = write_index_csv(index, tmp_path / "out" / "clean.csv", index.samples[1:])
    monkeypatch.chdir("/")
    again = opened(table)
    told = {s.path.rpartition("::")[2]: (s.label, s.split) for s in again.samples}
    assert told == {s.path.rpartition("::")[2]: (s.label, s.split) for s in index.samples[1:]}
    for sample in again.samples:
        original = f"pneumoniamnist.npz::{sample.path.rpartition('::')[2]}"
        assert (again.source.read(sample.path) == index.source.read(original)).all()


def test_pneumoniamnist():
    folder = SHARED / "pneumoniamnist"
    if not folder.is_dir():
        pytest.skip(f"the real samples are not at {SHARED}")
    index = read(folder)
    assert index.split_counts() == {
        "train": {"normal": 1214, "pneumonia": 3494},
        "val": {"normal": 135, "pneumonia": 389},
        "test": {"normal": 234, "pneumonia": 390},
    }
    pixels = index.source.read(index.samples[-1].path)
    assert pixels.shape == (28, 28) and pixels.dtype == np.uint8
