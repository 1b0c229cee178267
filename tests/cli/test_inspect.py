"""medimg inspect: what it says of a dataset, held to NumPy, and the pictures that it draws."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from medimg.cli.main import run
from medimg.core.report import check_shape


@dataclass
class Result:
    exit_code: int
    stdout: str
    stderr: str


def call(*arguments: object, cwd: Path) -> Result:
    """The command line, as a shell would call it."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(["inspect", *map(str, arguments), "--out", str(cwd / "runs"), "--name", "look"])
    return Result(code, out.getvalue(), err.getvalue())


def report_of(*arguments: object, cwd: Path) -> dict:
    result = call(*arguments, "--json", cwd=cwd)
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert check_shape(report) == []
    return report


@pytest.fixture
def mixed(tmp_path) -> tuple[Path, dict[str, list[np.ndarray]]]:
    """Two classes of different brightness; sizes, modes and formats that can be counted."""
    random, pixels = np.random.default_rng(0), {"dark": [], "light": []}
    for number in range(12):
        for label, low in (("dark", 0), ("light", 128)):
            image = random.integers(low, low + 128, (20, 30 if number < 8 else 40), np.uint8)
            pixels[label].append(image)
            suffix = ".bmp" if number < 3 else ".png"
            stored = np.dstack([image] * 3) if number < 6 else image
            file = tmp_path / "set" / "train" / label / f"p{number // 2}{label}_{number}{suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(cv2.imencode(suffix, stored)[1].tobytes())
    return tmp_path / "set", pixels


def test_what_is_there_is_counted(mixed, tmp_path):
    root, _ = mixed
    result = report_of(root, "-o", r"group_regex=(p\d+\w+?)_", cwd=tmp_path)["result"]
    assert result["sizes"]["width"] == {"min": 30, "median": 30, "max": 40}
    assert result["sizes"]["commonest"][0] == {"width": 30, "height": 20, "images": 16}
    assert result["sizes"]["distinct"] == 2
    assert result["modes"] == {"RGB": 12, "L": 12}
    assert result["formats"] == {"PNG": 18, "BMP": 6}
    assert result["groups"]["patients"] == 12
    assert result["groups"]["images_per_patient"] == {"min": 2, "median": 2, "max": 2}
    assert result["groups"]["with_several_classes"] == 0


def test_intensities_are_those_of_numpy(mixed, tmp_path):
    root, pixels = mixed
    intensity = report_of(root, cwd=tmp_path)["result"]["intensity"]
    for label, images in pixels.items():
        got = intensity["by_class"][label]
        assert got["mean"] == pytest.approx(np.mean([i.mean() for i in images]), abs=1e-6)
        # every image counts alike, whatever its size
        moment = np.mean([(i.astype(float) ** 2).mean() for i in images])
        assert got["std"] == pytest.approx(np.sqrt(moment - got["mean"] ** 2), abs=1e-6)
        together = np.concatenate([i.ravel() for i in images])
        for p, value in got["percentiles"].items():
            assert value == pytest.approx(np.percentile(together, float(p)), abs=5)
    assert intensity["all"]["mean"] == pytest.approx(
        np.mean([v["mean"] for v in intensity["by_class"].values()])
    )


def test_patients_that_are_unknown_are_null(mixed, tmp_path):
    assert report_of(mixed[0], cwd=tmp_path)["result"]["groups"] is None


def test_the_plots_are_pictures(mixed, tmp_path):
    plots = report_of(mixed[0], "-o", r"group_regex=(p\d+\w+?)_", cwd=tmp_path)["result"]["plots"]
    names = {"classes", "samples", "intensities", "sizes", "patients"}
    assert {Path(p).stem for p in plots} == names
    for plot in plots:
        image = cv2.imread(str(tmp_path / "runs" / "look" / plot))
        assert image is not None and min(image.shape[:2]) > 200
        assert image.std() > 5, f"{plot} is blank"


def test_what_is_printed(mixed, tmp_path):
    result = call(mixed[0], cwd=tmp_path)
    for words in (
        "24 images",
        "30–40 × 20 px (width × height), 2 distinct, most often 30×20 (16)",
        "RGB 12, L 12",
        "Patients     unknown",
        "Next: medimg verify",
    ):
        assert words in result.stdout, words


def test_a_file_in_error_is_counted_out_and_said(mixed, tmp_path):
    root, _ = mixed
    (root / "train" / "dark" / "empty.png").write_bytes(b"")
    result = call(root, cwd=tmp_path)
    assert result.exit_code == 0
    assert "1 image can't be decoded" in result.stderr


def test_a_set_without_one_readable_picture_still_reports(tmp_path):
    for label in "ab":
        (tmp_path / "set" / label).mkdir(parents=True)
        (tmp_path / "set" / label / "1.png").write_bytes(b"no image")
    result = report_of(tmp_path / "set", cwd=tmp_path)["result"]
    assert result["intensity"]["all"] == {"mean": None, "std": None, "percentiles": None}
    assert result["modes"] == {} and result["sizes"]["width"] is None


