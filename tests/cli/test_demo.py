"""medimg demo: the walk, its copyable lines, and its errors."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from medimg.commands import demo
from medimg.core.report import check_shape


@pytest.fixture
def small(monkeypatch):
    """A demo of seconds: fewer phantoms, fewer epochs."""
    monkeypatch.setattr(demo, "PHANTOMS", 160)
    monkeypatch.setattr(demo, "PHANTOM_SIZE_PX", 64)
    monkeypatch.setattr(demo, "EPOCHS", 2)
    monkeypatch.setattr(demo, "PHANTOM_EPOCHS", 2)


def test_the_walk_on_phantoms(medimg, small):
    answer = medimg("demo", "--backend", "linear", "--json")
    assert answer.code == 0, answer.err
    report = answer.report
    assert check_shape(report) == []
    result = report["result"]
    lines = [shlex.split(step["command"]) for step in result["steps"]]
    assert all(line[0] == "medimg" for line in lines)
    assert {line[1] for line in lines} == {
        "inspect", "verify", "split", "balance", "lr-find", "train", "finetune", "evaluate",
        "compare",
    }  # fmt: skip
    # verify on planted faults finds errors; everything after the clean index works
    codes = [(line[1], step["exit"]) for line, step in zip(lines, result["steps"], strict=True)]
    assert codes[1] == ("verify", 1)
    assert all(code == 0 for command, code in codes if command != "verify")
    leaky, honest = result["lesson"]["leaky-split"], result["lesson"]["honest-split"]
    for cell in (leaky, honest):
        assert cell["ci95"][0] <= cell["value"] <= cell["ci95"][1]
    assert result["open"] and all(Path(file).is_file() for file in result["open"])
    assert Path("medimg-demo/chest_xray/truth.json").is_file()
    assert Path("medimg-demo/runs/compare/report.json").is_file()


@pytest.mark.slow
def test_other_data_are_left_as_they_are_and_runs_go_where_out_says(medimg, small, phantoms):
    before = {f: f.stat().st_mtime_ns for f in phantoms.rglob("*")}
    line = ("demo", "--data", phantoms, "--backend", "linear", "--out", "demoruns")
    answer = medimg(*line)
    assert answer.code == 0, answer.err
    assert {f: f.stat().st_mtime_ns for f in phantoms.rglob("*")} == before
    assert "$ medimg inspect " in answer.out
    assert "Drew" not in answer.out and not Path("medimg-demo/chest_xray").exists()
    assert "AUROC, split by patient: " in answer.out
    assert Path("demoruns/compare/report.json").is_file()
    assert Path("demoruns/demo/report.json").is_file()
    assert not Path("medimg-demo/runs").exists() and "--out demoruns" in answer.out
    again = medimg(*line)
    assert again.code == 3 and "demoruns is not an empty folder" in again.err
    again = medimg("demo", "--data", "nowhere", "--backend", "linear", "--dir", "d")
    assert again.code == 3


def test_a_finding_that_names_no_files_says_what_it_names():
    row = {"files_named": 0, "files": 470, "features": ["corner spread", "x", "y"]}
    assert demo.named(row) == "corner spread and 2 more"
    assert demo.named(row | {"features": ["one"]}) == "one"
    assert demo.named({"files_named": 3, "files": 4, "features": []}) == "3 of 4 files"


def test_a_folder_that_the_demo_did_not_make_is_not_touched(medimg, small):
    Path("d/chest_xray").mkdir(parents=True)
    Path("d/chest_xray/mine.txt").write_text("x")
    answer = medimg("demo", "--dir", "d", "--backend", "linear")
    assert answer.code == 3
    assert "was not made by medimg demo" in answer.err
    assert [f.name for f in Path("d/chest_xray").iterdir()] == ["mine.txt"]


def test_a_backend_that_does_not_exist(medimg):
    answer = medimg("demo", "--backend", "tourch")
    assert answer.code == 2
    assert not Path("medimg-demo").exists()
