"""One table of runs, paired tests between them; says what can't be compared"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medimg.commands._job import Job
from medimg.commands._options import report_options

if TYPE_CHECKING:
    from medimg.training.comparison import Entry

BINARY = ("auroc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "f1")
MULTICLASS = ("auroc", "accuracy", "balanced_accuracy", "macro_f1")
FORMATS = {"table": "simple", "md": "github", "csv": "", "html": "html"}
NEITHER_RUN_NOR_REPORT = ("report.json", "recipe.yaml")


def run_folders(paths: tuple[str, ...]) -> list[Path]:
    """The run folders among what was given; a glob's stray files are left aside.

    Raises:
        InputError: a path that does not exist.
        UsageError: one run twice.
    """
    from medimg.core.errors import InputError, UsageError

    folders = []
    for path in paths:
        folder = Path(path)
        if not folder.exists():
            raise InputError(f"the run folder {path} does not exist", "ls runs/ shows your runs.")
        if folder.is_dir() and any((folder / n).exists() for n in NEITHER_RUN_NOR_REPORT):
            folders.append(folder)
    for folder in folders:
        if sum(folder.samefile(other) for other in folders) > 1:
            raise UsageError(
                f"the run {folder} is named twice", "A run can't be told from itself: name others."
            )
    return folders


def shown_metrics(entries: list[Entry], asked: str | None, known: list[str]) -> list[str]:
    """The metrics of the table: the usual ones of the task, or the one asked for.

    Raises:
        UsageError: no such metric, or not in this task.
    """
    from medimg.core.errors import UsageError, near_misses

    usual = BINARY if entries[0].report["result"]["positive"] else MULTICLASS
    if asked is None:
        return list(usual)
    if asked not in known:
        raise UsageError(f"no metric is called {asked!r}", near_misses(asked, known))
    if asked not in entries[0].report["result"]["metrics"]:
        raise UsageError(
            f"{asked} is not computed in this task",
            f"Known here: {', '.join(entries[0].report['result']['metrics'])}",
        )
    return [asked]


def rows_of(entries: list[Entry]) -> list[dict[str, Any]]:
    """The `runs` part of the report."""
    from medimg.training.comparison import settings_that_differ

    return [
        {
            "name": entry.name,
            "model": entry.report["result"]["training"]["model"],
            "backend": entry.report["result"]["training"]["backend"],
            "settings": settings,
            "metrics": entry.report["result"]["metrics"],
        }
        for entry, settings in zip(entries, settings_that_differ(entries), strict=True)
    ]


def table(
    rows: list[dict[str, Any]],
    metrics: list[str],
    style: str,
    rules: list[str | None] | None = None,
) -> str:
    """Runs as rows: value and interval of each metric, then the settings that differ.

    Args:
        rules: how each run's threshold was chosen, where that is to be shown.
    """
    from tabulate import tabulate

    settings = list(rows[0]["settings"])
    headers = ["run", *metrics, *(name for name in settings if name not in ("model", "backend"))]
    headers[1:1] = ["model", "backend"]
    body = [
        [row["name"], row["model"], row["backend"]]
        + [cell(row["metrics"].get(metric)) for metric in metrics]
        + [plain(row["settings"][name]) for name in settings if name not in ("model", "backend")]
        for row in rows
    ]
    if rules is not None:
        headers.insert(3, "threshold")
        for cells, rule in zip(body, rules, strict=True):
            cells.insert(3, rule or "–")
    if style == "csv":
        return as_csv(headers, body)
    return tabulate(body, headers=headers, tablefmt=FORMATS[style], disable_numparse=True)


def plain(setting: Any) -> str:
    return "–" if setting is None else str(setting)


def cell(metric: dict[str, Any] | None) -> str:
    if metric is None or metric["value"] is None:
        return "–"
    text = f"{metric['value']:.3f}"
    if metric["ci95"]:
        low, high = metric["ci95"]
        text += f" ({low:.3f}–{high:.3f})"
    return text


def as_csv(headers: list[str], body: list[list[Any]]) -> str:
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(headers)
    writer.writerows(body)
    return text.getvalue().rstrip("\n")


def pairs_table(pairs: list[dict[str, Any]], style: str) -> str:
    """The paired tests: difference, interval, p, p after Holm."""
    from tabulate import tabulate

    headers = ["metric", "run", "against", "difference", "95 % interval", "test", "p", "p (Holm)"]
    body = [
        [
            pair["metric"],
            pair["a"],
            pair["b"],
            "–" if pair["difference"] is None else f"{pair['difference']:+.3f}",
            "–" if pair["ci95"] is None else f"{pair['ci95'][0]:+.3f} to {pair['ci95'][1]:+.3f}",
            pair["test"] or pair["reason"] or "",
            p_value(pair["p"]),
            p_value(pair["p_holm"]),
        ]
        for pair in pairs
    ]
    if style == "csv":
        return as_csv(headers, body)
    return tabulate(body, headers=headers, tablefmt=FORMATS[style], disable_numparse=True)


def p_value(p: float | None) -> str:
    if p is None:
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def conclude(pairs: list[dict[str, Any]], metric: str) -> str:
    """One sentence: which runs can be told from the baseline on the first metric."""
    family = [p for p in pairs if p["metric"] == metric and p["p_holm"] is not None]
    if not family:
        return f"No difference in {metric} could be tested."
    told = [p for p in family if p["p_holm"] < 0.05]
    base = family[0]["b"]
    if not told:
        return f"In {metric} no run can be told from {base} on these samples (Holm, 5 %)."
    return (
        f"In {metric} {', '.join(p['a'] for p in told)} differ{'s' * (len(told) == 1)} from "
        f"{base} (Holm, 5 %)."
    )


@click.command("compare", epilog="Example: medimg compare runs/* --metric auroc")
@click.argument("runs", metavar="RUNS...", nargs=-1, required=True)
@click.option("--metric", metavar="NAME", help="Show and test this one.")
@click.option("--baseline", metavar="RUN", help="The run that the others are tested against.")
@click.option("--split", default="test", show_default=True, metavar="NAME")
@click.option(
    "--format", "style", type=click.Choice(list(FORMATS)), default="table", show_default=True
)
@click.option("--resamples", type=click.IntRange(100, 100_000), default=2000, show_default=True)
@report_options
def command(
    runs: tuple[str, ...],
    metric: str | None,
    baseline: str | None,
    split: str,
    style: str,
    resamples: int,
    seed: int,
    **common: Any,
) -> None:
    """Put runs side by side and test their differences on the samples that they share.

    Samples match by content and label. Runs that can't be compared are listed with the reason;
    with fewer than two left the exit code is 1.
    """
    from medimg.core.errors import InputError, UsageError, near_misses
    from medimg.training.comparison import gather, paired_tests, rules_differ

    folders = run_folders(runs)
    if not folders:
        raise InputError("none of these is a run folder", "For example: medimg compare runs/*")
    job = Job("compare", seed=seed, **common)
    job.subject = f"{len(folders)}-runs"
    known = job.manager.metrics()
    if metric is not None and metric not in known:
        raise UsageError(f"no metric is called {metric!r}", near_misses(metric, list(known)))
    folders = [f for f in folders if is_trained(f)]
    entries, refused = gather(folders, split, baseline)
    base = chosen_baseline(entries, baseline, [f.name for f in folders], refused)
    rows = rows_of(entries) if entries else []
    pairs: list[dict[str, Any]] = []
    comparable = len(entries) > 1
    mixed = None
    if entries:
        metrics = shown_metrics(entries, metric, list(known))
        mixed = rules_differ(entries)
        job.say(table(rows, metrics, style, [e.rule() for e in entries] if mixed else None))
    if comparable and base is not None:
        functions = job.manager.functions({name: known[name] for name in metrics})
        pairs = paired_tests(entries, base, metrics, functions, seed=seed, resamples=resamples)
        job.say("")
        job.say(pairs_table(pairs, style))
        if style == "table":
            job.say("")
            job.say(conclude(pairs, metrics[0]))
            job.say("Holm's correction is over the runs against the baseline, within each metric.")
            job.say("Picking the best of these by this table is selection: confirm it on new data.")
    for row in refused:
        job.note(f"not compared: {row['run']}: {row['why']}", severity="warning")
    if mixed:
        job.note(f"{mixed.check}: {mixed.message}", severity=mixed.severity)
        job.note(f"  {mixed.hint}")
    plots = []
    if comparable:
        from medimg.reports.plots_evaluation import comparison_plots

        plots = comparison_plots(entries, pairs, job.folder)
    job.finish(
        {
            "runs": rows,
            "baseline": base.name if base else None,
            "pairs": pairs,
            "comparable": comparable,
            "refused": refused,
            "metric": metric,
            "samples": len(entries[0].keys) if entries else None,
            "artifacts": plots,
        },
        findings=(mixed,) if mixed else (),
    )
    if not comparable:
        job.note("fewer than two runs can be compared", severity="error")
        raise click.exceptions.Exit(1)


def is_trained(folder: Path) -> bool:
    """Whether it is to be compared, or refused aloud: anything but the report of another command,
    which is passed over."""
    import json

    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return True
    command = report.get("command") if isinstance(report, dict) else None
    return not isinstance(command, str) or command in ("train", "finetune")


def chosen_baseline(
    entries: list[Entry], asked: str | None, names: list[str], refused: list[dict[str, str]]
) -> Entry | None:
    """The baseline asked for, else the first run.

    Raises:
        UsageError: it is none of the runs.
        Refused: it can't be compared.
    """
    from medimg.core.errors import Refused, UsageError, near_misses

    if asked is None:
        return entries[0] if entries else None
    name = Path(asked).name
    if name not in names:
        raise UsageError(f"the baseline {asked} is none of the runs", near_misses(name, names))
    for row in refused:
        if row["run"] == name:
            raise Refused(f"the baseline {asked} can't be compared", row["why"])
    return next(e for e in entries if e.name == name)
