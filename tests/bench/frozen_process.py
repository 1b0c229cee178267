"""A head on a frozen backbone as `medimg train` does it, beside the framework's own way.

Called as `frozen_process.py BACKEND MODEL HEAD IMAGES BATCH EPOCHS`; HEAD is a comma-separated list
as in ModelSpec. Prints JSON, all in pairs of seconds, by the clock and of the processor (what else
a machine does makes the first longer, and the second hardly):

- medimg: everything from the pictures in the cache to the last epoch's checkpoint;
- keeping: what of that is spent on keeping the best weights and on checkpoints;
- backbone: one bare pass of the frozen part over the same pictures;
- head: that many epochs of bare optimizer steps of the framework's own head on features in memory;
- fit: the framework's own way, `keras.Model.fit` of the whole with its backbone frozen, from one
  epoch times their number (keras only).
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SIDE, RATE, CLASSES = 224, 1e-3, 3
# of the framework's own way, before the clock starts: its graph is compiled with these
WARM_UP = 32


def now() -> np.ndarray:
    """Float64[2], seconds by the clock and of the processor."""
    return np.array([time.perf_counter(), time.process_time()])


def medimg_run(backend: str, spec, pixels, labels, batch: int, epochs: int, folder: Path):
    """(seconds, of keeping, the network): features, then the head's epochs with checkpoints."""
    import os

    from medimg.core.loader import Loader
    from medimg.core.recipe import Recipe
    from medimg.core.types import Objective, Optimizer, RuntimeInfo, Sample
    from medimg.manager import plugins
    from medimg.training.checkpoints import Checkpoints
    from medimg.training.experiment import Data, Experiment
    from medimg.training.features import learner_of
    from medimg.training.loop import fit

    os.environ["MEDIMG_CACHE"] = str(folder / "cache")
    engine = plugins().backend(backend)[1]
    network, _ = engine.build(spec, 0)
    samples = tuple(Sample(str(n), str(k), split="train") for n, k in enumerate(labels))
    recipe = Recipe(
        freeze="backbone", augment="none", epochs=epochs, batch_size=batch, schedule="constant",
        learning_rate=RATE, optimizer="adam",
    )  # fmt: skip
    runtime = engine.runtime()
    records = {s.path: type("Record", (), {"sha256": s.path})() for s in samples}
    experiment = Experiment(
        recipe=recipe,
        data=Data(None, records, "", "", ""),
        backend=engine,
        spec=spec,
        runtime=RuntimeInfo(runtime.name, runtime.version, runtime.device),
        positive=None,
        train=Loader(pixels, np.arange(len(labels)), labels, CLASSES, batch),
        val=None,
        train_samples=samples,
        val_samples=(),
        objective=Objective(),
        optimizer=Optimizer(),
        findings=(),
    )
    # a graph is compiled once, as in the framework's own way below
    next(iter(network.embed([np.zeros((1, SIDE, SIDE, 3), np.uint8)])))

    from contextlib import contextmanager

    @contextmanager
    def bar(*_):
        yield type("Bar", (), {"update": lambda self, n: None})()

    keeping = np.zeros(2)

    class Timed(Checkpoints):
        def keep(self, *arguments):
            began = now()
            super().keep(*arguments)
            keeping[:] += now() - began

    def run() -> np.ndarray:
        began = now()
        learner = learner_of(experiment, network, len(network.stages) - 1, bar, print)
        fit(
            learner.network, learner.experiment.train, None, recipe, objective=Objective(),
            optimizer=Optimizer(), trainable_from=learner.trainable_from,
            checkpoints=Timed(folder / "checkpoints"), features=learner.key,
        )  # fmt: skip
        return now() - began

    return run(), keeping, network


