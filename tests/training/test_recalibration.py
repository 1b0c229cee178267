"""After a balanced training: probabilities put right on validation, then the threshold."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import statsmodels.api as sm

from medimg.balance._planning import make_balance
from medimg.cli.main import run
from medimg.core.recipe import Recipe
from medimg.core.types import Sample
from medimg.manager import plugins
from medimg.statistics.operating_point import youden
from medimg.training.recalibration import recalibration_of, recalibration_result

FAST = ("--backend", "linear", "--image-size", "16", "--epochs", "4", "--lr", "0.01", "-q")
SIZES = {"train": (90, 30), "val": (60, 20), "test": (30, 10)}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Noise, a little brighter in class b: classes that overlap, three to one."""
    monkeypatch.chdir(tmp_path)
    seed = 0
    for part, sizes in SIZES.items():
        for number, size in enumerate(sizes):
            for n in range(size):
                seed += 1
                draw = np.random.default_rng(seed)
                level = draw.normal(110 + 12 * number, 10)
                noise = draw.normal(level, 25, (16, 16))
                file = tmp_path / "set" / part / "ab"[number] / f"{part}{n}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(file), np.clip(noise, 0, 255).astype(np.uint8))
    return tmp_path / "set"


def result_of(name: str, *arguments: str) -> dict:
    assert run(["train", "set", *FAST, "--name", name, *arguments]) == 0
    return json.loads(Path(f"runs/{name}/report.json").read_text())["result"]


def predictions(file: str) -> tuple[np.ndarray, np.ndarray]:
    """Bool[N], which are b, and Float[N], its probability."""
    with Path(file).open() as text:
        rows = list(csv.DictReader(text))
    return np.array([r["label"] == "b" for r in rows]), np.array([float(r["prob_b"]) for r in rows])


def log_odds(p: np.ndarray) -> np.ndarray:
    return np.log(p) - np.log1p(-p)


# -- which correction ----------------------------------------------------------------------------


def balance_of(method: str, sizes: tuple[int, ...] = (60, 20)):
    names = "abc"[: len(sizes)]
    drawn = [c for c, k in zip(names, sizes, strict=True) for _ in range(k)]
    samples = [Sample(f"{n}.png", c, split="train") for n, c in enumerate(drawn)]

    def embedding():
        labels = np.repeat(np.arange(len(sizes)), sizes)
        return np.random.default_rng(0).normal(size=(len(labels), 4)) + labels[:, None]

    manager = plugins()
    return make_balance(
        method, manager.samplers(), manager.resolve, samples, list(names), 0, embedding
    )


