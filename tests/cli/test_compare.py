"""medimg compare: the same samples by content, what is refused and why, the formats."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from medimg.core.report import check_shape
from medimg.core.runs import read_predictions

QUICK = ("--resamples", "200")


def edit_predictions(run: str, change) -> None:
    """Applies `change` to the rows of a run's test predictions."""
    file = Path(f"runs/{run}/evaluate/test/predictions.csv")
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    rows = change(rows)
    with file.open("w", newline="") as text:
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def why(answer) -> str:
    assert answer.code == 1, answer.err
    (row,) = json.loads(answer.out)["result"]["refused"]
    return row["why"]


def test_two_runs_on_the_same_samples(medimg, runs):
    line = ("--baseline", "one", "--sort", "name", "--name", "c", "--json")
    answer = medimg("compare", "runs/one", "runs/two", *QUICK, *line)
    assert answer.code == 0, answer.err
    report = answer.report
    assert check_shape(report) == []
    assert report == json.loads(Path("runs/c/report.json").read_text())
    result = report["result"]
    assert [row["name"] for row in result["runs"]] == ["one", "two"]
    assert [row["settings"] for row in result["runs"]] == [
        {"learning_rate": 0.001},
        {"learning_rate": 0.01},
    ]
    assert (result["baseline"], result["comparable"], result["samples"]) == ("one", True, 18)
    aurocs = [row["metrics"]["auroc"]["value"] for row in result["runs"]]
    (pair,) = [p for p in result["pairs"] if p["metric"] == "auroc" and p["family"] == "baseline"]
    assert (pair["a"], pair["b"]) == ("two", "one")
    assert pair["difference"] == pytest.approx(aurocs[1] - aurocs[0], abs=1e-9)
    assert all((Path("runs/c") / name).is_file() for name in result["artifacts"])


def test_holm_never_lowers_a_p_value(medimg, runs):
    shutil.copytree("runs/two", "runs/three")
    line = ("--baseline", "one", "--json")
    answer = medimg("compare", "runs/one", "runs/two", "runs/three", *QUICK, *line)
    pairs = answer.report["result"]["pairs"]
    tested = [p for p in pairs if p["p"] is not None and p["family"] == "baseline"]
    assert len(tested) > 2
    assert all(p["p"] <= p["p_holm"] <= 1 for p in tested)
    # the two runs against the baseline are one run: each p is doubled, up to 1
    for pair in tested:
        assert pair["p_holm"] == pytest.approx(min(1, 2 * pair["p"]))


def test_the_order_of_rows_and_the_paths_do_not_matter(medimg, runs):
    first = medimg("compare", "runs/one", "runs/two", *QUICK, "--json").report["result"]["pairs"]

    def moved(rows):
        return [row | {"path": f"elsewhere/{n}.png"} for n, row in enumerate(rows[::-1])]

    edit_predictions("two", moved)
    again = medimg("compare", "runs/one", "runs/two", *QUICK, "--json").report["result"]["pairs"]
    assert again == first


def test_a_dataset_that_was_moved_compares(medimg, runs, train, phantoms, tmp_path):
    data = shutil.copytree(phantoms, tmp_path / "other_name")
    assert train("three", data=data).code == 0
    assert medimg("evaluate", "runs/three", *QUICK).code == 0
    answer = medimg("compare", "runs/one", "runs/three", *QUICK, "--json")
    assert answer.code == 0, answer.err
    assert answer.report["result"]["refused"] == []


def test_an_evaluation_on_other_data_is_not_the_runs_own(medimg, runs, tmp_path):
    from medimg.phantom import make_dataset

    make_dataset(tmp_path / "other", images=30, size_px=64, seed=9, faults=())
    assert medimg("evaluate", "runs/two", "other", *QUICK).code == 0
    answer = medimg("compare", "runs/one", "runs/two", *QUICK, "--json")
    assert answer.code == 0, answer.err


# -- what is refused ---------------------------------------------------------------------------


def test_other_samples_are_refused(medimg, runs):
    def others(rows):
        return [r | {"sha256": r["sha256"][::-1]} for r in rows[:2]] + rows[2:]

    edit_predictions("two", others)
    text = why(medimg("compare", "runs/one", "runs/two", "--json"))
    assert text == "its test samples are not those of one: 2 are missing, 2 are others"


def test_another_label_of_the_same_picture_is_refused(medimg, runs):
    def relabel(rows):
        other = {"NORMAL": "PNEUMONIA", "PNEUMONIA": "NORMAL"}
        rows[0]["label"] = other[rows[0]["label"]]
        return rows

    edit_predictions("two", relabel)
    text = why(medimg("compare", "runs/one", "runs/two", "--json"))
    assert "1 are missing, 1 are others, 1 of them the same picture with another label" in text


def test_other_classes_are_refused(medimg, runs):
    def rename(rows):
        swap = {"PNEUMONIA": "COVID", "NORMAL": "NORMAL"}
        return [
            {k.replace("PNEUMONIA", "COVID"): v for k, v in r.items()} | {"label": swap[r["label"]]}
            for r in rows
        ]

    edit_predictions("two", rename)
    text = why(medimg("compare", "runs/one", "runs/two", "--json"))
    assert text == "its classes are NORMAL, COVID, those of one are NORMAL, PNEUMONIA"


def test_a_run_that_was_not_evaluated_is_refused_with_the_command(medimg, runs):
    shutil.rmtree("runs/two/evaluate")
    answer = medimg("compare", "runs/one", "runs/two", "--json")
    assert why(answer) == (
        "it has not been evaluated on test; medimg evaluate runs/two --split test"
    )
    assert "Error: fewer than two runs can be compared" in answer.err


def test_an_unfinished_run_is_listed_and_the_others_compared(medimg, runs):
    shutil.copytree("runs/one", "runs/three")
    Path("runs/three/report.json").unlink()
    answer = medimg("compare", "runs/one", "runs/two", "runs/three", *QUICK, "--json")
    assert answer.code == 0
    (row,) = answer.report["result"]["refused"]
    assert row["run"] == "three" and "did not finish" in row["why"]


