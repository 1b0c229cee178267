"""The words of the pages: both languages whole, every word used is there, every check named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import medimg
from medimg.manager import plugins
from medimg.reports.drawings import Bar, Drawing, forest, ticks
from medimg.reports.language import Words, table

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


def test_every_phrase_that_is_used_is_there():
    used = set()
    for file in [*SOURCES.glob("*.py"), *SOURCES.glob("templates/*")]:
        text = file.read_text(encoding="utf-8")
        used |= set(re.findall(r"""words\(\s*["']([a-z_.]+\.[a-z_]+)["']""", text))
    assert len(used) > 100
    assert used <= set(table("words")), used - set(table("words"))


def test_every_check_has_its_spanish_name():
    known = set(plugins().checks())
    own = {name for name in known if ":" not in name}
    assert own - set(table("findings")) == set()


def test_every_metric_has_a_name():
    assert {f"metric.{name}" for name in plugins().metrics()} <= set(table("words"))


def test_methods_and_reasons_are_translated():
    words = Words("es")
    for text in (
        "percentile bootstrap by patient, stratified by class",
        "paired bootstrap by image",
        "exact McNemar",
        "the runs differ on 3 patients: too few for an interval",
    ):
        assert words.phrase(text) != text
    assert words.clauses(
        "the dataset's own splits; validation cut from train: 191 of 12,740 images, "
        "129 patients, seed 0"
    ) == (
        "la partición del propio conjunto de datos; validación separada del entrenamiento: 191 de "
        "12\u00a0740 imágenes, 129 pacientes, semilla 0"
    )
    assert words.phrase("something of a plugin") == "something of a plugin"
    assert Words("en").phrase("exact McNemar") == "exact McNemar"


@pytest.mark.parametrize("low, high", [(0, 1), (0.55, 0.78), (1, 100), (-0.2, 0.05), (3, 3)])
def test_ticks_are_round_and_within(low, high):
    found = ticks(low, high)
    assert found and all(low - 1e-9 <= t <= high + 1e-9 for t in found) and len(found) <= 7


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
