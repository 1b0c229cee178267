"""Pages: everything that was found stands there, safely, in one file that fetches nothing."""

from __future__ import annotations

import base64
import os
import re
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from medimg.commands.inspect import inspect_dataset
from medimg.core.errors import InputError
from medimg.core.scan import scan
from medimg.core.types import Finding
from medimg.phantom import PATIENT_PATTERN, make_dataset
from medimg.reports.html import (
    MOST_SIDE_BY_SIDE,
    inspect_page,
    pieces,
    verdict,
    verify_page,
    write_page,
)
from medimg.reports.plots_dataset import dataset_plots

from .conftest import as_written

NASTY = 'train/NORMAL/<script>alert("1")<img src=x onerror=alert(2)>&amp;.png'


@pytest.fixture(scope="session")
def faulty(tmp_path_factory) -> Path:
    """Phantoms with every fault planted, and a file name that tries to be markup."""
    root = tmp_path_factory.mktemp("faulty") / "chest"
    make_dataset(root, images=120, size_px=96, seed=3, faults="all")
    shutil.copy(min((root / "train" / "NORMAL").iterdir()), root / NASTY)
    (root / "train" / "PNEUMONIA" / "half.jpeg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    return root


@pytest.fixture(scope="session")
def found(faulty, opened, verified) -> SimpleNamespace:
    """Index, report and page of the faulty phantoms."""
    index = opened(faulty, group_regex=PATIENT_PATTERN)
    report = verified(index)
    return SimpleNamespace(index=index, report=report, page=verify_page(report, index))


@pytest.fixture
def page(found, read_page):
    return read_page(found.page)


def plain(text: str) -> str:
    return " ".join(text.split())


# -- what stands there -------------------------------------------------------------------------


def test_every_finding_and_its_items_stand_in_a_section(found, page):
    made = {
        (s.all("h3")[0].text, s.all("p")[0].text): s.text for s in page.all("section", "finding")
    }
    assert len(made) == len(found.report["findings"]) >= 5
    for finding in found.report["findings"]:
        # the badge and the name of the check follow each other
        words = made[f"{finding['severity']}{finding['check']}", plain(finding["message"])]
        for row in finding["items"][:60]:
            for file in [row.get("file")] + (row.get("files") or [])[:1]:
                assert file is None or plain(file) in words, (finding["check"], file)
            if "feature" in row:
                assert row["feature"] in words


def test_the_planted_faults_are_shown(faulty, found, page):
    checks = {f["check"] for f in found.report["findings"] if f["severity"] == "error"}
    assert {"patient-leakage", "duplicates-across-splits", "unreadable"} <= checks
    leak = next(f for f in found.report["findings"] if f["check"] == "patient-leakage")
    groups = [g for g in page.all("li", "group") if g.text.startswith("patient ")]
    assert len(groups) == leak["count"]
    for row, group in zip(leak["items"], groups, strict=True):
        assert group.text.startswith(f"patient {row['patient']}, in train and test")
        places = {p.text.split(" · ")[1] for p in group.all("p", "place")}
        assert places == {"train", "test"}


def test_copies_stand_side_by_side_and_show_the_same_picture(found, page):
    copies = next(f for f in found.report["findings"] if f["check"] == "duplicates-across-splits")
    groups = [g for g in page.all("li", "group") if not g.text.startswith("patient ")]
    for row in copies["items"]:
        (group,) = [
            g
            for g in groups
            if {plain(f) for f in row["files"]} == {s.text for s in g.all("span", "file")}
            and all(f" {split}" in g.all("h4")[0].text for split in row["splits"])
        ]
        shown = [decoded(image.attributes["src"]) for image in group.all("img")]
        assert len(shown) == min(MOST_SIDE_BY_SIDE, len(row["files"])) >= 2
        # JPEG against JPEG of the same drawing
        assert all(np.abs(p.astype(int) - shown[0]).mean() < 8 for p in shown[1:])
        if row["identical"] == "nearly":
            assert f"correlation {row['correlation']:.5g}" in group.text


def test_a_group_shows_each_side_before_more_of_one(write_image, tmp_path, opened):
    for n in range(9):
        write_image(tmp_path / "d/train/a" / f"{n}.png", seed=1)
    write_image(tmp_path / "d/test/b/z.png", seed=1)
    index = opened(tmp_path / "d")
    files = [s.path for s in index.samples if s.split == "train"] + ["test/b/z.png"]
    finding = Finding("exact-duplicates", "warning", "copies", 1, ({"files": files},))
    page = verify_page(as_written("verify", EMPTY, index, (finding,)), index)
    assert page.count("<img ") == MOST_SIDE_BY_SIDE
    assert 'alt="test/b/z.png: b · test"' in page
    assert f"… and {10 - MOST_SIDE_BY_SIDE} more of these in report.json" in page


EMPTY = {"checks": {}, "files": 0, "images_per_second": None}


def test_a_patient_without_files_of_their_own_is_shown_by_the_index(found, read_page):
    leak = next(f for f in found.report["findings"] if f["check"] == "patient-leakage")
    who = leak["items"][0]["patient"]
    rows = ({"patient": who, "classes": ["NORMAL", "PNEUMONIA"]}, {"patient": who, "images": 3})
    finding = Finding("patient-both-classes", "info", "both", 2, rows)
    page = read_page(verify_page(as_written("verify", EMPTY, found.index, (finding,)), found.index))
    (group,) = page.all("li", "group")
    own = {s.path for s in found.index.samples if s.group == who}
    assert {s.text for s in group.all("span", "file")} <= own
    assert len(group.all("img")) == min(len(own), MOST_SIDE_BY_SIDE)
    # no sides are told of the second: it is a number and no picture
    assert [c.text for c in page.all("main")[0].all("td")] == ["3"]


def test_what_can_not_be_decoded_is_a_card_with_its_reason(found, page):
    finding = next(f for f in found.report["findings"] if f["check"] == "unreadable")
    for row in finding["items"]:
        (card,) = [
            c
            for s in page.all("section", "finding")
            if s.all("h3")[0].text == "errorunreadable"
            for c in s.all("li", "card")
            if plain(row["file"]) in c.text
        ]
        assert card.all("img") == []
        assert card.all("div", "none")[0].text == plain(row["reason"])
        assert row["class"] in card.all("p", "place")[0].text


def test_items_without_a_file_become_a_table(found, read_page):
    rows = ({"feature": "width", "of_auroc": 0.86712}, {"feature": "mode", "images": 12_345})
    finding = Finding("shortcut", "warning", "told", 2, rows)
    page = read_page(verify_page(as_written("verify", EMPTY, found.index, (finding,)), found.index))
    (table,) = page.all("section", "finding")[0].all("table")
    assert [c.text for c in table.all("th") if "scope" in c.attributes][:3] == [
        "feature", "of auroc", "images",
    ]  # fmt: skip
    cells = [c.text for c in table.all("tbody")[0].all() if c.tag in ("th", "td")]
    assert cells == ["width", "0.86712", "", "mode", "", "12,345"]


def test_the_checks_that_are_fine_and_those_that_were_skipped_are_named(found, page):
    words = page.text
    for name, check in found.report["result"]["checks"].items():
        assert name in words
        if check["status"] == "skipped":
            assert plain(check["reason"]) in words


def test_the_header_says_what_was_checked_how(found, page):
    header = page.all("header")[0].text
    assert "medimg verify 'my scans' --only blur" in header
    assert found.report["medimg"]["version"] in header
    assert found.index.reason in header
    counts = Counter((s.split, s.label) for s in found.index.samples)
    row = next(r for r in page.all("header")[0].all("tr") if r.text.startswith("NORMAL"))
    for split in found.index.splits():
        assert f"{counts[split, 'NORMAL']:,}" in [c.text for c in row.all("td")]


@pytest.mark.parametrize(
    ("severities", "partial", "words"),
    [
        (["error"] * 3 + ["warning"] * 2, 0, "3 errors, 2 warnings: not fit for training as it st"),
        (["warning", "info"], 0, "No errors, 1 warning: nothing that forbids training; see to"),
        ([], 0, "No errors, no warnings: none of the checks that ran found anything to mend."),
        (["warning"], 7, "No errors, 1 warning so far: the files were not all read"),
        (["error"], 7, "1 error, no warnings: not fit"),
    ],
)
def test_the_verdict_in_words(severities, partial, words):
    findings = [{"severity": s} for s in severities]
    said = verdict({"findings": findings, "result": {"partial": partial}})
    assert said.startswith(words)


def test_a_partial_report_and_a_baseline_say_so(found):
    result = found.report["result"] | {
        "partial": 11,
        "baseline": {"file": "old/report.json", "findings": [{"check": "blur"}], "unchecked": []},
    }
    page = verify_page(found.report | {"result": result}, found.index)
    assert "11 of 1" in page and "files were not read" in page
    assert "old/report.json" in page and "still there: blur" in page
    assert re.search(r"\d+ new errors?, ", page)


# -- hints -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hint", "commands"),
    [
        ("Split by patient: medimg split DATASET. If these are none: -o group=none", ["split X"]),
        ("Look at both (medimg inspect DATASET): markers", ["inspect X"]),
        (
            "medimg verify DATASET --write-clean clean.csv drops the training copies; "
            "medimg split --keep-duplicates-together makes a new split",
            ["verify X --write-clean clean.csv", "split --keep-duplicates-together"],
        ),
        ("Look: medimg verify DATASET --only blur --html", ["verify X --only blur --html"]),
        ("Point medimg at one: medimg verify '/a b/c' -o classes=a,b", [
            "verify '/a b/c' -o classes=a,b"
        ]),
        ("A split made by medimg keeps copies together; medimg split does.", []),
        ("", []),
    ],
)  # fmt: skip
def test_commands_in_a_hint_can_be_copied(hint, commands):
    cut = pieces(hint, {"DATASET": "X"})
    assert [words for words, copied in cut if copied] == [f"medimg {c}" for c in commands]
    assert "".join(words for words, _ in cut) == hint.replace("DATASET", "X")


