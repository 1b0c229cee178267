"""A network's arrays under framework-neutral names; Keras' axis order is the neutral one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# what Keras calls otherwise than medimg
NEUTRAL = {"moving_mean": "mean", "moving_variance": "variance"}
UNNAMED = re.compile(r"variable(_\d+)?")
# uniform draws made at once: the large heads have 100 million weights
DRAWN_AT_ONCE = 1 << 22


@dataclass(frozen=True, slots=True)
class Parameter:
    """One array of a network.

    Args:
        name: neutral (`conv1/kernel`).
        variable: its Keras variable.
        stage: number of the stage it belongs to.
        learnt: False for BatchNorm's running statistics.
    """

    name: str
    variable: Any
    stage: int
    learnt: bool

    @property
    def size(self) -> int:
        return int(np.prod(self.variable.shape))


def parameters_of(layer: Any, name: str, stage: int) -> list[Parameter]:
    """The arrays of one layer that is called `name`."""
    return [
        Parameter(f"{name}/{array}", variable, stage, bool(variable.trainable))
        for array, variable in zip(array_names(layer), layer.weights, strict=True)
    ]


def array_names(layer: Any) -> list[str]:
    """medimg's names for the arrays of one layer, in Keras' order."""
    return [
        # variables without a name of their own are numbered through the whole process by Keras
        f"variable{place}" if UNNAMED.fullmatch(v.name) else NEUTRAL.get(v.name, v.name)
        for place, v in enumerate(layer.weights)
    ]


def drawn(draws: np.random.Generator, limit: float, shape: tuple[int, ...]) -> np.ndarray:
    """`draws.uniform(-limit, limit, shape)` as Float32, without its Float64 in memory at once."""
    values = np.empty(int(np.prod(shape, dtype=np.int64)), np.float32)
    for start in range(0, len(values), DRAWN_AT_ONCE):
        part = values[start : start + DRAWN_AT_ONCE]
        part[...] = draws.uniform(-limit, limit, len(part))
    return values.reshape(shape)


def draw_weights(parameters: Sequence[Parameter], seed: int) -> None:
    """Glorot-uniform kernels in the order of the network, the same draws in every backend.

    Source: Glorot and Bengio 2010, eq. 16; fans count the receptive field.
    """
    draws = np.random.default_rng(seed)
    for parameter in parameters:
        if not parameter.name.endswith("/kernel"):
            continue
        shape = tuple(parameter.variable.shape)
        *field, fan_in, fan_out = shape
        limit = np.sqrt(6 / (np.prod(field, dtype=int) * (fan_in + fan_out)))
        parameter.variable.assign(drawn(draws, limit, shape))
