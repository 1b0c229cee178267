"""medimg evaluate --predictions: any model's probabilities, and every way such a table is wrong."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk

from medimg.core.report import check_shape

QUICK = ("--no-plots", "--resamples", "100", "--no-progress")
CLASSES = ("NORMAL", "PNEUMONIA")


def table_of(folder: Path, parts=("val", "test"), seed: int = 0) -> list[dict[str, str]]:
    """A row an image: probabilities that tell the classes apart, but not quite."""
    rng = np.random.default_rng(seed)
    rows = []
    for part in parts:
        for file in sorted((folder / part).rglob("*.png")):
            ill = file.parent.name == "PNEUMONIA"
            p = float(1 / (1 + np.exp(-(rng.normal() + (1.2 if ill else -1.2)))))
            name = file.relative_to(folder).as_posix()
            rows.append({"path": name, "prob_NORMAL": repr(1 - p), "prob_PNEUMONIA": repr(p)})
    return rows


def write(rows: list[dict[str, str]], name: str = "preds.csv") -> Path:
    with Path(name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return Path(name)


@pytest.fixture
def judged(medimg, phantoms):
    """Evaluates rows on the phantoms."""

    def call(rows, *arguments, data=phantoms):
        return medimg("evaluate", "--predictions", write(rows), data, *QUICK, *arguments)

    return call


@pytest.fixture
def rows(phantoms):
    return table_of(phantoms)


def result_of(answer):
    assert answer.code == 0, answer.err
    assert check_shape(answer.report) == []
    return answer.report["result"]


def test_numbers_are_scikit_learns_at_a_threshold_of_validation(judged, rows):
    result = result_of(judged(rows, "--json", "--name", "mine"))
    val = [r for r in rows if r["path"].startswith("val/")]
    test = [r for r in rows if r["path"].startswith("test/")]
    truth, p = (
        np.array([conv(r) for r in test])
        for conv in (lambda r: "/PNEUMONIA/" in r["path"], lambda r: float(r["prob_PNEUMONIA"]))
    )
    assert result["images"] == len(test) == result["metrics"]["auroc"]["n"]
    assert result["metrics"]["auroc"]["value"] == pytest.approx(sk.roc_auc_score(truth, p))
    cut = result["threshold"]
    assert (cut["rule"], cut["chosen_on"]) == ("youden", "val")
    vt = np.array(["/PNEUMONIA/" in r["path"] for r in val])
    vp = np.array([float(r["prob_PNEUMONIA"]) for r in val])
    false, true, _ = sk.roc_curve(vt, vp, drop_intermediate=False)
    reached = (vp[vt] >= cut["value"]).mean() - (vp[~vt] >= cut["value"]).mean()
    assert reached == pytest.approx((true - false).max())
    assert result["metrics"]["accuracy"]["value"] == pytest.approx(
        sk.accuracy_score(truth, p >= cut["value"])
    )
    assert result["training"]["run"] is None and result["training"]["model"] == "preds"
    assert Path("runs/mine/predictions.csv").is_file()
    assert result["test_looks"] == 1
    assert result_of(judged(rows, "--json"))["test_looks"] == 2


def test_file_names_alone_and_one_probability(judged, rows):
    whole = result_of(judged(rows, "--json"))
    short = [{"image_id": Path(r["path"]).stem, "probability": r["prob_PNEUMONIA"]} for r in rows]
    assert result_of(judged(short, "--json"))["metrics"] == whole["metrics"]
    turned = [{"path": r["path"], "score": r["prob_NORMAL"]} for r in rows]
    found = result_of(judged(turned, "--json", "--positive", "NORMAL"))
    assert found["metrics"]["auroc"]["value"] == pytest.approx(whole["metrics"]["auroc"]["value"])


def test_parts_in_two_files(medimg, phantoms, rows):
    val = write([r for r in rows if r["path"].startswith("val/")], "val.csv")
    test = write([r for r in rows if r["path"].startswith("test/")], "test.csv")
    line = ("evaluate", "--predictions", test, "--predictions", val, phantoms, *QUICK, "--json")
    assert result_of(medimg(*line))["threshold"]["chosen_on"] == "val"


def test_what_medimg_wrote_is_read_back(medimg, runs, phantoms):
    file = "runs/two/evaluate/test/predictions.csv"
    line = ("evaluate", "--predictions", file, phantoms, *QUICK, "--json")
    again = result_of(medimg(*line, "--threshold", "0.5"))
    once = result_of(medimg("evaluate", "runs/two", "--threshold", "0.5", *QUICK, "--json"))
    assert again["metrics"] == once["metrics"]
    assert again["pictures"] == once["pictures"]


# -- the threshold is not chosen on test -----------------------------------------------------


def test_a_rule_without_validation_predictions_is_refused(judged, phantoms):
    rows = table_of(phantoms, ("test",))
    answer = judged(rows, "--threshold", "sensitivity=0.9")
    assert answer.code == 2
    assert "preds has no validation predictions to choose a threshold on" in answer.err
    assert result_of(judged(rows, "--json"))["threshold"]["rule"] == "0.5"


def test_test_images_called_validation_choose_nothing(medimg, draw_folder, phantoms):
    """The same pictures in a folder called val: the back door."""
    import shutil

    data = Path("copy").resolve()
    shutil.copytree(phantoms, data)
    shutil.rmtree(data / "val")
    shutil.copytree(data / "test", data / "val")
    rows = table_of(data)
    for extra in ((), ("--threshold", "youden")):
        answer = medimg("evaluate", "--predictions", write(rows), data, *QUICK, *extra)
        assert answer.code == 1, answer.out
        assert "that would be choosing it on test" in answer.err
    answer = medimg("evaluate", "--predictions", "preds.csv", data, *QUICK, "--threshold", "0.5")
    assert answer.code == 0, answer.err


def test_test_images_saved_again_and_called_validation_choose_nothing(medimg, phantoms):
    """The back door with other files: the pixels are those of test."""
    import shutil

    import cv2

    data = Path("copy").resolve()
    shutil.copytree(phantoms, data)
    shutil.rmtree(data / "val")
    for file in sorted((data / "test").rglob("*.png")):
        again = data / "val" / file.parent.name / f"v{file.name}"
        again.parent.mkdir(parents=True, exist_ok=True)
        picture = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        assert cv2.imwrite(str(again), picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    answer = medimg("evaluate", "--predictions", write(table_of(data)), data, *QUICK)
    assert answer.code == 1, answer.out
    assert "that would be choosing it on test" in answer.err
    answer = medimg("evaluate", "--predictions", "preds.csv", data, *QUICK, "--calibrate")
    assert answer.code == 1 and "the temperature is fitted" in answer.err


def test_a_runs_validation_predictions_exchanged_for_those_of_test(medimg, runs):
    """The same back door in a run's own folder."""
    import shutil

    shutil.copy("runs/two/evaluate/test/predictions.csv", "runs/two/predictions/val.csv")
    answer = medimg("evaluate", "runs/two", "--threshold", "youden", *QUICK)
    assert answer.code == 1 and "choosing it on test" in answer.err


