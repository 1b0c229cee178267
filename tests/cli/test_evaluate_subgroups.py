"""medimg evaluate --by: subgroups by any column, small ones by name only."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk

from medimg.core.runs import read_predictions

QUICK = ("--no-plots", "--resamples", "100", "--no-progress", "--json")


@pytest.fixture
def table(phantoms, tmp_path) -> Path:
    """The phantoms as a CSV with a sex, an age and a rare view."""
    file = tmp_path / "data.csv"
    rng = np.random.default_rng(0)
    with file.open("w", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(["path", "label", "split", "sex", "age", "view"])
        for n, image in enumerate(sorted(phantoms.rglob("*.png"))):
            split = image.parent.parent.name
            row = [image, image.parent.name, split, "FM"[n % 2], int(rng.integers(20, 90))]
            writer.writerow([*row, "lateral" if n % 9 == 0 else "frontal"])
    return file


def evaluated(medimg, *arguments):
    answer = medimg("evaluate", *arguments, *QUICK)
    assert answer.code == 0, answer.err
    return answer.report["result"]


def test_subgroups_by_columns(medimg, train, table):
    assert train("a", data=table).code == 0
    result = evaluated(medimg, "runs/a", "--by", "sex,age", "--by", "view", "--min-group", "4")
    assert set(result["subgroups"]) == {"sex", "age", "view"}
    sex = result["subgroups"]["sex"]["groups"]
    assert set(sex) == {"F", "M"}
    assert sum(g["images"] for g in sex.values()) == result["images"]
    rows = {Path(r["path"]).name: r for r in csv.DictReader(table.open())}
    made = read_predictions(Path("runs/a/evaluate/test/predictions.csv"))
    place = made.classes.index("PNEUMONIA")
    for value, group in sex.items():
        mine = [rows[Path(p).name]["sex"] == value for p in made.paths]
        truth = np.array(made.labels)[mine] == "PNEUMONIA"
        p = made.probabilities[mine, place]
        assert group["metrics"]["auroc"]["value"] == pytest.approx(sk.roc_auc_score(truth, p))
        assert group["metrics"]["auroc"]["n"] == sum(mine) == group["images"]
    gap = result["subgroups"]["sex"]["gap"]["auroc"]
    areas = {value: group["metrics"]["auroc"]["value"] for value, group in sex.items()}
    assert gap["value"] == pytest.approx(areas[gap["highest"]] - areas[gap["lowest"]])
    ages = result["subgroups"]["age"]["groups"]
    assert len(ages) == 4 and all(" to " in name for name in ages)


def test_small_subgroups_are_named_without_numbers(medimg, train, table):
    assert train("a", data=table).code == 0
    answer = medimg("evaluate", "runs/a", "--by", "view", "--min-group", "6", *QUICK)
    views = answer.report["result"]["subgroups"]["view"]["groups"]
    small = views["lateral"]
    # where patients are known they are what is counted
    told = f"{small['patients']} patients: fewer than 6"
    assert small["metrics"] == {} and small["suppressed"] == told
    assert views["frontal"]["metrics"]["accuracy"]["value"] is not None
    assert "view, not shown: lateral (" in answer.err
    assert answer.report["result"]["subgroups"]["view"]["gap"] == {}


def test_what_files_and_paths_tell(medimg, runs):
    result = evaluated(
        medimg, "runs/two", "--by", "size,mode", "--by", r"digit=(\d)\.png$", "--min-group", "2"
    )
    assert set(result["subgroups"]["size"]["groups"]) == {"64×64"}
    assert set(result["subgroups"]["mode"]["groups"]) == {"grey"}
    assert set(result["subgroups"]["digit"]["groups"]) <= {*"0123456789", "(unknown)"}


@pytest.mark.parametrize(
    ("by", "told"),
    [
        ("sexx", "has no column 'sexx' to divide by"),
        ("zoom", "Known: folder, size, mode, format"),
        ("a=(", "is no pattern"),
        ("a=b", "has no group"),
        ("a=(never there)", "is found in no path"),
    ],
)
def test_columns_that_are_none(medimg, runs, by, told):
    answer = medimg("evaluate", "runs/two", "--by", by, *QUICK)
    assert answer.code == 2, answer.err
    assert told in answer.err


def test_the_table_names_the_method_of_each_interval(medimg, train, table):
    assert train("a", data=table).code == 0
    shown = tuple(word for word in QUICK if word != "--json")
    answer = medimg("evaluate", "runs/a", "--by", "sex", "--min-group", "3", *shown)
    lines = answer.out.splitlines()
    place = next(n for n, line in enumerate(lines) if line.startswith("sex "))
    told = next(line for line in lines[place:] if line.startswith("95 % intervals: "))
    methods = read_report(Path("runs/a/evaluate/test"))["subgroups"]["sex"]["groups"]["F"]
    for name in ("auroc", "accuracy"):
        method = methods["metrics"][name]["method"]
        if method:
            assert method.split(",")[0].removeprefix("percentile ") in told


def read_report(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text())["result"]
