"""`verify` and `inspect` on folders as people have them: no traceback, the next step."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from medimg.cli.main import run


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def pictures(tmp_path, write_image):
    """A function that writes five pictures a class into a folder under the given name."""

    def write(name: str, classes: tuple[str, ...] = ("a", "b"), **how) -> Path:
        for place, label in enumerate(classes):
            for number in range(5):
                path = tmp_path / name / label / f"{number}.png"
                write_image(path, seed=10 * place + number, **how)
        return tmp_path / name

    return write


@pytest.mark.parametrize("command", ["verify", "inspect"])
@pytest.mark.parametrize("size", [(50, 1), (1, 200), (1, 1)])
def test_pictures_one_pixel_wide(command, size, pictures, capsys):
    # pictures of one pixel may be equal by chance
    assert run([command, str(pictures("narrow", size=size)), "--json"]) in (0, 1)
    report = json.loads(capsys.readouterr().out)
    assert report["dataset"]["images"] == 10


@pytest.mark.parametrize("command", ["verify", "inspect"])
def test_blanks_and_other_scripts_in_names(command, pictures, capsys, recwarn):
    folder = pictures("ünï côde 日本", ("a klasse", "ß (2)"))
    assert run([command, str(folder)]) == 0
    said = capsys.readouterr()
    assert "ünï côde 日本: 10 images" in said.out
    # the next command can be pasted into a shell
    assert f"'{folder}'" in said.out
    assert not [w for w in recwarn if "Glyph" in str(w.message)]


@pytest.mark.parametrize("command", ["verify", "inspect"])
def test_all_black_pictures(command, pictures, capsys):
    code = run([command, str(pictures("black", value=0))])
    assert code == (1 if command == "verify" else 0)
    if command == "verify":
        assert "duplicates-across-classes: 1 picture stands in two classes" in (
            capsys.readouterr().out
        )


@pytest.mark.parametrize("command", ["verify", "inspect"])
@pytest.mark.parametrize("what", ["missing", "empty folder", "text file", "picture"])
def test_what_is_no_dataset(command, what, tmp_path, write_image, capsys):
    target = tmp_path / "odd"
    if what == "empty folder":
        (target / "a").mkdir(parents=True)
    elif what == "text file":
        target.write_text("no pictures here")
    elif what == "picture":
        target = write_image(tmp_path / "one.png")
    assert run([command, str(target)]) == 3
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("Error: ") and str(target) in error and hint.startswith("  ")


def test_links_are_followed_and_a_circle_ends(pictures, tmp_path, capsys):
    folder = pictures("set")
    (tmp_path / "links").mkdir()
    for label in ("a", "b"):
        (tmp_path / "links" / label).symlink_to(folder / label)
    for root, circle in ((tmp_path / "links", None), (folder, folder / "a" / "round")):
        if circle:
            circle.symlink_to(folder)
        assert run(["verify", str(root), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["dataset"]["images"] == 10


def test_a_link_to_nowhere_is_unreadable(pictures, capsys):
    folder = pictures("set")
    (folder / "b" / "gone.png").symlink_to("nowhere.png")
    assert run(["verify", str(folder), "--only", "unreadable", "--json"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert [row["file"] for row in finding["items"]] == ["b/gone.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(pictures, capsys):
    folder = pictures("set")
    os.mkfifo(folder / "b" / "pipe.png")
    assert run(["verify", str(folder), "--only", "unreadable", "--json"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert [row["file"] for row in finding["items"]] == ["b/pipe.png"]


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="this user may read everything"
)
def test_a_file_without_permission_is_unreadable(pictures, capsys):
    folder = pictures("set")
    (folder / "a" / "0.png").chmod(0)
    assert run(["verify", str(folder), "--only", "unreadable", "--json"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert finding["items"][0]["reason"] == "Permission denied"


@pytest.mark.parametrize("command", ["verify", "inspect"])
def test_a_run_folder_that_cannot_be_made(command, pictures, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert run([command, str(pictures("set")), "--out", str(tmp_path / "file")]) == 3
    assert "--out DIR" in capsys.readouterr().err


def test_a_single_picture_a_class(tmp_path, write_image, capsys):
    for label in "ab":
        write_image(tmp_path / "two" / label / "0.png")
    assert run(["inspect", str(tmp_path / "two")]) == 0
    capsys.readouterr()
    assert run(["verify", str(tmp_path / "two"), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert {f["check"] for f in report["findings"]} == {"small-class"}
