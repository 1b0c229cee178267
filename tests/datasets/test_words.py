"""What readers say of one thing and of two: `1 path names`, `2 paths name`."""

from __future__ import annotations

import re

import pytest

from medimg.datasets.folder import Reader as FolderReader
from medimg.datasets.labels_csv import Reader as TableReader

NOUNS = "image|file|path|row|mask|patient|folder"
# nouns and verbs that do not go with the number before them
WRONG = {
    1: re.compile(
        rf"\b1 (?!of )(?:\.?\w+ )?(?:{NOUNS})s\b"
        rf"|\b1 (?:\.?\w+ )?(?:{NOUNS}) (?:name|lie|have|stand|are|were)\b"
        r"|\b1 of [\d,]+ rows(?: of \S+)? (?:name|have)\b"
    ),
    2: re.compile(
        rf"\b2 (?!of )(?:\.?\w+ )?(?:{NOUNS})\b"
        rf"|\b2 (?:\.?\w+ )?(?:{NOUNS})s (?:names|lies|has|stands|is|was)\b"
        r"|\b2 of [\d,]+ rows(?: of \S+)? (?:names|has)\b"
    ),
}


def said(index) -> dict[str, str]:
    return {f.check: f.message for f in index.findings}


@pytest.fixture
def tree(tmp_path, write_image):
    def make(*names):
        for name in names:
            write_image(tmp_path / name)
        return tmp_path

    return make


def folder_faults(tree, number: int):
    """A folder with `number` of each thing that the folder reader remarks on."""
    root = tree("A/p1_a.png", "A/p2_a.png", "B/p3_a.png", "B/p4_a.png")
    tree(*(f"A/nameless{n}.png" for n in range(number)))
    tree(*(f"loose{n}.png" for n in range(number)))
    tree(*(f"A/p{n + 1}_a_mask.png" for n in range(number)))
    for n in range(number):
        (root / "A" / f"{n}.dcm").write_bytes(b"x")
    return FolderReader().read(root, {"group_regex": r"(p\d)_"})


def table_faults(tree, number: int):
    """A table with `number` of each thing that the csv reader remarks on."""
    root = tree(*(f"{n}.png" for n in range(20)))
    rows = [f"{n}.png,{'xy'[n % 2]},P{n % 7}\n" for n in range(6)]
    for n in range(number):
        rows += [f"{n}.png,{'xy'[n % 2]},P{n}\n"]  # twice
        rows += [f"{6 + n}.png,x,\n", f"{6 + n}.png,y,\n"]  # two labels
        rows += [f"{8 + n}.png,,\n"]  # blank
        rows += [f"gone{n}.png,x,\n"]
    for n in range(10, 20 - number):
        rows += [f"{n}.png,x,P9\n"]
    (root / "t.csv").write_text("image,label,patient\n" + "".join(rows))
    return TableReader().read(root, {})


@pytest.mark.parametrize("number", [1, 2])
def test_folder_messages(tree, number):
    found = said(folder_faults(tree, number))
    assert {"missing-labels", "patient-ids-unusable", "stray-files"} <= found.keys()
    wrong = [m for m in found.values() if WRONG[number].search(m)]
    assert wrong == []
    names = "1 path names" if number == 1 else "2 paths name"
    assert f"{names} no patient by group_regex" in found["patient-ids-unusable"]


@pytest.mark.parametrize("number", [1, 2])
def test_table_messages(tree, number):
    found = said(table_faults(tree, number))
    assert {
        "csv-missing-files",
        "csv-duplicate-rows",
        "csv-contradictions",
        "missing-labels",
        "csv-unlisted-files",
    } <= found.keys()
    assert [m for m in found.values() if WRONG[number].search(m)] == []


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "1 paths name no patient"), (1, "1 image have no row"),
     (1, "1 of 5 rows of t.csv name no"),
     (2, "2 path names no patient"), (2, "2 images has no row"), (2, "2 of 5 rows names no")],
)  # fmt: skip
def test_the_test_tells_wrong_words(number, text):
    assert WRONG[number].search(text)
