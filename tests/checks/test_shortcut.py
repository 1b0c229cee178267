"""Labels that can be told from corners, borders or file properties."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medimg.checks._modes import kinds
from medimg.checks.shortcut import (
    as_values,
    auroc_of,
    drawn,
    is_label,
    mean_auroc,
    residuals,
)
from medimg.core.checking import CheckContext, NotApplicable


@pytest.fixture(autouse=True)
def small_forest(monkeypatch):
    """A third of the trees tell what is planted here as well, and sooner."""
    monkeypatch.setattr("medimg.checks.shortcut.TREES", 20)


@pytest.fixture
def two_classes(noise):
    """60 noise pictures of 96 px a class; nothing tells the classes apart."""
    return {
        f"{label}/{n}.png": noise(1000 * place + n, 96, 96)
        for place, label in enumerate("ab")
        for n in range(60)
    }


def test_nothing_to_tell_them_by(two_classes, planted, run_check):
    assert run_check("shortcut", planted(two_classes)) == []


def test_a_marker_in_one_corner(two_classes, planted, run_check):
    for name, pixels in two_classes.items():
        if name.startswith("a/"):
            cv2.rectangle(pixels, (85, 2), (94, 9), 255, -1)
    (finding,) = run_check("shortcut", planted(two_classes))
    assert finding.severity == "warning" and finding.count == len(finding.items)
    assert finding.items[0]["feature"].startswith("corner top right")


def test_a_frame_around_most_of_one_class(two_classes, planted, run_check):
    for name, pixels in two_classes.items():
        if name.startswith("a/") and int(name[2:-4]) % 4:
            cv2.rectangle(pixels, (0, 0), (95, 95), 0, 7)
    (finding,) = run_check("shortcut", planted(two_classes))
    assert "a frame around the picture" in finding.message
    assert "frame" in {row["of"] for row in finding.items}


def test_letters_in_the_middle_of_a_side(two_classes, planted, run_check):
    scans = {name: (pixels * 0.6).astype(np.uint8) for name, pixels in two_classes.items()}
    for name, pixels in scans.items():
        if name.startswith("a/") and int(name[2:-4]) % 6:
            cv2.putText(pixels, "L", (1, 54), 0, 0.5, 255, 2)
    (finding,) = run_check("shortcut", planted(scans))
    assert finding.items[0]["feature"] == "mark at the left edge"
    assert {row["of"] for row in finding.items} == {"edges"}


@pytest.mark.parametrize("known", [True, False])
def test_unknown_patients_are_said_as_another_reason(known, two_classes, planted, run_check):
    wide = {n: cv2.resize(p, (110, 96)) if n[0] == "b" else p for n, p in two_classes.items()}
    options = {"group_regex": r"/(.*)\.png"} if known else {}
    (finding,) = run_check("shortcut", planted(wide, **options))
    assert ("patients are unknown" in finding.message) is not known


def test_the_size_of_the_pictures(two_classes, planted, run_check):
    wide = {n: cv2.resize(p, (110, 96)) if n[0] == "b" else p for n, p in two_classes.items()}
    (finding,) = run_check("shortcut", planted(wide))
    assert "width" in {row["feature"] for row in finding.items[:3]}


def test_the_colour_mode(two_classes, planted, run_check):
    coloured = {
        n: cv2.cvtColor(p, cv2.COLOR_GRAY2BGR) if n[0] == "b" else p for n, p in two_classes.items()
    }
    (finding,) = run_check("shortcut", planted(coloured))
    assert "colour mode" in {row["feature"] for row in finding.items[:3]}


def test_colour_beside_grey_stored_as_colour(two_classes, planted, run_check):
    stored = {n: cv2.cvtColor(p, cv2.COLOR_GRAY2BGR) for n, p in two_classes.items()}
    for name, pixels in stored.items():
        if name.startswith("b/"):
            # hardly any luminance
            pixels[..., 0] = cv2.subtract(pixels[..., 0], 20)
    context = planted(stored)
    (mixed,) = run_check("mixed-modes", context)
    assert "tells the class" in mixed.message and "--only shortcut" in mixed.hint
    (finding,) = run_check("shortcut", context)
    assert "colour mode" in {row["feature"] for row in finding.items[:3]}


def test_blank_pictures_have_the_colour_mode_of_the_rest(two_classes, planted, run_check):
    stored = {n: cv2.applyColorMap(p, cv2.COLORMAP_PINK) for n, p in two_classes.items()}
    for number, name in enumerate(stored):
        if name.startswith("b/") and number % 2:
            stored[name] = np.full_like(stored[name], 128)
    context = planted(stored)
    assert len(set(kinds(context, context.readable()))) == 1
    assert run_check("mixed-modes", context) == []


def test_too_few_patients_say_so(two_classes, planted):
    from medimg.core.checking import run_checks
    from medimg.manager import plugins

    renamed = {f"{n[0]}/p{n[0]}{int(n[2:-4]) % 2}_{n[2:]}": p for n, p in two_classes.items()}
    context = planted(renamed, group_regex=r"(p\w\d)_")
    manager = plugins()
    only = {"shortcut": manager.checks()["shortcut"]}
    outcome = run_checks(manager.functions(only), context)["shortcut"]
    assert (outcome.status, outcome.failed) == ("skipped", False)
    assert outcome.reason == "it takes two classes of 20 images and 5 patients"


def test_a_class_of_few_images_is_not_looked_at(two_classes, planted, run_check):
    few = {n: p for n, p in two_classes.items() if n[0] == "a" or int(n[2:-4]) < 19}
    context = planted(few)
    with pytest.raises(NotApplicable, match="two classes of 20 images"):
        run_check("shortcut", context)
    assert run_check("shortcut", context, fewest=19, folds=2) == []


def of_set(finding, name):
    return [row for row in finding.items if row["of"] == name]


def test_both_ends_of_the_interval_and_each_carrier(two_classes, planted, run_check):
    for name, pixels in two_classes.items():
        if name.startswith("a/") and int(name[2:-4]) % 5:
            cv2.rectangle(pixels, (85, 2), (94, 9), 255, -1)
    (finding,) = run_check("shortcut", planted(two_classes))
    (first, *_) = finding.items
    assert first["of"] == "border" and 0.75 <= first["of_low"] < first["of_auroc"]
    assert first["of_auroc"] <= first["of_high"] <= 1
    assert first["auroc"] == max(row["auroc"] for row in finding.items) > 0.8
    said = (
        f"with AUROC {first['of_auroc']:.2f} (95 % interval {first['of_low']:.2f} to "
        f"{first['of_high']:.2f}) from corners and border ({first['feature']} {first['auroc']:.2f}"
    )
    assert said in finding.message
    assert "inspect" in finding.hint


def test_what_counts_is_the_lower_end(two_classes, planted, run_check):
    for name, pixels in two_classes.items():
        if name.startswith("a/") and int(name[2:-4]) % 5:
            cv2.rectangle(pixels, (85, 2), (94, 9), 255, -1)
    context = planted(two_classes)
    low = run_check("shortcut", context)[0].items[0]["of_low"]
    assert run_check("shortcut", context, auroc=low + 0.001) == []
    assert len(run_check("shortcut", context, auroc=low - 0.001)) == 1


def test_the_quality_of_jpegs(two_classes, planted, run_check):
    files = {
        name.replace(".png", ".jpg"): cv2.imencode(
            ".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95 if name[0] == "a" else 70]
        )[1].tobytes()
        for name, pixels in two_classes.items()
    }
    (finding,) = run_check("shortcut", planted(files))
    assert {row["feature"] for row in of_set(finding, "file")[:2]} == {"JPEG quality", "file size"}
    assert "from the file alone" in finding.message


def test_texture_is_no_file_size(planted, run_check):
    """Alike files of one class are larger because there is more to see in them."""
    random = np.random.default_rng(0)
    files = {}
    for number in range(120):
        blank = np.full((64, 64), 90, np.uint8)
        inner = random.integers(60, 120, (32, 32), np.uint8)
        blank[16:48, 16:48] = inner if number % 2 else cv2.blur(inner, (9, 9))
        files[f"{'ab'[number % 2]}/{number}.png"] = blank
    context = planted(files)
    sizes = {c: [context.record(s).size_bytes for s in context.index.samples if s.label == c]
             for c in "ab"}  # fmt: skip
    assert max(sizes["a"]) < min(sizes["b"])
    assert run_check("shortcut", context) == []


def test_tissue_that_reaches_the_border_is_no_shortcut(planted, noise, run_check):
    """Patches of one class are darker all over; that is information, as for any stain."""
    files = {
        f"{label}/{n}.png": (noise(1000 * place + n, 48, 48) * (0.5 if place else 0.8)).astype(
            np.uint8
        )
        for place, label in enumerate("ab")
        for n in range(80)
    }
    (finding,) = run_check("shortcut", planted(files))
    assert (finding.severity, finding.count) == ("info", 1)
    assert finding.message.startswith("mean grey level alone tells the class with AUROC 0.9")
    assert finding.items[0]["feature"] == "mean"


# -- columns ---------------------------------------------------------------------------------------


@pytest.fixture
def with_columns(two_classes, planted):
    """A function: two classes of noise, each image with the cells that a function of (class,
    number) gives."""
    context = planted(two_classes)

    def make(cells) -> CheckContext:
        rows = [
            replace(s, columns=cells(s.label, int(s.path[2:-4]))) for s in context.index.samples
        ]
        return CheckContext(context.index.with_samples(rows), context.scan)

    return make


@pytest.mark.parametrize(
    "cells",
    [
        lambda label, n: {"hospital": f"h{n % 2 + 2 * (label == 'b')}"},
        lambda label, n: {"hospital": "north" if label == "a" and n % 4 else "south"},
        lambda label, n: {"hospital": str(n % 30 + (20 if label == "a" else 45))},
        lambda label, n: {"hospital": f"{n * 1.37 + (90 if label == 'a' else 0):.3f}"},
        lambda label, n: {"hospital": "x" if label == "a" else ""},
        lambda label, n: {"hospital": "known" if (label == "a") ^ (n % 15 == 0) else "NaN"},
        lambda label, n: {"hospital": f"{2019 + (label == 'a')}-0{1 + n % 9}-{10 + n % 17}"},
        lambda label, n: {"hospital": f"{10 + n % 17}.0{1 + n % 9}.{2019 + (label == 'a')}"},
        lambda label, n: {"hospital": f"http://site{int(label == 'a')}.org/{n}.png"},
        lambda label, n: {"hospital": f"{'KH' if label == 'a' else 'ST'}{n:05}"},
        lambda label, n: {"hospital": str(20 + n % 30 + 31 * (label == "a"))},
    ],
    ids=[
        "categories",
        "mostly",
        "numbers",
        "measures",
        "filled",
        "mostly filled",
        "dates",
        "German dates",
        "addresses",
        "prefixes",
        "ages",
    ],
)
def test_a_column_that_gives_the_class_away(cells, with_columns, run_check):
    (finding,) = run_check("shortcut", with_columns(cells))
    assert finding.items[0]["feature"].startswith("column hospital")
    assert {row["of"] for row in finding.items} == {"columns"}
    assert "other columns of the table (column hospital" in finding.message


def test_file_and_columns_that_tell_it_together(with_columns, run_check):
    """Neither the format of the file nor the hospital tells the class, both do."""
    context = with_columns(lambda label, n: {"hospital": f"h{(n % 2) ^ (label == 'b')}"})
    scan = {
        path: record._replace(format="JPEG" if int(path[2:-4]) % 2 else "PNG")
        for path, record in context.scan.items()
    }
    (finding,) = run_check("shortcut", CheckContext(context.index, scan))
    assert {row["of"] for row in finding.items} == {"file and columns"}
    assert finding.items[0]["of_auroc"] > 0.95 and finding.items[0]["auroc"] < 0.7


@pytest.mark.parametrize(
    "cells",
    [
        lambda label, n: {"diagnosis": label.upper()},
        lambda label, n: {"Class": label},
        lambda label, n: {"coded": label},
        lambda label, n: {"a": str(int(label == "a")), "b": str(int(label == "b"))},
        lambda label, n: {"drusen": str(int(label == "b" and n % 2))},
        lambda label, n: {"id": str(n + 1000 * (label == "b"))},
        lambda label, n: {"note": f"scan {n} of {label}"},
        lambda label, n: {"hospital": f"h{n % 4}"},
        lambda label, n: {"hospital": "one"},
        lambda label, n: {"age": str(30 + n % 40)},
        lambda label, n: {"folder": f"images/{label.upper()}/{n}.png"},
        lambda label, n: {"url": f"http://site{n % 2}.org/{n}.png"},
        lambda label, n: {"date": f"20{10 + n % 10}-01-{1 + n % 28:02}"},
        lambda label, n: {"blood": "x" if n % 3 else ""},
    ],
    ids=["diagnosis", "label", "label by another name", "one-hot", "finer label", "ids", "text",
         "no news", "constant", "age", "a path that says the label", "addresses", "dates",
         "filled at random"],
)  # fmt: skip
def test_columns_that_are_no_shortcut(cells, with_columns, run_check):
    assert run_check("shortcut", with_columns(cells)) == []


def test_blank_cells_are_a_value_of_their_own():
    values = as_values(["x", "", "y", "x", "NaN", "y", "x", "y"])
    assert values.shape == (8, 3) and values.sum() == 8
    assert as_values(["", "", "", "x"]) is None


def test_a_column_named_like_a_class_is_the_label():
    assert is_label("Benign", ["0", "0"], ["benign", "malignant"])
    assert not is_label("scanner", ["1", "1", "0"], ["a", "b", "a"])


# -- numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("digits", [1, 9])
def test_auroc_is_scikit_learns(digits):
    random = np.random.default_rng(0)
    labels = random.random(300) < 0.3
    scores = np.round(random.random(300) + 0.3 * labels, digits)
    weights = random.integers(0, 4, (5, 300))
    expected = [roc_auc_score(labels, scores, sample_weight=w) for w in weights]
    assert auroc_of(labels, scores, weights) == pytest.approx(expected, abs=1e-12)


def test_the_mean_of_three_classes_is_scikit_learns():
    random = np.random.default_rng(1)
    labels = random.integers(0, 3, 200)
    scores = random.random((200, 3)) + np.eye(3)[labels]
    scores /= scores.sum(axis=1, keepdims=True)
    expected = roc_auc_score(labels, scores, multi_class="ovr", average="macro")
    assert mean_auroc(labels, scores, np.ones((1, 200)))[0] == pytest.approx(expected)


def test_a_draw_that_lacks_a_class_has_no_area():
    labels = np.array([True, True, False])
    areas = auroc_of(labels, np.array([0.9, 0.8, 0.1]), np.array([[1, 1, 0], [1, 0, 1]]))
    assert np.isnan(areas[0]) and areas[1] == 1


def test_residuals_know_nothing_of_what_was_given():
    random = np.random.default_rng(0)
    given = random.random((500, 2)) * 100
    values = np.column_stack([given[:, 0] ** 2 + 3 * given[:, 1], random.random(500)])
    left = residuals(values, given)
    assert np.abs(left[:, 0]).max() < 1e-2
    assert left[:, 1].std() == pytest.approx(values[:, 1].std(), rel=0.05)


def test_so_many_images_are_looked_at(two_classes, planted, run_check):
    context = planted(two_classes)
    few = drawn(list(context.index.samples), 50)
    assert len(few) == 50 and {s.label for s in few} == {"a", "b"}
    assert few == drawn(list(context.index.samples), 50)
    assert run_check("shortcut", context, images=50) == []


@pytest.mark.parametrize(
    ("name", "warned"),
    [("brain_tumor_mri", {"file", "border", "edges"}), ("chest_xray_kermany", {"border", "edges"}),
     ("covid19_radiography", set()), ("idc_breast_histopathology", set()),
     ("wbc_zheng_csv", set())],
)  # fmt: skip
def test_real_samples(name, warned, shared_data, run_check):
    from medimg.core.scan import scan
    from medimg.manager import plugins
    from medimg.opening import open_dataset

    manager = plugins()
    index = open_dataset(
        str(shared_data / name), layout=None, options={}, manager=manager,
        registry=manager.registry(),
    )  # fmt: skip
    findings = run_check("shortcut", CheckContext(index, scan(index)))
    rows = [row for f in findings if f.severity == "warning" for row in f.items]
    assert {row["of"] for row in rows} == warned
