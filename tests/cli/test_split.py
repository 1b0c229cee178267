"""`medimg split` from the command line, on folders made here."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from pathlib import Path

import cv2
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


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


def test_the_split_is_written_told_and_grouped(folder, capsys):
    assert run(["split", str(folder), *BY_PATIENT, "--name", "s"]) == 0
    out = capsys.readouterr().out
    rows = rows_of(Path("runs/s/splits.csv"))
    assert list(rows[0]) == ["path", "label", "group", "split"]
    assert len(rows) == 80
    sides = defaultdict(set)
    for row in rows:
        sides[row["group"]].add(row["split"])
    assert len(sides) == 20 and all(len(found) == 1 for found in sides.values())
    report = json.loads(Path("runs/s/report.json").read_text())
    assert report["result"] == {
        "ratios": {"train": 0.7, "val": 0.15, "test": 0.15},
        "counts": {
            "train": {"NORMAL": 28, "PNEUMONIA": 28},
            "val": {"NORMAL": 6, "PNEUMONIA": 6},
            "test": {"NORMAL": 6, "PNEUMONIA": 6},
        },
        "groups": {"train": 14, "val": 3, "test": 3},
        "file": "splits.csv",
        "hash": report["dataset"]["split_hash"],
        "distance": 0.0,
        "note": "a new split train/val/test 70/15/15, by patient, stratified by class, seed 0",
        "folds": None,
    }
    assert report["result"]["hash"].startswith("sha256:")
    assert [(f["check"], f["severity"]) for f in report["findings"]] == [
        ("copies-not-searched", "info")
    ]
    lines = [line.split() for line in out.splitlines()]
    assert ["train", "56", "70.0", "%", "70", "%", "14", "28", "28"] in lines
    assert (
        f"Next: medimg train {folder} -o 'group_regex=(p[0-9]+)_' --splits runs/s/splits.csv" in out
    )


def test_the_seed_decides_and_the_place_does_not(folder, capsys, tmp_path):
    assert run(["split", str(folder), *BY_PATIENT, "--name", "a", "--seed", "5"]) == 0
    folder.rename(tmp_path / "moved")
    assert run(["split", "moved", *BY_PATIENT, "--name", "b", "--seed", "5"]) == 0
    assert run(["split", "moved", *BY_PATIENT, "--name", "c", "--seed", "6"]) == 0
    texts = [Path(f"runs/{name}/splits.csv").read_bytes() for name in "abc"]
    assert texts[0] == texts[1] != texts[2]


def test_without_patients_it_warns(folder, capsys):
    assert run(["split", str(folder), "--split-ratios", "80/20", "--json"]) == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert report["result"]["groups"] is None
    assert report["result"]["counts"] == {
        "train": {"NORMAL": 32, "PNEUMONIA": 32},
        "test": {"NORMAL": 8, "PNEUMONIA": 8},
    }
    assert "Patients are unknown" in printed.err


def test_own_splits_are_set_aside(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for part, number in (("train", 30), ("test", 10)):
        for label in ("a", "b"):
            for i in range(number):
                picture(tmp_path / "set" / part / label / f"{part}{i}.png", i)
    assert run(["split", "set", "--name", "s"]) == 0
    assert "own splits (train 60, test 20) are set aside" in capsys.readouterr().out
    counts = json.loads(Path("runs/s/report.json").read_text())["result"]["counts"]
    assert {name: sum(c.values()) for name, c in counts.items()} == {
        "train": 56,
        "val": 12,
        "test": 12,
    }


def test_copies_stay_together_when_asked(folder, capsys):
    first, other = folder / "NORMAL" / "p0_0.png", folder / "PNEUMONIA" / "p1_1.png"
    pixels = cv2.imread(str(first), cv2.IMREAD_UNCHANGED)
    assert cv2.imwrite(str(other), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 0])
    assert first.read_bytes() != other.read_bytes()
    together = []
    for seed in range(8):
        found = {}
        for flag in ((), ("--keep-duplicates-together",)):
            name = f"s{seed}{len(flag)}"
            assert (
                run(["split", str(folder), *BY_PATIENT, "--seed", str(seed), "--name", name, *flag])
                == 0
            )
            side = {row["path"]: row["split"] for row in rows_of(Path(f"runs/{name}/splits.csv"))}
            found[bool(flag)] = side["NORMAL/p0_0.png"] == side["PNEUMONIA/p1_1.png"]
        assert found[True]
        together.append(found[False])
    assert not all(together)
    report = json.loads(Path("runs/s01/report.json").read_text())
    assert report["dataset"]["fingerprint"].startswith("sha256:")


def test_a_class_that_can_not_be_everywhere_is_a_finding(folder, capsys):
    picture(folder / "RARE" / "p99_0.png", 999)
    assert run(["split", str(folder), *BY_PATIENT, "--name", "s"]) == 0
    assert "RARE in val (1 patient for 3 parts)" in capsys.readouterr().err
    finding, _ = json.loads(Path("runs/s/report.json").read_text())["findings"]
    assert (finding["check"], finding["severity"], finding["count"]) == (
        "class-missing-in-split",
        "warning",
        2,
    )
    assert [item["split"] for item in finding["items"]] == ["val", "test"]


@pytest.mark.parametrize("parts", [(), ("--split-ratios", "80/20"), ("--folds", "5")])
def test_one_patient_can_not_be_split(parts, tmp_path, capsys):
    for number in range(6):
        picture(tmp_path / "set" / "ab"[number % 2] / f"p{number}_1.png", number)
    pattern = ("-o", r"group_regex=(p)\d")
    args = ["split", str(tmp_path / "set"), *pattern, "--out", str(tmp_path / "r"), *parts]
    assert run(args) == 3
    err = capsys.readouterr().err
    assert "set can't be split: all 6 images are of one patient, 'p' (" in err
    assert r"group_regex=(p)\d" in err and "a/p0_1.png" in err and "medimg inspect" in err
    assert "Fewer" not in err and not (tmp_path / "r").exists()


def test_bad_ratios_are_wrong_usage(folder, capsys):
    assert run(["split", str(folder), "--split-ratios", "70/15/10"]) == 2
    assert "Error: --split-ratios '70/15/10' adds up to 95, not to 100" in capsys.readouterr().err


def test_a_missing_folder(tmp_path, capsys):
    assert run(["split", str(tmp_path / "no")]) == 3
    assert capsys.readouterr().err.startswith("Error: ")


def test_near_copies_stay_together_too_and_torn_files_do_not(folder, capsys):
    """A picture saved anew as JPEG has other pixels; two unreadable files are no copies."""
    grey = cv2.resize(np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8), (160, 160))
    first, other = folder / "NORMAL" / "p0_0.png", folder / "PNEUMONIA" / "p1_1.jpg"
    assert cv2.imwrite(str(first), grey)
    assert cv2.imwrite(str(other), grey, [cv2.IMWRITE_JPEG_QUALITY, 80])
    torn = [folder / "NORMAL" / "p2_0.png", folder / "NORMAL" / "p3_0.png"]
    for file in torn:
        file.write_bytes(b"no picture")
    apart = set()
    for seed in range(8):
        args = ["split", str(folder), *BY_PATIENT, "--seed", str(seed), "--name", f"s{seed}"]
        assert run([*args, "--keep-duplicates-together"]) == 0
        side = {row["path"]: row["split"] for row in rows_of(Path(f"runs/s{seed}/splits.csv"))}
        assert side["NORMAL/p0_0.png"] == side["PNEUMONIA/p1_1.jpg"]
        apart.add(side["NORMAL/p2_0.png"] == side["NORMAL/p3_0.png"])
    assert False in apart
    said = "Kept together: 2 images that are copies of 1 picture (near copies among them: 1 pair)"
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("folds", [(), ("--folds", "3")])
def test_copies_that_were_not_looked_for_are_told(folder, folds, capsys):
    assert run(["split", str(folder), *BY_PATIENT, *folds, "--name", "s"]) == 0
    said = capsys.readouterr().err
    assert "copies of pictures were not looked for" in said
    assert "--keep-duplicates-together" in said
    again = ["split", str(folder), *BY_PATIENT, *folds, "--keep-duplicates-together"]
    assert run([*again, "--name", "t"]) == 0
    assert "not looked for" not in capsys.readouterr().err
    assert json.loads(Path("runs/t/report.json").read_text())["findings"] == []


def test_training_on_a_split_with_copies_names_the_option(folder, capsys):
    from shutil import copyfile

    for patient in range(20):
        copyfile(folder / "NORMAL" / f"p{patient}_0.png", folder / "NORMAL" / f"q{patient}.png")
    assert run(["split", str(folder), "--name", "s"]) == 0
    command = ["train", str(folder), "--splits", "runs/s/splits.csv", "--backend", "linear"]
    assert run(command) == 1
    said = capsys.readouterr().err
    assert "duplicates-across-splits" in said
    assert f"medimg split {folder} --keep-duplicates-together" in said


@pytest.mark.parametrize("command", [("split",), ("split", "--folds", "3"), ("inspect",)])
def test_many_long_class_names_fit_a_terminal(command, tmp_path, capsys):
    for label in range(12):
        name = f"carcinoma with a name {'that is longer than a terminal ' * 3}of grade {label}"
        for number in range(6):
            picture(tmp_path / "set" / name / f"{number}.png", 10 * label + number)
    assert run([*command, str(tmp_path / "set"), "--out", str(tmp_path / "r")]) == 0
    lines = capsys.readouterr().out.splitlines()
    (rule,) = [n for n, line in enumerate(lines) if line.startswith("---")]
    table = lines[rule - 1 : lines.index("", rule)]
    assert max(map(len, table)) <= 100
    assert len({line for line in table if "of grade" in line}) == 12
