"""The Keras backend against NumPy written out, Keras' own reader, and its own protocol."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import medimg_keras
from medimg.api import BackendError, Batch, ModelSpec, Objective, Optimizer
from medimg.testing import check_backend, check_plugin
from medimg_keras.architectures import assemble
from medimg_keras.engine import KerasBackend
from medimg_keras.network import saved_precision
from medimg_keras.objective import data_loss
from medimg_keras.startup import keras, tf

SMALL = ModelSpec(
    "small",
    "layers",
    ("conv4", "pool", "bn", "conv6", "pool"),
    ("flatten", "fc8", "dropout0.5"),
    14,
    14,
    1,
    1,
)
RESNET = ModelSpec(
    "resnet18-small", "resnet18-small", (), ("gap",), 16, 16, 3, 3, "unit", 0.9, 1e-5
)


def pictures(count=48, classes=2, seed=0, shape=(14, 14, 1)):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, count)
    images = draw.normal(110, 40, (count, *shape))
    images[:, :5, :5] += 40 * labels[:, None, None, None]
    return images.clip(0, 255).astype(np.uint8), labels


def in_batches(images, labels, size=16, classes=2):
    return [
        Batch(
            images[i : i + size],
            np.eye(classes, dtype=np.float32)[labels[i : i + size]],
            np.ones(len(labels[i : i + size]), np.float32),
            len(labels[i : i + size]),
        )
        for i in range(0, len(images), size)
    ]


def epoch(network, batches, rate=0.01, seed=0, stop_at=None):
    losses = []

    def on_step(step, loss):
        assert step == len(losses)
        losses.append(loss)
        return step != stop_at

    rates = np.full((len(batches), 1), rate, np.float32)
    return network.train_epoch(iter(batches), rates, seed=seed, on_step=on_step), losses


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


def test_the_backend_keeps_the_protocol(tmp_path):
    check_backend(KerasBackend(), tmp_path)


def test_the_plugin_offers_what_it_says():
    check_plugin(medimg_keras)


# -- networks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec, total",
    [
        (
            ModelSpec(
                "cnn3",
                "layers",
                ("conv32", "pool", "conv64", "pool", "conv128", "pool"),
                ("flatten", "fc128", "dropout0.5"),
                150,
                150,
                3,
                1,
            ),
            4_828_481,
        ),
        (
            ModelSpec(
                "cnn2",
                "layers",
                ("conv32", "pool", "conv64", "pool"),
                ("flatten", "fc128", "dropout0.5"),
                150,
                150,
                3,
                1,
            ),
            10_636_481,
        ),
        (
            ModelSpec(
                "cnn3bn",
                "layers",
                ("conv32", "pool", "bn", "conv64", "pool", "bn", "conv128", "pool", "bn"),
                ("flatten", "dropout0.5", "fc128"),
                224,
                224,
                3,
                1,
            ),
            11_169_985,
        ),
        (
            ModelSpec(
                "cnn4gray",
                "layers",
                ("conv64", "pool", "conv64", "pool", "conv64", "pool", "conv64"),
                ("flatten", "fc64"),
                150,
                150,
                1,
                2,
            ),
            1_033_218,
        ),
    ],
)
def test_parameter_counts_are_the_published_ones(spec, total):
    parts = assemble(spec)
    assert sum(p.size for p in parts.parameters) == total == parts.whole.count_params()
    assert sum(stage.parameters for stage in parts.stages()) == total


def test_resnet18_small_has_resnet18s_layers():
    network, _ = KerasBackend().build(RESNET, seed=0)
    shapes = {name: array.shape for name, array in network.weights().items()}
    assert len([n for n in shapes if n.endswith("/kernel")]) == 21  # 20 convolutions, output
    assert shapes["conv1/kernel"] == (3, 3, 3, 64)
    # stage 2 begins with conv6; its block's main path first, then the shortcut
    assert [shapes[f"conv{n}/kernel"] for n in (6, 7, 8)] == [
        (3, 3, 64, 128),
        (3, 3, 128, 128),
        (1, 1, 64, 128),
    ]
    # torchvision's resnet18 has 11,689,512: its 7×7 stem and 1000 classes taken off, BatchNorm's
    # running statistics (2 × 4,800) and ours put on
    body = 11_689_512 - 7 * 7 * 3 * 64 - 513 * 1000
    assert network.parameters().total == body + 3 * 3 * 3 * 64 + 2 * 4_800 + 513 * 3
    assert [s.name for s in network.stages] == [
        "stem",
        "stage1",
        "stage2",
        "stage3",
        "stage4",
        "head",
    ]


def test_initial_kernels_are_the_shared_draws():
    network, _ = KerasBackend().build(SMALL, seed=7)
    draws, weights = np.random.default_rng(7), network.weights()
    for name, fans in [
        ("conv1", (9, 36)),
        ("conv2", (36, 54)),
        ("fc1", (24, 8)),
        ("output", (8, 1)),
    ]:
        limit = np.sqrt(6 / sum(fans))
        expected = draws.uniform(-limit, limit, weights[f"{name}/kernel"].shape).astype("float32")
        np.testing.assert_array_equal(weights[f"{name}/kernel"], expected)
        assert not weights[f"{name}/bias"].any()
    assert (weights["bn1/gamma"] == 1).all() and (weights["bn1/variance"] == 1).all()
    assert not weights["bn1/beta"].any() and not weights["bn1/mean"].any()


def test_logits_are_those_of_numpy_written_out():
    network, _ = KerasBackend().build(replace(SMALL, outputs=3), seed=1)
    draw = np.random.default_rng(2)
    network.set_weights(
        {
            name: draw.uniform(0.1, 0.9, array.shape) - 0.4 * name.endswith("kernel")
            for name, array in network.weights().items()
        }
    )
    w = network.weights()
    images, _ = pictures(3)

    def conv(x, kernel, bias):
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
        return np.maximum(np.einsum("bhwcij,ijcf->bhwf", windows, kernel) + bias, 0)

    def pool(x):
        b, h, w_, c = x.shape
        x = x[:, : h // 2 * 2, : w_ // 2 * 2]
        return x.reshape(b, h // 2, 2, w_ // 2, 2, c).max(axis=(2, 4))

    x = pool(conv(images / 255.0, w["conv1/kernel"], w["conv1/bias"]))
    x = (x - w["bn1/mean"]) / np.sqrt(w["bn1/variance"] + 1e-3) * w["bn1/gamma"] + w["bn1/beta"]
    x = pool(conv(x, w["conv2/kernel"], w["conv2/bias"])).reshape(3, -1)
    (features,) = network.embed([images])
    np.testing.assert_allclose(features, x, rtol=1e-4, atol=1e-5)
    x = np.maximum(x @ w["fc1/kernel"] + w["fc1/bias"], 0)
    (logits,) = network.predict([images])
    np.testing.assert_allclose(
        logits, x @ w["output/kernel"] + w["output/bias"], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    "scaling, expected",
    [
        ("unit", [10 / 255, 20 / 255, 30 / 255]),
        ("signed", [10 / 127.5 - 1, 20 / 127.5 - 1, 30 / 127.5 - 1]),
        (
            "imagenet",
            [(10 / 255 - 0.485) / 0.229, (20 / 255 - 0.456) / 0.224, (30 / 255 - 0.406) / 0.225],
        ),
        ("caffe", [30 - 103.939, 20 - 116.779, 10 - 123.68]),
        ("none", [10, 20, 30]),
    ],
)
def test_scalings_follow_their_definitions(scaling, expected):
    spec = ModelSpec("one", "layers", ("bn",), ("flatten",), 1, 1, 3, 1, scaling, bn_epsilon=1e-9)
    network, _ = KerasBackend().build(spec, seed=0)
    (features,) = network.embed([np.asarray([[[[10, 20, 30]]]], np.uint8)])
    np.testing.assert_allclose(features[0], expected, rtol=1e-4)


# -- what is minimised -----------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.0, 2.0])
@pytest.mark.parametrize("outputs", [1, 3])
def test_loss_is_the_documented_one(gamma, outputs):
    draw = np.random.default_rng(1)
    targets = draw.dirichlet(np.ones(max(outputs, 2)), 4).astype(np.float32)
    weights = draw.uniform(0.5, 2, 4).astype(np.float32)
    scores = draw.normal(size=(4, outputs)).astype(np.float32)
    full = scores if outputs > 1 else np.concatenate([0 * scores, scores], axis=1)
    p = np.exp(full) / np.exp(full).sum(axis=1, keepdims=True)
    expected = (weights * -(targets * (1 - p) ** gamma * np.log(p)).sum(axis=1)).sum() / 9
    got = data_loss(
        tf.constant(scores),
        tf.constant(targets),
        tf.constant(weights),
        tf.constant(9.0),
        Objective(focal_gamma=gamma),
    )
    assert float(got) == pytest.approx(expected, rel=1e-5)


def test_loss_and_gradient_stay_finite_at_certainty():
    for gamma in (0.5, 2.0):
        scores = tf.constant([[200.0], [-200.0]])
        with tf.GradientTape() as tape:
            tape.watch(scores)
            loss = data_loss(
                scores,
                tf.constant([[0.0, 1.0], [0.0, 1.0]]),
                tf.ones(2),
                tf.constant(2.0),
                Objective(focal_gamma=gamma),
            )
        assert np.isfinite(float(loss)) and np.isfinite(tape.gradient(loss, scores).numpy()).all()


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_optimizers_take_pytorchs_steps(name):
    # a head with one feature and no error but a bias: steps worked in float64 beside it
    spec = ModelSpec("one", "layers", ("bn",), ("flatten",), 1, 1, 1, 1)
    network = KerasBackend().build(spec, seed=0)[0].head()
    settings = Optimizer(name, (0.9, 0.99), 1e-3, 0.9, 0.1, clip_norm=0.3)
    network.prepare(Objective(), settings, 0)
    start = network.weights()
    values = [float(start["output/kernel"][0, 0]), 0.0]
    m, v, velocity = np.zeros(2), np.zeros(2), np.zeros(2)
    batch = Batch(
        np.asarray([[2.0]], np.float32), np.asarray([[0, 1]], np.float32), np.ones(1, np.float32), 1
    )
    epoch(network, [batch] * 4, rate=0.1)
    for t in range(1, 5):
        error = 1 / (1 + np.exp(-(2 * values[0] + values[1]))) - 1
        g = np.asarray([2 * error, error])
        g *= min(1, 0.3 / (np.linalg.norm(g) + 1e-6))
        if name == "sgd":
            velocity = 0.9 * velocity + g
            values = values - 0.1 * velocity
            continue
        values = np.asarray(values) * ([0.99, 1] if name == "adamw" else [1, 1])
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2
        values = values - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.99**t)) + 1e-3)
    after = network.weights()
    assert float(after["output/kernel"][0, 0]) == pytest.approx(values[0], rel=1e-5)
    assert float(after["output/bias"][0]) == pytest.approx(values[1], rel=1e-5)


def test_l2_is_minimised_but_not_told():
    images, labels = pictures(16)
    spec = replace(SMALL, head=("flatten", "fc8"))
    told, kernels = [], []
    for l2 in (0.0, 0.5):
        network, _ = KerasBackend().build(spec, seed=0)
        network.prepare(Objective(l2=l2), Optimizer("sgd", momentum=0.0), 0)
        before = network.weights()
        told.append(epoch(network, in_batches(images, labels), rate=0.01)[1])
        kernels.append(network.weights())
    assert told[0] == told[1]
    # the penalty's gradient is 2 l2 w, on hidden dense kernels alone
    np.testing.assert_allclose(
        kernels[0]["fc1/kernel"] - kernels[1]["fc1/kernel"],
        0.01 * 2 * 0.5 * before["fc1/kernel"],
        atol=1e-6,
    )
    np.testing.assert_allclose(kernels[0]["output/kernel"], kernels[1]["output/kernel"], atol=1e-7)


# -- training --------------------------------------------------------------------------------------


def test_it_learns():
    images, labels = pictures(96)
    network, _ = KerasBackend().build(replace(SMALL, bn_momentum=0.9), seed=0)
    network.prepare(Objective(), Optimizer(), 0)
    first, *_, last = [
        epoch(network, in_batches(images, labels), seed=seed)[0].loss for seed in range(12)
    ]
    assert last < first / 2
    (logits,) = network.predict([images])
    assert not logits[:, 0].any() and (logits.argmax(1) == labels).mean() > 0.9


def test_the_same_seed_gives_the_same_bytes_and_another_does_not():
    images, labels = pictures()
    runs = []
    for seed in (5, 5, 6):
        network, _ = KerasBackend().build(SMALL, seed=0)
        network.prepare(Objective(), Optimizer(), 0)
        epoch(network, in_batches(images, labels), seed=seed)
        runs.append(network.weights())
    assert_same(runs[0], runs[1])
    assert (runs[0]["fc1/kernel"] != runs[2]["fc1/kernel"]).any()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_resume_from_an_epoch_is_bitwise_the_run_that_went_on(tmp_path, precision):
    images, labels = pictures(40)
    batches, settings = in_batches(images, labels), Optimizer(precision=precision, clip_norm=1.0)
    straight, _ = KerasBackend().build(SMALL, seed=3)
    straight.prepare(Objective(l2=1e-3), settings, 0)
    epoch(straight, batches, seed=1)
    straight.save(tmp_path / "model", training=True)
    epoch(straight, batches, seed=2)
    resumed = KerasBackend().load(tmp_path / "model", SMALL)
    resumed.prepare(Objective(l2=1e-3), settings, 0)
    resumed.restore(tmp_path / "model")
    epoch(resumed, batches, seed=2)
    assert_same(straight.weights(), resumed.weights())
    np.testing.assert_array_equal(*straight.predict([images]), *resumed.predict([images]))
    straight.save(tmp_path / "model", training=False)
    assert [f.name for f in (tmp_path / "model").iterdir()] == ["model.keras"]
    assert saved_precision(tmp_path / "model" / "model.keras") == precision
    loaded = KerasBackend().load(tmp_path / "model", SMALL)
    np.testing.assert_array_equal(*straight.predict([images]), *loaded.predict([images]))


def test_frozen_stages_stay_and_run_in_inference_mode():
    images, labels = pictures()
    network, _ = KerasBackend().build(SMALL, seed=0)
    network.prepare(Objective(), Optimizer("adamw", weight_decay=0.1), 1)
    before = network.weights()
    epoch(network, in_batches(images, labels))
    after = network.weights()
    still = {n for n in before if (before[n] == after[n]).all()}
    assert {n for n in before if n.split("/")[0] in ("conv1", "bn1")} == still
    trained = sum(after[n].size for n in after if n.split("/")[0] in ("conv2", "fc1", "output"))
    assert network.parameters().trainable == trained
    network.prepare(Objective(), Optimizer(), len(network.stages))
    epoch(network, in_batches(images, labels))
    assert_same(after, network.weights())


def test_training_updates_batchnorm_by_the_given_momentum():
    spec = ModelSpec("one", "layers", ("bn",), ("flatten",), 2, 2, 1, 1, bn_momentum=0.75)
    network, _ = KerasBackend().build(spec, seed=0)
    network.prepare(Objective(), Optimizer(), 0)
    images, labels = pictures(16, shape=(2, 2, 1))
    epoch(network, in_batches(images, labels))
    assert float(network.weights()["bn1/mean"][0]) == pytest.approx(
        0.25 * (images / 255).mean(), rel=1e-4
    )


def test_rates_are_by_stage_and_step():
    images, labels = pictures(32)
    network, _ = KerasBackend().build(SMALL, seed=0)
    network.prepare(Objective(), Optimizer(), 0)
    before = network.weights()
    rates = np.asarray([[0, 0.1, 0], [0, 0, 0]], np.float32)
    network.train_epoch(in_batches(images, labels), rates, seed=0, on_step=lambda s, loss: True)
    after = network.weights()
    moved = {n.split("/")[0] for n in before if (before[n] != after[n]).any()}
    assert moved == {"conv2", "bn1"}  # bn1 by its running statistics alone
    np.testing.assert_array_equal(before["bn1/gamma"], after["bn1/gamma"])


@pytest.mark.parametrize("late, steps", [(1, 3), (10, 10)])
def test_an_epoch_stops_where_on_step_says_so(monkeypatch, late, steps):
    monkeypatch.setattr("medimg_keras.network.STEPS_BETWEEN_LOSSES", late)
    images, labels = pictures(160)
    network, _ = KerasBackend().build(SMALL, seed=0)
    network.prepare(Objective(), Optimizer(), 0)
    result, losses = epoch(network, in_batches(images, labels, size=8), stop_at=2)
    assert (result.stopped, result.steps, result.images) == (True, steps, 8 * steps)
    assert result.loss == pytest.approx(np.mean(losses))
    assert len(losses) == steps  # every step that was made is told


def test_a_smaller_last_batch_is_no_new_graph():
    images, labels = pictures(40)
    network, _ = KerasBackend().build(SMALL, seed=0)
    network.prepare(Objective(), Optimizer(), 0)
    epoch(network, in_batches(images, labels))
    list(network.predict([images[:16], images[:3]]))
    assert network._train_step.experimental_get_tracing_count() == 1
    assert [f.experimental_get_tracing_count() for f in network._traced.values()] == [1]


def test_head_shares_its_weights_and_agrees_with_the_whole(tmp_path):
    images, labels = pictures()
    network, _ = KerasBackend().build(SMALL, seed=0)
    (features,) = network.embed([images])
    head = network.head()
    head.prepare(Objective(), Optimizer(), 0)
    batches = [
        replace(b, images=features[i * 16 : i * 16 + 16])
        for i, b in enumerate(in_batches(images, labels))
    ]
    assert len(head.stages) == 1 and set(head.weights()) == {
        "fc1/kernel",
        "fc1/bias",
        "output/kernel",
        "output/bias",
    }
    epoch(head, batches, seed=4)
    np.testing.assert_allclose(*head.predict([features]), *network.predict([images]), atol=1e-6)
    # training the head on features is training the network with its backbone frozen
    other, _ = KerasBackend().build(SMALL, seed=0)
    other.prepare(Objective(), Optimizer(), len(other.stages) - 1)
    assert other.parameters().trainable == head.parameters().trainable
    head.save(tmp_path, training=True)
    fresh = KerasBackend().build(SMALL, seed=9)[0].head()
    fresh.prepare(Objective(), Optimizer(), 0)
    fresh.restore(tmp_path)
    assert_same(head.weights(), fresh.weights())


def test_resnet_trains_and_frozen_backbone_equals_head_on_features():
    images, labels = pictures(8, classes=3, shape=(16, 16, 3))
    network, _ = KerasBackend().build(RESNET, seed=0)
    (features,) = network.embed([images])
    assert features.shape == (8, 512)
    batch = in_batches(images, labels, classes=3)
    network.prepare(Objective(), Optimizer("sgd"), len(network.stages) - 1)
    _, whole = epoch(network, batch * 3)
    again, _ = KerasBackend().build(RESNET, seed=0)
    head = again.head()
    head.prepare(Objective(), Optimizer("sgd"), 0)
    _, alone = epoch(head, [replace(b, images=features) for b in batch * 3])
    np.testing.assert_allclose(whole, alone, rtol=1e-5)
    network.prepare(Objective(), Optimizer(), 0)
    _, losses = epoch(network, batch * 4, rate=1e-3)
    assert losses[-1] < losses[0]


# -- files and weights -----------------------------------------------------------------------------


def test_keras_itself_reads_the_saved_model_in_safe_mode(tmp_path):
    images, _ = pictures(5)
    network, _ = KerasBackend().build(SMALL, seed=2)
    network.save(tmp_path, training=False)
    alone = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    (logits,) = network.predict([images])
    np.testing.assert_allclose(alone(images, training=False).numpy()[:, 0], logits[:, 1], rtol=1e-5)


def test_caffe_scaling_is_read_back_too(tmp_path):
    spec = replace(SMALL, channels=3, scaling="caffe")
    network, _ = KerasBackend().build(spec, seed=2)
    network.save(tmp_path, training=False)
    images, _ = pictures(2, shape=(14, 14, 3))
    alone = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_allclose(
        alone(images, training=False).numpy()[:, 0],
        next(network.predict([images]))[:, 1],
        rtol=1e-4,
        atol=1e-4,
    )


def test_weights_travel_and_misfits_are_named():
    backend = KerasBackend()
    source, _ = backend.build(SMALL, seed=1)
    target, report = backend.build(SMALL, seed=2, weights=source.weights())
    assert len(report.loaded) == 12 and not report.missing and not report.unexpected
    images, _ = pictures(4)
    np.testing.assert_array_equal(*source.predict([images]), *target.predict([images]))
    report = target.set_weights(
        {"output/kernel": np.zeros((3, 1)), "fc9/bias": np.zeros(1), "fc1/bias": np.zeros(8)}
    )
    assert report.unexpected == ("output/kernel", "fc9/bias")
    assert report.loaded == ("fc1/bias",) and "output/kernel" in report.missing


def test_damaged_and_foreign_files_are_said(tmp_path):
    network, _ = KerasBackend().build(SMALL, seed=0)
    with pytest.raises(BackendError, match="model.keras can't be read"):
        KerasBackend().load(tmp_path, SMALL)
    network.save(tmp_path, training=False)
    with pytest.raises(BackendError, match="can't be read as other"):
        KerasBackend().load(tmp_path, replace(SMALL, name="other", outputs=3))
    file = tmp_path / "model.keras"
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(BackendError, match="model.keras can't be read"):
        KerasBackend().load(tmp_path, SMALL)


def test_another_optimizers_state_is_refused(tmp_path):
    network, _ = KerasBackend().build(SMALL, seed=0)
    network.prepare(Objective(), Optimizer("adam"), 0)
    network.save(tmp_path, training=True)
    network.prepare(Objective(), Optimizer("sgd"), 0)
    with pytest.raises(BackendError, match="not one of sgd"):
        network.restore(tmp_path)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"architecture": "logistic", "name": "logistic"}, "can't build 'logistic'"),
        ({"height": 6, "width": 6}, "6×6"),
        ({"head": ("fc8",)}, "flatten or gap"),
        ({"scaling": "caffe"}, "3 channels"),
        ({"scaling": "z-score"}, "scaling 'z-score'"),
        ({"layers": ("conv4", "norm")}, "layer 'norm'"),
        ({"head": ("flatten", "lstm")}, "head layer 'lstm'"),
    ],
)
def test_what_it_can_not_build_is_refused(change, said):
    with pytest.raises(BackendError, match=said):
        KerasBackend().build(replace(SMALL, **change), seed=0)


def test_wrong_use_is_said():
    network, _ = KerasBackend().build(SMALL, seed=0)
    with pytest.raises(BackendError, match="takes batches of"):
        list(network.predict([np.zeros((1, 7, 7, 1), np.uint8)]))
    with pytest.raises(BackendError, match="float16"):
        network.prepare(Objective(), Optimizer(precision="float16"), 0)
    with pytest.raises(BackendError, match="rmsprop"):
        network.prepare(Objective(), Optimizer("rmsprop"), 0)
    with pytest.raises(BackendError, match="hinge"):
        network.prepare(Objective("hinge"), Optimizer(), 0)


def test_exhausted_memory_says_what_to_lower():
    network, _ = KerasBackend().build(SMALL, seed=0)
    network.prepare(Objective(), Optimizer(), 0)

    def exhausted(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")

    network._train_step = exhausted
    with pytest.raises(BackendError, match="training on a batch of 16×14×14×1") as said:
        epoch(network, in_batches(*pictures(16)))
    assert "--batch-size" in said.value.hint


def test_runtime_says_what_it_runs_on():
    runtime = KerasBackend().runtime()
    assert runtime.version == f"keras {keras.__version__} / tensorflow {tf.__version__}"
    assert runtime.device.startswith(("cpu", "gpu"))
    if not runtime.accelerator and Path("/proc/cpuinfo").exists():
        assert runtime.bfloat16 == ("amx_bf16" in Path("/proc/cpuinfo").read_text())
