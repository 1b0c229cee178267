"""`medimg predict` on a linear network whose answers can be worked out by hand."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from medimg.api import Batch, ModelSpec, Objective, Optimizer
from medimg.cli.main import run
from medimg.commands.predict import labels_of

engine = pytest.importorskip("medimg_linear.engine")

SPEC = ModelSpec("logistic", "logistic", (), ("flatten",), 8, 8, 1, 1)
CARD = {
    "backend": "linear",
    "spec": asdict(SPEC),
    "classes": ["bright", "dark"],
    "positive": "dark",
    "resize": "squash",
    "precision": "float32",
    "threshold": {"value": 0.3, "rule": "youden", "chosen_on": "val"},
}


def pictures(labels: np.ndarray) -> np.ndarray:
    """UInt8[N, 8, 8, 1]: class 0 is bright, class 1 dark, with noise."""
    draw = np.random.default_rng(0)
    images = draw.normal(150, 40, (len(labels), 8, 8, 1)) - 60 * labels[:, None, None, None]
    return images.clip(0, 255).astype(np.uint8)


@pytest.fixture
def network(tmp_path, monkeypatch):
    """A trained network, and its run folder under runs/lin."""
    monkeypatch.chdir(tmp_path)
    made, _ = engine.LinearBackend().build(SPEC, 0)
    made.prepare(Objective(), Optimizer(), 0)
    labels = np.arange(64) % 2
    batch = Batch(
        pictures(labels), np.eye(2, dtype=np.float32)[labels], np.ones(64, np.float32), 64
    )
    made.train_epoch(
        iter([batch] * 30),
        np.full((30, 1), 0.01, np.float32),
        seed=0,
        on_step=lambda step, loss: True,
    )
    folder = tmp_path / "runs" / "lin"
    (folder / "model").mkdir(parents=True)
    made.save(folder / "model", training=False)
    (folder / "model" / "model.json").write_text(json.dumps(CARD))
    (folder / "recipe.yaml").write_text("model: logistic\n")
    (folder / "report.json").write_text(
        json.dumps({"schema": "medimg.report/1", "command": "train"})
    )
    return made


@pytest.fixture
def images(network, tmp_path):
    """Six pictures of 8×8 in a folder, one of them a folder deeper."""
    folder = tmp_path / "new"
    (folder / "more").mkdir(parents=True)
    pixels = pictures(np.array([0, 1, 0, 1, 0, 1]))
    names = ["a.png", "b.png", "c.png", "d.png", "e.png", "more/f.png"]
    for name, image in zip(names, pixels, strict=True):
        assert cv2.imwrite(str(folder / name), image)
    return [f"new/{name}" for name in names], pixels


def expected(network, pixels: np.ndarray) -> np.ndarray:
    """Float[N], probability of the second class: the sigmoid of the logit's difference."""
    logits = np.concatenate(list(network.predict(iter([pixels])))).astype(float)
    return 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))


def test_probabilities_of_a_folder(network, images, capsys):
    paths, pixels = images
    assert run(["predict", "runs/lin", "new", "--json", "--name", "p"]) == 0
    report = json.loads(capsys.readouterr().out)
    result = report["result"]
    assert [row["path"] for row in result["predictions"]] == paths
    dark = expected(network, pixels)
    got = [row["probabilities"]["dark"] for row in result["predictions"]]
    np.testing.assert_allclose(got, dark, rtol=1e-6)
    assert 0.05 < dark.std()
    np.testing.assert_allclose(
        [sum(row["probabilities"].values()) for row in result["predictions"]], 1, rtol=1e-12
    )
    assert [row["label"] for row in result["predictions"]] == [
        "dark" if p >= 0.3 else "bright" for p in dark
    ]
    assert (result["run"], result["classes"], result["threshold"], result["failed"]) == (
        "lin",
        ["bright", "dark"],
        0.3,
        [],
    )
    assert report["environment"]["backend"]["name"] == "linear"
    assert json.loads(Path("runs/p/report.json").read_text()) == report


def test_csv_on_standard_output_and_in_a_file_is_the_same(network, images, capsys):
    paths, pixels = images
    assert (
        run(
            [
                "predict",
                "runs/lin",
                paths[1],
                paths[0],
                "--format",
                "csv",
                "--csv",
                "x.csv",
                "--name",
                "p",
            ]
        )
        == 0
    )
    out = capsys.readouterr().out
    assert out == Path("x.csv").read_text() == Path("runs/p/predictions.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == ["path", "label", "prob_bright", "prob_dark"]
    assert [row["path"] for row in rows] == [paths[1], paths[0]]
    np.testing.assert_allclose(
        [float(row["prob_dark"]) for row in rows], expected(network, pixels[[1, 0]]), rtol=1e-6
    )


def test_only_predictions_are_overwritten(images, capsys):
    line = ["predict", "runs/lin", "new", "-q", "--csv"]
    labels = "path,label\na.png,dark\n"
    Path("mylabels.csv").write_text(labels)
    Path("folder.csv").mkdir()
    for name, why in (("mylabels.csv", "holds no predictions"), ("folder.csv", "is a folder")):
        assert run([*line, name]) == 3
        err = capsys.readouterr().err
        assert why in err and "--csv" in err.splitlines()[-1]
    assert Path("mylabels.csv").read_text() == labels
    assert not list(Path("runs").glob("*predict*"))
    Path("empty.csv").touch()
    for name in ("x.csv", "x.csv", "empty.csv"):
        assert run([*line, name]) == 0
    assert Path("x.csv").read_text() == Path("empty.csv").read_text() != ""


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="there is no /dev/full here")
def test_a_device_is_not_replaced(images, capfd):
    assert run(["predict", "runs/lin", "new", "-q", "--csv", "/dev/full"]) == 3
    assert "Error: the disk is full: /dev/full can't be written" in capfd.readouterr().err
    assert Path("/dev/full").is_char_device()
    assert run(["predict", "runs/lin", "new", "-q", "--csv", "/dev/null"]) == 0
    assert Path("/dev/null").is_char_device()


