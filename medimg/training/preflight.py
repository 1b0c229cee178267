"""Before training: does the loss fit the labels, and can the network learn at all?

Cheap questions whose answers save a night: one batch of eight pictures, balanced by class, without
augmentation. Weights, statistics and random draws are left as they were.

Source:
    Karpathy 2019, A Recipe for Training Neural Networks: verify the loss at the start, overfit
    one batch.
"""

from __future__ import annotations

import math
import time
from itertools import islice, repeat, zip_longest
from typing import TYPE_CHECKING

import numpy as np

from medimg.core.types import Batch, Finding, Objective, Optimizer
from medimg.training.lr_finder import left_as_it_was
from medimg.training.prediction import predict_logits, softmax

if TYPE_CHECKING:
    from medimg.core.loader import Loader
    from medimg.core.types import Network

PICTURES = 8
# bfloat16 keeps 8 bits, and two graphs of one network may round at other places
TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2}
# a fresh network that knows nothing answers near ln K
FAR_FROM_CHANCE = 3.0
OVERFIT_STEPS = 60
OVERFIT_RATE = 1e-3
FEWEST_STEPS = 30
PATIENCE = 4
LEARNT, NOT_LEARNT = 0.25, 0.7


def preflight(
    network: Network,
    loader: Loader,
    *,
    objective: Objective,
    optimizer: Optimizer,
    trainable_from: int = 0,
    fresh: bool = True,
    seconds: float = 2.0,
) -> list[Finding]:
    """What should stop or worry somebody who is about to train.

    Args:
        loader: the training part.
        objective, optimizer: those of the training to come.
        trainable_from: the lowest trained stage.
        fresh: the network knows nothing yet, so that its loss should be near ln K.
        seconds: where the network is so slow that a batch can't be overfitted in this time,
            nothing is said about it.
    Returns:
        `loss-mismatch` (error) alone, or `initial-loss` and `cannot-overfit` (warnings).
    """
    labels, images = few_pictures(loader)
    with left_as_it_was(network):
        wrong = shape_mismatch(network, loader) or loss_mismatch(
            network, loader, images, labels, objective, optimizer
        )
        if wrong:
            return [wrong]
        losses = overfit(network, loader, images, labels, optimizer, trainable_from, seconds)
    found = [not_chance(losses[0], loader.classes) if fresh and losses else None]
    return [finding for finding in (*found, not_overfitted(losses)) if finding]


def few_pictures(loader: Loader, count: int = PICTURES) -> tuple[np.ndarray, np.ndarray]:
    """(Int[B], UInt8[B, H, W, C]): the first pictures, a class after the other in turn."""
    labels = np.asarray(loader.labels)
    places = (np.flatnonzero(labels == k)[:count] for k in range(loader.classes))
    turns = (place for row in zip_longest(*places) for place in row if place is not None)
    picked = np.array(list(islice(turns, count)), dtype=np.int64)
    return labels[picked], np.asarray(loader.pixels[loader.rows[picked]])


# -- does the loss fit the labels ----------------------------------------------------------------


def mismatch(message: str, hint: str) -> Finding:
    return Finding("loss-mismatch", "error", message, 1, (), hint)


def shape_mismatch(network: Network, loader: Loader) -> Finding | None:
    """The network's outputs and the targets must be about the same classes."""
    classes, outputs = loader.classes, network.spec.outputs
    if outputs != classes and not (outputs == 1 and classes == 2):
        return mismatch(
            f"the network ends in {outputs} outputs, the labels have {classes} classes",
            "One output is for two classes; else one a class.",
        )
    targets = loader.soft_targets()
    if targets.shape != (classes, classes) or not np.allclose(targets.sum(axis=1), 1, atol=1e-5):
        return mismatch(
            "the targets of some class do not sum to 1",
            "Cross-entropy takes shares of classes: look at the label smoothing.",
        )
    return None


