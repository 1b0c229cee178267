"""Every metric against scikit-learn, and under integer weights against repeated rows."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk

import medimg.metrics
from medimg.core.errors import InputError
from medimg.core.scored import Scored, UndefinedMetric, metric, suited
from medimg.statistics.per_class import against_the_rest
from medimg.statistics.resampling import replicates

STEMS = sorted(
    file.stem
    for file in Path(medimg.metrics.__file__).parent.glob("*.py")
    if not file.stem.startswith("_")
)
METRICS = {stem: getattr(import_module(f"medimg.metrics.{stem}"), stem) for stem in STEMS}
CONTRACT = (
    "accuracy, balanced_accuracy, sensitivity, specificity, precision, npv, f1, macro_precision, "
    "macro_recall, macro_f1, weighted_f1, auroc, average_precision, mcc, cohen_kappa, log_loss, "
    "brier, ece"
).split(", ")
ABOUT_ONE_CLASS = {"sensitivity", "specificity", "precision", "npv", "f1"}


def predictions(seed: int, n: int, k: int, decimals: int | None = None) -> tuple:
    """Labels with every class, and informative probabilities; rounded scores have ties."""
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(k), rng.choice(k, n - k, p=np.arange(1, k + 1) / sum(range(k + 1)))]
    logits = rng.normal(size=(n, k))
    logits[np.arange(n), labels] += 1
    if decimals is not None:
        logits = logits.round(decimals)
    odds = np.exp(logits)
    return labels, odds / odds.sum(axis=1, keepdims=True)


def binary(seed: int = 0, n: int = 200, decimals: int | None = None, **settings) -> Scored:
    labels, probabilities = predictions(seed, n, 2, decimals)
    return Scored(labels, probabilities, **({"positive": 1, "threshold": 0.4} | settings))


def multiclass(seed: int = 0, n: int = 200, k: int = 4, decimals: int | None = None) -> Scored:
    return Scored(*predictions(seed, n, k, decimals))


def brute_ece(confidence, outcome, weights) -> float:
    gap = 0.0
    for i in range(15):
        inside = [
            j for j, c in enumerate(confidence) if i / 15 < c <= (i + 1) / 15 or (i == 0 and c == 0)
        ]
        gap += abs(sum(weights[j] * (confidence[j] - outcome[j]) for j in inside))
    return gap / sum(weights)


def expected(s: Scored, w=None) -> dict[str, float]:
    """scikit-learn's answers."""
    y, d, p = s.labels, s.decided, s.probabilities
    w = np.ones(len(y)) if w is None else w
    every = list(range(s.outputs))

    def averaged(function, average):
        return function(y, d, average=average, zero_division=0, sample_weight=w)

    found = {
        "accuracy": sk.accuracy_score(y, d, sample_weight=w),
        "balanced_accuracy": sk.balanced_accuracy_score(y, d, sample_weight=w),
        "macro_precision": averaged(sk.precision_score, "macro"),
        "macro_recall": averaged(sk.recall_score, "macro"),
        "macro_f1": averaged(sk.f1_score, "macro"),
        "weighted_f1": averaged(sk.f1_score, "weighted"),
        "mcc": sk.matthews_corrcoef(y, d, sample_weight=w),
        "cohen_kappa": sk.cohen_kappa_score(y, d, sample_weight=w),
        "log_loss": sk.log_loss(y, p, sample_weight=w, labels=every),
    }
    if s.task == "binary":
        yes, score, called = y == s.positive, p[:, s.positive], d == s.positive
        found |= {
            "sensitivity": sk.recall_score(yes, called, sample_weight=w),
            "specificity": sk.recall_score(~yes, ~called, sample_weight=w),
            "precision": sk.precision_score(yes, called, sample_weight=w),
            "npv": sk.precision_score(~yes, ~called, sample_weight=w),
            "f1": sk.f1_score(yes, called, sample_weight=w),
            "auroc": sk.roc_auc_score(yes, score, sample_weight=w),
            "average_precision": sk.average_precision_score(yes, score, sample_weight=w),
            "brier": sk.brier_score_loss(yes, score, sample_weight=w),
            "ece": brute_ece(score, yes, w),
        }
    else:
        one_hot = y[:, None] == np.arange(s.outputs)
        found |= {
            name: np.mean([f(one_hot[:, k], p[:, k], sample_weight=w) for k in every])
            for name, f in (
                ("auroc", sk.roc_auc_score),
                ("average_precision", sk.average_precision_score),
            )
        }
        found["brier"] = np.average(((p - one_hot) ** 2).sum(axis=1), weights=w)
        found["ece"] = brute_ece(p.max(axis=1), p.argmax(axis=1) == y, w)
    return found


