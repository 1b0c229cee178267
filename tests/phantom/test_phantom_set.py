"""Layout, names, splits, faults and truth of a set of phantoms, read from its files."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from medimg.core.errors import InputError, UsageError
from medimg.phantom import FAULTS, PhantomTruth, make_dataset

# As published for the real set; not taken from the code under test.
PATIENT = re.compile(r"(person\d+_(?:virus|bacteria)|(?:NORMAL2-)?IM-\d+)")
NAME = {
    "PNEUMONIA": re.compile(r"person\d+_(virus|bacteria)_\d+\.(png|jpeg)"),
    "NORMAL": re.compile(r"(NORMAL2-)?IM-\d{4}-\d{4}\.(png|jpeg)"),
}


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in (".png", ".jpeg"))


def digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        whole.update(path.relative_to(folder).as_posix().encode())
        whole.update(path.read_bytes())
    return whole.hexdigest()


def grey(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)


def splits_of_patients(folder: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for path in files_of(folder):
        found[PATIENT.match(path.name)[1]].add(path.parts[-3])
    return found


def test_same_seed_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    program = (
        "import sys; from medimg.phantom import make_dataset; "
        "make_dataset(sys.argv[1], images=60, size_px=64, seed=5)"
    )
    there = tmp_path / "there"
    subprocess.run([sys.executable, "-c", program, str(there)], check=True)
    make_dataset(tmp_path / "here", images=60, size_px=64, seed=5)
    make_dataset(tmp_path / "other", images=60, size_px=64, seed=6)
    assert digest(there) == digest(tmp_path / "here")
    assert digest(there) != digest(tmp_path / "other")


def test_a_patient_is_the_same_in_a_larger_set(tmp_path: Path) -> None:
    small = make_dataset(tmp_path / "small", images=60, size_px=64, faults=())
    large = make_dataset(tmp_path / "large", images=90, size_px=64, faults=())
    in_large = {Path(image.file).name: image for image in large.images}
    last = max(small.patients, key=lambda p: sum(i.patient == p for i in small.images))
    shared = [image for image in small.images if image.patient == last]
    assert len(shared) > 1
    for image in shared:
        twin = in_large[Path(image.file).name]
        same = (tmp_path / "small" / image.file).read_bytes()
        assert same == (tmp_path / "large" / twin.file).read_bytes()


def test_layout_and_names_are_those_of_the_real_set(faulty: tuple[Path, PhantomTruth]) -> None:
    folder, truth = faulty
    found = files_of(folder)
    assert [p.relative_to(folder).as_posix() for p in found] == sorted(i.file for i in truth.images)
    by_file = {image.file: image for image in truth.images}
    for path in found:
        split, label = path.parts[-3:-1]
        image = by_file[path.relative_to(folder).as_posix()]
        assert split in ("train", "val", "test") and NAME[label].fullmatch(path.name)
        assert (image.split, image.label) == (split, label)
        assert image.patient == PATIENT.match(path.name)[1]
        assert (image.severity > 0) == (label == "PNEUMONIA") or image.copy_of


def test_images_are_8_bit_grey_of_the_size_asked(clean: tuple[Path, PhantomTruth]) -> None:
    for path in files_of(clean[0]):
        raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert raw.dtype == np.uint8 and raw.shape == (64, 64)


def test_patients_have_one_to_six_images_and_one_class(clean: tuple[Path, PhantomTruth]) -> None:
    _, truth = clean
    assert len(truth.images) == 150
    counts = Counter(image.patient for image in truth.images)
    assert set(counts.values()) == {1, 2, 3, 4, 5, 6}
    classes = defaultdict(set)
    for image in truth.images:
        classes[image.patient].add(image.label)
    assert all(len(labels) == 1 for labels in classes.values())


def test_the_bare_number_is_no_patient(clean: tuple[Path, PhantomTruth]) -> None:
    """Numbers count anew in each series, as in the real set, so person(\\d+) is a trap."""
    numbers = defaultdict(set)
    for path in files_of(clean[0]):
        if bare := re.match(r"person(\d+)_(\w+?)_", path.name):
            numbers[bare[1]].add(bare[2])
    assert any(len(series) == 2 for series in numbers.values())


def test_a_clean_set_has_no_leak_and_no_copy(clean: tuple[Path, PhantomTruth]) -> None:
    folder, truth = clean
    assert truth.faults == ()
    assert all(len(splits) == 1 for splits in splits_of_patients(folder).values())
    pixels = Counter(grey(path).tobytes() for path in files_of(folder))
    assert max(pixels.values()) == 1


def test_split_shares_are_met_in_each_class(clean: tuple[Path, PhantomTruth]) -> None:
    for label in ("NORMAL", "PNEUMONIA"):
        splits = Counter(image.split for image in clean[1].images if image.label == label)
        for split, share in (("train", 0.7), ("val", 0.1), ("test", 0.2)):
            # At worst, one patient of six images too many.
            assert abs(splits[split] - share * splits.total()) <= 6


@pytest.mark.parametrize("images", [12, 13, 25])
def test_small_sets_have_both_classes_in_every_split(tmp_path: Path, images: int) -> None:
    truth = make_dataset(tmp_path, images=images, size_px=64, faults=())
    assert len(truth.images) == images
    assert len({(image.split, image.label) for image in truth.images}) == 6


def test_every_fault_is_planted_once_and_apart(faulty: tuple[Path, PhantomTruth]) -> None:
    folder, truth = faulty
    assert tuple(fault.name for fault in truth.faults) == FAULTS
    assert PhantomTruth.read(folder) == truth == PhantomTruth.read(folder / "truth.json")
    concerned = [f for fault in truth.faults if fault.name != "shortcut" for f in fault.files]
    assert len(concerned) == len(set(concerned))


def test_leaky_patients_are_those_of_the_truth(faulty: tuple[Path, PhantomTruth]) -> None:
    folder, truth = faulty
    found = {patient for patient, splits in splits_of_patients(folder).items() if len(splits) > 1}
    fault = truth.fault("patient-leakage")
    assert found == set(fault.patients) and len(found) >= 2
    assert set(fault.files) == {i.file for i in truth.images if i.patient in found}


def test_byte_copies_are_those_of_the_truth(faulty: tuple[Path, PhantomTruth]) -> None:
    folder, truth = faulty
    by_bytes = defaultdict(set)
    for path in files_of(folder):
        by_bytes[path.read_bytes()].add(path.relative_to(folder).as_posix())
    found = {frozenset(files) for files in by_bytes.values() if len(files) > 1}
    across_splits = {frozenset(p) for p in truth.fault("duplicates-across-splits").pairs}
    across_classes = {frozenset(p) for p in truth.fault("duplicates-across-classes").pairs}
    assert found == across_splits | across_classes
    assert all(len({f.split("/")[0] for f in pair}) == 2 for pair in across_splits)
    assert all(len({f.split("/")[1] for f in pair}) == 2 for pair in across_classes)
    assert all(len({f.split("/")[0] for f in pair}) == 1 for pair in across_classes)


def test_re_encoded_copies_differ_in_bytes_not_in_picture(
    faulty: tuple[Path, PhantomTruth],
) -> None:
    folder, truth = faulty
    pairs = truth.fault("re-encoded-copy").pairs
    assert {Path(copy).suffix for _, copy in pairs} == {".png", ".jpeg"}
    for original, copy in pairs:
        assert (folder / original).read_bytes() != (folder / copy).read_bytes()
        difference = np.abs(grey(folder / original).astype(int) - grey(folder / copy)).mean()
        if copy.endswith(".png"):
            assert difference == 0
        else:
            assert 0 < difference < 4


def test_cut_files_start_as_png_and_have_no_end(faulty: tuple[Path, PhantomTruth]) -> None:
    folder, truth = faulty
    for file in truth.fault("unreadable").files:
        data = (folder / file).read_bytes()
        assert data.startswith(b"\x89PNG") and b"IEND" not in data
    whole = set(i.file for i in truth.images) - set(truth.fault("unreadable").files)
    assert all(grey(folder / file) is not None for file in whole)


def test_the_tag_is_where_the_truth_says(
    faulty: tuple[Path, PhantomTruth], clean: tuple[Path, PhantomTruth]
) -> None:
    """Pictures of the same seed with and without faults differ by the tag in a corner alone."""
    folder, truth = faulty
    plain = {Path(image.file).name: clean[0] / image.file for image in clean[1].images}
    tagged, cut = truth.fault("shortcut").files, truth.fault("unreadable").files
    shares = Counter()
    for image in truth.images:
        if image.copy_of or image.file in cut:
            continue
        here = grey(folder / image.file).astype(int)
        changed = here - grey(plain[Path(image.file).name])
        assert changed.any() == (image.file in tagged)
        assert not changed[16:].any() and not changed[:, :40].any()
        shares[image.label, image.file in tagged] += 1
    assert shares["PNEUMONIA", True] > 5 * shares["PNEUMONIA", False]
    assert shares["NORMAL", False] > 5 * shares["NORMAL", True]


def test_a_fault_can_be_asked_for_alone(tmp_path: Path) -> None:
    truth = make_dataset(tmp_path, images=40, size_px=64, faults=["unreadable"])
    assert [fault.name for fault in truth.faults] == ["unreadable"]
    assert len(truth.images) == 40


def test_a_part_without_share_is_left_out(tmp_path: Path) -> None:
    make_dataset(tmp_path, images=20, size_px=64, faults=(), splits=(0.8, 0.0, 0.2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test", "train", "truth.json"]


def test_folders_in_use_are_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "train" / "mine.png"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="train holds files already"):
            make_dataset(tmp_path, images=20, size_px=64, overwrite=overwrite)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [mine]


def test_overwrite_replaces_an_earlier_set(tmp_path: Path) -> None:
    make_dataset(tmp_path / "set", images=30, size_px=64, seed=1, faults=())
    with pytest.raises(InputError):
        make_dataset(tmp_path / "set", images=20, size_px=64, seed=2, faults=())
    make_dataset(tmp_path / "set", images=20, size_px=64, seed=2, faults=(), overwrite=True)
    make_dataset(tmp_path / "fresh", images=20, size_px=64, seed=2, faults=())
    assert digest(tmp_path / "set") == digest(tmp_path / "fresh")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"images": 3}, "at least 12 images"),
        ({"size_px": 32}, "64 to 256 px"),
        ({"splits": (0.5, 0.1, 0.1)}, "sum to 1"),
        ({"splits": (0.8, 0.0, 0.2)}, "need a train, a val and a test part"),
        ({"faults": ["patient-leak"]}, "no fault is called 'patient-leak'"),
        ({"images": 12}, "too small for all of these faults"),
    ],
)
def test_senseless_arguments_are_refused(tmp_path: Path, wrong: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_dataset(tmp_path / "set", **wrong)


@pytest.mark.parametrize("content", ["", "[]", '{"schema": "other"}', '{"schema": 1'])
def test_no_truth_file_is_an_input_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(InputError, match="can't be read"):
        PhantomTruth.read(tmp_path)
    (tmp_path / "truth.json").write_text(content)
    with pytest.raises(InputError, match="no truth file of phantoms"):
        PhantomTruth.read(tmp_path)
