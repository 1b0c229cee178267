"""Backbones of keras.applications and their weights; Keras itself stands beside."""

from __future__ import annotations

import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from medimg.api import BackendError, Batch, InputError, ModelSpec, Objective, Optimizer, UsageError
from medimg.manager import plugins
from medimg.testing import BACKEND_CHECKS, Trial
from medimg.training.pretrained import take_weights
from medimg_keras.applications import BODIES, canonical, own_scaling
from medimg_keras.engine import KerasBackend
from medimg_keras.scaling import scaled, scaled_by_numpy
from medimg_keras.startup import keras

STAGES = {
    "vgg16": ["block1", "block2", "block3", "block4", "block5", "head"],
    "resnet50": ["stem", "stage1", "stage2", "stage3", "stage4", "head"],
    "inceptionv3": ["stem", *(f"mixed{n}" for n in range(11)), "head"],
    "efficientnetb0": ["stem", *(f"block{n}" for n in range(1, 8)), "top", "head"],
}
# 188 layers of weights
LARGE = pytest.param("inceptionv3", marks=pytest.mark.slow)
SIDE = 80
SMALL = ModelSpec(
    "keras:MobileNet", "keras:MobileNet", (), ("gap", "fc8"), 32, 32, 3, 3, "own", 0.9
)


def card_spec(name, **changes):
    spec = plugins().registry().model(name).spec(2, backend="keras")
    return replace(spec, **{"head": ("gap",), "height": SIDE, "width": SIDE, **changes})


def pictures(count=4, side=SIDE, channels=3):
    draws = np.random.default_rng(0)
    return draws.integers(0, 256, (count, side, side, channels), dtype=np.uint8)


def keras_own(name, size=SIDE):
    """The application itself; its running statistics are not those of a fresh network, but so
    near them that its many layers don't magnify rounding."""
    make = getattr(keras.applications, BODIES[name].keras)
    made = make(include_top=False, weights=None, input_shape=(size, size, 3))
    draws = np.random.default_rng(1)
    for variable in made.weights:
        if variable.name in ("moving_mean", "moving_variance", "beta"):
            around = float(variable.name == "moving_variance")
            variable.assign(draws.uniform(around - 0.05, around + 0.05, variable.shape))
    return made, sys.modules[make.__module__].preprocess_input


# -- what is built ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STAGES)
def test_backbones_are_keras_own_and_in_stages(name):
    network, _ = KerasBackend().build(card_spec(name), seed=0)
    assert [stage.name for stage in network.stages] == STAGES[name]
    assert all(stage.parameters for stage in network.stages)
    own, _ = keras_own(name)
    head = network.stages[-1].parameters
    assert network.parameters().total == network.parts.whole.count_params()
    assert network.parameters().total - head == own.count_params()


@pytest.mark.parametrize("name", STAGES)
def test_pixels_are_scaled_as_preprocess_input_does_it(name):
    scaling = plugins().registry().model(name).scaling_for("keras")
    _, preprocess = keras_own(name)
    wanted = preprocess(pictures().astype("float32"))
    x = keras.Input((SIDE, SIDE, 3), dtype="uint8")
    ours = keras.Model(x, scaled(x, scaling))(pictures()).numpy()
    np.testing.assert_allclose(ours, wanted, atol=1e-4)
    assert own_scaling(name) == scaling


@pytest.mark.parametrize(
    "name, scaling",
    [
        ("keras:MobileNetV2", "signed"),
        ("keras:DenseNet121", "imagenet"),
        ("keras:ResNet101", "caffe"),
        ("keras:MobileNetV3Small", "inside"),
        ("keras:EfficientNetV2B0", "inside"),
    ],
)
def test_strangers_scaling_is_found_by_trying(name, scaling):
    """As Keras' documentation has it, network by network."""
    assert own_scaling(name) == scaling


def test_a_scaling_in_numbers():
    white = scaled_by_numpy(np.full((1, 3), 255), "mean=0.48,0.46,0.41 std=0.27,0.26,0.28")
    np.testing.assert_allclose(white, [[0.52 / 0.27, 0.54 / 0.26, 0.59 / 0.28]])


def test_a_network_built_twice_in_a_process_has_the_same_names_and_weights():
    first, again = (KerasBackend().build(card_spec("inceptionv3"), 3)[0].weights() for _ in "ab")
    assert list(first) == list(again) and "conv2d/kernel" in first and "conv2d_93/kernel" in first
    assert all((first[n] == again[n]).all() for n in first)


def test_automatic_names_are_counted_in_the_order_of_making():
    layers = [
        ("dense_12", "Dense"),
        ("conv2d_9", "Conv2D"),
        ("a", "Conv2D"),
        ("conv2d_10", "Conv2D"),
    ]
    assert canonical(layers) == ["dense", "conv2d", "a", "conv2d_1"]


