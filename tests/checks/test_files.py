"""Names that belie their content, files of several pictures, links that leave the folder."""

from __future__ import annotations

import io
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from medimg.core.checking import CheckContext, NotApplicable
from medimg.core.scan import ScanRecord, scan
from medimg.core.types import DatasetIndex, Sample
from medimg.manager import plugins
from medimg.opening import open_dataset


def opened(root: Path, **options: str) -> CheckContext:
    manager = plugins()
    index = open_dataset(
        str(root), layout=None, options=options, manager=manager, registry=manager.registry()
    )
    return CheckContext(index, scan(index))


def encoded(pixels: np.ndarray, suffix: str) -> bytes:
    return cv2.imencode(suffix, pixels)[1].tobytes()


def written(root: Path, files: dict[str, np.ndarray]) -> Path:
    """PNG pictures under a folder."""
    for name, pixels in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encoded(pixels, ".png"))
    return root


# -- wrong-extension ---------------------------------------------------------------------------


def test_files_of_another_format_than_their_name_are_named(planted, noise, run_check):
    files = {
        "a/really_png.jpg": encoded(noise(1), ".png"),
        "a/really_jpeg.png": encoded(noise(2), ".jpg"),
        "b/really_bmp.tif": encoded(noise(3), ".bmp"),
        "b/right.png": noise(4),
    }
    (finding,) = run_check("wrong-extension", planted(files))
    assert (finding.severity, finding.count) == ("warning", 3)
    assert {(row["file"], row["format"]) for row in finding.items} == {
        ("a/really_png.jpg", "PNG"),
        ("a/really_jpeg.png", "JPEG"),
        ("b/really_bmp.tif", "BMP"),
    }
    assert "1 .jpg are PNG" in finding.message
    assert finding.message.startswith("3 files are of another format")


def test_one_file_of_another_format_is_told_in_the_singular(planted, noise, run_check):
    files = {"a/png.jpg": encoded(noise(1), ".png"), "b/right.png": noise(4)}
    (finding,) = run_check("wrong-extension", planted(files))
    assert finding.message.startswith("1 file is of another format")


def test_spellings_of_one_format_are_silent(planted, noise, run_check):
    spellings = ("jpg", "JPG", "jpeg", "jpe", "jfif", "tif", "TIFF", "png", "PNG", "bmp", "webp")
    formats = {"jfif": "jpg", "jpe": "jpg"}
    files = {
        f"{'ab'[n % 2]}/{n}.{end}": encoded(noise(n), "." + formats.get(end.lower(), end.lower()))
        for n, end in enumerate(spellings)
    }
    context = planted(files)
    assert len(context.readable()) == len(spellings)
    assert run_check("wrong-extension", context) == []


@pytest.mark.parametrize("path", ["scan", "folder.png/scan", "scan.0001", "set.npz::train/3"])
def test_names_that_name_no_format_are_silent(path, run_check):
    index = DatasetIndex("d", Path("d"), "csv", None, (Sample(path, "a"),), ("a",))
    context = CheckContext(index, {path: ScanRecord("", format="JPEG")})
    assert run_check("wrong-extension", context) == []


# -- multi-frame -------------------------------------------------------------------------------


def film(kind: str, frames: int) -> bytes:
    pictures = [Image.fromarray(np.full((24, 24), 40 * n, np.uint8)) for n in range(frames)]
    file = io.BytesIO()
    pictures[0].save(file, kind, save_all=True, append_images=pictures[1:])
    return file.getvalue()


def test_files_of_several_pictures_are_named_the_fullest_first(planted, noise, run_check):
    files = {
        "a/pages.tif": film("TIFF", 3),
        "a/one_page.tif": film("TIFF", 1),
        "a/moving.webp": film("WEBP", 2),
        "b/moving.png": film("PNG", 4),
        "b/still.png": noise(1),
    }
    (finding,) = run_check("multi-frame", planted(files))
    assert [(row["file"], row["frames"]) for row in finding.items] == [
        ("b/moving.png", 4),
        ("a/pages.tif", 3),
        ("a/moving.webp", 2),
    ]
    assert (finding.severity, finding.count) == ("warning", 3)
    assert "(6 are not)" in finding.message and "b/moving.png has 4" in finding.message


