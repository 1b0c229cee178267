"""Patients on two sides of the split, and in two classes."""

from __future__ import annotations

import pytest

BY_NAME = r"(p\d+)_"


@pytest.fixture
def leaky(planted, small_set, noise):
    """Patients 1 and 2 stand in train and test; patient 2 in both classes."""
    return planted(
        small_set
        | {"test/a/p1_2.png": noise(301), "test/a/p1_3.png": noise(302)}
        | {"test/b/p2_2.png": noise(303)},
        group_regex=BY_NAME,
    )


def test_patients_on_two_sides_are_named_with_all_their_files(leaky, run_check):
    (finding,) = run_check("patient-leakage", leaky)
    assert (finding.severity, finding.count) == ("error", 2)
    assert finding.message == (
        "2 patients have images on two sides of the split (train/test), the first p1"
    )
    assert {row["patient"]: set(row["files"]) for row in finding.items} == {
        "p1": {"train/a/p1_1.png", "test/a/p1_2.png", "test/a/p1_3.png"},
        "p2": {"train/a/p2_1.png", "test/b/p2_2.png"},
    }
    assert all(row["splits"] == ["train", "test"] for row in finding.items)


def test_patients_of_both_classes_are_information(leaky, run_check):
    (finding,) = run_check("patient-both-classes", leaky)
    assert (finding.severity, finding.count) == ("info", 1)
    assert finding.items == ({"patient": "p2", "classes": ["a", "b"]},)
    assert finding.message == "1 of 12 patients has images of more than one class"


def test_a_patient_whose_images_stay_on_one_side(planted, run_check, small_set, noise):
    context = planted(small_set | {"train/b/p1_2.png": noise(301)}, group_regex=BY_NAME)
    assert run_check("patient-leakage", context) == []


def test_the_pattern_decides_who_is_a_patient(planted, run_check, noise):
    """Numbers count anew in each series: the bare number reports leaks that are none."""
    files = {
        f"{split}/PNEUMONIA/person{n}_{kind}_{n}.png": noise(40 * place + n)
        for place, (split, kind) in enumerate([("train", "virus"), ("test", "bacteria")])
        for n in range(1, 5)
    }
    files |= {
        f"{s}/NORMAL/IM-{s}{n}-1.png": noise(900 + n + 9 * (s == "test"))
        for s in ("train", "test")
        for n in range(3)
    }
    series = r"(person\d+_(?:virus|bacteria)|(?:NORMAL2-)?IM-\w+)"
    assert run_check("patient-leakage", planted(files, group_regex=series)) == []
    (false_alarm,) = run_check("patient-leakage", planted(files, group_regex=r"(person\d+|IM-\w+)"))
    assert false_alarm.count == 4
