"""`medimg models`: the list, and a model as a backend builds and counts it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

from medimg.cli.main import run
from medimg.manager import plugins

# trained parameters: the published totals less BatchNorm's running means and variances; with the
# backbone frozen: the layers of the head, by the textbook formula (inputs + 1) * units
PUBLISHED = {
    "cnn2": (10_636_481, 10_636_481, (36 * 36 * 64 + 1) * 128 + 129),
    "cnn3": (4_828_481, 4_828_481, (17 * 17 * 128 + 1) * 128 + 129),
    "cnn3bn": (11_169_985, 11_169_985 - 448, (26 * 26 * 128 + 1) * 128 + 129),
    "cnn4gray": (1_033_218, 1_033_218, (15 * 15 * 64 + 1) * 64 + 65 * 2),
    "resnet18-small": (11_178_945, 11_178_945 - 9_600, 513),
}
BUILD_ALL = """
import sys
from medimg.cli.main import run
codes = [run(["models", "show", name, "--backend", sys.argv[1], "--json"]) for name in sys.argv[2:]]
sys.exit(max(codes))
"""
needs_linear = pytest.mark.skipif(
    "linear" not in plugins().backends(), reason="medimg-linear is not installed"
)


def documents(text: str) -> list[dict]:
    """JSON documents printed one after another."""
    decoder, found = json.JSONDecoder(), []
    while text := text.strip():
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:]
    return found


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param("torch", marks=pytest.mark.torch),
        pytest.param("keras", marks=pytest.mark.keras),
    ],
)
def test_parameters_as_built_are_those_of_the_studies(backend):
    if find_spec(f"medimg_{backend}") is None:
        pytest.skip(f"medimg-{backend} is not installed")
    # a process each: torch and tensorflow don't go well together in one
    done = subprocess.run(
        [sys.executable, "-c", BUILD_ALL, backend, *PUBLISHED],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for (name, (total, trainable, frozen)), model in zip(
        PUBLISHED.items(), documents(done.stdout), strict=True
    ):
        assert model["name"] == name and model["backend"] == backend
        assert model["parameters"] == {"total": total, "trainable": trainable}, name
        assert model["trainable_with_frozen_backbone"] == frozen, name
        assert sum(stage["parameters"] for stage in model["stages"]) == total, name
        assert model["published_parameters"][backend] == total, name


def test_every_model_is_listed(capsys):
    assert run(["models", "--json"]) == 0
    rows = {r["name"]: r for r in json.loads(capsys.readouterr().out)}
    assert set(rows) >= set(PUBLISHED)
    for name, (total, _, _) in PUBLISHED.items():
        assert rows[name]["parameters"] == {"torch": total, "keras": total}


def test_the_list_for_reading_gives_one_number_where_backends_agree(capsys):
    assert run(["models"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert lines["cnn3bn"].endswith(" 11,169,985")


@needs_linear
def test_classes_and_size_change_the_network(capsys):
    arguments = ["models", "show", "logistic", "--classes", "4", "--image-size", "16", "--json"]
    assert run(arguments) == 0
    model = json.loads(capsys.readouterr().out)
    assert (model["backend"], model["outputs"], model["output"]) == ("linear", 4, "softmax")
    assert model["input_size"] == 16
    # a weight a pixel and a bias, for each class
    assert model["parameters"]["trainable"] == 4 * (16 * 16 * model["channels"] + 1)


@needs_linear
def test_the_card_for_reading(capsys):
    assert run(["models", "show", "logistic"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("logistic: Logistic regression on standardised pixels\n")
    assert "output           1 sigmoid" in text.splitlines()
    assert "pixels           divided by 255, to 0..1" in text.splitlines()


@needs_linear
def test_a_backend_that_does_not_build_it_says_which_does(capsys, monkeypatch):
    line = ["models", "show", "cnn3", "--backend", "linear"]
    offered = plugins().backends()
    if "torch" in offered:
        monkeypatch.setattr(plugins(), "why_not", lambda info: "")
        assert run(line) == 2
        assert capsys.readouterr().err.splitlines() == [
            "Error: the backend 'linear' does not build 'cnn3'",
            "  Give one that does: --backend torch",
        ]
    monkeypatch.setattr(
        plugins(), "why_not", lambda info: "" if info.name == "linear" else "not installed"
    )
    assert run(line) == 3
    err = capsys.readouterr().err
    assert err.startswith("Error: the backend 'linear' does not build 'cnn3'\n")
    assert 'pip install "medimg[torch]"' in err


def test_the_card_can_be_read_without_a_backend(capsys, monkeypatch):
    monkeypatch.setattr(plugins(), "why_not", lambda info: f"{info.requires} is not installed")
    assert run(["models", "show", "cnn3", "--json"]) == 0
    printed = capsys.readouterr()
    model = json.loads(printed.out)
    assert model["backend"] is None
    assert model["parameters"] == {"total": None, "trainable": None}
    assert model["published_parameters"]["torch"] == 4_828_481
    assert printed.err.startswith("Not built: no backend works here")


def test_an_unknown_model_names_the_near_miss(capsys):
    assert run(["models", "show", "resnet18"]) == 2
    assert capsys.readouterr().err == (
        "Error: no model is called 'resnet18'\n  Did you mean 'resnet18-small'?\n"
    )


def test_pictures_too_small_are_refused_with_the_smallest(capsys):
    assert run(["models", "show", "cnn3", "--image-size", "8"]) == 2
    assert "at least 22 px a side, not 8" in capsys.readouterr().err
