"""Pretrained weights whose pixels were scaled otherwise are told by name."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from medimg.training.pixel_scaling import scaling_mismatch

KNOWN = {"efficientnetb0": "inside", "vgg16": "caffe", "unet": None}
BACKEND = SimpleNamespace(pretrained_scaling=KNOWN.get)


def network(architecture: str, scaling: str):
    return SimpleNamespace(
        spec=SimpleNamespace(name="mine", architecture=architecture, scaling=scaling)
    )


def test_zero_to_one_before_a_network_that_rescales_inside():
    found = scaling_mismatch(network("efficientnetb0", "unit"), "imagenet", BACKEND)
    assert found is not None
    assert (found.check, found.severity) == ("pixel-scaling", "warning")
    assert found.message == (
        "mine scales pixels as 'unit', but the weights of imagenet were trained on pixels scaled "
        "as 'inside'"
    )
    assert "scaling: inside" in found.hint


@pytest.mark.parametrize(
    ("architecture", "scaling", "source"),
    [
        ("efficientnetb0", "inside", "imagenet"),
        ("efficientnetb0", "none", "imagenet"),
        ("vgg16", "caffe", "imagenet"),
        ("vgg16", "unit", "none"),
        ("unet", "unit", "imagenet"),
    ],
)
def test_what_fits_and_what_nobody_knows_is_silent(architecture, scaling, source):
    assert scaling_mismatch(network(architecture, scaling), source, BACKEND) is None


def test_a_backend_that_knows_no_scaling_is_silent():
    assert scaling_mismatch(network("vgg16", "unit"), "imagenet", object()) is None


def test_a_file_may_have_been_trained_otherwise(tmp_path):
    file = tmp_path / "w.safetensors"
    file.write_bytes(b"")
    found = scaling_mismatch(network("vgg16", "unit"), str(file), BACKEND)
    assert found is not None and found.hint.startswith("Right if the file was trained so")
