"""A run folder that can't be had is refused before the work, by every command that makes one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

COMMANDS = {
    "verify": ("DATA", "--write-clean", "clean.csv"),
    "inspect": ("DATA",),
    "split": ("DATA",),
    "balance": ("DATA",),
    "lr-find": ("DATA", "--backend", "linear"),
    "train": ("DATA", "--backend", "linear"),
    "finetune": ("runs/one",),
    "predict": ("runs/one", "DATA"),
    "compare": ("runs/one", "runs/two"),
    "evaluate": ("--predictions", "runs/one/predictions/val.csv", "DATA"),
    "demo": ("--data", "DATA", "--backend", "linear", "--dir", "demo"),
}


@pytest.fixture
def refused(medimg, runs, phantoms, monkeypatch):
    """Calls a command that must end before it looks at any data."""

    def work(*_arguments, **_more):
        raise AssertionError("the work has begun")

    monkeypatch.setattr("medimg.opening.open_dataset", work)
    monkeypatch.setattr("medimg.core.scan.scan", work)
    monkeypatch.setattr("medimg.training.comparison.gather", work)
    monkeypatch.setattr("medimg.commands.predict.predict", work)

    def call(command: str, *more: str) -> str:
        words = [str(phantoms) if word == "DATA" else word for word in COMMANDS[command]]
        before = listed()
        answer = medimg(command, *words, *more)
        assert answer.code == 3 and answer.out == "", answer.err
        assert listed() == before
        return answer.err

    return call


def listed() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*"))


# the demo has folders of its own
@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "demo"])
def test_a_name_that_is_taken(refused, command):
    Path("elsewhere/mine").mkdir(parents=True)
    Path("elsewhere/mine/report.json").write_text("{}")
    said = refused(command, "--out", "elsewhere", "--name", "mine", "--json")
    assert "elsewhere/mine exists and is not empty" in said and "Choose another --name" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_a_place_where_nothing_can_be_written(refused, command):
    Path("file").write_text("no folder")
    said = refused(command, "--out", "file/deeper")
    assert "can't be written: Not a directory" in said and "--out DIR" in said


@pytest.mark.parametrize("out", ["/proc/medimg", "gone/runs"])
def test_other_places(refused, out):
    os.symlink("nowhere", "gone")
    assert "can't be written" in refused("verify", "--out", out)


def test_a_name_that_no_file_system_takes(refused):
    assert "File name too long" in refused("verify", "--name", "n" * 300)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("file/clean.csv", "file can't be written: Not a directory"),
        ("file", "file exists and is no index written by medimg"),
        ("folder", "folder exists and is no index written by medimg"),
    ],
)
def test_a_file_that_the_clean_index_cannot_become(medimg, phantoms, monkeypatch, file, said):
    monkeypatch.setattr("medimg.commands._scan.scan_dataset", lambda *_, **__: 1 / 0)
    Path("file").write_text("a user's")
    Path("folder").mkdir()
    answer = medimg("verify", phantoms, "--write-clean", file)
    assert answer.code == 3 and said in answer.err
    assert listed() == ["file", "folder"]


def test_an_evaluation_that_cannot_be_kept(medimg, runs, monkeypatch):
    (runs / "one" / "evaluate" / "again").write_text("no folder")
    monkeypatch.setattr("medimg.opening.open_dataset", lambda *_, **__: 1 / 0)
    answer = medimg("evaluate", "runs/one", "--name", "again")
    assert answer.code == 3 and "runs/one/evaluate/again can't be written" in answer.err


def test_a_list_needs_no_run_folder(medimg):
    Path("file").write_text("no folder")
    assert medimg("verify", "--list", "--out", "file").code == 0


def test_an_empty_folder_of_that_name_is_used(medimg, phantoms):
    Path("runs/mine").mkdir(parents=True)
    assert medimg("split", phantoms, "--name", "mine").code == 0
    assert Path("runs/mine/report.json").is_file()


def test_a_command_that_fails_early_leaves_no_folder(medimg, tmp_path):
    (tmp_path / "nothing").mkdir()
    assert medimg("verify", "nothing", "--name", "mine", "--out", "a/b").code == 3
    assert listed() == ["nothing"]
