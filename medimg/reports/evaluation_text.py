"""An evaluation as text for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from medimg.core.index import counted
from medimg.reports.methods import Said, methods_said, reasons_said

SHOWN = (
    "auroc",
    "average_precision",
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "precision",
    "f1",
    "macro_f1",
    "mcc",
    "brier",
    "ece",
)
HALF = 0.5
# a temperature from here on says that something else than sharpness is wrong
EXTREME = 5.0
# small subgroups that are named; the report names all
MOST_NAMED = 10
# of a subgroup, as many as fit beside one another
OF_SUBGROUPS = ("auroc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "macro_f1")


def metrics_table(result: Mapping[str, Any]) -> str:
    """The metrics people look at, with intervals, beside the majority class."""
    from tabulate import tabulate

    baseline, linear = result["baseline"], result.get("linear_baseline")
    half = result.get("metrics_at_half")
    cut = result.get("threshold")
    if not cut or cut["value"] == HALF:
        half = None
    rows = []
    for name in SHOWN:
        cell = result["metrics"].get(name)
        if cell is None:
            continue
        majority = shown(baseline.get(name) or {})
        others = [
            *([shown(half.get(name) or {})] if half else []),
            majority,
            *([shown(linear["metrics"].get(name) or {})] if linear else []),
        ]
        rows.append([name, shown(cell), interval(cell), *others, method(cell)])
    names = [
        *(["at 0.5"] if half else []),
        "majority class",
        *([f"linear: {linear['run']}"] if linear else []),
    ]
    return tabulate(
        rows,
        headers=["metric", "value", "95 % interval", *names, "method"],
        disable_numparse=True,
    )


def patient_table(by_group: Mapping[str, Any]) -> str:
    """The same for patients, in few lines, and how their probabilities come about."""
    from tabulate import tabulate

    if by_group["groups"] < 2:
        if not by_group["left_out"]:
            return f"By patient: {counted(by_group['groups'], 'patient')}: no metrics of patients"
        return (
            f"By patient: {counted(by_group['left_out'], 'patient has', 'patients have')} images "
            f"of several classes, {by_group['groups']} has a class of its own: no metrics of "
            "patients"
        )
    names = [n for n in OF_SUBGROUPS if n in by_group["metrics"]]
    rows = [[n, *(f(by_group["metrics"][n]) for f in (shown, interval, method))] for n in names]
    out = by_group["left_out"]
    left = f"; {counted(out, 'patient')} of several classes left out" if out else ""
    table = tabulate(
        rows, headers=["by patient", "value", "95 % interval", "method"], disable_numparse=True
    )
    return (
        f"{table}\n{counted(by_group['groups'], 'patient')}{left}; {by_group['rule'].split(';')[0]}"
    )


def shown(cell: Mapping[str, Any]) -> str:
    value = cell.get("value")
    return "–" if value is None else f"{value:.3f}"


def interval(cell: Mapping[str, Any]) -> str:
    if cell.get("ci95") is None:
        return cell.get("reason") or ""
    low, high = cell["ci95"]
    return f"{low:.3f} to {high:.3f}"


def method(cell: Mapping[str, Any]) -> str:
    """The interval's method in few words; in full in the report."""
    return in_short(cell.get("method") or "")


def in_short(method: str) -> str:
    """
    >>> in_short("percentile bootstrap by patient, stratified by class")
    'bootstrap by patient'
    """
    return method.split(",")[0].removeprefix("percentile ")


def calibration_line(calibration: Mapping[str, Any]) -> str:
    """`Calibration: ECE 0.03, Brier 0.11, log loss 0.35, slope 0.91, intercept -0.12`."""
    names = {
        "ece": "ECE",
        "brier": "Brier",
        "log_loss": "log loss",
        "slope": "slope",
        "intercept": "intercept",
    }
    told = [
        f"{word} {calibration[name]:.3f}{around(calibration.get(f'{name}_ci95'))}"
        for name, word in names.items()
        if calibration.get(name) is not None
    ]
    why = f" ({calibration['reason']})" if calibration.get("reason") else ""
    fitted = calibration.get("clipped") and calibration.get("intercept") is not None
    clipped = calibration["notes"][-1] if fitted else ""
    by = f"; 95 % intervals: {calibration['method']}" if calibration.get("method") else ""
    return f"Calibration: {', '.join(told)}{why}{by}" + (f"\n  {clipped}" if clipped else "")


def around(interval: Any) -> str:
    return f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval else ""


def bootstrap_line(ci: Mapping[str, Any]) -> str:
    """What the bootstrap draws: patients, pictures of which there are copies, or images."""
    drawn = {
        "patient": "patients",
        "picture": "distinct pictures (all copies of one at once)",
    }
    unit = next((told for name, told in drawn.items() if f"by {name}" in ci["method"]), "images")
    return (
        f"Bootstrap: {ci['resamples']:,} resamples of {unit} among those that show the same "
        "classes, so that the prevalence is held fixed"
    )