def test_a_command_names_the_dataset_as_it_was_typed(found, page):
    commands = [c.text for c in page.all("code", "command")]
    assert "medimg split 'my scans' -o group=none" in commands


# -- safe, whole, readable ---------------------------------------------------------------------


def test_file_names_are_text_and_never_markup(found, page):
    assert NASTY in {s.path for s in found.index.samples}
    assert page.all("script") == []
    assert NASTY in page.text
    for element in page.all():
        assert not [name for name in element.attributes if name.startswith("on")]


def test_the_page_fetches_nothing(found, page):
    for element in page.all():
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = element.attributes.get(name, "#")
            assert value.startswith(("#", "data:image/")), (element.tag, name, value[:80])
    assert page.all("link") == page.all("iframe") == page.all("script") == []
    assert not re.search(r"url\(|@import", page.all("style")[0].text)
    assert "default-src 'none'" in found.page


def test_headings_pictures_and_links_work_for_a_screen_reader(page):
    assert page.all("html")[0].attributes["lang"] == "en"
    assert len(page.all("h1")) == 1
    levels = [int(e.tag[1]) for e in page.all() if re.fullmatch(r"h[1-6]", e.tag)]
    assert all(deeper - level <= 1 for level, deeper in zip(levels, levels[1:], strict=False))
    ids = Counter(e.attributes["id"] for e in page.all() if "id" in e.attributes)
    assert set(ids.values()) == {1}
    links = [a.attributes["href"] for a in page.all("a")]
    assert links and {link[1:] for link in links} <= ids.keys()
    assert page.all("img") and all(i.attributes["alt"] for i in page.all("img"))


