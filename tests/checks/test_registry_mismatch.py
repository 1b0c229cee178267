"""A known dataset beside what was published of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from medimg.api import DatasetIndex, Sample
from medimg.checks.registry_mismatch import share_in_words
from medimg.core.checking import CheckContext, NotApplicable
from medimg.core.index import FileSource
from medimg.manager import plugins
from medimg.opening import open_dataset

REGISTRY = plugins().registry()
PUBLISHED = {
    "train": {"NORMAL": 1341, "PNEUMONIA": 3875},
    "val": {"NORMAL": 8, "PNEUMONIA": 8},
    "test": {"NORMAL": 234, "PNEUMONIA": 390},
}
STUDY = {
    "train": {"NORMAL": 1072, "PNEUMONIA": 3100},
    "val": {"NORMAL": 277, "PNEUMONIA": 783},
    "test": {"NORMAL": 234, "PNEUMONIA": 390},
}


def context_of(card: str | None, counts: dict[str, dict[str, int]]) -> CheckContext:
    """A dataset of so many images by part and class, said to be the card's."""
    samples = tuple(
        Sample(f"{split}/{label}/{n}", label, None, split or None)
        for split, own in counts.items()
        for label, count in own.items()
        for n in range(count)
    )
    classes = tuple(sorted({label for own in counts.values() for label in own}))
    index = DatasetIndex("x", Path("x"), "folder", FileSource(Path("x")), samples, classes)
    return CheckContext(index, {}, {}, REGISTRY.datasets[card] if card else None)


@pytest.fixture
def found(run_check):
    """The one finding about a dataset of so many images."""

    def find(card: str, counts: dict[str, dict[str, int]]):
        (finding,) = run_check("registry-mismatch", context_of(card, counts))
        assert finding.check == "registry-mismatch"
        return finding

    return find


def test_an_unknown_dataset_is_said(run_check):
    with pytest.raises(NotApplicable, match="does not know this dataset"):
        run_check("registry-mismatch", context_of(None, {"": {"a": 3, "b": 3}}))


def test_the_published_set(found):
    finding = found("chest-xray-pneumonia", PUBLISHED)
    assert finding.severity == "info"
    assert finding.message == (
        "chest-xray-pneumonia as published: 5,856 images in the published parts"
    )
    assert finding.items == (
        {"class": "NORMAL", "images": 1583, "published": 1583},
        {"class": "PNEUMONIA", "images": 4273, "published": 4273},
    )


def test_the_published_set_cut_again_with_the_arithmetic(found):
    finding = found("chest-xray-pneumonia", STUDY)
    assert finding.severity == "info"
    assert "4,172 + 1,060 + 624 are the published 5,856, re-cut as in study 3" in finding.message


def test_another_cut_names_the_part_that_was_kept(found):
    counts = {
        "train": {"NORMAL": 1000, "PNEUMONIA": 3000},
        "val": {"NORMAL": 349, "PNEUMONIA": 883},
        "test": {"NORMAL": 234, "PNEUMONIA": 390},
    }
    finding = found("chest-xray-pneumonia", counts)
    assert finding.message.endswith(
        "4,000 + 1,232 + 624 are the published 5,856, re-cut "
        "(published as 5,216 + 16 + 624, test as published)"
    )


def test_another_spelling_is_the_same_class(found):
    spanish = {s: {"NORMAL": n["NORMAL"], "NEUMONIA": n["PNEUMONIA"]} for s, n in STUDY.items()}
    assert "are the published 5,856" in found("chest-xray-pneumonia", spanish).message


def test_a_sample(found):
    counts = {"train": {"NORMAL": 321, "PNEUMONIA": 953}, "test": {"NORMAL": 49, "PNEUMONIA": 93}}
    finding = found("chest-xray-pneumonia", counts)
    assert finding.severity == "info"
    assert finding.message == (
        "a sample of chest-xray-pneumonia: 1,416 of the published 5,856 images (24 %; NORMAL: 370 "
        "of 1,583, PNEUMONIA: 1,046 of 4,273); the published val part is not there"
    )


def test_a_sample_cut_again(found):
    counts = {"train": {"NORMAL": 300, "PNEUMONIA": 300}, "val": {"NORMAL": 50, "PNEUMONIA": 50}}
    finding = found("chest-xray-pneumonia", counts)
    assert finding.severity == "info"
    assert "val holds more than the published part: cut again" in finding.message


