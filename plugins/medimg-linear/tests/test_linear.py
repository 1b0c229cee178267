"""The linear backend against scikit-learn, numerical gradients and its own protocol."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import medimg_linear
from medimg.api import BackendError, Batch, ModelSpec, Objective, Optimizer
from medimg.testing import check_backend, check_plugin
from medimg_linear.engine import LinearBackend
from medimg_linear.network import Logistic, Standardiser, scaled
from medimg_linear.objective import loss_and_gradient
from medimg_linear.optimizers import Stepper

SPEC = ModelSpec("logistic", "logistic", (), ("flatten",), 6, 5, 1, 1)


def batch_of(images, labels, classes=2, weights=None):
    targets = np.eye(classes, dtype=np.float32)[labels]
    weights = np.ones(len(labels), np.float32) if weights is None else weights
    return Batch(images, targets, weights, len(labels))


def pictures(count=200, classes=2, seed=0, shape=(6, 5, 1)):
    """Noise whose brightness in one corner depends on the class, with overlap."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, count)
    images = draw.normal(110, 40, (count, *shape))
    images[:, :2, :2] += 25 * labels[:, None, None, None]
    return images.clip(0, 255).astype(np.uint8), labels


def epoch(network, batches, rate=0.01, seed=0, stop_at=None):
    losses = []

    def on_step(step, loss):
        assert step == len(losses)
        losses.append(loss)
        return step != stop_at

    result = network.train_epoch(
        iter(batches), np.full((len(batches), 1), rate, np.float32), seed=seed, on_step=on_step
    )
    return result, losses


def in_batches(images, labels, size=32, classes=2):
    return [
        batch_of(images[i : i + size], labels[i : i + size], classes)
        for i in range(0, len(images), size)
    ]


def test_the_backend_keeps_the_protocol(tmp_path):
    check_backend(LinearBackend(), tmp_path)


def test_the_plugin_offers_what_it_says():
    check_plugin(medimg_linear)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("outputs", [1, 3])
def test_gradient_is_that_of_the_loss(gamma, outputs):
    draw = np.random.default_rng(1)
    classes = max(outputs, 2)
    targets = draw.dirichlet(np.ones(classes), 4).astype(np.float32)
    batch = Batch(np.zeros(1), targets, draw.uniform(0.5, 2, 4).astype(np.float32), 9)
    scores = draw.normal(size=(4, outputs))
    _, gradient = loss_and_gradient(scores, batch, Objective(focal_gamma=gamma))
    numeric = np.empty_like(scores)
    for place in np.ndindex(scores.shape):
        nudge = np.zeros_like(scores)
        nudge[place] = 1e-5
        up, _ = loss_and_gradient(scores + nudge, batch, Objective(focal_gamma=gamma))
        down, _ = loss_and_gradient(scores - nudge, batch, Objective(focal_gamma=gamma))
        numeric[place] = (up - down) / 2e-5
    np.testing.assert_allclose(gradient, numeric, atol=1e-6)


def test_loss_counts_weights_over_the_global_size():
    batch = Batch(
        np.zeros(1), np.asarray([[0, 1], [1, 0]], np.float32), np.asarray([3, 1], np.float32), 10
    )
    loss, _ = loss_and_gradient(np.asarray([[0.0], [0.0]], np.float32), batch, Objective())
    assert loss == pytest.approx(4 * np.log(2) / 10)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_optimizers_take_pytorchs_steps(name):
    # worked by hand in float64: two steps with gradients 0.5 and -1 from 1.0
    settings = Optimizer(name, (0.9, 0.99), 1e-3, 0.9, 0.1)
    parameter = np.asarray([1.0], np.float32)
    stepper = Stepper(settings, {"output/kernel": parameter})
    value, m, v, velocity = 1.0, 0.0, 0.0, 0.0
    for t, gradient in enumerate((0.5, -1.0), start=1):
        stepper.step({"output/kernel": np.asarray([gradient], np.float32)}, 0.1)
        if name == "sgd":
            velocity = 0.9 * velocity + gradient
            value -= 0.1 * velocity
            continue
        value *= 1 - 0.1 * 0.1 if name == "adamw" else 1
        m, v = 0.9 * m + 0.1 * gradient, 0.99 * v + 0.01 * gradient**2
        value -= 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.99**t)) + 1e-3)
    assert parameter[0] == pytest.approx(value, rel=1e-5)


