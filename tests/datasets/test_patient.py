"""The patient layout on planted trees and on the real sample."""

from __future__ import annotations

import pytest

from medimg.api import InputError, UsageError
from medimg.datasets.folder import Reader as FolderReader
from medimg.datasets.patient import Reader


@pytest.fixture
def tree(tmp_path, write_image):
    def make(*paths):
        for path in paths:
            write_image(tmp_path / path)
        return tmp_path

    return make


def idc(*patients, inside=""):
    """Paths as in the IDC set."""
    return [f"{inside}{p}/{c}/{p}_idx5_x{x}_class{c}.png" for p in patients for c in "01"
            for x in (1, 2)]  # fmt: skip


def surer(path):
    """Which of the two folder layouts is the surer."""
    mine, theirs = Reader().sniff(path).confidence, FolderReader().sniff(path).confidence
    return "patient" if mine > theirs else "folder" if theirs > mine else "neither"


def read(path, **options):
    return Reader().read(path, options)


@pytest.mark.parametrize("inside", ["", "IDC_regular_ps50_idx5/", "a/b/"])
def test_patient_folders(tree, inside):
    root = tree(*idc("8863", "9036", "10253", inside=inside))
    assert surer(root) == "patient"
    index = read(root)
    assert index.classes == ("0", "1") and len(index) == 12
    assert index.groups() == ("10253", "8863", "9036")
    assert index.patients == "patient folders"
    assert "3 patient folders" in index.reason


def test_patients_within_splits(tree):
    root = tree(*idc("1001", "1002", inside="train/"), *idc("1003", inside="Testing/"))
    assert surer(root) == "patient"
    index = read(root)
    assert index.split_counts() == {"train": {"0": 4, "1": 4}, "test": {"0": 2, "1": 2}}
    assert {s.group for s in index.part("test")} == {"1003"}


def test_patients_with_one_class_only(tree):
    root = tree("p1/benign/a.png", "p2/malignant/b.png", "p3/benign/c.png")
    assert surer(root) == "patient"
    assert [(s.group, s.label) for s in read(root).samples] == [
        ("p1", "benign"), ("p2", "malignant"), ("p3", "benign")
    ]  # fmt: skip


@pytest.mark.parametrize(
    "paths",
    [
        (
            "train/NORMAL/1.png",
            "train/PNEUMONIA/2.png",
            "test/NORMAL/3.png",
            "test/PNEUMONIA/4.png",
        ),
        ("COVID/images/1.png", "COVID/masks/1.png", "Normal/images/2.png", "Normal/masks/2.png"),
        ("benign/40X/1.png", "benign/100X/2.png", "malignant/40X/3.png", "malignant/100X/4.png"),
        ("A/train/1.png", "A/test/2.png", "B/train/3.png", "B/test/4.png", "C/train/5.png"),
        ("grade0/left/1.png", "grade0/right/2.png", "grade1/left/1.png", "grade2/right/2.png"),
        ("melanoma/a/1.png", "melanoma/b/2.png", "nevus/a/1.png", "keratosis/b/2.png"),
        ("stage1/x/stage1_1.png", "stage2/y/stage2_1.png", "stage3/x/stage3_1.png"),
    ],
)
def test_class_folders_are_no_patients(tree, paths):
    assert surer(tree(*paths)) == "folder"


def test_what_could_be_either_is_asked(tree):
    root = tree(*(f"{organ}/{c}/1.png" for organ in ("breast", "lung", "colon", "skin")
                  for c in ("benign", "malignant")))  # fmt: skip
    assert surer(root) == "neither"


def test_patients_by_regex_on_class_folders(tree):
    root = tree("NORMAL/p1_a.png", "NORMAL/p2_a.png", "PNEUMONIA/p3_a.png")
    index = read(root, group_regex=r"(p\d+)_")
    assert index.layout == "patient" and index.classes == ("NORMAL", "PNEUMONIA")
    assert index.groups() == ("p1", "p2", "p3")


def test_class_folders_without_a_regex(tree):
    with pytest.raises(InputError, match="no patient folders") as error:
        read(tree("NORMAL/p1_a.png", "PNEUMONIA/p3_a.png"))
    assert "group_regex" in error.value.hint


def test_a_nested_copy_is_read_once_and_what_it_has_more_is_kept(tree):
    both, more = idc("1001", "1002"), idc("1003")
    copy = [f"IDC_regular/{path}" for path in both + more]
    root = tree(*both, *copy)
    for path in both:
        (root / "IDC_regular" / path).write_bytes((root / path).read_bytes())
    index = read(root)
    assert len(index) == 12 and index.groups() == ("1001", "1002", "1003")
    assert index.findings[0].check == "nested-copy" and index.findings[0].count == 8


def test_patients_called_like_classes_are_no_copies(tree):
    paths = [f"{p}/{c}/{p}_{c}.png" for p in range(6) for c in range(3)]
    index = read(tree(*paths))
    assert len(index) == 18 and index.findings == ()
    assert index.classes == ("0", "1", "2") and len(index.groups()) == 6


def test_options(tree):
    root = tree("p1/a/1.png", "p1/b/2.png", "p2/a/3.png", "p2/c/4.png", "p3/a/5.png", "p4/b/6.png")
    assert read(root, group="none").groups() == ()
    assert read(root, group="none").patients == ""
    kept = read(root, classes="a,b")
    assert kept.class_counts() == {"a": 3, "b": 2}
    with pytest.raises(UsageError, match="'z'"):
        read(root, classes="a,z")


def test_idc(shared_data):
    root = shared_data / "idc_breast_histopathology"
    assert surer(root) == "patient"
    index = read(root)
    assert index.class_counts() == {"0": 1252, "1": 406}
    assert len(index.groups()) == 43
    assert all(s.group == s.path.split("/")[0] for s in index.samples)


def test_other_samples_are_no_patient_folders(shared_data):
    for name in ("chest_xray_kermany", "brain_tumor_mri", "covid19_radiography", "breakhis_mini"):
        assert surer(shared_data / name) == "folder", name


def test_two_patients_are_patients(tree):
    root = tree(*(f"{p}/{c}/1.png" for p in ("p1", "p2") for c in ("benign", "malignant")))
    assert surer(root) == "patient"
    index = read(root)
    assert index.classes == ("benign", "malignant") and index.groups() == ("p1", "p2")


@pytest.mark.parametrize("outer", [("p1", "p2"), ("p1", "p2", "p3"), ("Anna", "Bob"), ("0", "1")])
@pytest.mark.parametrize("inner", [("A", "B"), ("benign", "malignant")])
def test_folders_alike_inside_are_never_classes_without_a_word(tree, outer, inner):
    root = tree(*(f"{p}/{c}/1.png" for p in outer for c in inner))
    assert surer(root) in ("patient", "neither")


def test_two_patients_of_one_class_each_are_asked_about(tree):
    assert surer(tree("p1/benign/1.png", "p2/malignant/2.png")) == "neither"


def test_folds_are_no_patients(tree):
    root = tree(*(f"fold{n}/{c}/1.png" for n in range(1, 6) for c in ("benign", "malignant")))
    assert surer(root) == "folder"
