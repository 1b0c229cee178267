"""medimg lr-find: a suggestion with its reasons, or none with the reason."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from medimg.core.report import check_shape

LINEAR = ("--backend", "linear", "--image-size", "32")


def test_a_suggestion_lies_among_its_candidates(medimg, phantoms):
    answer = medimg("lr-find", phantoms, *LINEAR, "--name", "lf", "--json")
    assert answer.code == 0, answer.err
    report = answer.report
    assert report == json.loads(Path("runs/lf/report.json").read_text())
    assert check_shape(report) == []
    result = report["result"]
    found = [rate for rate in result["candidates"].values() if rate]
    assert min(found) <= result["suggestion"] <= max(found)
    curve = result["curve"]
    assert len(curve["loss"]) == len(curve["learning_rate"]) <= 100
    assert curve["learning_rate"][0] == pytest.approx(1e-6)
    assert Path("runs/lf/plots/lr-find.png").is_file()
    assert "the rules agree within" in result["reason"]


def test_the_next_step_can_be_copied(medimg, phantoms):
    answer = medimg("lr-find", phantoms, *LINEAR, "--name", "lf")
    (line,) = [text for text in answer.out.splitlines() if text.startswith("Next: ")]
    words = shlex.split(line.removeprefix("Next: "))
    assert words[:2] == ["medimg", "train"]
    # it names the network that was measured
    assert words[2:-2] == [str(phantoms), *LINEAR] and words[-2] == "--lr"
    assert medimg(*words[1:], "--epochs", "1").code == 0


def test_the_next_step_keeps_what_the_rate_was_found_for(medimg, phantoms):
    settings = (*LINEAR, "--batch-size", "8", "--optimizer", "sgd", "--augment", "none")
    own = ("--steps", "60", "--end", "10", "--seeds", "1", "--name", "own")
    answer = medimg("lr-find", phantoms, *own, *settings)
    (line,) = [text for text in answer.out.splitlines() if text.startswith("Next: ")]
    assert set(settings) <= set(shlex.split(line)) and not set(own) & set(shlex.split(line))


def test_the_same_seed_gives_the_same_curve(medimg, phantoms):
    results = [
        medimg("lr-find", phantoms, *LINEAR, "--seed", seed, "--json").report["result"]
        for seed in (3, 3, 4)
    ]
    assert results[0]["curve"] == results[1]["curve"] != results[2]["curve"]


def test_several_seeds_are_told_with_their_agreement(medimg, phantoms):
    answer = medimg("lr-find", phantoms, *LINEAR, "--seeds", "4", "--seed", "5", "--json")
    assert answer.code == 0, answer.err
    result = answer.report["result"]
    assert [test["seed"] for test in result["seeds"]] == [5, 6, 7, 8]
    assert result["seeds"][0]["curve"] == result["curve"] != result["seeds"][1]["curve"]
    rates = [t["suggestion"] for t in result["seeds"] if t["suggestion"]]
    assert result["agreement"] == pytest.approx(max(rates) / min(rates))
    assert f"seeds agree within a factor of {result['agreement']:.1f}" in result["reason"]
    one = medimg("lr-find", phantoms, *LINEAR, "--seeds", "1", "--seed", "6", "--json").report
    assert one["result"]["agreement"] is None
    assert one["result"]["curve"] == result["seeds"][1]["curve"]


def test_rates_too_low_to_learn_give_no_suggestion(medimg, phantoms):
    answer = medimg(
        "lr-find", phantoms, *LINEAR, "--start", "1e-12", "--end", "1e-10", "--json",
    )  # fmt: skip
    assert answer.code == 0
    assert answer.report["result"]["suggestion"] is None
    reason = answer.report["result"]["reason"]
    assert "no safe suggestion" in reason
    assert "up to a rate of 1e-10, where it ends; raise --end" in reason


def test_divergence_at_once_gives_no_suggestion(medimg, phantoms):
    answer = medimg(
        "lr-find", phantoms, *LINEAR, "--optimizer", "sgd", "--start", "1e37", "--end", "1e38",
        "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert answer.report["result"]["suggestion"] is None
    assert "the loss diverged after" in answer.report["result"]["reason"]


def test_it_refuses_what_training_refuses(medimg, draw_folder):
    data = draw_folder("d", {s: {"NORMAL": 8} for s in ("train", "val", "test")})
    answer = medimg("lr-find", data, *LINEAR)
    assert answer.code == 1 and "one-class" in answer.err
    assert not Path("runs").exists()


@pytest.mark.parametrize("bounds", [("1", "1e-3"), ("0", "1"), ("-1", "1")])
def test_bounds_the_wrong_way_round(medimg, phantoms, bounds):
    assert medimg("lr-find", phantoms, "--start", bounds[0], "--end", bounds[1]).code == 2


def test_the_next_step_can_be_pasted(medimg, phantoms, tmp_path):
    import shutil

    shutil.copytree(phantoms, tmp_path / "my x-rays")
    line = ("--backend", "linear", "--image-size", "32", "-o", "group_regex=(person[0-9]+)")
    answer = medimg("lr-find", "my x-rays", *line, "--steps", "60", "--split-ratios", "70/15/15")
    assert answer.code == 0, answer.err
    assert (
        "Next: medimg train 'my x-rays' -o 'group_regex=(person[0-9]+)' --split-ratios 70/15/15 "
        "--backend linear --image-size 32 --lr "
    ) in answer.out


@pytest.mark.parametrize("bounds", [("1e-6", "inf"), ("0", "1"), ("1", "0.1"), ("nan", "1")])
def test_bounds_that_are_none(medimg, phantoms, bounds):
    answer = medimg("lr-find", phantoms, "--start", bounds[0], "--end", bounds[1])
    assert answer.code == 2 and "--end" in answer.err, answer.err
    assert len(answer.err.splitlines()) == 2
