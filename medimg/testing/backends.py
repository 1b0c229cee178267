"""Holds a backend and its networks to the protocol, one promise a function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medimg.api import Backend, BackendError, Batch, ModelSpec, Network, Objective, Optimizer
from medimg.testing._raised import raised

Arrays = Mapping[str, np.ndarray]
SIDE_PX = 14
# what check_backend builds of each architecture; others are given to it
SPECS = {
    "layers": ModelSpec(
        "check",
        "layers",
        ("conv4", "pool", "bn", "conv6", "pool"),
        ("flatten", "fc8", "dropout0.5"),
        SIDE_PX,
        SIDE_PX,
        1,
        1,
    ),
    "logistic": ModelSpec("check", "logistic", (), ("flatten",), SIDE_PX, SIDE_PX, 1, 1),
}
MOST_STEPS_LATE = 10


@dataclass(frozen=True)
class Trial:
    """One network description on one backend, with toy pictures that it can tell apart."""

    backend: Backend
    spec: ModelSpec
    folder: Path

    @property
    def classes(self) -> int:
        return max(self.spec.outputs, 2)

    @property
    def plain(self) -> Trial:
        """The same without BatchNorm and dropout, so that training and inference agree."""
        layers = tuple(layer for layer in self.spec.layers if layer != "bn")
        head = tuple(layer for layer in self.spec.head if not layer.startswith("dropout"))
        return replace(self, spec=replace(self.spec, layers=layers, head=head))

    def build(self, seed: int = 0) -> Network:
        return self.backend.build(self.spec, seed)[0]

    def pictures(self, count: int = 48) -> tuple[np.ndarray, np.ndarray]:
        """Images UInt8[N, H, W, C] and labels Int[N]: a class is a corner's brightness."""
        draw = np.random.default_rng(0)
        labels = np.arange(count) % self.classes
        shape = (count, self.spec.height, self.spec.width, self.spec.channels)
        images = draw.normal(60, 20, shape)
        rows, columns = self.spec.height // 2, self.spec.width // 2
        images[:, :rows, :columns] += (150 / self.classes * labels)[:, None, None, None]
        return images.clip(0, 255).astype(np.uint8), labels

    def batches(self, size: int = 16, count: int = 48) -> list[Batch]:
        images, labels = self.pictures(count)
        targets = np.eye(self.classes, dtype=np.float32)[labels]
        return [
            Batch(
                images[i : i + size],
                targets[i : i + size],
                np.ones(len(images[i : i + size]), np.float32),
                len(images[i : i + size]),
            )
            for i in range(0, count, size)
        ]


def check_backend(
    backend: Backend, tmp_path: Path, specs: Sequence[ModelSpec] | None = None
) -> None:
    """Holds a backend to the protocol of `medimg.api.Backend` and `Network`.

    Args:
        backend: to be checked; on the CPU where it can be had, for some promises are bitwise.
        tmp_path: an empty folder for saved networks.
        specs: networks to build; default small ones of the architectures `layers` and
            `logistic`, where the backend has them, with one output and with three. Dropout has
            to stand in a spec's head, and nowhere else, where its backend draws any.

    Raises:
        AssertionError: a promise is broken.
    """
    offered = backend.architectures()
    assert offered and all(isinstance(name, str) for name in offered), (
        f"architectures() must name what the backend builds, not {offered!r}"
    )
    check_runtime(backend)
    check_unknown_is_refused(backend)
    if specs is None:
        known = [SPECS[name] for name in offered if name in SPECS]
        assert known, f"none of {offered} is known to this kit: give specs=[ModelSpec(...)]"
        specs = [replace(spec, outputs=outputs) for spec in known for outputs in (1, 3)]
    for number, spec in enumerate(specs):
        for name, check in BACKEND_CHECKS.items():
            folder = tmp_path / f"{number}-{name}"
            folder.mkdir(parents=True)
            check(Trial(backend, spec, folder))


