"""Cross-entropy over soft targets, its focal form, and the L2 penalty."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional

from medimg.api import Objective


def two_columns(scores: Tensor) -> Tensor:
    """Logits Float32[B, K], K ≥ 2: one sigmoid logit z becomes (0, z)."""
    return functional.pad(scores, (1, 0)) if scores.shape[1] == 1 else scores


def data_loss(
    scores: Tensor, targets: Tensor, weights: Tensor, size: int, objective: Objective
) -> Tensor:
    """sum(w * l) / global_size, with l = -sum_k t_k (1 - p_k)^gamma log p_k.

    Args:
        scores: Float32[B, outputs]; one sigmoid logit z stands for (0, z).
        targets: Float32[B, K].
        weights: Float32[B].
        size: images in the step over all processes.
        objective: gamma 0 is cross-entropy.
    Source:
        Lin et al. 2017, Focal Loss for Dense Object Detection, eq. 4, over soft targets.
    """
    if scores.shape[1] == 1:
        positive = targets[:, -1:]
        targets = torch.cat([1 - positive, positive], dim=1)
    log_p = functional.log_softmax(two_columns(scores), dim=1)
    losses = -targets * log_p
    if objective.focal_gamma:
        # the floor keeps the power's derivative finite at p = 1
        losses = losses * (-torch.expm1(log_p)).clamp_min(1e-7) ** objective.focal_gamma
    return (weights * losses.sum(dim=1)).sum() / size


def penalty(kernels: Iterable[Tensor], l2: float) -> Tensor:
    """l2 times the sum of squares."""
    return l2 * torch.stack([kernel.square().sum() for kernel in kernels]).sum()
