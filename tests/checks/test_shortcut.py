"""Labels that can be told from corners, borders or file properties."""

from __future__ import annotations

import cv2
import pytest


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