def check_runtime(backend: Backend) -> None:
    """runtime() names framework, version and device."""
    runtime = backend.runtime()
    for field in ("name", "version", "device", "precision"):
        value = getattr(runtime, field)
        assert isinstance(value, str) and value, f"runtime().{field} is {value!r}, not a text"
    assert 0 <= runtime.rank < runtime.world_size, (
        f"runtime() says rank {runtime.rank} of {runtime.world_size} processes"
    )


def check_unknown_is_refused(backend: Backend) -> None:
    """A model that the backend can't build is a BackendError, which a user can read."""
    spec = ModelSpec("nonsense", "no-such-architecture", (), ("flatten",), 8, 8, 1, 1)
    error = raised(lambda: backend.build(spec, 0))
    assert isinstance(error, BackendError), (
        f"build() of an unknown architecture must raise BackendError, not {error!r}"
    )


def check_start(trial: Trial) -> None:
    """Initial weights are the shared draws: see `Backend.build`."""
    one, again = trial.build(seed=5).weights(), trial.build(seed=5).weights()
    assert_same(one, again, "two networks built from seed 5")
    draws = np.random.default_rng(5)
    for name, array in one.items():
        assert array.dtype == np.float32, f"weights()[{name!r}] is {array.dtype}, not float32"
        if name.endswith("/kernel"):
            *field, fan_in, fan_out = array.shape
            limit = np.sqrt(6 / (np.prod(field, dtype=int) * (fan_in + fan_out)))
            expected = draws.uniform(-limit, limit, array.shape).astype("float32")
        else:
            expected = np.full(array.shape, float(name.endswith(("/gamma", "/variance"))))
        assert np.array_equal(array, expected), (
            f"{name} does not start as Backend.build says (kernels are drawn in the order of "
            "weights(), in the neutral shape)"
        )
    other = trial.build(seed=6).weights()
    assert differs(one, other), "seeds 5 and 6 give the same weights"


def check_counts(trial: Trial) -> None:
    """parameters(), stages and weights() count alike."""
    network = trial.build()
    sizes = sum(array.size for array in network.weights().values())
    counts = network.parameters()
    assert counts.total == sizes, f"parameters().total is {counts.total}, weights() hold {sizes}"
    staged = sum(stage.parameters for stage in network.stages)
    assert staged == sizes, f"the stages hold {staged} parameters, weights() {sizes}"
    assert network.spec == trial.spec, "network.spec is not what it was built from"
    network.prepare(Objective(), Optimizer(), len(network.stages) - 1)
    trainable = network.parameters().trainable
    assert trainable == network.stages[-1].parameters, (
        f"with the backbone frozen {trainable} parameters are trainable, "
        f"the last stage has {network.stages[-1].parameters}"
    )


def check_logits(trial: Trial) -> None:
    """predict() streams Float32[B, K]; one sigmoid logit is (0, z); batches don't matter."""
    network = trial.build(seed=1)
    images, _ = trial.pictures(12)
    asked: list[int] = []

    def stream() -> Iterator[np.ndarray]:
        for start in (0, 4, 8):
            asked.append(start)
            yield images[start : start + 4]

    answers = iter(network.predict(stream()))
    first = next(answers)
    assert len(asked) < 3, "predict() reads all batches before it answers the first"
    logits = np.concatenate([first, *answers])
    assert isinstance(first, np.ndarray) and logits.dtype == np.float32, (
        f"predict() must give NumPy float32, not {type(first).__name__} {logits.dtype}"
    )
    assert logits.shape == (12, trial.classes), (
        f"predict() gives {logits.shape} for 12 images of {trial.classes} classes"
    )
    assert np.isfinite(logits).all(), "predict() gives numbers that are not finite"
    if trial.spec.outputs == 1:
        assert not logits[:, 0].any(), "one sigmoid logit z must be given as (0, z)"
    assert_close(one_of(network.predict([images])), logits, "predict() in one batch and in three")


