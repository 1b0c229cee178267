"""Files beside the images that are no images."""

from __future__ import annotations

import cv2
import pytest

from medimg.api import InputError


def test_strays_are_information_and_named(planted, run_check, small_set):
    strays = {"train/a/.DS_Store": b"\0\0\0\1Bud1", "__MACOSX/train/a/._p0_1.png": b"x"}
    context = planted(small_set | strays)
    (finding,) = run_check("stray-files", context)
    assert finding.severity == "info"
    assert {row["file"] for row in finding.items} >= {"train/a/.DS_Store"}
    assert len(context.index) == len(small_set)


def test_a_dicom_file_among_images_is_told_once(planted, run_check, small_set):
    context = planted(small_set | {"train/a/zero.dcm": b"", "train/a/Thumbs.db": b"x"})
    (read,) = [f for f in context.index.findings if f.check == "stray-files"]
    assert read.items == ({"file": "train/a/zero.dcm"},)
    (finding,) = run_check("stray-files", context)
    assert finding.items == ({"file": "train/a/Thumbs.db"},)


def test_documents_beside_a_table_of_labels_are_expected(planted, run_check, small_set):
    files = {f"im/{n}.png": pixels for n, pixels in enumerate(small_set.values())}
    rows = "".join(f"{n}.png,{'ab'[n % 2]}\n" for n in range(len(files)))
    beside = {"README": b"x", "other.xlsx": b"x", "note.txt": b"x", "codes.json": b"{}"}
    table = {"labels.csv": f"image,label\n{rows}".encode()}
    context = planted(files | beside | table, labels="labels.csv")
    assert context.index.layout == "csv" and run_check("stray-files", context) == []
    context = planted(files | {"im/note.txt": b"x", ".DS_Store": b"x"}, labels="labels.csv")
    (finding,) = run_check("stray-files", context)
    assert {row["file"] for row in finding.items} == {".DS_Store", "im/note.txt"}


def test_pictures_without_an_extension_are_warned_of(planted, run_check, small_set, noise):
    jpeg = cv2.imencode(".jpg", noise(99))[1].tobytes()
    png = cv2.imencode(".png", noise(98))[1].tobytes()
    told = {"train/a/IM0001": jpeg, "train/b/scan.jpg.bak": jpeg, "test/b/1.2.840": png}
    silent = {"train/a/LICENSE": b"text", "train/a/.hidden": jpeg, "train/a/sound.mid": jpeg}
    context = planted(small_set | told | silent)
    (finding,) = [f for f in context.index.findings if f.check == "wrong-extension"]
    assert (finding.severity, finding.count) == ("warning", 3)
    assert {row["file"]: row["format"] for row in finding.items} == {
        "train/a/IM0001": "JPEG", "train/b/scan.jpg.bak": "JPEG", "test/b/1.2.840": "PNG",
    }  # fmt: skip
    assert "(2 JPEG, 1 PNG) and are not read" in finding.message
    (strays,) = run_check("stray-files", context)
    assert {row["file"] for row in strays.items} == set(silent)


def test_a_folder_of_pictures_without_extensions_says_how_to_name_them(planted, noise):
    jpeg = cv2.imencode(".jpg", noise(99))[1].tobytes()
    with pytest.raises(InputError, match=r"no image in .*2 no suffix") as refused:
        planted({"a/1": jpeg, "b/1": jpeg}, layout="folder")
    assert ".jpg" in refused.value.hint
