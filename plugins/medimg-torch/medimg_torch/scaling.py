"""UInt8 pixels to floats, on the device."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from medimg.api import BackendError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE_MEAN = (103.939, 116.779, 123.68)
# x * factor + offset, one number for every channel or one a channel
FACTORS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "unit": ((1 / 255,), (0.0,)),
    "signed": ((2 / 255,), (-1.0,)),
    "none": ((1.0,), (0.0,)),
    # what scales the pixels stands in the network itself
    "inside": ((1.0,), (0.0,)),
    "caffe": ((1.0,), tuple(-m for m in CAFFE_MEAN)),
    "imagenet": (
        tuple(1 / (255 * s) for s in IMAGENET_STD),
        tuple(-m / s for m, s in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)),
    ),
}

NAMED = {((0.5,) * 3, (0.5,) * 3): "signed", (IMAGENET_MEAN, IMAGENET_STD): "imagenet"}
STATED = re.compile(r"mean=([\d.,e-]+) std=([\d.,e-]+)")


def own_scaling(config: Mapping[str, Any]) -> str:
    """The scaling that a network of timm was trained with: by its name, else by its numbers.

    Args:
        config: `mean` and `std` on 0..1, a number a channel; default ImageNet's, as in timm.
    """
    mean = tuple(config.get("mean") or IMAGENET_MEAN)
    std = tuple(config.get("std") or IMAGENET_STD)
    if (mean, std) == ((0.0,) * len(mean), (1.0,) * len(std)):
        return "unit"
    return NAMED.get((mean, std)) or stated(mean, std)


def stated(mean: Sequence[float], std: Sequence[float]) -> str:
    """`mean=0.48,0.46,0.41 std=0.27,0.26,0.28`"""
    return f"mean={','.join(map(repr, mean))} std={','.join(map(repr, std))}"


def factors(scaling: str) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """(factor, offset) of a scaling, by its name or its stated mean and standard deviation on
    0..1; None where there is no such scaling."""
    found = STATED.fullmatch(scaling)
    if found is None:
        return FACTORS.get(scaling)
    try:
        mean, std = (tuple(map(float, numbers.split(","))) for numbers in found.groups())
    except ValueError:
        return None
    if len(mean) != len(std) or not all(std):
        return None
    return (
        tuple(1 / (255 * s) for s in std),
        tuple(-m / s for m, s in zip(mean, std, strict=True)),
    )


class Scale(nn.Module):
    """UInt8[B, H, W, C] to Float32[B, C, H, W] in the memory order that it came in.

    Channels stay innermost (PyTorch's `channels_last`): no copy, and the faster convolutions.

    Args:
        scaling: a value of `ModelSpec.scaling` other than `own`; `caffe` and `imagenet` need three
            channels.

    Raises:
        BackendError: no such scaling.
    """

    factor: Tensor
    offset: Tensor

    def __init__(self, scaling: str) -> None:
        super().__init__()
        found = factors(scaling)
        if found is None:
            raise BackendError(f"the torch backend does not know the scaling {scaling!r}")
        factor, offset = found
        self.reverse = scaling == "caffe"  # RGB to BGR
        self.register_buffer("factor", torch.tensor(factor).view(-1, 1, 1), persistent=False)
        self.register_buffer("offset", torch.tensor(offset).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.flip(3) if self.reverse else images
        return torch.addcmul(self.offset, pixels.permute(0, 3, 1, 2).float(), self.factor)