def test_a_set_that_is_published_without_parts(found):
    whole = found("idc", {"": {"0": 1987, "1": 787}})
    assert "2,774 of the published 277,524 images (1 %" in whole.message
    tumours = found("breakhis", {"": {"benign": 2480, "malignant": 5429}})
    assert tumours.message == "breakhis as published: 7,909 images"
    cut = found("breakhis", {"train": {"benign": 2000, "malignant": 5000},
                             "test": {"benign": 480, "malignant": 429}})  # fmt: skip
    assert cut.message.endswith(
        "7,000 + 909 are the published 7,909, which have no published parts"
    )


def test_a_variant_that_is_known_by_its_sizes_alone(found):
    counts = {"train": {"COVID": 2169, "Normal": 6115, "Viral Pneumonia": 807},
              "val": {"COVID": 723, "Normal": 2039, "Viral Pneumonia": 269},
              "test": {"COVID": 724, "Normal": 2038, "Viral Pneumonia": 269}}  # fmt: skip
    message = found("covid19-radiography", counts).message
    assert "9,091 + 3,031 + 3,031 are the published 15,153, re-cut as in study 4" in message


def test_more_images_than_were_published(found):
    twice = {s: {c: 2 * n for c, n in own.items()} for s, own in PUBLISHED.items()}
    finding = found("chest-xray-pneumonia", twice)
    assert finding.severity == "warning"
    assert "NORMAL has 3,166 images and 1,583 were published (2 times as many)" in finding.message
    assert "Copies, augmented images" in finding.hint


@pytest.mark.parametrize(
    ("card", "counts", "where"),
    [
        ("chest-xray-pneumonia", {"NORMAL": 2000, "PNEUMONIA": 4273},
         "https://data.mendeley.com/datasets/rscbjbr9sj/2"),
        ("rfmid", {"0": 900, "1": 2531}, "doi:10.21227/s3g7-st65"),
    ],
)  # fmt: skip
def test_the_hint_says_where_it_is_published(card, counts, where, found):
    assert found(card, {"": counts}).hint.endswith(where)


def test_one_image_more(found):
    more = {**PUBLISHED, "val": {"NORMAL": 9, "PNEUMONIA": 8}}
    finding = found("chest-xray-pneumonia", more)
    assert finding.severity == "warning"
    assert "NORMAL has 1,584 images and 1,583 were published" in finding.message
    assert "times" not in finding.message


def test_a_class_that_is_missing(found):
    finding = found("covid19-radiography", {"": {"COVID": 103, "Normal": 115}})
    assert finding.severity == "warning"
    assert "the class Viral Pneumonia (1,345) is missing" in finding.message
    assert {"class": "Viral Pneumonia", "images": 0, "published": 1345} in finding.items


def test_a_further_class_of_the_published_set_is_no_stranger(found):
    counts = {"COVID": 3616, "Normal": 10192, "Viral Pneumonia": 1345, "Lung_Opacity": 6012}
    finding = found("covid19-radiography", {"": counts})
    assert finding.severity == "info"
    assert finding.message == "covid19-radiography as published: 21,165 images"


def test_a_class_that_was_not_published(found):
    counts = {"": {"NORMAL": 10, "PNEUMONIA": 10, "fracture": 4}}
    finding = found("chest-xray-pneumonia", counts)
    assert finding.severity == "warning"
    assert "the class fracture (4 images) was not published" in finding.message


def test_subtypes_instead_of_the_classes(found):
    finding = found("breakhis", {"": {"adenosis": 4, "ductal_carcinoma": 5}})
    assert finding.severity == "info"
    assert finding.message == (
        "9 of the 7,909 images of breakhis, by adenosis, ductal_carcinoma instead of benign and "
        "malignant"
    )
    assert found("breakhis", {"": {"breast": 9}}).severity == "warning"


@pytest.mark.parametrize(
    ("name", "severity", "said"),
    [
        ("breakhis_mini", "info", "a sample of breakhis: 7 of the published 7,909"),
        ("brain_tumor_mri", "info", "a sample of brain-tumour-mri: 893 of the published 3,264"),
        ("chest_xray_kermany", "info", "1,416 of the published 5,856"),
        ("idc_breast_histopathology", "info", "1,658 of the published 277,524"),
        ("covid19_radiography", "warning", "the class Viral Pneumonia (1,345) is missing"),
    ],
)
def test_real_samples(name, severity, said, shared_data, run_check):
    manager = plugins()
    index = open_dataset(
        str(shared_data / name), layout=None, options={}, manager=manager, registry=REGISTRY
    )
    context = CheckContext(index, {}, {}, REGISTRY.datasets[index.card])
    (finding,) = run_check("registry-mismatch", context)
    assert finding.severity == severity and said in finding.message


def test_a_part_is_never_all():
    assert share_in_words(5846, 5856) == "99.8 %" and share_in_words(277_523, 277_524) == "99.9 %"
    assert share_in_words(5856, 5856) == "100 %"
