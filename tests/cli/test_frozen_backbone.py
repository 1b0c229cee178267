"""A frozen backbone: its features once, the head trained on them, the result as without."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

FROZEN = ("--weights", "runs/one", "--augment", "none")


def weights(run: str) -> dict[str, np.ndarray]:
    return dict(np.load(f"runs/{run}/model/weights.npz"))


def result(run: str) -> dict:
    return json.loads(Path(f"runs/{run}/report.json").read_text())["result"]


def assert_alike(one: str, other: str) -> None:
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-6, err_msg=name)
    assert result(one)["metrics"] == pytest.approx(result(other)["metrics"], rel=1e-5)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("MEDIMG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_features_once_train_the_head_that_pictures_train(runs, train, cache):
    answer = train("kept", *FROZEN)
    assert answer.code == 0, answer.err
    assert "Trained: head; frozen: standardise" in answer.out
    told = result("kept")["features"]
    held = json.loads(Path("runs/kept/report.json").read_text())["dataset"]["splits"]
    assert told["images"] == sum(sum(held[part].values()) for part in ("train", "val"))
    assert (told["size"], told["views"], told["from_cache"]) == (32 * 32, 1, False)
    assert result("kept")["parameters"] == {"total": 3 * 1024 + 1, "trainable": 1025}
    assert len(list(cache.glob("features/*.npy"))) == 1
    assert train("plain", *FROZEN, "--no-keep-features").code == 0
    assert result("plain")["features"] is None
    assert_alike("kept", "plain")
    # what is frozen is the donor's
    np.testing.assert_array_equal(weights("kept")["bn1/mean"], weights("one")["bn1/mean"])


def test_kept_features_serve_other_settings_and_not_other_pixels(runs, train, cache):
    assert train("a", *FROZEN).code == 0
    assert train("b", *FROZEN, "--lr", "0.01", "--balance", "class-weight").code == 0
    assert not result("a")["features"]["from_cache"]
    again = train("c", *FROZEN, "--lr", "0.01")
    assert result("c")["features"]["from_cache"] and "kept from before" in again.out
    assert train("d", *FROZEN, "--resize", "pad").code == 0
    assert not result("d")["features"]["from_cache"]


def test_oversampled_pictures_are_looked_at_once(runs, train, cache):
    for name, more in (("kept", ()), ("plain", ("--no-keep-features",))):
        assert train(name, *FROZEN, "--balance", "oversample", *more).code == 0
    made, balance = result("kept")["features"], result("kept")["balance"]
    assert sum(balance["after"].values()) > sum(balance["before"].values())
    assert made["images"] == sum(balance["before"].values()) + len(
        Path("runs/kept/predictions/val.csv").read_text().splitlines()[1:]
    )
    assert_alike("kept", "plain")


def test_synthetic_pictures_have_features_too(runs, train, cache):
    for name, more in (("kept", ()), ("plain", ("--no-keep-features",))):
        answer = train(name, *FROZEN, "--balance", "smote", *more)
        assert answer.code == 0, answer.err
    assert result("kept")["balance"]["synthetic"] > 0
    assert_alike("kept", "plain")


def test_augmented_views_are_those_of_the_first_epochs(runs, train, cache):
    """As many views as epochs are what training on pictures sees."""
    line = ("--weights", "runs/one", "--augment", "light", "--epochs", "3")
    answer = train("kept", *line, "--views", "3")
    assert answer.code == 0, answer.err
    assert "in 3 views" in answer.out and result("kept")["features"]["views"] == 3
    assert train("plain", *line).code == 0
    assert result("plain")["features"] is None
    assert_alike("kept", "plain")
    assert train("fewer", *line, "--views", "1").code == 0
    assert not np.allclose(weights("fewer")["output/kernel"], weights("plain")["output/kernel"])


@pytest.mark.parametrize(
    "options, why",
    [
        (("--freeze", "none"), "the backbone is trained"),
        (("--freeze", "backbone", "--mixup", "0.2"), "mixup blends them anew every epoch"),
        (("--freeze", "backbone", "--no-keep-features"), "nothing is kept"),
    ],
)
def test_views_where_there_can_be_none(train, options, why):
    answer = train("a", "--views", "2", *options)
    assert answer.code == 2 and why in answer.err
    assert "--freeze backbone without --mixup" in answer.err


def interrupted_after(monkeypatch, rows: int):
    from medimg.training import run as module

    write = module.write_history

    def interrupted(path, history):
        write(path, history)
        if len(history) == rows:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_history", interrupted)
    return lambda: monkeypatch.setattr(module, "write_history", write)


def test_resume_goes_on_with_the_head(runs, train, medimg, cache, monkeypatch):
    line = (*FROZEN, "--epochs", "5", "--optimizer", "sgd")
    assert train("whole", *line).code == 0
    restored = interrupted_after(monkeypatch, 2)
    assert train("cut", *line).code == 130
    restored()
    # the features are computed again, the same
    shutil.rmtree(cache / "features")
    answer = medimg("train", "--resume", "runs/cut")
    assert answer.code == 0, answer.err
    for name, array in weights("whole").items():
        np.testing.assert_array_equal(weights("cut")[name], array)
    assert result("cut")["metrics"] == result("whole")["metrics"]


def test_resume_refuses_another_backbone(runs, train, medimg, cache, monkeypatch):
    shutil.copytree("runs/one", "runs/donor")
    restored = interrupted_after(monkeypatch, 2)
    assert train("cut", "--weights", "runs/donor", "--augment", "none", "--epochs", "5").code == 130
    restored()
    changed = weights("donor")
    np.savez("runs/donor/model/weights.npz", **{**changed, "bn1/mean": changed["bn1/mean"] + 1})
    answer = medimg("train", "--resume", "runs/cut")
    assert answer.code == 3
    assert "Error: the frozen backbone, its pictures or the framework are not those" in answer.err


def test_no_room_for_features_is_said_and_the_backbone_asked_every_epoch(
    runs, train, cache, monkeypatch
):
    from medimg.core import cache as module
    from medimg.training import features

    def no_room(*_):
        raise features.InputError("the features take 9 TB", "")

    assert train("kept", *FROZEN).code == 0
    shutil.rmtree(cache)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
    monkeypatch.setattr(module, "demand_memory", lambda *a: a[2] == "features" and no_room())
    answer = train("plain", *FROZEN)
    assert answer.code == 0, answer.err
    assert "Warning: the features take 9 TB; every epoch goes through the backbone" in answer.err
    assert_alike("kept", "plain")


# -- finetune --------------------------------------------------------------------------------------


def recipe_of(run: str) -> dict:
    return yaml.safe_load(Path(f"runs/{run}/recipe.yaml").read_text())


def test_after_a_frozen_backbone_half_of_it_thaws(runs, train, medimg, cache):
    assert train("head", *FROZEN).code == 0
    answer = medimg("finetune", "runs/head", "--epochs", "2", "--name", "ft", "--json")
    assert answer.code == 0, answer.err
    made = recipe_of("ft")
    assert (made["freeze"], made["unfreeze"], made["lr_spread"]) == ("none", 0.5, 10.0)
    assert "Trained: standardise, head; frozen: nothing" in answer.err
    # a head again, on features, if somebody says so
    answer = medimg("finetune", "runs/head", "--freeze", "backbone", "--name", "more")
    assert answer.code == 0, answer.err
    made = recipe_of("more")
    assert (made["freeze"], made["unfreeze"], made["lr_spread"]) == ("backbone", None, 1.0)
    assert result("more")["features"]["from_cache"]
    both = medimg("finetune", "runs/head", "--freeze", "backbone", "--unfreeze", "0.5")
    assert both.code == 2 and "does not go with --unfreeze" in both.err


def test_the_report_says_whether_it_helped(runs, medimg, cache):
    answer = medimg("finetune", "runs/one", "--lr", "1e-12", "--epochs", "1", "--name", "same")
    assert answer.code == 0, answer.err
    change = result("same")["change"]
    assert change["metric"] == "auroc" and change["helped"] is None
    row = change["differences"]["auroc"]
    assert row["before"] == row["after"] == result("one")["metrics"]["auroc"]
    assert row["difference"] == 0
    assert "No clear difference: validation auroc" in answer.out
    ruined = medimg("finetune", "runs/one", "--lr", "5", "--optimizer", "sgd", "--name", "worse")
    assert ruined.code == 0, ruined.err
    change = result("worse")["change"]["differences"]["auroc"]
    assert change["difference"] == pytest.approx(change["after"] - change["before"])
    assert result("worse")["metrics"]["auroc"] == change["after"]
