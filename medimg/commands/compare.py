"""One table of runs, paired tests between them; says what can't be compared"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medimg.commands._job import Job
from medimg.commands._options import report_options

if TYPE_CHECKING:
    from medimg.training.comparison import Entry
    from medimg.training.paired_tests import Tests

BINARY = ("auroc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "f1")
MULTICLASS = ("auroc", "accuracy", "balanced_accuracy", "macro_f1")
STYLES = ("table", "md", "csv", "html", "json")
OVER_SEEDS = (
    "SD over seeds is how much training varies; the intervals above are about which images were "
    "tested. Neither holds the other."
)
# more runs than this are tested in the metric that ranks them alone
MOST_FOR_ALL_METRICS = 50


# -- what was given ------------------------------------------------------------------------------


def given_paths(paths: tuple[str, ...]) -> list[Path]:
    """What was named, each of which exists.

    Raises:
        InputError: a path that does not exist.
        UsageError: one run twice.
    """
    from medimg.core.errors import InputError, UsageError

    folders = [Path(path) for path in paths]
    seen: dict[tuple[int, int], Path] = {}
    for folder in folders:
        if not folder.exists():
            raise InputError(f"the run folder {folder} does not exist", "ls runs/ shows your runs.")
        told = folder.stat()
        if seen.setdefault((told.st_dev, told.st_ino), folder) is not folder:
            raise UsageError(
                f"the run {folder} is named twice", "A run can't be told from itself: name others."
            )
    return folders


def command_of(folder: Path) -> str | None:
    """The command whose report lies in a folder; None where there is none to be read."""
    import json

    try:
        return str(json.loads((folder / "report.json").read_text(encoding="utf-8"))["command"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def verified(folders: list[Path]) -> list[Path]:
    """The verify reports, where it is they that are to be compared: no trained run among them."""
    found = []
    for folder in folders:
        command = command_of(folder)
        if command in ("train", "finetune", "evaluate"):
            return []
        if command == "verify":
            found.append(folder)
    return found if len(found) > 1 else []


# -- metrics and columns -------------------------------------------------------------------------


def shown_metrics(entries: list[Entry], asked: Sequence[str], known: list[str]) -> list[str]:
    """The metrics of the table: the usual ones of the task, or those asked for.

    Raises:
        UsageError: no such metric, or not in this task.
    """
    from medimg.core.errors import UsageError

    here = entries[0].metrics
    if not asked:
        usual = BINARY if entries[0].positive else MULTICLASS
        return [name for name in usual if name in here]
    for name in asked:
        check_metric(name, known)
        if name not in here:
            raise UsageError(
                f"{name} is not computed in this task", f"Known here: {', '.join(here)}"
            )
    return list(asked)


def check_metric(name: str, known: list[str]) -> None:
    from medimg.core.errors import UsageError, near_misses

    if name not in known:
        raise UsageError(f"no metric is called {name!r}", near_misses(name, known))


def check_column(name: str, known: list[str], option: str) -> str:
    """A column by its name, blanks and underscores alike.

    Raises:
        UsageError: there is none of that name.
    """
    from medimg.core.errors import UsageError, near_misses

    found = next((k for k in known if k.replace(" ", "_") == name.strip().replace(" ", "_")), None)
    if found is None:
        raise UsageError(
            f"{option}: no column is called {name!r}",
            near_misses(name, known) or f"Known here: {', '.join(known)}",
        )
    return found


def chosen_baseline(
    entries: list[Entry], asked: str | None, names: list[str], refused: list[dict[str, str]]
) -> Entry | None:
    """The baseline asked for; None where none was.

    Raises:
        UsageError: it is none of the runs.
        Refused: it can't be compared.
    """
    from medimg.core.errors import Refused, UsageError, near_misses
    from medimg.training.comparison import is_called

    if asked is None:
        return None
    name = next((n for n in names if is_called(n, asked)), None)
    if name is None:
        raise UsageError(
            f"the baseline {asked} is none of the runs", near_misses(Path(asked).name, names)
        )
    for row in refused:
        if row["run"] == name:
            raise Refused(f"the baseline {asked} can't be compared", row["why"])
    return next(e for e in entries if e.name == name)


# -- the parts of the report ---------------------------------------------------------------------


def compare(
    entries: list[Entry],
    metrics: list[str],
    functions: dict[str, Callable[..., Any]],
    *,
    baseline: Entry | None = None,
    matrix: bool = False,
    split: str = "test",
    seed: int = 0,
    resamples: int | None = None,
) -> dict[str, Any]:
    """The numbers of a compare report.

    Args:
        entries: runs on the same samples.
        metrics: shown and tested; the first ranks the runs.
        baseline: the others are tested against it; default the best in the first metric, and then
            Holm's correction counts all pairs, since the same images chose the best.
        matrix: all pairs are tested instead.
        resamples: of the bootstrap; default 2,000, fewer for very many runs.
    """
    from medimg.training.configurations import agreements, configurations
    from medimg.training.paired_tests import Tests, all_pairs, best_of, marks, resamples_for

    ranked_by = metrics[0]
    best = best_of(entries, ranked_by, functions[ranked_by])
    reference = baseline or best or entries[0]
    samples = entries[0].samples
    count = resamples or resamples_for(len(entries), len(samples.labels))
    tests = Tests(entries, functions, seed=seed, resamples=count)
    tested = metrics if len(entries) <= MOST_FOR_ALL_METRICS else metrics[:1]
    chosen = None if baseline else all_pairs(len(entries))
    pairs = paired(tests, tested, reference, best, matrix, chosen) if len(entries) > 1 else []
    of_best = [p for p in pairs if p["metric"] == ranked_by and p["family"] != "baseline"]
    if not matrix and reference is best:
        of_best = [p for p in pairs if p["metric"] == ranked_by]
    marked = marks(entries, best, of_best) if len(entries) > 1 else {}
    counts = {c: int((samples.labels == n).sum()) for n, c in enumerate(samples.classes)}
    return {
        "runs": rows_of(entries, marked),
        "baseline": reference.name,
        "baseline_chosen": "given" if baseline else "best",
        "family": "all pairs" if matrix else "baseline",
        "pairs": pairs,
        "omnibus": [row for metric in tested if (row := tests.omnibus(metric))],
        "configurations": seeds_of(configurations(entries), list(entries[0].metrics)),
        "agreement": agreements(entries),
        "majority": entries[0].baseline or None,
        "samples": len(samples.labels),
        "classes": counts,
        "patients": len(set(samples.groups)) if samples.groups else None,
        "positive": entries[0].positive,
        "ranked_by": ranked_by,
        "looks": looks_now(entries, split),
        "resamples": count,
        "phantom": any(e.phantom for e in entries),
    }


def looks_now(entries: list[Entry], split: str) -> int | None:
    """How often the samples have been looked at by all that lies beside the runs."""
    from medimg.training.ledger import looks

    folders = dict.fromkeys(entry.folder.resolve().parent for entry in entries)
    whole = [entry.evaluation / "report.json" for entry in entries]
    return looks(folders, split, entries[0].samples.keys, whole).times or None


def paired(
    tests: Tests,
    metrics: list[str],
    reference: Entry,
    best: Entry | None,
    matrix: bool,
    among: int | None = None,
) -> list[dict[str, Any]]:
    """The rows of `pairs`; in the first metric also the runs against the best, where that is a
    family of its own.

    Args:
        among: pairs that the correction counts where the reference is the best of these runs.
    """
    from medimg.training.paired_tests import against, all_pairs, every_pair

    chosen = every_pair(tests.entries) if matrix else against(tests.entries, reference)
    name = "all pairs" if matrix else "baseline"
    counted = None if matrix else among
    rows = [row for m in metrics for row in tests.family(chosen, m, name, counted)]
    if not matrix and best is not None and best is not reference:
        counted = all_pairs(len(tests.entries))
        rows += tests.family(against(tests.entries, best), metrics[0], "best", counted)
    return rows


def rows_of(entries: list[Entry], marked: dict[str, str]) -> list[dict[str, Any]]:
    """The `runs` part of the report."""
    from medimg.training.configurations import settings_that_differ

    return [
        {
            "name": entry.name,
            "model": entry.model,
            "backend": entry.backend,
            "settings": settings,
            "metrics": entry.metrics,
            "cost": entry.cost,
            "looks": entry.looks,
            "mark": marked.get(entry.name),
            "evaluation": str(entry.evaluation),
            "threshold": entry.threshold,
        }
        for entry, settings in zip(entries, settings_that_differ(entries), strict=True)
    ]


def seeds_of(groups: list[Any], metrics: list[str]) -> list[dict[str, Any]]:
    """The `configurations` part of the report."""
    return [
        {
            "runs": [entry.name for entry in group.entries],
            "seeds": [entry.recipe["seed"] for entry in group.entries],
            "settings": group.settings,
            "metrics": {metric: group.spread(metric) for metric in metrics},
        }
        for group in groups
    ]


# -- what is printed -----------------------------------------------------------------------------


def say_runs(
    job: Job,
    result: dict[str, Any],
    columns: list[str],
    metrics: list[str],
    style: str,
    top: int,
) -> None:
    """The tables and what follows from them."""
    from medimg.reports import comparison_tables as tables

    rows = result["runs"]
    shown = rows if not top or style == "csv" else rows[:top]
    majority = result["majority"] if style != "csv" else None
    if style == "table":
        job.say(heading(result))
        job.say("")
    job.say(tables.runs_table(shown, columns, style, majority))
    if style != "csv":
        say_note(job, tables.runs_note(shown, columns), style)
        for line in legend(result, columns, len(shown)):
            say_note(job, line, style)
    pairs = [p for p in result["pairs"] if p["family"] != "best" and style != "csv"]
    if top and len(pairs) > 2 * top:
        pairs = [p for p in pairs if p["metric"] == result["ranked_by"]][:top]
    if pairs:
        job.say("")
        job.say(tables.pairs_table(pairs, style))
        say_note(job, tables.pairs_note(pairs), style)
    say_seeds(job, result, metrics, style)
    if style in ("table", "md"):
        job.say("")
        for text in result["conclusions"]:
            job.say(wrapped(f"- {text}") if style == "table" else f"- {text}")


def legend(result: dict[str, Any], columns: list[str], shown: int) -> Iterator[str]:
    """What the marks and the column `looks` mean, and what is not shown."""
    from medimg.core.index import counted

    rows = result["runs"]
    if shown < len(rows):
        more = counted(len(rows) - shown, "more run")
        yield f"… and {more} in the report (--top 0 shows all)"
    marks = {row["mark"] for row in rows if row["mark"]}
    if not marks:
        return
    if "looks" in columns:
        yield f"looks: how often this {result['split']} part had been looked at by then"
    untested = "   ? could not be tested against the best" if "untested" in marks else ""
    yield f"* best in {result['ranked_by']}   ≈ can't be told from the best{untested}"


def say_note(job: Job, note: str, style: str) -> None:
    """What stands under a table of a terminal, of Markdown or of a page."""
    from html import escape

    # an asterisk at the beginning would be an item of a list
    marked = f"\\{note}" if note.startswith("*") else note
    told = {"table": wrapped(note), "md": f"\n{marked}", "html": f"<p>{escape(note)}</p>"}
    if note:
        job.say(told[style])


def say_seeds(job: Job, result: dict[str, Any], metrics: list[str], style: str) -> None:
    from medimg.reports.comparison_tables import seeds_table

    if not result["configurations"] or style == "csv":
        return
    job.say("")
    job.say(seeds_table(result["configurations"], metrics, style))
    if style == "table":
        job.say(OVER_SEEDS)
    else:
        say_note(job, OVER_SEEDS, style)


def heading(result: dict[str, Any]) -> str:
    """What the runs were compared on."""
    from medimg.core.index import counted

    counts = ", ".join(f"{name}: {count:,}" for name, count in result["classes"].items())
    patients = f" of {counted(result['patients'], 'patient')}" if result["patients"] else ""
    images = counted(result["samples"], f"{result['split']} image")
    text = f"{counted(len(result['runs']), 'run')} on the same {images}"
    same = {key: {row[key] for row in result["runs"]} for key in ("model", "backend")}
    alike = " with ".join(str(*found) for found in same.values() if len(found) == 1 and any(found))
    return f"{text}{patients} ({counts})" + (f"; all are {alike}" if alike else "")


def wrapped(text: str) -> str:
    import textwrap

    return textwrap.fill(text, 98, subsequent_indent="  ", break_on_hyphens=False)


def say_refused(job: Job, refused: list[dict[str, str]], most: int = 20) -> None:
    for row in refused[:most]:
        job.note(f"not compared: {row['run']}: {row['why']}", severity="warning")
    if len(refused) > most:
        job.note(f"not compared: {len(refused) - most:,} more, in the report", severity="warning")


def compare_verified(job: Job, folders: list[Path], others: list[Path], style: str) -> None:
    """Verify reports instead of runs: each beside the first."""
    from medimg.core.errors import MedimgError
    from medimg.reports.comparison_tables import versions_text
    from medimg.training.dataset_versions import compare_versions, read_verified

    first = read_verified(folders[0])
    rows: list[dict[str, Any]] = []
    refused = [{"run": f.name, "why": "it is no report of medimg verify"} for f in others]
    for folder in folders[1:]:
        try:
            rows.append(compare_versions(first, read_verified(folder)))
        except (MedimgError, KeyError, TypeError) as error:
            refused.append({"run": folder.name, "why": str(error)})
    for row in rows:
        job.say(versions_text(row, "md" if style == "csv" else style))
    say_refused(job, refused)
    job.finish(
        {
            "runs": [],
            "baseline": first["name"],
            "pairs": [],
            "comparable": bool(rows),
            "refused": refused,
            "versions": rows,
        }
    )
    if not rows:
        raise click.exceptions.Exit(1)


@click.command("compare", epilog="Example: medimg compare runs/* --metric auroc")
@click.argument("runs", metavar="RUNS...", nargs=-1, required=True)
@click.option(
    "--metric",
    "asked",
    metavar="NAME",
    multiple=True,
    help="Show and test this one (repeatable); the first ranks the runs.",
)
@click.option("--baseline", metavar="RUN", help="Test the others against this run, not the best.")
@click.option("--matrix", is_flag=True, help="Test all pairs of runs.")
@click.option("--split", default="test", show_default=True, metavar="NAME")
@click.option(
    "--sort", metavar="COLUMN", help="A column, `name` or `given`.  [default: the metric]"
)
@click.option("--columns", metavar="A,B,…", help="Metrics, settings, seconds, epochs, looks, …")
@click.option("--top", default=30, show_default=True, metavar="N", help="Rows shown; 0: all.")
@click.option("--format", "style", type=click.Choice(STYLES), default="table", show_default=True)
@click.option(
    "--resamples",
    type=click.IntRange(100, 100_000),
    help="Of the paired bootstrap.  [default: 2000; fewer for hundreds of runs]",
)
@report_options
def command(
    runs: tuple[str, ...],
    asked: tuple[str, ...],
    baseline: str | None,
    matrix: bool,
    split: str,
    sort: str | None,
    columns: str | None,
    top: int,
    style: str,
    resamples: int | None,
    seed: int,
    as_json: bool,
    **common: Any,
) -> None:
    """Put runs side by side and test their differences on the samples that they share.

    Samples match by content and label. What can't be compared is listed with the reason; with
    fewer than two runs left the exit code is 1. Given verify reports alone, says what is new,
    gone and the same between versions of a dataset.
    """
    from medimg.core.errors import InputError
    from medimg.training.comparison import (
        gather,
        rules_differ,
        trained_on_test,
        unique_names,
        versions_differ,
    )

    folders = given_paths(runs)
    job = Job("compare", seed=seed, as_json=as_json or style == "json", **common)
    style = "table" if style == "json" else style
    # a table in a format that was asked for is what -q leaves
    silent, job.quiet = job.quiet, job.quiet and style == "table"
    if reports := verified(folders):
        job.subject = f"{len(reports)}-reports"
        compare_verified(job, reports, [f for f in folders if f not in reports], style)
        return
    job.subject = f"{len(folders)}-runs"
    known = job.manager.metrics()
    for name in asked:
        check_metric(name, list(known))
    with job.progress("Reading runs", len(folders), "run") as bar:
        entries, refused = gather(folders, split, baseline, bar.update)
    if not entries and not any(command_of(f) in ("train", "finetune", "evaluate") for f in folders):
        whys = "; ".join(f"{row['run']}: {row['why']}" for row in refused[:3])
        raise InputError(
            f"none of these is a run folder ({whys})", "For example: medimg compare runs/*"
        )
    base = chosen_baseline(entries, baseline, unique_names(folders), refused)
    result: dict[str, Any] = {"runs": [], "baseline": None, "pairs": []}
    findings = []
    comparable = len(entries) > 1
    if entries:
        from medimg.reports import comparison_tables as tables
        from medimg.reports.conclusions import agreement_line, conclusions
        from medimg.reports.language import Words
        from medimg.training.paired_tests import check_pairs

        if matrix:
            check_pairs(entries)
        metrics = shown_metrics(entries, asked, list(known))
        functions = job.manager.functions({name: known[name] for name in metrics})
        result = compare(
            entries, metrics, functions,
            baseline=base, matrix=matrix, split=split, seed=seed, resamples=resamples,
        )  # fmt: skip
        result["split"] = split
        possible = tables.known_columns(result["runs"])
        mixed = rules_differ(entries)
        shown = (
            [check_column(name, possible, "--columns") for name in columns.split(",")]
            if columns
            else tables.columns_of(result["runs"], metrics, bool(mixed))
        )
        entries = in_order(entries, result, sort, possible, functions)
        words = Words("en")
        result["conclusions"] = [
            *(agreement_line(row, words) for row in result["agreement"]),
            *conclusions(result, words),
        ]
        say_runs(job, result, shown, metrics, style, top)
        findings = [f for f in (trained_on_test(entries), mixed, versions_differ(entries)) if f]
    say_refused(job, refused)
    for finding in findings:
        job.note(finding.told, severity=finding.severity)
        job.note(f"  {finding.hint}" if finding.hint else "")
    plots: list[str] = []
    if comparable:
        from medimg.reports.plots_comparison import comparison_plots
        from medimg.training.configurations import grid

        plots = comparison_plots(entries, result, grid(entries, result["ranked_by"]), job.folder)
        plots += write_tables(job.folder, result)
    # what goes into a file or a pipe is the table alone
    job.quiet = job.quiet or style != "table"
    path = job.finish(
        result
        | {
            "comparable": comparable,
            "refused": refused,
            "metric": asked[0] if asked else None,
            "split": split,
            "artifacts": plots,
        },
        findings=tuple(findings),
    )
    if style != "table" and not silent:
        click.echo(f"Report: {path}", err=True)
    if not comparable:
        job.note("fewer than two runs can be compared", severity="error")
        raise click.exceptions.Exit(1)


def write_tables(folder: Path, result: dict[str, Any]) -> list[str]:
    """Every column of the runs, and every pair, as CSV files; their names."""
    from medimg.core.report import write_atomically
    from medimg.reports import comparison_tables as tables

    columns = tables.known_columns(result["runs"])
    write_atomically(folder / "runs.csv", tables.runs_csv(result["runs"], columns) + "\n")
    write_atomically(folder / "pairs.csv", tables.pairs_csv(result["pairs"]) + "\n")
    return ["runs.csv", "pairs.csv"]


def in_order(
    entries: list[Entry],
    result: dict[str, Any],
    sort: str | None,
    known: list[str],
    functions: dict[str, Any],
) -> list[Entry]:
    """The entries as they are sorted, and the result's runs and pairs with them.

    Raises:
        UsageError: no such column.
    """
    from medimg.reports.comparison_tables import sort_key

    rows = result["runs"]
    if sort == "name":
        rows.sort(key=lambda row: row["name"])
    elif sort != "given":
        column = check_column(sort or result["ranked_by"], known, "--sort")
        higher = getattr(functions.get(column), "higher_is_better", True)
        rows.sort(key=lambda row: sort_key(row, column, higher))
    metrics = list(dict.fromkeys(pair["metric"] for pair in result["pairs"]))
    place = {row["name"]: number for number, row in enumerate(rows)}
    result["pairs"].sort(
        key=lambda p: (
            p["family"] == "best",
            metrics.index(p["metric"]),
            place[p["b"]],
            place[p["a"]],
        )
    )
    by_name = {entry.name: entry for entry in entries}
    return [by_name[row["name"]] for row in rows]
