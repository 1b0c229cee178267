"""Layers that PyTorch has otherwise, or not at all."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose running variance is that of the batch, as in Keras.

    PyTorch keeps n / (n - 1) times the batch's variance, which differs where a batch has few
    values a channel; and it refuses a single one.
    """

    running_mean: Tensor
    running_var: Tensor

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        values = x.numel() // x.shape[1]
        if values == 1:
            # twice the same value: the same mean, and a variance of 0 by either convention
            return self.forward(torch.cat([x, x]))[:1]
        # copies: the gradient remembers what it is handed, which must not change till then
        mean, variance = self.running_mean.clone(), self.running_var.clone()
        share = float(self.momentum or 0)
        y = functional.batch_norm(x, mean, variance, self.weight, self.bias, True, share, self.eps)
        with torch.no_grad():
            self.running_mean.copy_(mean)
            self.running_var.mul_((1 - share) / values)
            self.running_var.add_(variance, alpha=(values - 1) / values)
        return y


class Flatten(nn.Module):
    """[B, C, H, W] to [B, H * W * C], pixel by pixel; a view where channels are innermost."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


class GlobalAverage(nn.Module):
    """[B, C, H, W] to the mean of each channel [B, C]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class Output(nn.Linear):
    """The last layer: logits are computed in float32 whatever the others compute in."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


class Block(nn.Module):
    """Two 3×3 convolutions beside a shortcut; He et al. 2016, fig. 5 left.

    Args:
        main: convolution, BatchNorm, ReLU, convolution, BatchNorm.
        shortcut: a 1×1 convolution and BatchNorm where the shape changes, else nothing.
    """

    def __init__(self, main: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.main = main
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu_(self.main(x) + self.shortcut(x))
