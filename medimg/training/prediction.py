"""Probabilities from a network, for a part of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from medimg.core.errors import PluginError

if TYPE_CHECKING:
    from medimg.core.types import Network


def softmax(logits: np.ndarray) -> np.ndarray:
    """Float64[N, K] probabilities of Float[N, K] logits, without overflow."""
    wide = np.asarray(logits, dtype=np.float64)
    powers = np.exp(wide - wide.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def probabilities_of(logits: np.ndarray, card: Mapping[str, Any]) -> np.ndarray:
    """Float64[N, K] probabilities of Float[N, K] logits, recalibrated as a run's model.json says,
    then brought to the temperature that the run keeps.

    Runs on unchanged class shares, and those of before there was recalibration, say nothing.
    """
    from medimg.statistics.recalibration import Shift

    known = card.get("recalibration")
    if known is not None:
        logits = Shift(known["slope"], tuple(known["intercepts"])).apply(logits)
    return softmax(np.asarray(logits, dtype=np.float64) / (card.get("temperature") or 1.0))


def predict_logits(
    network: Network,
    batches: Iterable[np.ndarray],
    classes: int,
    progress: Callable[[int], object] | None = None,
) -> np.ndarray:
    """Float32[N, K] logits.

    Raises:
        PluginError: the backend answered another shape than it promised.
    """
    parts = []
    for logits in network.predict(batches):
        if logits.ndim != 2 or logits.shape[1] != classes:
            raise PluginError(
                f"the backend returned logits of shape {logits.shape} for {classes} classes"
            )
        parts.append(np.asarray(logits, dtype=np.float32))
        if progress:
            progress(len(logits))
    return np.concatenate(parts) if parts else np.zeros((0, classes), np.float32)


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood of Int[N] labels under Float[N, K] logits."""
    wide = np.asarray(logits, dtype=np.float64)
    top = wide.max(axis=1)
    log_sum = top + np.log(np.exp(wide - top[:, None]).sum(axis=1))
    return float(np.mean(log_sum - wide[np.arange(len(labels)), labels]))
