"""medimg compare: the same samples by content, what is refused and why, the formats."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

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
    answer = medimg("compare", "runs/one", "runs/two", *QUICK, "--name", "c", "--json")
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
    (pair,) = [p for p in result["pairs"] if p["metric"] == "auroc"]
    assert (pair["a"], pair["b"]) == ("two", "one")
    assert pair["difference"] == pytest.approx(aurocs[1] - aurocs[0], abs=1e-9)
    assert all((Path("runs/c") / name).is_file() for name in result["artifacts"])


def test_holm_never_lowers_a_p_value(medimg, runs):
    shutil.copytree("runs/two", "runs/three")
    answer = medimg("compare", "runs/one", "runs/two", "runs/three", *QUICK, "--json")
    tested = [p for p in answer.report["result"]["pairs"] if p["p"] is not None]
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
    edit_predictions("two", lambda rows: [r | {"sha256": r["sha256"][::-1]} for r in rows[:2]])
    text = why(medimg("compare", "runs/one", "runs/two", "--json"))
    assert text == "its test samples are not those of one: 18 are missing, 2 are others"


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


def test_strays_among_the_runs_are_passed_over(medimg, runs, phantoms):
    Path("runs/notes.txt").write_text("x")
    Path("runs/empty").mkdir()
    Path("runs/.DS_Store").write_text("x")
    assert medimg("split", phantoms, "--name", "a-split").code == 0
    assert medimg("compare", "runs/one", "runs/two", *QUICK, "--name", "a-compare").code == 0
    paths = sorted(Path("runs").glob("*"))
    assert len(paths) == 7
    answer = medimg("compare", *paths, *QUICK, "--json")
    assert answer.code == 0, answer.err
    result = answer.report["result"]
    assert [row["name"] for row in result["runs"]] == ["one", "two"]
    assert result["refused"] == []


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
    shown = {
        style: medimg(
            "compare", "runs/one", "runs/two", "--format", style, "--metric", "auroc", *QUICK
        ).out
        for style in ("table", "md", "csv", "html")
    }
    assert shown["table"].startswith("run    model")
    assert shown["md"].startswith("| run ") and "\n|---" in shown["md"]
    rows = list(csv.reader(io.StringIO(shown["csv"].split("\n\n")[0])))
    assert rows[0] == ["run", "model", "backend", "auroc", "learning_rate"]
    assert [row[0] for row in rows[1:]] == ["one", "two"]
    assert shown["html"].startswith("<table>") and shown["html"].count("<table>") == 2


def test_runs_that_are_not_there(medimg, runs):
    assert medimg("compare", "runs/one", "runs/twoo").code == 3
    Path("empty").mkdir()
    answer = medimg("compare", "empty")
    assert answer.code == 3 and "none of these is a run folder" in answer.err


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
    assert shown.out.split()[3] == "threshold" and "specificity=0.95" in shown.out
    table = medimg("compare", "runs/one", "runs/two", "--split", "test", *QUICK, "--json")
    assert table.report["result"]["comparable"] is True


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
    from medimg.reports import plots_evaluation

    said = []
    save = plots_evaluation.save

    def noted(fig, path, title, phantom):
        said.append((path.name, phantom))
        save(fig, path, title=title, phantom=phantom)

    monkeypatch.setattr(plots_evaluation, "save", noted)
    assert medimg("compare", "runs/one", "runs/two", *QUICK).code == 0
    assert dict(said) == {"roc-overlay.png": True, "differences.png": True}
