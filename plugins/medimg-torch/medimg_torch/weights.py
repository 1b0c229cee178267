"""Weights under framework-neutral names and in neutral axis order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from medimg.api import LoadReport

# neutral name, PyTorch's name, whether it is learnt
CONV_OR_DENSE = (("kernel", "weight", True), ("bias", "bias", True))
BATCHNORM = (
    ("gamma", "weight", True),
    ("beta", "bias", True),
    ("mean", "running_mean", False),
    ("variance", "running_var", False),
)
# from PyTorch's order of axes to the neutral one; each is its own way back
NEUTRAL_AXES = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
TORCH_AXES = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}


@dataclass(frozen=True, slots=True)
class Weight:
    """One array of a network.

    Args:
        name: neutral (`conv1/kernel`).
        owner, attribute: the module that holds its tensor, and PyTorch's name for it there.
        stage: number of the stage it belongs to.
        learnt: False for BatchNorm's running statistics.
    """

    name: str
    owner: nn.Module
    attribute: str
    stage: int
    learnt: bool

    @property
    def tensor(self) -> Tensor:
        """As PyTorch has it; read anew each time, for moving a network may replace it."""
        return getattr(self.owner, self.attribute)

    @property
    def neutral(self) -> Tensor:
        """Its values in neutral axis order; a view."""
        tensor = self.tensor.detach()
        return tensor.permute(NEUTRAL_AXES[tensor.dim()])

    @property
    def is_kernel(self) -> bool:
        return self.name.endswith("/kernel")

    def take(self, values: np.ndarray | Tensor) -> None:
        """Puts values in neutral axis order into the tensor, whose memory stays where it is."""
        given = torch.as_tensor(values)
        with torch.no_grad():
            self.tensor.copy_(given.permute(TORCH_AXES[given.dim()]))


def weights_of(name: str, module: nn.Module, stage: int) -> list[Weight]:
    """The arrays of one layer that is called `name`."""
    kinds = BATCHNORM if isinstance(module, nn.BatchNorm2d) else CONV_OR_DENSE
    return [
        Weight(f"{name}/{neutral}", module, attribute, stage, learnt)
        for neutral, attribute, learnt in kinds
        if getattr(module, attribute) is not None
    ]


def draw(weights: Sequence[Weight], seed: int) -> None:
    """Glorot-uniform kernels in the order of the network, the same draws in every backend.

    Source: Glorot and Bengio 2010, eq. 16; fans count the receptive field.
    """
    draws = np.random.default_rng(seed)
    for weight in weights:
        shape = tuple(weight.neutral.shape)
        if weight.is_kernel:
            *field, fan_in, fan_out = shape
            limit = np.sqrt(6 / (np.prod(field, dtype=int) * (fan_in + fan_out)))
            weight.take(draws.uniform(-limit, limit, shape).astype("float32"))
        else:
            ones = weight.name.endswith(("/gamma", "/variance"))
            weight.take(np.full(shape, float(ones), np.float32))


def put(weights: Sequence[Weight], given: Mapping[str, np.ndarray]) -> LoadReport:
    """Takes what fits by name and shape, and says what did not."""
    fitting = []
    for weight in weights:
        values = given.get(weight.name)
        if values is not None and np.shape(values) == tuple(weight.neutral.shape):
            weight.take(np.array(values, np.float32))
            fitting.append(weight.name)
    return LoadReport(
        loaded=tuple(fitting),
        missing=tuple(w.name for w in weights if w.name not in fitting),
        unexpected=tuple(name for name in given if name not in fitting),
    )


def get(weights: Sequence[Weight]) -> dict[str, np.ndarray]:
    """Copies as NumPy arrays."""
    return {w.name: np.array(w.neutral.cpu().numpy(), order="C") for w in weights}