def test_clipping_is_global():
    kernel, bias = np.zeros(2, np.float32), np.zeros(1, np.float32)
    stepper = Stepper(Optimizer("sgd", momentum=0, clip_norm=1.0), {"kernel": kernel, "bias": bias})
    stepper.step(
        {"kernel": np.asarray([3, 0], np.float32), "bias": np.asarray([4], np.float32)}, 1.0
    )
    np.testing.assert_allclose([*kernel, *bias], [-0.6, 0, -0.8], rtol=1e-5)


def test_converges_to_scikit_learns_logistic_regression():
    images, labels = pictures(400)
    network, _ = LinearBackend().build(SPEC, seed=0)
    network.prepare(Objective(), Optimizer("adam"), 0)
    for number in range(800):
        epoch(network, [batch_of(images, labels)], 0.05 * 0.99**number)
    features = np.concatenate(list(network.embed([images])))
    reference = LogisticRegression(C=np.inf, max_iter=5000, tol=1e-10).fit(
        features.astype(float), labels
    )
    (logits,) = network.predict([images])
    assert not logits[:, 0].any()
    np.testing.assert_allclose(logits[:, 1], reference.decision_function(features), atol=0.005)


def test_statistics_come_from_the_first_images_and_stay():
    images, labels = pictures(1500)
    network, _ = LinearBackend().build(SPEC, seed=0)
    network.prepare(Objective(), Optimizer(), 0)
    epoch(network, in_batches(images, labels))
    first = images[:1024].reshape(1024, -1) / 255
    np.testing.assert_allclose(network.weights()["bn1/mean"], first.mean(0), atol=1e-5)
    np.testing.assert_allclose(network.weights()["bn1/variance"], first.var(0), atol=1e-5)
    before = network.weights()["bn1/mean"]
    epoch(network, in_batches(255 - images, labels))
    np.testing.assert_array_equal(network.weights()["bn1/mean"], before)
    (features,) = network.embed([images[:1024]])
    assert abs(features.mean(0)).max() < 1e-4 and features.std() == pytest.approx(1, abs=0.05)


def test_frozen_standardiser_takes_no_statistics_and_frozen_all_trains_nothing():
    images, labels = pictures()
    network, _ = LinearBackend().build(SPEC, seed=0)
    network.prepare(Objective(), Optimizer(), 1)
    start = network.weights()
    epoch(network, in_batches(images, labels))
    after = network.weights()
    np.testing.assert_array_equal(after["bn1/mean"], start["bn1/mean"])
    assert (after["output/kernel"] != start["output/kernel"]).any()
    assert network.parameters().trainable == 31
    network.prepare(Objective(), Optimizer(), 2)
    epoch(network, in_batches(images, labels))
    np.testing.assert_array_equal(network.weights()["output/kernel"], after["output/kernel"])
    assert network.parameters().trainable == 0


def test_an_epoch_stops_where_on_step_says_so():
    images, labels = pictures()
    network, _ = LinearBackend().build(SPEC, seed=0)
    network.prepare(Objective(), Optimizer(), 0)
    result, losses = epoch(network, in_batches(images, labels), stop_at=2)
    assert (result.stopped, result.steps, result.images, len(losses)) == (True, 3, 96, 3)
    assert result.loss == pytest.approx(np.mean(losses))


def test_resume_from_an_epoch_is_bitwise_the_run_that_went_on(tmp_path):
    images, labels = pictures()
    batches = in_batches(images, labels)
    straight, _ = LinearBackend().build(SPEC, seed=3)
    straight.prepare(Objective(), Optimizer(), 0)
    epoch(straight, batches)
    straight.save(tmp_path / "model", training=True)
    epoch(straight, batches)
    resumed = LinearBackend().load(tmp_path / "model", SPEC)
    resumed.prepare(Objective(), Optimizer(), 0)
    resumed.restore(tmp_path / "model")
    epoch(resumed, batches)
    for name, array in straight.weights().items():
        np.testing.assert_array_equal(resumed.weights()[name], array)
    straight.save(tmp_path / "model", training=False)
    assert [f.name for f in (tmp_path / "model").iterdir()] == ["weights.npz"]


def test_head_shares_the_classifier_and_trains_on_features():
    images, labels = pictures()
    network, _ = LinearBackend().build(SPEC, seed=0)
    network.prepare(Objective(), Optimizer(), 0)
    epoch(network, in_batches(images, labels))
    (features,) = network.embed([images])
    head = network.head()
    head.prepare(Objective(), Optimizer(), 0)
    _, losses = epoch(head, [batch_of(features, labels)] * 5)
    assert losses[-1] < losses[0]
    np.testing.assert_array_equal(*head.predict([features]), *network.predict([images]))


