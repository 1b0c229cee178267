"""The folder layout on planted trees and on the real samples."""

from __future__ import annotations

import os
import shutil

import pytest

from medimg.api import InputError, UsageError
from medimg.datasets.folder import Reader

KERMANY_PATIENTS = r"(person\d+_(?:virus|bacteria)|(?:NORMAL2-)?IM-\d+)"


@pytest.fixture
def tree(tmp_path, write_image):
    """Writes images at the paths given below a folder, and returns it."""

    def make(*paths, root="data"):
        (tmp_path / root).mkdir(exist_ok=True)
        for path in paths:
            write_image(tmp_path / root / path)
        return tmp_path / root

    return make


def read(path, **options):
    return Reader().read(path, options)


def placed(index):
    return [(s.path, s.label, s.split) for s in index.samples]


def found(index, check):
    return [f for f in index.findings if f.check == check]


def test_class_folders(tree):
    root = tree("NORMAL/a.png", "PNEUMONIA/b.jpeg")
    index = read(root)
    assert placed(index) == [
        ("NORMAL/a.png", "NORMAL", None),
        ("PNEUMONIA/b.jpeg", "PNEUMONIA", None),
    ]
    assert index.classes == ("NORMAL", "PNEUMONIA")
    assert index.name == "data" and index.layout == "folder"
    assert index.reason == "class folders NORMAL, PNEUMONIA"
    assert index.source.read("NORMAL/a.png") == (root / "NORMAL/a.png").read_bytes()
    assert index.patients is None and index.findings == ()
    assert Reader().sniff(root).confidence == 0.9


@pytest.mark.parametrize(
    ("folder", "split"),
    [("Training", "train"), ("valid", "val"), ("Validation", "val"), ("Testing", "test"),
     ("train_set", "train"), ("TEST", "test")],
)  # fmt: skip
def test_split_folders_by_any_name(tree, folder, split):
    index = read(tree(f"{folder}/A/1.png", f"{folder}/B/2.png"))
    assert [s.split for s in index.samples] == [split, split]
    assert index.classes == ("A", "B")


def test_root_nested_more_than_once(tree):
    index = read(tree("x/y/z/benign/SOB/a/1.png", "x/y/z/malignant/SOB/b/2.png"))
    assert placed(index) == [
        ("x/y/z/benign/SOB/a/1.png", "benign", None),
        ("x/y/z/malignant/SOB/b/2.png", "malignant", None),
    ]


def test_splits_nested_and_a_class_missing_from_one(tree):
    index = read(tree("chest/train/A/1.png", "chest/train/B/2.png", "chest/test/A/3.png"))
    assert index.split_counts() == {"train": {"A": 1, "B": 1}, "test": {"A": 1, "B": 0}}


def test_splits_below_classes(tree):
    index = read(tree("A/train/1.png", "A/test/2.png", "B/train/3.png", "B/test/4.png"))
    assert index.split_counts() == {"train": {"A": 1, "B": 1}, "test": {"A": 1, "B": 1}}


def test_strays_are_no_images(tree):
    root = tree("A/1.png", "B/2.png", "__MACOSX/A/._1.png", ".ipynb_checkpoints/x.png")
    for name in (".DS_Store", "README.md", "LICENSE", "A/Thumbs.db", "B/._2.png"):
        (root / name).write_bytes(b"x")
    index = read(root)
    assert len(index) == 2
    assert set(index.strays) == {
        ".DS_Store", "README.md", "LICENSE", "A/Thumbs.db", "B/._2.png", "__MACOSX/A/._1.png",
        ".ipynb_checkpoints/x.png",
    }  # fmt: skip


@pytest.mark.parametrize("stray", [None, ".DS_Store"])
def test_an_empty_class_folder_is_declared(tree, stray):
    root = tree("train/A/1.png", "test/A/2.png", "test/B/3.png")
    (root / "train" / "B").mkdir()
    if stray:
        (root / "train" / "B" / stray).write_bytes(b"x")
    index = read(root)
    assert index.classes == ("A", "B")
    assert ("train", "B") in index.declared
    assert index.split_counts()["train"] == {"A": 1, "B": 0}


def test_an_empty_class_without_splits(tree):
    root = tree("A/1.png")
    (root / "B").mkdir()
    assert read(root).class_counts() == {"A": 1, "B": 0}