def test_phantoms_are_called_phantoms_and_others_are_not(found, write_image, tmp_path, opened):
    assert "phantom: drawn by code, no real patients" in found.page
    for label in "ab":
        write_image(tmp_path / "real" / label / "1.png")
    index = opened(tmp_path / "real")
    assert "phantom" not in verify_page(as_written("verify", EMPTY, index, ()), index)


def test_text_reads_well_on_its_ground(found):
    for scheme in re.findall(r":root \{(.*?)\}", found.page, re.DOTALL)[:2]:
        colours = dict(re.findall(r"--(\w+): (#\w+)", scheme))
        for name in ("text", "soft", "link", "error", "warning", "info", "ok"):
            for ground in ("ground", "panel"):
                # WCAG 2.2, 1.4.3, level AA
                assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)


def contrast(one: str, other: str) -> float:
    """Source: WCAG 2.2, definition of contrast ratio."""

    def luminance(colour: str) -> float:
        parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def decoded(uri: str) -> np.ndarray:
    data = base64.b64decode(uri.partition("base64,")[2])
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)


# -- pictures ----------------------------------------------------------------------------------


def test_thumbnails_show_the_file(tmp_path, write_image, opened, read_page):
    for label in "ab":
        write_image(tmp_path / "d" / label / "1.png", size=(40, 20), channels=3)
    index = opened(tmp_path / "d")
    finding = Finding("blur", "warning", "blurred", 1, ({"file": "a/1.png", "sharpness": 0.5},))
    page = read_page(verify_page(as_written("verify", EMPTY, index, (finding,)), index))
    (image,) = page.all("img")
    data = base64.b64decode(image.attributes["src"].partition("base64,")[2])
    shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    # small pictures are stored pixel by pixel, on black to a square
    assert shown.shape == (40, 40, 3)
    assert (shown[:, 10:30] == cv2.imread(str(tmp_path / "d/a/1.png"))).all()
    assert not shown[:, :10].any()
    assert image.attributes["alt"] == "a/1.png: a"
    assert "sharpness 0.5" in page.text


