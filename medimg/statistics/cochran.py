"""Cochran's Q: whether several runs' accuracies differ at all on the same images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import chdtrc

from medimg.core.errors import InputError

METHOD = "Cochran's Q"


@dataclass(frozen=True, slots=True)
class Omnibus:
    """One test of several runs at once.

    Args:
        statistic: Q, about chi-squared with `df` degrees of freedom where no run differs.
        p: of a Q as large.
        images: on which not all runs were right, nor all wrong; only these count.
    """

    statistic: float
    df: int
    p: float
    images: int


def cochran(right: Any) -> Omnibus:
    """The test that k runs are equally often right, to be looked at before their pairs are.

    Args:
        right: Bool[k, N], whether each run was right on each image; k > 1. Images must be
            independent: it knows nothing of patients.
    Returns:
        Q = 0 and p = 1 where the runs are right on the same images.
    Raises:
        InputError: fewer than two runs, or no image.
    Source:
        Cochran 1950, The comparison of percentages in matched samples.
    """
    table = np.asarray(right).astype(bool)
    if table.ndim != 2 or table.shape[0] < 2 or not table.shape[1]:
        raise InputError(f"answers of shape {table.shape}: two runs and an image are needed")
    runs = table.shape[0]
    by_run = table.sum(axis=1).astype(np.float64)
    by_image = table.sum(axis=0).astype(np.float64)
    total = by_run.sum()
    mixed = int(((by_image > 0) & (by_image < runs)).sum())
    if not mixed:
        return Omnibus(0.0, runs - 1, 1.0, 0)
    spread = runs * (by_run**2).sum() - total**2
    q = float((runs - 1) * spread / (runs * total - (by_image**2).sum()))
    return Omnibus(q, runs - 1, float(chdtrc(runs - 1, q)), mixed)
