"""`medimg datasets`: the list, a card for reading, and the same card as JSON."""

from __future__ import annotations

import json

import pytest
import yaml

from medimg.cli.main import run
from medimg.core.registry import core_registry_path
from medimg.manager import plugins

WRITTEN = yaml.safe_load(core_registry_path().read_text(encoding="utf-8"))["datasets"]


def test_every_dataset_is_listed(capsys):
    assert run(["datasets", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {r["name"] for r in rows} >= set(WRITTEN)
    breakhis = next(r for r in rows if r["name"] == "breakhis")
    assert breakhis == {
        "name": "breakhis",
        "title": "BreakHis, breast tumours, benign or malignant",
        "task": "two classes",
        "classes": ["benign", "malignant"],
        "images": 7909,
        "patients": 82,
        "layout": "folder",
    }


def test_the_list_for_reading_says_what_is_unknown(capsys):
    assert run(["datasets"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert "277,524" in lines["idc"] and "279" in lines["idc"]
    assert "unknown" in lines["chest-xray-pneumonia"]


@pytest.mark.parametrize("name", list(WRITTEN))
def test_the_card_as_json_is_what_the_registry_holds(capsys, name):
    assert run(["datasets", "show", name, "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["name"] == name
    for field, value in WRITTEN[name].items():
        if field not in ("source", "recognition", "variants"):
            assert card[field] == value, field
    assert WRITTEN[name]["source"].items() <= card["source"].items()


def test_the_card_for_reading(capsys):
    assert run(["datasets", "show", "kermany"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("chest-xray-pneumonia: Chest X-ray, pneumonia or normal, children")
    for line in (
        "positive         PNEUMONIA",
        "train       1,341        3,875",
        "test          234          390",
        "Cut by study 3: Train and validation joined and cut again; test as published.",
        "  - The published validation part has 16 images, too few to steer by.",
    ):
        assert line in text.splitlines(), line


def test_class_names_that_say_nothing_come_with_their_meaning(capsys):
    assert run(["datasets", "show", "idc"]) == 0
    assert "0 (no IDC)    1 (IDC)" in capsys.readouterr().out


def test_layout_options_can_be_copied(capsys):
    assert run(["datasets", "show", "rfmid"]) == 0
    assert "-o image=ID -o label=Disease_Risk" in capsys.readouterr().out


def test_an_unknown_dataset_names_the_near_miss(capsys):
    assert run(["datasets", "show", "pneumoniamnst"]) == 2
    assert capsys.readouterr().err == (
        "Error: no dataset is called 'pneumoniamnst'\n  Did you mean 'pneumoniamnist'?\n"
    )


def test_every_card_names_a_layout_that_somebody_reads():
    # medimg-medmnist is a package of its own, which need not be installed
    layouts = {*plugins().datasets(), "medmnist"}
    assert {card["layout"] for card in WRITTEN.values()} <= layouts
