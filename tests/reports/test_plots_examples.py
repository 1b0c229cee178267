"""Which pictures stand as examples, where, and which mistakes are the worst."""

from __future__ import annotations

import numpy as np
import pytest

from medimg.core.scored import Scored
from medimg.reports.plots_examples import (
    COLUMNS,
    ROWS,
    drawn_at_random,
    laid_out,
    surety,
)


@pytest.mark.parametrize(
    ("right", "wrong"), [(100, 100), (100, 3), (3, 100), (100, 0), (0, 100), (2, 1), (1, 0)]
)
def test_half_right_half_wrong_where_there_are_so_many(right, wrong):
    answers = np.r_[np.ones(right, bool), np.zeros(wrong, bool)]
    rows = drawn_at_random(answers)
    assert len(set(rows)) == len(rows)
    fine = int(answers[rows].sum())
    total = COLUMNS * ROWS
    if min(right, wrong) >= total // 2:
        assert (fine, len(rows) - fine) == (total // 2, total // 2)
    else:
        assert min(fine, len(rows) - fine) == min(right, wrong)
    places = [place for place, _ in laid_out(rows, answers)]
    assert len(set(places)) == len(rows) and max(places) < total
    for place, row in laid_out(rows, answers):
        if not answers[row]:
            assert place // COLUMNS >= -(-fine // COLUMNS)


def test_the_worst_mistakes_are_the_farthest_from_the_threshold():
    p = np.array([0.1, 0.19, 0.25, 0.6])
    scored = Scored([1, 1, 0, 0], np.c_[1 - p, p], 1, 0.2)
    assert surety(scored) == pytest.approx([0.5, 0.05, 0.0625, 0.5])
    three = Scored([0], [[0.2, 0.5, 0.3]])
    assert surety(three) == pytest.approx([0.5])
