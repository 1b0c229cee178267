"""Run folders that lie in a dataset, as they do for who works in its folder, are no part of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from medimg.core.runs import is_run_folder
from tests.cli.conftest import Answer


@pytest.fixture
def inside(medimg, phantoms, tmp_path, monkeypatch):
    """Calls commands in a copy of the phantoms."""
    data = shutil.copytree(phantoms, tmp_path / "data")
    monkeypatch.chdir(data)
    return medimg


def listing(answer: Answer) -> dict:
    report = answer.report
    kept = {k: report["dataset"][k] for k in ("layout", "images", "classes", "fingerprint")}
    return kept | {"findings": [(f["check"], f["message"]) for f in report["findings"]]}


def read(medimg, *more: str) -> dict:
    return listing(medimg("verify", ".", "--json", "--skip", "shortcut", "--out", "../out", *more))


def test_reports_and_plots_in_a_dataset_change_nothing_about_it(inside):
    before = read(inside)
    assert inside("inspect", ".", "--name", "mine", "--html").code == 0
    assert inside("inspect", ".", "--out", "train").code == 0
    assert list(Path("runs/mine/plots").glob("*.png"))
    assert read(inside) == before
    assert read(inside, "--layout", "folder") == before
    assert inside("verify", ".", "--write-clean", "../clean.csv").code == 0
    assert "runs/" not in Path("../clean.csv").read_text()


def test_the_same_with_a_table(inside):
    rows = [f"{p.as_posix()},{p.parent.name}" for p in sorted(Path("train").rglob("*.png"))]
    Path("labels.csv").write_text("\n".join(["image,label", *rows]))
    shutil.rmtree("val")
    shutil.rmtree("test")
    before = read(inside, "--layout", "csv")
    assert inside("inspect", ".", "--layout", "csv").code == 0
    assert read(inside, "--layout", "csv") == before


def test_prediction_passes_them_over_unless_they_are_named(medimg, runs, phantoms):
    data = shutil.copytree(phantoms / "test", "data")
    shutil.copytree("runs", Path(data) / "runs")
    model = ("predict", "runs/one", "--json")
    assert len(medimg(*model, "data").report["result"]["predictions"]) == sum(
        1 for _ in (phantoms / "test").rglob("*.png")
    )
    plots = medimg(*model, "data/runs/one/plots").report["result"]["predictions"]
    assert plots and all("/plots/" in row["path"] for row in plots)


def test_what_medimg_did_not_write_is_read(inside):
    before = read(inside)
    number = before["images"]
    for place, text in (("a", "{}"), ("b", "no json"), ("c", json.dumps({"schema": "mine/1"}))):
        folder = Path("train/NORMAL") / place
        folder.mkdir()
        (folder / "report.json").write_text(text)
        # another picture each
        source = sorted(Path("train/NORMAL").glob("*.png"))[0]
        shutil.move(source, folder / source.name)
    assert read(inside)["images"] == number
    Path("train/PNEUMONIA/runs").mkdir()
    assert read(inside)["images"] == number


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', "\x00\xff"])
def test_other_reports_tell_nothing(tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    assert not is_run_folder(tmp_path)


def test_a_report_tells_its_folder(runs):
    assert is_run_folder(runs / "one") and is_run_folder(runs / "one" / "evaluate" / "test")
    assert not is_run_folder(runs)
    (runs / "one" / "report.json").write_bytes((runs / "one" / "report.json").read_bytes()[:3000])
    assert is_run_folder(runs / "one")