def test_the_part_that_chose_the_threshold_is_named(judged, rows):
    answer = judged(rows, "--split", "val", "--json")
    (found,) = [f for f in answer.report["findings"] if f["check"] == "threshold-on-test"]
    assert "9 of the 9 images chose the threshold" in found["message"]
    assert found["severity"] == "warning"


# -- tables that are wrong -----------------------------------------------------------------------


def changed(rows, place, **cells):
    return [{**r, **cells} if i == place else r for i, r in enumerate(rows)]


def scaled(to):
    """Every probability, put to something else."""

    def change(rows):
        return [
            {k: repr(to(float(v))) if k.startswith("prob_") else v for k, v in r.items()}
            for r in rows
        ]

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda r: r[:-2], "2 of the 18 test images of chest_xray have no prediction"),
        (lambda r: [*r, r[-1]], "has two rows"),
        (lambda r: changed(r, 3, prob_NORMAL="nan"), "prob_NORMAL is 'nan', no probability"),
        (lambda r: changed(r, 3, prob_NORMAL=""), "line 5"),
        (lambda r: changed(r, -1 % len(r), prob_NORMAL="0.9", prob_PNEUMONIA="0.9"), "sum to 1.8"),
        (scaled(lambda p: 5 * p - 2.5), "These look like logits: give probabilities"),
        (scaled(lambda p: 100 * p), "These look like percentages: divide by 100."),
        (
            lambda r: changed(r, -1 % len(r), prob_NORMAL="-0.001", prob_PNEUMONIA="1.001"),
            "A probability is from 0 to 1: look at where these rows come from.",
        ),
        (
            lambda r: changed(r, 0, path="elsewhere/x.png"),
            "rows that name no image of chest_xray: 1, the first",
        ),
        (lambda r: [{**x, "path": f"z{i}.png"} for i, x in enumerate(r)], "for another dataset?"),
        (
            lambda r: [{**x, "label": "NORMAL"} for x in r],
            "rows whose label is not that of chest_xray",
        ),
        (
            lambda r: [
                {"path": x["path"], "prob_normal": x["prob_NORMAL"], "prob_pneumonia": "0"}
                for x in r
            ],
            "--map NORMAL=normal --map PNEUMONIA=pneumonia",
        ),
        (
            lambda r: [
                {"path": x["path"], "prob_glioma": x["prob_NORMAL"], "prob_none": "0"} for x in r
            ],
            "the predictions are for the classes glioma, none, chest_xray has NORMAL, PNEUMONIA",
        ),
        (lambda r: [{"path": x["path"], "prob_NORMAL": "1"} for x in r], "one class column"),
        (lambda r: [{"patch": x["path"], "prob": "1"} for x in r], "no column that names"),
        (lambda r: [{"path": x["path"], "said": "1"} for x in r], "no column of probabilities"),
    ],
)
def test_wrong_tables_are_named(judged, rows, change, told):
    answer = judged(change(rows))
    assert answer.code == 3, answer.out
    assert told in answer.err
    assert "Traceback" not in answer.err and answer.err.count("\n") >= 2
    assert not Path("runs").exists()


