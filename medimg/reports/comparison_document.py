"""The report of a comparison as a document: what may be said, runs, differences, seeds, costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medimg.core.errors import InputError
from medimg.reports.comparison_tables import first_of, interval_methods
from medimg.reports.conclusions import agreement_line, conclusions
from medimg.reports.document import Block, Document, Figure, Section, Table, Text, Tone
from medimg.reports.drawings import Bar, Drawing, forest, thinned
from medimg.reports.language import Words
from medimg.reports.run_document.data import findings_block
from medimg.reports.run_document.discrimination import roc_points
from medimg.reports.run_document.facts import facts
from medimg.reports.run_document.intervals import how_each

MARKS = {"best": "*", "tied": "≈", "untested": "?"}
METRICS = (
    "auroc",
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "f1",
    "macro_f1",
)
MOST_RUNS = 100
MOST_PAIRS = 60
MOST_BARS = 24
MOST_CURVES = 6
MOST_NAMED = 12


def comparison_document(folder: Path, report: dict[str, Any], language: str = "en") -> Document:
    """Everything that a compare report says.

    Args:
        folder: where it lies; its plots and the runs' predictions are looked for from there.
    Raises:
        InputError: nothing was compared in it.
    """
    words = Words(language)
    result = report["result"]
    version = str((report.get("medimg") or {}).get("version", ""))
    if result.get("versions"):
        return versions_document(folder, result, words, version)
    if not result.get("comparable") or not result.get("ranked_by"):
        raise InputError(
            f"{folder} compares nothing: fewer than two runs could be",
            "medimg compare runs/* makes a comparison.",
        )
    parts = {
        "conclusions": [Text(text) for text in conclusions(result, words)],
        "summary": summary(report, result, words),
        "runs": runs(result, words),
        "differences": differences(result, words),
        "roc": roc(folder, result, words),
        "seeds": seeds(result, words),
        "backends": [Text(agreement_line(row, words)) for row in result["agreement"]],
        "cost": cost(result, words),
        "sweep": sweep(result, words),
        "data": found(report, words),
        "refused": refused(result, words),
    }
    sections = (
        Section(anchor, words(f"section.{anchor}"), tuple(blocks))
        for anchor, blocks in parts.items()
    )
    said = conclusions(result, words)
    tone: Tone = "info" if not report.get("findings") else "warning"
    notes = [Text(compared_on(result, words), "plain")]
    if result.get("phantom"):
        notes.insert(0, Text(words("page.phantom"), "note"))
    notes.append(Text(words("page.not_for_diagnosis"), "soft"))
    return Document(
        language=language,
        kind=words("page.kind_comparison"),
        title=folder.name or folder.resolve().name,
        verdict=said[0],
        tone=tone,
        notes=tuple(notes),
        sections=tuple(section for section in sections if section.blocks),
        version=version,
    )


def compared_on(result: Mapping[str, Any], words: Words) -> str:
    images = words.images(result["samples"], result.get("patients"))
    return words("say.compared_on", runs=words.count(len(result["runs"])), images=images)


def summary(report: Mapping[str, Any], result: Mapping[str, Any], words: Words) -> Iterator[Block]:
    counts = ", ".join(f"{name}: {words.count(n)}" for name, n in result["classes"].items())
    given = result.get("baseline_chosen") == "given"
    yield facts(
        [
            ("runs", words.count(len(result["runs"]))),
            ("evaluated", f"{words.part(result['split'])} ({counts})"),
            ("positive", result.get("positive")),
            ("ranked_by", words.metric(result["ranked_by"])),
            ("baseline", result["baseline"] if given else None),
            ("looks", words.count(result["looks"]) if result.get("looks") else None),
            ("resamples", words.count(result.get("resamples"))),
            ("made", str(report.get("created", "")).replace("T", " ").replace("Z", " UTC")),
        ],
        words,
    )


def shown_metrics(result: Mapping[str, Any]) -> list[str]:
    """The metrics that were tested, the one that ranks first."""
    tested = dict.fromkeys([result["ranked_by"], *(p["metric"] for p in result["pairs"])])
    return list(tested)


def runs(result: Mapping[str, Any], words: Words) -> Iterator[Block]:
    """Metrics with intervals, then what differs and what it cost."""
    names, rows = shown_metrics(result), result["runs"][:MOST_RUNS]
    body = [
        (
            f"{MARKS.get(str(run['mark']), '')} {run['name']}".strip(),
            *(words.with_interval(run["metrics"].get(name)) for name in names),
        )
        for run in rows
    ]
    if result.get("majority"):
        cells = [words.with_interval(result["majority"].get(name)) for name in names]
        body.append((words("say.majority_row"), *cells))
    columns = (words("column.run"), *(words.metric(name) for name in names))
    numeric = frozenset(range(1, len(columns)))
    yield Table(columns, tuple(body), words("say.runs_table"), numeric)
    yield from how_each({run["name"]: run["metrics"] for run in rows}, names, words)
    costs = ("epochs", "seconds", "parameters")
    settings = [name for name in rows[0]["settings"] if name not in costs]
    columns = (
        words("column.run"),
        *(words.setting(name) for name in settings),
        *(words(f"column.{name}") for name in costs),
        words("column.looks"),
    )
    body = [
        (
            run["name"],
            *(setting_cell(run["settings"].get(name), words) for name in settings),
            words.count(run["cost"].get("epochs")),
            words.duration(run["cost"].get("seconds")),
            words.count(run["cost"].get("parameters")),
            words.count(run.get("looks")),
        )
        for run in rows
    ]
    numeric = frozenset(range(len(columns) - 4, len(columns)))
    yield Table(columns, tuple(body), words("say.settings_table"), numeric)
    if len(result["runs"]) > MOST_RUNS:
        count = words.count(len(result["runs"]) - MOST_RUNS)
        yield Text(words("page.more", count=count), "soft")


def setting_cell(value: Any, words: Words) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return words("page.yes" if value else "page.no")
    if value == "none":
        return words("page.none")
    return words.brief(value) if isinstance(value, (int, float)) else str(value)


def differences(result: Mapping[str, Any], words: Words) -> Iterator[Block]:
    """A forest in the metric that ranks, and every pair as a table."""
    metric = result["ranked_by"]
    shown = [p for p in result["pairs"] if p["metric"] == metric and p["family"] != "best"]
    shown = shown or [p for p in result["pairs"] if p["metric"] == metric]
    to = {pair["b"] for pair in shown}
    bars = [bar_of(pair, len(to) == 1, words) for pair in shown if pair["difference"] is not None]
    if bars:
        name = words.metric(metric)
        caption = (
            words("say.chart_differences_to", metric=name, run=next(iter(to)))
            if len(to) == 1
            else words("say.chart_differences", metric=name)
        )
        yield Figure(
            caption, forest(bars[:MOST_BARS], caption, words.brief, zero=0.0),
            file="plots/differences.png",
        )  # fmt: skip
    rows = [p for p in result["pairs"] if p["family"] != "best"]
    if not rows:
        return
    columns = ("metric", "run", "minus", "difference", "interval", "p", "p_holm", "test")
    yield Table(
        tuple(words(f"column.{name}") for name in columns),
        tuple(pair_row(pair, words) for pair in rows[:MOST_PAIRS]),
        pairs_caption(rows, words),
        frozenset({3, 4, 5, 6}),
    )
    if len(rows) > MOST_PAIRS:
        yield Text(words("say.pairs_more", count=words.count(len(rows) - MOST_PAIRS)), "soft")


def pairs_caption(rows: Sequence[Mapping[str, Any]], words: Words) -> str:
    """What the tests are corrected for, and what the intervals are."""
    said = [words("say.pairs_table")]
    tests = max((pair.get("tests") or 0 for pair in rows), default=0)
    if tests > 1:
        said.append(words("say.pairs_correction", tests=words.count(tests)))
    if methods := interval_methods(rows):
        told = (
            f"{words.phrase(method)} ({', '.join(words.inside(m) for m in metrics)})"
            for method, metrics in methods.items()
        )
        said.append(words("say.pairs_intervals", told="; ".join(told)))
    return ". ".join(said)


def bar_of(pair: Mapping[str, Any], alone: bool, words: Words) -> Bar:
    """One row of the forest; `alone`: all are differences to the same run."""
    low, high = pair["ci95"] or (None, None)
    told = words.marked(f"{pair['difference']:+.3f}")
    if pair["ci95"]:
        told += f" ({words.interval(pair['ci95'], sign=True)})"
    filled = pair["p_holm"] is not None and pair["p_holm"] < 0.05
    name = pair["a"] if alone else f"{pair['a']} − {pair['b']}"
    return Bar(name, pair["difference"], low, high, told, filled)


def pair_row(pair: Mapping[str, Any], words: Words) -> tuple[str, ...]:
    difference = pair["difference"]
    test = [words.phrase(pair["test"]), words.phrase(pair["reason"])]
    return (
        words.metric(pair["metric"]),
        pair["a"],
        pair["b"],
        "–" if difference is None else words.marked(f"{difference:+.3f}"),
        words.interval(pair["ci95"], sign=True) or "–",
        words.p_value(pair["p"]),
        words.p_value(pair["p_holm"]),
        "; ".join(text for text in test if text),
    )


def roc(folder: Path, result: Mapping[str, Any], words: Words) -> Iterator[Block]:
    """ROC curves of the first runs, from their predictions."""
    positive = result.get("positive")
    if not positive:
        return
    drawing = Drawing(
        (0, 1), (0, 1), words("say.false_positives"), words("say.true_positives"),
        words.brief, height=320,
    )  # fmt: skip
    drawing.line([(0, 0), (1, 1)], 0, dotted=True)
    legend: list[tuple[int, str]] = []
    for run in result["runs"][:MOST_CURVES]:
        points = points_of(folder, run, positive)
        if points:
            drawing.line(thinned(points), len(legend) + 1)
            value = words.number((run["metrics"].get("auroc") or {}).get("value"))
            legend.append((len(legend) + 1, f"{run['name']}: {value}"))
    if legend:
        caption = words("say.chart_roc_overlay")
        svg = drawing.svg(caption)
        yield Figure(caption, svg, legend=tuple(legend), file="plots/roc-overlay.png")


def points_of(
    folder: Path, run: Mapping[str, Any], positive: str
) -> list[tuple[float, float]] | None:
    """The curve of a run; None where its predictions are no longer there."""
    from medimg.core.errors import MedimgError
    from medimg.core.runs import read_predictions

    place = Path(run.get("evaluation") or "")
    # a comparison usually lies beside the runs that it compares
    beside = folder.resolve().parent / run["name"] / "evaluate" / place.name
    for candidate in (place, beside):
        try:
            predictions = read_predictions(candidate / "predictions.csv")
        except MedimgError:
            continue
        number = predictions.classes.index(positive)
        truth = predictions.label_numbers() == number
        if truth.any() and not truth.all():
            return roc_points(truth, predictions.probabilities[:, number])
    return None


def seeds(result: Mapping[str, Any], words: Words) -> Iterator[Block]:
    groups = result.get("configurations") or []
    if not groups:
        return
    names = [n for n in shown_metrics(result) if n in groups[0]["metrics"]]
    settings = list(dict.fromkeys(name for group in groups for name in group["settings"]))
    body = []
    for group in groups:
        cells = [spread(group["metrics"][name], words) for name in names]
        told = [setting_cell(group["settings"].get(name), words) for name in settings]
        body.append(
            (words.listed(group["runs"], 4), words.count(len(group["seeds"])), *told, *cells)
        )
    columns = (
        words("section.runs"),
        words("column.seeds"),
        *(words.setting(name) for name in settings),
        *(words.metric(name) for name in names),
    )
    yield Table(columns, tuple(body), "", frozenset(range(1, len(columns))))
    yield Text(words("say.seeds"))


def spread(cell: Mapping[str, Any], words: Words) -> str:
    if cell["mean"] is None:
        return "–"
    if cell["sd"] is None:
        return words.number(cell["mean"])
    return words("say.sd", mean=words.number(cell["mean"]), sd=words.number(cell["sd"]))


def cost(result: Mapping[str, Any], words: Words) -> Iterator[Block]:
    """The metric that ranks against seconds of training."""
    metric = result["ranked_by"]
    dots = [
        (float(run["cost"]["seconds"]), run["metrics"][metric], run)
        for run in result["runs"]
        if run["cost"].get("seconds")
        and (run["metrics"].get(metric) or {}).get("value") is not None
    ]
    if len(dots) < 2:
        return
    times = [seconds for seconds, _, _ in dots]
    bounds = [b for _, cell, _ in dots for b in (cell["value"], *(cell.get("ci95") or ()))]
    margin = 0.06 * ((max(bounds) - min(bounds)) or 0.1)
    log = max(times) > 10 * min(times)
    edge = 0.12 * (max(times) - min(times)) or 1.0
    x = (min(times) / 1.5, max(times) * 1.5) if log else (min(times) - edge, max(times) + edge)
    drawing = Drawing(
        x, (min(bounds) - margin, max(bounds) + margin), words("say.seconds"),
        words.metric(metric), words.brief, log,
    )  # fmt: skip
    for seconds, cell, run in dots:
        series = 1 if run["mark"] else 0
        if cell.get("ci95"):
            low, high = cell["ci95"]
            drawing.segment((seconds, low), (seconds, high), series, thin=True)
        drawing.dot((seconds, cell["value"]), series, hollow=run["mark"] != "best")
        if len(dots) <= MOST_NAMED:
            drawing.label((seconds, cell["value"]), run["name"])
    caption = words("say.chart_cost", metric=words.metric(metric))
    yield Figure(caption, drawing.svg(caption), file="plots/metric-against-cost.png")


def sweep(result: Mapping[str, Any], words: Words) -> Iterator[Block]:
    """The metric that ranks over a sweep of two settings, where the runs are one."""
    from medimg.training.configurations import grid_of

    metric, runs = result["ranked_by"], result["runs"]
    values = [(run["metrics"].get(metric) or {}).get("value") for run in runs]
    grid = grid_of([run["settings"] for run in runs], values)
    if grid is None:
        return
    known = [float(v) for v in grid.values.ravel() if v == v]
    low, span = min(known), (max(known) - min(known)) or 1.0
    corner = f"{words.setting(grid.row_setting)} ↓  {words.setting(grid.column_setting)} →"
    rows: list[tuple[str, ...]] = []
    shades: dict[tuple[int, int], float] = {}
    for place, (name, row) in enumerate(zip(grid.rows, grid.values.tolist(), strict=True)):
        rows.append(
            (setting_cell(name, words), *(words.number(v if v == v else None) for v in row))
        )
        shades |= {(place, n + 1): (v - low) / span for n, v in enumerate(row) if v == v}
    columns = (corner, *(setting_cell(name, words) for name in grid.columns))
    numeric = frozenset(range(1, len(columns)))
    caption = words("say.heat_map", metric=words.metric(metric))
    yield Table(columns, tuple(rows), caption, numeric, shades)


def found(report: Mapping[str, Any], words: Words) -> Iterator[Block]:
    if rows := report.get("findings"):
        yield findings_block(rows, "", words)


def refused(result: Mapping[str, Any], words: Words) -> Iterator[Block]:
    if rows := result.get("refused"):
        body = tuple((row["run"], words.phrase(row["why"])) for row in rows[:MOST_RUNS])
        yield Table((words("column.run"), words("column.why")), body)


# -- versions of a dataset -----------------------------------------------------------------------


def versions_document(
    folder: Path, result: Mapping[str, Any], words: Words, version: str
) -> Document:
    """What changed between verify reports."""
    rows = result["versions"]
    said = {True: "versions.same", False: "versions.other", None: "versions.unknown"}
    sections = tuple(
        Section(f"version-{n}", f"{row['a']} → {row['b']}", tuple(version_blocks(row, words)))
        for n, row in enumerate(rows, 1)
    )
    new = [finding["severity"] for row in rows for finding in row["new"]]
    tone: Tone = "error" if "error" in new else "warning" if "warning" in new else "ok"
    return Document(
        language=words.language,
        kind=words("page.kind_versions"),
        title=folder.name or folder.resolve().name,
        verdict=words(said[rows[0]["same_data"]]),
        tone=tone,
        notes=(Text(words("page.not_for_diagnosis"), "soft"),),
        sections=sections,
        version=version,
    )


def version_blocks(row: Mapping[str, Any], words: Words) -> Iterator[Block]:
    counts: dict[str, Sequence[Any]] = {
        words("fact.images"): row["facts"].get("images", [None, None]),
        words("fact.patients"): row["facts"].get("groups", [None, None]),
    }
    counts |= {f"{words('column.class')} {n}": pair for n, pair in row["classes"].items()}
    counts |= {f"{words('column.part')} {words.part(n)}": p for n, p in row["splits"].items()}
    body = [
        (name, words.count(old), words.count(new), change(old, new, words))
        for name, (old, new) in counts.items()
        if (old, new) != (None, None)
    ]
    columns = ("", row["a"], row["b"], words("column.change"))
    yield Table(columns, tuple(body), words("versions.counts"), frozenset({1, 2, 3}))
    yield from images_changed(row, words)
    if not any(row[key] for key in ("new", "gone", "same")):
        yield Text(words("versions.none"))
    for key, title in (("new", "new"), ("gone", "gone"), ("same", "kept")):
        if row[key]:
            yield findings_block(row[key], words(f"versions.{title}"), words)
    for side in ("a", "b"):
        if names := row["only_in_one"][side]:
            told = {"name": row[side], "checks": ", ".join(names)}
            yield Text(words("versions.only", **told), "soft")


def images_changed(row: Mapping[str, Any], words: Words) -> Iterator[Block]:
    """Which images were added, removed, labelled otherwise, …"""
    images = row.get("images")
    if images is None:
        if row["same_data"] is False:
            yield Text(words("versions.not_listed"), "soft")
        return
    if not images:
        return
    body = [
        (
            words(f"versions.images_{name}"),
            words.count(found["count"]),
            first_of(found["items"][0]),
        )
        for name, found in images.items()
    ]
    columns = (words("column.images"), words("column.count"), words("column.first"))
    yield Table(columns, tuple(body), words("versions.images"), frozenset({1}))


def change(old: int | None, new: int | None, words: Words) -> str:
    if old is None or new is None:
        return "–"
    return "=" if old == new else f"{'+' if new > old else '−'}{words.count(abs(new - old))}"