def check_weights_travel(trial: Trial) -> None:
    """weights() are copies, set_weights() takes them, and a LoadReport names the misfits."""
    source, target = trial.build(seed=1), trial.build(seed=2)
    given = source.weights()
    report = target.set_weights(given)
    assert set(report.loaded) == set(given) and not report.missing and not report.unexpected, (
        f"set_weights(weights()) of the same network reports {report}"
    )
    assert_same(given, target.weights(), "weights that were set and weights that are")
    images, _ = trial.pictures(6)
    assert_same_answers(source, target, images, "equal weights give other logits")
    taken = target.weights()
    for array in taken.values():
        array += 1
    assert_same(given, target.weights(), "weights() before and after a copy of them was changed")
    check_load_report(trial, given)
    built, report = trial.backend.build(trial.spec, 9, weights=given)
    assert set(report.loaded) == set(given), f"build(weights=...) reports {report}"
    assert_same(given, built.weights(), "weights given to build() and those of the network")


def check_load_report(trial: Trial, given: Arrays) -> None:
    """One weight missing, one of another shape, one unknown."""
    name, lost = list(given)[-1], list(given)[0]
    odd = {n: a for n, a in given.items() if n not in (name, lost)}
    odd |= {name: np.zeros((1, 2, 3), np.float32), "stranger/kernel": np.zeros(2, np.float32)}
    network = trial.build(seed=3)
    before = network.weights()
    report = network.set_weights(odd)
    assert set(report.missing) == {name, lost}, (
        f"{lost} was not given and {name} has another shape, but missing is {report.missing}"
    )
    assert "stranger/kernel" in report.unexpected, (
        f"stranger/kernel is unknown, but unexpected is {report.unexpected}"
    )
    after = network.weights()
    for kept in (name, lost):
        assert np.array_equal(before[kept], after[kept]), f"{kept} changed, though nothing fitted"


def check_learning(trial: Trial) -> None:
    """Training on pictures that are easy to tell apart lowers the loss, and is repeatable."""
    ends, weights = [], []
    for seed in (0, 0):
        network = trial.build()
        network.prepare(Objective(), Optimizer(), 0)
        losses = [epoch(network, trial.batches(), 0.01, seed + n)[0].loss for n in range(10)]
        assert losses[-1] < 0.7 * losses[0], (
            f"ten epochs took the loss from {losses[0]:.3f} to {losses[-1]:.3f} only"
        )
        ends.append(losses)
        weights.append(network.weights())
    assert ends[0] == ends[1], "the same seeds give other losses"
    assert_same(weights[0], weights[1], "two trainings with the same seeds")
    if any(layer.startswith("dropout") for layer in trial.spec.head):
        network = trial.build()
        network.prepare(Objective(), Optimizer(), 0)
        other = epoch(network, trial.batches(), 0.01, 1)[0].loss
        assert other != ends[0][0], "dropout does not depend on the epoch's seed"


def check_steps(trial: Trial) -> None:
    """on_step is told every step once, in order; False stops; the result adds up."""
    network = trial.build()
    network.prepare(Objective(), Optimizer(), 0)
    batches = trial.batches(size=5, count=48)
    result, losses = epoch(network, batches, 0.001)
    assert len(losses) == result.steps == len(batches), (
        f"{len(batches)} batches, {len(losses)} calls of on_step, {result.steps} steps in the "
        "result"
    )
    assert result.images == 48 and not result.stopped, f"48 images were given: {result}"
    sizes = [b.global_size for b in batches]
    mean = float(np.average(losses, weights=sizes))
    assert np.isclose(result.loss, mean, rtol=1e-4), (
        f"the epoch's loss is {result.loss}, the mean over its images {mean}"
    )
    many = trial.batches(size=2)
    result, losses = epoch(network, many, 0.001, stop_at=1)
    assert result.stopped, "on_step answered False, but the result is not stopped"
    assert 2 <= result.steps == len(losses) <= 2 + MOST_STEPS_LATE, (
        f"on_step answered False at step 1; {result.steps} steps were made, {len(losses)} told"
    )


