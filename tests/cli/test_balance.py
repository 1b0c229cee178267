"""`medimg balance` from the command line, and its numbers from an index."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from medimg.api import PluginError, SamplingPlan
from medimg.balance._planning import check_plan, note_on_probabilities, shares
from medimg.cli.main import run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """train 30 + 10, val 6 + 2, test 6 + 2."""
    monkeypatch.chdir(tmp_path)
    for part, sizes in (("train", (30, 10)), ("val", (6, 2)), ("test", (6, 2))):
        for label, size in zip(("NORMAL", "PNEUMONIA"), sizes, strict=True):
            for number in range(size):
                file = tmp_path / "chest" / part / label / f"{part}{label[0]}{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                draw = np.random.default_rng([number, len(part), len(label)])
                assert cv2.imwrite(str(file), draw.integers(0, 256, (9, 9), np.uint8))
    return "chest"


def report_of(name: str) -> dict:
    return json.loads(Path(f"runs/{name}/report.json").read_text())


def test_class_weights_of_the_training_part(folder, capsys):
    assert run(["balance", folder, "--name", "b"]) == 0
    out = capsys.readouterr().out
    result = report_of("b")["result"]
    expected = compute_class_weight("balanced", classes=np.arange(2), y=[0] * 30 + [1] * 10)
    assert list(result["class_weights"].values()) == pytest.approx(expected)
    assert result["before"] == result["after"] == {"NORMAL": 30, "PNEUMONIA": 10}
    assert (result["method"], result["synthetic"], result["file"]) == (
        "class-weight",
        0,
        "balance.json",
    )
    assert result["split"] == "the dataset's own splits"
    lines = [line.split() for line in out.splitlines()]
    assert ["PNEUMONIA", "10", "10", "2.000", "25.0", "%", "50.0", "%"] in lines
    assert "learns class PNEUMONIA as 50 % of the cases instead of 25 %" in out


@pytest.mark.parametrize(("method", "size"), [("oversample", 30), ("undersample", 10)])
def test_resampling_touches_train_alone(folder, capsys, method, size):
    assert run(["balance", folder, "--method", method, "--name", "b", "--seed", "3"]) == 0
    result = report_of("b")["result"]
    assert result["before"] == {"NORMAL": 30, "PNEUMONIA": 10}
    assert result["after"] == {"NORMAL": size, "PNEUMONIA": size}
    assert result["class_weights"] == {"NORMAL": 1, "PNEUMONIA": 1}
    written = json.loads(Path("runs/b/balance.json").read_text())
    assert {path.split("/")[0] for path in written["images"]} == {"train"}
    used = Counter()
    for path, times in written["images"].items():
        used[path.split("/")[1]] += times
    assert used == result["after"]
    assert written["split_hash"] == report_of("b")["dataset"]["split_hash"]
    assert written["seed"] == 3


@pytest.mark.parametrize("method", ["smote", "borderline-smote", "adasyn"])
def test_synthetic_pictures_have_parents_in_train(folder, capsys, method):
    assert run(["balance", folder, "--method", method, "--name", "b", "--seed", "3"]) == 0
    result = report_of("b")["result"]
    assert result["before"] == {"NORMAL": 30, "PNEUMONIA": 10}
    assert result["synthetic"] == result["after"]["PNEUMONIA"] - 10
    assert 26 <= result["after"]["PNEUMONIA"] <= 34 and result["after"]["NORMAL"] == 30
    assert f"{result['synthetic']} synthetic pictures are blended" in result["note"]
    assert "both in train: validation and test lend nothing" in capsys.readouterr().out
    written = json.loads(Path("runs/b/balance.json").read_text())
    assert len(written["made"]) == result["synthetic"]
    for made in written["made"]:
        assert made["class"] == "PNEUMONIA"
        assert all(p.startswith("train/PNEUMONIA/") for p in made["parents"])
    assert set(written["images"].values()) == {1}


def test_written_pictures_are_blended_from_the_parents_in_the_table(folder, capsys):
    line = ["balance", folder, "--method", "smote", "--name", "b", "--write-images", "out/syn"]
    assert run(line) == 0
    assert "Synthetic pictures: out/syn, 20 of them" in capsys.readouterr().out
    with Path("out/syn/synthetic.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [r["path"] for r in rows] == [f"PNEUMONIA/{n:02d}.png" for n in range(1, 21)]
    for row in rows:
        first, second = (
            cv2.imread(f"{folder}/{row[name]}", cv2.IMREAD_UNCHANGED).astype(float)
            for name in ("first", "second")
        )
        made = cv2.imread(f"out/syn/{row['path']}", cv2.IMREAD_UNCHANGED)
        assert made.dtype == np.uint8 and made.shape == first.shape
        between = first + float(row["share"]) * (second - first)
        # the share is rounded to 32768ths
        assert abs(made - between).max() <= 0.5 + 255 / 65_536
    pairs = json.loads(Path("runs/b/balance.json").read_text())["made"]
    assert [p["parents"] for p in pairs] == [[r["first"], r["second"]] for r in rows]
    assert report_of("b")["result"]["images"] == "out/syn"


def test_parents_of_two_sizes_and_colours(folder):
    for number in range(5):
        file = Path(folder) / "train" / "PNEUMONIA" / f"trainP{number}.png"
        draw = np.random.default_rng(number)
        assert cv2.imwrite(str(file), draw.integers(0, 256, (12, 7, 3), np.uint8))
    assert run(["balance", folder, "--method", "smote", "--write-images", "syn", "-q"]) == 0
    with Path("syn/synthetic.csv").open() as file:
        rows = list(csv.DictReader(file))
    colours = set()
    for row in rows:
        parents = [
            cv2.imread(f"{folder}/{row[name]}", cv2.IMREAD_UNCHANGED)
            for name in ("first", "second")
        ]
        made = cv2.imread(f"syn/{row['path']}", cv2.IMREAD_UNCHANGED)
        assert made.shape[:2] == parents[0].shape[:2]
        assert (made.ndim == 3) == any(p.ndim == 3 for p in parents)
        colours.add(tuple(p.ndim for p in parents))
        if float(row["share"]) < 1e-2 and parents[0].ndim == made.ndim:
            assert abs(made.astype(int) - parents[0]).max() <= 3
    assert len(colours) > 1


def test_pictures_are_not_written_where_they_would_mix_with_others(folder, capsys):
    line = ["balance", folder, "--method", "smote", "--write-images"]
    assert run([*line, f"{folder}/train/SYNTHETIC"]) == 3
    assert "lies in the dataset: synthetic pictures would be read" in capsys.readouterr().err
    Path("full").mkdir()
    Path("full/mine.txt").write_text("mine")
    assert run([*line, "full"]) == 3
    assert "full exists and is not an empty folder" in capsys.readouterr().err
    assert not Path("runs").exists() and sorted(Path("full").iterdir()) == [Path("full/mine.txt")]


def test_a_full_disk_is_said_before_anything_is_written(folder, capsys, monkeypatch):
    usage = shutil.disk_usage(".")._replace(free=100)
    monkeypatch.setattr("shutil.disk_usage", lambda place: usage)
    line = ["balance", folder, "--method", "smote", "--write-images", "syn"]
    assert run(line) == 3
    assert "20 synthetic pictures take up to 2 KB, and 0 KB are free" in capsys.readouterr().err
    assert not Path("syn").exists()


def test_a_method_without_pictures_has_none_to_write(folder, capsys):
    assert run(["balance", folder, "--method", "oversample", "--write-images", "syn"]) == 2
    assert "oversample makes no pictures here" in capsys.readouterr().err
    assert not Path("syn").exists()


def test_a_class_that_is_too_small_is_named(folder, capsys):
    for file in sorted(Path(folder).glob("train/PNEUMONIA/*"))[4:]:
        file.unlink()
    assert run(["balance", folder, "--method", "smote"]) == 3
    err = capsys.readouterr().err
    assert "smote needs 6 images of each class in the training part" in err
    assert "PNEUMONIA has 4" in err and "oversample" in err


def test_a_broken_picture_is_named(folder, capsys):
    file = sorted(Path(folder).glob("train/NORMAL/*"))[0]
    file.write_bytes(b"no picture")
    assert run(["balance", folder, "--method", "smote"]) == 3
    err = capsys.readouterr().err
    assert "1 of the 40 training images can't be read, the first train/NORMAL/" in err


def test_a_dataset_without_splits_is_split_first(folder, tmp_path, capsys):
    assert run(["balance", "chest/train", "--name", "b", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["result"]["before"] == {"NORMAL": 21, "PNEUMONIA": 7}
    assert report["result"]["split"].startswith("the dataset has no splits: a new split")


def test_a_given_split_is_used(folder, capsys):
    assert run(["split", folder, "--name", "s", "--split-ratios", "50/25/25"]) == 0
    assert run(["balance", folder, "--name", "b", "--splits", "runs/s/splits.csv"]) == 0
    assert (
        "Next: medimg train chest --splits runs/s/splits.csv --balance class-weight"
        in capsys.readouterr().out
    )
    with Path("runs/s/splits.csv").open() as file:
        train = Counter(r["label"] for r in csv.DictReader(file) if r["split"] == "train")
    assert report_of("b")["result"]["before"] == train
    assert report_of("b")["dataset"]["split_hash"] == report_of("s")["result"]["hash"]


def test_an_unknown_method_names_the_near_miss(folder, capsys):
    assert run(["balance", folder, "--method", "oversampel"]) == 2
    err = capsys.readouterr().err
    assert "Error: no way to balance is called 'oversampel'" in err
    assert "Did you mean 'oversample'?" in err
    assert not Path("runs").exists()


def test_one_class_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for part, label in (("train", "a"), ("val", "a"), ("test", "a"), ("test", "b")):
        for number in range(3):
            file = tmp_path / "set" / part / label / f"{part}{label}{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(file), np.full((9, 9), number, np.uint8))
    assert run(["balance", "set"]) == 3
    assert "the training part of set holds one class, a" in capsys.readouterr().err


def test_shares_of_the_loss_and_what_they_do_to_probabilities():
    result = {
        "before": {"a": 90, "b": 10},
        "after": {"a": 90, "b": 10},
        "class_weights": {"a": 100 / 180, "b": 5.0},
    }
    assert shares(result)["b"] == pytest.approx((0.1, 0.5))
    note = note_on_probabilities(result)
    assert "learns class b as 50 % of the cases instead of 10 %" in note
    assert "probabilities of b come out too high" in note
    even = {
        "before": {"a": 5, "b": 5},
        "after": {"a": 5, "b": 5},
        "class_weights": {"a": 1.0, "b": 1.0},
    }
    assert note_on_probabilities(even).startswith("The classes' shares stay")


def test_a_plan_that_does_not_fit_is_the_plugins_fault():
    labels = np.array([0, 1, 1])
    with pytest.raises(PluginError, match="names images 0 to 3 of 3"):
        check_plan(SamplingPlan(np.array([0, 3]), np.ones(2)), labels, "x")
    with pytest.raises(PluginError, match="gives 1 weights for 2 classes"):
        check_plan(SamplingPlan(np.array([0, 1]), np.ones(1)), labels, "x")
