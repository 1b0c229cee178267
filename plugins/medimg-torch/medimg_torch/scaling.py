"""UInt8 pixels to floats, on the device."""

from __future__ import annotations

import torch
from torch import Tensor, nn

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE_MEAN = (103.939, 116.779, 123.68)
# x * factor + offset, one number for every channel or one a channel
FACTORS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "unit": ((1 / 255,), (0.0,)),
    "signed": ((2 / 255,), (-1.0,)),
    "none": ((1.0,), (0.0,)),
    "caffe": ((1.0,), tuple(-m for m in CAFFE_MEAN)),
    "imagenet": (
        tuple(1 / (255 * s) for s in IMAGENET_STD),
        tuple(-m / s for m, s in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)),
    ),
}


class Scale(nn.Module):
    """UInt8[B, H, W, C] to Float32[B, C, H, W] in the memory order that it came in.

    Channels stay innermost (PyTorch's `channels_last`): no copy, and the faster convolutions.

    Args:
        scaling: a value of `ModelSpec.scaling`; `caffe` and `imagenet` need three channels.
    """

    factor: Tensor
    offset: Tensor

    def __init__(self, scaling: str) -> None:
        super().__init__()
        factor, offset = FACTORS[scaling]
        self.reverse = scaling == "caffe"  # RGB to BGR
        self.register_buffer("factor", torch.tensor(factor).view(-1, 1, 1), persistent=False)
        self.register_buffer("offset", torch.tensor(offset).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.flip(3) if self.reverse else images
        return torch.addcmul(self.offset, pixels.permute(0, 3, 1, 2).float(), self.factor)
