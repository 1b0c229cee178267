"""Names of classes that mean one thing, and readers pointed at the wrong folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from medimg.api import DatasetIndex, Sample
from medimg.checks.similar_class_names import distance, likeness, singular
from medimg.core.checking import CheckContext, NotApplicable
from medimg.core.errors import UsageError
from medimg.core.index import FileSource
from medimg.manager import plugins
from medimg.opening import open_dataset

CASE, PLURAL, LANGUAGE = "by case, blanks, marks or accents", "by the plural", "by language"
ONE_LETTER, TWO_LETTERS = "by a letter", "by two letters"


def context_of(counts: dict[str, int]) -> CheckContext:
    """Classes of so many images, which nobody opens."""
    samples = tuple(Sample(f"{c}/{i}.png", c) for c, n in counts.items() for i in range(n))
    index = DatasetIndex(
        "x", Path("x"), "folder", FileSource(Path("x")), samples, tuple(sorted(counts))
    )
    return CheckContext(index, {})


def opened(path: Path, **options: str) -> CheckContext:
    """A dataset as `verify` opens it, with its card."""
    manager = plugins()
    registry = manager.registry()
    layout = options.pop("layout", None)
    index = open_dataset(
        str(path), layout=layout, options=options, manager=manager, registry=registry
    )
    return CheckContext(index, {}, {}, registry.datasets[index.card] if index.card else None)


@pytest.fixture
def folders(tmp_path, write_image):
    """A function: writes a small image at each path, and returns the folder."""

    def make(*paths: str) -> Path:
        for path in paths:
            write_image(tmp_path / "set" / path)
        return tmp_path / "set"

    return make


# -- class names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "how"),
    [
        ("Pneumonia", "PNEUMONIA", CASE),
        ("Viral Pneumonia", "viral_pneumonia", CASE),
        ("ViralPneumonia", "viral-pneumonia", CASE),
        ("PNEUMONIA ", "PNEUMONIA", CASE),
        ("Ödem", "odem", CASE),
        ("neumonía", "NEUMONIA", CASE),
        ("1", "01", CASE),
        ("nodule", "nodules", PLURAL),
        ("biopsy", "biopsies", PLURAL),
        ("PNEUMONIA", "NEUMONIA", LANGUAGE),
        ("Lungenentzündung", "pneumonia", LANGUAGE),
        ("pneumonie", "polmonite", LANGUAGE),
        ("normal", "sano", LANGUAGE),
        ("gesund", "Healthy", LANGUAGE),
        ("saudável", "sain", LANGUAGE),
        ("neumonía viral", "Viral Pneumonia", LANGUAGE),
        ("COVID", "COVID-19", LANGUAGE),
        ("gutartig", "benign", LANGUAGE),
        ("glioma", "glyoma", ONE_LETTER),
        ("glioma_tumor", "gliomma_tumor", ONE_LETTER),
        ("meningioma", "meningoima", ONE_LETTER),
        ("Proliferate DR", "Proliferative DR", TWO_LETTERS),
        ("adenocarcinoma", "adenocacinma", TWO_LETTERS),
    ],
)
def test_two_names_of_one_class(one, other, how):
    assert likeness(one, other) == likeness(other, one) == how


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("normal", "abnormal"), ("grade1", "grade2"), ("0", "1"), ("1", "10"), ("1-0", "10"),
        ("benign", "malign"), ("benign", "malignant"), ("covid", "no covid"), ("left", "right"),
        ("IDC(+)", "IDC(-)"), ("IDC+", "IDC-"), ("gradeA", "gradeB"), ("type a", "type b"),
        ("stage i", "stage ii"), ("infected", "uninfected"), ("typical", "atypical"),
        ("symptomatic", "asymptomatic"), ("hypotension", "hypertension"),
        ("microcytic", "macrocytic"), ("lymphoblast", "lymphocyte"), ("myoma", "myeloma"),
        ("glioma_tumor", "pituitary_tumor"), ("no_tumor", "glioma_tumor"), ("tumor", "no tumor"),
        ("viral pneumonia", "bacterial pneumonia"), ("positive", "negative"), ("T1", "T2"),
        ("eosinophil", "basophil"), ("adenosis", "adenoma"), ("肺炎", "正常"), ("yes", "no"),
        ("ductal_carcinoma", "lobular_carcinoma"), ("esophagitis-a", "esophagitis-b"),
    ],
)  # fmt: skip
def test_names_of_different_classes(one, other):
    assert likeness(one, other) is likeness(other, one) is None


def test_the_classes_that_the_registry_knows_are_different_ones():
    """Every published class list, subtypes included."""
    for card in plugins().registry().datasets.values():
        sets = [[*card.classes, *card.further_classes]]
        sets += card.recognition.class_sets if card.recognition else []
        for names in sets:
            assert [(a, b) for a in names for b in names if a != b and likeness(a, b)] == [], (
                card.name
            )


def test_the_finding_counts_both(run_check):
    (finding,) = run_check("similar-class-names", context_of({"Normal": 4, "NORMAL": 3, "x": 2}))
    assert (finding.severity, finding.count) == ("warning", 1)
    assert finding.items == ({"classes": ["NORMAL", "Normal"], "images": [3, 4], "differ": CASE},)
    assert finding.message.startswith("NORMAL (3 images) and Normal (4) look like one class")


def test_letters_are_the_users_choice(run_check):
    context = context_of({"glioma": 4, "glyoma": 3})
    assert len(run_check("similar-class-names", context)) == 1
    assert run_check("similar-class-names", context, letters=0) == []


def test_files_read_as_classes_are_not_compared(run_check):
    with pytest.raises(NotApplicable, match="more than 500 classes"):
        run_check("similar-class-names", context_of({f"c{n}": 1 for n in range(501)}))


def test_distance_is_damerau_and_levenshteins():
    pairs = {("abcd", "abcd"): 0, ("abcd", "abdc"): 1, ("abcd", "bcd"): 1, ("abcd", "axcy"): 2}
    assert {pair: distance(*pair, 3) for pair in pairs} == pairs
    assert distance("abcd", "wxyz", 2) > 2


def test_endings_that_are_no_plural():
    assert [singular(w) for w in ("mass", "virus", "fibrosis", "cyst")] == [
        "mass", "virus", "fibrosis", "cyst",
    ]  # fmt: skip


# -- the wrong folder ------------------------------------------------------------------------------

BREAKHIS = [
    f"breast/{kind}/SOB/{kind}-{n}/40X/SOB_{letter}_{code}-14-{number}-40-00{n}.png"
    for kind, letter, code, number in [
        ("benign", "B", "F", 14134),
        ("malignant", "M", "DC", 3909),
    ]
    for n in range(3)
]


def test_one_class_because_the_folder_above_the_classes_was_named(folders, run_check):
    context = opened(folders(*BREAKHIS), layout="folder", classes="breast")
    assert context.card.name == "breakhis"
    (finding,) = run_check("wrong-level", context)
    assert finding.severity == "warning"
    assert finding.message.startswith(
        "one class was read, breast, and one level below it lie benign, malignant"
    )
    assert [row["class"] for row in finding.items] == ["benign", "malignant"]
    assert finding.hint.endswith("medimg verify DATASET -o classes=benign,malignant")


def test_the_command_of_the_hint_reads_the_classes(folders, run_check):
    context = opened(folders(*BREAKHIS), classes="benign,malignant")
    assert context.index.class_counts() == {"benign": 3, "malignant": 3}
    assert run_check("wrong-level", context) == []


def test_the_card_of_one_class_tells_the_others(folders, run_check):
    flat = [f"breast/{path.rpartition('/')[2]}" for path in BREAKHIS]
    (finding,) = run_check("wrong-level", opened(folders(*flat)))
    assert "BreakHis, breast tumours, benign or malignant has benign, malignant" in finding.message
    assert "-o classes=benign,malignant" in finding.hint


def test_inside_a_part(folders, run_check):
    root = folders(
        *(f"{part}/{c}/{n}.png" for part in ("train", "test") for c in "ab" for n in "12")
    )
    (finding,) = run_check("wrong-level", opened(root / "train"))
    assert finding.message == "train is one part of a dataset, and test stands beside it"
    assert finding.items == ({"file": "../test"},)
    assert finding.hint == f"To check them together: medimg verify {root}"
    assert run_check("wrong-level", opened(root)) == []


def test_a_folder_called_train_with_other_things_beside_it(folders, run_check):
    root = folders("train/a/1.png", "train/b/2.png", "test/figure.png")
    assert run_check("wrong-level", opened(root / "train")) == []


@pytest.mark.parametrize("below", ["", "SOB"])
def test_inside_a_class(below, folders, run_check):
    root = folders(*(f"{c}/SOB/{kind}/{n}.png" for c in ("benign", "malignant")
                     for kind in ("fibroma", "ductal") for n in "12"))  # fmt: skip
    (finding,) = run_check("wrong-level", opened(root / "malignant" / below))
    assert finding.message.startswith("the folder given is the class malignant")
    assert "benign stands beside it" in finding.message
    assert finding.hint.endswith(f"medimg verify {root} -o classes=malignant,benign")


def test_inside_one_patient(folders, run_check):
    root = folders(*(f"{p}/{c}/{p}_idx5_x{n}_y1_class{c}.png"
                     for p in ("9001", "9002") for c in "01" for n in "12"))  # fmt: skip
    (finding,) = run_check("wrong-level", opened(root / "9001"))
    assert finding.items == ({"patient": "9001"},)
    assert finding.message.endswith("9001, and 1 folder stands beside it")
    assert finding.hint.endswith(f"medimg verify {root}")
    assert run_check("wrong-level", opened(root)) == []
    for n in "34":
        shutil.copytree(root / "9002", root / f"900{n}")
    (finding,) = run_check("wrong-level", opened(root / "9001"))
    assert finding.message.endswith("9001, and 3 folders stand beside it")
    for n in "234":
        shutil.rmtree(root / f"900{n}")
    assert run_check("wrong-level", opened(root / "9001")) == []


def test_above_two_datasets_with_parts(folders, run_check):
    root = folders(*(f"{name}/{part}/{c}/{n}.png" for name in ("one", "two")
                     for part in ("train", "test") for c in "ab" for n in "12"))  # fmt: skip
    with pytest.raises(UsageError, match="one, two each hold a, b") as raised:
        opened(root, layout="folder")
    assert f"One dataset alone: {root / 'one'}" in str(raised.value.hint)


def test_above_two_datasets_of_sick_and_well(folders, run_check):
    root = folders(*(f"{name}/{c}/{n}.png" for name, c in [
        ("xray", "normal"), ("xray", "pneumonia"), ("skin", "benign"), ("skin", "melanoma"),
    ] for n in "12"))  # fmt: skip
    (finding,) = run_check("wrong-level", opened(root, layout="folder"))
    assert [row["class"] for row in finding.items] == ["skin", "xray"]


def test_patients_read_as_classes_are_told_the_layout(folders, run_check):
    root = folders(*(f"{p}/{c}/{n}.png" for p in ("100", "200", "300") for c in "01" for n in "12"))
    (finding,) = run_check("wrong-level", opened(root, layout="folder"))
    assert finding.hint.endswith("If they are patients: --layout patient")


def test_a_dataset_of_its_own_beside_a_folder_called_normal(folders, run_check):
    root = folders("mine/sick/1.png", "mine/healthy/2.png", "normal/3.png")
    assert run_check("wrong-level", opened(root / "mine")) == []


@pytest.mark.parametrize("inner", [("40X", "100X"), ("left", "right"), ("p1", "p2")])
def test_folders_in_classes_that_are_no_classes(inner, folders, run_check):
    root = folders(*(f"{c}/{part}/{n}.png" for c in "ab" for part in inner for n in "12"))
    assert run_check("wrong-level", opened(root, layout="folder")) == []


def test_classes_cut_into_parts_are_no_datasets(folders, run_check):
    root = folders(*(f"{c}/{part}/{n}.png" for c in "ab" for part in ("train", "test")
                     for n in "12"))  # fmt: skip
    context = opened(root, layout="folder")
    assert context.index.splits() == ("train", "test")
    assert run_check("wrong-level", context) == []


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("breakhis_mini", {"layout": "folder", "classes": "breast"}, "benign, malignant"),
        ("breakhis_mini/breast/malignant", {}, "benign stands beside it"),
        ("chest_xray_kermany/train", {}, "test stands beside it"),
        (".", {"layout": "folder"}, "datasets of their own"),
    ],
)
def test_real_samples_read_from_the_wrong_level(name, options, said, shared_data, run_check):
    (finding,) = run_check("wrong-level", opened(shared_data / name, **options))
    assert said in finding.message


@pytest.mark.parametrize(
    "name",
    ["breakhis_mini", "brain_tumor_mri", "chest_xray_kermany", "covid19_radiography",
     "idc_breast_histopathology", "wbc_zheng_csv"],
)  # fmt: skip
def test_real_samples_read_as_they_are_meant(name, shared_data, run_check):
    context = opened(shared_data / name)
    assert run_check("wrong-level", context) == []
    assert run_check("similar-class-names", context) == []