def test_a_copy_nested_in_itself_is_read_once(tree):
    files = ["train/A/1.png", "train/B/2.png", "test/A/3.png", "test/B/4.png"]
    root = tree(*files)
    inner = root / "data"
    for name in ("train", "test"):
        shutil.copytree(root / name, inner / name)
    index = read(root)
    assert [s.path for s in index.samples] == sorted(files)
    (finding,) = found(index, "nested-copy")
    assert finding.severity == "warning" and finding.count == 4
    assert finding.items == ({"file": "data", "copies": 4},)


def test_a_nested_folder_with_other_images_is_read(tree):
    root = tree("train/A/1.png", "train/B/2.png", "test/A/3.png", "test/B/4.png")
    shutil.copytree(root / "train", root / "data" / "train")
    shutil.move(root / "data/train/A/1.png", root / "data/train/A/5.png")
    (root / "data" / "test").mkdir()
    shutil.copy(root / "test/A/3.png", root / "data/test/3.png")
    index = read(root)
    assert ("data/train/A/5.png", "A", "train") in placed(index)
    assert len(index) == 5
    (finding,) = found(index, "nested-copy")
    assert finding.count == 1 and "2 images that stand only there" in finding.message


def test_a_link_to_the_folder_itself_ends(tree):
    root = tree("A/1.png", "B/2.png")
    os.symlink(root, root / "loop")
    assert len(read(root)) == 2


def test_linked_folders_are_followed(tree, tmp_path):
    elsewhere = tree("1.png", root="elsewhere")
    root = tree("B/2.png")
    os.symlink(elsewhere, root / "A")
    assert placed(read(root)) == [("A/1.png", "A", None), ("B/2.png", "B", None)]


def test_masks_are_left_out(tree):
    root = tree("COVID/images/1.png", "COVID/masks/1.png", "Normal/images/2.png",
                "Normal/masks/2.png")  # fmt: skip
    index = read(root)
    assert [s.path for s in index.samples] == ["COVID/images/1.png", "Normal/images/2.png"]
    assert index.classes == ("COVID", "Normal")
    (finding,) = found(index, "stray-files")
    assert finding.count == 2 and finding.severity == "info"


def test_masks_beside_their_image_are_left_out(tree):
    root = tree("benign/b (1).png", "benign/b (1)_mask.png", "benign/b (1)_mask_1.png",
                "normal/n.png", "normal/unmasked.png")  # fmt: skip
    index = read(root)
    assert index.class_counts() == {"benign": 1, "normal": 2}
    assert found(index, "stray-files")[0].count == 2


def test_classes_named_at_whatever_depth(tree):
    root = tree("a/b/SOB/benign/1.png", "a/SOB/malignant/x/2.png", "other/3.png")
    index = read(root, classes="benign,malignant")
    assert [s.label for s in index.samples] == ["malignant", "benign"]
    assert [s.path for s in index.unlabelled] == ["other/3.png"]
    assert found(index, "wrong-level")[0].count == 1


def test_classes_that_are_no_folders(tree):
    with pytest.raises(UsageError, match="benig'") as error:
        read(tree("benign/1.png", "malignant/2.png"), classes="benig,malignant")
    assert error.value.hint == "Did you mean 'benign'?"


def test_images_outside_class_folders_have_no_label(tree):
    index = read(tree("A/1.png", "B/2.png", "grid.png"))
    assert [s.path for s in index.unlabelled] == ["grid.png"]
    (finding,) = found(index, "missing-labels")
    assert finding.count == 1 and finding.severity == "warning"


def test_a_folder_beside_the_splits_has_no_label(tree):
    index = read(tree("train/A/1.png", "train/B/2.png", "pred/9.png"))
    assert [s.path for s in index.unlabelled] == ["pred/9.png"]


def test_images_without_class_folders(tree):
    with pytest.raises(InputError, match="no class folders and no CSV file") as error:
        read(tree("1.png", "2.png"))
    assert error.value.exit_code == 3 and "-o labels=" in error.value.hint


def test_images_in_split_folders_alone_have_no_label(tree):
    with pytest.raises(InputError, match="no labels"):
        read(tree("train/1.png", "test/2.png"))


