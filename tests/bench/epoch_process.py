"""An epoch as `medimg train` does it beside bare optimizer steps, in turns, in one process.

Called as `epoch_process.py BACKEND MODEL SIDE IMAGES BATCH ROUNDS PRECISION`; prints JSON: seconds
of each round, medimg's and bare, by the clock and of the processor. Bare steps are the framework's
own layers, loss and Adam on batches that lie in memory as it wants them; nothing of medimg is in
them.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

RATE = 1e-3


def drawn(images: int, side: int, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """UInt8[N, H, W, 3] in a mapped file that has been read once, and Int[N] labels."""
    draw = np.random.default_rng(0)
    np.save(folder / "pixels.npy", draw.integers(0, 256, (images, side, side, 3), np.uint8))
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    pixels.sum()
    return pixels, np.arange(images) % 2


def medimg_epoch(
    backend: str, model: str, precision: str, pixels: np.ndarray, labels: np.ndarray, batch: int
) -> Callable[[int], float]:
    """A function that trains one epoch from the cache with augmentation; its seconds."""
    from medimg.core.augment import Augmentation
    from medimg.core.loader import Loader
    from medimg.core.types import Objective, Optimizer
    from medimg.manager import plugins
    from medimg.training.loop import Losses
    from medimg.training.schedule import epoch_rates

    registry = plugins().registry()
    # turns, shifts and zoom, and a look-up table an image
    preset = Augmentation.of(registry.augmentation("chest-xray-exposure").model_dump())
    loader = Loader(pixels, np.arange(len(labels)), labels, 2, batch, augmentation=preset)
    engine = plugins().backend(backend)[1]
    spec = registry.model(model).spec(2, pixels.shape[1], backend=backend)
    network, _ = engine.build(spec, 0)
    network.prepare(Objective(), Optimizer(precision=precision), 0)

    def epoch(number: int) -> float:
        rates = epoch_rates("constant", RATE, number, 100, loader.steps)
        started = time.perf_counter()
        network.train_epoch(
            loader.epoch(number), rates, seed=number, on_step=Losses(number, lambda *_: None)
        )
        return time.perf_counter() - started

    return epoch


def torch_network(model: str, side: int):
    """The network in plain PyTorch."""
    import torch
    from torch import nn

    if model == "resnet18-small":
        from medimg_torch.timm_import import import_timm

        net = import_timm().create_model("resnet18", num_classes=1)
        net.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        net.maxpool = nn.Identity()
        return net
    layers: list[nn.Module] = []
    channels = 3
    for filters in (32, 64, 128):
        layers += [nn.Conv2d(channels, filters, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
        channels = filters
        side = (side - 2) // 2
    hidden = nn.Linear(side * side * channels, 128)
    layers += [nn.Flatten(), hidden, nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(128, 1)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def bare_torch(model: str, pixels: np.ndarray, labels: np.ndarray, batch: int):
    """A function that makes an epoch's optimizer steps in PyTorch; its seconds."""
    import torch

    net = torch_network(model, pixels.shape[1]).to(memory_format=torch.channels_last).train()
    adam = torch.optim.Adam(net.parameters(), RATE, fused=True)
    loss_of = torch.nn.BCEWithLogitsLoss()
    batches = [
        (
            (
                torch.from_numpy(np.array(pixels[n : n + batch])).permute(0, 3, 1, 2).float() / 255
            ).contiguous(memory_format=torch.channels_last),
            torch.from_numpy(labels[n : n + batch, None].astype(np.float32)),
        )
        for n in range(0, len(labels), batch)
    ]

    def epoch(_: int) -> float:
        started = time.perf_counter()
        for images, targets in batches:
            adam.zero_grad(set_to_none=True)
            loss_of(net(images), targets).backward()
            adam.step()
        return time.perf_counter() - started

    return epoch


def keras_network(model: str, side: int):
    """The network in plain Keras."""
    from medimg_keras.startup import keras

    layers = keras.layers
    keras.utils.set_random_seed(0)
    inputs = x = keras.Input((side, side, 3))
    if model == "resnet18-small":

        def conv(x, filters, size=3, stride=1):
            x = layers.Conv2D(filters, size, stride, padding="same", use_bias=False)(x)
            return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)

        x = layers.ReLU()(conv(x, 64))
        for filters, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1),
                                (512, 2), (512, 1)):  # fmt: skip
            kept = conv(x, filters, 1, stride) if stride > 1 else x
            x = conv(layers.ReLU()(conv(x, filters, 3, stride)), filters)
            x = layers.ReLU()(layers.Add()([x, kept]))
        x = layers.GlobalAveragePooling2D()(x)
    else:
        for filters in (32, 64, 128):
            x = layers.MaxPooling2D()(layers.Conv2D(filters, 3, activation="relu")(x))
        x = layers.Dropout(0.5)(layers.Dense(128, activation="relu")(layers.Flatten()(x)))
    return keras.Model(inputs, layers.Dense(1)(x))


def bare_keras(model: str, pixels: np.ndarray, labels: np.ndarray, batch: int):
    """A function that makes an epoch's optimizer steps in Keras, each a compiled graph; its
    seconds."""
    from medimg_keras.startup import keras, tf

    net = keras_network(model, pixels.shape[1])
    adam = keras.optimizers.Adam(RATE)
    loss_of = keras.losses.BinaryCrossentropy(from_logits=True)
    adam.build(net.trainable_variables)

    @tf.function
    def step(images, targets):
        with tf.GradientTape() as tape:
            loss = loss_of(targets, net(images, training=True))
        gradients = tape.gradient(loss, net.trainable_variables)
        adam.apply_gradients(zip(gradients, net.trainable_variables, strict=True))
        return loss

    batches = [
        (
            tf.constant(pixels[n : n + batch] / np.float32(255), tf.float32),
            tf.constant(labels[n : n + batch, None], tf.float32),
        )
        for n in range(0, len(labels), batch)
    ]

    def epoch(_: int) -> float:
        started = time.perf_counter()
        for images, targets in batches:
            loss = step(images, targets)
        float(loss)
        return time.perf_counter() - started

    return epoch


def main() -> None:
    backend, model, side, images, batch, rounds, precision = sys.argv[1:8]
    with tempfile.TemporaryDirectory() as folder:
        pixels, labels = drawn(int(images), int(side), Path(folder))
        ours = medimg_epoch(backend, model, precision, pixels, labels, int(batch))
        plain = {"torch": bare_torch, "keras": bare_keras}[backend]
        bare = plain(model, pixels, labels, int(batch))
        # the first epoch of each compiles and warms up
        ours(0), bare(0)
        seconds: dict[str, list[float]] = {}
        for number in range(1, int(rounds) + 1):
            for name, epoch in (("medimg", ours), ("bare", bare)):
                began = time.process_time()
                seconds.setdefault(name, []).append(epoch(number))
                seconds.setdefault(f"{name} cpu", []).append(time.process_time() - began)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