def check_loss(trial: Trial) -> None:
    """The loss is sum(w * l) / global_size over soft targets, in its focal form too."""
    trial = trial.plain
    draw = np.random.default_rng(3)
    images, _ = trial.pictures(8)
    targets = draw.dirichlet(np.ones(trial.classes), 8).astype(np.float32)
    batch = Batch(images, targets, draw.uniform(0.2, 3, 8).astype(np.float32), 11)
    for gamma in (0.0, 2.0):
        network = trial.build()
        # below the head everything is in inference mode, as in predict()
        network.prepare(Objective(focal_gamma=gamma), Optimizer(), len(network.stages) - 1)
        expected = loss_of(one_of(network.predict([images])), batch, gamma)
        _, (told,) = epoch(network, [batch], 0.0)
        assert np.isclose(told, expected, rtol=1e-4), (
            f"the loss told is {told}, sum(w * l) / global_size is {expected} "
            f"(focal_gamma {gamma:g})"
        )


def loss_of(logits: np.ndarray, batch: Batch, gamma: float) -> float:
    """sum_i w_i * -sum_k t_k (1 - p_k)^gamma log p_k over global_size, in float64."""
    wide = logits.astype(np.float64)
    log_p = wide - np.logaddexp.reduce(wide, axis=1, keepdims=True)
    losses = -(batch.targets * (1 - np.exp(log_p)) ** gamma * log_p).sum(axis=1)
    return float((batch.weights * losses).sum() / batch.global_size)


def check_penalty(trial: Trial) -> None:
    """L2 pulls at the kernels of hidden dense layers alone, and is not in the loss told."""
    trial = trial.plain
    ends, told = [], []
    for l2 in (0.0, 0.5):
        network = trial.build()
        network.prepare(Objective(l2=l2), Optimizer("sgd", momentum=0.0), 0)
        start = network.weights()
        told.append(epoch(network, trial.batches(count=16), 0.01)[1])
        ends.append(network.weights())
    assert np.allclose(told[0], told[1], rtol=1e-6), "the loss told holds the L2 penalty"
    for name, array in ends[0].items():
        hidden = name.startswith("fc") and name.endswith("/kernel")
        pulled = 0.01 * 2 * 0.5 * start[name] if hidden else np.zeros_like(array)
        assert np.allclose(array - ends[1][name], pulled, atol=1e-5), (
            f"L2 of 0.5 moves {name} by something else than its gradient, "
            f"{'2 * l2 * kernel' if hidden else 'which is 0'}"
        )


def check_optimizers(trial: Trial) -> None:
    """adam, adamw and sgd work, each in its own way; others are a BackendError."""
    ends = []
    for name in ("adam", "adamw", "sgd"):
        network = trial.plain.build()
        network.prepare(Objective(), Optimizer(name, weight_decay=0.1, clip_norm=1.0), 0)
        epoch(network, trial.batches(), 0.01)
        ends.append(network.weights()["output/kernel"])
    assert differs({"": ends[0]}, {"": ends[1]}), "adamw does not decay the output's kernel"
    assert differs({"": ends[0]}, {"": ends[2]}), "sgd makes adam's steps"
    network = trial.build()
    error = raised(lambda: network.prepare(Objective(), Optimizer("no-such-optimizer"), 0))
    assert isinstance(error, BackendError), (
        f"prepare() with an unknown optimizer must raise BackendError, not {error!r}"
    )


def check_freezing(trial: Trial) -> None:
    """Below trainable_from nothing changes, BatchNorm statistics included."""
    network = trial.build()
    last = len(network.stages) - 1
    head = set(network.head().weights())
    network.prepare(Objective(), Optimizer("adamw", weight_decay=0.1), last)
    before = network.weights()
    epoch(network, trial.batches(), 0.01)
    after = network.weights()
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert moved, "nothing was trained though the last stage was to be"
    assert moved <= head, f"frozen weights changed: {', '.join(sorted(moved - head))}"
    network.prepare(Objective(), Optimizer(), last + 1)
    epoch(network, trial.batches(), 0.01)
    assert_same(after, network.weights(), "weights before and after training no stage")


