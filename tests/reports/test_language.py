"""The words of the pages: both languages whole, every word used is there, every check named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import medimg
from medimg.core.types import Finding, Sample
from medimg.manager import plugins
from medimg.reports.checklists import ANSWERS, CLAIM, TRIPOD
from medimg.reports.drawings import Bar, Drawing, forest, ticks
from medimg.reports.language import AS_IT_IS, Words, table
from medimg.statistics.bootstrap import Interval
from medimg.statistics.calibration import SANDWICH, WALD
from medimg.statistics.evaluation import evaluate_predictions
from medimg.statistics.paired_bootstrap import ALIKE
from medimg.statistics.resampling import SAME_VALUE
from medimg.training.alarms import diverged
from medimg.training.answers import alarms, guessing
from medimg.training.conclusions import far_apart, too_wide
from medimg.training.exposure import chosen_on_this, training_images
from medimg.training.external import differences
from medimg.training.ledger import reused

SOURCES = Path(medimg.__file__).parent / "reports"
PLACES = re.compile(r"{(\w*)}")


def pairs() -> list[tuple[str, list[str]]]:
    found = list(table("words").items())
    for part in ("claim", "tripod", "answers"):
        found += [(f"{part}.{key}", words) for key, words in table("checklists")[part].items()]
    return found


def test_every_phrase_stands_in_both_languages():
    for key, words in pairs():
        assert len(words) == 2, key
        english, spanish = words
        assert bool(english) == bool(spanish), key
        assert sorted(PLACES.findall(english)) == sorted(PLACES.findall(spanish)), key
        # several words that are the same in both are a forgotten translation
        assert english != spanish or len(re.findall(r"[a-z]{3,}", PLACES.sub("", english))) < 3, key


def test_one_patient_is_told_in_the_singular():
    english, spanish = Words("en"), Words("es")
    assert english.images(4, 1) == "4 images of 1 patient"
    assert english.images(4, 2) == "4 images of 2 patients"
    assert spanish.images(4, 1) == "4 imágenes de 1 paciente"
    assert english("say.leak", count="1").startswith("1 patient is in two parts")
    assert spanish("say.leak", count="11").startswith("11 pacientes están en dos")
    known = table("words")
    for key in [k for k in known if k.endswith(".one")]:
        for one, several in zip(known[key], known[key.removesuffix(".one")], strict=True):
            assert sorted(PLACES.findall(one)) == sorted(PLACES.findall(several)), key
            assert not re.search(r"} (?:patients|pacientes)\b", one), key


def test_every_phrase_that_is_used_is_there():
    used = set()
    for file in [*SOURCES.rglob("*.py"), *SOURCES.glob("templates/*")]:
        text = file.read_text(encoding="utf-8")
        used |= set(re.findall(r"""words\(\s*["']([a-z_.]+\.[a-z_]+)["']""", text))
    assert len(used) > 100
    assert used <= set(table("words")), used - set(table("words"))


def test_every_check_has_its_spanish_name():
    known = set(plugins().checks())
    own = {name for name in known if ":" not in name}
    assert own - set(table("findings")) == set()
    for check, told in table("findings").items():
        assert len(told) == 2 and all(told), check


def cell(value: float, low: float, high: float) -> dict[str, Any]:
    return {"value": value, "ci95": (low, high)}


def found_in_runs() -> list[Finding]:
    """Findings as training and evaluation word them."""
    cut = {"value": 0.25, "rule": "youden", "chosen_on": "val"}
    sample = Sample("a.png", "ill", "test")
    return [
        *alarms([[0, 7], [0, 1200]], ["well", "ill"], "test", cut),
        *alarms([[1, 6], [2, 4]], ["well", "ill"], "test", None),
        *alarms([[1, 6], [2, 4]], ["well", "ill"], "validation", cut),
        *alarms([[6, 1], [2, 4]], ["well", "ill"], "test", cut, (0.5, 0.9)),
        *guessing(Interval(0.52, 0.41, 0.63, "DeLong"), "validation", cut),
        diverged({"epoch": 3, "loss": 8.81e13, "val_loss": 95.2, "learning_rate": 100}, 2),
        *reused(12, "test"),
        *far_apart({"auroc": cell(0.9, 0.88, 0.92)}, {"auroc": cell(0.6, 0.58, 0.62)}, "test"),
        *far_apart({"auroc": cell(0.6, 0.58, 0.62)}, {"auroc": cell(0.9, 0.88, 0.92)}, "test"),
        *too_wide({"auroc": cell(0.6, 0.3, 0.8)}, 40, None, "test"),
        *too_wide({"auroc": cell(0.6, 0.3, 0.8)}, 1400, 40, "val"),
        *too_wide({"accuracy": cell(0.6, 0.3, 0.8)}, 40, None, "test"),
        *too_wide({"accuracy": cell(0.6, 0.3, 0.8)}, 1400, 40, "test"),
        *too_wide({"auroc": cell(0.6, 0.3, 0.8)}, 1400, 4, "test"),
        training_images([sample], 1, 1300, "test", True, "pixel by pixel"),
        chosen_on_this([sample], 1300),
        chosen_on_this([sample], 1300, "the threshold"),
    ]


def test_findings_of_runs_are_told_in_spanish_with_their_numbers():
    spanish, english = Words("es"), Words("en")
    findings = found_in_runs()
    assert len(findings) == 17
    for finding in findings:
        told = spanish.message(finding.message)
        assert told, finding.message
        assert "\\" not in told and " the " not in f" {told} "
        # every number is there, with a comma for the point
        numbers = set(re.findall(r"\d+(?:[.,]\d+)*", finding.message)) - {"0.25"}
        for number in numbers if "," not in "".join(numbers) else ():
            assert number.replace(".", ",") in told, (number, told)
        assert spanish.next_step(finding.check, finding.hint)
        assert english.message(finding.message) == english.next_step("imbalance", "x") == ""
    assert spanish.message("something that a plugin says") == ""
    assert spanish.message(findings[0].message) == (
        "la red responde ill en las 1207 imágenes de test: su exactitud, 0,994, es la proporción "
        "de esa clase"
    )


def test_messages_are_patterns_whose_groups_are_filled():
    for pattern, spanish, *fragments in [*table("messages"), *table("messages_of_checks")]:
        groups = re.compile(pattern).groups
        used = {int(n) for n in re.findall(r"(?:\\|{)(\d)", spanish)}
        assert max(used, default=0) == groups < 10, pattern
        assert fragments in ([], [AS_IT_IS]) or fragments[0] in table("fragments"), pattern


def test_fragments_are_patterns():
    rows = [*table("messages"), *table("messages_of_checks"), *table("phrases")]
    used = {row[2] for row in rows if len(row) > 2}
    assert used - {AS_IT_IS} == set(table("fragments"))
    for pattern, spanish in (row for rows in table("fragments").values() for row in rows):
        assert re.compile(pattern).groups >= max(
            map(int, re.findall(r"\\(\d)", spanish)), default=0
        )


@pytest.mark.parametrize(
    ("english", "spanish"),
    [
        (
            "1 image is far darker than the rest: a/1,234.png",
            "1 imagen es mucho más oscura que el resto: a/1,234.png",
        ),
        (
            "4 images can't be decoded wholly (of them by their own check: 1 empty-file, 2 "
            "truncated): test/a/nothing.png",
            "4 imágenes no se pueden descodificar por completo (de ellas, con comprobación propia: "
            "1 vacías, 2 cortadas): test/a/nothing.png",
        ),
        (
            "a sample of idc: 1,658 of the published 277,524 images (0.6 %; 0: 1,252 of 198,738, "
            "1: 406 of 78,786); the published val part is not there",
            "una muestra de idc: 1658 de las 277\u00a0524 imágenes publicadas (0,6 %; 0: 1252 de "
            "198\u00a0738, 1: 406 de 78\u00a0786); falta la parte publicada de validación",
        ),
        (
            "the class can be told without looking at anatomy: with AUROC 0.87 (95 % interval 0.85 "
            "to 0.89) from the file alone (width 0.74, file size 0.67); with AUROC 0.85 (95 % "
            "interval 0.82 to 0.88) from marks along the edges (mark at the left edge 0.63)",
            "la clase se adivina sin mirar la anatomía: con un AUROC de 0,87 (intervalo del 95 %: "
            "0,85 a 0,89) a partir del archivo por sí solo (anchura 0,74, tamaño del archivo "
            "0,67); con un AUROC de 0,85 (intervalo del 95 %: 0,82 a 0,88) a partir de marcas a lo "
            "largo de los bordes (marca en el borde izquierdo 0,63)",
        ),
        (
            "2 patients have images on two sides of the split (train/test), the first p1 (1 of "
            "them new)",
            "2 pacientes tienen imágenes a ambos lados de la partición (entrenamiento/test); el "
            "primero, p1 (nuevas: 1)",
        ),
        ("train is one part of a dataset, and test stands beside it",
         "train es una parte de un conjunto de datos, y a su lado está test"),
    ],
)  # fmt: skip
def test_messages_of_checks_are_told_whole(english, spanish):
    assert Words("es").message(english) == spanish
    assert Words("en").message(english) == ""


def test_every_metric_has_a_name():
    assert {f"metric.{name}" for name in plugins().metrics()} <= set(table("words"))


def test_methods_and_reasons_are_translated():
    words = Words("es")
    for text in (
        "percentile bootstrap by patient, stratified by class",
        "paired bootstrap by image",
        "exact McNemar",
        "the runs differ on 3 patients: too few for an interval",
        "the runs differ on 1 patient: too few for an interval",
        WALD,
        SANDWICH,
        SAME_VALUE,
        ALIKE,
    ):
        assert words.phrase(text) != text
    assert words.clauses(
        "the dataset's own splits; validation cut from train: 191 of 12,740 images, "
        "129 patients, seed 0"
    ) == (
        "la partición del propio conjunto de datos; validación separada del entrenamiento: 191 de "
        "12\u00a0740 imágenes, 129 pacientes, semilla 0"
    )
    for note in (
        "the dataset has no splits: a new split train/val/test 70/15/15, image by image (patients "
        "are unknown), stratified by class, seed 0",
        "basophil is missing in val (1 image for 3 parts)",
        "3 images without a split stay out",
        "splits from splits.csv",
    ):
        assert words.knows(note), note
    assert words.phrase("something of a plugin") == "something of a plugin"
    assert Words("en").phrase("exact McNemar") == "exact McNemar"


@pytest.mark.parametrize("low, high", [(0, 1), (0.55, 0.78), (1, 100), (-0.2, 0.05), (3, 3)])
def test_ticks_are_round_and_within(low, high):
    found = ticks(low, high)
    assert found and all(low - 1e-9 <= t <= high + 1e-9 for t in found) and len(found) <= 7


def test_the_checklists_say_that_their_wording_is_shortened():
    for key in ("check.intro_claim", "check.intro_tripod"):
        assert "wording shortened" in Words("en")(key)
        assert "redacción abreviada" in Words("es")(key)


def test_the_checklists_are_whole():
    """CLAIM 2024 has 44 items, TRIPOD+AI 27 with their parts."""
    assert list(table("checklists")["claim"]) == [str(n) for n in range(1, 45)]
    parts = {3: "abc", 5: "ab", 6: "abc", 8: "abc", 9: "abc", 12: "abcdefg", 18: "abcdef"}
    parts |= {20: "abc", 23: "ab", 27: "abc"}
    items = [f"{n}{part}" for n in range(1, 28) for part in parts.get(n, "") or [""]]
    assert list(table("checklists")["tripod"]) == items and len(items) == 52
    assert set(CLAIM) <= set(table("checklists")["claim"])
    assert set(TRIPOD) <= set(items)
    assert {key for known in (CLAIM, TRIPOD) for key, _ in known.values()} == set(ANSWERS)


def test_epochs_are_whole():
    drawing = Drawing((1, 2), (0, 1), "epoch", "loss", whole=True)
    assert ">1<" in drawing.svg("t") and ">1.2<" not in drawing.svg("t")


def test_no_line_of_a_forest_runs_through_its_names():
    from xml.etree import ElementTree

    bars = [Bar(f"run {n}", 0.01 * n, -0.1, 0.1, "+0.010 (-0.100 to +0.100)") for n in range(4)]
    root = ElementTree.fromstring(forest(bars, "t", "{:g}".format, zero=0.0))
    names = [float(e.attrib["y"]) for e in root if e.attrib.get("class") == "halo"]
    upright = [e.attrib for e in root if e.tag == "line" and e.attrib["x1"] == e.attrib["x2"]]
    assert len(names) == 8 and upright
    for line in upright:
        top, floor = float(line["y1"]), float(line["y2"])
        # letters reach from their base line up to about 9
        assert not any(top < y and y - 9 < floor for y in names)


def test_what_differs_in_other_data_is_told_in_spanish():
    """In whatever two sets of images can differ."""
    trained = {
        "classes": {"a": 90, "b": 10, "c": 50}, "width_px": 100, "height_px": 100, "grey": 1.0,
        "formats": {"JPEG": 3}, "brightness": 120.0, "brightness_sd": 10.0,
    }  # fmt: skip
    here = trained | {
        "classes": {"a": 10, "b": 90}, "width_px": 500, "height_px": 400, "grey": 0.1,
        "formats": {"PNG": 3}, "brightness": 60.0,
    }  # fmt: skip
    told = differences(trained, here)
    assert len(told) == 7 and all(Words("es").knows(line) for line in told)
    assert Words("es").phrase(told[-1]) == (
        "nivel medio de gris: 120 en el entrenamiento, 60 aquí (de 0 a 255)"
    )


def said_in(found: Any) -> set[str]:
    """Methods and reasons in an evaluation's numbers."""
    if not isinstance(found, dict):
        return set()
    keys = ("method", "reason", "suppressed", "rule")
    own = {v for k, v in found.items() if k in keys and isinstance(v, str)}
    return own.union(*(said_in(v) for v in found.values()))


@pytest.mark.parametrize("size", [1, 3, 20, None])
def test_what_evaluations_say_of_their_numbers_is_told_in_spanish(size):
    """Patients of one, three and twenty images, and unknown ones; edges of every kind."""
    manager, rng = plugins(), np.random.default_rng(0)
    metrics = manager.functions(manager.metrics())
    labels, scores = rng.integers(0, 2, 60), rng.random(60)
    scores = np.clip(0.3 * labels + 0.6 * scores, 0, 1)
    three = (rng.integers(0, 3, 60), rng.dirichlet([1, 1, 1], 60))
    rare = (np.arange(60) == 0).astype(int)
    groups = size and [f"p{n // size}" for n in range(60)]
    columns = {
        "two": ["xy"[n % 2] for n in range(60)],
        "three": ["xyz"[n % 3] for n in range(60)],
        "rare": ["few" if n < 3 else "many" for n in range(60)],
    }
    binary = {"positive": 1, "threshold": 0.5, "classes": ("well", "ill")}
    several = {"positive": None, "threshold": None, "classes": ("a", "b", "c")}
    said: set[str] = set()
    for truth, p, task in (
        (labels, scores, binary | {"columns": columns, "prior": (0.3, 0.7)}),
        (
            labels,
            scores,
            binary | {"contents": [f"c{n // 2}" for n in range(60)], "pooling": "max"},
        ),
        (labels, labels * 0.9, binary),
        (np.ones(60, int), scores, binary),
        (labels, np.full(60, 0.1), binary),
        (1 - rare, scores, binary),
        (*three, several | {"columns": columns, "pooling": "max"}),
        (rare, three[1], several),
        (np.zeros(60, int), np.tile([1.0, 0, 0], (60, 1)), several),
    ):
        pair = p if np.ndim(p) == 2 else np.c_[1 - p, p]
        said |= said_in(
            evaluate_predictions(truth, pair, groups, metrics=metrics, resamples=60, **task)
        )
    names = {"Wilson"}
    assert len(said) > 25
    assert {text for text in said if not Words("es").knows(text)} - names == set()


def test_drawings_are_well_formed_and_escaped():
    from xml.etree import ElementTree

    drawing = Drawing((0, 1), (0, 1), "a & b", "<y>")
    drawing.line([(0, 0), None, (0.5, 0.5), (1, 1)], 1)
    drawing.label((0.9, 0.9), "<run>")
    bars = [Bar("<one>", 0.5, 0.4, 0.6, "0.5"), Bar("x" * 90, 0.1, None, None, "0.1 (0.0 to 0.2)")]
    for svg in (drawing.svg("t & u"), forest(bars, "t", "{:g}".format, zero=0.0)):
        root = ElementTree.fromstring(svg)
        assert root.tag == "svg"
        numbers = [float(v) for e in root.iter() for k, v in e.attrib.items() if k in ("x", "cx")]
        assert all(-1 <= n <= 361 for n in numbers)
