"""medimg evaluate RUN OTHER_DATASET: classes by --map, what differs, images of training refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import pytest

QUICK = ("--no-plots", "--resamples", "100", "--no-progress")


@pytest.fixture
def hospital(phantoms, tmp_path) -> Path:
    """Other phantoms, larger, as JPEG, under other class names."""
    from medimg.phantom import make_dataset

    make_dataset(tmp_path / "made", images=30, size_px=96, seed=5, faults=(), splits=(1.0, 0, 0))
    names = {"NORMAL": "normal", "PNEUMONIA": "covid"}
    for file in sorted((tmp_path / "made").rglob("*.png")):
        target = tmp_path / "hospital" / names[file.parent.name] / f"{file.stem}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(target), cv2.imread(str(file)) // 3)
    return tmp_path / "hospital"


MAPS = ("--map", "normal=NORMAL", "--map", "covid=PNEUMONIA")


def test_mapped_classes_and_what_differs(medimg, runs, hospital):
    answer = medimg("evaluate", "runs/two", hospital, *MAPS, *QUICK, "--json")
    assert answer.code == 0, answer.err
    result = answer.report["result"]
    assert result["images"] == 30
    assert result["confusion_matrix"]["labels"] == ["NORMAL", "PNEUMONIA"]
    external = result["external"]
    assert external["mapping"] == {"normal": "NORMAL", "covid": "PNEUMONIA"}
    told = "\n".join(external["differences"])
    assert "size: 64×64 px in training, 96×96 px here" in told
    assert "file formats: PNG in training, JPEG here" in told
    assert "mean grey level" in told
    assert "Unlike training: size" in answer.err
    assert result["threshold"]["chosen_on"] == "val"


def test_the_runs_own_data_are_not_external(medimg, runs):
    answer = medimg("evaluate", "runs/two", *QUICK, "--json")
    assert answer.report["result"]["external"] is None


def test_what_differs_without_the_training_images(medimg, train, phantoms, hospital):
    shutil.copytree(phantoms, "gone")
    assert train("a", data=Path("gone").resolve()).code == 0
    shutil.rmtree("gone")
    answer = medimg("evaluate", "runs/a", hospital, *MAPS, *QUICK, "--json")
    assert answer.code == 0, answer.err
    external = answer.report["result"]["external"]
    assert sum(external["training"]["classes"].values()) == external["training"]["images"]


def test_classes_that_need_a_map(medimg, runs, hospital):
    answer = medimg("evaluate", "runs/two", hospital, "--map", "normal=NORMAL", *QUICK)
    assert answer.code == 3
    assert "the class 'covid', which two does not know" in answer.err
    assert "--map covid=CLASS" in answer.err and "leave its images out: --map covid=" in answer.err
    left_out = ("--map", "normal=NORMAL", "--map", "covid=")
    result = medimg("evaluate", "runs/two", hospital, *left_out, *QUICK, "--json").report["result"]
    assert result["metrics"]["auroc"]["value"] is None
    assert result["metrics"]["auroc"]["reason"] == "no image of PNEUMONIA in this part"
    assert any("none here" in line for line in result["external"]["differences"])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("covd=PNEUMONIA", "hospital has no class 'covd'"),
        ("covid=PNEUMONA", "Did you mean 'PNEUMONIA'?"),
        ("covid", "is not KEY=VALUE"),
    ],
)
def test_maps_that_are_none(medimg, runs, hospital, given, told):
    answer = medimg("evaluate", "runs/two", hospital, "--map", given, *QUICK)
    assert answer.code == 2 and told in answer.err


def test_a_map_that_leaves_nothing_says_so(medimg, runs, hospital):
    answer = medimg("evaluate", "runs/two", hospital, "--map", "normal=", "--map", "covid=", *QUICK)
    assert answer.code == 2
    assert "--map leaves out every class of hospital" in answer.err
    assert "Keep one at least: --map " in answer.err


def test_images_of_training_are_refused(medimg, runs, phantoms, hospital):
    first = sorted((phantoms / "train/NORMAL").iterdir())[0]
    shutil.copy(first, hospital / "normal/again.png")
    line = ("evaluate", "runs/two", hospital, *MAPS, *QUICK)
    answer = medimg(*line)
    assert answer.code == 1
    assert "hospital is no external test: 1 of the 31 test images" in answer.err
    assert "again.png" in answer.err and "--allow training-images-in-test" in answer.err
    assert not list(Path("runs/two/evaluate").glob("*hospital*"))
    allowed = medimg(*line, "--allow", "training-images-in-test,patient-leakage", "--json")
    assert allowed.code == 0, allowed.err
    assert "training-images-in-test" in {f["check"] for f in allowed.report["findings"]}
    assert medimg(*line, "--allow", "blur").code == 2


def saved_again(source: Path, target: Path) -> None:
    """The same pixels in another file."""
    picture = cv2.imread(str(source), cv2.IMREAD_UNCHANGED)
    assert cv2.imwrite(str(target), picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert target.read_bytes() != source.read_bytes()


@pytest.mark.parametrize("old", [False, True])
def test_images_of_training_that_were_saved_again_are_refused(
    medimg, runs, phantoms, hospital, old
):
    """A run of before there were hashes of pixels asks its dataset."""
    if old:
        splits = Path("runs/two/splits.csv")
        lines = splits.read_text().splitlines()
        assert lines[0].endswith(",sha256,pixel_hash")
        splits.write_text("\n".join(line.rpartition(",")[0] for line in lines) + "\n")
    first = sorted((phantoms / "train/NORMAL").iterdir())[0]
    saved_again(first, hospital / "normal/again.png")
    answer = medimg("evaluate", "runs/two", hospital, *MAPS, *QUICK)
    assert answer.code == 1, answer.out
    assert "1 of the 31 test images are, pixel by pixel, images that the run" in answer.err
    assert "again.png" in answer.err


def test_a_blank_picture_is_no_image_of_training(medimg, train, phantoms, hospital):
    """Pictures of one grey are alike pixel by pixel without being copies."""
    import numpy as np

    data = Path("copy").resolve()
    shutil.copytree(phantoms, data)
    black = np.zeros((64, 64), np.uint8)
    assert cv2.imwrite(str(data / "train/NORMAL/black.png"), black)
    flat = [cv2.IMWRITE_PNG_COMPRESSION, 0]
    assert cv2.imwrite(str(hospital / "normal/black.png"), black, flat)
    assert train("blank", "--allow", "blank", data=data).code == 0
    answer = medimg("evaluate", "runs/blank", hospital, *MAPS, *QUICK)
    assert answer.code == 0, answer.err