def test_class_names_that_differ_in_case_are_joined_by_map(judged, rows):
    lower = [
        {"path": r["path"], "prob_normal": r["prob_NORMAL"], "prob_ill": r["prob_PNEUMONIA"]}
        for r in rows
    ]
    maps = ("--map", "NORMAL=normal", "--map", "PNEUMONIA=ill", "--positive", "PNEUMONIA")
    found = result_of(judged(lower, *maps, "--json"))
    assert found["positive"] == "ill" and found["confusion_matrix"]["labels"] == ["normal", "ill"]
    assert found["metrics"] == result_of(judged(rows, "--json"))["metrics"]


def test_probabilities_rounded_to_three_places(judged, rows):
    rounded = [
        {**r, "prob_NORMAL": "0.333", "prob_PNEUMONIA": "0.666"} if i == 2 else r
        for i, r in enumerate(rows)
    ]
    assert judged(rounded).code == 0


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_table_as_a_spreadsheet_saves_it_where_decimals_have_commas(
    medimg, judged, rows, phantoms, encoding
):
    plain = result_of(judged(rows, "--json"))
    lines = [";".join(rows[0])]
    for row in rows:
        name, *numbers = row.values()
        lines.append(";".join([name, *(number.replace(".", ",") for number in numbers)]))
    Path("sheet.csv").write_text("\r\n".join(lines), encoding=encoding)
    answer = medimg("evaluate", "--predictions", "sheet.csv", phantoms, *QUICK, "--json")
    assert result_of(answer)["metrics"] == plain["metrics"]


def test_a_run_and_predictions_at_once(medimg, phantoms, rows):
    answer = medimg("evaluate", "runs/one", phantoms, "--predictions", write(rows))
    assert answer.code == 2 and "without a RUN" in answer.err
    assert medimg("evaluate").code == 2
    assert medimg("evaluate", "--predictions", "none.csv", phantoms).code == 3


def test_training_images_in_the_test_part_are_said(medimg, phantoms):
    import shutil

    import cv2

    data = Path("copy").resolve()
    shutil.copytree(phantoms, data)
    first = sorted((data / "train/NORMAL").iterdir())[0]
    shutil.copy(first, data / "test/NORMAL/again.png")
    line = ("evaluate", "--predictions", write(table_of(data)), data, *QUICK, "--json")
    answer = medimg(*line)
    (found,) = [f for f in answer.report["findings"] if f["check"] == "training-images-in-test"]
    assert found["items"][0]["file"] == "test/NORMAL/again.png"
    again = cv2.imread(str(first), cv2.IMREAD_UNCHANGED)
    flat = [cv2.IMWRITE_PNG_COMPRESSION, 0]
    assert cv2.imwrite(str(data / "test/NORMAL/again.png"), again, flat)
    (found,) = [
        f for f in medimg(*line).report["findings"] if f["check"] == "training-images-in-test"
    ]
    assert "are, pixel by pixel, images of the dataset's training part" in found["message"]


# -- what a table says beside the probabilities ---------------------------------------------------


def full(rows, phantoms):
    """The columns of medimg's own predictions beside the probabilities."""
    import hashlib

    def told(row):
        file = phantoms / row["path"]
        part, label = row["path"].split("/")[:2]
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        return row | {"split": part, "label": label, "sha256": digest}

    return [told(row) for row in rows]


