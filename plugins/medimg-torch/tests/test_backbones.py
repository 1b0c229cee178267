"""Backbones of timm: counts, preprocessing, stages, freezing; timm itself stands beside."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from medimg.api import BackendError, ModelSpec, Objective, Optimizer, UsageError
from medimg.manager import plugins
from medimg.testing import BACKEND_CHECKS, Trial
from medimg.testing.backends import Batch
from medimg_torch.backbones import BODIES, pretrained_config
from medimg_torch.scaling import Scale, own_scaling
from medimg_torch.timm_import import import_timm

# of Keras' definitions, which the studies used (STUDIES: VGG-16, ResNet-50, Inception-V3)
STAGES = {
    "vgg16": ["block1", "block2", "block3", "block4", "block5", "head"],
    "resnet50": ["stem", "stage1", "stage2", "stage3", "stage4", "head"],
    "inceptionv3": ["stem", *(f"mixed{n}" for n in range(11)), "head"],
    "efficientnetb0": ["stem", *(f"block{n}" for n in range(1, 8)), "top", "head"],
    "efficientnet-lite0": ["stem", *(f"block{n}" for n in range(1, 8)), "top", "head"],
}
TIMM = {
    "vgg16": "vgg16",
    "resnet50": "resnet50",
    "inceptionv3": "inception_v3",
    "efficientnetb0": "efficientnet_b0",
    "efficientnet-lite0": "tf_efficientnet_lite0",
}
SMALL = ModelSpec("timm:resnet18", "timm:resnet18", (), ("gap", "fc8"), 32, 32, 3, 3, "own", 0.9)


def card_spec(name, **changes):
    spec = plugins().registry().model(name).spec(2, backend="torch")
    return replace(spec, **{"head": ("gap",), "height": 96, "width": 96, **changes})


def pictures(count=6, side=32, channels=3):
    draws = np.random.default_rng(0)
    return draws.integers(0, 256, (count, side, side, channels), dtype=np.uint8)


def batch_of(images, classes=3):
    targets = np.eye(classes, dtype=np.float32)[np.arange(len(images)) % classes]
    return Batch(images, targets, np.ones(len(images), np.float32), len(images))


def trained(network, cut, images, steps=2, rate=1e-3):
    network.prepare(Objective(), Optimizer(), cut)
    rates = np.full((steps, 1), rate, np.float32)
    batches = [batch_of(images)] * steps
    network.train_epoch(batches, rates, seed=0, on_step=lambda step, loss: True)


# -- what is built ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STAGES)
def test_backbones_are_timms_and_in_stages(backend, name):
    network, _ = backend.build(card_spec(name), seed=0)
    assert [stage.name for stage in network.stages] == STAGES[name]
    assert all(stage.parameters for stage in network.stages)
    own = import_timm().create_model(TIMM[name], num_classes=0)
    state = {n: t.numel() for n, t in own.state_dict().items() if "num_batches" not in n}
    unused = ("pre_logits", "head") if name == "vgg16" else ("nothing",)
    expected = sum(size for n, size in state.items() if not n.startswith(unused))
    assert network.parameters().total - network.stages[-1].parameters == expected


def test_totals_differ_from_keras_by_definition():
    """ResNet-50: Keras has a bias in every convolution before a BatchNorm, timm none, so as many
    more as BatchNorm has channels. Inception-V3: timm's BatchNorms have a scale, Keras' none."""
    timm, registry = import_timm(), plugins().registry()

    def channels(name):
        network = timm.create_model(name, num_classes=0)
        return sum(len(t) for n, t in network.state_dict().items() if n.endswith("running_mean"))

    differences = {
        name: (card := registry.model(name)).parameters["torch"] - card.parameters["keras"]
        for name in ("vgg16", "resnet50", "inceptionv3", "efficientnetb0")
    }
    assert differences == {
        "vgg16": 0,
        "resnet50": -channels("resnet50"),
        "inceptionv3": channels("inception_v3"),
        # Keras' normalisation inside: mean, variance, and a count of what they were taken from
        "efficientnetb0": -7,
    }


@pytest.mark.parametrize("name", STAGES)
def test_pixels_are_scaled_as_timms_weights_want_them(backend, name):
    card = plugins().registry().model(name)
    config = import_timm().data.resolve_data_config(pretrained_config(name))
    images = pictures(2, 8)
    mean, std = np.asarray(config["mean"]), np.asarray(config["std"])
    wanted = (images / 255 - mean) / std
    scaled = Scale(card.scaling_for("torch"))(torch.from_numpy(images)).permute(0, 2, 3, 1)
    np.testing.assert_allclose(scaled, wanted, atol=1e-5)
    network, _ = backend.build(card_spec(name, scaling="own"), seed=0)
    assert network.spec.scaling == card.scaling_for("torch")


def test_a_scaling_without_a_name_is_stated_in_numbers(tmp_path, backend):
    config = {"mean": (0.48, 0.46, 0.41), "std": (0.27, 0.26, 0.28)}
    stated = own_scaling(config)
    assert stated == "mean=0.48,0.46,0.41 std=0.27,0.26,0.28"
    white = Scale(stated)(torch.full((1, 1, 1, 3), 255, dtype=torch.uint8)).flatten()
    wanted = (1 - np.asarray(config["mean"])) / np.asarray(config["std"])
    np.testing.assert_allclose(white, wanted, rtol=1e-5)
    # a saved network sees what it saw, whatever a later timm says of its own scaling
    network, _ = backend.build(replace(SMALL, scaling=stated), seed=0)
    network.save(tmp_path, training=False)
    assert backend.load(tmp_path, SMALL).spec.scaling == stated


def test_an_unknown_name_gives_the_near_ones(backend):
    with pytest.raises(UsageError, match="no network 'resnet19'") as said:
        backend.build(replace(SMALL, architecture="timm:resnet19"), seed=0)
    assert "timm:resnet18" in said.value.hint


def test_pictures_that_are_too_small_are_said(backend):
    with pytest.raises(BackendError, match="pictures of 16×16"):
        backend.build(card_spec("vgg16", height=16, width=16), seed=0)


def test_flattened_tokens_are_refused(backend):
    spec = replace(SMALL, architecture="timm:vit_tiny_patch16_224", head=("flatten",))
    with pytest.raises(BackendError, match="features of the shape"):
        backend.build(spec, seed=0)
    network, _ = backend.build(replace(spec, head=("gap",)), seed=0)
    assert next(network.embed([pictures()])).shape == (6, 192)


def test_one_channel_networks_take_one_channel_pictures(backend):
    spec = replace(SMALL, channels=1, scaling="unit")
    network, _ = backend.build(spec, seed=0)
    assert next(network.predict([pictures(channels=1)])).shape == (6, 3)
    with pytest.raises(BackendError, match="takes batches of"):
        list(network.predict([pictures()]))
    with pytest.raises(BackendError, match="needs 3 channels"):
        backend.build(replace(spec, scaling="own"), seed=0)


# -- training --------------------------------------------------------------------------------------


@pytest.mark.parametrize("promise", ["weights", "loss", "freezing", "head", "resume"])
def test_a_network_of_timm_keeps_the_protocol(backend, tmp_path, promise):
    BACKEND_CHECKS[promise](Trial(backend, SMALL, tmp_path))


def test_the_same_seed_gives_the_same_start_and_the_callers_draws_go_on(backend):
    torch.manual_seed(4)
    expected = torch.rand(2)
    torch.manual_seed(4)
    first, again, other = (backend.build(SMALL, seed)[0].weights() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(2), expected)
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name], err_msg=name)
    for name in ("conv1/kernel", "fc1/kernel"):
        assert (first[name] != other[name]).any()


@pytest.mark.parametrize("cut", [0, 3, 5])
def test_below_the_cut_everything_stays_and_infers(backend, cut):
    network, _ = backend.build(SMALL, seed=0)
    modes = {}

    def record(module, inputs):
        modes[module] = module.training

    for members in network.parts.members:
        for module in members:
            module.register_forward_pre_hook(record)
    before = network.weights()
    trained(network, cut, pictures())
    after = network.weights()
    stage_of = {w.name: w.stage for w in network.parts.weights}
    changed = {stage_of[n] for n in before if (before[n] != after[n]).any()}
    assert changed == set(range(cut, len(network.stages)))
    for stage, members in enumerate(network.parts.members):
        used = [modes[m] for m in members if m in modes and not list(m.children())]
        assert used and set(used) == {stage >= cut}, stage
    # running statistics are no trained weights, and stay where their stage is frozen
    assert ("bn1/mean" in {n for n in before if (before[n] != after[n]).any()}) == (cut == 0)


def test_stochastic_depth_below_the_cut_is_off(backend):
    """Features of a frozen backbone are those of prediction, or they could not be kept."""
    network, _ = backend.build(card_spec("efficientnetb0", height=32, width=32, outputs=3), seed=0)
    (before,) = network.embed([pictures()])
    trained(network, len(network.stages) - 1, pictures())
    (after,) = network.embed([pictures()])
    np.testing.assert_array_equal(before, after)


def test_a_stage_of_timms_own_grouping_holds_its_layers(backend):
    network, _ = backend.build(SMALL, seed=0)
    assert [s.name for s in network.stages] == [
        "stem",
        *(f"stage{n}" for n in range(1, 5)),
        "head",
    ]
    stage_of = {w.name: w.stage for w in network.parts.weights}
    assert stage_of["conv1/kernel"] == 0 and stage_of["layer4.1.bn2/gamma"] == 4
    assert stage_of["layer1.0.conv1/kernel"] == 1 and stage_of["output/bias"] == 5


# -- torchvision -----------------------------------------------------------------------------------

BROKEN_TORCHVISION = """
import torch
torch.library.register_fake("torchvision::nms")(lambda *given: given[0])
torch.library.register_fake("torchvision::qnms")(lambda *given: given[0])
"""


def imported_with(folder, source):
    (folder / "torchvision").mkdir()
    (folder / "torchvision" / "__init__.py").write_text(source)
    code = (
        f"import sys; sys.path.insert(0, {str(folder)!r})\n"
        "from medimg_torch.timm_import import import_torchvision\n"
        "import_torchvision(); import torchvision; print(torchvision.__file__)"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_a_torchvision_without_its_operators_is_imported_all_the_same(tmp_path):
    done = imported_with(tmp_path, BROKEN_TORCHVISION)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path))


def test_another_failure_of_torchvision_is_not_hidden(tmp_path):
    done = imported_with(tmp_path, "raise RuntimeError('something else')")
    assert done.returncode == 1 and "something else" in done.stderr


@pytest.mark.parametrize("name", sorted(BODIES))
def test_the_cards_scale_as_the_weights_were_taught(backend, name):
    assert card_spec(name).scaling == backend.pretrained_scaling(name)


def test_networks_without_pretrained_weights_have_no_scaling_of_theirs(backend):
    assert backend.pretrained_scaling("layers") is None
