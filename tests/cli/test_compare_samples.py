"""Three runs compared on each real sample: what may be said of them, and no more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

# what has to be said to train on a sample, its own fault named
TRAINED = {
    "chest_xray_kermany": (),
    "brain_tumor_mri": (
        "--allow",
        "duplicates-across-splits",
        "--allow",
        "duplicates-across-classes",
    ),
    "idc_breast_histopathology": (),
    "odir_fundus_csv": ("-o", "label=labels", "-o", "group=ID"),
    "pneumoniamnist": ("--allow", "duplicates-across-splits"),
    "covid19_radiography": (),
    "actualmed_covid_csv": (),
    "wbc_zheng_csv": ("-o", "classes=1,2,3,4"),
    "breakhis_mini": ("--allow", "class-missing-in-split"),
}
REFUSED = {
    "wbc_zheng_csv": "Leave the class out: -o classes=1,2,3,4",
    "breakhis_mini": "Train all the same: --allow class-missing-in-split",
    "brain_tumor_mri": "duplicates-across-splits",
    "rfmid_labels": "Say where the images are: -o images=FOLDER",
    "dicom_small": "one-class",
}
RECIPES = {
    "slow": ("--lr", "0.001", "--seed", "0"),
    "fast": ("--lr", "0.01", "--seed", "1"),
    "brief": ("--lr", "0.0001", "--epochs", "1", "--augment", "none"),
}
FAST = ("--backend", "linear", "--image-size", "32", "--epochs", "4", "--no-progress", "-q")
PATIENTS = {
    "chest_xray_kermany",
    "idc_breast_histopathology",
    "odir_fundus_csv",
    "actualmed_covid_csv",
    "breakhis_mini",
}
# so few images that nothing can be told from anything
HANDFUL = {"actualmed_covid_csv", "breakhis_mini"}


def compared(medimg, data: Path, options: tuple[str, ...]) -> dict[str, Any]:
    for name, recipe in RECIPES.items():
        answer = medimg("train", data, *FAST, *recipe, "--name", name, *options)
        assert answer.code == 0, answer.err
        answer = medimg("evaluate", f"runs/{name}", "--no-plots", "--no-progress", "-q")
        assert answer.code == 0, answer.err
    answer = medimg("compare", *(f"runs/{name}" for name in RECIPES), "--name", "c", "--json")
    assert answer.code == 0, answer.err
    return answer.report


@pytest.mark.parametrize("name", TRAINED)
def test_what_an_honest_statistician_would_say(name, medimg, shared_data):
    report = compared(medimg, shared_data / name, TRAINED[name])
    result = report["result"]
    said = " ".join(result["conclusions"])
    assert len(result["runs"]) == 3 and result["refused"] == []
    assert (result["patients"] is not None) == (name in PATIENTS)

    # the marks are those of the tests, corrected within their family
    best = next(run["name"] for run in result["runs"] if run["mark"] == "best")
    marks = {run["name"]: run["mark"] for run in result["runs"]}
    for pair in result["pairs"]:
        told = pair["p_holm"] is not None and pair["p_holm"] < 0.05
        assert pair["p_holm"] is None or pair["p_holm"] >= pair["p"]
        assert pair["difference"] is not None and (pair["ci95"] or pair["reason"])
        if pair["metric"] == result["ranked_by"]:
            assert pair["b"] == best and (marks[pair["a"]] is None) == told
        if name in HANDFUL:
            assert not told

    # images of one patient are not taken for independent
    clustered = result["patients"] is not None and result["patients"] < result["samples"]
    for pair in result["pairs"]:
        assert pair["test"] is None or ("by patient" in pair["test"]) == clustered
        assert not clustered or pair["test"] not in ("exact McNemar", "DeLong")
    asked = [test["metric"] for test in result["omnibus"]]
    # of independent images alone, which copies of one picture are not either
    exact = any(pair["test"] == "exact McNemar" for pair in result["pairs"])
    assert asked == (["accuracy"] if exact else []) and not (exact and clustered)

    # what each number is worth: an interval, or why there is none
    for run in result["runs"]:
        for cell in run["metrics"].values():
            assert cell["ci95"] or cell["reason"]
        low, high = run["metrics"]["auroc"]["ci95"]
        assert high - low > (0.4 if name in HANDFUL else 0.02)

    assert "Holm's correction counts all 3 pairs of the 3 runs" in said
    assert "Picking the best of 3 by this table is selection" in said
    assert "looked at 3 times" in said
    assert "Each recipe was trained once" in said
    assert ("Patients are unknown" in said) == (result["patients"] is None)
    assert (f"Only {result['patients']} patients" in said) == (
        clustered and result["patients"] < 30
    )
    rare, count = min(result["classes"].items(), key=lambda pair: pair[1])
    assert (f"Only {count} image{'s' * (count > 1)} of the class {rare}" in said) == (count < 30)
    # a copy in training is an error of the comparison, whoever allowed it
    seen = "training-images-in-test" in {row["check"] for row in report["findings"]}
    assert seen == (name == "brain_tumor_mri")

    page = medimg("report", "runs/c", "--lang", "es")
    assert page.code == 0 and Path("runs/c/report.es.html").is_file(), page.err


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_trained_says_why(name, medimg, shared_data):
    answer = medimg("train", shared_data / name, *FAST)
    assert answer.code in (1, 3) and REFUSED[name] in answer.err
    assert "Traceback" not in answer.err and not list(Path().glob("runs/*/report.json"))


def test_runs_of_two_samples_are_not_compared(medimg, shared_data):
    for name in ("covid19_radiography", "actualmed_covid_csv"):
        assert medimg("train", shared_data / name, *FAST, "--name", name).code == 0
        assert medimg("evaluate", f"runs/{name}", "--no-plots", "-q").code == 0
    answer = medimg("compare", "runs/covid19_radiography", "runs/actualmed_covid_csv", "--json")
    (row,) = json.loads(answer.out)["result"]["refused"]
    assert answer.code == 1 and "its classes are COVID-19, No finding" in row["why"]
