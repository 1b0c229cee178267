"""The commands with PyTorch and with Keras, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

NEEDS = {"torch": "medimg_torch", "keras": "medimg_keras"}
BACKENDS = [pytest.param(name, marks=getattr(pytest.mark, name)) for name in NEEDS]
SMALL = ("--model", "cnn2", "--image-size", "32", "--epochs", "2", "--no-progress")
VAL = "predictions/val.csv"

# dataset options that only the user can know, and what is wrong with the sample on purpose
SAMPLES = {
    "chest_xray_kermany": (),
    "idc_breast_histopathology": (),
    "brain_tumor_mri": ("--allow", "duplicates-across-splits,duplicates-across-classes"),
    "covid19_radiography": (),
    "odir_fundus_csv": ("-o", "image=filename", "-o", "label=labels", "-o", "group=ID"),
    "actualmed_covid_csv": (),
    "pneumoniamnist/pneumoniamnist.npz": ("--allow", "duplicates-across-splits"),
}
UNUSABLE = {
    "wbc_zheng_csv": "the class 5 has a single image",
    "rfmid_labels": "no image of RFMiD_Training_Labels.csv exists",
    "dicom_small": "there is one class to learn",
}


def medimg(*arguments: object, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, which has to end with `code`."""
    done = subprocess.run(
        [sys.executable, "-m", "medimg", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "MEDIMG_CACHE": str(cwd / "cache")},
    )
    assert done.returncode == code, done.stderr[-3000:]
    return done


def demand(backend: str) -> None:
    if find_spec(NEEDS[backend]) is None:
        pytest.skip(f"the plugin {NEEDS[backend]} is not installed")


# commands one after the other in one process: a framework takes seconds to start
SEVERAL = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from medimg.cli.main import run
answers = []
for line in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(line)
    answers.append({"code": code, "out": out.getvalue(), "err": err.getvalue()})
print(json.dumps(answers))
"""


def several(*lines: tuple[object, ...], cwd: Path) -> list[dict]:
    """What each command came to."""
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL, json.dumps([list(map(str, line)) for line in lines])],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "MEDIMG_CACHE": str(cwd / "cache")},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_main_job(backend, phantoms, tmp_path):
    demand(backend)
    line = ("train", phantoms, "--backend", backend, *SMALL, "--name")
    pictures = sorted((phantoms / "val").rglob("*.png"))
    medimg(*line, "b", cwd=tmp_path)
    quick = ("--resamples", "200")
    *others, predicted = several(
        (*line, "a"),
        ("evaluate", "runs/a", *quick),
        ("finetune", "runs/a", "--unfreeze", "0.5", "--epochs", "1", "--name", "ft"),
        ("evaluate", "runs/ft", *quick),
        ("compare", "runs/a", "runs/ft", *quick),
        ("predict", "runs/a", *pictures, "--json"),
        cwd=tmp_path,
    )
    assert [a["code"] for a in others] == [0] * 5, [a["err"] for a in others]
    runs = tmp_path / "runs"
    # another process gives the same numbers
    assert (runs / "a" / VAL).read_bytes() == (runs / "b" / VAL).read_bytes()
    report = json.loads((runs / "a" / "report.json").read_text())
    assert report["environment"]["backend"]["name"] == backend
    assert report["result"]["model"] == "cnn2"
    tuned = json.loads((runs / "ft" / "report.json").read_text())["result"]
    assert tuned["parent"] == "a"
    assert tuned["parameters"]["trainable"] < tuned["parameters"]["total"]
    rows = json.loads(predicted["out"])["result"]["predictions"]
    assert len(rows) == len(pictures)
    assert all(sum(row["probabilities"].values()) == pytest.approx(1) for row in rows)


WEIGHTS = {"torch": "weights.safetensors", "keras": "model.keras"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_of_a_file_and_a_frozen_backbone(backend, phantoms, tmp_path):
    """What a file holds is taken and frozen, its features kept or not; then part of it thaws."""
    demand(backend)
    line = ("train", phantoms, "--backend", backend, *SMALL, "--augment", "none", "--name")
    file = f"runs/donor/model/{WEIGHTS[backend]}"
    half = tmp_path / f"half{Path(file).suffix}"
    donor, kept, plain, larger, tuned = several(
        (*line, "donor"),
        (*line, "kept", "--weights", file),
        (*line, "plain", "--weights", file, "--no-keep-features"),
        (*line, "larger", "--weights", file, "--image-size", "40"),
        ("finetune", "runs/kept", "--epochs", "1", "--name", "ft"),
        cwd=tmp_path,
    )
    assert [a["code"] for a in (donor, kept, plain, larger, tuned)] == [0] * 5, larger["err"]
    assert "Took 8 weight arrays" in kept["out"] and "frozen: conv1, conv2" in kept["out"]
    # a head for larger pictures is drawn anew, and said
    assert "Took 7 weight arrays" in larger["out"] and "drawn anew: fc1/kernel;" in larger["out"]
    assert "Trained: conv2, head; frozen: conv1" in tuned["out"]

    # dropout draws the same on features as on pictures
    runs = tmp_path / "runs"
    reports = [json.loads((runs / n / "report.json").read_text()) for n in ("kept", "plain")]
    ours, theirs = (report["result"] for report in reports)
    assert ours["features"] and not theirs["features"]
    assert ours["history"]["loss"] == pytest.approx(theirs["history"]["loss"], rel=1e-4)
    tables = ((runs / n / VAL).read_text().splitlines()[1:] for n in ("kept", "plain"))
    for rows in zip(*tables, strict=True):
        one, other = (float(row.rpartition(",")[2]) for row in rows)
        assert one == pytest.approx(other, abs=1e-4)

    half.write_bytes((tmp_path / file).read_bytes()[:50_000])
    (broken,) = several((*line, "broken", "--weights", half), cwd=tmp_path)
    assert broken["code"] == 3 and f"the weights file {half} can't be read" in broken["err"]
    assert "Traceback" not in broken["err"] and not (runs / "broken").exists()


KILLED = """
import os, sys
from medimg.cli.main import run
from medimg.training import run as module
write = module.write_history
def write_then_die(path, rows):
    write(path, rows)
    if len(rows) == 2:
        os._exit(9)
