"""An evaluation's numbers against scikit-learn, and what stands where a number can't."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk
from statsmodels.stats.proportion import proportion_confint

import medimg.metrics
from medimg.core.errors import InputError
from medimg.reports.evaluation_text import bootstrap_line
from medimg.statistics.evaluation import evaluate_predictions

METRICS = {
    file.stem: getattr(import_module(f"medimg.metrics.{file.stem}"), file.stem)
    for file in Path(medimg.metrics.__file__).parent.glob("*.py")
    if not file.stem.startswith("_")
}
PAIR = ("NORMAL", "PNEUMONIA")
TRIO = ("glioma", "meningioma", "pituitary")


def images(seed: int, n: int, k: int) -> tuple:
    rng = np.random.default_rng(seed)
    labels = rng.choice(k, n, p=np.arange(1, k + 1) / sum(range(k + 1)))
    logits = rng.normal(size=(n, k))
    logits[np.arange(n), labels] += 1.2
    odds = np.exp(logits)
    return labels, odds / odds.sum(axis=1, keepdims=True)


def evaluate(labels, p, groups=None, classes=PAIR, positive=1, threshold=0.3, **settings):
    settings = {"metrics": METRICS, "resamples": 200} | settings
    found = evaluate_predictions(labels, p, groups, classes, positive, threshold, **settings)
    json.dumps(found, allow_nan=False)  # nothing that JSON can't hold
    return found


def test_two_classes():
    labels, p = images(0, 300, 2)
    found = evaluate(labels, p)
    called = (p[:, 1] >= 0.3).astype(int)
    assert found["positive"] == "PNEUMONIA" and found["images"] == 300
    assert set(found["metrics"]) == set(METRICS)
    value = {name: row["value"] for name, row in found["metrics"].items()}
    assert value["sensitivity"] == pytest.approx(sk.recall_score(labels, called))
    assert value["auroc"] == pytest.approx(sk.roc_auc_score(labels, p[:, 1]))
    for row in found["metrics"].values():
        assert row["n"] == 300 and row["reason"] is None
        assert row["ci95"][0] <= row["value"] <= row["ci95"][1] or row is found["metrics"]["ece"]
        assert row["method"]
    methods = {name: row["method"] for name, row in found["metrics"].items()}
    assert methods["accuracy"] == "Wilson" and methods["auroc"].startswith("DeLong")
    assert methods["f1"] == found["ci"]["method"]
    assert "prevalence" in found["ci"]["note"] and "patients are unknown" in found["ci"]["note"]
    assert found["confusion_matrix"] == {
        "labels": list(PAIR),
        "counts": sk.confusion_matrix(labels, called).tolist(),
    }
    assert found["calibration"]["ece"] == pytest.approx(value["ece"])
    assert found["by_group"] is None and found["groups"] is None
    assert found["ci"]["resamples"] == 200 and found["ci"]["level"] == 0.95


def test_at_half():
    labels, p = images(1, 300, 2)
    found = evaluate(labels, p)
    half, whole = found["metrics_at_half"], evaluate(labels, p, threshold=0.5)
    assert half == whole["metrics"] == whole["metrics_at_half"]
    assert half["auroc"] == found["metrics"]["auroc"]
    wanted = sk.accuracy_score(labels, p[:, 1] >= 0.5)
    assert half["accuracy"]["value"] == pytest.approx(wanted)
    assert half["accuracy"] != found["metrics"]["accuracy"]


@pytest.mark.parametrize("k", [2, 3])
def test_by_class(k):
    labels, p = images(2, 200, k)
    settings = {"classes": TRIO, "positive": None, "threshold": None} if k == 3 else {}
    found = evaluate(labels, p, **settings)
    called = p.argmax(axis=1) if k == 3 else (p[:, 1] >= 0.3).astype(int)
    precision, recall, f1, support = sk.precision_recall_fscore_support(labels, called)
    for number, (name, row) in enumerate(found["per_class"].items()):
        assert name == (TRIO if k == 3 else PAIR)[number]
        is_it = labels == number
        assert row == pytest.approx(
            {
                "precision": precision[number],
                "recall": recall[number],
                "specificity": sk.recall_score(~is_it, called != number),
                "f1": f1[number],
                "support": support[number],
                "auroc": sk.roc_auc_score(is_it, p[:, number]),
            }
        )


def test_several_classes():
    labels, p = images(3, 240, 3)
    found = evaluate(labels, p, None, TRIO, None, None)
    assert not {"sensitivity", "specificity", "precision", "npv", "f1"} & set(found["metrics"])
    assert found["metrics_at_half"] is None and found["positive"] is None
    assert found["metrics"]["auroc"]["value"] == pytest.approx(
        sk.roc_auc_score(labels, p, multi_class="ovr")
    )
    assert found["calibration"]["slope"] is None and found["calibration"]["reason"]


def test_majority_baseline():
    labels, p = images(4, 200, 2)
    share = labels.mean()
    # shares of nothing but this part would know what they are to predict
    unknown = evaluate(labels, p)["baseline"]
    assert {n for n, row in unknown.items() if row["value"] is None} == {
        "log_loss", "brier", "ece", "npv", "mcc", "macro_precision",
    }  # fmt: skip
    assert "would be cheating" in unknown["ece"]["reason"]
    assert unknown["accuracy"]["value"] == pytest.approx(share)
    assert unknown["accuracy"]["method"] == "always PNEUMONIA, at the class shares of this part"
    found = evaluate(labels, p, prior=[1 - share, share])["baseline"]
    value = {name: row["value"] for name, row in found.items()}
    assert value["accuracy"] == pytest.approx(share)
    assert value["balanced_accuracy"] == value["auroc"] == 0.5
    assert value["average_precision"] == pytest.approx(share)
    constant = np.tile([1 - share, share], (200, 1))
    assert value["log_loss"] == pytest.approx(sk.log_loss(labels, constant))
    assert value["ece"] == pytest.approx(0, abs=1e-12)
    assert value["npv"] is None
    assert found["npv"]["reason"] == "no image was called negative"
    assert found["accuracy"]["ci95"] is None
    other = evaluate(labels, p, prior=[0.8, 0.2])["baseline"]
    assert other["accuracy"]["method"] == "always NORMAL, at the class shares of train"
    assert other["accuracy"]["value"] == pytest.approx(1 - share)
    assert other["precision"]["value"] is None


def test_patients():
    labels = np.array([0, 0, 1, 1, 1, 0, 1, 0, 1, 0])
    second = np.array([0.1, 0.6, 0.9, 0.2, 0.4, 0.2, 0.9, 0.2, 0.6, 0.7])
    groups = ["a", "a", "b", "b", "b", "mixed", "mixed", "c", "d", "e"]
    found = evaluate(labels, np.c_[1 - second, second], groups, threshold=0.5)
    assert found["groups"] == 6 and "by patient" in found["ci"]["method"]
    by_patient = found["by_group"]
    assert (by_patient["groups"], by_patient["left_out"]) == (5, 1)
    # a 0.35, b 0.5, c 0.2, d 0.6, e 0.7 against ill: b, d
    truth, means = [0, 1, 0, 1, 0], [0.35, 0.5, 0.2, 0.6, 0.7]
    value = {name: row["value"] for name, row in by_patient["metrics"].items()}
    assert value["auroc"] == pytest.approx(sk.roc_auc_score(truth, means))
    assert value["accuracy"] == pytest.approx(4 / 5)
    assert by_patient["metrics"]["auroc"]["n"] == 5
    # patients are independent of one another
    assert by_patient["metrics"]["accuracy"]["method"] == "Wilson"


def test_patients_by_their_highest_probability():
    labels = np.array([0, 0, 1, 0, 0, 1])
    second = np.array([0.1, 0.6, 0.9, 0.2, 0.4, 0.8])
    groups = ["a", "a", "b", "b", "c", "d"]
    found = evaluate(labels, np.c_[1 - second, second], groups, threshold=0.5, pooling="max")
    by_patient = found["by_group"]
    # a 0.6 well, b 0.9 ill for one ill image, c 0.4 well, d 0.8 ill
    assert (by_patient["groups"], by_patient["left_out"], by_patient["pooling"]) == (4, 0, "max")
    value = {name: row["value"] for name, row in by_patient["metrics"].items()}
    assert value["auroc"] == 1.0 and value["specificity"] == 0.5 and value["sensitivity"] == 1.0
    three = np.array([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6], [0.1, 0.1, 0.8]])
    settings = {"classes": TRIO, "positive": None, "threshold": None, "pooling": "max"}
    found = evaluate([0, 0, 2, 1], three, ["a", "a", "b", "c"], **settings)["by_group"]
    # a: 0.5, 0.6, 0.3 of 1.4: the second class
    assert found["metrics"]["accuracy"]["value"] == pytest.approx(1 / 3)
    assert found["metrics"]["log_loss"]["value"] == pytest.approx(
        -(np.log(0.5 / 1.4) + np.log(0.6) + np.log(0.1)) / 3
    )


def test_images_without_a_patient_and_patients_that_are_all_mixed():
    labels, p = np.array([0, 1, 0, 1]), np.array([[0.6, 0.4]] * 2 + [[0.3, 0.7]] * 2)
    found = evaluate(labels, p, ["a", "a", None, None], threshold=0.5)
    assert found["groups"] == 1
    assert found["by_group"]["metrics"] == {}
    assert (found["by_group"]["left_out"], found["by_group"]["images_without_group"]) == (1, 2)


def test_a_network_that_answers_one_class():
    labels = np.array([0] * 6 + [1] * 4)
    found = evaluate(labels, np.tile([0.9, 0.1], (10, 1)), threshold=0.5)
    assert found["metrics"]["precision"]["value"] is None
    assert found["metrics"]["precision"]["reason"] == "no image was called positive"
    assert found["metrics"]["sensitivity"]["value"] == 0
    low, high = found["metrics"]["sensitivity"]["ci95"]
    assert low == 0 and high == pytest.approx(0.4898908)  # Wilson, 0 of 4
    assert found["metrics"]["mcc"]["ci95"] is None and found["metrics"]["mcc"]["reason"]
    assert found["per_class"]["PNEUMONIA"]["precision"] is None


def test_one_image():
    found = evaluate([1], [[0.2, 0.8]])
    assert found["metrics"]["accuracy"]["value"] == 1
    assert found["metrics"]["auroc"]["value"] is None
    assert found["per_class"]["NORMAL"]["recall"] is None


def test_the_same_seed_gives_the_same_report():
    labels, p = images(5, 120, 2)
    groups = [f"p{i // 3}" for i in range(120)]
    assert evaluate(labels, p, groups, seed=1) == evaluate(labels, p, groups, seed=1)
    assert evaluate(labels, p, groups, seed=1) != evaluate(labels, p, groups, seed=2)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="no prediction"):
        evaluate(np.zeros(0, int), np.zeros((0, 2)))
    with pytest.raises(InputError, match="2 columns of probabilities for 3 classes"):
        evaluate([0, 1], [[0.5, 0.5]] * 2, classes=TRIO)


@pytest.mark.parametrize("k", [2, 3])
def test_intervals_of_each_class(k):
    """Each class's numbers are those of a task of that class against the rest."""
    labels, p = images(2, 200, k)
    settings = {"classes": TRIO, "positive": None, "threshold": None} if k == 3 else {}
    found = evaluate(labels, p, **settings)
    called = p.argmax(axis=1) if k == 3 else (p[:, 1] >= 0.3).astype(int)
    for number, (name, cells) in enumerate(found["per_class_intervals"].items()):
        for metric, cell in cells.items():
            assert cell["value"] == pytest.approx(found["per_class"][name][metric])
            assert cell["ci95"][0] <= cell["value"] <= cell["ci95"][1] and cell["method"]
        of_it, said = labels == number, called == number
        for metric, hits, among in (
            ("recall", of_it & said, of_it),
            ("precision", of_it & said, said),
            ("specificity", ~of_it & ~said, ~of_it),
        ):
            wanted = proportion_confint(hits.sum(), among.sum(), method="wilson")
            assert cells[metric]["ci95"] == pytest.approx(wanted)
            assert cells[metric]["method"] == "Wilson"
    if k == 2:
        ill = found["per_class_intervals"]["PNEUMONIA"]
        assert ill["auroc"]["ci95"] == pytest.approx(found["metrics"]["auroc"]["ci95"])
        assert ill["f1"]["ci95"] == found["metrics"]["f1"]["ci95"]
        assert ill["recall"]["ci95"] == pytest.approx(found["metrics"]["sensitivity"]["ci95"])