def check_rates(trial: Trial) -> None:
    """rates[s, g] is the learning rate of step s in stage g; 0 leaves its weights alone."""
    network = trial.build()
    network.prepare(Objective(), Optimizer(), 0)
    epoch(network, trial.batches(), 0.0)
    before, learnt = network.weights(), ("/kernel", "/bias", "/gamma", "/beta")
    rates = np.zeros((3, len(network.stages)), np.float32)
    epoch(network, trial.batches(), rates)
    after = network.weights()
    moved = [n for n in before if n.endswith(learnt) and not np.array_equal(before[n], after[n])]
    assert not moved, f"a learning rate of 0 moves {', '.join(moved)}"
    rates[1, -1] = 0.01
    epoch(network, trial.batches(), rates)
    moved = [
        n for n, a in network.weights().items() if n.endswith(learnt) and differs_at(a, after[n])
    ]
    head = set(network.head().weights())
    assert moved and set(moved) <= head, (
        f"a rate for the last stage alone, {sorted(head)}, moves {moved or 'nothing'}"
    )


def check_head(trial: Trial) -> None:
    """embed() and then head() is predict(); the head shares its weights and is trained alone."""
    network = trial.plain.build()
    network.prepare(Objective(), Optimizer(), 0)
    epoch(network, trial.batches(), 0.01)
    images, _ = trial.pictures(10)
    features = one_of(network.embed([images]))
    assert features.ndim == 2 and features.dtype == np.float32, (
        f"embed() gives {features.dtype}{features.shape}, not Float32[B, D]"
    )
    head = network.head()
    logits = one_of(head.predict([features]))
    assert_close(logits, one_of(network.predict([images])), "head on embed() and predict()")
    assert len(head.stages) == 1, f"a head has one stage, this one {len(head.stages)}"
    check_frozen_equals_head(trial.plain)


def check_frozen_equals_head(trial: Trial) -> None:
    """Training the head on features is training the network with its backbone frozen."""
    whole, parent = trial.build(), trial.build()
    batches = trial.batches()
    kept = [replace(b, images=one_of(parent.embed([b.images]))) for b in batches]
    whole.prepare(Objective(), Optimizer(), len(whole.stages) - 1)
    head = parent.head()
    head.prepare(Objective(), Optimizer(), 0)
    losses = epoch(whole, batches, 0.01)[1], epoch(head, kept, 0.01)[1]
    assert_close(losses[0], losses[1], "losses of a frozen network and of its head on features")
    images, _ = trial.pictures(10)
    assert_close(
        one_of(parent.predict([images])),
        one_of(whole.predict([images])),
        "a network whose head was trained on features and one trained with a frozen backbone",
    )


def check_files(trial: Trial) -> None:
    """What save() writes, load() and restore() give back; without pickle."""
    network = trial.build()
    network.prepare(Objective(), Optimizer(), 0)
    epoch(network, trial.batches(), 0.01)
    network.save(trial.folder, training=True)
    with_state = {file.name for file in trial.folder.iterdir()}
    network.save(trial.folder, training=False)
    files = {file.name for file in trial.folder.iterdir()}
    assert with_state - files, (
        f"save(training=False) leaves {sorted(files)}, save(training=True) {sorted(with_state)}"
    )
    pickled = [n for n in with_state if n.endswith((".pt", ".pth", ".pkl", ".pickle", ".joblib"))]
    assert not pickled, f"{', '.join(pickled)}: saved networks must not need pickle"
    images, _ = trial.pictures(6)
    loaded = trial.backend.load(trial.folder, trial.spec)
    assert_same(network.weights(), loaded.weights(), "weights saved and loaded")
    assert_same_answers(network, loaded, images, "a loaded network gives other logits")
    other = replace(trial.spec, outputs=trial.spec.outputs + 3)
    for error in (
        raised(lambda: trial.backend.load(trial.folder / "absent", trial.spec)),
        raised(lambda: trial.backend.load(trial.folder, other)),
    ):
        assert isinstance(error, BackendError), (
            "load() of a missing folder, or of another model's, must raise BackendError, "
            f"not {error!r}"
        )


