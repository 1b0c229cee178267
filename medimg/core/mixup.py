"""Mixup: pictures blended with others of their batch, and their labels with them.

Source:
    Zhang et al. 2018, mixup: Beyond Empirical Risk Minimization; a share a picture, and partners
    within the batch, as in timm.
"""

from __future__ import annotations

import numpy as np

from medimg.core.types import Batch


def mixed(batch: Batch, alpha: float, random: np.random.Generator) -> Batch:
    """The batch with every picture blended with another one.

    Args:
        alpha: of the Beta distribution that shares are drawn from; small values change little.
        random: where shares and partners are drawn.
    Returns:
        a batch whose loss is, for each picture, the weighted mean of the losses against both
        labels: weights are mixed with the targets.
    """
    count = len(batch.images)
    share = random.beta(alpha, alpha, count).astype(np.float32)
    # a picture stays mostly itself
    share = np.maximum(share, 1 - share)
    other = random.permutation(count)
    wide = share.reshape(-1, *[1] * (batch.images.ndim - 1))
    pixels = wide * batch.images + (1 - wide) * batch.images[other]
    own, lent = share * batch.weights, (1 - share) * batch.weights[other]
    weights = own + lent
    kept = np.divide(own, weights, out=share.copy(), where=weights > 0)[:, None]
    return Batch(
        np.rint(pixels).astype(np.uint8),
        (kept * batch.targets + (1 - kept) * batch.targets[other]).astype(np.float32),
        weights.astype(np.float32),
        batch.global_size,
    )