def test_files_that_are_gone_are_said_to_be(faulty, found, opened, tmp_path, read_page):
    index = opened(shutil.copytree(faulty, tmp_path / "chest"), group_regex=PATIENT_PATTERN)
    shutil.rmtree(tmp_path / "chest" / "test")
    page = read_page(verify_page(found.report, index))
    gone = [
        c for c in page.all("li", "card") if plain("test/") in c.text[:400] and not c.all("img")
    ]
    assert gone
    assert any(c.all("div", "none")[0].text == os.strerror(2) for c in gone)
    assert page.all("img"), "what is still there is shown"


def test_a_source_that_raises_anything_costs_its_picture_alone(write_image, tmp_path, opened):
    class Broken:
        root = tmp_path / "d"

        def read(self, path):
            raise ZeroDivisionError("<odd>")

    for label in "ab":
        write_image(tmp_path / "d" / label / "1.png")
    index = opened(tmp_path / "d").with_samples(opened(tmp_path / "d").samples, source=Broken())
    finding = Finding("blur", "warning", "blurred", 1, ({"file": "a/1.png"},))
    page = verify_page(as_written("verify", EMPTY, index, (finding,)), index)
    assert "&lt;odd&gt;" in page and "<img" not in page


def test_a_picture_is_decoded_once(found):
    class Counting:
        def __init__(self, source):
            self.source, self.root, self.reads = source, source.root, Counter()

        def read(self, path):
            self.reads[path] += 1
            return self.source.read(path)

    source = Counting(found.index.source)
    index = found.index.with_samples(found.index.samples, source=source)
    assert verify_page(found.report, index) == found.page
    assert set(source.reads.values()) == {1}


