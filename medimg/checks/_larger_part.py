"""How a split has to be cut so that its parts are large enough."""

from __future__ import annotations

from math import ceil

from medimg.api import CheckContext
from medimg.checks.small_class import units
from medimg.core.checking import grouped

# what `medimg split` cuts by itself, and what training needs at least, in percent
USUAL, LEAST_TRAINING = 15, 50


def cut_hint(context: CheckContext, *, val: int = 30, test: int = 37) -> str:
    """The command that makes a split with so many in the parts, or the one that needs none.

    Args:
        val: images of each class in validation.
        test: patients (images where they are unknown) of each class in test.
    """
    classes = grouped(context.index.samples, lambda s: s.label).values()
    # one more than wanted: grouping by patient rounds
    val_share = max(ceil(100 * (val + 1) / len(own)) for own in classes)
    test_share = max(ceil(100 * (test + 1) / units(own)) for own in classes)
    val_share, test_share = max(USUAL, val_share), max(USUAL, test_share)
    train_share = 100 - val_share - test_share
    if train_share >= LEAST_TRAINING:
        ratios = f"{train_share}/{val_share}/{test_share}"
        return f"Make larger parts: medimg split DATASET --split-ratios {ratios}"
    return (
        "There are too few for parts that are large enough. Cross-validate, so that every image is "
        "tested once: medimg split DATASET --folds 5"
    )