def check_resume(trial: Trial) -> None:
    """Two epochs are bitwise one epoch, a restored checkpoint, and another epoch."""
    settings = Optimizer(clip_norm=1.0)
    straight = trial.build()
    straight.prepare(Objective(l2=1e-3), settings, 0)
    epoch(straight, trial.batches(), 0.01, seed=1)
    straight.save(trial.folder, training=True)
    kept = straight.weights()
    epoch(straight, trial.batches(), 0.01, seed=2)
    resumed = trial.build(seed=8)
    resumed.prepare(Objective(l2=1e-3), settings, 0)
    resumed.restore(trial.folder)
    assert_same(kept, resumed.weights(), "weights saved and restored")
    epoch(resumed, trial.batches(), 0.01, seed=2)
    assert_same(straight.weights(), resumed.weights(), "a run that went on and one resumed")
    # as the learning-rate finder does: train, then take everything back
    straight.restore(trial.folder)
    epoch(straight, trial.batches(), 0.01, seed=2)
    assert_same(resumed.weights(), straight.weights(), "a run and the same after restore()")


BACKEND_CHECKS: dict[str, Callable[[Trial], None]] = {
    "start": check_start,
    "counts": check_counts,
    "logits": check_logits,
    "weights": check_weights_travel,
    "learning": check_learning,
    "steps": check_steps,
    "freezing": check_freezing,
    "loss": check_loss,
    "penalty": check_penalty,
    "optimizers": check_optimizers,
    "rates": check_rates,
    "head": check_head,
    "files": check_files,
    "resume": check_resume,
}


def epoch(
    network: Network,
    batches: Sequence[Batch],
    rates: float | np.ndarray,
    seed: int = 0,
    stop_at: int | None = None,
) -> tuple[Any, list[float]]:
    """One epoch; its result and the losses that on_step was told.

    Args:
        rates: one learning rate for everything, or Float[S, G].
        stop_at: on_step answers False at this step.
    """
    losses: list[float] = []

    def on_step(step: int, loss: float) -> bool:
        assert step == len(losses), f"on_step was told of step {step} after {len(losses)} steps"
        losses.append(loss)
        return step != stop_at

    if not isinstance(rates, np.ndarray):
        rates = np.full((len(batches), 1), rates, np.float32)
    return network.train_epoch(iter(batches), rates, seed=seed, on_step=on_step), losses


def one_of(batches: Iterable[np.ndarray]) -> np.ndarray:
    """The only batch of a stream."""
    (batch,) = batches
    return batch


def differs_at(one: np.ndarray, other: np.ndarray) -> bool:
    return not np.array_equal(one, other)


def differs(one: Arrays, other: Arrays) -> bool:
    """Whether any array differs, by name."""
    return one.keys() != other.keys() or any(differs_at(one[name], other[name]) for name in one)


def assert_same(one: Arrays, other: Arrays, what: str) -> None:
    """Asserts equal arrays, bit by bit."""
    assert list(one) == list(other), f"{what} have other names: {list(one)}, {list(other)}"
    unequal = [name for name in one if differs_at(one[name], other[name])]
    assert not unequal, f"{what} differ in {', '.join(unequal)}"


def assert_close(one: Any, other: Any, what: str) -> None:
    gap = np.abs(np.asarray(one) - np.asarray(other)).max()
    assert np.allclose(one, other, rtol=1e-4, atol=1e-5), f"{what} differ by up to {gap:.3g}"


def assert_same_answers(one: Network, other: Network, images: np.ndarray, what: str) -> None:
    answers = one_of(one.predict([images])), one_of(other.predict([images]))
    assert np.array_equal(*answers), what
