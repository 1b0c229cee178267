"""What ships in the box keeps what every plugin must, and the kit finds what does not."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import medimg.builtin
from medimg.api import (
    BackendInfo,
    DatasetIndex,
    Guess,
    MetricInfo,
    Sample,
    SamplingPlan,
    UndefinedMetric,
    hookimpl,
)
from medimg.manager import plugins
from medimg.testing import check_check, check_dataset, check_metric, check_plugin, check_sampler

METRICS, SAMPLERS = plugins().metrics(), plugins().samplers()


def test_the_built_in_plugin():
    check_plugin(medimg.builtin)


@pytest.mark.parametrize("name", METRICS)
def test_metrics(name):
    check_metric(plugins().resolve(METRICS[name]))


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers(name):
    check_sampler(plugins().resolve(SAMPLERS[name])())


@pytest.fixture
def folders(tmp_path) -> Path:
    """Two classes of four grey pictures in folders."""
    import cv2

    for name in ("NORMAL", "PNEUMONIA"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(4):
            picture = np.random.default_rng(number).integers(0, 255, (9, 8), np.uint8)
            cv2.imwrite(str(tmp_path / "set" / name / f"{number}.png"), picture)
    return tmp_path / "set"


def test_the_folder_layout(folders):
    layout = plugins().resolve(plugins().datasets()["folder"])
    index = check_dataset(layout(), folders)
    assert index.classes == ("NORMAL", "PNEUMONIA") and len(index) == 8


# -- broken promises -------------------------------------------------------------------------------


def plugin_of(**functions) -> ModuleType:
    made = ModuleType("strange")
    vars(made).update(functions)
    return made


@hookimpl
def medimg_metricks():
    return [MetricInfo("fine", "fine", "math:sqrt")]


def offering(hook, info):
    def function():
        return [info]

    return plugin_of(**{hook: hookimpl(function)})


@pytest.mark.parametrize(
    "plugin, said",
    [
        (plugin_of(), "implements no hook"),
        (plugin_of(medimg_metricks=medimg_metricks), "medimg_metricks is no hook"),
        (plugin_of(medimg_metrics=lambda: []), "lacks @hookimpl"),
        (offering("medimg_checks", MetricInfo("a", "b", "math:sqrt")), "no CheckInfo"),
        (offering("medimg_metrics", MetricInfo("a", "", "math:sqrt")), "no summary"),
        (offering("medimg_metrics", MetricInfo("a", "b", "math.sqrt")), "module:attribute"),
        (offering("medimg_metrics", MetricInfo("a", "b", "math:sqroot")), "math has no sqroot"),
    ],
)
def test_a_broken_plugin_is_found(plugin, said):
    with pytest.raises(AssertionError, match=said):
        check_plugin(plugin)


def test_a_backend_whose_framework_is_absent_is_not_imported():
    info = BackendInfo("a", "b", "nowhere.engine:Backend", requires=("no_such_framework",))
    check_plugin(offering("medimg_backends", info))


def accuracy(scored, weights=None):
    right = scored.decided == scored.labels
    if not len(right):
        raise UndefinedMetric("no image")
    return float(np.average(right, weights=weights))


def test_a_plain_metric_passes():
    check_metric(accuracy)


def errors(scored, weights=None):
    return 1 - accuracy(scored, weights)


BROKEN_METRICS = {
    "weights must count": lambda scored, weights=None: accuracy(scored),
    "higher_is_better": errors,
    "raises UndefinedMetric": lambda s, w=None: accuracy(s, w) if len(s) else float("nan"),
    "order of the images": lambda s, w=None: accuracy(s) + float(s.probabilities[0, 0]),
    "no float": lambda scored, weights=None: None,
}


@pytest.mark.parametrize("said", BROKEN_METRICS)
def test_a_broken_metric_is_found(said):
    with pytest.raises(AssertionError, match=said):
        check_metric(BROKEN_METRICS[said])


class Plans:
    """A sampler that answers what it was made with."""

    def __init__(self, plan):
        self.plan = lambda labels, groups, seed: plan(labels)


@pytest.mark.parametrize(
    "plan, said",
    [
        (lambda y: SamplingPlan(np.flatnonzero(y < 2), np.ones(3)), "lost a class"),
        (lambda y: SamplingPlan(np.arange(58), np.ones(3)), "into the training part"),
        (lambda y: SamplingPlan(np.arange(57), np.ones(2)), "three positive numbers"),
        (lambda y: SamplingPlan(np.arange(57), np.asarray([1.0, 1, 0])), "three positive numbers"),
        (lambda y: SamplingPlan(np.arange(57), np.ones(3)), "classes weigh"),
        (lambda y: SamplingPlan(np.arange(57) / 1.0, np.ones(3)), "Int\\[M\\]"),
        (lambda y: SamplingPlan(np.random.permutation(57), 1 / np.bincount(y)), "other indices"),
    ],
)
def test_a_broken_sampler_is_found(plan, said):
    with pytest.raises(AssertionError, match=said):
        check_sampler(Plans(plan))


class Pixels:
    def read(self, path):
        if path.startswith("no-such"):
            raise FileNotFoundError(path)
        return np.zeros((4, 4), np.uint8)


class Broken:
    """A layout that breaks what it is told to."""

    def __init__(self, confidence=0.5, always=False, **changes):
        self.confidence, self.always, self.changes = confidence, always, changes

    def sniff(self, path):
        sure = self.confidence if self.always or path.exists() else 0.0
        return Guess(sure, "because")

    def read(self, path, options):
        samples = (Sample("a.png", "x"), Sample("b.png", "y"))
        right = {"samples": samples, "classes": ("x", "y"), "source": Pixels()}
        return DatasetIndex(name="set", root=path, layout="broken", **{**right, **self.changes})


@pytest.mark.parametrize(
    "layout, said",
    [
        (Broken(confidence=3), "confidence in 0..1"),
        (Broken(always=True), "does not exist"),
        (Broken(classes=("y", "x")), "sorted"),
        (Broken(samples=(Sample("a.png", None),)), "belong in `unlabelled`"),
        (Broken(samples=(Sample("a.png", "x", split="Training"),)), "'Training'"),
        (Broken(samples=(Sample("a.png", "x", group="7"),)), "`patients` says"),
        (Broken(positive="z"), "positive class 'z'"),
        (Broken(samples=()), "no samples"),
        (Broken(), "unknown option"),
    ],
)
def test_a_broken_layout_is_found(layout, said, tmp_path):
    with pytest.raises(AssertionError, match=said):
        check_dataset(layout, tmp_path)


def test_a_check_whose_findings_can_not_stand_in_a_report_is_found():
    from medimg.api import Finding

    fine = Finding("a", "error", "one file", 1, ({"file": "a.png"},))
    assert check_check(lambda context: [fine], None) == [fine]
    for broken, said in (
        (Finding("a", "fatal", "one file"), "severity"),
        (Finding("a", "error", "", 0), "message"),
        (Finding("a", "error", "one", 0, ({"file": "a.png"},)), "count is 0"),
        (Finding("a", "error", "one", 1, ({"file": Path("a.png")},)), "must be JSON"),
        (Finding("a", "error", "one", 1, ({"std": float("nan")},)), "must be JSON"),
    ):
        with pytest.raises(AssertionError, match=said):
            check_check(lambda context, broken=broken: [broken], None)