def test_the_table_says_how_the_class_follows(images, capsys):
    assert run(["predict", "runs/lin", "new"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["image", "class", "p(bright)", "p(dark)"]
    assert len([line for line in out.splitlines() if line.startswith("new/")]) == 6
    assert "The class is dark from a probability of 0.3 up (youden, chosen on val)." in out


def test_pictures_of_another_size_and_mode_are_brought_to_the_network(network, tmp_path, capsys):
    flat = np.full((40, 24, 3), 70, np.uint8)
    assert cv2.imwrite("large.jpg", flat)
    assert run(["predict", "runs/lin", "large.jpg", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["result"]["predictions"]
    dark = expected(network, np.full((1, 8, 8, 1), 70, np.uint8))[0]
    assert row["probabilities"]["dark"] == pytest.approx(dark, rel=0.02)


def test_unreadable_files_are_named_and_the_others_predicted(images, capsys):
    Path("new/broken.png").write_bytes(b"no picture")
    assert run(["predict", "runs/lin", "new", "gone.png", "--json"]) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)["result"]
    assert len(result["predictions"]) == 6
    assert [item["file"] for item in result["failed"]] == ["new/broken.png", "gone.png"]
    assert "new/broken.png can't be read" in printed.err
    assert "gone.png can't be read: No such file or directory" in printed.err


def test_nothing_readable_is_an_error(images, capsys):
    Path("broken.png").write_bytes(b"no picture")
    assert run(["predict", "runs/lin", "broken.png", "gone.png"]) == 3
    err = capsys.readouterr().err
    assert err.startswith("Error: no image could be read\n  broken.png: ")
    assert "\n  gone.png: No such file or directory\n" in err


def test_a_folder_without_images_is_an_error(images, capsys):
    Path("empty").mkdir()
    assert run(["predict", "runs/lin", "empty"]) == 3
    assert capsys.readouterr().err.startswith("Error: the folder empty holds no image")


def test_a_run_that_does_not_exist(images, capsys):
    assert run(["predict", "runs/nn", "new"]) == 3
    assert capsys.readouterr().err.startswith("Error: the run folder runs/nn does not exist")


def test_more_images_than_a_batch_keep_their_order(network, tmp_path, capsys):
    Path("many").mkdir()
    pixels = pictures(np.arange(150) % 2)
    for number, image in enumerate(pixels):
        assert cv2.imwrite(f"many/{number:03}.png", image)
    Path("many/070x.png").write_bytes(b"broken")
    assert run(["predict", "runs/lin", "many", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    got = [row["probabilities"]["dark"] for row in result["predictions"]]
    np.testing.assert_allclose(got, expected(network, pixels), rtol=1e-6)
    assert len(result["failed"]) == 1


def test_labels_without_a_threshold_or_with_more_classes_are_the_likeliest():
    table = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    card = {"classes": ["a", "b", "c"], "positive": None, "threshold": None}
    assert labels_of(table, card) == ["b", "a"]
    two = {"classes": ["a", "b"], "positive": "b", "threshold": None}
    assert labels_of(np.array([[0.6, 0.4], [0.5, 0.5], [0.4, 0.6]]), two) == ["a", "a", "b"]
    first = {"classes": ["a", "b"], "positive": "a", "threshold": {"value": 0.7}}
    assert labels_of(np.array([[0.6, 0.4], [0.7, 0.3]]), first) == ["b", "a"]


# -- what plugins read ---------------------------------------------------------------------------


def predicted(*paths: str) -> dict[str, float]:
    """Path to the probability of dark, and nothing failed."""
    assert run(["predict", "runs/lin", *paths, "--csv", "out.csv", "-q"]) == 0
    with open("out.csv", newline="") as file:
        return {row["path"]: float(row["prob_dark"]) for row in csv.DictReader(file)}


@pytest.fixture
def archive(network):
    pytest.importorskip("medimg_medmnist")
    pixels = pictures(np.arange(4) % 2)[..., 0]
    Path("in").mkdir()
    labels = np.array([[0], [1]], np.uint8)
    np.savez("in/set.npz", train_images=pixels[:2], train_labels=labels, test_images=pixels[2:],
             test_labels=labels)  # fmt: skip
    return pixels


def test_pictures_in_an_archive(network, archive):
    dark = expected(network, archive[..., None])
    for given in ("in/set.npz", "in"):
        got = predicted(given)
        assert list(got) == [f"in/set.npz::{p}/{i}" for p in ("train", "test") for i in (0, 1)]
        np.testing.assert_allclose(list(got.values()), dark, rtol=1e-6)
    got = predicted("in/set.npz::test/1")
    assert list(got) == ["in/set.npz::test/1"]
    assert got["in/set.npz::test/1"] == pytest.approx(dark[3], rel=1e-6)


def test_a_picture_that_an_archive_does_not_hold(network, archive, capsys):
    assert run(["predict", "runs/lin", "in/set.npz::test/9"]) == 3
    assert "in/set.npz::test/9: " in capsys.readouterr().err


def test_the_pictures_that_an_index_names(network, images):
    paths, pixels = images
    Path("clean.csv").write_text("image,label,group,split\nnew/a.png,bright,,\nnew/b.png,dark,,\n")
    got = predicted("clean.csv")
    np.testing.assert_allclose([got["new/a.png"], got["new/b.png"]], expected(network, pixels[:2]))