CASES = {
    "binary": binary(),
    "binary, class 0 positive": binary(1, positive=0, threshold=0.7),
    "binary, ties": binary(2, decimals=0),
    "binary, no threshold": binary(3, threshold=None),
    "four classes": multiclass(4),
    "four classes, ties": multiclass(5, decimals=0),
    "seven classes, few images": multiclass(6, n=40, k=7),
}


def test_names_are_those_of_the_contract():
    assert sorted(CONTRACT) == STEMS


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_scikit_learn(case):
    scored = CASES[case]
    wanted = expected(scored)
    found = {name: f(scored) for name, f in suited(METRICS, scored).items()}
    assert found == pytest.approx(wanted, abs=1e-10)
    assert all(type(value) is float for value in found.values())


@pytest.mark.parametrize("case", CASES)
def test_integer_weights_repeat_rows(case):
    scored = CASES[case]
    rng = np.random.default_rng(9)
    weights = rng.integers(0, 4, (5, len(scored))).astype(float)
    weights[:, : scored.outputs] += 1  # every class stays
    fitting = suited(METRICS, scored)
    blocks = {name: function(scored, weights) for name, function in fitting.items()}
    for place, row in enumerate(weights):
        again = np.repeat(np.arange(len(scored)), row.astype(int))
        repeated = Scored(
            scored.labels[again],
            scored.probabilities[again],
            scored.positive,
            scored.threshold,
        )
        drawn = {name: block[place] for name, block in blocks.items()}
        assert {n: f(scored, row) for n, f in fitting.items()} == pytest.approx(drawn, abs=1e-12)
        assert {n: f(repeated) for n, f in fitting.items()} == pytest.approx(drawn, abs=1e-10)
        assert expected(scored, row) == pytest.approx(drawn, abs=1e-10)


def test_two_classes_without_a_positive_one_are_multiclass():
    scored = binary(positive=None, threshold=0.4)
    about_one = binary(positive=1, threshold=None)
    assert not ABOUT_ONE_CLASS & set(suited(METRICS, scored))
    assert ABOUT_ONE_CLASS < set(suited(METRICS, about_one))
    assert (scored.decided == scored.probabilities.argmax(axis=1)).all()
    for name in ("accuracy", "auroc", "brier", "log_loss"):
        assert METRICS[name](scored) == pytest.approx(METRICS[name](about_one)), name
    with pytest.raises(UndefinedMetric, match="no positive class"):
        METRICS["sensitivity"](scored)


def undefined(scored: Scored) -> dict[str, str]:
    reasons = {}
    for name, function in suited(METRICS, scored).items():
        try:
            assert np.isfinite(function(scored)), name
        except UndefinedMetric as error:
            reasons[name] = error.reason
    return reasons


def test_one_class_present():
    p = np.array([0.1, 0.6, 0.8])
    scored = Scored([0, 0, 0], np.c_[1 - p, p], 1, 0.5, ("healthy", "ill"))
    assert undefined(scored) == {
        "auroc": "no image of ill in this part",
        "average_precision": "no image of ill in this part",
        "balanced_accuracy": "no image of ill in this part",
        "cohen_kappa": "every image has the same class",
        "f1": "no positive image in this part",
        "macro_f1": "no image of ill in this part",
        "macro_precision": "no image of ill in this part",
        "macro_recall": "no image of ill in this part",
        "mcc": "every image has the same class or gets the same answer",
        "npv": "no positive image in this part",
        "precision": "no positive image in this part",
        "sensitivity": "no positive image in this part",
    }
    ill = Scored([1, 1, 1], np.c_[1 - p, p], 1, 0.5, ("healthy", "ill"))
    assert undefined(ill)["auroc"] == "every image in this part is ill"
    assert undefined(ill)["specificity"] == "no negative image in this part"
    # 1 and 0 whatever the model answers
    assert undefined(ill)["average_precision"] == "every image in this part is ill"
    assert undefined(ill)["precision"] == "no negative image in this part"
    assert undefined(ill)["npv"] == "no negative image in this part"


@pytest.mark.parametrize(("outputs", "label"), [(2, 0), (2, 1), (3, 0), (3, 1), (3, 2)])
def test_in_a_part_of_one_class_no_number_is_the_same_for_every_model(outputs, label):
    """What no model could change says nothing about one: it is undefined."""
    rng = np.random.default_rng(7)
    labels = np.full(40, label)
    models = []
    for _ in range(6):
        logits = rng.normal(0, 2, (40, outputs)) + rng.normal(0, 0.7, outputs)
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        models.append(Scored(labels, p, 1 if outputs == 2 else None, 0.5))
    assert min(len(set(m.decided)) for m in models) > 1
    for name, function in {**suited(METRICS, models[0]), **against_the_rest(models[0])}.items():
        try:
            values = {round(function(model), 9) for model in models}
        except UndefinedMetric:
            continue
        assert len(values) > 1, (name, values)


