"""Run folders: names, predictions, and what is said of folders that are none."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from medimg.core.errors import InputError, UsageError
from medimg.core.runs import (
    Predictions,
    new_run_folder,
    predictions_of,
    read_predictions,
    read_run,
    read_run_splits,
    write_predictions,
    write_run_splits,
)
from medimg.core.types import Sample


def test_names_say_when_what_and_on_what(tmp_path):
    folder = new_run_folder(tmp_path, "lr-find", "Chest X-ray/é")
    stamp, command, subject = folder.name.split("-", 1)[0], "lr-find", "Chest-X-ray-é"
    assert len(stamp) == 15 and stamp[8] == "T"
    assert folder.name == f"{stamp}-{command}-{subject}"
    assert folder.is_dir()


def test_names_keep_the_letters_of_any_language(tmp_path):
    folder = new_run_folder(tmp_path, "inspect", "Thorax Übung ü 日本 / ..")
    assert folder.name.endswith("-inspect-Thorax-Übung-ü-日本")
    assert folder.parent == tmp_path


def test_two_runs_of_one_second_get_two_folders(tmp_path):
    made = [new_run_folder(tmp_path, "train", "x") for _ in range(5)]
    assert len(set(made)) == 5


def test_a_given_name_is_not_taken_twice(tmp_path):
    folder = new_run_folder(tmp_path, "train", "x", "mine")
    assert folder == new_run_folder(tmp_path, "train", "x", "mine")
    (folder / "recipe.yaml").write_text("")
    with pytest.raises(InputError, match="exists and is not empty"):
        new_run_folder(tmp_path, "train", "x", "mine")


def test_a_place_where_no_folder_can_be_made(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(InputError, match="can't be written"):
        new_run_folder(tmp_path / "runs", "train", "x")


def test_predictions_are_read_back_to_the_last_bit(tmp_path):
    draw = np.random.default_rng(0).dirichlet([1, 1], 4)
    samples = [Sample(f"ä, {n}.png", "b,c", None if n == 2 else f"p{n}") for n in range(4)]
    table = predictions_of(samples, draw, ["a", "b,c"], iter("wxyz"), "val")
    write_predictions(tmp_path / "p.csv", table)
    again = read_predictions(tmp_path / "p.csv")
    np.testing.assert_array_equal(again.probabilities, draw)
    for name in ("classes", "paths", "labels", "groups", "sha256", "split"):
        assert getattr(again, name) == getattr(table, name), name
    assert again.label_numbers().tolist() == [1] * 4


def test_patients_are_known_when_every_image_has_one():
    def table(groups: tuple) -> Predictions:
        return Predictions(("a",), ("x", "y"), ("a", "a"), groups, ("d", "e"), np.ones((2, 1)), "s")

    assert table(("p", "q")).group_names() == ["p", "q"]
    assert table(("p", None)).group_names() is None


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "holds no rows"),
        ("path,split,label,group,sha256,prob_a\n", "holds no rows"),
        ("path,split,label,group,prob_a\nx,s,a,,1\n", "lacks sha256"),
        ("path,split,label,group,sha256\nx,s,a,,d\n", "lacks prob_<class>"),
        ("path,split,label,group,sha256,prob_a\nx,s,a,,d,much\n", "no number"),
    ],
)
def test_predictions_that_are_none(tmp_path, text, message):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_predictions(tmp_path / "p.csv")
    with pytest.raises(InputError, match="can't be read"):
        read_predictions(tmp_path / "none.csv")


def run_folder(folder, **report) -> None:
    (folder / "model").mkdir(parents=True)
    (folder / "recipe.yaml").write_text("epochs: 3\n")
    (folder / "model" / "model.json").write_text('{"classes": ["a"]}')
    text = json.dumps({"schema": "medimg.report/1", "command": "train", **report})
    (folder / "report.json").write_text(text)


def test_a_run_is_read_back(tmp_path):
    run_folder(tmp_path / "a")
    run = read_run(tmp_path / "a")
    assert (run.name, run.recipe, run.card) == ("a", {"epochs": 3}, {"classes": ["a"]})


def test_folders_that_are_no_run(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_run(tmp_path / "none")
    with pytest.raises(InputError, match="it is no run folder") as caught:
        read_run(tmp_path)
    assert "--resume" not in caught.value.hint
    run_folder(tmp_path / "a", command="verify")
    with pytest.raises(InputError, match="a run of medimg verify"):
        read_run(tmp_path / "a")


def test_an_unfinished_run_says_how_to_go_on(tmp_path):
    run_folder(tmp_path / "a")
    (tmp_path / "a" / "report.json").unlink()
    with pytest.raises(InputError, match="the run did not finish") as caught:
        read_run(tmp_path / "a")
    assert caught.value.hint == f"Go on with it: medimg train --resume {tmp_path / 'a'}"


def test_a_run_that_broke_down_is_not_to_be_gone_on_with(tmp_path):
    run_folder(tmp_path / "a")
    (tmp_path / "a" / "report.json").unlink()
    (tmp_path / "a" / "checkpoints").mkdir()
    (tmp_path / "a" / "checkpoints" / "state.json").write_text('{"stopped_by": "non-finite-loss"}')
    with pytest.raises(InputError, match="the loss was no number") as caught:
        read_run(tmp_path / "a")
    assert "--resume" not in caught.value.hint and "lr-find" in caught.value.hint


def test_a_folder_that_has_to_be_quoted_is(tmp_path):
    run_folder(tmp_path / "ü name 1")
    (tmp_path / "ü name 1" / "report.json").unlink()
    with pytest.raises(InputError) as caught:
        read_run(tmp_path / "ü name 1")
    assert caught.value.hint.endswith(f"--resume '{tmp_path}/ü name 1'")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/x", "a\\b", " a", "a\0"])
def test_names_that_lead_elsewhere(tmp_path, name):
    with pytest.raises(UsageError):
        new_run_folder(tmp_path / "runs", "train", "x", name)
    assert list(tmp_path.iterdir()) == []


def test_a_runs_splits_hold_the_content_and_are_a_splits_file(tmp_path):
    from medimg.core.split import apply_splits_file
    from medimg.core.types import DatasetIndex

    samples = [Sample(f"{n},ä.png", "a", None if n else "p", "train") for n in range(3)]
    write_run_splits(tmp_path / "splits.csv", samples, {"0,ä.png": "abc", "1,ä.png": "def"})
    read = read_run_splits(tmp_path)
    assert [(p, s.split, s.sha256) for p, s in read.items()] == [
        ("0,ä.png", "train", "abc"), ("1,ä.png", "train", "def"), ("2,ä.png", "train", None),
    ]  # fmt: skip
    bare = DatasetIndex("d", tmp_path, "folder", None, tuple(samples), ("a",))  # type: ignore[arg-type]
    assert apply_splits_file(bare, tmp_path / "splits.csv").samples == tuple(samples)
    pixels = {"0,ä.png": "12", "2,ä.png": "34"}
    write_run_splits(tmp_path / "splits.csv", samples, {"0,ä.png": "abc"}, pixels)
    assert [(s.sha256, s.pixel_hash) for s in read_run_splits(tmp_path).values()] == [
        ("abc", "12"), (None, None), (None, "34"),
    ]  # fmt: skip
    assert apply_splits_file(bare, tmp_path / "splits.csv").samples == tuple(samples)
    odd = os.fsdecode(b"r\xe9.png")
    write_run_splits(tmp_path / "splits.csv", [Sample(odd, "a", None, "val")], {odd: "abc"})
    assert list(read_run_splits(tmp_path)) == [odd]
    (tmp_path / "splits.csv").write_text("nothing\nx\n")
    with pytest.raises(InputError, match="can't be read"):
        read_run_splits(tmp_path)


@pytest.mark.parametrize("name", ["model/model.json", "recipe.yaml"])
def test_a_damaged_run(tmp_path, name):
    run_folder(tmp_path / "a")
    (tmp_path / "a" / name).write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        read_run(tmp_path / "a")
