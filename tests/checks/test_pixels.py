"""Odd sizes and shapes, modes, orientation, blank, dark, bright, flat and blurred pictures.

Each check finds what was planted among ordinary pictures, and is silent on datasets that are
dark, grey, square, flat or blurred by nature, or that hold many sizes.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from medimg.core.checking import CheckContext, NotApplicable
from medimg.core.images import unpack_bgr
from medimg.core.scan import ScanRecord, scan
from medimg.core.types import DatasetIndex, Finding, Sample
from medimg.manager import plugins
from medimg.opening import open_dataset

OUTLIER_CHECKS = ("odd-size", "odd-aspect", "brightness", "low-contrast", "blur")
LABELS = ("sick", "well")


class Pictures:
    """A source of arrays by path."""

    def __init__(self, given: dict[str, np.ndarray]) -> None:
        self.given = given

    def read(self, path: str) -> np.ndarray:
        return self.given[path]


def index_of(labels: dict[str, str], source: Any = None) -> DatasetIndex:
    samples = tuple(Sample(path, label) for path, label in labels.items())
    return DatasetIndex(
        "pixels", Path("pixels"), "folder", source, samples, tuple(sorted(set(labels.values())))
    )


def recorded(records: dict[str, ScanRecord], labels: dict[str, str] | None = None) -> CheckContext:
    """Pictures of which only the records are known, by turns sick and well."""
    labels = labels or {path: LABELS[n % 2] for n, path in enumerate(records)}
    return CheckContext(index_of(labels), records)


def record(**fields: Any) -> ScanRecord:
    """An ordinary picture, with other properties where they are given."""
    usual = {
        "width": 200,
        "height": 200,
        "mode": "L",
        "format": "PNG",
        "mean": 120.0,
        "std": 50.0,
        "percentiles": (10.0, 80.0, 120.0, 160.0, 230.0),
        "histogram": histogram(0.0),
        "grey": True,
        "sharpness": 0.2,
    }
    return ScanRecord("", **(usual | fields))


def histogram(white: float) -> np.ndarray:
    """UInt16[64] with this share of white pixels, the rest even."""
    shares = np.full(64, (1 - white) / 62)
    shares[-2:] = white / 2
    return np.rint(shares * 65535).astype(np.uint16)


def scanned(pictures: list[np.ndarray]) -> CheckContext:
    """Pictures of which one knows everything."""
    paths = [f"{n}.png" for n in range(len(pictures))]
    labels = {path: LABELS[n % 2] for n, path in enumerate(paths)}
    index = index_of(labels, Pictures(dict(zip(paths, pictures, strict=True))))
    return CheckContext(index, scan(index))


def anatomy(seed: int, height: int = 96, width: int = 96) -> np.ndarray:
    """UInt8[h, w]: large soft shapes, fine texture and a little noise."""
    random = np.random.default_rng(seed)
    layers = [
        weight * cv2.resize(random.normal(size=(cells, cells)), (width, height), interpolation=2)
        for cells, weight in ((4, 30.0), (16, 12.0), (48, 6.0))
    ]
    noise = random.normal(scale=2.0, size=(height, width))
    return np.clip(110 + random.normal(scale=8) + sum(layers) + noise, 0, 255).astype(np.uint8)


def forty(change: Any = None, of: int = 0) -> list[np.ndarray]:
    """Forty pictures, of which the first `of` are changed."""
    return [change(anatomy(n)) if n < of else anatomy(n) for n in range(40)]


def found_files(findings: list[Finding]) -> list[str]:
    return [row["file"] for finding in findings for row in finding.items]


# -- planted faults, in pixels -------------------------------------------------------------------


@pytest.mark.parametrize("name", OUTLIER_CHECKS)
def test_ordinary_pictures_are_silent(name, run_check):
    assert run_check(name, scanned(forty())) == []


@pytest.mark.parametrize(
    ("name", "value", "change"),
    [
        ("brightness", "mean", lambda picture: picture // 5),
        ("brightness", "mean", lambda picture: cv2.convertScaleAbs(picture, alpha=0.3, beta=190)),
        ("brightness", "white", lambda picture: cv2.convertScaleAbs(picture, alpha=2.2)),
        ("low-contrast", "contrast", lambda picture: picture // 6 + 90),
        ("blur", "sharpness", lambda picture: cv2.GaussianBlur(picture, (0, 0), 2)),
        ("odd-size", "width", lambda picture: cv2.resize(picture, (30, 30))),
        ("odd-size", "height", lambda picture: cv2.resize(picture, (400, 400))),
        ("odd-aspect", "aspect", lambda picture: cv2.resize(picture, (96, 40))),
        ("odd-aspect", "aspect", lambda picture: cv2.resize(picture, (40, 96))),
    ],
)
def test_two_planted_pictures_among_forty_are_found_and_no_other(name, value, change, run_check):
    findings = run_check(name, scanned(forty(change, of=2)))
    assert sorted(set(found_files(findings))) == ["0.png", "1.png"]
    assert {finding.severity for finding in findings} == {"warning"}
    named = [row for finding in findings for row in finding.items if value in row]
    assert {row["class"] for row in named} == {"sick", "well"}
    assert all(row["spreads"] >= 4 for row in named)
    assert all(re.match("2 images (are|have) ", finding.message) for finding in findings)
    one = run_check(name, scanned(forty(change, of=1)))
    assert one and all(re.match("1 image (is|has) ", finding.message) for finding in one)


@pytest.mark.parametrize(
    "nature",
    [
        lambda picture: picture // 8,
        lambda picture: 255 - picture // 8,
        lambda picture: picture // 12 + 120,
        lambda picture: cv2.GaussianBlur(picture, (0, 0), 3),
        lambda picture: cv2.threshold(picture, 118, 255, cv2.THRESH_BINARY)[1],
        lambda picture: cv2.merge([picture, picture // 2, picture // 3]),
        lambda picture: picture.astype(np.uint16) * 16,
    ],
    ids=("dark", "bright", "flat", "blurred", "black and white", "coloured", "12 bit in 16"),
)
@pytest.mark.parametrize("name", [*OUTLIER_CHECKS, "blank", "mixed-modes"])
def test_a_modality_that_is_so_by_nature_is_silent(name, nature, run_check):
    assert run_check(name, scanned(forty(nature, of=40))) == []


def test_a_picture_of_black_or_nearly_one_level_is_blank(run_check):
    pictures = forty()
    pictures[3] = np.zeros((96, 96), np.uint8)
    pictures[5] = np.full((96, 96), 200, np.uint8)
    pictures[5][0, :4] = 0
    pictures[6] = np.full((96, 96), 30, np.uint8) + (np.arange(96) % 3).astype(np.uint8)
    (finding,) = run_check("blank", scanned(pictures))
    assert [row["file"] for row in finding.items] == ["3.png", "6.png", "5.png"]
    assert (finding.severity, finding.count) == ("warning", 3)
    assert finding.items[0]["std"] == 0


def test_what_is_blank_is_named_by_one_check_alone(run_check):
    pictures = forty(lambda picture: np.zeros_like(picture), of=2)
    context = scanned(pictures)
    assert found_files(run_check("blank", context)) == ["0.png", "1.png"]
    for name in OUTLIER_CHECKS:
        assert run_check(name, context) == []


def test_blank_is_judged_in_a_dataset_of_any_size(run_check):
    (finding,) = run_check("blank", scanned([np.zeros((9, 9), np.uint8), anatomy(1)]))
    assert finding.count == 1 and finding.message.startswith("1 image shows nothing")


# -- what is odd -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OUTLIER_CHECKS)
def test_fewer_than_twenty_images_have_no_middle(name, run_check):
    with pytest.raises(NotApplicable, match="20 readable images"):
        run_check(name, recorded({f"{n}.png": record() for n in range(19)}))


def test_many_sizes_by_nature_are_silent(run_check):
    random = np.random.default_rng(0)
    sides = np.exp(random.normal(np.log(900), 0.35, size=(300, 2))).astype(int)
    records = {
        f"{n}.png": record(width=int(w), height=int(h)) for n, (w, h) in enumerate(sides.tolist())
    }
    assert run_check("odd-size", recorded(records)) == []
    assert run_check("odd-aspect", recorded(records)) == []


def test_two_sizes_by_nature_are_silent(run_check):
    records = {f"{n}.png": record(width=512 if n % 5 else 128) for n in range(200)}
    assert run_check("odd-size", recorded(records)) == []
    assert run_check("odd-aspect", recorded(records)) == []


def test_pictures_of_hardly_a_pixel_are_named_even_where_all_are_such(run_check):
    for count in (6, 60):
        records = {f"{n}.png": record(width=1 + n % 2, height=1) for n in range(count)}
        (finding,) = run_check("odd-size", recorded(records))
        assert (finding.severity, finding.count) == ("warning", count)
        assert "fewer than 8 pixels on a side: 0.png has 1×1" in finding.message
        assert re.match(f"{count} images (are|have) ", finding.message)
    records = {f"{n}.png": record(width=8, height=8) for n in range(60)}
    assert run_check("odd-size", recorded(records)) == []
    (one,) = run_check("odd-size", recorded(records | {"0.png": record(width=8, height=7)}))
    assert re.match("1 image (is|has) ", one.message)
    assert run_check("odd-size", recorded(records), pixels=9)[0].count == 60


def test_slivers_among_patches_of_one_size_come_worst_first(run_check):
    records = {f"{n}.png": record(width=50, height=50) for n in range(200)}
    records |= {
        "cut.png": record(width=50, height=24),
        "sliver.png": record(width=50, height=1),
        "almost.png": record(width=50, height=48),
    }
    (size,) = run_check("odd-size", recorded(records))
    assert size.items == (
        {"file": "sliver.png", "class": "well", "width": 50, "height": 1, "spreads": 14.1},
    )
    assert "usually 50×50" in size.message and "sliver.png has 50×1" in size.message
    (shape,) = run_check("odd-aspect", recorded(records))
    assert [(row["file"], row["aspect"]) for row in shape.items] == [
        ("sliver.png", 50.0),
        ("cut.png", 2.08),
    ]


def test_a_class_that_differs_as_a_whole_is_left_to_the_check_of_shortcuts(run_check):
    labels, records = {}, {}
    for n in range(400):
        path = f"{n}.png"
        labels[path] = "rare" if n < 25 else LABELS[n % 2]
        records[path] = record(mean=20.0 if n < 25 else 120.0 + n % 9)
    assert run_check("brightness", recorded(records, labels)) == []
    records["30.png"] = record(mean=20.0)
    assert found_files(run_check("brightness", recorded(records, labels))) == ["30.png"]


def test_parameters_move_the_border(run_check):
    records = {f"{n}.png": record(width=100, height=100) for n in range(40)}
    context = recorded(records | {"larger.png": record(width=180, height=180)})
    assert run_check("odd-size", context) == []
    assert found_files(run_check("odd-size", context, factor=1.5)) == ["larger.png"]
    assert run_check("odd-size", context, factor=1.9) == []


def test_distances_are_robust_standard_deviations():
    from scipy.stats import median_abs_deviation

    from medimg.checks._outliers import distances

    scale = np.random.default_rng(0).normal(7.0, 3.0, 100_001)
    usual = np.abs(scale - np.median(scale)) / median_abs_deviation(scale, scale="normal")
    assert distances(scale, 5, 0) == pytest.approx(usual, rel=0.03)
    scale[:5_000] += 1000
    assert distances(scale, 5, 0)[:5_000].min() > 100
    assert distances(scale, 5, 0)[5_000:].max() < 5


def test_each_side_of_a_skewed_distribution_has_its_own_spread():
    from medimg.checks._outliers import distances

    scale = np.concatenate([np.linspace(0, 1, 101), np.linspace(1, 11, 101)])
    found = distances(scale, 5, 0)
    assert found[0] == pytest.approx(found[-1], rel=0.02)


def test_burnt_out_pictures_are_told_by_their_white(run_check):
    records = {f"{n}.png": record(histogram=histogram(0.001 * (n % 7))) for n in range(60)}
    records["burnt.png"] = record(histogram=histogram(0.3))
    (finding,) = run_check("brightness", recorded(records))
    assert "burnt out" in finding.message
    assert [(row["file"], row["white"]) for row in finding.items] == [("burnt.png", 0.3)]


def test_pictures_without_sharpness_are_not_called_blurred(run_check):
    records = {f"{n}.png": record(sharpness=0.2 + 0.001 * n) for n in range(30)}
    records |= {"smooth.png": record(sharpness=None), "soft.png": record(sharpness=0.0)}
    (finding,) = run_check("blur", recorded(records))
    assert found_files([finding]) == ["soft.png"]


@pytest.mark.parametrize("sigma", [2, 3, 8, 20])
def test_blur_is_found_however_heavy_it_is(sigma, run_check):
    def blurred(picture: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(picture, (0, 0), sigma)

    assert sorted(found_files(run_check("blur", scanned(forty(blurred, of=3))))) == [
        "0.png",
        "1.png",
        "2.png",
    ]


# -- colour modes and orientation --------------------------------------------------------------


def modes(counts: dict[tuple[str, str, bool], int]) -> CheckContext:
    """Pictures by (class, mode, grey)."""
    labels, records = {}, {}
    for (label, mode, grey), images in counts.items():
        for n in range(images):
            path = f"{label}/{mode}{n}{grey}.png"
            labels[path], records[path] = label, record(mode=mode, grey=grey)
    return recorded(records, labels)


@pytest.mark.parametrize(
    ("mode", "grey"), [("L", True), ("L;16", True), ("RGB", False), ("P", False), ("RGBA", False)]
)
def test_one_mode_is_silent(mode, grey, run_check):
    context = modes({("sick", mode, grey): 15, ("well", mode, grey): 15})
    assert run_check("mixed-modes", context) == []


def test_grey_stored_as_rgb_throughout_is_information(run_check):
    context = modes({("sick", "RGB", True): 15, ("well", "RGB", True): 15})
    (finding,) = run_check("mixed-modes", context)
    assert (finding.severity, finding.count) == ("info", 30)
    assert "grey but stored as RGB" in finding.message


def test_a_few_other_modes_are_told_with_their_files(run_check):
    context = modes({("sick", "L", True): 20, ("well", "L", True): 20, ("well", "RGBA", True): 1})
    (finding,) = run_check("mixed-modes", context)
    assert finding.severity == "warning" and finding.count == 1
    assert finding.message == (
        "colour modes are mixed: 40 grey (sick 20, well 20) and 1 grey stored as RGBA (well 1)"
    )
    assert finding.items[-1] == {
        "file": "well/RGBA0True.png",
        "class": "well",
        "mode": "grey stored as RGBA",
    }
    assert {"mode": "grey", "class": "sick", "images": 20} in finding.items


@pytest.mark.parametrize(
    ("counts", "loud"),
    [
        ({("sick", "RGB", True): 30, ("well", "L", True): 30}, True),
        ({("a", "RGB", True): 20, ("a", "L", True): 15, ("b", "RGB", True): 60}, True),
        (
            {
                ("a", "L;16", True): 24,
                ("a", "L", True): 6,
                ("b", "L;16", True): 6,
                ("b", "L", True): 24,
            },
            True,
        ),
        (
            {
                ("a", "RGB", True): 30,
                ("a", "L", True): 15,
                ("b", "RGB", True): 30,
                ("b", "L", True): 15,
            },
            False,
        ),
        ({("a", "RGB", True): 60, ("b", "RGB", True): 20, ("b", "L", True): 3}, False),
        ({("a", "RGB", True): 90, ("a", "L", True): 15, ("b", "RGB", True): 20}, False),
    ],
    ids=("apart", "one class alone", "mostly", "evenly", "too few", "a mode of the large class"),
)
def test_modes_that_tell_the_class_are_told_louder(counts, loud, run_check):
    (finding,) = run_check("mixed-modes", modes(counts))
    assert finding.message.startswith(
        "the colour mode tells the class" if loud else "colour modes are mixed"
    )
    assert finding.severity == "warning"


def test_association_of_mode_and_class_against_scipy():
    from collections import Counter

    from scipy.stats.contingency import association

    from medimg.checks.mixed_modes import cramers_v

    table = np.array([[12, 5, 3], [2, 9, 7]])
    pairs = Counter(
        {(f"mode {i}", f"class {j}"): int(table[i, j]) for i in range(2) for j in range(3)}
    )
    assert cramers_v(pairs) == pytest.approx(association(table, method="cramer"))


def test_blank_patches_of_a_coloured_modality_are_no_second_mode(run_check):
    context = modes({("sick", "RGB", False): 15, ("well", "RGB", False): 15})
    blank = record(mode="RGB", grey=True, std=0.0, mean=255.0)
    labels = {s.path: s.label for s in context.index.samples} | {"white.png": "well"}
    assert run_check("mixed-modes", recorded(context.scan | {"white.png": blank}, labels)) == []


def test_modes_of_real_files(planted, noise, run_check):
    colour = noise(1, channels=3)
    files = {f"{label}/{n}.png": noise(n) for n, label in enumerate(["a"] * 6 + ["b"] * 6)}
    files |= {"b/colour.png": colour, "b/deep.png": noise(50).astype(np.uint16) * 256}
    (finding,) = run_check("mixed-modes", planted(files))
    listed = {row["file"]: row["mode"] for row in finding.items if "file" in row}
    assert listed == {"b/colour.png": "colour", "b/deep.png": "16-bit grey"}


def with_orientation(jpeg: bytes, value: int) -> bytes:
    """A JPEG with an EXIF block that holds the orientation alone."""
    tiff = b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00"
    tiff += bytes([value]) + b"\x00\x00\x00\x00\x00\x00"
    block = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + jpeg[2:]


def test_pictures_stored_lying_down_are_named(planted, noise, run_check):
    upright = cv2.imencode(".jpg", noise(1, 24, 32))[1].tobytes()
    files = {
        "a/lying.jpg": with_orientation(upright, 6),
        "a/said_upright.jpg": with_orientation(upright, 1),
        "b/plain.jpg": upright,
    }
    (finding,) = run_check("exif-orientation", planted(files))
    assert finding.items == ({"file": "a/lying.jpg", "class": "a", "orientation": 6},)
    assert (finding.severity, finding.count) == ("warning", 1)
    assert "on its left side" in finding.message


def test_upright_pictures_are_silent(planted, noise, run_check):
    assert run_check("exif-orientation", planted({"a/1.jpg": noise(1), "b/2.jpg": noise(2)})) == []


# -- real samples ------------------------------------------------------------------------------


@pytest.fixture
def real(shared_data):
    def look(name: str, **options: str) -> CheckContext:
        manager = plugins()
        index = open_dataset(
            str(shared_data / name),
            layout=None,
            options=options,
            manager=manager,
            registry=manager.registry(),
        )
        return CheckContext(index, scan(index))

    return look


def test_slivers_at_the_border_of_histology_slides(real, run_check):
    context = real("idc_breast_histopathology")
    slivers = {s.path for s in context.index.samples if context.record(s).height <= 12}
    assert slivers
    assert slivers <= set(found_files(run_check("odd-size", context)))
    assert run_check("mixed-modes", context) == []


def test_grey_files_give_the_glioma_away_in_the_brain_set(real, run_check):
    (finding,) = run_check("mixed-modes", real("brain_tumor_mri"))
    assert finding.message.startswith("the colour mode tells the class (grey: 46 of 46 glioma")


def test_published_chest_films_are_not_one_long_warning(real, run_check):
    context = real("chest_xray_kermany")
    for name in OUTLIER_CHECKS:
        assert len(set(found_files(run_check(name, context)))) <= len(context.index) / 200


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("chest_xray_kermany", {}),
        ("odir_fundus_csv", {"labels": "full_df.csv", "image": "filename", "label": "labels"}),
    ],
)
def test_blur_planted_in_real_pictures_is_found_however_heavy(
    name, options, shared_data, run_check
):
    manager = plugins()
    index = open_dataset(
        str(shared_data / name),
        layout=None, options=options, manager=manager, registry=manager.registry(),
    )  # fmt: skip
    samples = index.samples[:: len(index) // 100]
    source = Pictures({s.path: unpack_bgr(index.source.read(s.path)) for s in samples})
    index = replace(index, samples=samples, source=source)
    sharp = dict(source.given)
    assert run_check("blur", CheckContext(index, scan(index))) == []
    for sigma in (3, 8, 20):
        planted = {s.path: cv2.GaussianBlur(sharp[s.path], (0, 0), sigma) for s in samples[::20]}
        # as they would be saved: compression leaves its own marks in what is smooth
        saved = {p: cv2.imencode(".jpg", b, [1, 90])[1] for p, b in planted.items()}
        source.given = sharp | {p: cv2.imdecode(b, cv2.IMREAD_COLOR) for p, b in saved.items()}
        found = found_files(run_check("blur", CheckContext(index, scan(index))))
        assert set(found) <= set(planted)
        assert len(found) >= len(planted) - (sigma < 8), (sigma, found)
