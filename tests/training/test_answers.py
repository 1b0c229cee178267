"""Alarms about a network's answers, at the threshold that they were given at."""

from __future__ import annotations

import pytest

from medimg.reports.language import Words
from medimg.statistics.bootstrap import Interval
from medimg.training.answers import alarms, guessing, in_words

YOUDEN = {"value": 0.03125, "rule": "youden", "chosen_on": "val"}


def test_one_answer_for_all_is_an_error_that_names_the_threshold():
    (found,) = alarms([[0, 8], [0, 24]], ("NORMAL", "SICK"), "validation", YOUDEN)
    assert (found.check, found.severity, found.count) == ("one-class-predicted", "error", 32)
    assert found.items == ({"class": "SICK"},)
    assert "SICK for all 32 validation images at the threshold 0.03125 (youden on val)" in (
        found.message
    )
    assert "accuracy 0.750 is the share of that class" in found.message


GIVEN = {"value": 0.5, "rule": "0.5", "chosen_on": None}


@pytest.mark.parametrize(
    ("threshold", "elsewhere", "constant", "told"),
    [
        (YOUDEN, False, False, "Lower the learning rate"),
        (None, False, False, "Lower the learning rate"),
        (GIVEN, False, True, "Lower the learning rate"),
        (GIVEN, False, False, "All probabilities lie on one side of the threshold 0.5: give"),
        (GIVEN, True, False, "All probabilities lie on one side of the threshold 0.5: give"),
        (GIVEN, True, True, "All images have the same probabilities: look at how"),
        (YOUDEN, True, False, "Look at the probabilities of SICK: are the columns"),
    ],
)
def test_the_way_out_of_one_answer_is_what_explains_it(threshold, elsewhere, constant, told):
    (found,) = alarms(
        [[0, 8], [0, 24]], ("NORMAL", "SICK"), "test", threshold,
        elsewhere=elsewhere, constant=constant,
    )  # fmt: skip
    assert found.hint.startswith(told)
    assert Words("es").next_step(found.check, found.hint) not in ("", found.hint)


def test_an_accuracy_no_better_than_the_commonest_class_is_a_warning():
    (found,) = alarms([[4, 4], [4, 20]], ("NORMAL", "SICK"), "test", None)
    assert (found.check, found.severity) == ("no-better-than-majority", "warning")
    assert found.message.startswith("test accuracy 0.750 is no better") and "(0.750)" in (
        found.message
    )


@pytest.mark.parametrize(
    "counts", [[[5, 3], [3, 21]], [[0, 0], [0, 24]], [[3, 1, 0], [0, 3, 0], [0, 0, 3]]]
)
def test_good_answers_and_a_part_of_one_class_are_silent(counts):
    assert alarms(counts, ("a", "b", "c"), "test", None) == []


def test_an_accuracy_whose_interval_reaches_the_commonest_class_is_a_warning():
    counts = [[5, 3], [3, 21]]
    (found,) = alarms(counts, ("NORMAL", "SICK"), "test", None, (0.64, 0.91))
    assert (found.check, found.severity) == ("no-better-than-majority", "warning")
    assert found.message == (
        "test accuracy 0.812, 95 % interval 0.640 to 0.910, can't be told from always answering "
        "SICK (0.750)"
    )
    assert alarms(counts, ("NORMAL", "SICK"), "test", None, (0.751, 0.91)) == []
    # below the share the numbers themselves say it
    (below,) = alarms([[4, 4], [4, 20]], ("NORMAL", "SICK"), "test", None, (0.6, 0.9))
    assert "is no better than always answering SICK (0.750)" in below.message


def test_an_area_that_may_be_guessing_is_a_warning():
    """At a threshold chosen on the same images, guesses beat the majority."""
    (found,) = guessing(Interval(0.52, 0.41, 0.63, "DeLong"), "validation", YOUDEN)
    assert (found.check, found.severity) == ("no-better-than-majority", "warning")
    assert found.message == (
        "validation AUROC 0.520, 95 % interval 0.410 to 0.630 (DeLong), can't be told from "
        "guessing (0.5), and the threshold was chosen on these images, which flatters the accuracy"
    )
    assert guessing(Interval(0.62, 0.51, 0.73, "DeLong"), "validation", YOUDEN) == []
    assert guessing(Interval(None, None, None, "DeLong", "one class"), "validation", None) == []


def test_thresholds_in_words():
    assert in_words(None) == ""
    assert in_words({"value": 0.5, "rule": "0.5", "chosen_on": None}) == " at the threshold 0.5"
    assert in_words({"value": 0.2, "rule": "given", "chosen_on": None}).endswith("0.2 (given)")
