"""Every backend keeps the protocol, and the kit that says so finds what is broken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from medimg.api import BackendError, EpochResult, LoadReport
from medimg.testing import check_backend


@pytest.mark.contract
@pytest.mark.parametrize("backend", ["torch", "keras"])
def test_a_framework_keeps_the_protocol(backend, in_own_process, tmp_path):
    in_own_process("protocol", backend, tmp_path)


def test_the_linear_backend_keeps_the_protocol(linear, tmp_path):
    check_backend(linear[0], tmp_path)


# -- broken promises -------------------------------------------------------------------------------


def before(change):
    """A method that changes something, then does what it did."""

    def broken(own):
        def method(self, *args, **kwargs):
            change(self)
            return own(self, *args, **kwargs)

        return method

    return broken


def after(change):
    """A method whose answer is changed."""
    return lambda own: lambda self, *args, **kwargs: change(own(self, *args, **kwargs))


def each(change):
    """A stream whose items are changed."""

    def stream(items) -> Iterator:
        return (change(item) for item in items)

    return after(stream)


def with_on_step(change):
    """train_epoch with another on_step."""

    def broken(own):
        def train_epoch(self, batches, rates, *, seed, on_step):
            return own(self, batches, rates, seed=seed, on_step=change(on_step))

        return train_epoch

    return broken


def with_batches(change):
    """train_epoch on other batches and rates."""

    def broken(own):
        def train_epoch(self, batches, rates, *, seed, on_step):
            batches, rates = change(list(batches), rates)
            return own(self, batches, rates, seed=seed, on_step=on_step)

        return train_epoch

    return broken


def never_frozen(own):
    def train_epoch(self, batches, rates, *, seed, on_step):
        batches = list(batches)
        if self.standardiser:
            self.standardiser.fit(batches[-1].images)
        return own(self, batches, rates, seed=seed, on_step=on_step)

    return train_epoch


def unequal_draws(own):
    """Dropout-like noise from a generator that nobody seeds."""
    draws = np.random.default_rng(0)

    def step(self, batch, rate):
        return own(self, batch, rate * draws.uniform(0.9, 1.1))

    return step


def unshared_head(own):
    def head(self):
        made = own(self)
        made.trained = {name: array + 0.1 for name, array in made.trained.items()}
        return made

    return head


def without_state(own):
    def restore(self, path):
        (path / "optimizer.npz").unlink(missing_ok=True)
        own(self, path)

    return restore


def no_streaming(own):
    return lambda self, batches: iter(list(own(self, list(batches))))


BROKEN = {
    "one column": ("predict", each(lambda logits: logits[:, 1:]), "predict\\(\\) gives"),
    "float64": ("predict", each(lambda logits: logits.astype(float)), "float32"),
    "(z, 0)": ("predict", each(lambda z: z[:, ::-1].copy()), "given as \\(0, z\\)"),
    "all at once": ("predict", no_streaming, "reads all batches"),
    "NaN": ("predict", each(lambda logits: logits * np.float32("nan")), "not finite"),
    "nothing loaded": ("set_weights", after(lambda report: LoadReport()), "reports"),
    "no copies": ("weights", lambda own: lambda self: self._arrays(), "changed"),
    "half counted": (
        "parameters",
        after(lambda counts: replace(counts, total=counts.total // 2)),
        "parameters\\(\\).total",
    ),
    "steps from 1": ("train_epoch", with_on_step(lambda f: lambda s, x: f(s + 1, x)), "step 1"),
    "never stops": ("train_epoch", with_on_step(lambda f: lambda s, x: f(s, x) or True), "stop"),
    "sum of losses": (
        "train_epoch",
        after(lambda r: EpochResult(r.loss * r.steps, r.images, r.steps, r.stopped)),
        "epoch's loss",
    ),
    "mean over the batch": (
        "train_epoch",
        with_batches(lambda b, r: ([replace(x, global_size=len(x.images)) for x in b], r)),
        "loss told",
    ),
    "class weights ignored": (
        "train_epoch",
        with_batches(lambda b, r: ([replace(x, weights=np.ones_like(x.weights)) for x in b], r)),
        "loss told",
    ),
    "rates ignored": ("train_epoch", with_batches(lambda b, r: (b, r * 0 + 0.01)), "rate of 0"),
    "unseeded": ("_step", unequal_draws, "same seeds"),
    "never frozen": ("train_epoch", never_frozen, "frozen weights changed: bn1"),
    "unshared head": ("head", unshared_head, "head on embed"),
    "state forgotten": ("restore", without_state, "resumed"),
    "state left behind": (
        "save",
        lambda own: lambda self, path, training: own(self, path, True),
        "save\\(training=False\\)",
    ),
}


@pytest.mark.parametrize("promise", BROKEN)
def test_the_kit_finds_what_is_broken(promise, linear, tmp_path, monkeypatch):
    backend, network = linear
    method, breaks, said = BROKEN[promise]
    monkeypatch.setattr(network, method, breaks(getattr(network, method)))
    with pytest.raises(AssertionError, match=said):
        check_backend(backend, tmp_path)


def test_the_kit_finds_a_backend_that_starts_or_refuses_otherwise(linear, tmp_path):
    backend, _ = linear

    class OtherStart(type(backend)):
        def build(self, spec, seed, weights=None):
            return super().build(spec, seed + 1, weights)

    class Crashes(type(backend)):
        def build(self, spec, seed, weights=None):
            try:
                return super().build(spec, seed, weights)
            except BackendError as error:
                raise KeyError(spec.architecture) from error

    class Unknown(type(backend)):
        def architectures(self):
            return ("of-my-own",)

    with pytest.raises(AssertionError, match="output/kernel does not start as"):
        check_backend(OtherStart(), tmp_path / "start")
    with pytest.raises(AssertionError, match="must raise BackendError, not KeyError"):
        check_backend(Crashes(), tmp_path / "crashes")
    with pytest.raises(AssertionError, match="give specs="):
        check_backend(Unknown(), tmp_path / "unknown")
