"""medimg evaluate: temperature, then threshold, both from validation and kept in the run."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn import metrics as sk

from medimg.core.runs import read_predictions, write_predictions
from medimg.core.scored import Scored
from medimg.metrics.ece import ece
from medimg.reports.evaluation_text import temperature_lines

QUICK = ("--no-plots", "--resamples", "100", "--no-progress", "--json")


def evaluated(medimg, *arguments):
    answer = medimg("evaluate", *arguments, *QUICK)
    assert answer.code == 0, answer.err
    return answer.report["result"]


@pytest.fixture
def taught(runs) -> Path:
    """Validation predictions of a network that has learnt something, and is too sure of it."""
    file = runs / "two/predictions/val.csv"
    table = read_predictions(file)
    ill = np.array(table.labels) == "PNEUMONIA"
    logits = np.where(ill, 4.0, -4.0) + np.linspace(-1, 1, len(ill))
    logits[[0, -1]] *= -0.5
    p = 1 / (1 + np.exp(-logits))
    columns = np.stack([1 - p, p], axis=1)
    if table.classes.index("PNEUMONIA") == 0:
        columns = columns[:, ::-1]
    write_predictions(file, replace(table, probabilities=columns))
    return runs


def truth_and_scores(file: str) -> tuple[np.ndarray, np.ndarray]:
    table = read_predictions(Path(file))
    p = table.probabilities[:, table.classes.index("PNEUMONIA")]
    return np.array(table.labels) == "PNEUMONIA", p


def at_temperature(p: np.ndarray, temperature: float) -> np.ndarray:
    return 1 / (1 + np.exp(-np.log(p / (1 - p)) / temperature))


def test_a_rule_is_kept_and_applied_unchanged(medimg, taught):
    first = evaluated(medimg, "runs/two", "--threshold", "cost=5:1")["threshold"]
    assert (first["rule"], first["chosen_on"]) == ("cost=5:1", "val")
    truth, p = truth_and_scores("runs/two/predictions/val.csv")
    costs = [5 * (truth & (p < c)).sum() + (~truth & (p >= c)).sum() for c in [*p, 2.0]]
    cut = first["value"]
    assert 5 * (truth & (p < cut)).sum() + (~truth & (p >= cut)).sum() == min(costs)
    kept = json.loads(Path("runs/two/operating.json").read_text())["points"]["cost=5:1"]
    assert kept["value"] == cut and kept["images"] == len(truth)
    assert kept["sensitivity"] == pytest.approx((p[truth] >= cut).mean())
    assert evaluated(medimg, "runs/two", "--threshold", "cost=5:1")["threshold"] == first
    evaluated(medimg, "runs/two", "--threshold", "fbeta=2")
    points = json.loads(Path("runs/two/operating.json").read_text())["points"]
    assert set(points) == {"cost=5:1", "fbeta=2"}


def test_temperature_is_fitted_on_validation_and_kept(medimg, taught, phantoms):
    plain = evaluated(medimg, "runs/two")
    assert plain["temperature"] is None
    result = evaluated(medimg, "runs/two", "--calibrate")
    truth, p = truth_and_scores("runs/two/predictions/val.csv")
    searched = minimize_scalar(
        lambda t: sk.log_loss(truth, at_temperature(p, t)), bounds=(0.02, 100), method="bounded",
        options={"xatol": 1e-9},
    )  # fmt: skip
    found = result["temperature"]
    assert found["value"] == pytest.approx(searched.x, rel=1e-4)
    assert found["log_loss"]["before"] == pytest.approx(sk.log_loss(truth, p))
    assert found["log_loss"]["after"] <= found["log_loss"]["before"]
    assert (found["fitted_on"], found["kept"]) == ("val", "operating.json")
    # both errors, as an evaluation defines them
    for when, scores in (("before", p), ("after", at_temperature(p, found["value"]))):
        scored = Scored(truth.astype(int), np.c_[1 - scores, scores], 1, 0.5)
        assert found["ece"][when] == pytest.approx(ece(scored))
    # no answer and no ranking changes, only how sure it is
    assert result["confusion_matrix"] == plain["confusion_matrix"]
    assert result["metrics"]["auroc"]["value"] == pytest.approx(plain["metrics"]["auroc"]["value"])
    assert result["metrics"]["log_loss"]["value"] != plain["metrics"]["log_loss"]["value"]
    test_truth, test_p = truth_and_scores("runs/two/evaluate/test-3/predictions.csv")
    _, before = truth_and_scores("runs/two/evaluate/test-2/predictions.csv")
    np.testing.assert_allclose(test_p, at_temperature(before, found["value"]), rtol=1e-6)
    assert result["calibration"]["log_loss"] == pytest.approx(sk.log_loss(test_truth, test_p))
    # from then on it is the run's
    again = evaluated(medimg, "runs/two")
    assert again["metrics"] == result["metrics"] and again["temperature"] == found
    without = evaluated(medimg, "runs/two", "--no-calibrate")
    assert without["metrics"] == plain["metrics"] and without["temperature"] is None
    rule = evaluated(medimg, "runs/two", "--threshold", "youden")["threshold"]["value"]
    best = max((p[truth] >= c).mean() - (p[~truth] >= c).mean() for c in p)
    warm = at_temperature(p, found["value"])
    assert (warm[truth] >= rule).mean() - (warm[~truth] >= rule).mean() == pytest.approx(best)
    # predict says the same as evaluate
    image = sorted((phantoms / "test").rglob("*.png"))[0]
    said = medimg("predict", "runs/two", image, "--json", "--no-progress").report["result"]
    table = read_predictions(Path("runs/two/evaluate/test-3/predictions.csv"))
    row = [Path(x).name for x in table.paths].index(image.name)
    place = table.classes.index("PNEUMONIA")
    assert said["predictions"][0]["probabilities"]["PNEUMONIA"] == pytest.approx(
        table.probabilities[row, place], rel=1e-5
    )
    assert said["threshold"] == pytest.approx(again["threshold"]["value"])


def test_the_threshold_is_chosen_after_the_temperature(medimg, taught):
    """Halfway between two probabilities is elsewhere once they are brought to a temperature."""
    before = evaluated(medimg, "runs/two")["threshold"]
    first = evaluated(medimg, "runs/two", "--calibrate")
    warm = first["threshold"]
    assert (warm["rule"], warm["chosen_on"]) == (before["rule"], before["chosen_on"])
    # one value whichever way it is asked for, then and later
    assert evaluated(medimg, "runs/two", "--threshold", warm["rule"])["threshold"] == warm
    assert evaluated(medimg, "runs/two")["threshold"] == warm
    kept = json.loads(Path("runs/two/operating.json").read_text())["points"][warm["rule"]]
    assert kept["value"] == warm["value"]
    truth, p = truth_and_scores("runs/two/predictions/val.csv")
    scores = at_temperature(p, first["temperature"]["value"])
    called = scores >= warm["value"]
    assert kept["sensitivity"] == pytest.approx(called[truth].mean())
    assert kept["specificity"] == pytest.approx((~called[~truth]).mean())


def test_nothing_to_calibrate_on(medimg, runs):
    Path("runs/two/predictions/val.csv").unlink()
    answer = medimg("evaluate", "runs/two", "--calibrate", *QUICK)
    assert answer.code == 2 and "no validation predictions to calibrate on" in answer.err
    assert not Path("runs/two/operating.json").exists()


def test_a_damaged_file_is_named(medimg, runs):
    Path("runs/two/operating.json").write_text("{")
    answer = medimg("evaluate", "runs/two", *QUICK)
    assert answer.code == 3 and "operating.json is damaged" in answer.err


def test_predictions_made_elsewhere_are_calibrated_on_their_validation_rows(
    medimg, taught, phantoms
):
    rows = []
    for part in ("predictions/val.csv", "evaluate/test/predictions.csv"):
        with (taught / "two" / part).open(newline="") as file:
            rows += list(csv.DictReader(file))
    with Path("all.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    line = ("--predictions", "all.csv", phantoms)
    given = evaluated(medimg, *line, "--calibrate")
    run = evaluated(medimg, "runs/two", "--calibrate")
    assert given["temperature"]["value"] == pytest.approx(run["temperature"]["value"])
    assert given["temperature"]["kept"] is None
    assert given["metrics"]["log_loss"]["value"] == pytest.approx(
        run["metrics"]["log_loss"]["value"]
    )
    answer = medimg(
        "evaluate", "--predictions", "runs/two/evaluate/test/predictions.csv", phantoms,
        "--calibrate", *QUICK,
    )  # fmt: skip
    assert answer.code == 2 and "flatter the test" in answer.err


def test_what_a_temperature_does_is_said_of_both_errors():
    found = {
        "value": 1.4, "fitted_on": "val", "images": 1200,
        "log_loss": {"before": 0.5, "after": 0.42}, "ece": {"before": 0.05, "after": 0.04},
    }  # fmt: skip
    ((line, severity),) = temperature_lines(found)
    assert "log loss there 0.5000 → 0.4200, ECE 0.0500 → 0.0400" in line and severity is None
    worse = found | {"ece": {"before": 0.05, "after": 0.09}}
    (first, _), (second, severity) = temperature_lines(worse)
    assert "ECE 0.0500 → 0.0900" in first
    assert severity == "warning" and "the calibration error has grown" in second
    assert list(temperature_lines(None)) == []