def test_strangers_are_cut_where_pictures_get_smaller():
    network, _ = KerasBackend().build(replace(SMALL, height=64, width=64), seed=0)
    shapes = [model.outputs[0].shape for model in network.parts.models[:-1]]
    # MobileNet pads before it strides; the last stage ends in pooled features
    assert [shape[1] for shape in shapes] == [33, 17, 9, 5, 1024]
    stages = ["stem", *(f"stage{n}" for n in range(1, 5)), "head"]
    assert [s.name for s in network.stages] == stages


def test_what_can_not_be_built_is_said():
    with pytest.raises(UsageError, match="no network 'ResNet51'") as wrong:
        KerasBackend().build(replace(SMALL, architecture="keras:ResNet51"), seed=0)
    assert "keras:ResNet50" in wrong.value.hint
    with pytest.raises(BackendError, match="pictures of 40×40"):
        KerasBackend().build(card_spec("inceptionv3", height=40, width=40), seed=0)
    with pytest.raises(BackendError, match="needs 3 channels"):
        KerasBackend().build(card_spec("vgg16", channels=1), seed=0)


def test_one_channel_networks_take_one_channel_pictures():
    network, _ = KerasBackend().build(card_spec("vgg16", channels=1, scaling="unit"), seed=0)
    assert next(network.predict([pictures(channels=1)])).shape == (4, 2)
    with pytest.raises(BackendError, match="takes batches of"):
        list(network.predict([pictures()]))


# -- training --------------------------------------------------------------------------------------


@pytest.mark.parametrize("promise", ["weights", "freezing", "head"])
def test_an_application_keeps_the_protocol(tmp_path, promise):
    BACKEND_CHECKS[promise](Trial(KerasBackend(), SMALL, tmp_path))


@pytest.mark.parametrize("name", ["efficientnetb0"])
def test_below_the_cut_everything_stays_and_infers(name):
    spec = card_spec(name, height=32, width=32, outputs=3)
    network, _ = KerasBackend().build(spec, seed=0)
    images, cut = pictures(6, 32), len(network.stages) - 3

    def below():
        x = images
        for model in network.parts.models[:cut]:
            x = model(x, training=False)
        return x.numpy()

    before, seen = network.weights(), below()
    network.prepare(Objective(), Optimizer(), cut)
    batch = Batch(images, np.eye(3, dtype=np.float32)[[0, 1, 2] * 2], np.ones(6, np.float32), 6)
    rates = np.full((2, 1), 1e-3, np.float32)
    network.train_epoch([batch] * 2, rates, seed=0, on_step=lambda step, loss: True)
    after = network.weights()
    stage_of = {p.name: p.stage for p in network.parts.parameters}
    changed = {stage_of[n] for n in before if (before[n] != after[n]).any()}
    assert changed == set(range(cut, len(network.stages)))
    np.testing.assert_array_equal(seen, below())


def test_stochastic_depth_is_reseeded_every_epoch():
    network, _ = KerasBackend().build(card_spec("efficientnetb0", height=32, width=32), seed=0)
    drawing = [x for x in network.parts.whole.layers if isinstance(x, keras.layers.Dropout)]
    states = []
    for seed in (5, 5, 6):
        network._reseed_dropout(seed)
        states.append([tuple(x.seed_generator.state.numpy()) for x in drawing])
    assert states[0] == states[1] and len(set(states[0] + states[2])) == 2 * len(drawing) > 10


@pytest.mark.parametrize("name", sorted(BODIES))
def test_the_cards_scale_as_the_weights_were_taught(name):
    assert card_spec(name).scaling == KerasBackend().pretrained_scaling(name)
    assert KerasBackend().pretrained_scaling("layers") is None


# -- weights ---------------------------------------------------------------------------------------


def written(model, folder, kind):
    """The weights as Keras writes and wrote them."""
    file = folder / f"w.{kind}"
    if kind == "keras":
        model.save(file)
    elif kind == "weights.h5":
        model.save_weights(file)
    else:
        with h5py.File(file, "w") as opened:
            legacy_h5_format.save_weights_to_hdf5_group(opened, model)
    return file


def take(source, spec):
    network, _ = KerasBackend().build(spec, seed=0)
    return network, take_weights(network, str(source), KerasBackend(), plugins())


@pytest.mark.parametrize("kind", ["keras", "weights.h5", "h5"])
@pytest.mark.parametrize("name", ["vgg16", LARGE, "efficientnetb0"])
def test_files_of_keras_give_keras_own_features(tmp_path, name, kind):
    own, preprocess = keras_own(name)
    network, report = take(written(own, tmp_path, kind), card_spec(name))
    assert report.missing == ("output/kernel", "output/bias") and not report.unexpected
    wanted = own(preprocess(pictures().astype("float32")), training=False).numpy().mean((1, 2))
    (got,) = network.embed([pictures()])
    np.testing.assert_allclose(got, wanted, atol=1e-4 * np.abs(wanted).max())