def test_no_image(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    assert Reader().sniff(tmp_path).confidence == 0
    with pytest.raises(InputError, match=r"no image in .* \(found: 1 .txt\)"):
        read(tmp_path)


def test_dicom_alone_names_the_plugin(tmp_path, monkeypatch):
    monkeypatch.setattr("medimg.datasets._tree.find_spec", lambda name: None)
    (tmp_path / "a.dcm").write_bytes(b"x")
    with pytest.raises(InputError) as error:
        read(tmp_path)
    assert "medimg-dicom" in error.value.hint


def test_folder_that_cannot_be_listed(tree):
    root = tree("A/1.png", "B/2.png", "C/3.png")
    (root / "C").chmod(0)
    try:
        if os.access(root / "C", os.R_OK):
            pytest.skip("running as a user whom permissions don't hold")
        assert found(read(root), "unreadable")[0].items == ({"file": "C"},)
    finally:
        (root / "C").chmod(0o755)


def test_patients_by_regex(tree):
    root = tree("A/p1_1.png", "A/p1_2.png", "B/p2_1.png", "B/x.png")
    index = read(root, group_regex=r"(p\d+)_")
    assert [s.group for s in index.samples] == ["p1", "p1", "p2", None]
    assert index.patients == r"regular expression (p\d+)_"
    assert found(index, "patient-ids-unusable")[0].items == ({"file": "B/x.png"},)


@pytest.mark.parametrize(
    ("option", "message"),
    [({"group_regex": "("}, "no regular expression"), ({"group_regex": "p"}, "no group"),
     ({"group_regex": "(zzz)"}, "matches none of 2 paths"),
     ({"clases": "A"}, "no option 'clases'"), ({"group": "ID"}, "has no columns")],
)  # fmt: skip
def test_bad_options(tree, option, message):
    with pytest.raises(UsageError, match=message):
        read(tree("A/p1.png", "B/p2.png"), **option)


@pytest.mark.parametrize(
    "parts",
    [("images_part_1", "images_part_2"), ("HAM10000_images_part_1", "HAM10000_images_part_2")],
)
def test_parts_of_a_download_are_hardly_classes(tree, parts):
    assert Reader().sniff(tree(f"{parts[0]}/1.png", f"{parts[1]}/2.png")).confidence < 0.5


def test_order_is_stable(tree):
    index = read(tree("B/2.png", "A/9.png", "A/10.png"))
    assert [s.path for s in index.samples] == ["A/10.png", "A/9.png", "B/2.png"]


# -- real samples --------------------------------------------------------------------------------


def test_chest_xray(shared_data):
    index = read(shared_data / "chest_xray_kermany", group_regex=KERMANY_PATIENTS)
    assert index.split_counts() == {
        "train": {"NORMAL": 321, "PNEUMONIA": 953}, "test": {"NORMAL": 49, "PNEUMONIA": 93}
    }  # fmt: skip
    assert len(index.groups()) == 941
    assert set(index.strays) == {".DS_Store", "README.md", "test/.DS_Store"}
    sides = {split: {s.group for s in index.part(split)} for split in ("train", "test")}
    assert not sides["train"] & sides["test"]


def test_brain_tumour(shared_data):
    index = read(shared_data / "brain_tumor_mri")
    assert index.split_counts() == {
        "train": {"glioma_tumor": 186, "meningioma_tumor": 189, "no_tumor": 112,
                  "pituitary_tumor": 181},
        "test": {"glioma_tumor": 28, "meningioma_tumor": 103, "no_tumor": 64,
                 "pituitary_tumor": 30},
    }  # fmt: skip


def test_covid_radiography_nested_once(shared_data):
    assert read(shared_data / "covid19_radiography").class_counts() == {"COVID": 103, "Normal": 115}


def test_breakhis(shared_data):
    index = read(shared_data / "breakhis_mini", group_regex=r"-(\d+-\d+[A-Z]*)-")
    assert index.class_counts() == {"benign": 3, "malignant": 4}
    assert len(index.groups()) == 6
    named = read(shared_data / "breakhis_mini", classes="malignant,benign")
    assert named.class_counts() == index.class_counts()


def test_dicom_sample_has_one_class(shared_data):
    index = read(shared_data / "dicom_small")
    assert index.class_counts() == {"png16_tiff16_derived": 6}
    (finding,) = index.findings
    assert finding.count == 10 and "dicom" in finding.hint


def test_the_folder_of_one_class_names_the_folder_above(tree):
    root = tree("NORMAL/1.png", "PNEUMONIA/2.png")
    with pytest.raises(InputError, match="no class folders") as error:
        read(root / "NORMAL")
    assert error.value.hint == (
        "If NORMAL is a class of its own, beside PNEUMONIA, point medimg at the folder above: "
        f"{root}"
    )


def test_a_folder_of_images_alone_asks_for_labels(tree):
    root = tree("only/1.png")
    with pytest.raises(InputError) as error:
        read(root / "only")
    assert "-o labels=FILE.csv" in error.value.hint


# -- classes inside what looks like classes ------------------------------------------------------


def nested(outer, inner, tail="1.png", between=""):
    return [f"{a}/{between}{b}/{tail}" for a in outer for b in inner]


@pytest.mark.parametrize(
    ("outer", "inner", "between"),
    [
        (("fold1", "fold2"), ("A", "B"), ""),
        ([f"fold_{n}" for n in range(10)], ("A", "B"), ""),
        (("fold1", "fold2", "fold3"), ("benign", "malignant"), ""),
        (("part1", "part2"), ("A", "B", "C"), ""),
        (("fold1", "fold2"), ("A", "B"), "train/"),
        (("p1", "p2"), ("benign/40X", "malignant/40X"), ""),
        (("Anna", "Bob"), ("benign", "malignant"), "train/"),
    ],
)
def test_folders_that_each_hold_the_classes_are_asked_about(tree, outer, inner, between):
    root = tree(*nested(outer, inner, between=between))
    assert Reader().sniff(root).confidence == 0.9  # to be asked, not to be read by another
    with pytest.raises(UsageError, match="which folders in .* are the classes") as error:
        read(root)
    classes = [name.split("/")[0] for name in inner]
    assert f"-o classes={','.join(classes)}" in error.value.hint
    assert ("--layout patient" in error.value.hint) == (between == "")
    # the answers given there are taken
    index = read(root, classes=",".join(classes))
    assert index.classes == tuple(classes) and len(index) == len(outer) * len(inner)
    assert read(root, classes=",".join(outer)).classes == tuple(sorted(outer))


def test_a_fold_without_one_of_the_classes_is_asked_about_too(tree):
    root = tree("fold1/A/1.png", "fold1/B/1.png", "fold2/A/2.png", "fold3/B/3.png")
    with pytest.raises(UsageError, match="fold1, fold2, fold3 each hold A, B"):
        read(root)


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        (("NORMAL", "PNEUMONIA"), ("0", "1", "2")),  # parts of a class
        (("NORMAL", "PNEUMONIA"), ("a", "b")),
        (("A", "B"), ("p1", "p2", "p3")),  # patients in both classes
        (("grade1", "grade2"), ("a", "b")),
        (("glioma", "meningioma", "pituitary"), ("axial", "coronal")),
        (("NORMAL", "PNEUMONIA"), ("train/x", "train/y", "test/x")),
    ],
)
def test_what_lies_in_class_folders_is_no_question(tree, outer, inner):
    root = tree(*nested(outer, inner))
    assert read(root).classes == tuple(outer)


