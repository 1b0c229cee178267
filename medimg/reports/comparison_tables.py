"""A comparison in words and tables: runs, paired tests, seeds, what follows from them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

FORMATS = {"table": "simple", "md": "github", "csv": "", "html": "html"}
MARKS = {"best": "*", "tied": "≈"}
COSTS = ("epochs", "seconds", "parameters")
ALL_COSTS = (*COSTS, "trainable", "images_per_second", "device")
LEVEL = 0.05
Rows = Sequence[Mapping[str, Any]]


# -- the runs ------------------------------------------------------------------------------------


def columns_of(rows: Rows, metrics: Sequence[str], mixed_rules: bool) -> list[str]:
    """The columns shown unless others are asked for: settings and costs only where they tell."""
    settings = list(rows[0]["settings"])
    cost = [c for c in COSTS if any(row["cost"].get(c) is not None for row in rows)]
    cost = [c for c in cost if c != "parameters" or len({r["cost"][c] for r in rows}) > 1]
    looks = ["looks"] if any(row["looks"] is not None for row in rows) else []
    threshold = ["threshold"] if mixed_rules else []
    return [*threshold, *metrics, *settings, *cost, *looks]


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


def runs_csv(rows: Rows, columns: Sequence[str]) -> str:
    """Numbers at full precision: each metric with the bounds of its interval beside it."""
    metrics = rows[0]["metrics"]
    headers = ["run", "mark"]
    for column in columns:
        bounds = [f"{column}_low", f"{column}_high"] if column in metrics else []
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
                cells += ["" if found is None else found, low, high]
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
    body = [
        [
            pair["metric"].replace("_", " "),
            pair["a"],
            pair["b"],
            "–" if pair["difference"] is None else f"{pair['difference']:+.3f}",
            "–" if pair["ci95"] is None else f"{pair['ci95'][0]:+.3f} to {pair['ci95'][1]:+.3f}",
            told_test(pair),
            p_value(pair["p"]),
            p_value(pair["p_holm"]),
        ]
        for pair in pairs
    ]
    return drawn(headers, body, style)


def told_test(pair: Mapping[str, Any]) -> str:
    """The test, and why a number is missing."""
    words = [pair["test"] or "", pair["reason"] or ""]
    return "; ".join(word for word in words if word)


def pairs_csv(pairs: Rows) -> str:
    headers = ("family", "metric", "a", "b", "difference", "low", "high", "test", "p", "p_holm")
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


# -- seeds and backends --------------------------------------------------------------------------


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


def agreement_line(row: Mapping[str, Any]) -> str:
    """Two backends with one recipe, in a sentence."""
    apart = row["probability"]
    return (
        f"{row['a']} and {row['b']} are one recipe in {' and '.join(map(str, row['backends']))}: "
        f"the same answer for {row['same_answers']:.1%} of {row['images']:,} images, "
        f"probabilities {apart['mean']:.3g} apart on average, {apart['largest']:.3g} at most."
    )


# -- what follows --------------------------------------------------------------------------------


def conclusions(result: Mapping[str, Any]) -> list[str]:
    """What may be said of the runs, and what may not.

    Args:
        result: of a compare report.
    """
    metric = result["ranked_by"]
    if not metric or len(result["runs"]) < 2:
        return []
    said = [*ranking(result, metric), *against_baseline(result, metric)]
    for test in result["omnibus"]:
        said.append(all_at_once(test))
    said += beside_majority(result)
    said.append(correction(result))
    if result["patients"] is None:
        said.append(
            "Patients are unknown, so every image is taken for a patient of its own: if patients "
            "have several, the intervals are too narrow and p too small."
        )
    said.append(selection(result))
    return said


def ranking(result: Mapping[str, Any], metric: str) -> list[str]:
    """The best run, and those that can't be told from it."""
    best = next((run for run in result["runs"] if run["mark"] == "best"), None)
    if best is None:
        return [f"No run has a value of {metric}."]
    tied = [run["name"] for run in result["runs"] if run["mark"] == "tied"]
    others = len(result["runs"]) - 1 - len(tied)
    cell = best["metrics"][metric]
    text = f"Best in {metric}: {best['name']} ({cell['value']:.3f})"
    if not tied:
        return [f"{text}; each of the {others} others can be told from it."]
    names = listed(tied)
    said = [f"{text}. It can't be told from {names} on these samples."]
    bounds = [
        abs(bound)
        for pair in result["pairs"]
        if pair["metric"] == metric
        and pair["ci95"]
        and best["name"] in (pair["a"], pair["b"])
        and ({pair["a"], pair["b"]} - {best["name"]}) & set(tied)
        for bound in pair["ci95"]
    ]
    if bounds:
        said[0] += (
            f" That does not make them alike: differences of up to {max(bounds):.3f} fit the data."
        )
    if metric == "auroc" and cell["ci95"] and cell["ci95"][0] <= 0.5:
        said.append(f"The interval of {best['name']} holds 0.5: no run is shown to beat chance.")
    return said


