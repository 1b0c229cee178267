"""When an evaluation says that its numbers conclude nothing."""

from __future__ import annotations

import pytest

from medimg.reports.language import Words
from medimg.training.conclusions import far_apart, few_patients, too_wide


def cell(value, low, high):
    return {"value": value, "ci95": (low, high)}


def test_validation_far_above_test():
    (found,) = far_apart(
        {"auroc": cell(0.95, 0.92, 0.97)}, {"auroc": cell(0.8, 0.74, 0.85)}, "test"
    )
    assert (found.check, found.severity) == ("validation-test-gap", "warning")
    assert "0.950 (0.920 to 0.970) on validation and 0.800" in found.message
    assert "flatters" in found.message
    (found,) = far_apart(
        {"auroc": cell(0.8, 0.75, 0.85)}, {"auroc": cell(0.95, 0.92, 0.97)}, "test"
    )
    assert "labels of one are worse" in found.message


@pytest.mark.parametrize(
    ("there", "here"),
    [
        (cell(0.95, 0.80, 0.99), cell(0.85, 0.70, 0.95)),  # chance
        (cell(0.93, 0.925, 0.935), cell(0.90, 0.895, 0.905)),  # sure, but small
        (cell(0.9, 0.85, 0.95), {"value": None, "ci95": None}),
    ],
)
def test_close_enough(there, here):
    assert far_apart({"auroc": there}, {"auroc": here}, "test") == []


def test_validation_itself_is_not_compared():
    cells = {"auroc": cell(0.95, 0.94, 0.96)}, {"auroc": cell(0.5, 0.49, 0.51)}
    assert far_apart(*cells, "val") == [] and far_apart(None, cells[1], "test") == []


def test_few_patients_conclude_nothing_however_narrow():
    (found,) = too_wide({"auroc": cell(0.8, 0.79, 0.81)}, 5000, 6, "test")
    assert (
        found.check == "wide-interval" and "5,000 images of test are of 6 patients" in found.message
    )
    spanish = Words("es")
    for images, patients, told, es in (
        (40, 1, "the 40 images of test are of 1 patient:", "las 40 imágenes de test son de 1 p"),
        (1, 1, "the 1 image of test is of 1 patient:", "la única imagen de test es de 1 paciente"),
    ):
        found = few_patients(patients, images, "test")
        assert found.message.startswith(told)
        assert spanish.message(found.message).startswith(es)


def test_wide_intervals_say_how_many_would_do():
    (found,) = too_wide({"auroc": cell(0.8, 0.65, 0.9)}, 80, 40, "test")
    assert found.check == "wide-interval" and "0.25 wide" in found.message
    assert "40 patients allow no conclusion" in found.message
    assert found.hint == "About 250 patients would make it 0.1 wide."
    (found,) = too_wide({"auroc": cell(0.55, 0.48, 0.6)}, 900, None, "test")
    assert "holds 0.5, which is chance" in found.message and "900 images" in found.message
    (found,) = too_wide(
        {"auroc": cell(None, None, None), "accuracy": cell(0.5, 0.2, 0.8)}, 9, None, "test"
    )
    assert "accuracy" in found.message
    assert too_wide({"auroc": cell(0.9, 0.85, 0.94)}, 500, None, "test") == []