@pytest.mark.parametrize("mask", ["{n}.png", "{n}_mask.png"])
def test_masks_in_a_folder_of_the_class_are_no_images(tmp_path, mask):
    for label in ("a", "b"):
        (tmp_path / label / "masks").mkdir(parents=True)
        for n in range(3):
            (tmp_path / label / f"{n}.png").write_bytes(b"x")
            (tmp_path / label / "masks" / mask.format(n=n)).write_bytes(b"x")
    index = Reader().read(tmp_path, {})
    assert len(index) == 6 and not any("masks" in s.path for s in index.samples)
    assert any("6 segmentation masks" in f.message for f in index.findings)


def in_folders(folders_by_class, images=2):
    return [
        f"{label}/{folder}/{n}.png"
        for label, folders in folders_by_class.items()
        for folder in folders
        for n in range(images)
    ]


@pytest.mark.parametrize("name", ["patient{:03}", "LIDC-IDRI-{:04}", "P{}", "{}"])
def test_patients_in_class_folders_are_read_where_that_is_sure(tree, name):
    root = tree(*in_folders({"a": map(name.format, range(6)), "b": map(name.format, range(6, 12))}))
    index = read(root)
    assert index.patients == "folders in the class folders"
    assert {s.path: s.group for s in index.samples} == {
        s.path: s.path.split("/")[1] for s in index.samples
    }
    assert "12 folders of patients" in index.reason and index.classes == ("a", "b")
    assert {s.group for s in read(root, group="none").samples} == {None}


