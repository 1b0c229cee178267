"""Patients on two sides of the split, in two classes, one for many, and ids that are none."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from medimg.api import DatasetIndex, Sample
from medimg.core.checking import CheckContext, NotApplicable
from medimg.core.index import FileSource

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


def context_of(rows: Iterable[tuple[str, str, str | None, str | None]]) -> CheckContext:
    """A dataset of (path, class, patient, part) that nobody opens."""
    samples = tuple(Sample(*row) for row in rows)
    classes = tuple(sorted({str(s.label) for s in samples}))
    return CheckContext(
        DatasetIndex("x", Path("x"), "folder", FileSource(Path("x")), samples, classes), {}
    )


# -- one patient for many --------------------------------------------------------------------------


def images(label: str, counts: dict[str, int], split: str | None = None):
    """Rows of a class: images by patient."""
    return [
        (f"{label}/{patient}_{n}.png", label, patient, split)
        for patient, count in counts.items()
        for n in range(count)
    ]


def even(prefix: str, patients: int = 20, each: int = 5) -> dict[str, int]:
    return {f"{prefix}{n}": each for n in range(patients)}


def test_one_patient_with_a_large_share_of_a_class(run_check):
    context = context_of([*images("a", even("a") | {"much": 60}), *images("b", even("b"))])
    (finding,) = run_check("patient-dominates", context)
    assert (finding.severity, finding.count) == ("warning", 1)
    assert finding.message == "patient much has 38% of the images of the class a (60 of 160)"
    assert finding.items == (
        {"patient": "much", "class": "a", "images": 60, "of": 160, "share": 0.375},
    )


def test_one_patient_with_a_large_share_of_a_part(run_check):
    rows = [*images("a", even("a", 60), "train"), *images("b", even("b", 60), "train")]
    rows += [*images("a", even("ta"), "test"), *images("b", even("tb", 8) | {"big": 40}, "test")]
    (finding,) = run_check("patient-dominates", context_of(rows))
    assert "patient big has 50% of the images of b in test (40 of 80)" in finding.message
    assert [row.get("split") for row in finding.items] == ["test"]


def test_the_share_is_the_users(run_check):
    context = context_of([*images("a", even("a") | {"much": 25}), *images("b", even("b"))])
    assert run_check("patient-dominates", context) == []
    assert len(run_check("patient-dominates", context, share=0.2)) == 1


def test_few_patients_with_equal_shares_are_no_fault(run_check):
    context = context_of([*images("a", even("a", 3, 20)), *images("b", even("b", 2, 20))])
    assert run_check("patient-dominates", context) == []


def test_unknown_patients_are_said(run_check):
    bare = context_of([(f"a/{n}.png", "ab"[n % 2], None, None) for n in range(40)])
    for name in ("patient-dominates", "patient-ids-unusable"):
        with pytest.raises(NotApplicable, match="patients are unknown"):
            run_check(name, bare)


# -- ids that are none -----------------------------------------------------------------------------


def rows_with_ids(ids: Iterable[str]) -> CheckContext:
    return context_of((f"{n:03}.png", "ab"[n % 2], one, None) for n, one in enumerate(ids))


def test_ids_that_are_all_unique_are_information(run_check):
    (finding,) = run_check("patient-ids-unusable", rows_with_ids(f"p{n}" for n in range(40)))
    assert (finding.severity, finding.count) == ("info", 40)
    assert "40 patients for 40 images" in finding.message
    assert "leakage can't be ruled out" in finding.message


def test_ids_that_are_the_files_names_are_a_warning(run_check):
    (finding,) = run_check("patient-ids-unusable", rows_with_ids(f"{n:03}" for n in range(40)))
    assert finding.severity == "warning" and "names of the files" in finding.message


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (["one"] * 40, "one patient, one, has all 40 images"),
        (["A", "B"] * 20, "the names of the classes"),
        (["left", "right"] * 20, "each class has one patient"),
        (["train", "train", "test", "test"] * 10, "the names of the parts"),
    ],
)
def test_ids_that_say_something_else(ids, said, run_check):
    (finding,) = run_check("patient-ids-unusable", rows_with_ids(ids))
    assert finding.severity == "warning" and said in finding.message


@pytest.mark.parametrize(
    "ids",
    [
        [f"p{n // 2}" for n in range(40)],
        [f"person{n % 10}_{'virus' if n < 20 else 'bacteria'}" for n in range(40)],
        [f"IM-{n % 13}" for n in range(40)],
    ],
)
def test_ids_that_come_again_are_fine(ids, run_check):
    assert run_check("patient-ids-unusable", rows_with_ids(ids)) == []


def test_a_handful_of_images_says_nothing_of_ids(run_check):
    few = rows_with_ids(f"p{n}" for n in range(12))
    assert run_check("patient-ids-unusable", few) == []
    assert len(run_check("patient-ids-unusable", few, images=10)) == 1


@pytest.mark.parametrize(
    "name", ["breakhis_mini", "chest_xray_kermany", "idc_breast_histopathology"]
)
def test_real_patients_are_usable(name, shared_data, run_check):
    from medimg.manager import plugins
    from medimg.opening import open_dataset

    manager = plugins()
    index = open_dataset(
        str(shared_data / name), layout=None, options={}, manager=manager,
        registry=manager.registry(),
    )  # fmt: skip
    assert run_check("patient-ids-unusable", CheckContext(index, {})) == []
    assert run_check("patient-dominates", CheckContext(index, {})) == []


def some_patients(*groups: str | None, split: str = "train") -> list[tuple]:
    return [(f"{split}/{n}.png", "a", group, split) for n, group in enumerate(groups)]


@pytest.mark.parametrize(
    ("one", "other"), [("7", "7.0"), ("7", "007"), ("P0", "p0"), ("p 12", "p012")]
)
def test_one_patient_written_in_two_ways_is_said(one, other, run_check):
    samples = some_patients(one, "other") + some_patients(other, split="test")
    (finding,) = run_check("patient-ids-unusable", context_of(samples))
    assert finding.severity == "warning" and finding.count == 1
    assert finding.items[0]["patients"] == sorted([one, other])
    assert finding.items[0]["splits"] == ["test", "train"]
    assert "on two sides" in finding.message


@pytest.mark.parametrize("ids", [("p1", "p10", "p100"), ("1-01", "1-10"), ("A.1", "A.10"), ("0",)])
def test_ids_that_are_different_are_not_joined(ids, run_check):
    assert run_check("patient-ids-unusable", context_of(some_patients(*ids))) == []


def test_images_without_a_patient_beside_others_are_said(run_check):
    samples = some_patients("p1", None, "p2", None)
    (finding,) = run_check("patient-ids-unusable", context_of(samples))
    assert (finding.severity, finding.count) == ("warning", 2)
    assert [row["file"] for row in finding.items] == ["train/1.png", "train/3.png"]


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("{split}/a/patient{n:03}/{i}.png", r"(patient[-_ ]?\d+)"),
        ("{split}/a/Patient_{n}_{i}.png", r"(Patient[-_ ]?\d+)"),
        ("{split}/a/scan_sub-{n}_{i}.png", r"(sub[-_ ]?\d+)"),
    ],
)
def test_patients_that_paths_seem_to_name_are_said(path, pattern, run_check):
    rows = [
        (path.format(split=split, n=n, i=i), "a", None, split)
        for n in range(5)
        for i, split in enumerate(("train", "test"))
    ]
    (finding,) = run_check("patient-ids-unusable", context_of(rows))
    assert (finding.severity, finding.count) == ("warning", 5)
    assert "5 of them on two sides" in finding.message and pattern in finding.hint
    assert len({re.search(pattern, row[0])[1] for row in rows}) == 5


@pytest.mark.parametrize(
    "name", ["image ({n}).png", "scan{n}_{i}.png", "Compat12/{n}-{i}.png", "case{n}{i}.png"]
)
def test_names_that_hold_no_patients_are_not_taken_for_some(name, run_check):
    rows = [(name.format(n=n, i=i), "a", None, "train") for n in range(5) for i in range(2)]
    with pytest.raises(NotApplicable):
        run_check("patient-ids-unusable", context_of(rows))
