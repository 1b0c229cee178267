"""Cross-entropy and its focal form: the loss of a batch and its gradient in the logits."""

from __future__ import annotations

import numpy as np

from medimg.api import Batch, Objective


def two_columns(scores: np.ndarray) -> np.ndarray:
    """Logits Float32[B, K], K ≥ 2: one sigmoid logit z becomes (0, z)."""
    if scores.shape[1] > 1:
        return scores
    return np.concatenate([np.zeros_like(scores), scores], axis=1)


def two_targets(batch: Batch, outputs: int) -> np.ndarray:
    """Targets Float32[B, K] that belong to `two_columns`; a sigmoid's are (1 - t, t)."""
    targets = np.asarray(batch.targets, np.float32)
    if outputs > 1:
        return targets
    positive = targets[:, -1:]
    return np.concatenate([1 - positive, positive], axis=1)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """log softmax over the last axis."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def loss_and_gradient(
    scores: np.ndarray, batch: Batch, objective: Objective
) -> tuple[float, np.ndarray]:
    """sum(w * l) / global_size and its gradient in the scores.

    Args:
        scores: Float32[B, outputs], the classifier's own outputs.
        batch: targets Float32[B, K], weights Float32[B].
    Returns:
        the loss and Float32[B, outputs].
    Source:
        Lin et al. 2017, Focal Loss for Dense Object Detection, eq. 4, over soft targets:
        l = -sum_k t_k (1 - p_k)^gamma log p_k; gamma 0 is cross-entropy.
    """
    targets = two_targets(batch, scores.shape[1])
    log_p = log_softmax(two_columns(scores))
    p, gamma = np.exp(log_p), np.float32(objective.focal_gamma)
    # (1 - p)^(gamma - 1) would be infinite at p = 1 for gamma < 1, where its product is 0
    rest = np.maximum(1 - p, np.float32(1e-7))
    modulation = rest**gamma if gamma else np.ones_like(p)
    losses = -(targets * modulation * log_p).sum(axis=1)
    inner = -targets * modulation
    if gamma:
        inner = inner + targets * gamma * p * rest ** (gamma - 1) * log_p
    gradient = inner - p * inner.sum(axis=1, keepdims=True)
    share = np.asarray(batch.weights, np.float32) / np.float32(batch.global_size)
    return float((share * losses).sum()), (share[:, None] * gradient)[:, -scores.shape[1] :]