def test_patients_in_class_folders_of_splits(tree):
    paths = [
        f"{split}/{label}/pat_{20 * i + 10 * j + n}/{k}.png"
        for i, split in enumerate(("train", "test"))
        for j, label in enumerate(("covid", "normal"))
        for n in range(6)
        for k in range(2)
    ]
    index = read(tree(*paths))
    assert index.samples[0].group == "pat_20" and len({s.group for s in index.samples}) == 24


@pytest.mark.parametrize(
    "paths",
    [
        in_folders({"a": [f"p{n}" for n in range(6)], "b": [f"p{n}" for n in range(6)]}),
        in_folders({"a": [f"p{n}" for n in range(4)], "b": [f"p{n}" for n in range(9, 15)]}),
        in_folders({"a": [f"p{n}" for n in range(6)], "b": [f"p{n}" for n in range(9, 15)]}, 1),
        in_folders({"a": [f"scan{n}" for n in range(6)], "b": [f"scan{n}" for n in range(9, 15)]}),
        in_folders({"a": map(str, range(2001, 2007)), "b": map(str, range(2011, 2017))}),
        in_folders({"a": [f"s{n}" for n in range(6)], "b": [f"x{n}" for n in range(9, 15)]}),
        [*in_folders({"a": [f"p{n}" for n in range(6)], "b": [f"p{n}" for n in range(9, 15)]}),
         "a/loose.png"],
    ],
    ids=["numbered anew", "few", "one image each", "scans", "years", "unlike", "loose images"],
)  # fmt: skip
def test_folders_in_class_folders_that_may_be_anything_are_no_patients(tree, paths):
    assert {s.group for s in read(tree(*paths)).samples} == {None}


def test_classes_in_file_names(tree):
    root = tree("train/normal_1.png", "train/covid_1.png", "test/covid_2.png", "test/x.png")
    index = read(root, label_regex="([a-z]+)_")
    assert placed(index) == [
        ("test/covid_2.png", "covid", "test"),
        ("train/covid_1.png", "covid", "train"),
        ("train/normal_1.png", "normal", "train"),
    ]
    assert index.classes == ("covid", "normal") and [s.path for s in index.unlabelled] == [
        "test/x.png"
    ]
    assert read(root, label_regex="([a-z]+)_", classes="covid").classes == ("covid",)
    with pytest.raises(UsageError, match="matches no path"):
        read(root, label_regex="(tumor)")
    with pytest.raises(UsageError, match="has no group"):
        read(root, label_regex="covid")


def test_file_names_that_seem_to_tell_the_class_are_pointed_out(tree):
    root = tree("IM_1.png", *(f"{word}_{n}.png" for word in ("covid", "normal") for n in (1, 2)))
    with pytest.raises(InputError) as error:
        read(root)
    assert "label_regex" not in error.value.hint
    (root / "IM_1.png").unlink()
    with pytest.raises(InputError) as error:
        read(root)
    option = error.value.hint.rpartition("-o ")[2].strip("'").removeprefix("label_regex=")
    assert [s.label for s in read(root, label_regex=option).samples] == ["covid"] * 2 + [
        "normal"
    ] * 2


def test_numbered_split_folders_are_splits(tree):
    root = tree(*(f"{s}/{c}/1.png" for s in ("01_Train", "02_Val", "03_Test") for c in "ab"))
    assert read(root).splits() == ("train", "val", "test")


def test_a_folder_is_listed_once_while_layouts_are_asked(tree, monkeypatch):
    from medimg.datasets import _tree

    root = tree("a/1.png", "a/1_mask.png", "b/2.png", "c/a/1.png")
    alone = placed(read(root))
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(_tree.os, "scandir", lambda path: listed.append(path) or scandir(path))
    with _tree.listings_kept():
        Reader().sniff(root)
        assert placed(read(root)) == placed(read(root)) == alone
    assert len(listed) == len({str(path) for path in listed}) == 5
    (root / "a" / "3.png").write_bytes((root / "a" / "1.png").read_bytes())
    assert len(read(root).samples) == len(alone) + 1