@pytest.mark.parametrize("text", ["{}", "[]", "{", '{"command": 3}', ""])
def test_a_run_whose_report_can_not_be_read_is_listed(medimg, runs, text):
    Path("runs/corrupt").mkdir()
    Path("runs/corrupt/report.json").write_text(text)
    answer = medimg("compare", "runs/one", "runs/two", "runs/corrupt", *QUICK, "--json")
    assert answer.code == 0, answer.err
    (row,) = answer.report["result"]["refused"]
    assert row["run"] == "corrupt" and "report.json" in row["why"]
    assert "not compared: corrupt" in answer.err


def test_strays_among_the_runs_are_said(medimg, runs, phantoms):
    Path("runs/notes.txt").write_text("x")
    Path("runs/empty").mkdir()
    Path("runs/.DS_Store").write_text("x")
    assert medimg("split", phantoms, "--name", "a-split").code == 0
    assert medimg("verify", phantoms, "--name", "a-verify").code == 0
    assert medimg("compare", "runs/one", "runs/two", *QUICK, "--name", "a-compare").code == 0
    paths = sorted(Path("runs").glob("*"))
    assert len(paths) == 8
    answer = medimg("compare", *paths, *QUICK, "--sort", "name", "--json")
    assert answer.code == 0, answer.err
    result = answer.report["result"]
    assert [row["name"] for row in result["runs"]] == ["one", "two"]
    assert {row["run"]: row["why"] for row in result["refused"]} == {
        ".DS_Store": "it is a file, no run folder",
        "notes.txt": "it is a file, no run folder",
        "empty": "it holds no report.json: it is no run folder",
        "a-split": "it is a split report, not a trained run",
        "a-verify": "it is a verify report, not a trained run",
        "a-compare": "it is a compare report, not a trained run",
    }
    assert "Warning: not compared: a-verify: it is a verify report" in answer.err


# -- options -------------------------------------------------------------------------------------


def test_the_baseline_is_the_one_asked_for(medimg, runs):
    answer = medimg(
        "compare", "runs/one", "runs/two", "--baseline", "runs/two", "--metric", "f1", "--json",
        *QUICK,
    )  # fmt: skip
    result = answer.report["result"]
    assert result["baseline"] == "two"
    assert [(p["a"], p["b"], p["metric"]) for p in result["pairs"]] == [("one", "two", "f1")]


def test_a_baseline_that_cannot_be_compared_is_an_error(medimg, runs):
    shutil.copytree("runs/one", "runs/three")
    shutil.rmtree("runs/three/evaluate")
    answer = medimg("compare", "runs/one", "runs/two", "runs/three", "--baseline", "three")
    assert answer.code == 1
    assert answer.err.startswith("Error: the baseline three can't be compared\n")


@pytest.mark.parametrize(
    "option, value, miss",
    [
        ("--baseline", "on", "Did you mean 'one'?"),
        ("--metric", "auroq", "Did you mean 'auroc'?"),
        ("--format", "xml", "'xml'"),
    ],
)
def test_near_misses(medimg, runs, option, value, miss):
    answer = medimg("compare", "runs/one", "runs/two", option, value)
    assert answer.code == 2 and miss in answer.err


def test_formats(medimg, runs):
    line = ("compare", "runs/one", "runs/two", "--metric", "auroc", *QUICK)
    shown = {style: medimg(*line, "--format", style) for style in ("md", "csv", "html", "table")}
    table = shown["table"].out
    assert table.startswith("2 runs on the same 18 test images of ")
    assert "all are logistic with linear" in table and "* best in auroc" in table
    assert shown["md"].out.startswith("|    | run ") and "\n|---" in shown["md"].out
    rows = list(csv.DictReader(io.StringIO(shown["csv"].out)))
    assert list(rows[0])[:5] == ["run", "mark", "auroc", "auroc_low", "auroc_high"]
    assert {"learning_rate", "seconds", "epochs", "looks"} <= set(rows[0])
    assert sorted(row["run"] for row in rows) == ["one", "two"]
    assert "model" not in rows[0]  # the same in both
    assert shown["html"].out.startswith("<table>") and shown["html"].out.count("<table>") == 2
    assert shown["html"].out.count("<p>95 % intervals") == shown["md"].out.count("95 % intervals")
    for style in ("md", "csv", "html"):
        assert "Report: " in shown[style].err and "Report: " not in shown[style].out
    as_json = medimg(*line, "--format", "json").report
    assert as_json["result"]["runs"][0]["name"] == rows[0]["run"]


def test_nothing_is_glued_to_a_table_in_markdown(medimg, drawn):
    """A line right under a table would be one of its rows."""
    labels, scores = drawn
    for seed in range(2):
        fabricate(f"a{seed}", scores(1), labels, seed=seed)
        fabricate(f"b{seed}", scores(0.2), labels, seed=seed, learning_rate=0.1)
    line = ("compare", *sorted(map(str, Path("runs").iterdir())), *QUICK)
    told = medimg(*line, "--format", "md").out
    lines = told.splitlines()
    under = [b for a, b in zip(lines, lines[1:], strict=False) if a.startswith("|")]
    assert all(not b or b.startswith("|") for b in under), under
    assert "\n\nSD over seeds is how much training varies;" in told
    assert "\n\n\\* best in auroc   ≈ can't be told from the best" in told
    assert "\n\nlooks: how often this test part had been looked at by then" in told
    table = medimg(*line).out
    assert "\n* best in auroc   ≈ can't be told from the best" in table
    few = medimg(*line, "--format", "md", "--top", "3").out
    assert "… and 1 more run in the report (--top 0 shows all)" in few


def test_a_name_of_evaluations_given_as_a_part(medimg, runs):
    """Other data lie under the name of the evaluation; their part is called test."""
    for name in ("one", "two"):
        shutil.copytree(f"runs/{name}/evaluate/test", f"runs/{name}/evaluate/test-labels")
    line = ("compare", "runs/one", "runs/two")
    answer = medimg(*line, "--split", "test-labels", "--json")
    assert answer.code == 1
    (told,) = {row["why"] for row in answer.report["result"]["refused"]}
    command = "medimg compare runs/one/evaluate/test-labels runs/two/evaluate/test-labels"
    assert told == (f"test-labels is no part of its data but the name of an evaluation; {command}")
    assert medimg(*command.split()[1:], *QUICK).code == 0


