"""Whether a network sees pixels as its pretrained weights were taught to see them.

The same weights give other answers to pixels of another scale, and nothing fails: the network is
only worse. An EfficientNet of Keras rescales inside, so that 0..1 before it is wrong; VGG's
weights want Caffe's channel order and means.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medimg.core.types import Finding, Network
from medimg.training.pretrained import IMAGENET, NONE

# what leaves pixels as they are: `inside` says that the network does the rest itself
SAME = {"inside": "none"}


def scaling_mismatch(network: Network, source: str, backend: Any) -> Finding | None:
    """The warning `pixel-scaling` where the scaling is another than that of the weights.

    Args:
        source: what the weights were taken from: `imagenet`, a weights file (taken for ImageNet's
            of the same network), or a run folder, which says its own scaling.
        backend: may have `pretrained_scaling(architecture)`, the scaling of a network's ImageNet
            weights, None for networks without any.
    """
    wanted = scaling_of(network, source, backend)
    seen = network.spec.scaling
    if wanted is None or SAME.get(wanted, wanted) == SAME.get(seen, seen):
        return None
    message = (
        f"{network.spec.name} scales pixels as {seen!r}, but the weights of {source} were trained "
        f"on pixels scaled as {wanted!r}"
    )
    if is_run(source):
        hint = f"Train the model of that run, whose card has scaling: {wanted}."
    elif source == IMAGENET:
        hint = f"Write scaling: {wanted} into the model's card (medimg models show NAME)."
    else:
        hint = f"Right if the file was trained so; else write scaling: {wanted} into the card."
    return Finding("pixel-scaling", "warning", message, 1, (), hint)


def scaling_of(network: Network, source: str, backend: Any) -> str | None:
    """The scaling that the weights of a source were trained with; None where nobody knows."""
    if source == NONE:
        return None
    if is_run(source):
        from medimg.core.runs import read_run
        from medimg.training.experiment import spec_of

        return spec_of(read_run(Path(source)).card).scaling
    known = getattr(backend, "pretrained_scaling", None)
    return known(network.spec.architecture) if known else None


def is_run(source: str) -> bool:
    return source != IMAGENET and Path(source).is_dir()
