"""`medimg balance` from the command line, and its numbers from an index."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from medimg.api import PluginError, SamplingPlan
from medimg.cli.main import run
from medimg.commands.balance import check_plan, note_on_probabilities, shares


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
