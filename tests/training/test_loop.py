"""The epoch loop on a linear network: the best is kept, resume is exact, alarms are told."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medimg.core.errors import BackendError, InputError, Refused
from medimg.core.loader import Loader
from medimg.core.recipe import Recipe
from medimg.core.types import ModelSpec, Objective, Optimizer
from medimg.training.alarms import is_overfitted
from medimg.training.checkpoints import Checkpoints, Progress
from medimg.training.loop import fit, validate
from medimg.training.steering import steer

engine = pytest.importorskip("medimg_linear.engine")
SPEC = ModelSpec("logistic", "logistic", (), ("flatten",), 8, 8, 1, 1)


def part(images: int, seed: int, signal: float = 40.0) -> Loader:
    """Noise with the class in its brightness."""
    draw = np.random.default_rng(seed)
    labels = np.arange(images) % 2
    pixels = draw.normal(110, 30, (images, 8, 8, 1)) + signal * labels[:, None, None, None]
    return Loader(pixels.clip(0, 255).astype(np.uint8), np.arange(images), labels, 2, 16, seed=seed)


def network():
    return engine.LinearBackend().build(SPEC, 0)[0]


def trained(
    folder, train=None, val=None, resume=None, net=None, on_epoch=None, on_alarm=None, **settings
):
    recipe = Recipe(**{"epochs": 5, "learning_rate": 0.01, "schedule": "constant", **settings})
    net = net or network()
    outcome = fit(
        net,
        train or part(64, 0),
        part(32, 1) if val is None else val,
        recipe,
        objective=Objective(),
        optimizer=Optimizer(name=recipe.optimizer, momentum=recipe.momentum),
        trainable_from=0,
        checkpoints=Checkpoints(folder),
        positive=1,
        resume=resume,
        on_epoch=on_epoch,
        on_alarm=on_alarm,
    )
    return outcome, net


def test_it_learns_and_ends_by_epochs(tmp_path):
    outcome, _ = trained(tmp_path)
    losses = [row["loss"] for row in outcome.progress.history]
    assert losses[-1] < losses[0]
    assert (outcome.progress.epoch, outcome.progress.stopped_by) == (5, "epochs")
    assert outcome.images == 5 * 64


def test_the_network_ends_with_the_best_epochs_weights(tmp_path):
    """Noise labels: validation loss rises at once, so the best is not the last."""
    val = part(40, 2, signal=0)
    outcome, net = trained(tmp_path, part(64, 0, signal=0), val, epochs=20, learning_rate=0.05)
    history = outcome.progress.history
    best = min(range(20), key=lambda e: history[e]["val_loss"])
    assert outcome.progress.best_epoch == best + 1 < 20
    assert validate(net, val, 1)["val_loss"] == pytest.approx(history[best]["val_loss"], rel=1e-6)
    assert "overfitting" in [f.check for f in outcome.findings]


def test_patience_stops_after_so_many_epochs_without_gain(tmp_path):
    val = part(40, 2, signal=0)
    outcome, _ = trained(
        tmp_path, part(64, 0, signal=0), val, epochs=50, learning_rate=0.05, patience=3
    )
    progress = outcome.progress
    assert progress.stopped_by == "patience"
    assert progress.epoch == progress.best_epoch + 3


class Stop(Exception):
    pass


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "constant", "plateau"])
@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_resume_is_exact(tmp_path, schedule, name):
    settings = {"epochs": 6, "schedule": schedule, "optimizer": name, "plateau_patience": 1}
    whole, net = trained(tmp_path / "whole", **settings)

    def stop(row):
        if row["epoch"] == 3:
            raise Stop

    with pytest.raises(Stop):
        trained(tmp_path / "cut", **settings, on_epoch=stop)
    state = Checkpoints(tmp_path / "cut").read()
    assert state is not None and state.epoch == 3
    again, other = trained(tmp_path / "cut", **settings, resume=state)
    for key, array in net.weights().items():
        np.testing.assert_array_equal(array, other.weights()[key])
    drop = [{k: v for k, v in r.items() if k != "seconds"} for r in whole.progress.history]
    assert drop == [{k: v for k, v in r.items() if k != "seconds"} for r in again.progress.history]


@pytest.mark.parametrize("stop", [3, 7, 9])
def test_slow_checkpoints_are_fewer_and_resume_is_exact_all_the_same(tmp_path, monkeypatch, stop):
    """A file after the first epoch and after every fourth; the best weights wait in memory."""
    val, written = part(40, 2, signal=0), []
    settings = {"epochs": 10, "learning_rate": 0.02, "optimizer": "sgd"}
    common = (part(64, 0, signal=0), val)
    whole, net = trained(tmp_path / "whole", *common, **settings)
    assert 1 < whole.progress.best_epoch < 10

    write = Checkpoints.write

    def slow(self, network, progress, improved):
        write(self, network, progress, improved)
        written.append(progress.epoch)
        self.took_s, self.ended = 2.0, clock[0]

    clock = [0.0]
    monkeypatch.setattr(Checkpoints, "write", slow)
    monkeypatch.setattr("medimg.training.checkpoints.WRITING_SHARE", 0.5)
    monkeypatch.setattr("medimg.training.checkpoints.time.perf_counter", lambda: clock[0])

    def epoch_done(row):
        clock[0] += 1
        if row["epoch"] == stop:
            raise Stop

    with pytest.raises(Stop):
        trained(tmp_path / "cut", *common, **settings, on_epoch=epoch_done)
    assert written == [n for n in (1, 5, 9) if n <= stop]
    state = Checkpoints(tmp_path / "cut").read()
    assert state is not None and state.epoch == written[-1]
    for name in {state.last, state.kept}:
        assert (tmp_path / "cut" / str(name)).is_dir()
    again, other = trained(
        tmp_path / "cut", *common, **settings, resume=state,
        on_epoch=lambda row: clock.__setitem__(0, clock[0] + 1),
    )  # fmt: skip
    assert again.progress.best_epoch == whole.progress.best_epoch
    for key, array in net.weights().items():
        np.testing.assert_array_equal(array, other.weights()[key])


def test_discriminative_rates_reach_the_network(tmp_path):
    """The head learns at the whole rate, the stage below at a tenth of it."""
    seen = []

    class Seeing(type(network())):
        def train_epoch(self, batches, rates, **k):
            seen.append(np.array(rates))
            return super().train_epoch(batches, rates, **k)

    net = network()
    net.__class__ = Seeing
    trained(tmp_path, net=net, epochs=1, lr_spread=10.0)
    assert seen[0].shape[1] == 2
    np.testing.assert_allclose(seen[0], np.outer(np.full(4, 0.01), [0.1, 1.0]), rtol=1e-6)


def test_the_plateau_rule_lowers_the_rate_to_its_floor(tmp_path):
    outcome, _ = trained(
        tmp_path, part(64, 0, signal=0), part(40, 2, signal=0), epochs=12, learning_rate=0.05,
        schedule="plateau", plateau_patience=1, plateau_factor=0.1, plateau_floor=0.0005,
    )  # fmt: skip
    rates = [row["learning_rate"] for row in outcome.progress.history]
    assert rates[0] == pytest.approx(0.05)
    assert all(b <= a for a, b in zip(rates, rates[1:], strict=False))
    assert rates[-1] == pytest.approx(0.0005)


def test_without_validation_the_training_loss_steers(tmp_path):
    recipe = Recipe(epochs=3, learning_rate=0.01, schedule="constant")
    outcome = fit(
        network(), part(64, 0), None, recipe, objective=Objective(), optimizer=Optimizer(),
        trainable_from=0, checkpoints=Checkpoints(tmp_path),
    )  # fmt: skip
    assert outcome.progress.best_epoch == 3 and outcome.findings == ()


@pytest.mark.parametrize("place", ["train", "val"])
def test_a_loss_that_is_no_number_is_refused(tmp_path, place):
    class Broken(type(network())):
        def train_epoch(self, *a, on_step, **k):
            if place == "train":
                return super().train_epoch(
                    *a, on_step=lambda s, x: on_step(s, float("nan") if s == 2 else x), **k
                )
            result = super().train_epoch(*a, on_step=on_step, **k)
            self.trained["output/bias"][:] = np.nan
            return result

    net = network()
    net.__class__ = Broken
    with pytest.raises(Refused) as caught:
        trained(tmp_path, net=net)
    assert caught.value.findings[0].check == "non-finite-loss"
    assert "(epoch 1, step " in caught.value.message
    assert ("step 3)" in caught.value.message) == (place == "train")
    assert "--lr 0.001" in caught.value.hint
    # so that nobody is told to go on with it
    state = Checkpoints(tmp_path).read()
    assert state is not None and (state.stopped_by, state.last) == ("non-finite-loss", None)


def test_a_damaged_state_is_told(tmp_path):
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        Checkpoints(tmp_path).read()


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_state(tmp_path, monkeypatch):
    checkpoints, net, progress = Checkpoints(tmp_path), network(), Progress(epoch=1)
    net.prepare(Objective(), Optimizer(), 0)
    checkpoints.write(net, progress, True)
    before = json.loads((tmp_path / "state.json").read_text())

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(net, "save", full)
    progress.epoch = 2
    with pytest.raises(InputError, match="the disk is full"):
        checkpoints.write(net, progress, True)
    assert json.loads((tmp_path / "state.json").read_text()) == before
    assert (tmp_path / before["last"]).is_dir()
    assert [folder.name for folder in tmp_path.glob("epoch-*")] == [before["last"]]


def test_what_steers():
    row = {"loss": 1.0, "val_loss": 0.5, "val_auroc": 0.8}
    assert steer(row, "val_loss") == 0.5
    assert steer(row, "val_auroc") == pytest.approx(0.2, abs=1e-5)
    better_loss = steer(row | {"val_loss": 0.4}, "val_auroc")
    assert better_loss < steer(row, "val_auroc") < steer(row | {"val_auroc": 0.79}, "val_auroc")
    assert steer(row | {"val_auroc": None}, "val_auroc") == 0.5
    assert steer({"loss": 1.0}, "val_auroc") == 1.0
    row["val_accuracy"] = 0.9
    assert steer(row, "val_accuracy") == pytest.approx(0.1, abs=1e-5)
    assert steer(row, "loss") == 1.0


def test_overfitting_needs_a_rise_and_time():
    best, last = {"loss": 0.5, "val_loss": 0.4}, {"loss": 0.2, "val_loss": 0.5}
    assert is_overfitted(best, last, 3)
    assert not is_overfitted(best, last, 2)
    assert not is_overfitted(best, last | {"val_loss": 0.43}, 3)
    assert not is_overfitted(best, last | {"loss": 0.6}, 3)


# -- while it runs -----------------------------------------------------------------------------


def test_a_loss_far_above_that_of_knowing_nothing_diverged(tmp_path):
    outcome, _ = trained(
        tmp_path / "wild", part(64, 0, 0), part(32, 1, 0), learning_rate=90.0, optimizer="sgd"
    )
    (found,) = [f for f in outcome.findings if f.check == "diverged"]
    assert found.severity == "warning" and "learning rate 90 is too high" in found.hint
    assert "where knowing nothing gives 0.693: it diverged" in found.message
    tame, _ = trained(tmp_path / "tame")
    assert "diverged" not in {f.check for f in tame.findings}


def test_a_damaged_checkpoint_says_what_is_left(tmp_path):
    trained(tmp_path, epochs=2)
    progress = Checkpoints(tmp_path).read()
    (file,) = (tmp_path / progress.last).glob("weights*")
    file.write_bytes(file.read_bytes()[:40])
    progress.stopped_by = None
    with pytest.raises(BackendError) as caught:
        trained(tmp_path, epochs=3, resume=progress)
    assert "train anew on the same settings" in caught.value.hint
    assert caught.value.hint.endswith("recipe.yaml")


def test_minutes_stop_before_the_epoch_that_would_end_too_late(tmp_path, monkeypatch):
    """A clock on which an epoch takes a minute."""
    from medimg.training import loop

    ticks = iter(range(0, 10_000))
    # started, trained, ended: an epoch lasts two ticks of half a minute
    monkeypatch.setattr(loop.time, "perf_counter", lambda: 30.0 * next(ticks))
    outcome, _ = trained(tmp_path, epochs=50, minutes=3.5)
    assert (outcome.progress.epoch, outcome.progress.stopped_by) == (3, "minutes")
    assert outcome.progress.elapsed_s == 180
    state = Checkpoints(tmp_path).read()
    assert state is not None and (state.stopped_by, state.elapsed_s) == ("minutes", 180)


def test_minutes_too_few_for_an_epoch_still_train_one(tmp_path):
    outcome, _ = trained(tmp_path, epochs=50, minutes=1e-9)
    assert (outcome.progress.epoch, outcome.progress.stopped_by) == (1, "minutes")


def test_a_resumed_run_counts_the_images_of_both_parts(tmp_path):
    def stop(row):
        if row["epoch"] == 2:
            raise Stop

    with pytest.raises(Stop):
        trained(tmp_path, on_epoch=stop)
    state = Checkpoints(tmp_path).read()
    assert state is not None
    before = state.seconds
    again, _ = trained(tmp_path, resume=state)
    assert again.images == 5 * 64 and again.seconds > before > 0


def alarms_told(folder, **settings):
    told = []
    trained(folder, on_alarm=told.append, **settings)
    return told


def test_alarms_are_told_once_while_it_runs(tmp_path):
    noise = alarms_told(
        tmp_path / "a", train=part(64, 0, signal=0), val=part(40, 2, signal=0), epochs=20,
        learning_rate=0.05,
    )  # fmt: skip
    assert [f.check for f in noise].count("overfitting") == 1
    assert alarms_told(tmp_path / "b") == []


def test_a_network_that_answers_one_class_is_told(tmp_path):
    net = network()
    net.trained["output/bias"][:] = -5
    (told,) = alarms_told(tmp_path, net=net, epochs=4, learning_rate=1e-6)
    assert told.check == "one-class-predicted"
    assert (
        told.message == "after epoch 2 the network answers one class for all 32 validation images"
    )


def test_no_better_than_the_majority_is_told(tmp_path):
    """Three of four are of one class, and half of the answers are wrong."""
    val = part(40, 2)
    val.labels[:] = np.arange(40) % 4 == 0
    told = alarms_told(tmp_path, val=val, epochs=4)
    assert told[0].check == "no-better-than-majority"
    assert "(0.750)" in told[0].message


@pytest.mark.parametrize("place", ["train", "val"])
def test_a_batch_larger_than_memory_says_what_to_lower(tmp_path, place):
    class Full(Loader):
        def gather(self, picked, draws):
            raise MemoryError

        def images(self, batch_size=None):
            raise MemoryError

    parts = {"train": part(64, 0), "val": part(32, 1)}
    plain = parts[place]
    parts[place] = Full(plain.pixels, plain.rows, plain.labels, plain.classes, plain.batch_size)
    with pytest.raises(BackendError) as caught:
        trained(tmp_path, parts["train"], parts["val"])
    assert "batches of 16×8×8×1" in caught.value.message
    assert "--batch-size" in caught.value.hint
    assert Checkpoints(tmp_path).read() is None
