"""The same weights in both frameworks give the same logits and the same training."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from medimg.manager import plugins

pytestmark = pytest.mark.contract

SMALL_VGG = {"head": ("flatten", "fc16"), "height": 40, "width": 40, "scaling": "caffe"}
MODELS = {"cnn2": 48, "cnn3": 48, "cnn3bn": 48, "cnn4gray": 48, "resnet18-small": 28}
ADAM = {"name": "adam", "betas": (0.9, 0.999)}
# at larger rates ten steps make more of a rounding error than 1e-4: the same network in the same
# framework, its weights changed by 1e-7 of themselves, strays as far (by 1e-4 at a rate of 1e-4)
RATES = {"cnn3bn": 1e-4, "resnet18-small": 3e-6}
TOLERANCE = 1e-4


def case(name, model, **changes):
    """A network of the registry without dropout, whose draws no two frameworks share."""
    spec = plugins().registry().model(model).spec(changes.pop("classes", 2), MODELS.get(model))
    head = tuple(layer for layer in spec.head if not layer.startswith("dropout"))
    return {
        "name": name,
        "spec": asdict(replace(spec, **{"head": head, **changes.pop("spec", {})})),
        "seed": 3,
        "rate": 1e-3,
        "optimizer": ADAM,
        "objective": {},
        "trainable_from": 0,
        **changes,
    }


def all_cases():
    settings = {
        "adamw": {**ADAM, "name": "adamw", "weight_decay": 0.05, "clip_norm": 0.5},
        "sgd": {"name": "sgd", "momentum": 0.9, "clip_norm": 1.0},
    }
    return [
        *(case(model, model, rate=RATES.get(model, 1e-3)) for model in MODELS),
        case("adamw", "cnn3bn", optimizer=settings["adamw"], objective={"l2": 1e-3}),
        case("sgd", "cnn2", optimizer=settings["sgd"], rate=1e-2, classes=3),
        case("focal", "cnn3", objective={"focal_gamma": 2.0, "l2": 1e-2}),
        case("sgd-resnet", "resnet18-small", optimizer=settings["sgd"], rate=3e-4),
        case("frozen", "cnn3bn", trainable_from=1, rate=1e-4),
        case("frozen-resnet", "resnet18-small", trainable_from=4, rate=1e-4),
        # the one backbone that is the same network in both libraries
        case("vgg16", "vgg16", spec=SMALL_VGG, rate=1e-5),
        case("frozen-vgg16", "vgg16", spec=SMALL_VGG, trainable_from=3, rate=1e-4),
        *(
            case(scaling, "cnn3bn", spec={"scaling": scaling}, rate=1e-4)
            for scaling in ("signed", "imagenet", "caffe")
        ),
    ]


CASES = [c["name"] for c in all_cases()]


@pytest.fixture(scope="module")
def answers(tmp_path_factory, in_own_process):
    """What each backend found, and the weights that both started from."""
    folder = tmp_path_factory.mktemp("answers")
    (folder / "cases.json").write_text(json.dumps(all_cases()))
    (folder / "starts").mkdir()
    for backend in ("torch", "keras"):
        (folder / backend).mkdir()
        in_own_process("run", backend, folder / "cases.json", folder / "starts", folder / backend)
    return folder


def pair(folder: Path, name: str) -> tuple[dict, dict]:
    torch, keras = (
        dict(np.load(folder / backend / f"{name}.npz")) for backend in ("torch", "keras")
    )
    assert torch.keys() == keras.keys()
    return torch, keras


@pytest.mark.parametrize("name", [*MODELS, "vgg16"])
def test_networks_start_from_the_same_weights(answers, name):
    torch, keras = pair(answers, name)
    firsts = [key for key in torch if key.startswith("first:")]
    assert len(firsts) > 5
    for key in firsts:
        np.testing.assert_array_equal(torch[key], keras[key], err_msg=key)


@pytest.mark.parametrize("name", CASES)
def test_the_same_weights_give_the_same_logits(answers, name):
    torch, keras = pair(answers, name)
    for key in ("logits", "features"):
        scale = np.abs(keras[key]).max()
        assert scale > 0.01  # not compared at nothing
        np.testing.assert_allclose(torch[key], keras[key], rtol=0, atol=TOLERANCE * scale)


@pytest.mark.parametrize("name", CASES)
def test_ten_steps_of_training_give_the_same_losses(answers, name):
    torch, keras = pair(answers, name)
    assert np.ptp(keras["losses"]) > 0.01 and len(keras["losses"]) == 10
    np.testing.assert_allclose(torch["losses"], keras["losses"], rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("name", CASES)
def test_networks_end_alike(answers, name):
    """Logits and BatchNorm's running statistics after the ten steps."""
    torch, keras = pair(answers, name)
    ends = ["logits after", *(key for key in torch if key.startswith("after:"))]
    for key in ends:
        scale = max(1.0, np.abs(keras[key]).max())
        np.testing.assert_allclose(torch[key], keras[key], rtol=0, atol=1e-3 * scale, err_msg=key)
