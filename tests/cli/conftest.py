"""Commands called in this process on phantoms, and runs that several tests only read."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from medimg.cli.main import run

FAST = ("--backend", "linear", "--image-size", "32", "--epochs", "3", "--no-progress")


@dataclass(frozen=True)
class Answer:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        return json.loads(self.out)


@pytest.fixture
def medimg(tmp_path, monkeypatch, capsys) -> Callable[..., Answer]:
    """Calls a command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Answer:
        capsys.readouterr()
        code = run([str(a) for a in arguments])
        printed = capsys.readouterr()
        return Answer(code, printed.out, printed.err)

    return call


@pytest.fixture
def train(medimg, phantoms) -> Callable[..., Answer]:
    """Trains `logistic` for three epochs into runs/<name>."""

    def call(name: str, *arguments: object, data: Path = phantoms) -> Answer:
        return medimg("train", data, *FAST, "--name", name, *arguments)

    return call


@pytest.fixture(scope="session")
def made_runs(tmp_path_factory, phantoms) -> Path:
    """runs/ with the evaluated runs `one` and `two` on phantoms; not to be changed."""
    runs = tmp_path_factory.mktemp("made") / "runs"
    for name, rate in (("one", "0.001"), ("two", "0.01")):
        common = ("--out", str(runs), "-q")
        assert run(["train", str(phantoms), *FAST, "--lr", rate, "--name", name, *common]) == 0
        assert run(["evaluate", str(runs / name), "--resamples", "200", "--no-plots", "-q"]) == 0
    return runs


@pytest.fixture
def runs(made_runs, tmp_path, monkeypatch) -> Path:
    """A copy of the made runs in runs/ of an empty folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made_runs, "runs")
    return Path("runs")


@pytest.fixture
def draw_folder(tmp_path) -> Callable[..., Path]:
    """Writes a folder of class folders with brightness as the class, an own picture each."""

    def draw(
        name: str,
        parts: dict[str, dict[str, int]],
        names: Callable[[str, str, int], str] = lambda split, label, n: f"{split}{label}{n}.png",
    ) -> Path:
        place = 0
        for split, classes in parts.items():
            for number, (label, count) in enumerate(classes.items()):
                for n in range(count):
                    place += 1
                    write_picture(
                        tmp_path / name / split / label / names(split, label, n), place, number
                    )
        return tmp_path / name

    return draw


def write_picture(file: Path, seed: int, number: int) -> None:
    """A 32×32 noise picture of its own, brighter with the class's number."""
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 120, (32, 32))
    smooth = cv2.GaussianBlur(noise.astype(np.uint8), (0, 0), 2)
    spread = cv2.normalize(smooth, None, 0, 120, cv2.NORM_MINMAX)
    assert cv2.imwrite(str(file), (spread + 40 * number).astype(np.uint8))


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as text:
        return list(csv.DictReader(text))
