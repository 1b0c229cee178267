"""`medimg split --folds` from the command line, on folders made here."""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest

from medimg.cli.main import run

BY_PATIENT = ("-o", "group_regex=(p[0-9]+)_")


def picture(file: Path, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 12), np.uint8)
    assert cv2.imwrite(str(file), pixels)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """20 patients with two images of each class."""
    monkeypatch.chdir(tmp_path)
    for patient in range(20):
        for place, label in enumerate(("NORMAL", "PNEUMONIA")):
            for number in range(2):
                name = f"p{patient}_{number}.png"
                picture(tmp_path / "chest" / label / name, patient * 10 + place * 2 + number)
    return tmp_path / "chest"


def rows_of(file: str) -> list[dict[str, str]]:
    with Path(file).open(newline="") as text:
        return list(csv.DictReader(text))


def test_folds_are_written_told_and_usable(folder, capsys):
    assert run(["split", str(folder), *BY_PATIENT, "--folds", "5", "--name", "s"]) == 0
    out = capsys.readouterr().out
    folds = rows_of("runs/s/folds.csv")
    assert Counter(row["fold"] for row in folds) == dict.fromkeys("12345", 16)
    report = json.loads(Path("runs/s/report.json").read_text())
    schema = Path(__file__).parents[2] / "docs" / "report.schema.json"
    jsonschema.validate(report, json.loads(schema.read_text()))
    result = report["result"]
    assert result["file"] == "folds.csv" and result["distance"] == 0
    assert result["groups"] == {f"fold-{k}": 4 for k in range(1, 6)}
    assert result["counts"] == {f"fold-{k}": {"NORMAL": 8, "PNEUMONIA": 8} for k in range(1, 6)}
    assert [f["check"] for f in report["findings"]] == ["copies-not-searched"]
    for number, told in enumerate(result["folds"], start=1):
        assert told["file"] == f"fold-{number}/splits.csv"
        rows = rows_of(f"runs/s/{told['file']}")
        sides = defaultdict(set)
        for row in rows:
            sides[row["group"]].add(row["split"])
        assert all(len(parts) == 1 for parts in sides.values())
        tested = {row["path"] for row in rows if row["split"] == "test"}
        assert tested == {row["path"] for row in folds if row["fold"] == str(number)}
        counts = Counter(row["split"] for row in rows)
        assert {p: sum(c.values()) for p, c in told["counts"].items()} == counts
        assert counts == {"train": 56, "val": 8, "test": 16}
        assert told["groups"] == {"train": 14, "val": 2, "test": 4}
    assert len({told["hash"] for told in result["folds"]}) == 5
    lines = [line.split() for line in out.splitlines()]
    assert ["1", "16", "20.0", "%", "4", "8", "8", "56", "8"] in lines
    assert "Distance from equal folds: 0.00 percentage points" in out
    assert "--splits runs/s/fold-1/splits.csv" in out

    args = ["train", str(folder), *BY_PATIENT, "--splits", "runs/s/fold-2/splits.csv"]
    assert run([*args, "--backend", "linear", "--model", "logistic", "--name", "t", "--json",
                "--epochs", "1"]) == 0  # fmt: skip
    trained = json.loads(capsys.readouterr().out)
    assert trained["dataset"]["split_hash"] == result["folds"][1]["hash"]


def test_without_a_validation_part(folder):
    args = ["split", str(folder), *BY_PATIENT, "--folds", "4", "--val-share"]
    assert run([*args, "0", "--name", "a"]) == 0
    assert {row["split"] for row in rows_of("runs/a/fold-4/splits.csv")} == {"train", "test"}
    for share, name in (("25", "b"), ("0.25", "c")):
        assert run([*args, share, "--name", name]) == 0
        counts = Counter(row["split"] for row in rows_of(f"runs/{name}/fold-1/splits.csv"))
        assert counts == {"train": 44, "val": 16, "test": 20}