def test_single_pictures_are_silent(planted, noise, run_check):
    files = {"a/1.png": noise(1), "a/2.tif": noise(2), "b/3.webp": noise(3), "b/4.jpg": noise(4)}
    assert run_check("multi-frame", planted(files)) == []


# -- outside-link ------------------------------------------------------------------------------


@pytest.fixture
def linked(tmp_path, noise):
    """A dataset with links: to a folder and a file elsewhere, and within itself."""
    elsewhere = written(tmp_path / "elsewhere", {f"{n}.png": noise(n) for n in range(3)})
    root = written(tmp_path / "set", {f"a/{n}.png": noise(10 + n) for n in range(2)})
    written(root, {"b/own.png": noise(20)})
    os.symlink(elsewhere, root / "b" / "far", target_is_directory=True)
    os.symlink(elsewhere / "1.png", root / "a" / "single.png")
    os.symlink(root / "a" / "0.png", root / "a" / "again.png")
    return root


def test_links_that_leave_the_folder_are_named_with_what_lies_behind(linked, run_check):
    (finding,) = run_check("outside-link", opened(linked))
    assert finding.severity == "warning"
    assert finding.count == 4
    assert finding.items == (
        {"file": "b/far", "target": str(linked.parent / "elsewhere"), "images": 3},
        {"file": "a/single.png", "target": str(linked.parent / "elsewhere/1.png"), "images": 1},
    )
    assert "4 images lie outside the dataset's folder, behind 2 symbolic links" in finding.message


def test_a_folder_that_is_itself_reached_through_a_link_is_silent(tmp_path, noise, run_check):
    root = written(tmp_path / "real", {f"{label}/1.png": noise(1) for label in "ab"})
    os.symlink(root, tmp_path / "way", target_is_directory=True)
    assert run_check("outside-link", opened(tmp_path / "way")) == []


def test_a_neighbour_whose_name_begins_alike_is_outside(tmp_path, noise, run_check):
    root = written(tmp_path / "set", {f"{label}/1.png": noise(1) for label in "ab"})
    written(tmp_path / "set2", {"2.png": noise(2)})
    os.symlink("../../set2/2.png", root / "a" / "2.png")
    (finding,) = run_check("outside-link", opened(root))
    assert finding.items == ({"file": "a/2.png", "target": "../../set2/2.png", "images": 1},)


def test_a_table_may_name_files_elsewhere_in_plain_words(tmp_path, noise, run_check):
    written(tmp_path / "pictures", {f"{n}.png": noise(n) for n in range(4)})
    folder = tmp_path / "table"
    folder.mkdir()
    rows = [f"../pictures/{n}.png,{'ab'[n % 2]}" for n in range(3)]
    rows.append(f"{tmp_path / 'pictures' / '3.png'},b")
    (folder / "labels.csv").write_text("\n".join(["image,label", *rows]))
    context = opened(folder / "labels.csv")
    assert len(context.readable()) == 4
    assert run_check("outside-link", context) == []


def test_arrays_have_no_links(tmp_path, run_check):
    images = np.random.default_rng(0).integers(0, 256, (8, 28, 28), np.uint8)
    parts = {f"{part}_images": images for part in ("train", "val", "test")}
    parts |= {f"{part}_labels": np.arange(8)[:, None] % 2 for part in ("train", "val", "test")}
    np.savez(tmp_path / "set.npz", **parts)
    with pytest.raises(NotApplicable, match="no files in a folder"):
        run_check("outside-link", opened(tmp_path / "set.npz"))


def test_a_file_of_which_no_frame_is_read_is_an_error(small_set, planted, run_check):
    from dataclasses import replace

    context = planted(small_set)
    path = next(iter(context.scan))
    record = context.scan[path]._replace(error="it holds 9 frames", kind="multi-frame")
    several = replace(context, scan={**context.scan, path: record})
    (finding,) = run_check("multi-frame", several)
    assert (finding.severity, finding.items[0]["file"]) == ("error", path)
    assert "none is read" in finding.message
    (unread,) = run_check("unreadable", several)
    assert "1 multi-frame" in unread.message