module.write_history = write_then_die
run(sys.argv[1:])
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_killed_run_goes_on_to_the_same_end(backend, phantoms, tmp_path):
    demand(backend)
    line = ["train", str(phantoms), "--backend", backend, *SMALL, "--epochs", "4"]
    medimg(*line, "--name", "whole", cwd=tmp_path)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *line, "--name", "cut"],
        cwd=tmp_path,
        capture_output=True,
        timeout=600,
        env={**os.environ, "MEDIMG_CACHE": str(tmp_path / "cache")},
    )
    assert killed.returncode == 9
    medimg("train", "--resume", "runs/cut", cwd=tmp_path)
    runs = tmp_path / "runs"
    assert (runs / "cut" / VAL).read_bytes() == (runs / "whole" / VAL).read_bytes()


INTERRUPTED = """
import sys
from medimg.cli.main import run
from medimg.training import run as module
data, backend = sys.argv[1:]
small = ["--backend", backend, "--image-size", "32", "--no-progress", "-q", "--name"]
assert run(["train", data, "--model", "cnn3bn", "--epochs", "2", *small, "donor"]) == 0
line = ["finetune", "runs/donor", "--unfreeze", "1", "--gradual", "--epochs", "6", "--no-progress"]
assert run([*line, "--name", "whole"]) == 0
write = module.write_history
for stop in (2, 3):
    def interrupted(path, rows):
        write(path, rows)
        if len(rows) == stop:
            raise KeyboardInterrupt
    module.write_history = interrupted
    assert run([*line, "--name", f"cut{stop}"]) == 130
    module.write_history = write
    assert run(["finetune", "--resume", f"runs/cut{stop}"]) == 0
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_stages_open_one_after_another(backend, phantoms, tmp_path):
    """Cut short before a stage opens and after, and gone on with to the same end."""
    demand(backend)
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, phantoms, backend],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "MEDIMG_CACHE": str(tmp_path / "cache")},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = "Trained: conv3, head; from epoch 3 conv2; from epoch 5 conv1; frozen: nothing"
    assert told in done.stdout
    runs = tmp_path / "runs"
    results = {
        name: json.loads((runs / name / "report.json").read_text())["result"]
        for name in ("whole", "cut2", "cut3")
    }
    assert [row["epoch"] for row in results["whole"]["opened"]] == [1, 3, 5]
    counts = results["whole"]["parameters"]
    # all but BatchNorm's running means and variances, of 32, 64 and 128 channels
    assert counts["total"] - counts["trainable"] == 2 * (32 + 64 + 128)
    for name in ("cut2", "cut3"):
        assert (runs / name / VAL).read_bytes() == (runs / "whole" / VAL).read_bytes()
        assert results[name]["metrics"] == results["whole"]["metrics"]
        assert results[name]["history"]["loss"] == results["whole"]["history"]["loss"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loss_that_is_no_number(backend, phantoms, tmp_path):
    demand(backend)
    blown = ("--optimizer", "adamw", "--lr", "100", "--weight-decay", "1e30")
    done = medimg("train", phantoms, "--backend", backend, *SMALL, *blown, cwd=tmp_path, code=1)
    assert "the loss is no number any more" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("backend", list(NEEDS))
@pytest.mark.parametrize("sample", SAMPLES)
def test_real_samples(backend, sample, shared_data, tmp_path):
    demand(backend)
    options = SAMPLES[sample]
    for name, seed in (("a", 0), ("b", 1)):
        medimg(
            "train", shared_data / sample, "--backend", backend, *SMALL, "--epochs", "1",
            "--seed", seed, "--name", name, *options, cwd=tmp_path,
        )  # fmt: skip
        medimg("evaluate", f"runs/{name}", "--resamples", "100", cwd=tmp_path)
    medimg("compare", "runs/a", "runs/b", "--resamples", "100", cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("sample", UNUSABLE)
def test_samples_that_cannot_be_trained_on_say_why(sample, shared_data, tmp_path):
    line = [sys.executable, "-m", "medimg", "train", str(shared_data / sample)]
    done = subprocess.run(
        [*line, "--backend", "linear"], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode in (1, 2, 3), done.stderr
    assert "Error: " in done.stderr and "Traceback" not in done.stderr
    assert UNUSABLE[sample] in done.stderr
    assert not (tmp_path / "runs").exists()