def test_near_copies_are_tested_in_one_fold(folder):
    grey = cv2.resize(np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8), (160, 160))
    assert cv2.imwrite(str(folder / "NORMAL" / "p0_0.png"), grey)
    small = cv2.resize(grey, (120, 120), interpolation=cv2.INTER_AREA)
    assert cv2.imwrite(str(folder / "PNEUMONIA" / "p1_1.png"), small)
    apart = []
    for seed in range(6):
        found = {}
        for flag in ((), ("--keep-duplicates-together",)):
            name = f"s{seed}{len(flag)}"
            args = ["split", str(folder), *BY_PATIENT, "--folds", "5", "--seed", str(seed)]
            assert run([*args, "--name", name, *flag]) == 0
            fold = {row["path"]: row["fold"] for row in rows_of(f"runs/{name}/folds.csv")}
            found[bool(flag)] = fold["NORMAL/p0_0.png"] == fold["PNEUMONIA/p1_1.png"]
        assert found[True]
        apart.append(not found[False])
    assert any(apart)


def test_own_splits_are_set_aside_and_unknown_patients_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for part, number in (("train", 9), ("test", 3)):
        for label in ("a", "b"):
            for i in range(number):
                picture(tmp_path / "set" / part / label / f"{part}{i}.png", i)
    assert run(["split", "set", "--folds", "3", "--json", "--name", "s"]) == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert "own splits (train 18, test 6) are set aside" in printed.err
    assert "Patients are unknown" in printed.err
    assert report["dataset"]["splits"] == {}
    assert report["result"]["groups"] is None
    assert [fold["groups"] for fold in report["result"]["folds"]] == [None] * 3


def test_a_rare_class_is_a_finding(folder, capsys):
    for patient in range(90, 93):
        picture(folder / "RARE" / f"p{patient}_0.png", patient)
    args = ["split", str(folder), *BY_PATIENT, "--folds", "5", "--val-share", "0", "--name", "s"]
    assert run(args) == 0
    err = capsys.readouterr().err
    assert "RARE (3 patients) is missing in test of folds" in err
    assert "Fewer folds: --folds 3" in err
    finding, _ = json.loads(Path("runs/s/report.json").read_text())["findings"]
    assert finding["check"] == "class-missing-in-split" and finding["count"] == 2


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("--folds", "1"), 2, "1 is not in the range 2<=x<=20"),
        (("--folds", "21"), 2, "21 is not in the range"),
        (("--folds", "5", "--split-ratios", "80/20"), 2, "exclude each other"),
        (("--val-share", "10"), 2, "--val-share goes with --folds"),
        (("--folds", "5", "--val-share", "100"), 2, "100.0 is not in the range"),
    ],
)
def test_wrong_usage(folder, capsys, args, code, message):
    assert run(["split", str(folder), *args]) == code
    assert message in capsys.readouterr().err
    assert not Path("runs").exists()


def test_more_folds_than_patients(tmp_path, capsys):
    for number in range(12):
        picture(tmp_path / "set" / "ab"[number % 2] / f"p{number % 3}_{number}.png", number)
    args = ["split", str(tmp_path / "set"), *BY_PATIENT, "--out", str(tmp_path / "r")]
    assert run([*args, "--folds", "5"]) == 3
    err = capsys.readouterr().err
    assert "Error: 5 folds can't be made of 3 patients" in err and "--folds 3" in err
    assert not (tmp_path / "r").exists()


def test_classes_that_the_distance_leaves_out_are_named(tmp_path, capsys):
    for label, images in {"common": 10, "rare": 4, "single": 1}.items():
        for number in range(images):
            picture(tmp_path / "set" / label / f"{number}.png", number + 20 * len(label))
    args = ["split", str(tmp_path / "set"), "--folds", "5", "--out", str(tmp_path / "r")]
    assert run(args) == 0
    out = capsys.readouterr().out
    (said,) = [line for line in out.splitlines() if line.startswith("Class by class")]
    assert said.endswith("too small to be in every fold: rare (4 images), single (1 image).")
