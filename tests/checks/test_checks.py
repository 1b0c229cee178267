"""Each check finds the fault that was planted, names it exactly, and is silent on clean data.

The datasets are made in memory: samples, and a source that has a picture for every path.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest

from medimg.core.checking import CheckContext, NotApplicable, gate, run_checks
from medimg.core.errors import PluginError
from medimg.core.scan import scan
from medimg.core.types import DatasetIndex, Finding, Sample
from medimg.manager import plugins
from medimg.testing.checks import check_check


def draw(seed: int, height: int = 40, width: int = 40) -> np.ndarray:
    """A picture unlike every other: UInt8[h, w]."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    return cv2.normalize(smooth, None, 10, 245, cv2.NORM_MINMAX)


class Pictures:
    """A source of arrays or bytes by path; a path that was given nothing has its own picture."""

    def __init__(self, given: Mapping[str, np.ndarray | bytes]) -> None:
        self.given = given

    def read(self, path: str) -> np.ndarray | bytes:
        return self.given[path] if path in self.given else draw(zlib.crc32(path.encode()))


def clean_samples(counts: Mapping[str, Mapping[str, int]] | None = None) -> list[Sample]:
    """Two classes in three splits; two images a patient, on one side, of one class."""
    sizes = {"train": 40, "val": 40, "test": 80}
    counts = counts or {split: {"sick": n, "well": n} for split, n in sizes.items()}
    return [
        Sample(f"{split}/{label}/{name}-{n}.png", label, f"{name}-{n // 2}", split)
        for split, own in counts.items()
        for label, count in own.items()
        for name in [f"{split}-{label}"]
        for n in range(count)
    ]


def context_of(
    samples: Iterable[Sample] | None = None,
    pictures: Mapping[str, np.ndarray | bytes] | None = None,
    **fields: object,
) -> CheckContext:
    """A CheckContext from samples, pictures by path, and fields of the index."""
    own = tuple(clean_samples() if samples is None else samples)
    classes = tuple(sorted({s.label for s in own if s.label}))
    settings = {"classes": classes, "patients": "made up", "layout": "folder", **fields}
    index = DatasetIndex(
        "planted", Path("planted"), source=Pictures(pictures or {}), samples=own, **settings
    )
    return CheckContext(index, scan(index))


def run(name: str, context: CheckContext) -> list[Finding]:
    """A check's findings, held to the promises that every check makes; none where it has
    nothing to look at."""
    module = import_module(f"medimg.checks.{name.replace('-', '_')}")
    try:
        findings = check_check(module.check, context)
    except NotApplicable:
        return []
    assert all(f.check == name for f in findings)
    return findings


def built_in() -> list[str]:
    return [n for n in plugins().checks() if ":" not in n]


@pytest.mark.parametrize("name", built_in())
def test_clean_data_are_silent(name):
    assert run(name, context_of()) == []


@pytest.mark.parametrize("name", built_in())
def test_no_check_breaks_on_a_dataset_without_anything(name):
    assert all(f.check == "one-class" for f in run(name, context_of([], classes=())))


