"""One backend in a process of its own: torch and tensorflow don't share one.

    python backend_process.py run BACKEND CASES.json STARTS ANSWERS
    python backend_process.py protocol BACKEND FOLDER

`run` builds every case, writes its own first weights, takes those in STARTS (which it writes
first where there are none), and writes its logits and what ten steps of training do.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from medimg.api import Backend, Batch, ModelSpec, Network, Objective, Optimizer
from medimg.manager import plugins
from medimg.testing import check_backend

STEPS, BATCH = 10, 8


def batches_of(spec: ModelSpec, classes: int) -> list[Batch]:
    """Ten batches of noise with a class in its brightness; soft targets and uneven weights."""
    draw = np.random.default_rng(17)
    made = []
    for _ in range(STEPS):
        labels = draw.integers(0, classes, BATCH)
        images = draw.normal(90, 40, (BATCH, spec.height, spec.width, spec.channels))
        images += 60 * labels[:, None, None, None]
        soft = 0.9 * np.eye(classes)[labels] + 0.1 / classes
        weights = draw.uniform(0.5, 2, BATCH)
        pixels = images.clip(0, 255).astype(np.uint8)
        made.append(Batch(pixels, soft.astype("float32"), weights.astype("float32"), BATCH))
    return made


def stirred(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights whose biases, gammas and statistics are not the 0 and 1 that everyone starts with."""
    draw = np.random.default_rng(23)
    return {
        name: array
        if name.endswith("/kernel")
        else (array + draw.uniform(0.0, 0.2, array.shape)).astype("float32")
        for name, array in weights.items()
    }


def answers_of(backend: Backend, case: dict, start: Path) -> dict[str, np.ndarray]:
    """Everything to be compared, by name."""
    spec = ModelSpec(**{k: tuple(v) if isinstance(v, list) else v for k, v in case["spec"].items()})
    network, _ = backend.build(spec, case["seed"])
    first = network.weights()
    if not start.exists():
        np.savez(start, **stirred(first))
    with np.load(start) as given:
        report = network.set_weights(dict(given))
    assert not report.missing and not report.unexpected, f"{report} of {spec.name}"
    batches = batches_of(spec, max(spec.outputs, 2))
    seen = batches[0].images
    answers = {f"first:{name}": array for name, array in first.items()}
    answers["logits"] = next(iter(network.predict([seen])))
    answers["features"] = next(iter(network.embed([seen])))
    answers["losses"] = np.asarray(trained(network, case, batches))
    answers["logits after"] = next(iter(network.predict([seen])))
    answers |= {
        f"after:{name}": array
        for name, array in network.weights().items()
        if name.endswith(("/mean", "/variance"))
    }
    return answers


def trained(network: Network, case: dict, batches: list[Batch]) -> list[float]:
    """The losses of ten steps."""
    optimizer = Optimizer(**case["optimizer"])
    optimizer = replace(optimizer, betas=tuple(optimizer.betas))
    network.prepare(Objective(**case["objective"]), optimizer, case["trainable_from"])
    rates = np.full((STEPS, len(network.stages)), case["rate"], np.float32)
    rates[:, 0] *= 0.5
    losses: list[float] = []
    network.train_epoch(
        batches, rates, seed=0, on_step=lambda step, loss: losses.append(loss) or True
    )
    return losses


def run(name: str, cases: str, starts: str, answers: str) -> None:
    backend = plugins().backend(name)[1]
    for case in json.loads(Path(cases).read_text()):
        found = answers_of(backend, case, Path(starts) / f"{case['name']}.npz")
        np.savez(Path(answers) / f"{case['name']}.npz", **found)


def protocol(name: str, folder: str) -> None:
    check_backend(plugins().backend(name)[1], Path(folder))


if __name__ == "__main__":
    {"run": run, "protocol": protocol}[sys.argv[1]](*sys.argv[2:])