def test_the_tables_lie_beside_the_report(medimg, runs):
    assert medimg("compare", "runs/one", "runs/two", *QUICK, "--name", "c").code == 0
    result = json.loads(Path("runs/c/report.json").read_text())["result"]
    for name in ("runs.csv", "pairs.csv"):
        assert name in result["artifacts"]
    pairs = list(csv.DictReader(Path("runs/c/pairs.csv").open()))
    assert len(pairs) == len(result["pairs"]) > 0
    assert float(pairs[0]["difference"]) == result["pairs"][0]["difference"]


def test_columns_and_sort(medimg, runs):
    line = ("compare", "runs/one", "runs/two", *QUICK, "--format", "csv")
    shown = medimg(*line, "--columns", "seconds,learning rate,mcc", "--sort", "learning_rate")
    rows = list(csv.DictReader(io.StringIO(shown.out)))
    of_mcc = ["mcc", "mcc_low", "mcc_high", "mcc_method"]
    assert list(rows[0])[2:] == ["seconds", "learning_rate", *of_mcc]
    assert [row["run"] for row in rows] == ["one", "two"]
    by_brier = medimg(*line, "--metric", "brier").out
    rows = list(csv.DictReader(io.StringIO(by_brier)))
    assert float(rows[0]["brier"]) <= float(rows[1]["brier"])
    assert rows[0]["mark"] == "best"
    for option in ("--columns", "--sort"):
        missed = medimg(*line, option, "second")
        assert missed.code == 2 and "seconds" in missed.err


def test_runs_that_are_not_there(medimg, runs):
    assert medimg("compare", "runs/one", "runs/twoo").code == 3
    Path("empty").mkdir()
    answer = medimg("compare", "empty")
    assert answer.code == 3 and "none of these is a run folder" in answer.err
    assert "empty: it holds no report.json" in answer.err


def test_the_predictions_compared_are_those_written(runs):
    table = read_predictions(runs / "one/evaluate/test/predictions.csv")
    assert len(set(table.sha256)) == 18 and all(len(d) == 64 for d in table.sha256)


def test_thresholds_by_different_rules_are_said_and_not_tested(medimg, runs):
    for name in ("one", "two"):
        rule = "youden" if name == "one" else "specificity=0.95"
        line = ("--threshold", rule, "--resamples", "100", "--name", "zz")
        assert medimg("evaluate", f"runs/{name}", *line).code == 0
    answer = medimg("compare", "runs/one", "runs/two", *QUICK, "--json")
    assert answer.code == 0, answer.err
    (found,) = answer.report["findings"]
    assert found["check"] == "threshold-rules-differ" and found["severity"] == "warning"
    assert "one: youden, two: specificity=0.95" in found["message"]
    assert found["hint"].endswith("medimg evaluate runs/two --threshold youden")
    pairs = {p["metric"]: p for p in answer.report["result"]["pairs"]}
    for metric in ("accuracy", "sensitivity", "f1"):
        assert pairs[metric]["p"] is pairs[metric]["difference"] is None
        assert "different rules" in pairs[metric]["reason"]
    assert pairs["auroc"]["difference"] is not None
    shown = medimg("compare", "runs/one", "runs/two", *QUICK)
    assert "    threshold " in shown.out and "specificity=0.95" in shown.out
    table = medimg("compare", "runs/one", "runs/two", "--split", "test", *QUICK, "--json")
    assert table.report["result"]["comparable"] is True