def confusion_table(matrix: Mapping[str, Any]) -> str:
    from tabulate import tabulate

    rows = [
        [f"true {label}", *row]
        for label, row in zip(matrix["labels"], matrix["counts"], strict=True)
    ]
    return tabulate(rows, headers=["", *(f"said {label}" for label in matrix["labels"])])


def subgroup_table(column: str, table: Mapping[str, Any]) -> str:
    """Each subgroup's metrics with intervals, then the gaps; suppressed ones by name."""
    from tabulate import tabulate

    known = [g["metrics"] for g in table["groups"].values() if g["metrics"]]
    names = [n for n in OF_SUBGROUPS if any(n in metrics for metrics in known)][:4]
    rows = [
        [value, group["images"], patients(group), *(both(group["metrics"].get(n)) for n in names)]
        for value, group in table["groups"].items()
        if not group["suppressed"]
    ]
    lines = []
    if rows:
        headers = [column, "images", "patients", *names]
        lines.append(tabulate(rows, headers=headers, disable_numparse=True))
        shown_rows = {str(v): g["metrics"] for v, g in table["groups"].items() if g["metrics"]}
        lines += how(shown_rows, names)
    hidden = [f"{v} ({g['suppressed']})" for v, g in table["groups"].items() if g["suppressed"]]
    if hidden:
        more = f", and {len(hidden) - MOST_NAMED:,} more" if len(hidden) > MOST_NAMED else ""
        lines.append(f"{column}, not shown: {', '.join(hidden[:MOST_NAMED])}{more}")
    lines += [gap(n, table["gap"][n]) for n in names if n in table["gap"]]
    return "\n".join(lines)


def class_table(
    intervals: Mapping[str, Mapping[str, Any]], points: Mapping[str, Mapping[str, Any]]
) -> str:
    """Each class against the rest, with intervals."""
    from tabulate import tabulate

    names = ("recall", "precision", "f1", "auroc")
    rows = [
        [label, points[label]["support"], *(both(cells[n]) for n in names)]
        for label, cells in intervals.items()
    ]
    table = tabulate(rows, headers=["class", "images", *names], disable_numparse=True)
    return "\n".join([table, *how(intervals, names)])


def how(table: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> Iterator[str]:
    """Under a table: the methods of its intervals, and why some are missing."""
    told = [f"{in_short(found.what)} ({where(found)})" for found in methods_said(table, names)]
    if told:
        yield f"95 % intervals: {'; '.join(dict.fromkeys(told))}"
    for found in reasons_said(table, names):
        yield f"no interval, {where(found)}: {found.what}"


def where(found: Said) -> str:
    """`auroc, accuracy`, or `auroc of F`."""
    rows = found.rows[:MOST_NAMED]
    more = f" and {len(found.rows) - len(rows)} more" if len(found.rows) > len(rows) else ""
    of = f" of {', '.join(rows)}{more}" if rows else ""
    return ", ".join(found.metrics) + of


def temperature_lines(found: Mapping[str, Any] | None) -> Iterator[tuple[str, str | None]]:
    """(line, severity) of a temperature: what it did to both errors of the probabilities."""
    if not found:
        return
    loss, error = found["log_loss"], found["ece"]
    yield (
        (
            f"Probabilities at temperature {found['value']:.3f}, fitted on {found['images']:,} "
            f"{found['fitted_on']} images: log loss there {loss['before']:.4f} → "
            f"{loss['after']:.4f}, ECE {error['before']:.4f} → {error['after']:.4f}"
        ),
        None,
    )
    if error["after"] > error["before"]:
        yield (
            "The log loss is what was fitted; the calibration error has grown: look at the "
            "reliability plot before using these probabilities, or leave the temperature out with "
            "--no-calibrate.",
            "warning",
        )
    if found["value"] > EXTREME:
        yield (
            "That leaves little of them: they are shifted rather than too sure, which a "
            "temperature can't mend; train with --recalibrate auto, or longer.",
            "warning",
        )


def patients(group: Mapping[str, Any]) -> str:
    return "–" if group["patients"] is None else f"{group['patients']}"


def both(cell: Mapping[str, Any] | None) -> str:
    """`0.91 (0.85 to 0.96)`."""
    if cell is None or cell["value"] is None:
        return "–"
    if cell["ci95"] is None:
        return f"{cell['value']:.2f}"
    return f"{cell['value']:.2f} ({cell['ci95'][0]:.2f} to {cell['ci95'][1]:.2f})"


def gap(name: str, found: Mapping[str, Any]) -> str:
    told = f"{name}: {found['highest']} is {found['value']:.3f} above {found['lowest']}"
    count = found.get("differences") or 1
    if count > 1:
        told += f", the largest of {count} differences"
    if found["ci95"] is None:
        return f"{told}; {found['reason']}" if found.get("reason") else told
    low, high = found["ci95"]
    apart = "" if low > 0 else ", which may be chance"
    return f"{told} ({low:.3f} to {high:.3f}{apart}; {method(found)})"
