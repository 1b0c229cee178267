"""A table whose rows are not all understood: every command says which were left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

BROKEN = "can't be told: left out"


@pytest.fixture
def table(draw_folder):
    """Twelve pictures in two classes, one of them in a row that no way of reading fits."""
    root = draw_folder("set", {"im": {"yes": 6, "no": 6}}, lambda _s, c, n: f"{c}{n}.png")
    rows = [f"im/{c}/{c}{n}.png,{c},note {n}" for c in ("yes", "no") for n in range(6)]
    rows[4] = "im/yes/yes4.png,unsure, yes,note 4"
    (root / "labels.csv").write_text("image,label,note\n" + "\n".join(rows) + "\n")
    return root


def reports_of(command):
    return [json.loads(file.read_text()) for file in Path("runs").glob(f"*{command}*/report.json")]


@pytest.mark.parametrize("command", ["verify", "inspect", "split", "balance"])
def test_every_command_names_the_row_once(medimg, table, command):
    answer = medimg(command, table / "labels.csv", "-o", "group=none")
    assert answer.code == 0, answer.err
    assert (answer.out + answer.err).count(BROKEN) == 1
    assert "line 6" in answer.out + answer.err
    (report,) = reports_of(command)
    assert report["dataset"]["images"] == 11
