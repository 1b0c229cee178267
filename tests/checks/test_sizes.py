"""Parts and classes too small for what they are to show."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from statsmodels.stats.proportion import proportion_confint

from medimg.api import DatasetIndex, Sample, UsageError
from medimg.checks.small_test import interval_width, needed
from medimg.core.checking import CheckContext, NotApplicable
from medimg.core.index import FileSource


def context_of(counts: dict[str, dict[str, int]], images_a_patient: int = 0) -> CheckContext:
    """Images by part and class, which nobody opens; patients where wanted."""
    samples = tuple(
        Sample(
            f"{split}/{label}/{n}.png",
            label,
            f"{split}-{label}-{n // images_a_patient}" if images_a_patient else None,
            split or None,
        )
        for split, own in counts.items()
        for label, count in own.items()
        for n in range(count)
    )
    classes = tuple(sorted({label for own in counts.values() for label in own}))
    return CheckContext(
        DatasetIndex("x", Path("x"), "folder", FileSource(Path("x")), samples, classes), {}
    )


# -- test ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 16, 36, 37, 1000])
@pytest.mark.parametrize("expected", [0.5, 0.9, 1.0])
def test_the_width_is_statsmodels(n, expected):
    low, high = proportion_confint(expected * n, n, method="wilson")
    assert interval_width(n, expected) == pytest.approx(high - low, abs=1e-12)


@pytest.mark.parametrize("width", [0.05, 0.1, 0.2])
def test_as_many_as_are_needed_and_no_more(width):
    n = needed(width, 0.9)
    assert interval_width(n, 0.9) <= width < interval_width(n - 1, 0.9)


def test_a_test_part_too_small_for_the_interval(run_check):
    context = context_of({"train": {"a": 90, "b": 90}, "test": {"a": 16, "b": 90}})
    (finding,) = run_check("small-test", context)
    low, high = proportion_confint(0.9 * 16, 16, method="wilson")
    assert (finding.severity, finding.count) == ("warning", 16)
    assert finding.items == (
        {"class": "a", "split": "test", "images": 16, "width": round(high - low, 3)},
    )
    assert finding.message == (
        f"test holds 16 images of a: a sensitivity of 90% will have a 95 % interval of {low:.0%} "
        f"to {high:.0%}, {high - low:.2f} wide; 0.2 takes {needed(0.2, 0.9)} images a class"
    )


@pytest.mark.parametrize(("images", "found"), [(needed(0.2, 0.9) - 1, 1), (needed(0.2, 0.9), 0)])
def test_the_smallest_part_that_is_enough(images, found, run_check):
    context = context_of({"train": {"a": 9, "b": 9}, "test": {"a": images, "b": 99}})
    assert len(run_check("small-test", context)) == found


def test_images_of_a_patient_count_once(run_check):
    many = {"train": {"a": 90, "b": 90}, "test": {"a": 80, "b": 400}}
    assert run_check("small-test", context_of(many)) == []
    (finding,) = run_check("small-test", context_of(many, images_a_patient=5))
    assert "test holds 16 patients of a, 80 images" in finding.message
    assert finding.items[0]["patients"] == 16 and len(finding.items) == 1


def test_width_and_sensitivity_are_the_users(run_check):
    context = context_of({"train": {"a": 9, "b": 9}, "test": {"a": 100, "b": 100}})
    assert run_check("small-test", context) == []
    (finding,) = run_check("small-test", context, width=0.1)
    assert finding.count == 200
    assert len(run_check("small-test", context, width=0.18, expected=0.5)) == 1
    with pytest.raises(UsageError, match="width"):
        run_check("small-test", context, width=0.0)


def test_the_hint_makes_parts_that_are_large_enough(run_check):
    context = context_of({"train": {"a": 170, "b": 300}, "val": {"a": 9, "b": 9},
                          "test": {"a": 30, "b": 30}})  # fmt: skip
    hints = {run_check(name, context)[0].hint for name in ("small-test", "small-validation")}
    (hint,) = hints
    ratios = re.search(r"--split-ratios (\d+)/(\d+)/(\d+)", hint)
    shares = [int(share) for share in ratios.groups()]
    assert sum(shares) == 100
    least = 209
    assert shares[1] * least >= 30 * 100 and shares[2] * least >= needed(0.2, 0.9) * 100
    assert run_check("small-validation", context, images=80)[0].hint.endswith("--folds 5")
    few = context_of({"train": {"a": 60, "b": 60}, "test": {"a": 30, "b": 30}})
    assert run_check("small-test", few)[0].hint.endswith("--folds 5")


def test_no_test_part_is_said(run_check):
    with pytest.raises(NotApplicable, match="no test part"):
        run_check("small-test", context_of({"": {"a": 5, "b": 5}}))


# -- validation, classes ---------------------------------------------------------------------------


@pytest.mark.parametrize(("images", "fewest", "found"), [(30, 30, 0), (29, 30, 1), (29, 20, 0)])
def test_a_small_validation_part(images, fewest, found, run_check):
    parts = {"train": {"a": 99, "b": 99}, "val": {"a": images, "b": 99}}
    findings = run_check("small-validation", context_of(parts), images=fewest)
    assert len(findings) == found
    assert all(f.items == ({"class": "a", "split": "val", "images": 29},) for f in findings)


def test_the_published_validation_part_is_too_small(run_check):
    """The chest X-ray set as it is published: 16 images."""
    parts = {"train": {"N": 1341, "P": 3875}, "val": {"N": 8, "P": 8}, "test": {"N": 234, "P": 390}}
    (finding,) = run_check("small-validation", context_of(parts))
    assert finding.message.startswith("validation holds 16 images, with 8 of N, 8 of P")
    assert run_check("small-test", context_of(parts)) == []
    assert run_check("imbalance", context_of(parts)) == []


@pytest.mark.parametrize(
    ("n", "parts", "severity"),
    [(1, 3, "error"), (2, 3, "warning"), (4, 5, "warning"), (3, 3, None)],
)
def test_a_class_smaller_than_the_parts(n, parts, severity, run_check):
    context = context_of({"": {"a": 50, "b": 50, "c": n}})
    assert [f.severity for f in run_check("small-class", context, parts=parts)] == (
        [severity] if severity else []
    )


def test_a_small_class_says_which_part_got_none(run_check):
    context = context_of({"train": {"a": 9, "b": 1}, "val": {"a": 9}, "test": {"a": 9, "b": 1}})
    (finding,) = run_check("small-class", context)
    assert finding.message.endswith(
        "it can't stand in training, validation and test, and val got none"
    )


def test_patients_of_a_small_class_count_and_not_its_images(run_check):
    context = context_of({"": {"a": 50, "b": 10}}, images_a_patient=5)
    (finding,) = run_check("small-class", context)
    assert "the class b has 2 patients (10 images)" in finding.message


@pytest.mark.parametrize(("ratio", "found"), [(3.0, 1), (5.0, 1), (5.1, 0)])
def test_imbalance_from_a_ratio_on(ratio, found, run_check):
    context = context_of({"": {"a": 50, "b": 10}})
    assert len(run_check("imbalance", context, ratio=ratio)) == found
