"""Cross-entropy over soft targets, its focal form, and the L2 penalty, in TensorFlow."""

from __future__ import annotations

from typing import Any

from medimg.api import Objective
from medimg_keras.startup import tf


def data_loss(scores: Any, targets: Any, weights: Any, size: Any, objective: Objective) -> Any:
    """sum(w * l) / global_size.

    Args:
        scores: Float32[B, outputs]; one sigmoid logit z stands for (0, z).
        targets: Float32[B, K].
        weights: Float32[B].
        size: images in the step over all processes.
        objective: `focal_gamma` above 0 gives Lin et al. 2017, eq. 4, over soft targets.
    """
    if scores.shape[1] == 1:
        positive = targets[:, -1:]
        targets = tf.concat([1 - positive, positive], axis=1)
        # log sigmoid(-z) and log sigmoid(z): the log-softmax of (0, z) without its detour
        log_p = -tf.nn.softplus(tf.concat([scores, -scores], axis=1))
    else:
        log_p = tf.nn.log_softmax(scores)
    losses = -targets * log_p
    if objective.focal_gamma:
        # the floor keeps the power's derivative finite at p = 1
        losses *= tf.maximum(-tf.math.expm1(log_p), 1e-7) ** objective.focal_gamma
    return tf.reduce_sum(weights * tf.reduce_sum(losses, axis=1)) / size


def penalty(kernels: list[Any], l2: float) -> Any:
    """l2 times the sum of squares, as Keras' own regulariser has it."""
    return l2 * tf.add_n([tf.reduce_sum(tf.square(k)) for k in kernels])
