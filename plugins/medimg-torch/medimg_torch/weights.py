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
# from PyTorch's order of axes to the neutral one, and back
NEUTRAL_AXES = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
TORCH_AXES = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
# uniform draws made at once: the large heads have 100 million weights
DRAWN_AT_ONCE = 1 << 22


@dataclass(frozen=True, slots=True)
class Weight:
    """One array of a network.

    Args:
        name: neutral (`conv1/kernel`).
        owner, attribute: the module that holds its tensor, and PyTorch's name for it there.
        stage: number of the stage it belongs to.
        learnt: False for BatchNorm's running statistics.
        own: what the framework's own files call it (`layer1.0.conv1.weight`); empty where the
            network is medimg's own.
        as_it_is: its axes have no neutral order (an embedding, a scale of a layer).
    """

    name: str
    owner: nn.Module
    attribute: str
    stage: int
    learnt: bool
    own: str = ""
    as_it_is: bool = False

    @property
    def tensor(self) -> Tensor:
        """As PyTorch has it; read anew each time, for moving a network may replace it."""
        return getattr(self.owner, self.attribute)

    @property
    def neutral(self) -> Tensor:
        """Its values in neutral axis order; a view."""
        tensor = self.tensor.detach()
        return tensor if self.as_it_is else tensor.permute(NEUTRAL_AXES[tensor.dim()])

    @property
    def is_kernel(self) -> bool:
        return self.name.endswith("/kernel")

    def take(self, values: np.ndarray | Tensor) -> None:
        """Puts values in neutral axis order into the tensor, whose memory stays where it is."""
        given = torch.as_tensor(values)
        with torch.no_grad():
            self.tensor.copy_(given if self.as_it_is else given.permute(TORCH_AXES[given.dim()]))


def weights_of(name: str, module: nn.Module, stage: int, path: str | None = None) -> list[Weight]:
    """The arrays that one layer holds itself.

    Args:
        name: what medimg calls the layer.
        path: where it stands in the framework's own network, None where it is medimg's.
    """
    kinds = kinds_of(module)
    mapped = {attribute for _, attribute, _ in kinds}
    # whatever else a stranger's layer has is kept under its own name and in its own order
    others = [(a, a, True) for a in module._parameters if a not in mapped]
    others += [(a, a, False) for a in kept_buffers(module) if a not in mapped]

    def own(attribute: str) -> str:
        return f"{path}.{attribute}".lstrip(".") if path is not None else ""

    return [
        Weight(
            f"{name}/{neutral}".lstrip("/"),
            module,
            attribute,
            stage,
            learnt,
            own(attribute),
            attribute not in mapped,
        )
        for neutral, attribute, learnt in (*kinds, *others)
        if getattr(module, attribute) is not None
    ]


def kinds_of(module: nn.Module) -> tuple[tuple[str, str, bool], ...]:
    """The arrays of a layer that have neutral names and axes."""
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return BATCHNORM
    return CONV_OR_DENSE if isinstance(module, (nn.Conv2d, nn.Linear)) else ()


def kept_buffers(module: nn.Module) -> list[str]:
    """Buffers of numbers that belong into a file; counters and index tables do not."""
    return [
        name
        for name, tensor in module._buffers.items()
        if tensor is not None
        and tensor.is_floating_point()
        and name not in module._non_persistent_buffers_set
    ]


def drawn(draws: np.random.Generator, limit: float, shape: tuple[int, ...]) -> np.ndarray:
    """`draws.uniform(-limit, limit, shape)` as Float32, without its Float64 in memory at once."""
    values = np.empty(int(np.prod(shape, dtype=np.int64)), np.float32)
    for start in range(0, len(values), DRAWN_AT_ONCE):
        part = values[start : start + DRAWN_AT_ONCE]
        part[...] = draws.uniform(-limit, limit, len(part))
    return values.reshape(shape)


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
            weight.take(drawn(draws, limit, shape))
        else:
            ones = weight.name.endswith(("/gamma", "/variance"))
            weight.take(np.full(shape, float(ones), np.float32))


def put(weights: Sequence[Weight], given: Mapping[str, np.ndarray]) -> LoadReport:
    """Takes what fits by name and shape, and says what did not."""
    fitting = []
    for weight in weights:
        values = given.get(weight.name)
        if values is not None and np.shape(values) == tuple(weight.neutral.shape):
            # PyTorch has no read-only tensors
            weight.take(np.require(values, np.float32, ("C", "W")))
            fitting.append(weight.name)
    taken = set(fitting)
    return LoadReport(
        loaded=tuple(fitting),
        missing=tuple(w.name for w in weights if w.name not in taken),
        unexpected=tuple(name for name in given if name not in taken),
    )


def get(weights: Sequence[Weight]) -> dict[str, np.ndarray]:
    """Copies as NumPy arrays."""
    # PyTorch turns large matrices around in blocks, NumPy number by number
    return {
        w.name: w.neutral.clone(memory_format=torch.contiguous_format).cpu().numpy()
        for w in weights
    }