def backbone_pass(network, pixels, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(seconds, features): pictures in memory through the frozen part, and nothing else."""
    batches = [np.array(pixels[n : n + size]) for n in range(0, len(pixels), size)]
    began = now()
    features = list(network.embed(batches))
    return now() - began, np.concatenate(features)


def widths(head: list[str]) -> list[int]:
    return [int(layer.removeprefix("fc")) for layer in head if layer.startswith("fc")]


def torch_head(head: list[str], features, labels, batch: int, epochs: int) -> np.ndarray:
    import torch
    from torch import nn

    layers: list[nn.Module] = []
    inputs = features.shape[1]
    for units in widths(head):
        layers += [nn.Linear(inputs, units), nn.ReLU(inplace=True)]
        inputs = units
    net = nn.Sequential(*layers, nn.Linear(inputs, CLASSES))
    adam = torch.optim.Adam(net.parameters(), RATE, fused=True)
    x, y = torch.from_numpy(features), torch.from_numpy(labels)

    def epoch() -> None:
        for n in range(0, len(y), batch):
            adam.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(net(x[n : n + batch]), y[n : n + batch]).backward()
            adam.step()

    began = now()
    for _ in range(epochs):
        epoch()
    return now() - began


def keras_layers(head: list[str], x):
    from medimg_keras.startup import keras

    for units in widths(head):
        x = keras.layers.Dense(units, activation="relu")(x)
    return keras.layers.Dense(CLASSES)(x)


def keras_head(head: list[str], features, labels, batch: int, epochs: int) -> np.ndarray:
    from medimg_keras.startup import keras, tf

    keras.utils.set_random_seed(0)
    inputs = keras.Input(features.shape[1:])
    net = keras.Model(inputs, keras_layers(head, inputs))
    adam = keras.optimizers.Adam(RATE)
    adam.build(net.trainable_variables)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = loss_of(y, net(x, training=True))
        adam.apply_gradients(
            zip(tape.gradient(loss, net.trainable_variables), net.trainable_variables, strict=True)
        )

    x, y = tf.constant(features), tf.constant(labels)
    batches = [(x[n : n + batch], y[n : n + batch]) for n in range(0, len(labels), batch)]
    began = now()
    for _ in range(epochs):
        for one in batches:
            step(*one)
    return now() - began


def keras_fit(model: str, head: list[str], pixels, labels, batch: int, epochs: int) -> np.ndarray:
    """One epoch of `Model.fit` after the one that compiles, times their number."""
    from medimg_keras.startup import keras

    keras.utils.set_random_seed(0)
    make = {"resnet50": keras.applications.ResNet50, "vgg16": keras.applications.VGG16}[model]
    base = make(include_top=False, weights=None, input_shape=(SIDE, SIDE, 3))
    base.trainable = False
    inputs = keras.Input((SIDE, SIDE, 3))
    x = base(inputs, training=False)
    pooled = head[0] == "gap"
    x = keras.layers.GlobalAveragePooling2D()(x) if pooled else keras.layers.Flatten()(x)
    net = keras.Model(inputs, keras_layers(head, x))
    net.compile(
        keras.optimizers.Adam(RATE), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    images = np.array(pixels, np.float32)
    net.fit(images[:WARM_UP], labels[:WARM_UP], batch_size=batch, epochs=1, verbose=0)
    began = now()
    net.fit(images, labels, batch_size=batch, epochs=1, verbose=0)
    return (now() - began) * epochs


def main() -> None:
    backend, model, layers, images, batch, epochs = sys.argv[1:7]
    head, count = layers.split(","), int(images)
    from dataclasses import replace

    from medimg.manager import plugins
    from medimg.training.loop import PREDICT_BATCH

    labels = np.arange(count) % CLASSES
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw = np.random.default_rng(0)
        np.save(folder / "p.npy", draw.integers(0, 256, (count, SIDE, SIDE, 3), np.uint8))
        pixels = np.load(folder / "p.npy", mmap_mode="r")
        card = plugins().registry().model(model)
        spec = replace(card.spec(CLASSES, SIDE, backend=backend), head=tuple(head))
        ours, keeping, network = medimg_run(
            backend, spec, pixels, labels, int(batch), int(epochs), folder
        )
        passed, features = backbone_pass(network, pixels, PREDICT_BATCH)
        own_head = {"torch": torch_head, "keras": keras_head}[backend]
        seconds = {
            "medimg": ours,
            "keeping": keeping,
            "backbone": passed,
            "head": own_head(head, features, labels, int(batch), int(epochs)),
        }
        if backend == "keras":
            seconds["fit"] = keras_fit(model, head, pixels, labels, int(batch), int(epochs))
    print(json.dumps({name: value.tolist() for name, value in seconds.items()}))


if __name__ == "__main__":
    main()
