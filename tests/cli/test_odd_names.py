"""File names as disks hold them: bytes that are no UTF-8, blanks, quotes, line ends, emoji."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from medimg.cli.main import run

NAMES = {
    "latin-1": [b"r\xe9sum\xe9 ", b"a\xff\xfe"],
    "marks": [b'a b,c "q" ', b"line\nbreak ", b"it's; $x ", "Ünï 🫁 ".encode()],
}
# several commands in one process, started as the console script starts it
PROGRAM = """
import json, sys
from medimg.cli.main import printable, run
sys.stdout, sys.stderr = printable(sys.stdout), printable(sys.stderr)
for line in json.loads(sys.argv[1]):
    print("rc", run(line.split("|")), line, flush=True)
"""


@pytest.fixture(params=NAMES)
def oddly_named(request, tmp_path, write_image):
    """A dataset of two classes in train and test, a picture of train once more in test."""
    number = 0
    for split, images in (("train", 10), ("test", 5)):
        for label in ("NORMAL", "PNEUMONIA"):
            for name in NAMES[request.param]:
                for _ in range(images):
                    number += 1
                    made = write_image(tmp_path / "in" / f"{number}.png", number, (24, 24))
                    folder = tmp_path / "data" / split / label
                    folder.mkdir(parents=True, exist_ok=True)
                    odd = os.fsencode(folder) + b"/" + name + str(number).encode() + b".png"
                    try:
                        os.rename(os.fsencode(made), odd)
                    except OSError:
                        pytest.skip("this disk takes no such names")
    copied = sorted(os.listdir(os.fsencode(tmp_path / "data" / "train" / "NORMAL")))[0]
    source = os.fsencode(tmp_path / "data" / "train" / "NORMAL") + b"/" + copied
    target = os.fsencode(tmp_path / "data" / "test" / "NORMAL") + b"/x" + copied
    Path(os.fsdecode(target)).write_bytes(Path(os.fsdecode(source)).read_bytes())
    return tmp_path / "data"


def commands(folder: Path, *lines: str, encoding: str = "utf-8") -> list[int]:
    """The exit codes of command lines, run one after the other beside the dataset."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(lines)],
        cwd=folder.parent,
        env={**os.environ, "PYTHONIOENCODING": encoding, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        timeout=120,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode(errors="replace")
    told = [line for line in done.stdout.splitlines() if line.startswith(b"rc ")]
    assert len(told) == len(lines), done.stderr.decode(errors="replace")
    return [int(line.split()[1]) for line in told]


def column(file: Path, name: str) -> list[str]:
    with file.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
        return [row[name] for row in csv.DictReader(stream)]


def test_every_command_takes_odd_names(oddly_named):
    beside = oddly_named.parent
    codes = commands(
        oddly_named,
        "verify|data|--write-clean|clean.csv|--html|--name|v",
        "verify|clean.csv|--name|w",
        "inspect|clean.csv|--html|--name|i",
        "split|clean.csv|--name|s",
        "train|clean.csv|--splits|runs/s/splits.csv|--backend|linear|--epochs|1|--name|t",
        "evaluate|runs/t",
        "predict|runs/t|data/test/NORMAL|--csv|p.csv",
    )
    # the copy on two sides is an error of the set, and left out of the clean one
    assert codes == [1, 0, 0, 0, 0, 0, 0]
    there = {os.path.relpath(p, beside) for p in oddly_named.rglob("*.png")}
    clean = column(beside / "clean.csv", "image")
    assert len(clean) == len(there) - 1 and set(clean) < there
    assert column(beside / "runs/s/splits.csv", "path") == sorted(clean)
    told = column(beside / "runs/t/predictions/val.csv", "path")
    told += column(beside / "runs/t/evaluate/test/predictions.csv", "path")
    assert told and set(told) < there
    assert set(column(beside / "p.csv", "path")) == {p for p in there if "test/NORMAL" in p}
    for report in beside.glob("runs/**/report.json"):
        json.loads(report.read_text(encoding="utf-8"))
    again = json.loads((beside / "runs/w/report.json").read_text(encoding="utf-8"))
    told = [f for f in again["findings"] if f["check"].startswith("csv-")]
    # the one that was left out lies beside the index
    assert [(f["check"], f["severity"]) for f in told] == [("csv-unlisted-files", "info")]
    assert list(beside.glob("runs/v/*.html")) and list(beside.glob("runs/i/*.html"))


@pytest.mark.parametrize("encoding", ["ascii"])
def test_a_terminal_that_lacks_the_letters(oddly_named, encoding):
    assert commands(oddly_named, "verify|data", encoding=encoding) == [1]


def test_control_characters_of_names_are_escaped_where_findings_are_told(
    tmp_path, write_image, capsys
):
    for n, name in enumerate(("a/x\ny.png", "a/\x1b[31mred.png", "b/1.png", "b/2.png")):
        write_image(tmp_path / "set" / name, n, (24, 24))
    (tmp_path / "set" / "a" / "em\npty.png").write_bytes(b"")
    args = [str(tmp_path / "set"), "--out", str(tmp_path / "runs"), "--name", "v"]
    assert run(["verify", *args]) == 1
    said = capsys.readouterr()
    assert r"a/em\npty.png" in said.out and "\npty.png" not in said.out + said.err
    assert "\x1b[31mred" not in said.out + said.err
    # reading is not the whole of what a run takes
    assert re.search(r"\(read at [\d,]+ images/s\)", said.out)
    report = json.loads((tmp_path / "runs" / "v" / "report.json").read_text())
    (empty,) = [f for f in report["findings"] if f["check"] == "empty-file"]
    assert empty["items"][0]["file"] == "a/em\npty.png"
