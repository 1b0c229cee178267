"""A comparison in tables for terminals and files: runs, paired tests, seeds, versions."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

FORMATS = {"table": "simple", "md": "github", "csv": "", "html": "html"}
MARKS = {"best": "*", "tied": "≈", "untested": "?"}
COSTS = ("epochs", "seconds", "parameters")
ALL_COSTS = (*COSTS, "trainable", "images_per_second", "device")
Rows = Sequence[Mapping[str, Any]]


# -- the runs ------------------------------------------------------------------------------------


def columns_of(rows: Rows, metrics: Sequence[str], mixed_rules: bool) -> list[str]:
    """The columns shown unless others are asked for: settings and costs only where they tell."""
    settings = list(rows[0]["settings"])
    cost = [c for c in COSTS if any(row["cost"].get(c) is not None for row in rows)]
    cost = [c for c in cost if c != "parameters" or len({r["cost"][c] for r in rows}) > 1]
    looks = ["looks"] if any(row["looks"] is not None for row in rows) else []
    threshold = ["threshold"] if mixed_rules else []
    return list(dict.fromkeys([*threshold, *metrics, *settings, *cost, *looks]))


def known_columns(rows: Rows) -> list[str]:
    """Every column that can be asked for."""
    return list(
        dict.fromkeys(
            [
                *rows[0]["metrics"],
                *rows[0]["settings"],
                *ALL_COSTS,
                "looks",
                "threshold",
                "model",
                "backend",
            ]
        )
    )


def value_of(row: Mapping[str, Any], column: str) -> Any:
    """What stands in a column of a run: a metric is its row of the report."""
    if column in row["metrics"]:
        return row["metrics"][column]
    if column in row["settings"]:
        return row["settings"][column]
    if column in ALL_COSTS:
        return row["cost"].get(column)
    if column == "threshold":
        cut = row["threshold"] or {}
        return cut.get("rule") if cut.get("chosen_on") else cut.get("value")
    return row.get(column)


def sort_key(row: Mapping[str, Any], column: str, higher_is_better: bool = True) -> Any:
    """The best first for metrics, the least first for everything else, the unknown last."""
    value = value_of(row, column)
    if column in row["metrics"]:
        value = (value or {}).get("value")
        value = value if value is None or not higher_is_better else -value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return (0, float(value), "")
    return (2, 0.0, "") if value is None else (1, 0.0, str(value))


def runs_table(
    rows: Rows, columns: Sequence[str], style: str, majority: Mapping[str, Any] | None = None
) -> str:
    """A row a run; the best and what can't be told from it are marked.

    Args:
        majority: metrics of always answering the commonest class, for a last row.
    """
    if style == "csv":
        return runs_csv(rows, columns)
    text = one_table(rows, columns, style, majority)
    in_metrics = [c for c in columns if c in rows[0]["metrics"]]
    rest = [c for c in columns if c not in in_metrics]
    if style != "table" or not in_metrics or not rest or not is_wide(text):
        return text
    return f"{one_table(rows, in_metrics, style, majority)}\n\n{one_table(rows, rest, style)}"


def is_wide(text: str) -> bool:
    """Whether a terminal would break its lines."""
    import shutil

    return max(map(len, text.splitlines())) > shutil.get_terminal_size((120, 40)).columns


def one_table(
    rows: Rows, columns: Sequence[str], style: str, majority: Mapping[str, Any] | None = None
) -> str:
    body = [
        [
            MARKS.get(str(row["mark"]), ""),
            row["name"],
            *(cell(row, column, style) for column in columns),
        ]
        for row in rows
    ]
    if majority:
        last = {"metrics": majority, "settings": {}, "cost": {}, "threshold": None}
        told = [cell(last, c, style) if c in majority else "" for c in columns]
        body.append(["", "(majority class)", *told])
    return drawn(["", "run", *(c.replace("_", " ") for c in columns)], body, style)


def runs_note(rows: Rows, columns: Sequence[str]) -> str:
    """The methods of the intervals of the runs, and why some are missing."""
    from medimg.reports.methods import methods_said, reasons_said

    names = [c for c in columns if c in rows[0]["metrics"]]
    table = {row["name"]: row["metrics"] for row in rows}
    told = [f"{f.what} ({metrics_of(f)})" for f in methods_said(table, names)]
    lines = [f"95 % intervals: {'; '.join(told)}."] if told else []
    lines += [f"No interval, {metrics_of(f)}: {f.what}." for f in reasons_said(table, names)]
    return " ".join(lines)


def metrics_of(found: Any) -> str:
    """`auroc, accuracy`, or `auroc of run-1, run-2`."""
    told = ", ".join(name.replace("_", " ") for name in found.metrics)
    more = f" and {len(found.rows) - 3:,} more" if len(found.rows) > 3 else ""
    return f"{told} of {', '.join(found.rows[:3])}{more}" if found.rows else told


def runs_csv(rows: Rows, columns: Sequence[str]) -> str:
    """Numbers at full precision: each metric with its interval and the method of that."""
    metrics = rows[0]["metrics"]
    headers = ["run", "mark"]
    for column in columns:
        ends = ("low", "high", "method")
        bounds = [f"{column}_{end}" for end in ends] if column in metrics else []
        headers += [column, *bounds]
    body = []
    for row in rows:
        cells: list[Any] = [row["name"], row["mark"] or ""]
        for column in columns:
            value = value_of(row, column)
            if column in metrics:
                value = value or {}
                low, high = value.get("ci95") or ("", "")
                found = value.get("value")
                cells += ["" if found is None else found, low, high, value.get("method") or ""]
            else:
                cells.append("" if value is None else value)
        body.append(cells)
    return as_csv(headers, body)


def cell(row: Mapping[str, Any], column: str, style: str) -> str:
    """A cell in words; a metric's interval stands under its value on a terminal."""
    value = value_of(row, column)
    if column in row["metrics"]:
        return metric_cell(value, "\n" if style == "table" else " ")
    if value is None:
        return "–"
    if column == "seconds":
        return duration(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and column != "seed":
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """Wall time as one reads it.

    >>> duration(4.21), duration(312), duration(7300)
    ('4.2 s', '5 min 12 s', '2 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def metric_cell(metric: Mapping[str, Any] | None, between: str = " ") -> str:
    if metric is None or metric.get("value") is None:
        return "–"
    text = f"{metric['value']:.3f}"
    if metric.get("ci95"):
        low, high = metric["ci95"]
        text += f"{between}({low:.3f}–{high:.3f})"
    return text


def drawn(headers: Sequence[str], body: Sequence[Sequence[Any]], style: str) -> str:
    """A table in one of the formats."""
    from tabulate import tabulate

    if style == "csv":
        return as_csv(headers, body)
    cells = [[text.replace("|", "\\|") for text in row] for row in body] if style == "md" else body
    return tabulate(cells, headers=list(headers), tablefmt=FORMATS[style], disable_numparse=True)


def as_csv(headers: Sequence[str], body: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(headers)
    writer.writerows(body)
    return text.getvalue().rstrip("\n")


# -- the tests -----------------------------------------------------------------------------------


def pairs_table(pairs: Rows, style: str) -> str:
    """The paired tests: difference, interval, p, p after Holm."""
    if style == "csv":
        return pairs_csv(pairs)
    headers = ["metric", "run", "minus", "difference", "95 % interval", "test", "p", "p (Holm)"]
    # on a terminal reasons stand under the table: beside the tests they would break its lines
    notes: dict[str, str] = {}
    for pair in pairs if style == "table" else ():
        if pair["reason"]:
            notes.setdefault(pair["reason"], f"[{len(notes) + 1}]")
    body = [
        [
            pair["metric"].replace("_", " "),
            pair["a"],
            pair["b"],
            "–" if pair["difference"] is None else f"{pair['difference']:+.3f}",
            "–" if pair["ci95"] is None else f"{pair['ci95'][0]:+.3f} to {pair['ci95'][1]:+.3f}",
            told_test(pair, notes),
            p_value(pair["p"]),
            p_value(pair["p_holm"]),
        ]
        for pair in pairs
    ]
    return "\n".join(
        [drawn(headers, body, style), *(f"{mark} {reason}" for reason, mark in notes.items())]
    )


def told_test(pair: Mapping[str, Any], notes: Mapping[str, str]) -> str:
    """The test, and why a number is missing (or the note that says so)."""
    reason = pair["reason"] or ""
    words = [pair["test"] or "", notes.get(reason, reason)]
    return (" " if reason in notes else "; ").join(word for word in words if word)


def interval_methods(pairs: Rows) -> dict[str, list[str]]:
    """How the intervals of the differences were computed: method to the metrics."""
    found: dict[str, list[str]] = {}
    for pair in pairs:
        if pair.get("interval") and pair["metric"] not in found.setdefault(pair["interval"], []):
            found[pair["interval"]].append(pair["metric"])
    return found


def pairs_note(pairs: Rows) -> str:
    """What the intervals are, and how many tests the correction counts, in a sentence or two."""
    methods = interval_methods(pairs)
    told = "; ".join(
        f"{method} ({', '.join(m.replace('_', ' ') for m in metrics)})"
        for method, metrics in methods.items()
    )
    tests = sorted({pair["tests"] for pair in pairs if pair.get("tests")})
    counted = " or ".join(f"{count:,}" for count in tests)
    lines = [f"95 % intervals, each for its difference alone: {told}."] if told else []
    if tests and tests != [1]:
        lines.append(f"Holm counts {counted} tests in each metric.")
    return " ".join(lines)


def pairs_csv(pairs: Rows) -> str:
    headers = (
        "family", "metric", "a", "b", "difference", "low", "high", "interval", "test", "p",
        "p_holm", "tests",
    )  # fmt: skip
    body = []
    for pair in pairs:
        low, high = pair["ci95"] or ("", "")
        row = [pair[name] for name in headers[:5]] + [low, high] + [pair[n] for n in headers[7:]]
        body.append(["" if value is None else value for value in row])
    return as_csv(headers, body)


def p_value(p: float | None) -> str:
    if p is None:
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


# -- seeds --------------------------------------------------------------------------


def seeds_table(groups: Rows, metrics: Sequence[str], style: str) -> str:
    """Mean and SD over the seeds of one configuration."""
    settings = list(dict.fromkeys(name for group in groups for name in group["settings"]))
    headers = ["seeds", "of", *settings, *(m.replace("_", " ") for m in metrics)]
    body = [
        [
            str(len(group["seeds"])),
            ", ".join(group["runs"][:4]) + (" …" if len(group["runs"]) > 4 else ""),
            *(str(group["settings"].get(name)) for name in settings),
            *(spread_cell(group["metrics"].get(metric)) for metric in metrics),
        ]
        for group in groups
    ]
    return drawn(headers, body, style)


def spread_cell(spread: Mapping[str, Any] | None) -> str:
    if not spread or spread["mean"] is None:
        return "–"
    return f"{spread['mean']:.3f}" + ("" if spread["sd"] is None else f" (SD {spread['sd']:.3f})")


# -- versions of a dataset -----------------------------------------------------------------------


def versions_text(row: Mapping[str, Any], style: str) -> str:
    """Two verify reports: counts side by side, findings that are new, gone and the same."""
    said = {
        True: "The images, labels and patients are the same.",
        False: "The data are not the same.",
        None: "Whether the data are the same is not known.",
    }
    lines = [f"{row['b']} beside {row['a']}. {said[row['same_data']]}", ""]
    counts = {"images": row["facts"]["images"], "patients": row["facts"]["groups"]}
    counts |= {f"class {name}": pair for name, pair in row["classes"].items()}
    counts |= {f"part {name}": pair for name, pair in row["splits"].items()}
    body = [
        [name, *("–" if v is None else f"{v:,}" for v in pair), change(*pair)]
        for name, pair in counts.items()
        if pair != [None, None]
    ]
    lines += [drawn(["", row["a"], row["b"], "change"], body, style), ""]
    lines += [*images_told(row), ""] if row.get("images") or row["same_data"] is False else []
    body = [
        [
            title,
            finding["severity"],
            finding["check"],
            f"{finding['count']:,}",
            textwrap.fill(finding["message"], 60) if style == "table" else finding["message"],
        ]
        for title in ("new", "gone", "same")
        for finding in row[title]
    ]
    if body:
        lines.append(drawn(["", "severity", "check", "count", "message"], body, style))
    else:
        lines.append("Neither report holds a finding of the checks that both ran.")
    for side in ("a", "b"):
        if row["only_in_one"][side]:
            names = ", ".join(row["only_in_one"][side])
            lines.append(
                f"Only {row[side]} ran {names}: nothing can be said of what changed there."
            )
    return "\n".join(lines)


IMAGES = {
    "added": "added",
    "removed": "removed",
    "changed": "changed (other bytes under the same name)",
    "relabelled": "of another class",
    "other_part": "in another part",
    "other_patient": "of another patient",
    "renamed": "renamed",
}


def images_told(row: Mapping[str, Any]) -> list[str]:
    """Which images were added, removed, labelled otherwise, …, each with its first."""
    images = row.get("images")
    if images is None:
        return [
            "Which images differ is not known: one of the reports lists none. Verify that version "
            "again to see."
        ]
    return [
        f"Images {IMAGES[name]}: {found['count']:,}, the first {first_of(found['items'][0])}"
        for name, found in images.items()
    ]


def first_of(item: Mapping[str, str]) -> str:
    """
    >>> first_of({"file": "a.png", "before": "NORMAL", "now": "PNEUMONIA"})
    'a.png (NORMAL → PNEUMONIA)'
    """
    if "before" not in item:
        return item["file"]
    if item["now"] == item["file"]:
        return f"{item['before']} → {item['now']}"
    return f"{item['file']} ({item['before'] or '–'} → {item['now'] or '–'})"


def change(old: Any, new: Any) -> str:
    if old is None or new is None:
        return ""
    return f"{new - old:+,}" if new != old else "="