def published(monkeypatch, name, folder, top=False):
    """Weights as they are published, in the place of the download; Keras' network with them."""
    mean, std = np.asarray([0.485, 0.456, 0.406]), np.asarray([0.229, 0.224, 0.225])
    own, preprocess = keras_own(name)
    for layer in own.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.weights[0].assign(mean)
            layer.weights[1].assign(std)  # its square root is divided by twice
            layer.finalize_state()
    file = written(own, folder, "h5")
    make = getattr(keras.applications, BODIES[name].keras)
    monkeypatch.setattr(keras.src.utils.file_utils, "get_file", lambda *a, **k: str(file))
    return make(include_top=False, weights="imagenet", input_shape=(SIDE, SIDE, 3)), preprocess


@pytest.mark.parametrize("name", ["vgg16", "resnet50", LARGE, "efficientnetb0"])
def test_imagenet_weights_are_keras_own(tmp_path, monkeypatch, name):
    own, preprocess = published(monkeypatch, name, tmp_path)
    network, report = take("imagenet", card_spec(name))
    assert report.missing == ("output/kernel", "output/bias") and not report.unexpected
    wanted = own(preprocess(pictures().astype("float32")), training=False).numpy().mean((1, 2))
    (got,) = network.embed([pictures()])
    np.testing.assert_allclose(got, wanted, atol=1e-4 * np.abs(wanted).max())


def test_efficientnet_scales_inside_as_imagenets_mean_and_deviation():
    network, _ = KerasBackend().build(card_spec("efficientnetb0"), seed=0)
    whole = network.parts.whole
    inside = keras.Model(whole.inputs, whole.get_layer("rescaling_again").output)
    wanted = scaled_by_numpy(pictures(), "imagenet")
    np.testing.assert_allclose(inside(pictures()).numpy(), wanted, atol=1e-4)


def test_offline_the_failure_says_how_to_bring_the_file(monkeypatch):
    address = "http://127.0.0.1:9/vgg16_notop.h5"
    fetch = keras.src.utils.file_utils.get_file

    def unreachable(name, origin, **options):
        return fetch(f"medimg-test-{name}", address, **options)

    monkeypatch.setattr(keras.src.utils.file_utils, "get_file", unreachable)
    with pytest.raises(BackendError, match="weights of VGG16 could not be downloaded") as wrong:
        take("imagenet", card_spec("vgg16"))
    assert f"download {address}, bring the file here" in wrong.value.hint
    assert wrong.value.hint.endswith("--weights vgg16_notop.h5")


def test_almost_nothing_taken_is_an_error(tmp_path):
    own, _ = keras_own("vgg16")
    with pytest.raises(InputError, match="almost nothing of"):
        take(written(own, tmp_path, "weights.h5"), card_spec("resnet50"))
    with pytest.raises(UsageError, match="no ImageNet weights for 'cnn'"):
        take("imagenet", ModelSpec("cnn", "layers", ("conv4",), ("flatten",), 8, 8, 3, 1))


@pytest.mark.parametrize("kind", ["keras", "weights.h5", "h5"])
def test_a_broken_file_is_said(tmp_path, kind):
    own, _ = keras_own("vgg16", 32)
    file = written(own, tmp_path, kind)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match="can't be read"):
        take(file, card_spec("vgg16"))


def test_no_code_of_a_file_is_run(tmp_path):
    x = keras.Input((8, 8, 3))
    harmful = keras.Model(x, keras.layers.Lambda(lambda x: x * 2)(x))
    harmful.save(tmp_path / "harmful.keras")
    with pytest.raises(InputError, match="without running code from it") as caught:
        take(tmp_path / "harmful.keras", card_spec("vgg16"))
    # Keras' own message tells how to switch the protection off
    assert "unsafe" not in str(caught.value) and "save_weights" in caught.value.hint


def test_what_is_no_weights_file_is_said(tmp_path):
    for name, text in (("w.pth", "file of PyTorch's"), ("w.txt", "no weights file that the keras")):
        (tmp_path / name).write_text("none")
        with pytest.raises(InputError, match=text):
            take(tmp_path / name, card_spec("vgg16"))


def test_arrays_of_another_backends_run_are_taken_by_their_neutral_names(tmp_path):
    from safetensors.numpy import save_file

    source, _ = KerasBackend().build(card_spec("vgg16"), seed=5)
    save_file(source.weights(), tmp_path / "weights.safetensors")
    network, report = take(tmp_path / "weights.safetensors", card_spec("vgg16"))
    assert not report.missing and not report.unexpected
    np.testing.assert_array_equal(*source.predict([pictures()]), *network.predict([pictures()]))