def test_predictions_made_elsewhere_are_evaluated_alike_by_their_own_command(
    medimg, runs, phantoms, monkeypatch
):
    """Without validation rows no rule can choose for them: the run takes their threshold."""
    rows = list(csv.DictReader(Path("runs/two/evaluate/test/predictions.csv").open()))
    val = list(csv.DictReader(Path("runs/two/predictions/val.csv").open()))
    kept = ("path", "prob_NORMAL", "prob_PNEUMONIA")
    for name, told in (("alone", rows), ("whole", [*rows, *val])):
        with Path(f"{name}.csv").open("w", newline="") as text:
            writer = csv.DictWriter(text, kept, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(told)
    line = ("evaluate", "--predictions", "alone.csv", phantoms, "--no-plots", "--name", "alone")
    assert medimg(*line).code == 0
    answer = medimg("compare", "runs/one", "runs/alone", *QUICK, "--json")
    (found,) = answer.report["findings"]
    assert found["hint"] == "Evaluate them alike: medimg evaluate runs/one --threshold 0.5"
    line = ("evaluate", "--predictions", "whole.csv", phantoms, "--threshold", "cost=2:1")
    line = [str(a) for a in (*line, "--name", "whole", "--no-plots")]
    monkeypatch.setattr("sys.argv", ["medimg", *line])
    assert medimg(*line).code == 0
    answer = medimg("compare", "runs/one", "runs/whole", *QUICK, "--json")
    (found,) = answer.report["findings"]
    command = found["hint"].removeprefix("Evaluate them alike: ")
    assert command == (
        f"medimg evaluate --predictions whole.csv {phantoms} --no-plots --threshold youden"
    )
    assert medimg(*command.split()[1:]).code == 0


def test_the_same_rule_is_tested_without_a_word(medimg, runs):
    answer = medimg("compare", "runs/one", "runs/two", *QUICK, "--json")
    assert answer.report["findings"] == []
    (pair,) = [p for p in answer.report["result"]["pairs"] if p["metric"] == "accuracy"]
    assert pair["difference"] is not None


def test_a_run_is_not_compared_with_itself(medimg, runs):
    answer = medimg("compare", "runs/one", "./runs/../runs/one")
    assert answer.code == 2 and "is named twice" in answer.err
    assert len(answer.err.splitlines()) == 2


def test_plots_of_phantoms_say_so(medimg, runs, monkeypatch):
    from medimg.reports import plots_comparison

    said = []
    save = plots_comparison.save

    def noted(fig, path, title, phantom):
        said.append((path.name, phantom))
        save(fig, path, title=title, phantom=phantom)

    monkeypatch.setattr(plots_comparison, "save", noted)
    assert medimg("compare", "runs/one", "runs/two", *QUICK).code == 0
    names = ("roc-overlay.png", "differences.png", "metric-against-cost.png")
    assert dict(said) == dict.fromkeys(names, True)


# -- made-up runs: every number known -------------------------------------------------------------


def fabricate(name, scores, labels, *, groups=None, seed=0, threshold=0.5, look=1, **recipe):
    """A run folder with predictions of our own: what compare reads, and nothing else."""
    from sklearn.metrics import accuracy_score, roc_auc_score

    folder = Path("runs") / name
    place = folder / "evaluate" / "test"
    place.mkdir(parents=True)
    values = {
        "auroc": roc_auc_score(labels, scores),
        "accuracy": accuracy_score(labels, np.asarray(scores) >= threshold),
    }
    metrics = {
        k: {"value": float(v), "ci95": [float(v) - 0.05, float(v) + 0.05]}
        for k, v in values.items()
    }
    recipe = {"learning_rate": 0.001, "seed": seed, "epochs": 5, "backend": "torch"} | recipe
    common = {"schema": "medimg.report/1", "created": "2026-01-01T00:00:00Z", "findings": []}
    data = {"name": "made", "fingerprint": "sha256:ab", "split_hash": "sha256:cd"}
    train = {"model": "cnn2", "epochs": 5, "parameters": {"total": 10, "trainable": 10}}
    environment = {"backend": {"name": recipe["backend"], "device": "cpu"}}
    report = common | {"command": "train", "dataset": data, "result": train, "seconds": 3.0 + seed}
    (folder / "report.json").write_text(json.dumps(report | {"environment": environment}))
    cut = {"value": threshold, "rule": "youden", "chosen_on": "val"}
    result = {
        "split": "test", "images": len(labels), "positive": "yes", "threshold": cut,
        "metrics": metrics, "test_looks": look,
        "training": {"recipe": recipe, "model": "cnn2", "backend": recipe["backend"]},
    }  # fmt: skip
    evaluation = common | {"command": "evaluate", "dataset": data, "result": result}
    (place / "report.json").write_text(json.dumps(evaluation))
    with (place / "predictions.csv").open("w", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(["path", "split", "label", "group", "sha256", "prob_no", "prob_yes"])
        for n, (score, label) in enumerate(zip(scores, labels, strict=True)):
            group = "" if groups is None else groups[n]
            row = [f"{n}.png", "test", ("no", "yes")[label], group, f"{n:064x}"]
            writer.writerow([*row, 1 - score, score])
    return folder


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """(labels, function of a strength that gives scores) of 200 images."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(7)
    labels = np.arange(200) % 2
    shared = rng.normal(size=200)

    def scores(strength, noise=0.5):
        logits = shared + noise * rng.normal(size=200) + strength * (labels - 0.5)
        return (1 / (1 + np.exp(-logits))).round(6)

    return labels, scores


def test_independent_rows_get_delong_mcnemar_and_cochran(medimg, drawn):
    from scipy.stats import binomtest
    from statsmodels.stats.contingency_tables import cochrans_q

    labels, scores = drawn
    made = {name: scores(s) for name, s in (("a", 3.0), ("b", 1.0), ("c", 0.8))}
    for name, found in made.items():
        fabricate(name, found, labels)
    line = ("runs/a", "runs/b", "runs/c", "--matrix", "--resamples", "300")
    result = medimg("compare", *line, "--json").report["result"]
    tests = {p["metric"]: p["test"] for p in result["pairs"]}
    assert tests == {"auroc": "DeLong", "accuracy": "exact McNemar"}
    assert len(result["pairs"]) == 6 and result["family"] == "all pairs"
    right = {n: (s >= 0.5) == labels for n, s in made.items()}
    (omnibus,) = result["omnibus"]
    expected = cochrans_q(np.stack(list(right.values()), axis=1))
    assert omnibus["statistic"] == pytest.approx(expected.statistic)
    assert omnibus["p"] == pytest.approx(expected.pvalue, rel=1e-6)
    for pair in (p for p in result["pairs"] if p["metric"] == "accuracy"):
        a, b = right[pair["a"]], right[pair["b"]]
        only = (a & ~b).sum(), (b & ~a).sum()
        assert pair["p"] == pytest.approx(binomtest(int(only[0]), int(sum(only)), 0.5).pvalue)
    marks = {row["name"]: row["mark"] for row in result["runs"]}
    assert marks == {"a": "best", "b": None, "c": None}
    assert "each of the 2 others can be told from it" in result["conclusions"][0]


def test_where_patients_are_known_the_bootstrap_is_by_patient(medimg, drawn):
    labels, scores = drawn
    groups = [f"p{n // 4}" for n in range(200)]
    for name in "abc":
        fabricate(name, scores(1.0), labels, groups=groups)
    result = medimg("compare", "runs/a", "runs/b", "runs/c", "--json").report["result"]
    assert {p["test"] for p in result["pairs"]} == {"paired bootstrap by patient"}
    assert result["omnibus"] == [] and result["patients"] == 50


def test_patients_with_one_image_each_make_images_independent(medimg, drawn):
    labels, scores = drawn
    for name in "ab":
        fabricate(name, scores(1.0), labels, groups=[f"p{n}" for n in range(200)])
    result = medimg("compare", "runs/a", "runs/b", "--json").report["result"]
    assert {p["test"] for p in result["pairs"]} == {"DeLong", "exact McNemar"}
    assert result["patients"] == 200


def test_the_best_is_marked_with_all_that_cannot_be_told_from_it(medimg, drawn):
    labels, scores = drawn
    for name, strength in (("best", 3.0), ("near", 2.95), ("far", 0.0)):
        fabricate(name, scores(strength, 0.1), labels, look=4)
    answer = medimg("compare", "runs/best", "runs/near", "runs/far")
    assert answer.code == 0, answer.err
    rows = answer.out[: answer.out.index("* best in auroc")].splitlines()
    lines = {line.split()[1]: line[0] for line in rows if line.startswith(("*", "≈"))}
    assert lines["best"] == "*" and lines["near"] == "≈" and "far" not in lines
    assert "It can't be told from near on these samples" in answer.out
    assert "Picking the best of 3 by this table is selection" in answer.out
    assert "This test part has been looked at 3 times" in " ".join(answer.out.split())
    assert "Patients are unknown" in answer.out


def test_without_a_baseline_all_pairs_are_counted(medimg, drawn):
    from statsmodels.stats.multitest import multipletests

    labels, scores = drawn
    for name, strength in (("a", 1.0), ("b", 1.2), ("c", 0.8), ("d", 1.1)):
        fabricate(name, scores(strength), labels)
    line = [f"runs/{n}" for n in "abcd"]
    answer = medimg("compare", *line, "--json")
    result = answer.report["result"]
    for metric in ("auroc", "accuracy"):
        family = [p for p in result["pairs"] if p["metric"] == metric]
        assert {p["tests"] for p in family} == {6} and len(family) == 3
        expected = multipletests([p["p"] for p in family] + [1, 1, 1], method="holm")[1][:3]
        assert [p["p_holm"] for p in family] == pytest.approx(list(expected))
    intervals = {p["metric"]: p["interval"] for p in result["pairs"]}
    assert intervals["auroc"] == "Wald with DeLong's variance"
    assert "Bonett-Price" in intervals["accuracy"]
    said = " ".join(medimg("compare", *line).out.split())
    assert "Holm's correction counts all 6 pairs of the 4 runs" in said
    assert "Wald with DeLong's variance (auroc)" in said


def test_a_perfect_run_is_told_from_a_constant_one(medimg, drawn):
    """Neither has any variance among these images: that is no tie."""
    labels, scores = drawn
    fabricate("perfect", labels.astype(float), labels)
    fabricate("constant", np.full(200, 0.3), labels)
    fabricate("other", scores(1.0), labels)
    line = ("runs/perfect", "runs/constant", "runs/other", "--metric", "auroc", "--json")
    result = medimg("compare", *line).report["result"]
    assert {r["name"]: r["mark"] for r in result["runs"]} == {
        "perfect": "best", "constant": None, "other": None,
    }  # fmt: skip
    (pair,) = [p for p in result["pairs"] if p["a"] == "constant"]
    assert pair["p_holm"] < 1e-6 and pair["ci95"] is None and "no variance" in pair["reason"]


def test_what_cannot_be_tested_is_no_tie(medimg, drawn):
    labels, scores = drawn
    fabricate("a", scores(2.0), labels)
    fabricate("b", scores(2.0), labels)
    file = Path("runs/b/evaluate/test/report.json")
    report = json.loads(file.read_text())
    report["result"]["threshold"]["rule"] = "specificity=0.95"
    file.write_text(json.dumps(report))
    answer = medimg("compare", "runs/a", "runs/b", "--metric", "accuracy", "--json")
    assert answer.code == 0, answer.err
    result = answer.report["result"]
    assert sorted(str(row["mark"]) for row in result["runs"]) == ["best", "untested"]
    assert "can't be tested on these samples" in result["conclusions"][0]


def test_few_images_are_tested_as_they_are_evaluated(medimg, drawn):
    labels, scores = drawn
    for name in "ab":
        fabricate(name, scores(1.0)[:32], labels[:32])
    result = medimg("compare", "runs/a", "runs/b", "--metric", "auroc", "--json").report["result"]
    assert [p["test"] for p in result["pairs"]] == ["DeLong"]


def test_looks_are_counted_when_the_comparison_is_read(medimg, drawn):
    """All that lies beside the runs and shares an image has looked, whatever its labels."""
    labels, scores = drawn
    for name in "abc":
        fabricate(name, scores(1.0), labels)
    fabricate("part", scores(1.0)[:120], labels[:120])
    fabricate("relabelled", scores(1.0), np.r_[1 - labels[:10], labels[10:]])
    answer = medimg("compare", "runs/a", "runs/b", "--json")
    assert answer.report["result"]["looks"] == 5
    said = medimg("compare", "runs/a", "runs/b").out
    assert "looked at 5 times" in " ".join(said.split())
    assert "looks: how often this test part had been looked at by then" in said


def test_another_metric_that_ranks_otherwise_is_said(medimg, drawn):
    """The best in AUROC answers at a threshold far off, so that another is right more often."""
    labels, scores = drawn
    fabricate("ranks", scores(3.5), labels, threshold=0.02)
    fabricate("decides", scores(1.5), labels, threshold=0.5)
    result = medimg("compare", "runs/ranks", "runs/decides", "--json").report["result"]
    assert result["baseline"] == "ranks"
    assert (
        "Ranked otherwise it would look different: in accuracy decides can be told from ranks, "
        "and for the better." in result["conclusions"]
    )


def test_a_baseline_and_the_best_are_two_families(medimg, drawn):
    labels, scores = drawn
    for name, strength in (("a", 0.2), ("b", 2.0), ("c", 2.1), ("d", 0.3)):
        fabricate(name, scores(strength), labels)
    line = [f"runs/{n}" for n in "abcd"]
    result = medimg("compare", *line, "--baseline", "a", "--metric", "auroc", "--json").report[
        "result"
    ]
    families = {f: [p for p in result["pairs"] if p["family"] == f] for f in ("baseline", "best")}
    assert {p["b"] for p in families["baseline"]} == {"a"}
    assert len(families["baseline"]) == len(families["best"]) == 3
    from statsmodels.stats.multitest import multipletests

    # the best was chosen by the same images: its family counts all six pairs
    for name, more in (("baseline", []), ("best", [1, 1, 1])):
        family = families[name]
        assert {p["tests"] for p in family} == {3 + len(more)}
        expected = multipletests([p["p"] for p in family] + more, method="holm")[1][:3]
        assert [p["p_holm"] for p in family] == pytest.approx(list(expected))
    assert "from the baseline a" in " ".join(result["conclusions"])


def test_a_calibrated_run_is_no_seed_of_one_that_is_not(medimg, drawn):
    labels, scores = drawn
    for seed in (0, 1, 2):
        fabricate(f"s{seed}", scores(1.5), labels, seed=seed)
    file = Path("runs/s1/evaluate/test/report.json")
    report = json.loads(file.read_text())
    report["result"]["temperature"] = {
        "value": 2.0, "fitted_on": "val", "images": 9, "kept": "operating.json",
        "log_loss": {"before": 0.9, "after": 0.7}, "ece": {"before": 0.3, "after": 0.1},
    }  # fmt: skip
    file.write_text(json.dumps(report))
    result = medimg("compare", *[f"runs/s{n}" for n in range(3)], "--json").report["result"]
    (group,) = result["configurations"]
    assert group["runs"] == ["s0", "s2"]
    assert [run["settings"]["calibration"] for run in result["runs"]].count("temperature") == 1


def test_seeds_of_one_configuration_are_grouped(medimg, drawn):
    labels, scores = drawn
    values = []
    for seed in range(3):
        found = scores(1.5)
        fabricate(f"s{seed}", found, labels, seed=seed)
        values.append(found)
    fabricate("other", scores(1.0), labels, learning_rate=0.1)
    line = [f"runs/{n}" for n in ("s0", "s1", "s2", "other")]
    answer = medimg("compare", *line, "--json")
    (group,) = answer.report["result"]["configurations"]
    from sklearn.metrics import roc_auc_score

    areas = [roc_auc_score(labels, v) for v in values]
    assert group["runs"] == ["s0", "s1", "s2"] and group["seeds"] == [0, 1, 2]
    assert group["settings"] == {"learning_rate": 0.001}
    assert group["metrics"]["auroc"] == {
        "mean": pytest.approx(np.mean(areas)), "sd": pytest.approx(np.std(areas, ddof=1)), "n": 3,
    }  # fmt: skip
    assert "SD over seeds is how much training varies" in medimg("compare", *line).out


def test_one_recipe_in_two_backends(medimg, drawn):
    labels, scores = drawn
    found = scores(1.5)
    fabricate("t", found, labels)
    fabricate("k", np.clip(found + 1e-3, 0, 1), labels, backend="keras")
    fabricate("elsewhere", found, labels, backend="keras", epochs=9)
    answer = medimg("compare", "runs/t", "runs/k", "runs/elsewhere", "--json")
    (row,) = answer.report["result"]["agreement"]
    assert (row["a"], row["b"], row["backends"]) == ("t", "k", ["torch", "keras"])
    assert row["probability"]["largest"] == pytest.approx(1e-3, abs=1e-6)
    assert "one recipe in torch and keras" in medimg("compare", "runs/t", "runs/k").out


def test_a_sweep_of_two_settings_has_a_heat_map(medimg, drawn):
    labels, scores = drawn
    line = []
    for rate in (0.01, 0.1):
        for epochs in (5, 10, 20):
            name = f"{rate}-{epochs}"
            fabricate(name, scores(1), labels, learning_rate=rate, epochs=epochs)
            line.append(f"runs/{name}")
    result = medimg("compare", *line, "--json", "--name", "c").report["result"]
    assert "plots/heat-map.png" in result["artifacts"]
    assert Path("runs/c/plots/heat-map.png").stat().st_size > 5000
    assert medimg("report", "runs/c", "--lang", "es", "--format", "md").code == 0
    page = Path("runs/c/report.es.md").read_text(encoding="utf-8")
    assert "El barrido" in page and "tasa de aprendizaje ↓  épocas →" in page
    best = max(run["metrics"]["auroc"]["value"] for run in result["runs"])
    assert f"{best:.3f}".replace(".", ",") in page[page.index("El barrido") :]
    few = medimg("compare", *line[:2], "--name", "few", "--json").report["result"]
    assert "El barrido" not in medimg("report", "runs/few", "--lang", "es", "--json").out
    assert "plots/heat-map.png" not in few["artifacts"]


def test_predictions_that_cannot_be_used_are_refused_with_why(medimg, drawn):
    labels, scores = drawn
    for name in ("a", "b"):
        fabricate(name, scores(1), labels)

    def broken(change):
        shutil.rmtree("runs/x", ignore_errors=True)
        fabricate("x", scores(1), labels)
        edit_predictions("x", change)
        result = medimg("compare", "runs/a", "runs/b", "runs/x", "--json").report["result"]
        (row,) = result["refused"]
        return row["why"]

    assert "hold 199 rows, its report speaks of 200 images" in broken(lambda rows: rows[1:])
    assert "hold 0.png 2 times" in broken(lambda rows: [*rows, rows[0]])
    nan = broken(lambda rows: [r | {"prob_yes": "nan"} for r in rows[:1]] + rows[1:])
    assert "row 0 is not a set of probabilities that sum to 1" in nan
    half = broken(lambda rows: [r | {"prob_yes": "0.5", "prob_no": "0.1"} for r in rows])
    assert "(200 such rows)" in half
    words = broken(lambda rows: [r | {"prob_yes": "high"} for r in rows])
    assert "a probability that is no number" in words
    label = broken(lambda rows: [r | {"label": "maybe"} for r in rows[:1]] + rows[1:])
    assert "the label 'maybe' and no column prob_maybe" in label


def test_classes_in_another_order_are_the_same_classes(medimg, drawn):
    labels, scores = drawn
    found = scores(1)
    for name in ("a", "b"):
        fabricate(name, found, labels)
    file = Path("runs/b/evaluate/test/predictions.csv")
    rows = list(csv.DictReader(file.open()))
    order = ["path", "split", "label", "group", "sha256", "prob_yes", "prob_no"]
    with file.open("w", newline="") as text:
        writer = csv.DictWriter(text, order)
        writer.writeheader()
        writer.writerows(rows)
    result = medimg("compare", "runs/a", "runs/b", "--json").report["result"]
    assert result["refused"] == []
    assert {p["difference"] for p in result["pairs"]} == {0.0}


def test_an_evaluation_on_training_images_is_an_error_beside_the_table(medimg, drawn):
    labels, scores = drawn
    for name in "abc":
        fabricate(name, scores(1), labels)
    file = Path("runs/c/evaluate/test/report.json")
    report = json.loads(file.read_text())
    found = {"check": "training-images-in-test", "severity": "error", "message": "12 of 200"}
    file.write_text(json.dumps(report | {"findings": [found]}))
    answer = medimg("compare", "runs/a", "runs/b", "runs/c", "--json")
    assert answer.code == 0 and answer.report["result"]["refused"] == []
    (told,) = [f for f in answer.report["findings"] if f["check"] == found["check"]]
    assert told["severity"] == "error" and told["items"] == [{"run": "c", "message": "12 of 200"}]
    assert "1 of the 3 runs were tested on images that they have seen" in answer.err


def test_older_reports_and_lone_evaluations_are_read(medimg, drawn):
    labels, scores = drawn
    for name in "abc":
        fabricate(name, scores(1), labels)
    # an old report: no looks, no recipe within; an evaluation that stands alone
    file = Path("runs/a/evaluate/test/report.json")
    report = json.loads(file.read_text())
    for name in ("test_looks", "training"):
        del report["result"][name]
    file.write_text(json.dumps(report))
    Path("runs/c/evaluate/test").rename("runs/elsewhere")
    answer = medimg("compare", "runs/a", "runs/b", "runs/elsewhere", "--json")
    assert answer.code == 0, answer.err
    assert check_shape(answer.report) == []
    rows = {row["name"]: row for row in answer.report["result"]["runs"]}
    assert set(rows) == {"a", "b", "elsewhere"}
    assert rows["a"]["looks"] is None and rows["elsewhere"]["cost"]["seconds"] is None


def test_predictions_made_elsewhere_differ_in_their_model_alone(medimg, drawn):
    labels, scores = drawn
    for name, rate in (("a", 0.1), ("b", 0.01), ("c", 0.01)):
        fabricate(name, scores(1), labels, learning_rate=rate)
    file = Path("runs/c/evaluate/test/report.json")
    report = json.loads(file.read_text())
    report["result"]["training"] = {"run": None, "model": "theirs", "backend": None}
    file.write_text(json.dumps(report))
    Path("runs/c/evaluate/test").rename("runs/elsewhere")
    rows = medimg("compare", "runs/a", "runs/b", "runs/elsewhere", "--json").report["result"][
        "runs"
    ]
    told = {row["name"]: row["settings"] for row in rows}
    assert told["a"] == {"model": "cnn2", "learning_rate": 0.1}
    assert told["elsewhere"] == {"model": "theirs", "learning_rate": None}


def test_the_same_value_is_no_better_one_and_an_untested_difference_is_called_so(medimg, drawn):
    labels, scores = drawn
    same = scores(1)
    for name in "abc":
        fabricate(name, same if name != "c" else scores(2), labels)
    said = medimg("compare", "runs/a", "runs/b", "--name", "two", "--json").report["result"]
    assert said["conclusions"][0].endswith(" reached the same.")
    # one image of a class: a third of the resamples hold none of it
    few = np.array([0] * 9 + [1])
    for name in "de":
        fabricate(name, scores(1 if name == "d" else 3)[:10], few)
    told = medimg("compare", "runs/d", "runs/e", "--name", "few", "--json").report["result"]
    text = " ".join(told["conclusions"])
    assert "Only 1 image of the class yes was tested" in text
    assert "can't be tested on these samples (undefined in" in text


def test_runs_of_two_versions_and_looks_at_the_test_part_are_said(medimg, drawn):
    labels, scores = drawn
    for name, version, look in (("a", "0.1.0", 3), ("b", "0.2.0", 12)):
        folder = fabricate(name, scores(1), labels, look=look)
        file = folder / "report.json"
        report = json.loads(file.read_text()) | {"medimg": {"version": version}}
        file.write_text(json.dumps(report))
    answer = medimg("compare", "runs/a", "runs/b", "--json")
    (found,) = answer.report["findings"]
    assert (found["check"], found["severity"]) == ("versions-differ", "info")
    assert "medimg 0.1.0, 0.2.0" in found["message"]
    result = answer.report["result"]
    assert {row["name"]: row["looks"] for row in result["runs"]} == {"a": 3, "b": 12}
    # counted when the comparison is read, not when the runs were evaluated
    assert result["conclusions"][-1].endswith("This test part has been looked at 2 times by now.")


def test_recipes_trained_once_and_more_than_once(medimg, drawn):
    labels, scores = drawn
    for name, seed, rate in (("a", 0, 0.1), ("b", 1, 0.1), ("c", 0, 0.2)):
        fabricate(name, scores(1), labels, seed=seed, learning_rate=rate)
    once = "Each recipe was trained once"
    assert once in " ".join(medimg("compare", "runs/a", "runs/c").out.split())
    assert once not in " ".join(medimg("compare", "runs/a", "runs/b", "runs/c").out.split())


def test_few_patients_are_said(medimg, drawn):
    labels, scores = drawn
    for name in "ab":
        fabricate(name, scores(1), labels, groups=[f"p{n % 11}" for n in range(200)])
    said = " ".join(medimg("compare", "runs/a", "runs/b").out.split())
    assert "Only 11 patients were tested: with so few, intervals by patient are too narrow" in said


def test_runs_of_one_name_in_two_places(medimg, drawn):
    labels, scores = drawn
    fabricate("x/a", scores(1), labels)
    fabricate("y/a", scores(1), labels)
    answer = medimg("compare", "runs/x/a", "runs/y/a", "--baseline", "runs/y/a", "--json")
    assert answer.code == 0, answer.err
    assert answer.report["result"]["baseline"] == "runs/y/a"


def test_all_pairs_of_very_many_runs_are_refused(medimg, drawn):
    labels, scores = drawn
    paths = [str(fabricate(f"r{n}", scores(1), labels)) for n in range(61)]
    answer = medimg("compare", *paths, "--matrix")
    assert answer.code == 3 and "all pairs of 61 runs are 1,830" in answer.err


# -- versions of a dataset -------------------------------------------------------------------------


def test_verify_reports_are_versions_of_a_dataset(medimg, draw_folder, tmp_path):
    folder = draw_folder("data", {"train": {"a": 6, "b": 6}, "test": {"a": 3, "b": 3}})
    (folder / "train" / "a" / "broken.png").write_bytes(b"")
    shutil.copy(folder / "train/a/trainа0.png".replace("а", "a"), folder / "train/a/copy.png")
    medimg("verify", folder, "--name", "old")
    (folder / "train" / "a" / "broken.png").unlink()
    (folder / "train" / "b" / "half.png").write_bytes(b"")
    medimg("verify", folder, "--name", "new")
    answer = medimg("compare", "runs/old", "runs/new", "--json")
    assert answer.code == 0, answer.err
    assert check_shape(answer.report) == []
    (row,) = answer.report["result"]["versions"]
    assert (row["a"], row["b"], row["same_data"]) == ("old", "new", False)

    def files(findings, check):
        return [i["file"] for f in findings if f["check"] == check for i in f["items"]]

    assert files(row["new"], "empty-file") == ["train/b/half.png"]
    assert files(row["gone"], "empty-file") == ["train/a/broken.png"]
    assert not any("of them new" in f["message"] for f in row["gone"])
    assert "exact-duplicates" in {f["check"] for f in row["same"]}
    shown = medimg("compare", "runs/old", "runs/new").out
    assert shown.startswith("new beside old. The data are not the same.")
    again = medimg("compare", "runs/old", "runs/old")
    assert again.code == 2  # one report twice


def test_the_images_of_two_versions_are_told_apart_by_content(medimg, draw_folder):
    """One image removed, one added, one relabelled, and a folder renamed: the counts are alike."""
    folder = draw_folder("data", {"train": {"a": 6, "b": 6}, "test": {"a": 3, "b": 3}})
    (folder / "train/a/broken.png").write_bytes(b"no picture")
    shutil.copy(next((folder / "train/b").iterdir()), folder / "train/b/copy.png")
    medimg("verify", folder, "--name", "old")
    before = sorted(p.name for p in (folder / "test/a").iterdir())
    (folder / "test/a" / before[0]).rename(folder / "test/b/moved.png")
    (folder / "test/a" / before[1]).unlink()
    fresh = draw_folder("other", {"test": {"a": 1, "c": 1}}) / "test/c"
    shutil.copy(next(fresh.iterdir()), folder / "test/a/fresh.png")
    (folder / "train").rename(folder / "Training")
    medimg("verify", folder, "--name", "new")
    answer = medimg("compare", "runs/old", "runs/new", "--json")
    assert check_shape(answer.report) == []
    (row,) = answer.report["result"]["versions"]
    assert row["facts"]["images"][0] == row["facts"]["images"][1] and row["same_data"] is False
    images = row["images"]
    assert images["added"] == {"count": 1, "items": [{"file": "test/a/fresh.png", "class": "a"}]}
    assert images["removed"]["items"] == [{"file": f"test/a/{before[1]}", "class": "a"}]
    assert images["relabelled"]["items"] == [
        {"file": "test/b/moved.png", "before": "a", "now": "b"}
    ]
    # the broken file, six and seven of the classes, and the one that has a new class too
    assert images["renamed"]["count"] == 1 + 6 + 7 + 1 and "changed" not in images
    # what is wrong with a file that was renamed is neither new nor gone
    for name in ("unreadable", "exact-duplicates"):
        assert name in {f["check"] for f in row["same"]}
        assert name not in {f["check"] for f in (*row["new"], *row["gone"])}
    shown = medimg("compare", "runs/old", "runs/new", "--name", "both").out
    assert "Images added: 1, the first test/a/fresh.png" in shown
    assert "Images of another class: 1, the first test/b/moved.png (a → b)" in shown
    assert medimg("report", "runs/both", "--format", "md", "--lang", "es").code == 0
    assert "| añadidas | 1 | test/a/fresh.png |" in Path("runs/both/report.es.md").read_text()
    # patients that one version does not know have not changed
    listed = Path("runs/new/images.csv")
    rows = list(csv.DictReader(listed.open()))
    with listed.open("w", newline="") as text:
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | {"group": f"p{n}"} for n, row in enumerate(rows))
    answer = medimg("compare", "runs/old", "runs/new", "--json")
    assert "other_patient" not in answer.report["result"]["versions"][0]["images"]
    # older reports list no images
    Path("runs/old/images.csv").unlink()
    answer = medimg("compare", "runs/old", "runs/new", "--json")
    assert answer.report["result"]["versions"][0]["images"] is None
    assert "Which images differ is not known" in medimg("compare", "runs/old", "runs/new").out


def test_the_methods_of_intervals_stand_under_the_runs(medimg, runs):
    line = ("compare", "runs/one", "runs/two", *QUICK)
    told = " ".join(medimg(*line, "--name", "ab").out.split())
    result = json.loads(Path("runs/ab/report.json").read_text())["result"]
    assert "95 % intervals: " in told
    for metric in ("auroc", "accuracy", "balanced_accuracy"):
        cell = result["runs"][0]["metrics"][metric]
        assert (cell["method"] or cell["reason"]) in told
    (row,) = [r for r in csv.DictReader(Path("runs/ab/runs.csv").open()) if r["run"] == "one"]
    one = next(r for r in result["runs"] if r["name"] == "one")
    assert row["accuracy_method"] == (one["metrics"]["accuracy"]["method"] or "")


def test_quiet_leaves_the_table_that_was_asked_for(medimg, drawn):
    labels, scores = drawn
    for name in "ab":
        fabricate(name, scores(1), labels)
    line = ("compare", "runs/a", "runs/b", "-q")
    answer = medimg(*line, "--format", "md")
    assert answer.out.startswith("|    | run ") and answer.err == ""
    assert medimg(*line, "--format", "csv").out.startswith("run,mark,")
    assert medimg(*line).out == ""


@pytest.mark.parametrize("schema", ["medimg.report/2", "medimg.report/0"])
def test_reports_of_another_schema_are_refused(medimg, drawn, schema):
    labels, scores = drawn
    for name in "abc":
        fabricate(name, scores(1), labels)
    file = Path("runs/c/report.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema": schema}))
    result = medimg("compare", "runs/a", "runs/b", "runs/c", "--json").report["result"]
    (row,) = result["refused"]
    assert f"is of the schema {schema}, this medimg reads medimg.report/1" in row["why"]


def test_a_report_that_its_predictions_contradict_is_refused(medimg, drawn):
    labels, scores = drawn
    for name in "abc":
        fabricate(name, scores(1), labels)
    file = Path("runs/c/evaluate/test/report.json")
    report = json.loads(file.read_text())
    report["result"]["metrics"]["auroc"]["value"] = 0.99
    file.write_text(json.dumps(report))
    result = medimg("compare", "runs/a", "runs/b", "runs/c", "--json").report["result"]
    (row,) = result["refused"]
    assert "its report gives auroc 0.990, its predictions give 0." in row["why"]
