"""medimg evaluate: scikit-learn's numbers, the threshold's rule, other data, bad input."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from sklearn import metrics as sk

from medimg.core.report import check_shape
from medimg.core.runs import Predictions, read_predictions, write_predictions

QUICK = ("--no-plots", "--resamples", "100")
ALLOWED = ("--allow", "training-images-in-test")


def evaluated(medimg, *arguments) -> dict:
    answer = medimg("evaluate", *arguments, *QUICK, "--json")
    assert answer.code == 0, answer.err
    assert check_shape(answer.report) == []
    return answer.report["result"]


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as text:
        return list(csv.DictReader(text))


def values(result: dict) -> dict[str, float]:
    return {name: cell["value"] for name, cell in result["metrics"].items()}


def by_scikit_learn(file: Path, positive: str, threshold: float) -> dict[str, float]:
    """Binary metrics of a predictions.csv."""
    table = read_predictions(file)
    truth = np.array([label == positive for label in table.labels])
    p = table.probabilities[:, table.classes.index(positive)]
    said = p >= threshold
    return {
        "accuracy": sk.accuracy_score(truth, said),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, said),
        "sensitivity": sk.recall_score(truth, said),
        "specificity": sk.recall_score(~truth, ~said),
        "precision": sk.precision_score(truth, said),
        "npv": sk.precision_score(~truth, ~said),
        "f1": sk.f1_score(truth, said),
        "macro_f1": sk.f1_score(truth, said, average="macro"),
        "macro_precision": sk.precision_score(truth, said, average="macro"),
        "macro_recall": sk.recall_score(truth, said, average="macro"),
        "weighted_f1": sk.f1_score(truth, said, average="weighted"),
        "auroc": sk.roc_auc_score(truth, p),
        "average_precision": sk.average_precision_score(truth, p),
        "mcc": sk.matthews_corrcoef(truth, said),
        "cohen_kappa": sk.cohen_kappa_score(truth, said),
        "log_loss": sk.log_loss(truth, p),
        "brier": sk.brier_score_loss(truth, p),
    }


def test_two_classes_agree_with_scikit_learn(medimg, runs):
    made = read_predictions(Path("runs/two/evaluate/test/predictions.csv"))
    # both answers are given, so that every metric is defined
    middle = float(np.median(made.probabilities[:, made.classes.index("PNEUMONIA")]))
    result = evaluated(medimg, "runs/two", "--threshold", middle, "--name", "again")
    file = Path("runs/two/evaluate/again/predictions.csv")
    expected = by_scikit_learn(file, "PNEUMONIA", result["threshold"]["value"])
    found = values(result)
    assert set(found) == {*expected, "ece"}
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    half = by_scikit_learn(file, "PNEUMONIA", 0.5)
    at_half = {
        k: v["value"] for k, v in result["metrics_at_half"].items() if v["value"] is not None
    }
    assert {"accuracy", "sensitivity", "specificity", "f1"} <= set(at_half)
    assert {k: at_half[k] for k in half if k in at_half} == pytest.approx(
        {k: half[k] for k in half if k in at_half}, abs=1e-6
    )
    assert sum(map(sum, result["confusion_matrix"]["counts"])) == result["images"] == 18


def test_several_classes_agree_with_scikit_learn(medimg, train, draw_folder):
    data = draw_folder("three", {s: {"a": 12, "b": 15, "c": 9} for s in ("train", "val", "test")})
    assert train("m", "--lr", "0.01", data=data).code == 0
    result = evaluated(medimg, "runs/m")
    table = read_predictions(Path("runs/m/evaluate/test/predictions.csv"))
    truth, p = table.label_numbers(), table.probabilities
    said, onehot = p.argmax(axis=1), np.eye(3)[truth]
    expected = {
        "accuracy": sk.accuracy_score(truth, said),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, said),
        "macro_precision": sk.precision_score(truth, said, average="macro", zero_division=0),
        "macro_recall": sk.recall_score(truth, said, average="macro"),
        "macro_f1": sk.f1_score(truth, said, average="macro"),
        "weighted_f1": sk.f1_score(truth, said, average="weighted"),
        "auroc": sk.roc_auc_score(truth, p / p.sum(1, keepdims=True), multi_class="ovr"),
        "average_precision": sk.average_precision_score(onehot, p, average="macro"),
        "mcc": sk.matthews_corrcoef(truth, said),
        "cohen_kappa": sk.cohen_kappa_score(truth, said),
        "log_loss": sk.log_loss(truth, p),
        "brier": np.mean(np.sum((p - onehot) ** 2, axis=1)),
    }
    found = values(result)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert (result["threshold"], result["positive"]) == (None, None)
    assert not {"sensitivity", "specificity", "precision", "npv", "f1"} & set(found)


# -- the threshold --------------------------------------------------------------------------------


def test_a_rule_is_computed_on_validation(medimg, runs):
    result = evaluated(medimg, "runs/two", "--threshold", "youden", "--name", "y")
    assert "  at 0.5  " in medimg("evaluate", "runs/two", *QUICK).out
    assert "  at 0.5  " not in medimg("evaluate", "runs/two", "--threshold", "0.5", *QUICK).out
    val = read_predictions(Path("runs/two/predictions/val.csv"))
    truth = np.array(val.labels) == "PNEUMONIA"
    p = val.probabilities[:, val.classes.index("PNEUMONIA")]
    false, true, _ = sk.roc_curve(truth, p, drop_intermediate=False)
    cut = result["threshold"]["value"]
    youden = (p[truth] >= cut).mean() - (p[~truth] >= cut).mean()
    assert youden == pytest.approx((true - false).max())
    assert result["threshold"] | {"value": 0} == {"value": 0, "rule": "youden", "chosen_on": "val"}

    result = evaluated(medimg, "runs/two", "--threshold", "sensitivity=0.9", "--name", "s")
    assert (p[truth] >= result["threshold"]["value"]).mean() >= 0.9


def test_a_value_is_taken_as_it_is(medimg, runs):
    result = evaluated(medimg, "runs/two", "--threshold", "0.25", "--name", "v")
    assert result["threshold"] == {"value": 0.25, "rule": "given", "chosen_on": None}


def test_a_rule_without_validation_predictions_is_refused(medimg, runs):
    Path("runs/two/predictions/val.csv").unlink()
    answer = medimg("evaluate", "runs/two", "--threshold", "youden", "--name", "x")
    assert answer.code == 2
    assert "two has no validation predictions to choose a threshold on" in answer.err
    assert "flatter the test" in answer.err
    assert not Path("runs/two/evaluate/x").exists()


@pytest.mark.parametrize("rule", ["yuden", "1.5", "sensitivity=2", "sensitivity=x"])
def test_a_threshold_that_is_none(medimg, runs, rule):
    answer = medimg("evaluate", "runs/two", "--threshold", rule)
    assert answer.code == 2, answer.err
    assert len(answer.err.splitlines()) == 2 and answer.err.splitlines()[1].startswith("  ")


# -- which data -------------------------------------------------------------------------------


def test_looks_at_the_test_part_are_counted(medimg, runs):
    # made_runs has looked twice: once for each of its runs
    assert evaluated(medimg, "runs/two")["test_looks"] == 3
    answer = medimg("evaluate", "runs/two", *QUICK)
    assert "test-reused: this test part has been looked at 4 times by runs here" in answer.err
    names = {p.name for p in Path("runs/two/evaluate").iterdir()}
    assert names == {"test", "test-2", "test-3"}
    assert evaluated(medimg, "runs/two", "--split", "val")["test_looks"] == 1


def test_other_data_without_splits_are_all_test(medimg, runs, tmp_path):
    from medimg.phantom import make_dataset

    made = tmp_path / "made"
    make_dataset(made, images=40, size_px=64, seed=5, faults=(), splits=(1.0, 0.0, 0.0))
    shutil.move(made / "train", tmp_path / "hospital")
    result = evaluated(medimg, "runs/two", "hospital")
    assert result["images"] == 40
    assert Path("runs/two/evaluate/test-hospital/predictions.csv").is_file()


def test_the_runs_own_pictures_elsewhere_keep_the_runs_split(medimg, train, phantoms, tmp_path):
    """A made split: evaluating the moved folder must not count training images as test."""
    data = tmp_path / "chest"
    for label in ("NORMAL", "PNEUMONIA"):
        for file in phantoms.glob(f"*/{label}/*.png"):
            (data / label).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, data / label)
    assert train("a", "--split-ratios", "60/15/25", data=data).code == 0
    first = evaluated(medimg, "runs/a")
    data.rename(tmp_path / "elsewhere")
    gone = medimg("evaluate", "runs/a")
    assert gone.code == 3
    moved = evaluated(medimg, "runs/a", "elsewhere")
    assert values(moved) == values(first)
    assert moved["images"] == first["images"] < 30

    for number, file in enumerate(sorted((tmp_path / "elsewhere").rglob("*.png"))):
        file.rename(file.with_name(f"scan{number:03}.png"))
    assert medimg("evaluate", "runs/a", "elsewhere", *QUICK).code == 1
    answer = medimg("evaluate", "runs/a", "elsewhere", *ALLOWED, *QUICK, "--json")
    assert answer.code == 0, answer.err
    # other names tell other patients, or none: other data, but for their content
    (found,) = [f for f in answer.report["findings"] if f["check"] == "training-images-in-test"]
    parts = [row["split"] for row in rows_of(Path("runs/a/splits.csv"))]
    assert found["count"] == len(parts) - parts.count("test") > parts.count("val")
    assert f"{parts.count('train')} by training, {parts.count('val')} by val" in found["message"]


def test_renamed_pictures_of_the_run_are_known_by_content(medimg, train, draw_folder):
    data = draw_folder("d", {"": {"NORMAL": 40, "SICK": 40}})
    assert train("a", "--split-ratios", "60/20/20", data=data).code == 0
    for number, file in enumerate(sorted(data.rglob("*.png"))):
        file.rename(file.with_name(f"scan{number:03}.png"))
    answer = medimg("evaluate", "runs/a", data, *QUICK)
    assert answer.code == 3
    assert "the pictures that a was trained on, under other names" in answer.err


def test_training_pictures_in_test_are_found(medimg, train, draw_folder):
    data = draw_folder("d", {s: {"NORMAL": 12, "SICK": 12} for s in ("train", "val", "test")})
    for n in range(3):
        shutil.copy(data / f"train/SICK/trainSICK{n}.png", data / f"test/SICK/again{n}.png")
    assert train("a", "--allow", "duplicates-across-splits", data=data).code == 0
    answer = medimg("evaluate", "runs/a", *QUICK, "--json")
    (found,) = [f for f in answer.report["findings"] if f["check"] == "training-images-in-test"]
    assert found["count"] == 3
    assert {i["file"] for i in found["items"]} == {f"test/SICK/again{n}.png" for n in range(3)}


def finding(medimg, check: str, *arguments) -> dict | None:
    answer = medimg("evaluate", *arguments, *QUICK, "--json")
    assert answer.code == 0, answer.err
    found = {f["check"]: f for f in answer.report["findings"]}
    if check in found:
        assert f"{check}: " in answer.err and found[check]["hint"]
    return found.get(check)


def test_the_training_images_alone_in_another_place_are_known(medimg, runs, phantoms, tmp_path):
    """Neither path nor fingerprint agree: only the content does."""
    for number, file in enumerate(sorted(phantoms.glob("train/*/*.png"))):
        (tmp_path / "to" / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, tmp_path / "to" / file.parent.name / f"{number:03}.png")
    found = finding(medimg, "training-images-in-test", "runs/two", "to", *ALLOWED)
    trained = [r for r in rows_of(Path("runs/two/splits.csv")) if r["split"] == "train"]
    assert (found["severity"], found["count"]) == ("error", len(trained))
    assert f"all {len(trained)}" not in found["message"] and "by training" in found["message"]


def test_what_a_parent_was_trained_on_is_known_too(medimg, runs, phantoms, tmp_path):
    from medimg.phantom import make_dataset

    make_dataset(tmp_path / "other", images=60, size_px=64, seed=9, faults=())
    line = ("--dataset", "other", "--epochs", "1", "--name", "ft")
    assert medimg("finetune", "runs/two", *line).code == 0
    found = finding(medimg, "training-images-in-test", "runs/ft", phantoms / "train", *ALLOWED)
    assert found["count"] == len(list(phantoms.glob("train/*/*.png")))
    shutil.rmtree("runs/two")
    found = finding(medimg, "training-images-in-test", "runs/ft", phantoms / "train", *ALLOWED)
    assert found["severity"] == "warning" and "runs/two, which can't be read" in found["message"]


def test_runs_that_wrote_no_hashes_know_their_images_by_path(medimg, runs, phantoms):
    file = Path("runs/two/splits.csv")
    lines = file.read_text().splitlines()
    file.write_text("\n".join(line.rsplit(",", 2)[0] for line in lines) + "\n")
    assert file.read_text().startswith("path,label,group,split\n")
    assert finding(medimg, "training-images-in-test", "runs/two") is None
    found = finding(medimg, "training-images-in-test", "runs/two", "--split", "train")
    assert found["count"] == len(list(phantoms.glob("train/*/*.png")))


def test_the_parts_of_training_are_named_as_such(medimg, runs, phantoms):
    found = finding(medimg, "training-images-in-test", "runs/two", "--split", "train")
    total = len(list(phantoms.glob("train/*/*.png")))
    assert (found["severity"], found["count"]) == ("error", total)
    assert f"{total} of the {total} train images" in found["message"]
    assert "--split test" in found["hint"]
    found = finding(medimg, "threshold-on-test", "runs/two", "--split", "val")
    assert (
        found["severity"] == "warning" and "chose the epoch and the threshold" in found["message"]
    )
    assert finding(medimg, "training-images-in-test", "runs/two", "--split", "val") is None
    for check in ("training-images-in-test", "threshold-on-test", "data-changed"):
        assert finding(medimg, check, "runs/two") is None, check


def test_images_that_changed_since_training_are_said(medimg, train, draw_folder):
    data = draw_folder("d", {s: {"NORMAL": 12, "SICK": 12} for s in ("train", "val", "test")})
    assert train("a", data=data).code == 0
    assert finding(medimg, "data-changed", "runs/a") is None
    shutil.copy(data / "val/SICK/valSICK0.png", data / "test/SICK/testSICK3.png")
    (data / "train/SICK/trainSICK0.png").write_bytes((data / "val/SICK/valSICK1.png").read_bytes())
    found = finding(medimg, "data-changed", "runs/a")
    assert found["count"] == 1
    assert [i["file"] for i in found["items"]] == ["test/SICK/testSICK3.png"]


def test_looks_are_counted_by_content_not_by_path(medimg, runs, phantoms, tmp_path):
    """The same test images through an index elsewhere: looked at before by both runs."""
    moved = tmp_path / "moved"
    shutil.copytree(phantoms, moved)
    for number, file in enumerate(sorted(moved.rglob("*.png"))):
        file.rename(file.with_name(f"{number:03}-{file.name}"))
    assert evaluated(medimg, "runs/two", "moved")["test_looks"] == 3
    (moved / "test").rename(tmp_path / "alone")
    shutil.copytree(tmp_path / "alone", tmp_path / "fewer")
    next((tmp_path / "fewer").rglob("*.png")).unlink()
    fewer = evaluated(medimg, "runs/two", "fewer")
    assert (fewer["test_looks"], fewer["images"]) == (4, 17)
    # a part of the same images is no new test; what looks share is said
    answer = medimg("evaluate", "runs/two", "alone", *QUICK, "--json")
    assert answer.report["result"]["test_looks"] == 5
    assert [row["shared"] for row in answer.report["result"]["looks_in_part"]] == [17]
    assert "; 1 of these looks shares 17 of the 18 images" in answer.err


def test_other_classes_are_refused_before_the_positive_class(medimg, runs, draw_folder):
    parts = {s: {"COVID": 6, "Lung_Opacity": 6} for s in ("train", "val", "test")}
    answer = medimg("evaluate", "runs/two", draw_folder("covid", parts))
    assert answer.code == 3, answer.err
    assert answer.err.startswith("Error: covid holds the class 'COVID', which two does not know")
    assert "--positive" not in answer.err


def test_classes_that_the_run_never_learnt(medimg, runs, draw_folder):
    parts = {s: {"NORMAL": 6, "PNEUMONIA": 6, "TB": 6} for s in ("train", "val", "test")}
    answer = medimg("evaluate", "runs/two", draw_folder("tb", parts))
    assert answer.code in (2, 3)
    assert "TB" in answer.err


def test_a_split_that_is_not_there(medimg, runs):
    answer = medimg("evaluate", "runs/two", "--split", "tests")
    assert answer.code == 2 and "Did you mean 'test'?" in answer.err


def test_the_linear_backend_stands_beside(medimg, runs, phantoms):
    """Of a run that was evaluated on the same images; not beside another of its kind."""
    result = evaluated(medimg, "runs/two")
    assert result["linear_baseline"] is None
    assert result["validation"]["auroc"]["n"] == len(rows_of(Path("runs/two/predictions/val.csv")))
    shutil.copy("runs/two/evaluate/test/predictions.csv", "elsewhere.csv")
    line = ("evaluate", "--predictions", "elsewhere.csv", phantoms, *QUICK)
    answer = medimg(*line, "--json")
    assert answer.code == 0, answer.err
    found = answer.report["result"]["linear_baseline"]
    assert found == {"run": "two", "metrics": result["metrics"]}
    assert "linear: two" in medimg(*line).out
    for name in ("one", "two"):
        shutil.rmtree(f"runs/{name}")
    assert medimg(*line, "--json").report["result"]["linear_baseline"] is None


def test_a_patients_highest_probability(medimg, runs):
    rows = rows_of(Path("runs/two/evaluate/test/predictions.csv"))
    highest: dict[str, tuple[bool, float]] = {}
    for row in rows:
        ill, p = highest.get(row["group"], (False, 0.0))
        ill = ill or row["label"] == "PNEUMONIA"
        highest[row["group"]] = (ill, max(p, float(row["prob_PNEUMONIA"])))
    found = evaluated(medimg, "runs/two", "--patient-probability", "max")["by_group"]
    assert (found["pooling"], found["groups"]) == ("max", len(highest))
    truth, p = zip(*highest.values(), strict=True)
    assert found["metrics"]["auroc"]["value"] == pytest.approx(sk.roc_auc_score(truth, p))


def test_few_images_allow_no_conclusion(medimg, runs):
    answer = medimg("evaluate", "runs/two", *QUICK, "--json")
    assert "wide-interval" in {f["check"] for f in answer.report["findings"]}
    assert "18 images of test are of 8 patients" in answer.err


def test_the_pictures_of_an_evaluation(medimg, runs):
    line = ("--resamples", "100", "--json", "--name", "pictures")
    result = medimg("evaluate", "runs/two", *line).report["result"]
    wanted = (
        "confusion reliability scores roc precision-recall thresholds examples mistakes history"
    )
    assert result["artifacts"] == ["predictions.csv", *(f"plots/{n}.png" for n in wanted.split())]
    for name in result["artifacts"][1:]:
        pixels = cv2.imread(f"runs/two/evaluate/pictures/{name}")
        assert min(pixels.shape[:2]) > 300 and pixels.std() > 5, name


# -- what a reader has to know ----------------------------------------------------------------


def test_one_answer_for_all_images_is_an_error(medimg, runs):
    weights = Path("runs/two/model/weights.npz")
    with np.load(weights) as stored:
        arrays = dict(stored)
    arrays["output/kernel"][:] = 0
    arrays["output/bias"][:] = 9
    np.savez(weights, **arrays)
    answer = medimg("evaluate", "runs/two", "--threshold", "0.5", "--json", *QUICK)
    assert answer.code == 0, answer.err
    found = {f["check"]: f for f in answer.report["findings"]}
    assert found["one-class-predicted"]["items"] == [{"class": "PNEUMONIA"}]
    assert found["one-class-predicted"]["severity"] == "error"
    assert "18 test images at the threshold 0.5 (given)" in found["one-class-predicted"]["message"]
    assert "no-better-than-majority" not in found


def test_alarms_are_judged_at_the_threshold_of_the_metrics(medimg, runs):
    """All probabilities below 0.5, yet told apart by the threshold that validation chose."""
    weights = Path("runs/two/model/weights.npz")
    with np.load(weights) as stored:
        arrays = dict(stored)
    arrays["output/bias"][:] -= 30
    np.savez(weights, **arrays)
    line = ("evaluate", "runs/two", "--json", *QUICK)
    assert "one-class-predicted" in medimg(*line, "--threshold", "0.5").err
    table = read_predictions(Path("runs/two/evaluate/test-2/predictions.csv"))
    place = table.classes.index("PNEUMONIA")
    truth, p = table.label_numbers() == place, table.probabilities[:, place]
    best = float(min(p[truth].max(), np.sort(p)[-2]))
    answer = medimg(*line, "--threshold", repr(best))
    assert "one-class-predicted" not in answer.err, answer.err


# -- bad input --------------------------------------------------------------------------------


def test_a_run_without_a_report_is_an_unfinished_run(medimg, runs):
    Path("runs/two/report.json").unlink()
    answer = medimg("evaluate", "runs/two")
    assert answer.code == 3
    assert answer.err.splitlines() == [
        "Error: runs/two holds no report.json: the run did not finish",
        "  Go on with it: medimg train --resume runs/two",
    ]


def test_a_folder_that_is_no_run(medimg, runs):
    assert medimg("evaluate", "runs").code == 3
    assert medimg("evaluate", "runs/none").code == 3
    Path("runs/two/model/model.json").write_text("{")
    answer = medimg("evaluate", "runs/two")
    assert answer.code == 3 and "runs/two is damaged" in answer.err


def test_a_name_that_is_taken(medimg, runs):
    answer = medimg("evaluate", "runs/two", "--name", "test")
    assert answer.code == 3 and "evaluate/test exists" in answer.err


def test_the_positive_class_is_the_runs(medimg, runs):
    answer = medimg("evaluate", "runs/two", "--positive", "NORMAL")
    assert answer.code == 2 and "the positive class of two is PNEUMONIA" in answer.err


def test_the_report_carries_the_recipe_of_the_run(runs):
    result = json.loads((runs / "one/evaluate/test/report.json").read_text())["result"]
    assert result["training"]["run"] == "one"
    assert result["training"]["recipe"] == yaml.safe_load((runs / "one/recipe.yaml").read_text())


def test_predictions_are_written_and_read_without_loss(tmp_path):
    draw = np.random.default_rng(0).dirichlet([1, 1], 5)
    table = Predictions(
        ("a,b", "c"), tuple("12345"), ("c",) * 5, ("p", None, "q", "r", "s"), tuple("vwxyz"),
        draw, "val",
    )  # fmt: skip
    write_predictions(tmp_path / "p.csv", table)
    again = read_predictions(tmp_path / "p.csv")
    np.testing.assert_array_equal(again.probabilities, draw)
    for name in ("classes", "paths", "labels", "groups", "sha256", "split"):
        assert getattr(again, name) == getattr(table, name)


@pytest.mark.parametrize("name", ["mxnet", "torch"])
def test_a_run_whose_backend_is_not_here(medimg, runs, phantoms, monkeypatch, name):
    from medimg.hookspecs import BackendInfo
    from medimg.manager import Named, PluginManager

    only = Named({"jax": BackendInfo("jax", "x", "a:b", (), "pip install x")}, {})
    monkeypatch.setattr(PluginManager, "backends", lambda self: only)
    card = json.loads(Path("runs/two/model/model.json").read_text())
    Path("runs/two/model/model.json").write_text(json.dumps(card | {"backend": name}))
    for line in (["evaluate", "runs/two"], ["predict", "runs/two", phantoms]):
        answer = medimg(*line)
        assert answer.code == 3, answer.err
        assert f"{name!r}" in answer.err and "not installed" in answer.err
