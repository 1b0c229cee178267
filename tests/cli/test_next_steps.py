"""Every next step can be typed as it stands: it names what the user named, quoted for a shell."""

from __future__ import annotations

import html
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import rows_of

# only words that a user is to choose may stay
LEFT = re.compile(r"medimg [a-z-]+ (DATASET|RUN)\b")
GROUPS = ("-o", "group_regex=(p[0-9]+)")


@pytest.fixture
def copies(draw_folder) -> Path:
    """A folder with a blank in its name, where training meets a picture of the test part."""
    root = draw_folder("my scans", {s: {"a": 8, "b": 8} for s in ("train", "test")})
    shutil.copy(root / "test" / "a" / "testa0.png", root / "train" / "a" / "again.png")
    return root


def steps(text: str) -> list[str]:
    """The commands that a text asks for."""
    return re.findall(r"medimg [a-z-]+ .*?(?=[;,)\n]|$)", text)


def test_a_refusal_names_the_dataset_as_it_was_typed(train, copies):
    answer = train("r", "-o", "group=none", data=copies)
    assert answer.code == 1 and not LEFT.search(answer.err)
    words = shlex.split(steps(answer.err.partition("Error: ")[2])[0])
    assert words[2:5] == [str(copies), "-o", "group=none"]


@pytest.mark.parametrize("command", ["train", "split", "balance", "verify"])
def test_a_refusal_before_the_images_are_read_does_too(medimg, copies, command):
    (copies.parent / "s.csv").write_text("file,part\na,b\n")
    more = ["--backend", "linear"] if command == "train" else []
    answer = medimg(command, copies, "--splits", "s.csv", *more)
    if command == "split":
        # it makes splits and takes none
        assert answer.code == 2
        return
    assert answer.code == 3 and f"medimg split '{copies}' makes one" in answer.err


def test_a_dataset_that_cannot_be_opened_is_named_all_the_same(medimg, tmp_path, monkeypatch):
    from medimg.core.errors import InputError

    def fail(*_arguments, **_more):
        raise InputError("no image is there", "Look: medimg inspect DATASET; any DATASET will do")

    monkeypatch.setattr("medimg.opening.open_dataset", fail)
    answer = medimg("verify", "a b", "--layout", "csv", "-o", "label=d x")
    assert answer.err.splitlines()[1] == (
        "  Look: medimg inspect 'a b' --layout csv -o 'label=d x'; any DATASET will do"
    )


def test_a_run_names_the_dataset_it_was_trained_on(medimg, train, draw_folder):
    data = draw_folder("it's data", {s: {"a": 9, "b": 9} for s in ("train", "val", "test")})
    assert train("r", "-o", "group=none", data=data).code == 0
    file = next((data / "test" / "a").iterdir())
    file.write_bytes(b"")
    answer = medimg("evaluate", "runs/r", "--no-plots", "--resamples", "100")
    assert answer.code == 3, answer.err
    (step,) = [s for s in steps(answer.err) if "--write-clean" in s]
    assert shlex.split(step)[:5] == ["medimg", "verify", str(data), "-o", "group=none"]


def test_a_warning_names_the_dataset_as_it_was_typed(medimg, copies):
    answer = medimg("split", copies, "-o", "group=none", "--split-ratios", "98/1/1")
    assert answer.code == 0 and "Warning" in answer.err
    assert not LEFT.search(answer.err + answer.out)


@pytest.mark.parametrize("language", ["en", "es"])
def test_pages_of_a_run_name_the_dataset_as_it_was_typed(medimg, runs, phantoms, language):
    file = Path("runs/one/report.json")
    report = json.loads(file.read_text())
    hint = "Look at both (medimg inspect DATASET): markers"
    report["findings"] = [
        {"check": "small-test", "severity": "warning", "message": "few", "count": 1, "items": [],
         "hint": hint},
        {"check": "blur", "severity": "warning", "message": "2 are blurred", "count": 2,
         "items": [], "hint": "Look: medimg verify DATASET --only blur --html"},
    ]  # fmt: skip
    file.write_text(json.dumps(report))
    assert medimg("report", "runs/one", "--lang", language).code == 0
    pages = [*Path("runs/one").glob("*.html"), *Path("runs/one").glob("*.md")]
    assert len(pages) == 2
    for page in pages:
        text = page.read_text()
        assert str(phantoms) in text and not LEFT.search(text), page


def test_reports_keep_the_placeholder(medimg, copies, tmp_path):
    """Whoever gets the report has the data elsewhere."""
    medimg("verify", copies, "--name", "v", "-q")
    hints = [f["hint"] for f in json.loads(Path("runs/v/report.json").read_text())["findings"]]
    assert any(LEFT.search(hint) for hint in hints)