def test_intervals_of_each_class_are_by_patient():
    labels, p = images(6, 240, 3)
    order = np.argsort(labels, kind="stable")
    groups = [f"p{i // 4}" for i in range(240)]
    settings = {"classes": TRIO, "positive": None, "threshold": None}
    found = evaluate(labels[order], p[order], groups, **settings)["per_class_intervals"]
    assert found["glioma"]["recall"]["method"].startswith("percentile bootstrap by patient")
    assert found["glioma"]["auroc"]["method"].startswith("Obuchowski")


def test_a_class_of_one_patient_is_named_where_there_is_no_interval():
    """Seven ill patients and one well: of eight drawn, a third are without the well one."""
    rng = np.random.default_rng(0)
    second = np.r_[0.2, rng.uniform(0.3, 0.9, 7)]
    labels = np.r_[0, np.ones(7, int)]
    pair = np.repeat(np.c_[1 - second, second], 3, axis=0)
    groups = [f"p{i // 3}" for i in range(24)]
    found = evaluate(np.repeat(labels, 3), pair, groups, threshold=0.5)
    for rows, unit in ((found["metrics"], "patient"), (found["by_group"]["metrics"], "patient")):
        cell = rows["balanced_accuracy"]
        assert cell["value"] is not None and cell["ci95"] is None and cell["method"] is None
        assert cell["reason"].startswith("undefined in ")
        assert cell["reason"].endswith(f" of the resamples: only 1 {unit} shows NORMAL")
        assert not any("image" in (row["reason"] or "") for row in rows.values())
    alone = evaluate(np.repeat(labels, 3)[::3], pair[::3], threshold=0.5)["metrics"]
    assert alone["balanced_accuracy"]["reason"].endswith("only 1 image shows NORMAL")