def test_columns_that_agree_are_fine(judged, rows, phantoms):
    answer = judged(full(rows, phantoms), "--json")
    assert answer.code == 0, answer.err
    assert {f["check"] for f in answer.report["findings"]} <= {"wide-interval", "test-reused"}


def test_hashes_of_other_pictures_are_refused(judged, rows, phantoms):
    answer = judged([r | {"sha256": r["sha256"][::-1]} for r in full(rows, phantoms)])
    assert answer.code == 3
    assert f"{len(rows)} of {len(rows)}, the first preds.csv line 2" in answer.err
    assert "predictions for other pictures under the same names" in answer.err


def test_parts_that_contradict_the_dataset_are_refused(judged, rows, phantoms):
    swapped = {"val": "test", "test": "val"}
    answer = judged([r | {"split": swapped[r["split"]]} for r in full(rows, phantoms)])
    assert answer.code == 3 and "rows whose split is not that of" in answer.err
    assert "--splits FILE" in answer.err


def test_rows_that_are_found_by_the_end_of_their_path_are_said(judged, rows):
    answer = judged([r | {"path": f"other/{r['path']}"} for r in rows], "--json")
    (found,) = [f for f in answer.report["findings"] if f["check"] == "matched-by-name"]
    assert found["count"] == len(rows) and "by the end of the path" in found["message"]
    assert f"other/{rows[0]['path']} to {rows[0]['path']}" in found["message"]


@pytest.fixture
def one_dataset(draw_folder, tmp_path):
    """A labels.csv whose test patients are its validation patients, and rows for it."""
    folder = draw_folder("one", {"all": {"a": 40, "b": 40}})
    files = sorted(folder.rglob("*.png"))
    rng = np.random.default_rng(1)
    table, rows = [], []
    for n, file in enumerate(files):
        name = file.relative_to(folder).as_posix()
        label = file.parent.name
        part = "val" if n % 2 else "test"
        table.append({"image": name, "label": label, "patient": f"p{n // 2}", "split": part})
        p = float(rng.uniform(0.3, 1) if label == "b" else rng.uniform(0, 0.7))
        rows.append({"path": name, "prob_a": repr(1 - p), "prob_b": repr(p)})
    write(table, str(folder / "labels.csv"))
    return folder / "labels.csv", rows


def test_a_threshold_chosen_on_the_patients_of_test_is_refused(judged, one_dataset):
    data, rows = one_dataset
    line = ("-o", "group=patient", "--positive", "b")
    answer = judged(rows, *line, data=data)
    assert answer.code == 1
    assert "40 patients of test, with 40 of its 40 images, are among the validation" in answer.err
    assert "--allow patient-leakage" in answer.err
    for allowed in (("--allow", "patient-leakage"), ("--threshold", "0.5")):
        answer = judged(rows, *line, *allowed, "--json", data=data)
        assert answer.code == 0, answer.err
        (found,) = [f for f in answer.report["findings"] if f["check"] == "patient-leakage"]
        assert (found["severity"], found["count"]) == ("error", 40)


def test_one_patient_is_told_in_the_singular(judged, one_dataset):
    data, rows = one_dataset
    line = ("-o", "group=patient", "--positive", "b")
    table = list(csv.DictReader(data.open()))
    few = [{**r, "patient": "p" if n < 3 else f"{r['split']}{n}"} for n, r in enumerate(table)]
    write(few, str(data))
    answer = judged(rows, *line, data=data)
    assert "1 patient of test, with 2 of its 40 images, is among the validation" in answer.err
    write([{**r, "patient": "p"} for r in table if r["split"] == "test"][-3:], str(data))
    answer = judged(rows[-6::2], *line, "--threshold", "0.5", data=data)
    assert answer.code == 0, answer.err
    told = answer.out + answer.err
    assert "test: 3 images of 1 patient\n" in told
    assert "By patient: 1 patient: no metrics of patients" in told
    assert "the 3 images of test are of 1 patient: intervals" in told


def test_other_patients_in_the_table_are_said(judged, one_dataset):
    data, rows = one_dataset
    line = ("-o", "group=patient", "--positive", "b", "--threshold", "0.5", "--json")
    answer = judged([r | {"group": "x"} for r in rows], *line, data=data)
    (found,) = [f for f in answer.report["findings"] if f["check"] == "csv-contradictions"]
    assert found["severity"] == "warning" and "x, not p0" in found["message"]