def listed(names: Sequence[str], most: int = 6) -> str:
    """
    >>> listed(["a"]), listed(["a", "b", "c"]), listed(list("abcdefgh"), 3)
    ('a', 'a, b and c', 'a, b, c and 5 more')
    """
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def against_baseline(result: Mapping[str, Any], metric: str) -> list[str]:
    """The runs that differ from a baseline that was named."""
    if result["baseline_chosen"] != "given" or result["family"] != "baseline":
        return []
    base = result["baseline"]
    family = [p for p in result["pairs"] if p["metric"] == metric and p["family"] == "baseline"]
    tested = [p for p in family if p["p_holm"] is not None]
    if not tested:
        return [f"No difference in {metric} to {base} could be tested."]
    told = [p["a"] for p in tested if p["p_holm"] < LEVEL]
    if not told:
        return [f"In {metric} no run can be told from the baseline {base}."]
    return [f"In {metric} {listed(told)} differ{'s' * (len(told) == 1)} from the baseline {base}."]


def all_at_once(test: Mapping[str, Any]) -> str:
    found = f"{test['test']} over the {test['runs']} runs, {test['metric']}: p {p_words(test['p'])}"
    if test["p"] < LEVEL:
        return f"{found}: they are not all equally often right."
    return f"{found}: no difference among them is shown, so single pairs are not to be read."


def beside_majority(result: Mapping[str, Any]) -> list[str]:
    """Whether any run is shown to be right more often than the commonest class is common."""
    floor = ((result["majority"] or {}).get("accuracy") or {}).get("value")
    bounds = [(run["metrics"].get("accuracy") or {}).get("ci95") for run in result["runs"]]
    if floor is None or not all(bounds) or any(b[0] > floor for b in bounds if b):
        return []
    return [
        "No run is shown to be right more often than always answering the commonest class "
        f"({floor:.3f}): every interval of accuracy reaches down to that."
    ]


def p_words(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def correction(result: Mapping[str, Any]) -> str:
    """What Holm's correction is over."""
    over = {
        "baseline": f"the runs against {result['baseline']}",
        "all pairs": "all pairs of runs",
    }[result["family"]]
    text = (
        f"Holm's correction is over {over}, within each metric; told apart means p < 0.05 after it."
    )
    if any(pair["family"] == "best" for pair in result["pairs"]):
        text += " The marks are from a family of their own: the runs against the best."
    return text


def selection(result: Mapping[str, Any]) -> str:
    count = len(result["runs"])
    text = (
        f"Picking the best of {count} by this table is selection: its value flatters it; confirm "
        "it on new data."
    )
    if result["looks"]:
        times = "once" if result["looks"] == 1 else f"{result['looks']} times"
        text += f" This {result['split']} part has been looked at {times}."
    return text


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
    body = [
        [title, finding["severity"], finding["check"], f"{finding['count']:,}", finding["message"]]
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


def change(old: Any, new: Any) -> str:
    if old is None or new is None:
        return ""
    return f"{new - old:+,}" if new != old else "="
