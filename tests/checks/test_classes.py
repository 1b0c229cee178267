"""Checks of classes: how many there are, how many images each has, and where."""

from __future__ import annotations

import pytest

from medimg.api import CheckContext
from medimg.core.split import make_split


@pytest.fixture
def counted(planted, noise):
    """A function: counts by `split/class` or `class` to a scanned dataset of that many images."""

    def make(counts: dict[str, int], **options: str):
        numbers = iter(range(10_000))
        return planted(
            {
                f"{folder}/{n}.png": noise(next(numbers), 8, 8)
                for folder, count in counts.items()
                for n in range(count)
            },
            **options,
        )

    return make


def test_one_class_names_the_level_where_the_classes_are(counted, run_check):
    """The published mistake: the root's only folder taken for the class."""
    context = counted(
        {"breast/benign": 3, "breast/malignant": 4}, layout="folder", classes="breast"
    )
    (finding,) = run_check("one-class", context)
    assert (finding.severity, finding.count) == ("error", 7)
    assert "breast (7 images)" in finding.message
    assert "-o classes=benign,malignant" in finding.hint


def test_one_class_without_anything_below(counted, run_check):
    (finding,) = run_check("one-class", counted({"only": 4}))
    assert finding.items == ({"class": "only", "images": 4},)
    assert "-o classes" not in finding.hint


def test_an_empty_class(counted, run_check, tmp_path):
    (tmp_path / "set" / "c").mkdir(parents=True)
    context = counted({"a": 4, "b": 4})
    (finding,) = run_check("empty-class", context)
    assert (finding.severity, finding.count, finding.items) == ("error", 1, ({"class": "c"},))
    assert "-o classes=a,b" in finding.hint
    assert run_check("one-class", context) == []


@pytest.mark.parametrize(
    ("split", "severity"), [("train", "error"), ("test", "error"), ("val", "warning")]
)
def test_a_class_missing_in_one_part(split, severity, counted, run_check):
    counts = {f"{part}/{label}": 4 for part in ("train", "val", "test") for label in "abc"}
    del counts[f"{split}/b"]
    (finding,) = run_check("class-missing-in-split", counted(counts))
    assert (finding.severity, finding.count) == (severity, 1)
    assert finding.items == ({"class": "b", "split": split},)


@pytest.mark.parametrize(("most", "found"), [(29, False), (30, True), (60, True)])
def test_imbalance_from_three_to_one(most, found, counted, run_check):
    findings = run_check("imbalance", counted({"a": most, "b": 10}))
    assert bool(findings) == found
    for finding in findings:
        assert finding.severity == "warning"
        assert finding.items == ({"class": "a", "images": most}, {"class": "b", "images": 10})
        assert f"{most / (most + 10):.0%}" in finding.message


@pytest.mark.parametrize(("images", "severity"), [(1, "error"), (2, "warning")])
def test_a_small_class(images, severity, counted, run_check):
    (finding,) = run_check("small-class", counted({"a": 9, "b": 9, "c": images}))
    assert (finding.severity, finding.count) == (severity, images)
    assert finding.items == ({"class": "c", "images": images},)
    assert "-o classes=a,b" in finding.hint


def test_three_images_are_no_small_class(counted, run_check):
    assert run_check("small-class", counted({"a": 9, "b": 3})) == []


def test_many_images_of_one_patient_are_a_small_class(planted, run_check, noise):
    files = {f"a/p{n}_1.png": noise(n) for n in range(5)}
    files |= {f"b/p9_{n}.png": noise(100 + n) for n in range(6)}
    (finding,) = run_check("small-class", planted(files, group_regex=r"(p\d+)_"))
    assert finding.severity == "error" and finding.count == 6
    assert "the class b has a single patient (6 images)" in finding.message


def test_a_validation_part_too_small_to_steer_by(counted, run_check):
    counts = {"train/a": 40, "train/b": 40, "val/a": 8, "val/b": 8, "test/a": 5, "test/b": 5}
    (finding,) = run_check("small-validation", counted(counts))
    assert (finding.severity, finding.count) == ("warning", 16)
    assert finding.message.startswith("validation holds 16 images, with 8 of a, 8 of b")


def test_missing_labels(tmp_path, planted, run_check, noise):
    files = {f"{n}.png": noise(n) for n in range(6)}
    rows = [f"{n}.png,{'ab'[n % 2] if n else ''}" for n in range(6)]
    table = "\n".join(["image,label", *rows, ""]).encode()
    context = planted(files | {"labels.csv": table})
    said = [f for f in context.index.findings if f.check == "missing-labels"]
    findings = said + run_check("missing-labels", context)
    assert [f.severity for f in findings] == ["warning"]
    assert findings[0].count == 1 and findings[0].items[0]["file"].endswith("0.png")


def test_the_checks_that_need_a_split_say_so(counted):
    from medimg.core.checking import TABLE_CHECKS, run_checks
    from medimg.manager import plugins

    manager = plugins()
    context = counted({"a": 30, "b": 30})
    outcomes = run_checks(manager.functions(manager.checks()), context)
    skipped = {name: o.reason for name, o in outcomes.items() if o.status == "skipped"}
    assert {n: r for n, r in skipped.items() if n not in TABLE_CHECKS} == {
        "class-missing-in-split": "there is no split",
        "duplicates-across-splits": "there is no split",
        "patient-both-classes": "patients are unknown",
        "patient-dominates": "patients are unknown",
        "patient-ids-unusable": "patients are unknown",
        "patient-leakage": "patients are unknown",
        "registry-mismatch": "the registry does not know this dataset",
        "small-test": "there is no test part",
        "small-validation": "there is no validation part",
    }


def test_a_split_without_a_training_part_is_an_error(planted, run_check, noise):
    files = {f"test/{label}/{n}.png": noise(n) for n, label in enumerate("abab")}
    (finding,) = run_check("class-missing-in-split", planted(files))
    assert finding.severity == "error" and "no training part, only test" in finding.message


@pytest.mark.parametrize(
    ("part", "severity", "below"),
    [("test", "error", ("sick", "well")), ("test", "error", ()), ("val", "warning", ("sick",))],
)
def test_a_part_whose_folder_is_empty(part, severity, below, planted, run_check, noise, tmp_path):
    for name in ("", *below):
        (tmp_path / "set" / part / name).mkdir(parents=True, exist_ok=True)
    files = {f"train/{label}/{n}.png": noise(n) for n, label in enumerate(["sick", "well"] * 2)}
    context = planted(files)
    (finding,) = run_check("class-missing-in-split", context)
    assert (finding.severity, finding.count) == (severity, 2)
    assert finding.message == f"the folder of {part} holds no image at all"
    assert finding.items == tuple({"class": c, "split": part} for c in ("sick", "well"))
    # under another split the folder says nothing
    ratios = (50, 50)
    dealt = make_split(context.index.samples, ratios).apply(context.index)
    assert run_check("class-missing-in-split", CheckContext(dealt, context.scan)) == []