def test_phantoms_are_called_phantoms(tmp_path, monkeypatch):
    """Also where the dataset is an index of theirs that lies elsewhere."""
    from medimg.core.index import write_index_csv
    from medimg.manager import plugins
    from medimg.opening import open_dataset
    from medimg.phantom import make_dataset
    from medimg.reports import plots

    make_dataset(tmp_path / "set", images=12, size_px=64, faults=())
    manager = plugins()
    given = {"layout": None, "options": {}, "manager": manager, "registry": manager.registry()}
    index = open_dataset(str(tmp_path / "set"), **given)
    (tmp_path / "far" / "away").mkdir(parents=True)
    table = write_index_csv(index, tmp_path / "far" / "away" / "clean.csv")
    assert plots.is_phantom(index) and plots.is_phantom(open_dataset(str(table), **given))
    titles = []
    monkeypatch.setattr(
        "matplotlib.figure.Figure.suptitle", lambda self, text, **_: titles.append(text)
    )
    assert call(table, cwd=tmp_path).exit_code == 0
    assert len(titles) >= 4 and all("phantom" in title for title in titles)


@pytest.mark.parametrize(
    ("name", "images", "classes"),
    [
        ("brain_tumor_mri", 893, 4),
        ("idc_breast_histopathology", 1658, 2),
        ("wbc_zheng_csv", 141, 5),
        ("breakhis_mini", 7, 2),
    ],
)
def test_real_samples(shared_data, tmp_path, name, images, classes):
    report = report_of(shared_data / name, cwd=tmp_path)
    assert report["dataset"]["images"] == images
    assert len(report["dataset"]["classes"]) == classes
    assert sum(report["result"]["modes"].values()) == images


def test_the_augmentation_grid_shows_what_a_network_will_see(medimg, phantoms):
    """The dataset's own preset, which the registry knows to be anatomically wrong, is a note."""
    answer = medimg("inspect", phantoms, "--augment", "--name", "a", "--json")
    assert answer.code == 0, answer.err
    result = answer.report["result"]
    assert result["plots"][-1] == "plots/augmentation.png"
    assert result["augmentation"]["preset"] == "chest-xray"
    assert result["augmentation"]["bounds"]["horizontal_flip"] is True
    assert result["augmentation"]["image_size"] == 64
    (finding,) = [f for f in answer.report["findings"] if f["check"] == "augmentation-anatomy"]
    assert finding["severity"] == "info"
    assert "heart on the right" in finding["message"]
    plot = cv2.imread("runs/a/plots/augmentation.png")
    assert plot is not None and plot.shape[1] > 1000


def test_a_preset_over_the_datasets_own_is_a_warning(medimg, phantoms):
    answer = medimg("inspect", phantoms, "--augment", "histology", "--name", "a", "--json")
    (finding,) = [f for f in answer.report["findings"] if f["check"] == "augmentation-anatomy"]
    assert (finding["severity"], finding["count"]) == ("warning", 2)
    assert "vertical flip: no chest film is upside down" in finding["message"]
    assert "Warning: augmentation-anatomy" in answer.err
    assert medimg("inspect", phantoms, "--augment", "light", "--name", "b").code == 0
    answer = medimg("inspect", phantoms, "--augment", "histolgy", "--name", "c")
    assert answer.code == 2 and "Did you mean 'histology'?" in answer.err
    assert not Path("runs/c").exists()


def test_the_grid_is_drawn_as_training_draws(tmp_path):
    """Row by row: the picture, then what a loader with the same seed gives in each epoch."""
    from unittest.mock import patch

    from medimg.core.augment import Augmentation
    from medimg.core.cache import PixelSpec
    from medimg.core.loader import Loader
    from medimg.core.types import DatasetIndex, Sample
    from medimg.reports import plots_augmentation as module

    pixels = np.random.default_rng(0).integers(0, 255, (4, 24, 24, 1), np.uint8)

    class Arrays:
        def read(self, path):
            return pixels[int(path)]

    samples = tuple(Sample(str(n), "ab"[n % 2], split="train") for n in range(4))
    index = DatasetIndex("d", tmp_path, "folder", Arrays(), samples, ("a", "b"))
    preset = Augmentation(rotation_deg=20, shift=0.1, brightness=0.2, horizontal_flip=True)
    shown = []
    kept = module.save
    with patch.object(
        module, "save", lambda figure, *a, **k: (shown.append(figure), kept(figure, *a, **k))
    ):
        module.augmentation_grid(
            index,
            list(samples),
            preset,
            PixelSpec(24, 24, 1),
            tmp_path / "a.png",
            preset="x",
            seed=5,
        )
    images = [axis.images[0].get_array() for axis in shown[0].axes if axis.images]
    loader = Loader(pixels, np.arange(4), np.arange(4) % 2, 2, 4, augmentation=preset, seed=5)
    order = [0, 2, 1, 3]
    for row, place in enumerate(order):
        np.testing.assert_array_equal(images[row * 7], pixels[place].squeeze())
        for epoch in range(6):
            (batch,) = loader.augmented(epoch, 4)
            np.testing.assert_array_equal(images[row * 7 + 1 + epoch], batch[place].squeeze())


def test_percentiles_at_the_ends_are_those_of_the_pixels(tmp_path):
    random = np.random.default_rng(3)
    images = []
    for number in range(6):
        pixels = random.integers(0, 256, (40, 40)).astype(np.uint8)
        pixels[:10], pixels[-4:] = 0, 255
        images.append(pixels)
        file = tmp_path / "set" / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(file), pixels)
    got = report_of(tmp_path / "set", cwd=tmp_path)["result"]["intensity"]["all"]["percentiles"]
    together = np.concatenate([i.ravel() for i in images])
    assert (got["1"], got["99"]) == (0, 255)
    for p, value in got.items():
        assert value == pytest.approx(np.percentile(together, float(p)), abs=2)
