"""kill -9 at any moment, then --resume: the run that was never killed, bit by bit."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

# A command in a process that kills itself with SIGKILL. The plan is "where:count:seconds": so many
# seconds after the process, or the count-th call of fit, training step, checkpoint or save, or the
# writing of the finished model began; "half" leaves files that were written half.
KILLED = """
import os, signal, sys, threading, time
where, count, seconds = sys.argv[1].split(":")
calls = 0
def began(place):
    global calls
    calls += place == where
    if place == where and calls == int(count):
        kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
        kill() if float(seconds) == 0 else threading.Timer(float(seconds), kill).start()
began("start")
from medimg.cli.main import run
if where != "never":
    from medimg.training import checkpoints, run as module
    # after every epoch, however busy the computer is
    checkpoints.SOON_WRITTEN_S = 1000
    fit, write = module.fit, checkpoints.Checkpoints.write
    def killed_fit(network, *a, on_step=None, **k):
        save = network.save
        def killed_save(path, training):
            began("save")
            save(path, training)
            if where == "half":
                for file in path.iterdir():
                    os.truncate(file, file.stat().st_size // 2)
            began("half")
            began("saved")
        network.save = killed_save
        began("fit")
        def step(*arguments):
            began("step")
            if on_step:
                on_step(*arguments)
        return fit(network, *a, on_step=step, **k)
    def killed_write(self, *a, **k):
        began("checkpoint")
        write(self, *a, **k)
        began("written")
    saved_model = module.save_model
    def killed_model(*a, **k):
        began("model")
        saved_model(*a, **k)
    module.fit, checkpoints.Checkpoints.write = killed_fit, killed_write
    module.save_model = killed_model
sys.exit(run(sys.argv[2:]))
"""
BACKENDS = {
    "linear": ("--backend", "linear", "--image-size", "32"),
    "torch": ("--backend", "torch", "--model", "cnn3bn", "--image-size", "40"),
    "keras": ("--backend", "keras", "--model", "cnn3bn", "--image-size", "40"),
}
SETTINGS = ("--augment", "light", "--mixup", "0.2", "--batch-size", "16", "--no-progress")


def process(plan: str, *arguments: object, limit: int | None = None) -> subprocess.CompletedProcess:
    """The command with a plan to die; `limit` is the largest file that it may write, in bytes."""

    def limited() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [sys.executable, "-c", KILLED, plan, *(str(a) for a in arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=limited if limit else None,
    )


def killed(plan: str, *arguments: object) -> None:
    assert not ended_first(plan, *arguments), plan


def ended_first(plan: str, *arguments: object) -> bool:
    """Whether the command was done before its time to die came."""
    done = process(plan, *arguments)
    assert done.returncode in (0, -signal.SIGKILL), (plan, done.stdout, done.stderr)
    return done.returncode == 0


def sooner(plan: str) -> str:
    """The plan with half of its seconds."""
    where, count, seconds = plan.split(":")
    return f"{where}:{count}:{float(seconds) / 2:.4f}"


def finished(*arguments: object) -> None:
    done = process("never:0:0", *arguments)
    assert done.returncode == 0, done.stderr


def train_line(backend: str, data: Path, *more: object) -> tuple[object, ...]:
    return ("train", data, *BACKENDS[backend], *SETTINGS, *more)


def arrays_of(folder: Path) -> dict[str, np.ndarray]:
    """The weights of a model folder, whatever wrote them."""
    if (folder / "weights.npz").is_file():
        return dict(np.load(folder / "weights.npz"))
    if (folder / "weights.safetensors").is_file():
        from safetensors.numpy import load_file

        return load_file(folder / "weights.safetensors")
    import h5py

    found: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(folder / "model.keras") as archive:
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
            file.visititems(
                lambda name, item: (
                    found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
                )
            )
    return found


def assert_same_run(one: Path, other: Path) -> None:
    """Weights, validation predictions, history and metrics, to the last bit."""
    ours, theirs = arrays_of(one / "model"), arrays_of(other / "model")
    assert ours.keys() == theirs.keys() and len(ours) >= 4
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)
    val = "predictions/val.csv"
    assert (one / val).read_bytes() == (other / val).read_bytes()
    results = [json.loads((run / "report.json").read_text())["result"] for run in (one, other)]
    for name in ("metrics", "threshold", "epochs", "best_epoch", "stopped_by"):
        assert results[0][name] == results[1][name], name
    # the last column is the epoch's seconds
    histories = [
        [line.rpartition(",")[0] for line in (run / "history.csv").read_text().splitlines()]
        for run in (one, other)
    ]
    assert histories[0] == histories[1]
    assert not list(one.glob("checkpoints/.*")) and not list(one.glob(".*"))


def test_three_kills_leave_no_trace(tmp_path, monkeypatch, phantoms):
    """In the first checkpoint, in a step of the second epoch, and after the last checkpoint."""
    monkeypatch.chdir(tmp_path)
    line = train_line("linear", phantoms, "--epochs", "4", "--schedule", "plateau")
    finished(*line, "--name", "whole")
    killed("half:1:0", *line, "--name", "cut")
    state = Path("runs/cut/checkpoints/state.json")
    assert not state.exists() and list(state.parent.glob("epoch-*/weights.npz"))
    killed("step:5:0", "train", "--resume", "runs/cut")
    assert json.loads(state.read_text())["epoch"] == 1
    killed("written:3:0", "train", "--resume", "runs/cut")
    assert json.loads(state.read_text())["epoch"] == 4
    assert not Path("runs/cut/report.json").exists()
    finished("train", "--resume", "runs/cut")
    assert_same_run(Path("runs/cut"), Path("runs/whole"))


@pytest.mark.slow
def test_kills_while_a_frozen_backbone_is_asked_and_its_head_trained(
    tmp_path, monkeypatch, phantoms
):
    """In the first step, in the first checkpoint of the head, in a step and after the last."""
    monkeypatch.chdir(tmp_path)
    finished(*train_line("linear", phantoms, "--epochs", "1", "--name", "donor"))
    line = (*train_line("linear", phantoms, "--epochs", "4"), "--weights", "runs/donor")
    line = (*line, "--mixup", "0", "--views", "2")
    monkeypatch.setenv("MEDIMG_CACHE", str(tmp_path / "one"))
    finished(*line, "--name", "whole")
    monkeypatch.setenv("MEDIMG_CACHE", str(tmp_path / "other"))
    killed("step:1:0", *line, "--name", "cut")
    killed("half:1:0", "train", "--resume", "runs/cut")
    killed("step:6:0", "train", "--resume", "runs/cut")
    killed("written:3:0", "train", "--resume", "runs/cut")
    finished("train", "--resume", "runs/cut")
    assert_same_run(Path("runs/cut"), Path("runs/whole"))


def installed(backend: str) -> bool:
    return importlib.util.find_spec(f"medimg_{backend}") is not None


@pytest.mark.slow
@pytest.mark.parametrize("backend", list(BACKENDS))
def test_ten_kills_at_random_moments(tmp_path, monkeypatch, phantoms, backend):
    """Two anywhere in the process, three while it trains, four while it writes a checkpoint, one
    while it writes the finished model."""
    if not installed(backend):
        pytest.skip(f"medimg-{backend} is not installed")
    monkeypatch.chdir(tmp_path)
    draw = random.Random(20)
    epochs = 24
    line = train_line(backend, phantoms, "--epochs", str(epochs))
    began = time.perf_counter()
    finished(*line, "--name", "whole")
    took = time.perf_counter() - began
    report = json.loads(Path("runs/whole/report.json").read_text())
    epoch_s = sum(report["result"]["history"]["seconds"]) / epochs
    plans = [f"start:1:{draw.uniform(0, took / 2):.4f}" for _ in range(2)]
    plans += [f"fit:1:{draw.uniform(0, 3 * epoch_s):.4f}" for _ in range(3)]
    plans += [f"checkpoint:{draw.randint(1, 2)}:{draw.uniform(0, 0.02):.4f}" for _ in range(4)]
    run = Path("runs/cut")
    for plan in [*draw.sample(plans, len(plans)), f"model:1:{draw.uniform(0, 0.01):.4f}"]:
        if (run / "report.json").is_file():
            # the last kill met a run that had written everything
            assert_same_run(run, Path("runs/whole"))
            shutil.rmtree(run)
        while ended_first(plan, *going_on(run, line)):
            # a machine at rest is quicker than the plan: what it came to is right, and again
            assert_same_run(run, Path("runs/whole"))
            shutil.rmtree(run)
            plan = sooner(plan)
    assert json.loads((run / "checkpoints/state.json").read_text())["epoch"] == epochs
    finished("train", "--resume", run)
    assert_same_run(run, Path("runs/whole"))


def going_on(run: Path, line: tuple[object, ...]) -> tuple[object, ...]:
    """The command that goes on with a run, or begins it where there is nothing to go on with."""
    if run.exists() and not (run / "recipe.yaml").is_file():
        shutil.rmtree(run)
    return ("train", "--resume", run) if run.exists() else (*line, "--name", run.name)


FULL = [
    pytest.param("linear", 64, 30_000),
    pytest.param("torch", 40, 200_000, marks=pytest.mark.slow),
    pytest.param("keras", 40, 200_000, marks=pytest.mark.slow),
]


@pytest.mark.skipif(os.name != "posix", reason="limits of files are POSIX")
@pytest.mark.parametrize("backend, side, limit", FULL)
def test_a_disk_that_is_full_leaves_nothing_half_written(
    tmp_path, monkeypatch, phantoms, backend, side, limit
):
    """No file may grow beyond a limit that the weights exceed."""
    if not installed(backend):
        pytest.skip(f"medimg-{backend} is not installed")
    monkeypatch.chdir(tmp_path)
    line = (*train_line(backend, phantoms, "--epochs", "2"), "--image-size", side)
    finished(*line, "--name", "whole")
    done = process("never:0:0", *line, "--name", "cut", limit=limit)
    assert done.returncode == 3, done.stderr
    errors = [text for text in done.stderr.splitlines() if text.strip()]
    assert errors[-2].startswith("Error: ") and "can't be written" in errors[-2], done.stderr
    assert "--out DIR" in errors[-1] and "Traceback" not in done.stderr
    left = {p.relative_to("runs/cut").as_posix() for p in Path("runs/cut").rglob("*")}
    assert left == {"recipe.yaml", "splits.csv", "checkpoints"}, left
    # once there is room again, it goes on
    finished("train", "--resume", "runs/cut")
    assert_same_run(Path("runs/cut"), Path("runs/whole"))
