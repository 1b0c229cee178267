"""The PyTorch backend against NumPy written out, PyTorch's own layers, and the protocol."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from medimg.api import BackendError, Batch, ModelSpec, Objective, Optimizer
from medimg.manager import plugins
from medimg.testing import BACKEND_CHECKS, Trial, check_backend
from medimg_torch.device import own_draws
from medimg_torch.files import STATE, WEIGHTS
from medimg_torch.layers import BatchNorm
from medimg_torch.networks import assemble
from medimg_torch.objective import data_loss
from medimg_torch.scaling import Scale

SMALL = ModelSpec(
    "small",
    "layers",
    ("conv4", "pool", "bn", "conv6", "pool"),
    ("flatten", "fc8", "dropout0.5"),
    14,
    12,
    1,
    1,
)
RESNET = ModelSpec("resnet18-small", "resnet18-small", (), ("gap",), 8, 8, 3, 3, "unit", 0.9, 1e-5)


def pictures(count=48, classes=2, shape=(14, 12, 1)):
    draw = np.random.default_rng(0)
    labels = np.arange(count) % classes
    images = draw.normal(80, 30, (count, *shape))
    images[:, :5, :5] += 50 * labels[:, None, None, None]
    return images.clip(0, 255).astype(np.uint8), labels


def in_batches(images, labels, size=16, classes=2):
    targets = np.eye(classes, dtype=np.float32)[labels]
    return [
        Batch(
            images[i : i + size],
            targets[i : i + size],
            np.ones(len(images[i : i + size]), np.float32),
            len(images[i : i + size]),
        )
        for i in range(0, len(images), size)
    ]


def epoch(network, batches, rate=0.01, seed=0):
    losses = []
    rates = np.full((len(batches), 1), rate, np.float32)
    network.train_epoch(
        batches, rates, seed=seed, on_step=lambda step, loss: losses.append(loss) or True
    )
    return losses


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


# -- the protocol ----------------------------------------------------------------------------------


def test_it_keeps_the_protocol(backend, tmp_path):
    check_backend(backend, tmp_path)


@pytest.mark.parametrize("promise", ["start", "weights", "loss", "freezing", "head", "resume"])
def test_resnet_keeps_the_protocol(backend, tmp_path, promise):
    BACKEND_CHECKS[promise](Trial(backend, RESNET, tmp_path))


# -- networks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model, total",
    [
        ("cnn2", 10_636_481),
        ("cnn3", 4_828_481),
        ("cnn3bn", 11_169_985),
        ("cnn4gray", 1_033_218),
        ("resnet18-small", None),
    ],
)
def test_parameter_counts_are_the_published_ones(model, total):
    card = plugins().registry().model(model)
    parts = assemble(card.spec(2))
    counted = sum(stage.parameters for stage in parts.stages())
    assert counted == card.parameters["torch"]
    assert total is None or counted == total


def test_resnet18_small_has_resnet18s_layers(backend):
    network, _ = backend.build(RESNET, seed=0)
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


def test_building_leaves_the_callers_random_state(backend):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    backend.build(SMALL, seed=0)
    with own_draws(torch.device("cpu"), 5):
        torch.rand(7)
    assert torch.equal(torch.rand(3), expected)


def test_logits_are_those_of_numpy_written_out(backend):
    network, _ = backend.build(replace(SMALL, outputs=3), seed=1)
    draw = np.random.default_rng(2)
    network.set_weights(
        {
            name: draw.uniform(0.1, 0.9, array.shape).astype("float32") - 0.4 * ("kernel" in name)
            for name, array in network.weights().items()
        }
    )
    w = {name: array.astype(np.float64) for name, array in network.weights().items()}
    images, _ = pictures(3)

    def conv(x, name):
        kernel = w[f"{name}/kernel"]
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))
        return np.maximum(np.einsum("bhwcij,ijco->bhwo", windows, kernel) + w[f"{name}/bias"], 0)

    def pool(x):
        b, h, width, c = x.shape
        x = x[:, : h // 2 * 2, : width // 2 * 2]
        return x.reshape(b, h // 2, 2, width // 2, 2, c).max((2, 4))

    x = pool(conv(images / 255, "conv1"))
    root = np.sqrt(w["bn1/variance"] + 1e-3)
    x = (x - w["bn1/mean"]) / root * w["bn1/gamma"] + w["bn1/beta"]
    x = pool(conv(x, "conv2"))
    features = x.reshape(3, -1)  # in (h, w, C) order
    hidden = np.maximum(features @ w["fc1/kernel"] + w["fc1/bias"], 0)
    logits = hidden @ w["output/kernel"] + w["output/bias"]
    np.testing.assert_allclose(next(network.embed([images])), features, rtol=1e-4)
    np.testing.assert_allclose(next(network.predict([images])), logits, rtol=1e-4)


@pytest.mark.parametrize(
    "scaling, white, red",
    [
        ("unit", (1, 1, 1), (1, 0, 0)),
        ("signed", (1, 1, 1), (1, -1, -1)),
        ("none", (255, 255, 255), (255, 0, 0)),
        # BGR: a red picture's red is the last
        ("caffe", (151.061, 138.221, 131.32), (-103.939, -116.779, 131.32)),
        ("imagenet", (2.2489, 2.4286, 2.64), (2.2489, -2.0357, -1.8044)),
    ],
)
def test_pixels_are_scaled_as_named(scaling, white, red):
    images = torch.tensor([[[[255, 255, 255], [255, 0, 0]]]], dtype=torch.uint8)
    scaled = Scale(scaling)(images)[0, :, 0].T
    np.testing.assert_allclose(scaled, [white, red], atol=1e-3)


def test_pixels_and_weights_lie_channels_last(backend):
    network, _ = backend.build(replace(SMALL, channels=3), seed=0)
    batch = torch.zeros((2, 14, 12, 3), dtype=torch.uint8)
    assert network.parts.scale(batch).is_contiguous(memory_format=torch.channels_last)
    convs = [w.tensor for w in network.parts.weights if w.tensor.dim() == 4]
    assert len(convs) == 2 and all(
        k.is_contiguous(memory_format=torch.channels_last) for k in convs
    )


def test_batchnorm_keeps_the_variance_of_the_batch():
    layer, x = BatchNorm(3, momentum=0.25), torch.randn(2, 3, 2, 1) * 3 + 1
    layer.train()(x)
    values = x.transpose(0, 1).reshape(3, -1).double()
    np.testing.assert_allclose(layer.running_mean, 0.25 * values.mean(1), rtol=1e-5)
    np.testing.assert_allclose(
        layer.running_var, 0.75 + 0.25 * values.var(1, correction=0), rtol=1e-5
    )
    # the output and its gradient are PyTorch's own
    own = torch.nn.BatchNorm2d(3, momentum=0.25).train()
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    torch.sin(layer(one)).sum().backward()
    torch.sin(own(other)).sum().backward()
    torch.testing.assert_close(one.grad, other.grad)


def test_batchnorm_takes_a_single_value():
    layer = BatchNorm(2, momentum=0.25).train()
    answer = layer(torch.tensor([3.0, -1.0]).view(1, 2, 1, 1))
    assert answer.shape == (1, 2, 1, 1) and answer.abs().max() < 1e-3
    assert layer.running_mean.tolist() == [0.75, -0.25]
    assert layer.running_var.tolist() == [0.75, 0.75]


# -- loss and optimizers ---------------------------------------------------------------------------


def test_one_sigmoid_loss_is_pytorchs_own():
    draw = np.random.default_rng(0)
    z, p = draw.normal(0, 3, (9, 1)), draw.uniform(0, 1, (9, 1))
    scores = torch.tensor(z, dtype=torch.float32)
    targets = torch.tensor(np.concatenate([1 - p, p], 1), dtype=torch.float32)
    weights = torch.rand(9)
    own = torch.nn.functional.binary_cross_entropy_with_logits(
        scores[:, 0], targets[:, 1], weights, reduction="sum"
    )
    torch.testing.assert_close(data_loss(scores, targets, weights, 4, Objective()), own / 4)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_the_focal_gradient_stays_finite_where_the_network_is_sure(outputs, gamma):
    scores = torch.full((2, outputs), -60.0)
    scores[:, -1] = 60.0
    scores.requires_grad_()
    targets = torch.eye(max(outputs, 2))[[0, -1]]
    loss = data_loss(scores, targets, torch.ones(2), 2, Objective(focal_gamma=gamma))
    loss.backward()
    assert torch.isfinite(scores.grad).all() and loss.item() > 10


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_steps_are_those_written_out(backend, name):
    """One weight and its bias, on a picture of one white pixel."""
    spec = ModelSpec("one", "layers", ("bn",), ("flatten",), 1, 1, 1, 1, bn_epsilon=1e-12)
    network, _ = backend.build(spec, seed=0)
    network.set_weights({"output/kernel": np.full((1, 1), 2.0), "output/bias": np.ones(1)})
    white, black = np.full((1, 1, 1, 1), 255, np.uint8), np.asarray([[0, 1]], np.float32)
    batch = Batch(white, black, np.ones(1, np.float32), 1)
    optimizer = Optimizer(name, (0.9, 0.99), 1e-3, 0.9, weight_decay=0.1, clip_norm=0.03)
    network.prepare(Objective(), optimizer, 1)
    epoch(network, [batch] * 3, rate=0.1)
    values, velocity, m, v = np.asarray([2.0, 1.0]), 0.0, 0.0, 0.0
    for t in (1, 2, 3):
        error = 1 / (1 + np.exp(-values.sum())) - 1
        g = np.asarray([error, error])
        g = g * min(1, 0.03 / (np.linalg.norm(g) + 1e-6))
        if name == "sgd":
            velocity = 0.9 * velocity + g
            values = values - 0.1 * velocity
            continue
        values = values * ([0.99, 1] if name == "adamw" else [1, 1])
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2
        values = values - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.99**t)) + 1e-3)
    after = network.weights()
    assert float(after["output/kernel"][0, 0]) == pytest.approx(values[0], rel=1e-5)
    assert float(after["output/bias"][0]) == pytest.approx(values[1], rel=1e-5)


# -- training --------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"precision": "bfloat16"}, {"name": "sgd"}])
def test_other_precisions_and_optimizers_resume_bitwise_too(backend, tmp_path, settings):
    batches = in_batches(*pictures())
    straight, _ = backend.build(SMALL, seed=0)
    straight.prepare(Objective(), Optimizer(**settings), 1)
    epoch(straight, batches, seed=1)
    straight.save(tmp_path, training=True)
    resumed = backend.load(tmp_path, SMALL)
    resumed.prepare(Objective(), Optimizer(**settings), 1)
    resumed.restore(tmp_path)
    for network in (straight, resumed):
        epoch(network, batches, seed=2)
    assert_same(straight.weights(), resumed.weights())


def test_bfloat16_learns_stays_float32_outside_and_is_remembered(backend, tmp_path):
    images, labels = pictures()
    network, _ = backend.build(SMALL, seed=0)
    network.prepare(Objective(), Optimizer(precision="bfloat16"), 0)
    losses = [np.mean(epoch(network, in_batches(images, labels), seed=s)) for s in range(12)]
    assert losses[-1] < losses[0] / 2
    assert {array.dtype for array in network.weights().values()} == {np.dtype(np.float32)}
    (rough,) = network.predict([images])
    network.save(tmp_path, training=False)
    loaded = backend.load(tmp_path, SMALL)
    np.testing.assert_array_equal(rough, *loaded.predict([images]))
    loaded.compute_in("float32")
    (fine,) = loaded.predict([images])
    assert rough.dtype == np.float32 and 0 < np.abs(rough - fine).max() < 0.1


def test_training_restores_the_callers_random_state(backend):
    network, _ = backend.build(SMALL, seed=0)
    network.prepare(Objective(), Optimizer(), 0)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    epoch(network, in_batches(*pictures()))
    assert torch.equal(torch.rand(2), expected)


def test_a_last_batch_of_one_image_trains(backend):
    network, _ = backend.build(RESNET, seed=0)
    network.prepare(Objective(), Optimizer(), 0)
    images, labels = pictures(3, 3, (8, 8, 3))
    losses = epoch(network, in_batches(images, labels, 2, classes=3), rate=1e-4)
    assert len(losses) == 2 and np.isfinite(losses).all()


def test_results_can_be_used_outside_inference_mode(backend):
    network, _ = backend.build(SMALL, seed=0)
    for _ in network.predict([pictures(2)[0]]):
        assert not torch.is_inference_mode_enabled()
        torch.ones(1, requires_grad=True).sum().backward()


def test_read_only_and_strided_batches_are_taken(backend):
    network, _ = backend.build(SMALL, seed=0)
    images, _ = pictures(4)
    (expected,) = network.predict([images])
    images.flags.writeable = False
    np.testing.assert_array_equal(expected, *network.predict([images]))
    np.testing.assert_array_equal(expected[::-1], *network.predict([images[::-1]]))


# -- files -----------------------------------------------------------------------------------------


def test_the_file_is_read_without_torch_under_neutral_names(backend, tmp_path):
    network, _ = backend.build(SMALL, seed=0)
    network.save(tmp_path, training=True)
    assert [file.name for file in tmp_path.iterdir()] == [WEIGHTS]  # nothing was prepared
    assert_same(network.weights(), load_file(tmp_path / WEIGHTS))


def test_damaged_and_foreign_files_are_said(backend, tmp_path):
    network, _ = backend.build(SMALL, seed=0)
    network.save(tmp_path, training=False)
    with pytest.raises(BackendError, match="another model than other: output"):
        backend.load(tmp_path, replace(SMALL, name="other", outputs=3))
    file = tmp_path / WEIGHTS
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(BackendError, match=r"weights.safetensors can't be read"):
        backend.load(tmp_path, SMALL)


def test_another_optimizers_state_is_refused(backend, tmp_path):
    network, _ = backend.build(SMALL, seed=0)
    network.prepare(Objective(), Optimizer("adam"), 0)
    epoch(network, in_batches(*pictures()))
    network.save(tmp_path, training=True)
    assert (tmp_path / STATE).exists()
    for optimizer, trainable_from in ((Optimizer("sgd"), 0), (Optimizer("adam"), 1)):
        network.prepare(Objective(), optimizer, trainable_from)
        with pytest.raises(BackendError, match=f"not one of {optimizer.name}"):
            network.restore(tmp_path)


def test_a_file_that_can_not_be_written_is_an_oserror_with_its_number(backend, tmp_path):
    resource = pytest.importorskip("resource", reason="this system has no limits on files")
    network, _ = backend.build(SMALL, seed=0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError) as said:
            network.save(tmp_path, training=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert said.value.errno == errno.EFBIG


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, said",
    [
        ({"architecture": "logistic", "name": "logistic"}, "can't build 'logistic'"),
        ({"height": 6, "width": 6}, "6×6"),
        ({"layers": ("conv4", "lrn")}, "layer 'lrn'"),
        ({"head": ("fc8",)}, "flatten or gap"),
        ({"head": ("flatten", "attention")}, "head layer 'attention'"),
        ({"scaling": "caffe"}, "3 channels"),
        ({"scaling": "log"}, "scaling 'log'"),
    ],
)
def test_what_it_can_not_build_is_refused(backend, change, said):
    with pytest.raises(BackendError, match=said):
        backend.build(replace(SMALL, **change), seed=0)


def test_wrong_use_is_said(backend):
    network, _ = backend.build(SMALL, seed=0)
    with pytest.raises(BackendError, match="takes batches of"):
        list(network.predict([np.zeros((1, 7, 7, 1), np.uint8)]))
    with pytest.raises(BackendError, match="not prepared"):
        epoch(network, [])
    with pytest.raises(BackendError, match="float16"):
        network.prepare(Objective(), Optimizer(precision="float16"), 0)
    with pytest.raises(BackendError, match="hinge"):
        network.prepare(Objective("hinge"), Optimizer(), 0)


def test_exhausted_memory_says_what_to_lower(backend, monkeypatch):
    network, _ = backend.build(SMALL, seed=0)
    network.prepare(Objective(), Optimizer(), 0)

    def exhausted(*_):
        # a petabyte: the CPU's allocator refuses it itself
        return torch.empty(2**50, dtype=torch.uint8)

    monkeypatch.setattr(network, "_forward", exhausted)
    with pytest.raises(
        BackendError, match="out of memory training on a batch of 16×14×12×1"
    ) as said:
        epoch(network, in_batches(*pictures(16)))
    assert "--batch-size" in said.value.hint


def test_runtime_says_what_it_runs_on(backend):
    runtime = backend.runtime()
    assert runtime.version == f"torch {torch.__version__}"
    if not runtime.accelerator:
        assert runtime.device == "cpu (1 thread)"
        if Path("/proc/cpuinfo").exists():
            assert runtime.bfloat16 == ("amx_bf16" in Path("/proc/cpuinfo").read_text())