def test_compare_names_the_data_of_the_runs_that_have_seen_their_test(medimg, runs):
    for name in ("one", "two"):
        file = Path("runs") / name / "evaluate" / "test" / "report.json"
        report = json.loads(file.read_text())
        report["findings"].append(
            {"check": "training-images-in-test", "severity": "error", "message": "3 seen",
             "count": 3, "items": [], "hint": ""}
        )  # fmt: skip
        file.write_text(json.dumps(report))
    answer = medimg("compare", "runs/one", "runs/two")
    assert "--write-clean clean.csv" in answer.err and not LEFT.search(answer.err)


def test_compare_names_the_run_whose_predictions_are_broken(medimg, runs):
    (Path("runs") / "two" / "evaluate" / "test" / "predictions.csv").write_text("path\n")
    answer = medimg("compare", "runs/one", "runs/two")
    assert "medimg evaluate runs/two writes predictions anew" in answer.out + answer.err


# -- how the dataset is read ---------------------------------------------------------------------


@pytest.fixture
def leaky_split(copies) -> Path:
    """Another split of the copies than their folders', with the same fault."""
    files = sorted(p.relative_to(copies).as_posix() for p in copies.rglob("*.png"))
    parts = [p.partition("/")[0] if not p.endswith("0.png") else "val" for p in files]
    parts[files.index("test/a/testa0.png")] = "test"
    rows = [f"{path},{part}" for path, part in zip(files, parts, strict=True)]
    file = copies.parent / "other.csv"
    file.write_text("\n".join(["path,split", *rows]) + "\n")
    return file


def next_steps(answer) -> list[list[str]]:
    return [shlex.split(s) for s in steps(answer.out + answer.err) if "RUN" not in s]


def test_what_comes_after_verify_is_about_the_same_split(medimg, copies, leaky_split):
    reading = ["-o", "group=none", "--positive", "a", "--splits", str(leaky_split)]
    answer = medimg("verify", copies, *reading, "--layout", "folder")
    assert answer.code == 1 and "duplicates-across" in answer.out
    named = [s for s in next_steps(answer) if str(copies) in s]
    assert {s[1] for s in named} >= {"verify", "split"}
    for step in named:
        assert step[2:9] == [
            str(copies), "--layout", "folder", "-o", "group=none", "--positive", "a",
        ]  # fmt: skip
        # split deals out anew and takes none
        assert (step[9:11] == ["--splits", str(leaky_split)]) is (step[1] != "split"), step
    last = shlex.split(answer.out.partition("Next: ")[2].splitlines()[0])
    again = medimg(*last[1:])
    assert again.code == 1 and "clean.csv" in again.out
    # the part and the positive class go with the index, how it was read does not
    assert "Next: medimg train clean.csv --positive a\n" in again.out


def test_the_page_of_verify_is_about_the_same_split(medimg, copies, leaky_split):
    medimg("verify", copies, "-o", "group=none", "--splits", leaky_split, "--html", "--name", "v")
    page = Path("runs/v/page.html").read_text()
    made = re.findall(r'<code class="command">(.*?)</code>', page)
    named = [html.unescape(re.sub("<[^>]*>", "", command)) for command in made]
    about = [shlex.split(command) for command in named if "my scans" in command]
    assert {words[1] for words in about} == {"verify", "split"}
    assert all(("--splits" in words) is (words[1] == "verify") for words in about), about


def test_refusals_of_training_are_about_the_same_split(train, copies, leaky_split):
    answer = train("r", "-o", "group=none", "--splits", leaky_split, data=copies)
    assert answer.code == 1
    (clean,) = [s for s in next_steps(answer) if s[1] == "verify" and "--write-clean" in s][:1]
    assert clean[3:7] == ["-o", "group=none", "--splits", str(leaky_split)]


def test_a_run_remembers_the_split_that_it_was_given(medimg, train, draw_folder):
    data = draw_folder("data", {s: {"a": 9, "b": 9} for s in ("train", "val", "test")})
    assert medimg("split", data, "-o", "group=none", "--name", "s").code == 0
    split = Path("runs/s/splits.csv")
    assert train("r", "-o", "group=none", "--splits", split, data=data).code == 0
    (tested,) = [r["path"] for r in rows_of(split) if r["split"] == "test"][:1]
    (data / tested).write_bytes(b"")
    answer = medimg("evaluate", "runs/r", "--no-plots", "--resamples", "100")
    assert answer.code == 3, answer.err
    (step,) = [s for s in next_steps(answer) if "--write-clean" in s]
    assert step[5:7] == ["--splits", str(split.resolve())]


def test_what_comes_after_inspect_and_split_has_the_positive_class(medimg, copies):
    inspected = medimg("inspect", copies, "--positive", "a")
    assert f"Next: medimg verify '{copies}' --positive a\n" in inspected.out
    dealt = medimg("split", copies, "--positive", "a", "--name", "s")
    assert f"'{copies}' --positive a --splits runs/s/splits.csv\n" in dealt.out
