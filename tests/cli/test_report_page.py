"""medimg report: one page a run or a comparison, in two languages, from old reports too."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from medimg.core.runs import read_predictions
from medimg.reports.language import table

QUICK = ("--resamples", "200")
SEEN_ERROR = {
    "check": "training-images-in-test", "severity": "error", "message": "seen", "count": 3,
    "items": [], "hint": "",
}  # fmt: skip
SECTIONS = (
    "summary", "data", "split", "model", "curves", "metrics", "calibration", "subgroups",
    "mistakes", "limits", "reproduce", "claim", "tripod",
)  # fmt: skip


def text_of(page: str) -> str:
    """What a reader sees of a page."""
    body = re.sub(r"<(style|title)>.*?</\1>", "", page, flags=re.S).replace("<wbr>", "")
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def edit_report(file: Path, change) -> None:
    report = json.loads(file.read_text())
    change(report)
    file.write_text(json.dumps(report))


@pytest.fixture
def page(medimg, runs):
    """Calls the command and reads what it wrote."""

    def call(*arguments: str, name: str = "report.html", run: str = "one") -> str:
        answer = medimg("report", f"runs/{run}", *arguments)
        assert answer.code == 0, answer.err
        return (Path("runs") / run / name).read_text(encoding="utf-8")

    return call


def test_the_page_holds_everything_and_fetches_nothing(page):
    made = page()
    assert re.findall(r'<section id="([a-z]+)"', made) == list(SECTIONS)
    assert '<html lang="en">' in made and "default-src 'none'" in made
    assert "<script" not in made and "@import" not in made and "url(" not in made
    sources = re.findall(r'(?:src|href)="([^"]*)"', made)
    assert sources and all(s.startswith(("data:image/", "#")) for s in sources)
    anchors = set(re.findall(r' id="([^"]+)"', made))
    assert {s[1:] for s in sources if s.startswith("#")} <= anchors
    assert "prefers-color-scheme: dark" in made and "@media print" in made
    assert made.count("<svg") >= 4


def test_the_numbers_are_those_of_the_evaluation(page, runs):
    report = json.loads((runs / "one/evaluate/test/report.json").read_text())
    cell = report["result"]["metrics"]["auroc"]
    low, high = cell["ci95"]
    seen = text_of(page())
    assert f"AUROC {cell['value']:.3f} ({low:.3f} to {high:.3f}) on 18 images of 8 patients" in seen
    counts = report["result"]["confusion_matrix"]["counts"]
    wrong = counts[0][1] + counts[1][0]
    assert f"{wrong} of 18 images were answered wrongly" in seen
    assert "phantoms: drawn by code" in seen.lower()


def test_the_headlines_interval_names_its_method(page, runs):
    report = json.loads((runs / "one/evaluate/test/report.json").read_text())
    method = report["result"]["metrics"]["auroc"]["method"]
    assert f"95 % interval: {method}." in text_of(page())


def test_the_split_is_said_by_patient(page):
    seen = text_of(page())
    assert "No patient is in two parts." in seen
    assert re.search(r"test 18 8\b", seen)


def test_a_patient_in_two_parts_is_an_error(page, runs):
    file = runs / "one/splits.csv"
    lines = file.read_text().splitlines()
    rows = [line.split(",") for line in lines]
    patient = next(r[2] for r in rows if r[3] == "train")
    moved = next(r for r in rows if r[3] == "test")
    moved[2] = patient
    file.write_text("\n".join(",".join(r) for r in rows) + "\n")
    assert "1 patient is in two parts or more" in text_of(page())


def test_images_that_training_saw_stand_in_the_headline_and_on_the_card(page, runs):
    def seen(report):
        report["findings"].append(
            {
                "check": "training-images-in-test", "severity": "error", "count": 7, "items": [],
                "message": "7 of the 18 test images are images that the run has seen", "hint": "",
            }
        )  # fmt: skip

    edit_report(runs / "one/evaluate/test/report.json", seen)
    text = page("--format", "md", name="report.md")
    card = (runs / "one/model-card.md").read_text()
    for told in (text, card):
        headline = next(line for line in told.splitlines() if line.startswith("**AUROC"))
        assert "7 of which training or validation had seen" in headline
        assert "`training-images-in-test`" in told
    assert "- [x] 32. Evaluation on internal data: 18 images of 8 patients, 7 of which" in text


def test_patients_on_both_sides_stand_in_the_headline(page, runs):
    file = runs / "one/splits.csv"
    rows = [line.split(",") for line in file.read_text().splitlines()]
    patient = next(r[2] for r in rows if r[3] == "train")
    next(r for r in rows if r[3] == "test")[2] = patient
    file.write_text("\n".join(",".join(r) for r in rows) + "\n")
    assert "training saw other images of some of these patients" in text_of(page())


def test_predictions_made_elsewhere_claim_nothing_about_training(medimg, runs, phantoms):
    source = runs / "one/evaluate/test/predictions.csv"
    given = medimg(
        "evaluate", "--predictions", str(source), str(phantoms), *QUICK, "--out", "runs",
        "--name", "given",
    )  # fmt: skip
    assert given.code == 0, given.err
    assert medimg("report", "runs/given", "--format", "md").code == 0
    text = Path("runs/given/report.md").read_text()
    assert "what training saw is not known here" in text
    assert "Report of predictions made elsewhere" in text
    assert "- [ ] 9a." in text


def test_a_temperature_is_part_of_how_to_run_it_again(page, runs):
    assert "--calibrate" not in text_of(page())

    def calibrated_before(report):
        """As an evaluation at the temperature that an earlier one fitted."""
        report["invocation"]["arguments"] = ["evaluate", "runs/one", "--threshold", "0.3"]
        report["result"]["temperature"] = {
            "value": 2.5, "fitted_on": "val", "images": 9, "kept": "operating.json",
            "log_loss": {"before": 0.9, "after": 0.7}, "ece": {"before": 0.3, "after": 0.1},
        }  # fmt: skip

    edit_report(runs / "one/evaluate/test/report.json", calibrated_before)
    read = text_of(page())
    assert "medimg evaluate runs/one --threshold 0.3 --calibrate" in read
    # in TRIPOD+AI's items on how predictions are made and on class imbalance
    assert read.count("Probabilities by temperature scaling, fitted on validation (T = 2.5)") == 2
    assert "thresholds chosen after it, stand in operating.json" in read


def test_other_data_are_named_as_external_where_training_saw_none_of_them(page, runs):
    own = runs / "one/evaluate/test"
    for name, findings in (("clean", []), ("seen", [SEEN_ERROR])):
        shutil.copytree(own, own.parent / name)

        def elsewhere(report, name=name, findings=findings):
            report["dataset"] |= {"name": name, "fingerprint": "sha256:00"}
            report["findings"] = findings

        edit_report(own.parent / name / "report.json", elsewhere)
    read = text_of(page())
    images = json.loads((own / "report.json").read_text())["result"]["images"]
    assert f"Also evaluated on clean ({images}): each evaluation" in read
    assert "until it is evaluated on other data" not in read


def test_looks_are_counted_when_the_page_is_made(page, runs):
    before = re.search(r"looked at ([\d,]+) times", text_of(page()))
    for name in ("again", "once-more"):
        shutil.copytree(runs / "one", runs / name)
    after = re.search(r"looked at ([\d,]+) times", text_of(page()))
    assert int(after[1]) >= (int(before[1]) if before else 1) + 2


def test_the_majority_sentence_names_the_class_that_its_number_is_of(page, runs):
    def taught_otherwise(report):
        report["dataset"]["splits"]["train"] = {"NORMAL": 90, "PNEUMONIA": 10}

    edit_report(runs / "one/report.json", taught_otherwise)

    def tested(report):
        report["result"]["baseline"]["accuracy"]["value"] = 8 / 18
        report["result"]["per_class"]["NORMAL"]["support"] = 8
        report["result"]["per_class"]["PNEUMONIA"]["support"] = 10

    edit_report(runs / "one/evaluate/test/report.json", tested)
    seen = text_of(page())
    assert "Always answering NORMAL would be right on 44.4% of these images." in seen
    assert "the commonest here is PNEUMONIA, with 55.6%" in seen


def test_slope_and_intercept_keep_their_intervals(page, runs):
    found = json.loads((runs / "one/evaluate/test/report.json").read_text())["result"]
    low, high = found["calibration"]["slope_ci95"]
    text = page("--format", "md", name="report.md")
    assert f"{low:.3f} to {high:.3f}" in next(
        line for line in text.splitlines() if line.startswith("| Calibration slope")
    )


def test_an_evaluation_without_metrics_is_refused_in_words(medimg, runs):
    shutil.copytree(runs / "one/evaluate/test", runs / "empty")
    edit_report(runs / "empty/report.json", lambda report: report["result"].pop("metrics"))
    answer = medimg("report", "runs/empty")
    assert answer.code == 3 and "holds no metrics" in answer.err


def test_mistakes_are_shown_as_pictures_unless_not_wanted(page):
    assert '<img class="picture' in page()
    without = page("--no-pictures")
    assert "<img" not in without
    assert "It holds names of the dataset's files" in text_of(without)


def test_spanish_is_complete(page):
    english, spanish = page(), page("--lang", "es", name="report.es.html")
    assert '<html lang="es">' in spanish
    assert re.findall(r'<section id="([a-z]+)"', spanish) == list(SECTIONS)
    # what is marked as medimg's own English words is not a slip
    own = re.sub(r'<(p|bdi)[^>]*lang="en".*?</\1>', "", spanish, flags=re.S)
    seen = text_of(own)
    for words in table("words").values():
        phrase = words[0]
        if len(phrase.split()) >= 3 and "{" not in phrase and words[0] != words[1]:
            assert phrase not in seen, phrase
    for checklist in ("claim", "tripod"):
        for words in table("checklists")[checklist].values():
            assert words[1] in seen and (words[0] not in seen or len(words[0].split()) < 3)
    assert re.search(r"AUROC 0,\d{3} \(0,\d{3} a \d,\d{3}\)", seen)
    assert "bootstrap percentil por paciente" in seen
    assert len(english) == pytest.approx(len(spanish), rel=0.1)


def test_the_checklists_are_filled_where_the_run_knows(page):
    data = json.loads(page("--format", "json", name="report-page.json"))
    lists = {s["anchor"]: s["blocks"][-1]["rows"] for s in data["sections"][-2:]}
    claim = {row["number"]: row for row in lists["claim"]}
    assert list(claim) == [str(n) for n in range(1, 45)]
    assert "32×32" in claim["9"]["answer"] and claim["9"]["state"] == "filled"
    assert claim["20"]["answer"] == "Patients: none is in two parts."
    assert claim["34"] == {
        "number": "34", "asks": "Registration of a clinical trial",
        "answer": "To be written by the authors", "state": "open",
    }  # fmt: skip
    assert claim["7"]["state"] == "begun"
    assert claim["7"]["answer"].endswith("To be completed by the authors.")
    tripod = {row["number"]: row for row in lists["tripod"]}
    assert len(tripod) == 52 and tripod["17"]["state"] == "open"
    assert tripod["12a"]["state"] == "filled"


def test_markdown_and_json_are_for_files_and_pipes(medimg, page):
    text = page("--format", "md", name="report.md")
    assert text.startswith("# one\n") and "## Metrics" in text
    assert "![Loss by epoch" in text and "- [ ] 34. Registration" in text
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        assert (Path("runs/one") / picture).is_file(), picture
    answer = medimg("report", "runs/one", "--json")
    assert json.loads(answer.out)["title"] == "one" and answer.err == ""
    both = json.loads(medimg("report", "runs/one", "runs/two", "--json").out)
    assert [document["title"] for document in both] == ["one", "two"]


def test_the_reports_own_json_stays(page, runs):
    before = (runs / "one/report.json").read_bytes()
    page("--format", "json", name="report-page.json")
    assert (runs / "one/report.json").read_bytes() == before


def test_a_model_card_lies_beside_it(page):
    page()
    card = Path("runs/one/model-card.md").read_text()
    _, head, body = card.split("---\n", 2)
    told = yaml.safe_load(head)
    assert told["library_name"] == "medimg"
    (result,) = told["model-index"][0]["results"]
    assert {m["type"] for m in result["metrics"]} >= {"auroc", "accuracy"}
    assert "# Model card: one" in body and "Not for diagnosis" in body
    page("--lang", "es", name="report.es.html")
    assert "# Ficha del modelo: one" in Path("runs/one/model-card.es.md").read_text()
    Path("runs/two").joinpath("x")
    page("--no-card", run="two")
    assert not Path("runs/two/model-card.md").exists()


def test_a_run_that_was_not_evaluated_says_so(page, runs):
    shutil.rmtree("runs/one/evaluate")
    seen = text_of(page())
    assert seen.count("Not evaluated yet. The numbers on this page are of validation") == 2
    assert "medimg evaluate runs/one" in seen
    assert "Validation chose the epoch and the threshold" in seen


def test_older_reports_are_read(page, runs):
    def older(report):
        for name in ("by_group", "subgroups", "test_looks", "metrics_at_half", "phantom"):
            report["result"].pop(name, None)
        for name in ("environment", "invocation", "findings"):
            report.pop(name, None)

    def much_older(report):
        for name in ("split", "recalibration", "learning_rate", "parameters", "stopped_by"):
            report["result"].pop(name, None)
        report.pop("dataset")
        report.pop("findings")

    edit_report(runs / "one/evaluate/test/report.json", older)
    assert "AUROC" in page()
    edit_report(runs / "one/report.json", much_older)
    (runs / "one/splits.csv").unlink()
    (runs / "one/evaluate/test/predictions.csv").unlink()
    seen = text_of(page())
    assert "The run holds no splits.csv." in seen
    assert "The predictions can't be read" in seen


def test_subgroups_are_shown_with_their_gap(page, runs):
    def grouped(report):
        cell = {"value": 0.9, "ci95": [0.8, 0.95], "method": "x", "n": 9, "reason": None}
        group = {"images": 9, "patients": 4, "classes": {}, "suppressed": None}
        few = {"images": 2, "patients": 1, "classes": {}, "metrics": {}, "suppressed": "2 images"}
        gap = {"value": 0.05, "highest": "F", "lowest": "M", "ci95": [-0.1, 0.2], "differences": 3}
        report["result"]["subgroups"] = {
            "sex": {
                "groups": {
                    "F": group | {"metrics": {"auroc": cell}},
                    "M": group | {"metrics": {"auroc": cell | {"value": 0.85}}},
                    "?": few,
                },
                "gap": {"auroc": gap},
            }
        }

    edit_report(runs / "one/evaluate/test/report.json", grouped)
    seen = text_of(page())
    assert "By sex group images patients AUROC F 9 4 0.90 (0.80 to 0.95)" in seen
    assert "AUROC: F is 0.050 above M (-0.100 to 0.200), which may be chance. It is the " in seen
    assert "largest of 3 differences" in seen
    assert "Not shown: ? (2 images)." in seen
    assert "Subgroups by sex: see Subgroups." in seen


def test_names_from_outside_are_escaped(medimg, runs):
    def named(report):
        report["dataset"]["name"] = "<script>alert(1)</script>"

    for file in ("runs/one/report.json", "runs/one/evaluate/test/report.json"):
        edit_report(Path(file), named)
    assert medimg("report", "runs/one").code == 0
    made = Path("runs/one/report.html").read_text()
    assert "<script" not in made and "&lt;script&gt;" in made


def test_findings_of_verify_beside_the_run_are_told(medimg, page, phantoms):
    assert medimg("verify", phantoms, "--name", "looked", "-q").code in (0, 1)
    assert "medimg verify looked at these very data (looked)" in text_of(page())


# -- comparisons -----------------------------------------------------------------------------------


def test_a_comparison_has_a_page(medimg, runs):
    assert medimg("compare", "runs/one", "runs/two", *QUICK, "--name", "c").code == 0
    assert medimg("report", "runs/c").code == 0
    assert medimg("report", "runs/c", "--lang", "es").code == 0
    result = json.loads(Path("runs/c/report.json").read_text())["result"]
    made = Path("runs/c/report.html").read_text()
    seen, spanish = text_of(made), text_of(Path("runs/c/report.es.html").read_text())
    for sentence in result["conclusions"]:
        assert sentence in seen
    assert "Picking the best of 2 by this table is selection" in seen
    assert "Elegir la mejor de 2 con esta tabla es selección" in spanish
    assert "bootstrap pareado por paciente" in spanish and "paired bootstrap" not in spanish
    assert made.count("<svg") == 3  # differences, ROC, cost
    assert not Path("runs/c/model-card.md").exists()


def test_versions_of_a_dataset_have_a_page(medimg, draw_folder):
    folder = draw_folder("data", {"train": {"a": 6, "b": 6}, "test": {"a": 3, "b": 3}})
    medimg("verify", folder, "--name", "old")
    (folder / "train" / "b" / "empty.png").write_bytes(b"")
    medimg("verify", folder, "--name", "new")
    assert medimg("compare", "runs/old", "runs/new", "--name", "c").code == 0
    assert medimg("report", "runs/c", "--lang", "es").code == 0
    seen = text_of(Path("runs/c/report.es.html").read_text())
    assert "Los datos no son los mismos." in seen and "Nuevo" in seen
    assert "Archivos vacíos" in seen


# -- what is no run --------------------------------------------------------------------------------


def test_what_no_page_is_made_of(medimg, runs, phantoms):
    assert medimg("split", phantoms, "--name", "s").code == 0
    answer = medimg("report", "runs/s")
    assert answer.code == 3 and "holds a report of medimg split" in answer.err
    Path("empty").mkdir()
    answer = medimg("report", "empty")
    assert answer.code == 3 and "it is no run folder" in answer.err
    Path("runs/one/report.json").unlink()
    answer = medimg("report", "runs/one")
    assert answer.code == 3 and "did not finish" in answer.err
    answer = medimg("report", "runs/two", "--split", "val")
    assert answer.code == 3 and "has not been evaluated on val" in answer.err
    assert medimg("report", "nowhere").code == 3


def test_both_curves_have_bands_that_say_what_they_are(page, runs):
    made = page()
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", made, flags=re.S)
    for start in ("ROC curve of PNEUMONIA", "Precision against recall of PNEUMONIA"):
        (told,) = [c for c in captions if c.strip().startswith(start)]
        assert "the band holds 95 % at each point (bootstrap by patient)" in told
    bands = re.findall(r'<polygon class="band s1" points="([^"]+)"', made)
    assert len(bands) == 2
    for band in bands:
        places = [tuple(map(float, place.split(","))) for place in band.split()]
        middle = len(places) // 2
        # the upper edge there, the lower one back; y grows downwards
        for (x, above), (back, below) in zip(
            places[:middle], reversed(places[middle:]), strict=True
        ):
            assert x == back and above <= below
    predictions = read_predictions(runs / "one/evaluate/test/predictions.csv")
    share = (np.array(predictions.labels) == "PNEUMONIA").mean()
    chance = re.findall(r'<polyline class="line s1 dotted" points="([\d.]+),([\d.]+) ', made)
    height = 320 - 38 - 10
    assert any(abs(float(y) - (320 - 38 - share * height)) < 0.1 for _, y in chance)


def test_drawings_of_spanish_markdown_are_files_in_spanish(page):
    text = page("--format", "md", "--lang", "es", name="report.es.md")
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert len(pictures) >= 6 and all(name.startswith("plots/report.es/") for name in pictures)
    drawn = [(Path("runs/one") / name).read_text(encoding="utf-8") for name in pictures]
    for svg in drawn:
        root = ElementTree.fromstring(svg)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        # its colours are its own: no variable of a page is left
        assert "var(" not in svg and ".line.s1 { stroke: #0072B2; }" in svg
    words = {e.text for svg in drawn for e in ElementTree.fromstring(svg).iter() if e.text}
    assert {"época", "sensibilidad", "1 − especificidad"} <= words
    assert not {"epoch", "sensitivity", "loss"} & words
