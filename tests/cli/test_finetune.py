"""medimg finetune: goes on from a run, on its split, and names it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from medimg.core.report import check_shape


def recipe_of(run: str) -> dict:
    return yaml.safe_load(Path(f"runs/{run}/recipe.yaml").read_text())


def test_it_names_the_parent_and_keeps_its_split(medimg, runs):
    answer = medimg("finetune", "runs/one", "--epochs", "2", "--name", "ft", "--json")
    assert answer.code == 0, answer.err
    report = answer.report
    assert check_shape(report) == []
    assert report["result"]["parent"] == "one"
    assert recipe_of("ft")["parent"] == str(Path("runs/one").resolve())
    assert Path("runs/ft/splits.csv").read_bytes() == Path("runs/one/splits.csv").read_bytes()
    assert recipe_of("ft")["learning_rate"] == pytest.approx(recipe_of("one")["learning_rate"] / 10)
    assert (recipe_of("ft")["epochs"], recipe_of("ft")["schedule"]) == (2, "constant")
    parent = json.loads(Path("runs/one/report.json").read_text())["result"]
    assert report["result"]["before"] == pytest.approx(parent["metrics"], rel=1e-6)


def test_it_starts_from_the_parents_weights(medimg, runs):
    """With the head frozen at a vanishing rate the predictions stay the parent's."""
    answer = medimg("finetune", "runs/one", "--lr", "1e-12", "--epochs", "1", "--name", "ft")
    assert answer.code == 0, answer.err
    ours, theirs = (
        np.loadtxt(
            f"runs/{n}/predictions/val.csv", delimiter=",", skiprows=1, usecols=(5, 6), dtype=float
        )
        for n in ("ft", "one")
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_unfreeze_says_what_is_trained(medimg, runs):
    part = medimg("finetune", "runs/one", "--unfreeze", "1", "--name", "a", "--epochs", "1")
    assert part.code == 0
    assert "Trained: standardise, head; frozen: nothing" in part.out
    opened = json.loads(Path("runs/a/report.json").read_text())["result"]["opened"]
    assert opened == [{"epoch": 1, "stages": ["standardise", "head"]}]
    assert medimg("report", "runs/a").code == 0
    assert "standardise, head (from epoch 1)" in Path("runs/a/report.html").read_text()
    head = medimg("finetune", "runs/one", "--freeze", "backbone", "--name", "b", "--epochs", "1")
    assert "Trained: head; frozen: standardise" in head.out
    assert medimg("finetune", "runs/one", "--unfreeze", "0").code == 2


def test_the_same_seed_gives_the_same_bytes(medimg, runs):
    for name in "ab":
        assert medimg("finetune", "runs/one", "--epochs", "2", "--name", name, "-q").code == 0
    ours, theirs = (Path(f"runs/{n}/predictions/val.csv").read_bytes() for n in "ab")
    assert ours == theirs


def test_a_rate_is_searched_from_the_parents_weights(medimg, runs):
    answer = medimg("finetune", "runs/two", "--lr", "auto", "--epochs", "1", "--name", "ft")
    assert answer.code == 0, answer.err
    assert isinstance(recipe_of("ft")["learning_rate"], float)
    # the parent's metrics are measured after the search: it leaves the network as it was
    report = json.loads(Path("runs/ft/report.json").read_text())["result"]
    parent = json.loads(Path("runs/two/report.json").read_text())["result"]
    before, after = (
        {k: v for k, v in values.items() if v is not None}
        for values in (report["before"], parent["metrics"])
    )
    assert before == pytest.approx(after, rel=1e-6)


def test_other_data_need_the_same_classes(medimg, runs, draw_folder):
    parts = {s: {"benign": 8, "malignant": 8} for s in ("train", "val", "test")}
    data = draw_folder("other", parts)
    answer = medimg("finetune", "runs/one", "--dataset", data)
    assert answer.code == 3
    assert answer.err.splitlines() == [
        "Error: one knows the classes NORMAL, PNEUMONIA, the data hold benign, malignant",
        "  Finetune on data with the same classes, or train anew.",
    ]
    assert len(list(Path("runs").iterdir())) == 2


def test_a_run_that_is_none(medimg, runs):
    assert medimg("finetune", "runs/three").code == 3
    Path("runs/one/report.json").unlink()
    answer = medimg("finetune", "runs/one")
    assert answer.code == 3 and "medimg train --resume runs/one" in answer.err


def test_the_settings_of_a_step_are_the_runs_unless_given(medimg, runs):
    line = ("finetune", "runs/one", "--epochs", "1")
    assert medimg(*line, "--name", "same").code == 0
    given = ("--batch-size", "8", "--optimizer", "sgd", "--precision", "float32", "--patience", "2")
    answer = medimg(*line, *given, "--schedule", "cosine", "--balance", "oversample", "--name", "o")
    assert answer.code == 0, answer.err
    names = ("batch_size", "optimizer", "precision")
    assert [recipe_of("same")[n] for n in names] == [recipe_of("one")[n] for n in names]
    made = recipe_of("o")
    assert [made[n] for n in (*names, "patience", "schedule", "balance")] == [
        8, "sgd", "float32", 2, "cosine", "oversample",
    ]  # fmt: skip
    help_text = medimg("finetune", "--help").out
    assert "[default: 0.001]" not in help_text and "a tenth of the run's" in help_text


@pytest.mark.parametrize("command", ["finetune", "train"])
def test_a_finetune_that_was_cut_short_goes_on_to_the_same_end(medimg, runs, monkeypatch, command):
    from medimg.training import run as module

    write = module.write_history

    def interrupted(path, rows):
        write(path, rows)
        if len(rows) == 2:
            raise KeyboardInterrupt

    line = ("finetune", "runs/one", "--epochs", "4", "--optimizer", "sgd")
    whole = medimg(*line, "--name", "whole", "--json")
    monkeypatch.setattr(module, "write_history", interrupted)
    cut = medimg(*line, "--name", "cut")
    assert cut.code == 130 and "--resume runs/cut" in cut.err
    monkeypatch.setattr(module, "write_history", write)
    resumed = medimg(command, "--resume", "runs/cut", "--json")
    assert resumed.code == 0, resumed.err
    assert resumed.report["command"] == "finetune"
    ours, theirs = resumed.report["result"], whole.report["result"]
    for name in ("metrics", "before", "epochs", "best_epoch", "threshold", "parent"):
        assert ours[name] == theirs[name], name
    bytes_of = [Path(f"runs/{n}/predictions/val.csv").read_bytes() for n in ("cut", "whole")]
    assert bytes_of[0] == bytes_of[1]


def test_resume_takes_no_other_settings(medimg, runs):
    for more in (["runs/one"], ["--epochs", "3"], ["--dataset", "x"]):
        answer = medimg("finetune", *more, "--resume", "runs/one")
        assert answer.code == 2 and "can't be given" in answer.err
    assert medimg("finetune").code == 2


def test_the_parents_split_and_positive_class_stay(medimg, runs, phantoms):
    for option in (["--split-ratios", "70/15/15"], ["--layout", "folder"], ["-o", "group=none"]):
        answer = medimg("finetune", "runs/one", *option)
        assert answer.code == 2 and "goes with --dataset" in answer.err
    answer = medimg("finetune", "runs/one", "--positive", "NORMAL")
    assert answer.code == 2 and "the positive class of one is PNEUMONIA" in answer.err
    line = ("--dataset", phantoms, "-o", "group=none", "--split-ratios", "60/20/20")
    assert medimg("finetune", "runs/one", *line, "--epochs", "1", "--name", "ft").code == 0
    assert recipe_of("ft")["options"] == {"group": "none"}


def test_images_that_changed_since_the_parent_was_trained_are_said(medimg, train, draw_folder):
    data = draw_folder("d", {s: {"NORMAL": 12, "SICK": 12} for s in ("train", "val", "test")})
    assert train("a", data=data).code == 0
    line = ("finetune", "runs/a", "--epochs", "1", "--json")
    assert medimg(*line).report["findings"] == []
    pixels = (data / "val/SICK/valSICK0.png").read_bytes()
    (data / "train/SICK/trainSICK3.png").write_bytes(pixels + b"\0")
    answer = medimg(*line, "--allow", "duplicates-across-splits")
    assert answer.code == 0, answer.err
    (found,) = [f for f in answer.report["findings"] if f["check"] == "data-changed"]
    assert [i["file"] for i in found["items"]] == ["train/SICK/trainSICK3.png"]
    assert "data-changed: 1 of these 72 images" in answer.err