def test_the_page_is_bounded(found, read_page):
    broken = {i["file"] for f in found.report["findings"] for i in f["items"] if "reason" in i}
    files = [s.path for s in found.index.samples if s.path not in broken]
    rows = tuple({"file": files[n % len(files)]} for n in range(1000))
    pairs = tuple({"files": [files[n % 50], files[n % 49 + 50]]} for n in range(1000))
    findings = [Finding(f"check-{n}", "warning", "many", 1000, rows) for n in range(9)]
    findings.append(Finding("pairs", "error", "pairs", 1000, pairs))
    report = as_written("verify", EMPTY, found.index, tuple(findings))
    text = verify_page(report, found.index)
    page = read_page(text)
    pictures = len(page.all("img"))
    assert 350 <= pictures <= 400
    assert len(text) < 400 * 12_000 + 500_000
    assert f"The page holds the first {pictures} pictures" in page.text
    # errors come before warnings, so that they are the ones that are shown
    first = page.all("section", "finding")[0]
    assert len(first.all("img")) == 120
    assert "… and 940 more in report.json" in first.text
    few = read_page(verify_page(report, found.index, most_items=5, most_pictures=7))
    assert len(few.all("img")) <= 7
    assert "… and 995 more in report.json" in few.text


# -- inspect, and writing ----------------------------------------------------------------------


def test_inspect_shows_its_numbers_and_its_plots(found, tmp_path, read_page):
    records = scan(found.index)
    result = inspect_dataset(found.index, records)
    result["plots"] = dataset_plots(found.index, records, tmp_path)
    report = as_written("inspect", result, found.index, ())
    plots = [tmp_path / p for p in result["plots"]]
    page = read_page(inspect_page(report, found.index, plots))
    assert len(page.all("img")) == len(plots) == 5
    for image, file in zip(page.all("img"), plots, strict=True):
        shown, drawn = decoded(image.attributes["src"]), cv2.imread(str(file), 0)
        assert shown.shape == drawn.shape
        assert np.abs(shown.astype(int) - drawn).mean() < 3
    words = page.text
    level = result["intensity"]["by_class"]["PNEUMONIA"]
    row = next(r for r in page.all("main")[0].all("tr") if r.text.startswith("PNEUMONIA"))
    cells = [c.text for c in row.all("td")]
    assert cells[:2] == [f"{level['mean']:.0f}", f"{level['std']:.0f}"]
    assert len(cells) == 7
    assert "96×96" in words and f"{result['groups']['patients']:,}" in words
    assert "phantom: drawn by code" in words
    assert "medimg verify 'my scans' -o group=none" in [c.text for c in page.all("code")]


def test_inspect_names_a_plot_that_is_gone_and_survives_a_set_without_pictures(
    tmp_path, write_image, opened, read_page
):
    for label in "ab":
        write_image(tmp_path / "d" / label / "1.png").write_bytes(b"\x89PNG nothing")
    index = opened(tmp_path / "d")
    result = inspect_dataset(index, scan(index))
    page = read_page(
        inspect_page(as_written("inspect", result, index, ()), index, [tmp_path / "sizes.png"])
    )
    assert "sizes.png can't be read: No such file" in page.text
    assert "No image could be read." in page.text


def test_the_page_is_written_whole_and_tells_its_size(found, tmp_path, read_page):
    path = tmp_path / "sub" / "page.html"
    size = write_page(path, found.page)
    assert path.stat().st_size == size
    assert path.read_text(encoding="utf-8") == found.page
    assert [p.name for p in path.parent.iterdir()] == ["page.html"]
    said = re.search(r"one file \(([\d.]+) (KB|MB)\)", read_page(found.page).text)
    assert said and float(said[1]) * {"KB": 1e3, "MB": 1e6}[said[2]] == pytest.approx(size, rel=0.1)
    with pytest.raises(InputError):
        write_page(tmp_path, found.page)


def test_a_file_name_that_is_no_utf8_does_not_stop_the_page(found, tmp_path):
    assert write_page(tmp_path / "p.html", "<p>caf\udce9</p>") == len(b"<p>caf?</p>")


def test_real_scans_stand_beside_their_copies(shared_data, opened, verified, read_page):
    index = opened(shared_data / "brain_tumor_mri")
    report = verified(index, only=["exact-duplicates"])
    page = read_page(verify_page(report, index))
    groups = page.all("li", "group")
    assert len(groups) == 45
    for group in groups:
        first, *others = [decoded(i.attributes["src"]) for i in group.all("img")]
        assert others and all((other == first).all() for other in others)