def test_weights_travel_and_misfits_are_named():
    backend = LinearBackend()
    source, _ = backend.build(SPEC, seed=1)
    target, report = backend.build(SPEC, seed=2, weights=source.weights())
    assert not report.missing and not report.unexpected
    images, _ = pictures(8)
    np.testing.assert_array_equal(*source.predict([images]), *target.predict([images]))
    report = target.set_weights({"output/kernel": np.zeros((3, 1)), "fc1/bias": np.zeros(1)})
    assert "output/kernel" in report.missing
    assert report.unexpected == ("output/kernel", "fc1/bias") and not report.loaded


def test_counts_and_initial_weights():
    network, _ = LinearBackend().build(replace(SPEC, outputs=3), seed=5)
    counts = network.parameters()
    assert (counts.total, counts.trainable) == (30 * 3 + 3 + 2 * 30, 93)
    limit = np.sqrt(6 / 33)
    drawn = np.random.default_rng(5).uniform(-limit, limit, (30, 3)).astype("float32")
    np.testing.assert_array_equal(network.weights()["output/kernel"], drawn)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"architecture": "layers", "name": "cnn3"}, "can't build 'cnn3'"),
        ({"head": ("flatten", "fc128")}, "layers"),
        ({"scaling": "caffe"}, "3 channels"),
        ({"scaling": "z-score"}, "scaling 'z-score'"),
    ],
)
def test_what_is_not_linear_is_refused(change, said):
    with pytest.raises(BackendError, match=said):
        LinearBackend().build(replace(SPEC, **change), seed=0)


def test_wrong_use_is_said(tmp_path):
    network, _ = LinearBackend().build(SPEC, seed=0)
    with pytest.raises(BackendError, match="float32"):
        network.prepare(Objective(), Optimizer(precision="bfloat16"), 0)
    with pytest.raises(BackendError, match="rmsprop"):
        network.prepare(Objective(), Optimizer("rmsprop"), 0)
    with pytest.raises(BackendError, match="takes images of"):
        list(network.predict([np.zeros((1, 7, 7, 1), np.uint8)]))
    (tmp_path / "weights.npz").write_bytes(b"PK not an archive")
    with pytest.raises(BackendError, match="weights.npz can't be read"):
        network.restore(tmp_path)


def test_scalings_follow_their_definitions():
    image = np.asarray([[[[10, 20, 30]]]], np.uint8)
    np.testing.assert_allclose(
        scaled(image, "signed")[0, 0, 0],
        [10 / 127.5 - 1, 20 / 127.5 - 1, 30 / 127.5 - 1],
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        scaled(image, "caffe")[0, 0, 0], [30 - 103.939, 20 - 116.779, 10 - 123.68], rtol=1e-5
    )
    np.testing.assert_allclose(
        scaled(image, "imagenet")[0, 0, 0, 0], (10 / 255 - 0.485) / 0.229, rtol=1e-5
    )


def test_a_constant_pixel_does_not_blow_up():
    standardiser = Standardiser(SPEC)
    standardiser.fit(np.full((10, 6, 5, 1), 7, np.uint8))
    assert abs(standardiser.apply(np.full((1, 6, 5, 1), 8, np.uint8))).max() < 0.2


def test_network_type_is_the_protocols():
    from medimg.core.types import Network

    network, _ = LinearBackend().build(SPEC, seed=0)
    assert isinstance(network, Logistic)
    assert all(hasattr(network, name) for name in dir(Network) if not name.startswith("_"))


def test_naming_the_plugin_imports_no_numpy():
    code = "import sys, medimg_linear; print(sorted({'numpy', 'threadpoolctl'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_card_counts_what_the_network_holds():
    from medimg.core.registry import load_registry

    file = Path(medimg_linear.__file__).parent / "registry.yaml"
    card = load_registry([("linear", file)]).models["logistic"]
    network, _ = LinearBackend().build(card.spec(classes=2), seed=0)
    assert network.parameters().total == card.parameters["linear"]
    colour, _ = LinearBackend().build(card.spec(classes=4, size=20, channels=3), seed=0)
    assert colour.parameters().trainable == 20 * 20 * 3 * 4 + 4
