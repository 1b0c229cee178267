"""A batch that is larger than memory is said before the system ends the process."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from medimg.core.errors import BackendError
from medimg.core.loader import Loader
from medimg.core.types import ModelSpec, Objective, Optimizer
from medimg.training import memory

engine = pytest.importorskip("medimg_linear.engine")
SIDE, EACH = 16, 6_000_000
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux tells of memory")


def network(each: int = EACH):
    """A logistic network that takes so many bytes for each picture of a step."""

    class Greedy(type(engine.LinearBackend().build(spec(), 0)[0])):
        def _step(self, batch, rate):
            held = np.ones(each * len(batch.images), np.uint8)
            loss = super()._step(batch, rate)
            return loss + 0 * float(held[-1])

    made = engine.LinearBackend().build(spec(), 0)[0]
    made.__class__ = Greedy
    return made


def spec() -> ModelSpec:
    return ModelSpec("logistic", "logistic", (), ("flatten",), SIDE, SIDE, 1, 1)


def loader(batch_size: int) -> Loader:
    pixels = np.random.default_rng(0).integers(0, 255, (300, SIDE, SIDE, 1), np.uint8)
    return Loader(pixels, np.arange(300), np.arange(300) % 2, 2, batch_size)


def ask(net, batch_size: int) -> None:
    memory.demand_memory(
        net, loader(batch_size), objective=Objective(), optimizer=Optimizer(), trainable_from=0
    )


def test_a_batch_that_is_too_large_is_refused_with_one_that_fits(monkeypatch):
    net = network()
    before = net.weights()
    monkeypatch.setattr(memory, "available_bytes", lambda: 100 * EACH)
    monkeypatch.setattr(memory, "NEVER_MORE_THAN", 10**6)
    ask(net, 64)
    with pytest.raises(
        BackendError, match=r"a step on 256×16×16×1 would take about 1\.[4-8] GB"
    ) as e:
        ask(net, 256)
    assert "600.0 MB are free" in e.value.message
    fitting = int(e.value.hint.partition("(")[2].partition(" would fit")[0])
    assert 50 <= fitting <= 80
    for name, array in net.weights().items():
        np.testing.assert_array_equal(array, before[name])


def test_what_each_picture_takes_is_told_from_a_few(monkeypatch):
    net = network()
    net.prepare(Objective(), Optimizer(), 0)
    assert memory.bytes_a_picture(net, loader(32)) == pytest.approx(EACH, rel=0.2)


def test_a_batch_whose_pixels_alone_are_too_many_is_not_tried(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
    monkeypatch.setattr(memory, "bytes_a_picture", None)
    with pytest.raises(BackendError, match="are free"):
        ask(network(), 256)


def test_small_batches_are_not_measured(monkeypatch):
    monkeypatch.setattr(memory, "bytes_a_picture", None)
    ask(network(0), 16)


def test_limits_of_a_container_count(tmp_path, monkeypatch):
    whole = memory.available_bytes()
    assert whole and whole > 10**8
    limit, used = tmp_path / "memory.max", tmp_path / "memory.current"
    (tmp_path / "memory.stat").write_text("inactive_file 1000\nactive_file 5\n")
    monkeypatch.setattr(memory, "LIMITS", ((limit, used),))
    used.write_text("4000\n")
    limit.write_text("max\n")
    assert memory.available_bytes() > 10**8
    limit.write_text("10000\n")
    assert memory.available_bytes() == 7000