def loss_mismatch(
    network: Network,
    loader: Loader,
    images: np.ndarray,
    labels: np.ndarray,
    objective: Objective,
    optimizer: Optimizer,
) -> Finding | None:
    """The loss that the backend trains on, against the same loss computed from its logits.

    A loss on probabilities taken for logits, a sigmoid under a softmax's labels, classes in
    another order: each trains to something, and none to what the labels say.
    """
    targets = loader.soft_targets()[labels]
    # uneven weights, so that a backend which forgets them is seen
    weights = np.linspace(0.5, 1.5, len(labels)).astype(np.float32)
    batch = Batch(images, targets, weights, len(labels))
    # nothing is trained: every stage infers, as in prediction
    network.prepare(objective, optimizer, len(network.stages))
    trained_on = network.train_epoch(
        [batch], np.zeros((1, 1), np.float32), seed=0, on_step=lambda step, loss: True
    ).loss
    logits = predict_logits(network, [images], loader.classes)
    expected = expected_loss(logits, targets, weights, objective.focal_gamma)
    if not (math.isfinite(trained_on) and math.isfinite(expected)):
        return None
    allowed = TOLERANCE.get(optimizer.precision, 5e-2) * (1 + abs(expected))
    if abs(trained_on - expected) <= allowed:
        return None
    return mismatch(
        f"the backend's loss on {len(labels)} pictures is {trained_on:.4f}, but its own "
        f"predictions and the labels give {expected:.4f}",
        "Its loss is not the cross-entropy of its answers (logits taken for probabilities, or "
        "classes in another order): report it to the backend's authors.",
    )


def expected_loss(
    logits: np.ndarray, targets: np.ndarray, weights: np.ndarray, gamma: float
) -> float:
    """Weighted focal cross-entropy in float64; gamma 0 is plain.

    Args:
        logits, targets: Float[B, K].
        weights: Float[B].
    """
    p = softmax(logits)
    log_p = np.log(np.maximum(p, 1e-300))
    losses = -(targets * (1 - p) ** gamma * log_p).sum(axis=1)
    return float((weights * losses).sum() / len(weights))


# -- can it learn --------------------------------------------------------------------------------


def overfit(
    network: Network,
    loader: Loader,
    images: np.ndarray,
    labels: np.ndarray,
    optimizer: Optimizer,
    trainable_from: int,
    seconds: float,
) -> list[float]:
    """The losses of steps on one batch, the first before anything was learnt.

    Adam at a usual rate whatever the training's own settings: the question is whether gradients
    reach the weights, not whether the schedule is good.
    """
    losses: list[float] = []
    # the first step may compile a graph
    end = time.perf_counter() + PATIENCE * seconds

    def told(step: int, loss: float) -> bool:
        nonlocal end
        losses.append(loss)
        now = time.perf_counter()
        in_time = now < end
        if step == 0:
            end = now + seconds
        return in_time and math.isfinite(loss) and loss > LEARNT * losses[0]

    hard = np.eye(loader.classes, dtype=np.float32)[labels]
    batch = Batch(images, hard, np.ones(len(labels), np.float32), len(labels))
    settings = Optimizer(name="adam", precision=optimizer.precision)
    network.prepare(Objective(), settings, trainable_from)
    rates = np.full((OVERFIT_STEPS, 1), OVERFIT_RATE, np.float32)
    network.train_epoch(repeat(batch, OVERFIT_STEPS), rates, seed=0, on_step=told)
    return losses


def not_chance(loss: float, classes: int) -> Finding | None:
    chance = math.log(classes)
    if chance / FAR_FROM_CHANCE <= loss <= chance * FAR_FROM_CHANCE:
        return None
    return Finding(
        "initial-loss",
        "warning",
        f"before training the loss is {loss:.2f}; a network that knows nothing of {classes} "
        f"classes has ln {classes} = {chance:.2f}",
        hint="Pixels may be scaled otherwise than the network expects, or its first weights are "
        "too large: medimg models show NAME. Warm-up (one-cycle) and a low rate help.",
    )


def not_overfitted(losses: list[float]) -> Finding | None:
    """Nothing is said of a network that was too slow to be judged."""
    if len(losses) < FEWEST_STEPS:
        return None
    lowest = min(float(np.mean(losses[n : n + 5])) for n in range(len(losses) - 4))
    if lowest <= NOT_LEARNT * losses[0]:
        return None
    return Finding(
        "cannot-overfit",
        "warning",
        f"{len(losses)} steps on the same {PICTURES} pictures brought the loss from "
        f"{losses[0]:.3f} to {lowest:.3f} only: the network hardly learns",
        hint="Another model, fewer frozen layers, or look whether the pictures show anything at "
        "this --image-size (medimg inspect DATASET).",
    )