def test_constant_scores_and_one_answer():
    half = np.full((4, 2), 0.5)
    scored = Scored([0, 0, 0, 1], half, 1, 0.6)
    assert METRICS["auroc"](scored) == 0.5
    assert METRICS["average_precision"](scored) == 0.25
    assert METRICS["f1"](scored) == 0
    assert METRICS["cohen_kappa"](scored) == 0
    reasons = undefined(scored)
    assert set(reasons) == {"precision", "macro_precision", "mcc"}
    assert reasons["macro_precision"] == "no image was called class 1"
    assert reasons["precision"] == "no image was called positive"
    assert Scored([0], [[0.5, 0.5]], 1, 0.5).decided.tolist() == [1]  # p >= threshold


def test_one_image_and_none():
    one = Scored([1], [[0.2, 0.8]], 1, 0.5)
    assert METRICS["accuracy"](one) == 1
    assert METRICS["brier"](one) == pytest.approx(0.04)
    assert METRICS["log_loss"](one) == pytest.approx(-np.log(0.8))
    assert METRICS["ece"](one) == pytest.approx(0.2)
    assert {"auroc", "cohen_kappa", "mcc", "specificity", "npv"} <= set(undefined(one))
    for nothing in (
        Scored(np.zeros(0, int), np.zeros((0, 2)), 1, 0.5),
        Scored(np.zeros(0, int), np.zeros((0, 3))),
    ):
        assert set(undefined(nothing)) == set(suited(METRICS, nothing))


def test_undefined_resamples_are_nan_in_a_block():
    scored = Scored([0, 0, 1], [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]], 1, 0.5)
    weights = np.array([[1.0, 1, 1], [2, 1, 0], [0, 0, 3]])
    assert np.isnan(METRICS["auroc"](scored, weights)).tolist() == [False, True, True]
    assert np.isnan(METRICS["sensitivity"](scored, weights)).tolist() == [False, True, False]


def test_a_confidently_wrong_answer_has_a_finite_loss():
    scored = Scored([0], [[0.0, 1.0]], 1, 0.5)
    assert METRICS["log_loss"](scored) == pytest.approx(-np.log(np.finfo(float).eps))


def test_kept_sums_never_outlive_their_weights():
    scored = binary()
    weights = np.ones((1, len(scored)))
    before = METRICS["accuracy"](scored, weights)[0]
    weights[0, scored.labels == scored.decided] = 0
    assert before > 0.5
    assert METRICS["accuracy"](scored, weights)[0] == 0
    for seed in range(3):
        fixed = np.random.default_rng(seed).integers(0, 3, (2, len(scored))).astype(float)
        fixed.setflags(write=False)
        repeated = scored.confusion(fixed.copy())
        assert (scored.confusion(fixed) == repeated).all()
        assert (scored.confusion(fixed) == repeated).all()


def test_a_strangers_metric_needs_no_more_than_scored_and_weights():
    @metric(tasks=("binary",), higher_is_better=False)
    def missed(scored: Scored, weights=None) -> float:
        w = np.ones(len(scored)) if weights is None else weights
        return float(w @ ((scored.labels == 1) & (scored.decided == 0)) / w.sum())

    scored = binary()
    weights = np.random.default_rng(0).integers(0, 3, (4, len(scored))).astype(float)
    looped = replicates(missed, scored, weights)
    counts = scored.confusion(weights)
    assert looped == pytest.approx(counts[:, 1, 0] / counts.sum(axis=(1, 2)))
    assert missed.tasks == ("binary",) and not missed.higher_is_better and not missed.vectorised
    assert list(suited({"missed": missed, "plain": len}, multiclass())) == ["plain"]


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([0, 1], [[0.5, 0.5]], "one label and one row"),
        ([0, 2], [[0.5, 0.5]] * 2, "labels run from 0 to 2"),
        ([0, -1], [[0.5, 0.5]] * 2, "labels run from -1 to 0"),
        ([0.0, 1.0], [[0.5, 0.5]] * 2, "class numbers"),
        ([0, 1], [[0.5, 0.5], [0.7, 0.7]], "row 1 is not"),
        ([0, 1], [[0.5, 0.5], [np.nan, 0.7]], "row 1 is not"),
        ([0, 1], [[1.5, -0.5], [0.5, 0.5]], "row 0 is not"),
    ],
)
def test_what_is_no_prediction_is_refused(labels, probabilities, message):
    with pytest.raises(InputError, match=message):
        Scored(labels, probabilities)