@pytest.mark.parametrize("name", built_in())
def test_no_check_breaks_where_patients_and_splits_are_unknown(name):
    bare = [Sample(f"{label}/{label}-{n}.png", label) for label in "ab" for n in range(40)]
    assert run(name, context_of(bare, patients=None)) == []


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "data"),
    [("empty-file", b""), ("truncated", None), ("unreadable", b"no image at all")],
)
def test_files_that_cannot_be_decoded(check, data):
    png = cv2.imencode(".png", draw(0))[1].tobytes()
    path = "train/sick/train-sick-3.png"
    context = context_of(pictures={path: png[: len(png) // 2] if data is None else data})
    (finding,) = run(check, context)
    assert (finding.severity, finding.count) == ("error", 1)
    (row,) = finding.items
    assert (row["file"], row["class"], row["split"]) == (path, "sick", "train")
    assert row["reason"]


# -- classes ---------------------------------------------------------------------------------------


def test_one_class_says_where_the_classes_are():
    paths = [
        f"breast/{kind}/SOB/{kind}-{n}.png" for kind in ("benign", "malignant") for n in range(4)
    ]
    (finding,) = run("one-class", context_of([Sample(p, "breast") for p in paths]))
    assert finding.severity == "error"
    assert finding.items == ({"class": "breast", "images": 8},)
    assert "-o classes=benign,malignant" in finding.hint


def test_one_class_beside_an_empty_one():
    samples = [Sample(f"a/{n}.png", "a") for n in range(4)]
    context = context_of(samples, classes=("a", "b"))
    assert [f.severity for f in run("one-class", context)] == ["error"]
    (finding,) = run("empty-class", context)
    assert finding.items == ({"class": "b"},)


def test_a_class_missing_in_a_split():
    samples = [s for s in clean_samples() if (s.split, s.label) != ("test", "sick")]
    (finding,) = run("class-missing-in-split", context_of(samples))
    assert finding.severity == "error"
    assert finding.items == ({"class": "sick", "split": "test"},)


def test_a_class_missing_in_validation_is_a_warning():
    samples = [s for s in clean_samples() if (s.split, s.label) != ("val", "well")]
    assert [f.severity for f in run("class-missing-in-split", context_of(samples))] == ["warning"]


@pytest.mark.parametrize(("images", "severity"), [(1, "error"), (2, "warning"), (3, None)])
def test_a_class_too_small_to_stand_in_every_part(images, severity):
    samples = [Sample(f"{c}/{c}{n}.png", c) for c in "ab" for n in range(30)]
    samples += [Sample(f"rare/rare{n}.png", "rare") for n in range(images)]
    found = run("small-class", context_of(samples, patients=None))
    assert [f.severity for f in found] == ([severity] if severity else [])
    if found:
        assert found[0].items == ({"class": "rare", "images": images},)
        assert "-o classes=a,b" in found[0].hint


def test_many_images_of_one_patient_are_a_small_class():
    samples = [Sample(f"a/{n}.png", "a", f"p{n}") for n in range(30)]
    samples += [Sample(f"b/{n}.png", "b", "the only one") for n in range(30)]
    (finding,) = run("small-class", context_of(samples))
    assert finding.severity == "error" and "a single patient (30 images)" in finding.message


@pytest.mark.parametrize(("ratio", "found"), [(2, False), (3, True), (10, True)])
def test_imbalance(ratio, found):
    samples = clean_samples({"train": {"sick": 30, "well": 30 * ratio}})
    findings = run("imbalance", context_of(samples))
    assert bool(findings) == found
    if found:
        assert findings[0].severity == "warning"
        share = round(100 * ratio / (ratio + 1))
        assert f"always answering well is right for {share}%" in findings[0].message


def test_a_validation_part_of_16_images():
    """The published chest X-ray set has 8 of each class."""
    counts = {"train": {"sick": 60, "well": 60}, "val": {"sick": 8, "well": 8}}
    (finding,) = run("small-validation", context_of(clean_samples(counts)))
    assert finding.severity == "warning" and "16 images" in finding.message


def test_images_without_a_label():
    unlabelled = (Sample("x/1.png", None), Sample("x/2.png", None))
    (finding,) = run("missing-labels", context_of(unlabelled=unlabelled))
    assert finding.count == 2 and [i["file"] for i in finding.items] == ["x/1.png", "x/2.png"]


def test_stray_files_are_information():
    (finding,) = run("stray-files", context_of(strays=("Thumbs.db", "a/.DS_Store")))
    assert finding.severity == "info"
    assert [i["file"] for i in finding.items] == ["Thumbs.db", "a/.DS_Store"]


# -- patients --------------------------------------------------------------------------------------


def test_a_patient_on_two_sides():
    samples = clean_samples()
    leaky = next(i for i, s in enumerate(samples) if s.split == "test" and s.label == "sick")
    samples[leaky] = replace(samples[leaky], group="train-sick-0")
    (finding,) = run("patient-leakage", context_of(samples))
    assert (finding.severity, finding.count) == ("error", 1)
    assert finding.items == (
        {
            "patient": "train-sick-0",
            "splits": ["train", "test"],
            "classes": ["sick"],
            "files": [
                "train/sick/train-sick-0.png",
                "train/sick/train-sick-1.png",
                samples[leaky].path,
            ],
        },
    )


def test_images_whose_patient_is_unknown_are_nobody():
    samples = [replace(s, group=None) for s in clean_samples()]
    assert run("patient-leakage", context_of(samples)) == []


def test_patients_with_both_classes_are_information():
    samples = [replace(s, group=s.group.replace("well", "sick")) for s in clean_samples()]
    (finding,) = run("patient-both-classes", context_of(samples))
    assert finding.severity == "info" and finding.count == len({s.group for s in samples})


# -- copies ----------------------------------------------------------------------------------------

TRAIN, TEST = "train/sick/train-sick-0.png", "test/sick/test-sick-5.png"
OTHER_CLASS, SAME_PART = "train/well/train-well-7.png", "train/sick/train-sick-9.png"


@pytest.mark.parametrize(
    ("twin", "check", "severity"),
    [
        (TEST, "duplicates-across-splits", "error"),
        (OTHER_CLASS, "duplicates-across-classes", "error"),
        (SAME_PART, "exact-duplicates", "warning"),
    ],
)
@pytest.mark.parametrize("identical", ["bytes", "pixels"])
def test_copies(twin, check, severity, identical):
    image = draw(1)
    png = cv2.imencode(".png", image)[1].tobytes()
    bmp = cv2.imencode(".bmp", cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))[1].tobytes()
    context = context_of(pictures={TRAIN: png, twin: png if identical == "bytes" else bmp})
    (finding,) = run(check, context)
    assert (finding.severity, finding.count) == (severity, 1)
    (row,) = finding.items
    assert sorted(row["files"]) == sorted([TRAIN, twin]) and row["identical"] == identical
    others = {"duplicates-across-splits", "duplicates-across-classes", "exact-duplicates"} - {check}
    assert all(run(name, context) == [] for name in others)


def test_a_recompressed_copy_is_found_across_splits():
    image = draw(1, 128, 128)
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
    context = context_of(pictures={TRAIN: image, TEST: jpeg})
    (finding,) = run("duplicates-across-splits", context)
    (row,) = finding.items
    assert sorted(row["files"]) == sorted([TRAIN, TEST])
    assert row["identical"] == "nearly" and row["correlation"] > 0.999


def test_black_pictures_are_equal_without_being_near_anything():
    black = np.zeros((40, 40), np.uint8)
    context = context_of(pictures={TRAIN: black, TEST: black, SAME_PART: draw(5)})
    assert run("duplicates-across-splits", context)[0].count == 1
    assert run("near-duplicates", context) == []


# -- shortcuts -------------------------------------------------------------------------------------


def test_a_marker_in_a_corner_tells_the_label():
    samples = clean_samples()
    pictures = {}
    for number, s in enumerate(samples):
        image = draw(1000 + number)
        if s.label == "sick":
            image[1:4, -4:-1] = 255
        pictures[s.path] = image
    (finding,) = run("shortcut", context_of(samples, pictures))
    assert finding.severity == "warning"
    assert any("top right" in i["feature"] for i in finding.items[:2])


def test_a_class_of_another_size_is_a_shortcut():
    samples = clean_samples()
    pictures = {s.path: draw(n, 40, 48 if s.label == "sick" else 40) for n, s in enumerate(samples)}
    (finding,) = run("shortcut", context_of(samples, pictures))
    assert {"width", "aspect ratio", "file size"} & {i["feature"] for i in finding.items[:2]}


# -- how checks are run ----------------------------------------------------------------------------


def test_a_check_that_breaks_is_skipped_and_the_others_go_on():
    def broken(_: object) -> list[Finding]:
        raise ZeroDivisionError("by nought")

    def lying(_: object) -> list[Finding]:
        return [Finding("lying", "catastrophe", "x")]  # type: ignore[arg-type]

    def fine(_: object) -> list[Finding]:
        return [Finding("fine", "warning", "something", 1)]

    def elsewhere(context) -> list[Finding]:
        context.not_applicable("there is no moon")

    checks = {"broken": broken, "lying": lying, "elsewhere": elsewhere, "fine": fine}
    outcomes = run_checks(checks, context_of())
    assert outcomes["broken"].status == "skipped" and outcomes["broken"].failed
    assert outcomes["broken"].reason == "ZeroDivisionError: by nought"
    assert outcomes["lying"].failed and "catastrophe" in outcomes["lying"].reason
    assert outcomes["elsewhere"].status == "skipped" and not outcomes["elsewhere"].failed
    assert outcomes["elsewhere"].reason == "there is no moon"
    assert (outcomes["fine"].status, outcomes["fine"].count) == ("warning", 1)


def test_what_the_reader_met_becomes_a_status():
    met = (
        Finding("csv-missing-files", "warning", "2 rows name no file", 2),
        Finding("stray-files", "info", "masks lie about", 3),
    )
    checks = plugins().functions({n: plugins().checks()[n] for n in ("stray-files", "unreadable")})
    outcomes = run_checks(checks, context_of(layout="csv", findings=met))
    assert (outcomes["csv-missing-files"].status, outcomes["csv-missing-files"].count) == (
        "warning",
        2,
    )
    assert (outcomes["stray-files"].status, outcomes["stray-files"].count) == ("ok", 3)
    assert outcomes["csv-contradictions"].status == "ok"


def test_tables_are_not_spoken_of_where_there_is_none():
    outcome = run_checks({}, context_of())["csv-missing-files"]
    assert (outcome.status, outcome.reason) == ("skipped", "the labels come from no table")


# -- the gate before training ----------------------------------------------------------------------


def gate_of(context, allow: set[str] = frozenset()):

    checks = plugins().functions(plugins().checks())
    return gate(context.index, context.scan, checks, set(allow))


def test_the_gate_lets_clean_data_through():
    assert gate_of(context_of()) == ([], [])


def test_the_gate_names_what_forbids_training_and_what_was_allowed():
    image = draw(1)
    context = context_of(pictures={TRAIN: image, TEST: image, SAME_PART: b"broken"})
    blocking, allowed = gate_of(context)
    assert {f.check for f in blocking} == {"duplicates-across-splits", "unreadable"}
    assert allowed == []
    blocking, allowed = gate_of(context, {"unreadable"})
    assert [f.check for f in blocking] == ["duplicates-across-splits"]
    assert [f.check for f in allowed] == ["unreadable"]


@pytest.mark.parametrize(("split", "stops"), [("train", True), ("test", False)])
def test_only_a_class_that_cannot_be_learnt_stops_training(split, stops):
    samples = [s for s in clean_samples() if (s.split, s.label) != (split, "sick")]
    blocking, _ = gate_of(context_of(samples))
    assert [f.check for f in blocking] == (["class-missing-in-split"] if stops else [])


def test_imbalance_does_not_stop_training():
    samples = clean_samples({"train": {"sick": 20, "well": 200}})
    assert gate_of(context_of(samples)) == ([], [])


def test_the_gate_fails_where_a_check_of_it_fails():

    def broken(_: object) -> list[Finding]:
        raise RuntimeError("out of order")

    context = context_of()
    with pytest.raises(PluginError, match="patient-leakage.*out of order"):
        gate(context.index, context.scan, {"patient-leakage": broken}, set())
    assert gate(context.index, context.scan, {"patient-leakage": broken}, {"patient-leakage"}) == (
        [],
        [],
    )