def overlapping(sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    logits = np.random.default_rng(1).normal(size=(len(labels), len(sizes)))
    logits[np.arange(len(labels)), labels] += 0.7
    return logits, labels


@pytest.mark.parametrize("method", ["class-weight", "oversample", "undersample"])
def test_what_moves_shares_alone_is_corrected_exactly_even_without_validation(method):
    found = recalibration_of(Recipe(balance=method), balance_of(method), None, None)
    assert found.method == "prior" and found.shift.slope == 1.0
    was, now = found.shift.intercepts[0], found.shift.intercepts[1]
    assert now - was == pytest.approx(np.log(20 / 60), rel=1e-6)


@pytest.mark.parametrize(
    ("method", "settings", "says"),
    [
        ("smote", {}, "synthetic images"),
        ("adasyn", {}, "synthetic images"),
        ("class-weight", {"focal_gamma": 2.0}, "focal loss"),
        ("oversample", {"label_smoothing": 0.1}, "label smoothing"),
    ],
)
def test_what_does_more_is_fitted(method, settings, says):
    recipe = Recipe(balance=method, **settings)
    found = recalibration_of(recipe, balance_of(method), *overlapping((60, 20)))
    assert found.method == "slope-and-intercept" and says in found.reason


def test_a_plugins_method_is_trusted_only_where_it_says_so():
    own = balance_of("oversample")
    silent = SimpleNamespace(**{n: getattr(own, n) for n in ("trained_shares", "natural_shares")})
    silent.parents, silent.at_random = own.parents, False
    recipe = Recipe(balance="hard-cases")
    found = recalibration_of(recipe, silent, *overlapping((60, 20)))
    assert found.method == "slope-and-intercept"
    assert "hard-cases does not say that it chooses at random" in found.reason


@pytest.mark.parametrize(
    ("sizes", "method"),
    [((60, 10), "slope-and-intercept"), ((60, 9), "intercept"), ((60, 4), "approximate-prior")],
)
def test_small_validation_parts_are_asked_for_less(sizes, method):
    found = recalibration_of(Recipe(balance="smote"), balance_of("smote"), *overlapping(sizes))
    assert found.method == method
    if method != "slope-and-intercept":
        assert f"{sizes[1]} validation images of the smallest class are too few" in found.reason


def test_a_perfect_ranking_has_no_slope_but_an_intercept():
    labels = np.repeat([0, 1], 20)
    logits = np.stack([np.zeros(40), 4.0 * labels - 2 + np.linspace(-0.5, 0.5, 40)], axis=1)
    found = recalibration_of(Recipe(balance="smote"), balance_of("smote"), logits, labels)
    assert found.method == "intercept" and "separate the classes" in found.reason


def test_nothing_is_done_where_shares_stay_or_nobody_asks():
    logits, labels = overlapping((60, 20))
    for recipe, balance in (
        (Recipe(), None),
        (Recipe(balance="smote", recalibrate="none"), balance_of("smote")),
        (Recipe(balance="class-weight"), balance_of("class-weight", (30, 30))),
    ):
        assert recalibration_of(recipe, balance, logits, labels) is None


def test_several_classes_in_the_report():
    balance = balance_of("smote", (60, 20, 12))
    logits, labels = overlapping((40, 20, 15))
    found = recalibration_of(Recipe(balance="smote"), balance, logits, labels)
    result = recalibration_result(found, balance, logits, labels, "abc", None)
    assert result["parameters"]["intercept"] is None
    assert set(result["parameters"]["intercepts"]) == {"a", "b", "c"}
    assert result["after"]["log_loss"] < result["before"]["log_loss"]
    assert result["shares"]["training"] == pytest.approx(dict.fromkeys("abc", 1 / 3))
    assert result["shares"]["validation"]["a"] == pytest.approx(40 / 75)


# -- from the command line -----------------------------------------------------------------------


def test_a_weighted_run_gives_the_shares_of_the_data_back(folder):
    plain = result_of("plain", "--balance", "class-weight", "--recalibrate", "none")
    result = result_of("run", "--balance", "class-weight")
    assert plain["recalibration"] is None and plain["balance"]["method"] == "class-weight"
    told = result["recalibration"]
    assert told["method"] == "prior"
    assert told["shares"]["data"] == {"a": 0.75, "b": 0.25}
    assert told["shares"]["training"] == pytest.approx({"a": 0.5, "b": 0.5}, abs=1e-6)
    assert told["parameters"]["slope"] == 1.0
    assert told["parameters"]["intercept"] == pytest.approx(np.log(1 / 3), abs=1e-6)
    assert told["order"][-1].startswith("operating point chosen on validation")
    # Bayes on each image: the odds are divided by three
    is_b, raw = predictions("runs/plain/predictions/val.csv")
    _, corrected = predictions("runs/run/predictions/val.csv")
    np.testing.assert_allclose(log_odds(corrected), log_odds(raw) - np.log(3), atol=1e-5)
    assert abs(corrected.mean() - is_b.mean()) < abs(raw.mean() - is_b.mean())
    assert result["metrics"]["auroc"] == plain["metrics"]["auroc"]
    # before is what the history says of the best epoch; after is the run's metric
    best = result["history"]["val_loss"][result["best_epoch"] - 1]
    assert told["before"]["log_loss"] == pytest.approx(best, rel=1e-6)
    assert told["before"]["log_loss"] == pytest.approx(plain["metrics"]["log_loss"], rel=1e-9)
    for name in ("log_loss", "ece"):
        assert told["after"][name] == pytest.approx(result["metrics"][name], rel=1e-9)
    assert result["threshold"]["value"] == youden(is_b, corrected)


def test_a_smote_run_is_recalibrated_like_a_logistic_regression(folder):
    plain = result_of("plain", "--balance", "smote", "--recalibrate", "none")
    result = result_of("run", "--balance", "smote")
    assert result["balance"]["synthetic"] == 60
    assert "both in train" in result["balance"]["note"]
    is_b, raw = predictions("runs/plain/predictions/val.csv")
    reference = sm.Logit(is_b.astype(int), sm.add_constant(log_odds(raw))).fit(disp=0)
    told = result["recalibration"]
    assert told["method"] == "slope-and-intercept" and told["images"] == 80
    assert told["parameters"]["slope"] == pytest.approx(reference.params[1], rel=1e-5)
    assert told["parameters"]["intercept"] == pytest.approx(reference.params[0], rel=1e-5)
    _, corrected = predictions("runs/run/predictions/val.csv")
    np.testing.assert_allclose(corrected, reference.predict(), atol=1e-6)
    assert told["after"]["log_loss"] == pytest.approx(-reference.llf / 80, rel=1e-9)
    assert told["before"]["log_loss"] == pytest.approx(plain["metrics"]["log_loss"], rel=1e-9)
    assert result["threshold"]["value"] == youden(is_b, corrected)


def test_evaluate_predict_and_finetune_use_the_same_probabilities(folder, capsys):
    result = result_of("run", "--balance", "smote")
    assert run(["evaluate", "runs/run", "--split", "val", "--resamples", "100", "-q"]) == 0
    evaluated = json.loads(Path("runs/run/evaluate/val/report.json").read_text())["result"]
    for name, value in result["metrics"].items():
        assert evaluated["metrics"][name]["value"] == pytest.approx(value, abs=1e-12), name
    assert evaluated["threshold"] == result["threshold"]
    same = [
        predictions(f"runs/run/{f}.csv") for f in ("predictions/val", "evaluate/val/predictions")
    ]
    np.testing.assert_allclose(same[0][1], same[1][1], atol=1e-12)

    picture = "set/val/b/val0.png"
    capsys.readouterr()
    assert run(["predict", "runs/run", picture, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["result"]["predictions"][0]["probabilities"]["b"]
    with Path("runs/run/predictions/val.csv").open() as text:
        expected = next(r for r in csv.DictReader(text) if r["path"] == "val/b/val0.png")
    assert said == pytest.approx(float(expected["prob_b"]), abs=1e-12)

    common = ("--epochs", "1", "--recalibrate", "auto", "-q", "--name")
    assert run(["finetune", "runs/run", *common, "same"]) == 0
    tuned = json.loads(Path("runs/same/report.json").read_text())["result"]
    assert tuned["before"]["log_loss"] == pytest.approx(result["metrics"]["log_loss"], rel=1e-9)
    assert tuned["balance"]["synthetic"] == 60
    assert tuned["recalibration"]["method"] == "slope-and-intercept"
    # without balancing the weights still come from other shares
    assert run(["finetune", "runs/run", "--balance", "none", *common, "plain"]) == 0
    tuned = json.loads(Path("runs/plain/report.json").read_text())["result"]
    assert tuned["balance"] is None
    assert "come from a run on other class shares" in tuned["recalibration"]["reason"]


def test_the_test_part_lends_nothing(folder):
    first = result_of("one", "--balance", "smote")
    for number, file in enumerate(sorted(folder.glob("test/*/*.png"))):
        noise = np.random.default_rng([7, number]).integers(0, 256, (16, 16), np.uint8)
        assert cv2.imwrite(str(file), noise)
    second = result_of("two", "--balance", "smote")
    for name in ("recalibration", "threshold", "metrics"):
        assert first[name] == second[name]


def test_parents_in_balance_json_are_training_images_of_one_class(folder):
    result = result_of("run", "--balance", "smote", "--seed", "5")
    assert "balance.json" in result["artifacts"]
    written = json.loads(Path("runs/run/balance.json").read_text())
    assert len(written["made"]) == written["synthetic"] == 60
    for made in written["made"]:
        assert {p.rsplit("/", 1)[0] for p in made["parents"]} == {f"train/{made['class']}"}
        assert 0 <= made["share"] <= 1
    # `medimg balance` shows what train will do
    assert run(["balance", "set", "--method", "smote", "--seed", "5", "--name", "b", "-q"]) == 0
    assert json.loads(Path("runs/b/balance.json").read_text()) == written


def test_too_few_images_stop_the_training_before_it_starts(folder, capsys):
    for file in sorted(folder.glob("train/b/*.png"))[3:]:
        file.unlink()
    assert run(["train", "set", *FAST, "--balance", "smote", "--name", "run"]) == 3
    said = capsys.readouterr().err
    assert "smote needs 6 images of each class in the training part" in said
    assert "b has 3" in said and not Path("runs/run/report.json").exists()


KILLED = """
import os, sys
from medimg.cli.main import run
from medimg.training import run as module
write = module.write_history
def write_then_die(path, rows):
    write(path, rows)
    if len(rows) == 2:
        os._exit(9)
module.write_history = write_then_die
run(sys.argv[1:])
"""


@pytest.mark.parametrize("method", ["smote", "adasyn"])
def test_a_killed_run_goes_on_to_the_same_end(folder, method, tmp_path):
    whole = result_of("whole", "--balance", method)
    line = ["train", "set", *FAST, "--balance", method, "--name", "cut"]
    # pictures of its own, so that nothing comes from this process's cache
    environment = {**os.environ, "MEDIMG_CACHE": str(tmp_path / "cache")}
    killed = subprocess.run([sys.executable, "-c", KILLED, *line], timeout=60, env=environment)
    assert killed.returncode == 9 and not Path("runs/cut/report.json").exists()
    assert run(["train", "--resume", "runs/cut", "-q"]) == 0
    resumed = json.loads(Path("runs/cut/report.json").read_text())["result"]
    for name in ("metrics", "threshold", "recalibration", "balance", "best_epoch"):
        assert resumed[name] == whole[name], name
    cut, one = (Path(f"runs/{name}/balance.json").read_bytes() for name in ("cut", "whole"))
    assert cut == one