def test_few_patients_have_intervals_that_hold_for_few_alone():
    labels, second = np.array([0, 0, 1, 1]), np.array([0.1, 0.6, 0.5, 0.9])
    groups = ["a", "b", "c", "d"]
    pair = np.repeat(np.c_[1 - second, second], 2, axis=0)
    found = evaluate(np.repeat(labels, 2), pair, np.repeat(groups, 2).tolist(), threshold=0.5)
    cells = found["by_group"]["metrics"]
    assert cells["accuracy"]["method"] == "Wilson" and cells["accuracy"]["ci95"]
    for name in ("auroc", "f1", "balanced_accuracy", "brier"):
        assert cells[name]["ci95"] is None
        assert cells[name]["reason"] == "4 patients: an interval by patient needs 5 or more"


def test_copies_are_named_where_they_are_what_is_drawn():
    labels, p = images(7, 60, 2)
    contents = [f"picture {i // 2}" for i in range(60)]
    labels = np.repeat(labels[::2], 2)
    found = evaluate(labels, p, contents=contents)
    line = bootstrap_line(found["ci"])
    assert "by picture" in found["ci"]["method"] and "resamples of distinct pictures" in line
    assert "resamples of images" in bootstrap_line(evaluate(labels, p)["ci"])
    groups = [f"p{i // 4}" for i in range(60)]
    assert "resamples of patients" in bootstrap_line(evaluate(labels, p, groups)["ci"])
