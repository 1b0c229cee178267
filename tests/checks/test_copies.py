"""Copies of a picture: on two sides, in one class and part, and pictures that only look alike."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest


def saved(pixels: np.ndarray, suffix: str, *options: int) -> bytes:
    return cv2.imencode(suffix, pixels, list(options))[1].tobytes()


@pytest.fixture
def picture(noise):
    return noise(500, 96, 96)


def files_of(finding) -> list[set[str]]:
    return [set(row["files"]) for row in finding.items]


def test_byte_identical_pictures_on_two_sides(planted, run_check, small_set, picture):
    context = planted(
        small_set | {"train/a/x.png": picture, "test/a/y.png": picture, "test/a/z.png": picture}
    )
    (finding,) = run_check("duplicates-across-splits", context)
    assert (finding.severity, finding.count) == ("error", 1)
    assert finding.message == (
        "1 picture stands on two sides of the split (1 byte-identical, 0 pixel-identical)"
    )
    assert files_of(finding) == [{"train/a/x.png", "test/a/y.png", "test/a/z.png"}]
    assert finding.items[0]["splits"] == ["test", "train"]
    assert finding.items[0]["identical"] == "bytes"
    assert run_check("duplicates-across-classes", context) == []


@pytest.mark.parametrize("form", ["bmp", "colour png", "16 bit"])
def test_pixel_identical_pictures_on_two_sides(form, planted, run_check, small_set, picture):
    other = {
        "bmp": ("test/a/y.bmp", saved(picture, ".bmp")),
        "colour png": ("test/a/y.png", saved(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), ".png")),
        "16 bit": ("test/a/y.tif", saved(picture.astype(np.uint16) * 257, ".tif")),
    }
    context = planted(small_set | {"train/a/x.png": picture} | dict([other[form]]))
    (finding,) = run_check("duplicates-across-splits", context)
    assert finding.count == 1 and finding.items[0]["identical"] == "pixels"
    assert "0 byte-identical, 1 pixel-identical" in finding.message


def test_a_picture_in_two_classes_is_an_error_without_a_split_too(planted, run_check, noise):
    files = {f"{c}/{n}.png": noise(20 * k + n) for k, c in enumerate("ab") for n in range(4)}
    files["b/again.png"] = files["a/0.png"]
    context = planted(files)
    (finding,) = run_check("duplicates-across-classes", context)
    assert (finding.severity, finding.count) == ("error", 1)
    assert files_of(finding) == [{"a/0.png", "b/again.png"}]
    assert finding.items[0]["classes"] == ["a", "b"]


def test_copies_within_a_class_and_part_are_a_warning(planted, run_check, small_set, picture):
    context = planted(
        small_set | {"train/a/x.png": picture, "train/a/y.png": picture, "train/a/z.png": picture}
    )
    (finding,) = run_check("exact-duplicates", context)
    assert (finding.severity, finding.count) == ("warning", 1)
    assert "(2 copies too many)" in finding.message
    assert files_of(finding) == [{"train/a/x.png", "train/a/y.png", "train/a/z.png"}]
    assert run_check("duplicates-across-splits", context) == []


def test_copies_within_train_count_though_test_holds_one_as_well(
    planted, run_check, small_set, picture
):
    context = planted(
        small_set | {"train/a/x.png": picture, "train/a/y.png": picture, "test/a/z.png": picture}
    )
    (within,) = run_check("exact-duplicates", context)
    assert files_of(within) == [{"train/a/x.png", "train/a/y.png"}]
    (across,) = run_check("duplicates-across-splits", context)
    assert files_of(across) == [{"train/a/x.png", "train/a/y.png", "test/a/z.png"}]


@pytest.mark.parametrize(
    ("name", "remade"),
    [
        ("y.jpg", lambda p: saved(p, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 75)),
        (
            "y.png",
            lambda p: saved(cv2.resize(p, (144, 144), interpolation=cv2.INTER_CUBIC), ".png"),
        ),
        ("y.png", lambda p: saved(cv2.resize(p, (72, 72), interpolation=cv2.INTER_AREA), ".png")),
    ],
    ids=["recompressed", "enlarged", "shrunk"],
)
def test_a_picture_saved_anew_is_confirmed_by_its_pixels(
    name, remade, planted, run_check, small_set, picture
):
    context = planted(small_set | {"train/a/x.png": picture, f"test/a/{name}": remade(picture)})
    (finding,) = run_check("duplicates-across-splits", context)
    assert (finding.severity, finding.count) == ("error", 1)
    assert files_of(finding) == [{"train/a/x.png", f"test/a/{name}"}]
    assert finding.items[0]["identical"] == "nearly"
    assert finding.items[0]["correlation"] >= 0.999
    assert run_check("near-duplicates", context) == []


def test_pictures_are_counted_and_not_the_ways_in_which_they_are_copied(
    planted, run_check, small_set, picture
):
    again = saved(picture, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 80)
    context = planted(
        small_set | {"train/a/x.png": picture, "test/a/y.png": picture, "test/a/z.jpg": again}
    )
    (finding,) = run_check("duplicates-across-splits", context)
    assert finding.message == (
        "1 picture stands on two sides of the split, in 2 groups of copies "
        "(1 byte-identical, 0 pixel-identical, 1 nearly identical)"
    )
    assert finding.count == 2
    same = {"train/a/x.png", "test/a/y.png"}
    assert files_of(finding) == [same, same | {"test/a/z.jpg"}]


@pytest.mark.parametrize("frames", [8, 60])
def test_frames_of_one_video_are_one_group_and_no_thousand_pairs(frames, planted, run_check, noise):
    still = noise(7, 128, 128).astype(float)
    draws = np.random.default_rng(0)
    files = {
        f"{'ab'[n % 2]}/{n:02d}.png": np.clip(still + draws.normal(0, 3, still.shape), 0, 255)
        for n in range(frames)
    }
    files = {name: frame.astype(np.uint8) for name, frame in files.items()}
    context = planted(
        files | {f"{c}/other{n}.png": noise(n, 128, 128) for n in (1, 2) for c in "a"}
    )
    (finding,) = run_check("duplicates-across-classes", context)
    assert finding.count == 1 and finding.message.startswith("1 picture stands in two classes")
    assert files_of(finding) == [set(files)]
    assert finding.items[0]["correlation"] > 0.999
    assert len(context.near_copies) == len(files) - 1
    assert run_check("near-duplicates", context) == []


def test_what_a_device_draws_around_every_picture_makes_no_copies_of_them(
    planted, run_check, noise
):
    """A bright panel that all share correlates by 0.999 whatever lies in the sector beside it."""
    files = {}
    for n in range(24):
        screen = np.zeros((224, 224), np.uint8)
        screen[70:150, 90:170] = noise(n, 80, 80) // 8
        screen[:, :60] = 230
        files[f"{'ab'[n % 2]}/{n:02d}.png"] = screen
    context = planted(files)
    assert max(pair.correlation for pair in context.near_copies) >= 0.999
    assert run_check("duplicates-across-classes", context) == []
    (finding,) = run_check("near-duplicates", context)
    assert "not confirmed as copies" in finding.message


def test_every_file_of_a_near_copy_is_named(planted, run_check, small_set, picture):
    again = saved(picture, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 80)
    context = planted(
        small_set
        | {"train/a/x.png": picture, "train/a/again.png": picture}
        | {"train/b/y.jpg": again, "test/b/y.jpg": again}
    )
    names = {"train/a/x.png", "train/a/again.png", "train/b/y.jpg", "test/b/y.jpg"}
    for check in ("duplicates-across-splits", "duplicates-across-classes"):
        (finding,) = run_check(check, context)
        assert set.union(*files_of(finding)) == names, check


def test_near_copies_on_one_side_are_a_warning(planted, run_check, small_set, picture):
    again = saved(picture, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 80)
    context = planted(small_set | {"train/a/x.png": picture, "train/a/y.jpg": again})
    (finding,) = run_check("near-duplicates", context)
    assert (finding.severity, finding.count) == ("warning", 1)
    assert finding.message == "1 pair looks like the same picture: 1 nearly identical"
    assert files_of(finding) == [{"train/a/x.png", "train/a/y.jpg"}]
    assert run_check("duplicates-across-splits", context) == []


def test_look_alikes_on_two_sides_are_no_error(planted, run_check, small_set, picture):
    """Another picture with the same gradients: a neighbour by hash, no copy by its pixels."""
    blob = np.zeros((96, 96), np.float32)
    cv2.circle(blob, (30, 40), 9, 40.0, -1)
    other = np.clip(picture + cv2.GaussianBlur(blob, (0, 0), 4), 0, 255).astype(np.uint8)
    context = planted(small_set | {"train/a/x.png": picture, "test/a/y.png": other})
    assert run_check("duplicates-across-splits", context) == []


def mixed(seed: int, shared: float) -> np.ndarray:
    """UInt8[96, 96] of noise, of which all pictures have the same part."""
    size, places = (96, 96), (cv2.getGaussianKernel(15, 3), cv2.getGaussianKernel(15, 3))
    common, own = (
        cv2.sepFilter2D(np.random.default_rng(n).normal(size=size), cv2.CV_64F, *places)
        for n in (0, seed)
    )
    both = np.sqrt(shared) * common + np.sqrt(1 - shared) * own
    return np.clip(128 + 400 * both, 0, 255).astype(np.uint8)


def test_pairs_that_only_look_alike_are_a_warning_where_they_stand_out(
    planted, run_check, small_set
):
    pair = {"train/a/x.png": mixed(1, 0.994), "train/a/y.png": mixed(2, 0.994)}
    (finding,) = run_check("near-duplicates", planted(small_set | pair))
    assert (finding.severity, finding.count) == ("warning", 1)
    assert "not confirmed" in finding.message and finding.items[0]["identical"] == "no, alike"


@pytest.mark.parametrize(("beside", "severity"), [(2, "warning"), (3, "info")])
def test_from_three_nearly_as_alike_a_pair_on_is_the_modalitys_nature(
    beside, severity, planted, run_check, small_set
):
    pair = {"train/a/x.png": mixed(1, 0.994), "train/a/y.png": mixed(2, 0.994)}
    context = planted(small_set | pair)
    found = replace(context.near_search, look_alikes=beside)
    object.__setattr__(context, "_near_search", found)
    (finding,) = run_check("near-duplicates", context)
    assert (finding.severity, finding.count) == (severity, 1)


def test_pictures_that_look_alike_by_nature_are_information(planted, run_check, small_set):
    alike = {f"train/a/{n}.png": mixed(n, 0.985) for n in range(1, 13)}
    pair = {f"train/a/x{n}.png": mixed(n, 0.990) for n in (20, 21)}
    context = planted(small_set | alike | pair)
    (finding,) = run_check("near-duplicates", context)
    assert finding.severity == "info" and finding.count < 12
    assert "more are nearly so" in finding.message
    (kept,) = run_check("near-duplicates", context, look_alikes=1000.0)
    assert kept.severity == "warning"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "remade",
    [
        lambda p: saved(p, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 40),
        lambda p: saved(cv2.resize(p, (25, 25), interpolation=cv2.INTER_AREA), ".png"),
        lambda p: saved(cv2.resize(p, (75, 75), interpolation=cv2.INTER_CUBIC), ".png"),
    ],
    ids=["recompressed", "shrunk", "enlarged"],
)
def test_small_noisy_patches_saved_anew_are_found(remade, seed, planted, run_check, small_set):
    """Noise turns bits of a gradient hash, hardly any of the lowest frequencies."""
    random = np.random.default_rng(seed)
    coarse = cv2.resize(random.integers(60, 200, (12, 12), np.uint8), (50, 50)).astype(float)
    patch = np.clip(coarse + random.normal(0, 6, (50, 50)), 0, 255).astype(np.uint8)
    context = planted(small_set | {"train/a/x.png": patch, "train/a/y.png": remade(patch)})
    (finding,) = run_check("near-duplicates", context)
    assert {"train/a/x.png", "train/a/y.png"} in files_of(finding)


def test_a_picture_without_a_split_is_on_no_side(planted, run_check, small_set, picture):
    context = planted(small_set | {"train/a/x.png": picture, "train/a/y.png": picture})
    samples = tuple(s for s in context.index.samples if s.split == "train")
    alone = type(context)(context.index.with_samples(samples), context.scan)
    assert run_check("duplicates-across-splits", alone) == []
