"""More items than a report holds: all that is new stands in it, and no more is promised."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medimg.core.types import MOST_IN_REPORT


@pytest.fixture
def empty(draw_folder) -> Path:
    """Two classes of eight pictures, one with 1,300 files of no bytes."""
    root = draw_folder("set", {".": {"a": 8, "b": 8}})
    for number in range(1300):
        (root / "a" / f"m{number:04}.png").touch()
    return root


def found(name: str) -> dict:
    (row,) = json.loads(Path(f"runs/{name}/report.json").read_text())["findings"]
    return row


def test_new_items_are_told_from_more_than_a_report_holds(medimg, empty):
    verify = ("verify", empty, "--only", "empty-file")
    first = medimg(*verify, "--name", "first")
    assert first.code == 1 and len(found("first")["items"]) == MOST_IN_REPORT == 1000
    assert "… and 997 more of the first 1,000, which the report lists" in first.out
    # among those that the first report lists, and after them
    for name in ("a", "m1299b", "z"):
        (empty / "a" / f"{name}.png").touch()
    assert medimg(*verify, "--name", "second", "--baseline", "runs/first").code == 1
    new = found("second")
    assert new["count"] == 3 and "1,303 images are empty" in new["message"]
    assert "(3 of them new)" in new["message"]
    assert [row["file"] for row in new["items"]] == ["a/a.png", "a/m1299b.png", "a/z.png"]
    # what the second report took over is known to the third as well
    (empty / "a" / "y.png").touch()
    assert medimg(*verify, "--name", "third", "--baseline", "runs/second").code == 1
    assert [row["file"] for row in found("third")["items"]] == ["a/y.png"]
    assert medimg(*verify, "--name", "fourth", "--baseline", "runs/third").code == 0


def test_a_report_says_of_what_it_lists_how_much_that_is(medimg, empty):
    for number in range(1000, 1300):
        (empty / "a" / f"m{number:04}.png").unlink()
    told = medimg("verify", empty, "--only", "empty-file")
    assert "… and 997 more in the report" in told.out
