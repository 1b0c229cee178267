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
    assert answer.code in (2, 3)
    assert "PNEUMONIA" in answer.err.splitlines()[-2] + answer.err.splitlines()[-1]
    assert len(list(Path("runs").iterdir())) == 2


def test_a_run_that_is_none(medimg, runs):
    assert medimg("finetune", "runs/three").code == 3
    Path("runs/one/report.json").unlink()
    answer = medimg("finetune", "runs/one")
    assert answer.code == 3 and "medimg train --resume runs/one" in answer.err
