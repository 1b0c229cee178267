"""One command at work: what it prints, its progress, its run folder and its report."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medimg.core.as_typed import WORDS, filled, words_for
from medimg.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medimg.core.types import DatasetIndex, Finding, RuntimeInfo
    from medimg.manager import PluginManager

# these print what the reader found among all that they find
TELL_ALL = ("verify", "inspect")
COLOURS = {"error": "red", "warning": "yellow", "info": "cyan"}


class Job:
    """What every command that writes a report shares.

    Args:
        command: its name (`lr-find`).
        seed, out, name, as_json, quiet, verbose, no_progress: as of `report_options`.
        arguments: the command line, for the report.
        settings: every option resolved, for the report.
        folder: an existing folder to write into (evaluate writes into its run's); default a
            new run folder, made when it is first needed.
        writes: whether there will be a report; False for what only lists.
    Raises:
        InputError: the run folder's name is taken, or nothing can be written there. After the
            work would be too late.
    """

    def __init__(
        self,
        command: str,
        *,
        seed: int = 0,
        out: str = "runs",
        name: str | None = None,
        as_json: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        no_progress: bool = False,
        arguments: list[str] | None = None,
        settings: Mapping[str, Any] | None = None,
        folder: Path | None = None,
        writes: bool = True,
    ) -> None:
        self.command = command
        self.seed = seed
        self.out = Path(out)
        self.name = name
        self.as_json = as_json
        self.quiet = quiet
        self.verbose = verbose
        self.no_progress = no_progress
        context = click.get_current_context(silent=True)
        self.arguments = sys.argv[1:] if arguments is None else arguments
        self.settings = dict((context.params if context else {}) if settings is None else settings)
        self.subject = "run"
        # what stands in commands for DATASET and RUN; the error boundary takes it from the context
        self.words: dict[str, str] = context.meta.setdefault(WORDS, {}) if context else {}
        self.words.update(words_of(context.params if context else {}))
        self._opened = False
        self.report_path: Path | None = None
        self._folder = folder
        self._started = time.perf_counter()
        if writes:
            self._check_folder()
        self._warn_of_broken_plugins()

    def _check_folder(self) -> None:
        from medimg.core.runs import check_new_run_folder, check_writable

        if self._folder is None:
            check_new_run_folder(self.out, self.name)
        else:
            check_writable(self._folder)

    def _warn_of_broken_plugins(self) -> None:
        for status in self.manager.broken():
            self.note(
                f"The plugin {status.distribution} is broken and left out: {status.reason}",
                severity="warning",
            )
        for conflict in self.manager.conflicts():
            self.note(conflict.reason, severity="warning")

    # -- printing ----------------------------------------------------------------------------

    def say(self, text: str = "") -> None:
        """A line of the result: standard output, or standard error under --json."""
        if not self.quiet:
            click.echo(filled(text, self.words), err=self.as_json)

    def note(self, text: str, severity: str = "info") -> None:
        """A remark on standard error; warnings and errors even when quiet."""
        if self.quiet and severity == "info":
            return
        prefix = "" if severity == "info" else f"{severity.title()}: "
        click.secho(prefix + filled(text, self.words), err=True, fg=COLOURS.get(severity))

    def detail(self, text: str) -> None:
        """A remark that only -v shows."""
        if self.verbose:
            click.echo(text, err=True)

    @contextmanager
    def progress(self, label: str, total: int | None, unit: str = "img") -> Iterator[Any]:
        """A bar on standard error; call `.update(n)`. No bar where nobody would see it."""
        from tqdm import tqdm

        # its watching thread would keep the work from being forked
        tqdm.monitor_interval = 0
        hidden = self.quiet or self.no_progress or not sys.stderr.isatty()
        with tqdm(
            total=total, desc=label, unit=unit, file=sys.stderr, disable=hidden, leave=False
        ) as bar:
            yield bar

    # -- data --------------------------------------------------------------------------------

    @property
    def manager(self) -> PluginManager:
        from medimg.manager import plugins

        return plugins()

    def open(
        self,
        dataset: str,
        layout: str | None = None,
        options: Mapping[str, str] | None = None,
        positive: str | None = None,
        splits: str | None = None,
    ) -> DatasetIndex:
        """The index of DATASET, and a line that says how it was read.

        Args:
            splits: the file that is to be applied to it, for the next steps.
        Raises:
            InputError, UsageError, PluginError: see `medimg.opening.open_dataset`.
        """
        from medimg.opening import open_dataset

        # what a command opens first it is about
        if not self._opened:
            reading = {"layout": layout, "options": options, "positive": positive}
            self.words.update(words_for({"dataset": dataset, **reading, "splits": splits}))
            self._opened = True
        index = open_dataset(
            dataset,
            layout=layout,
            options=options or {},
            manager=self.manager,
            registry=self.manager.registry(),
            positive=positive,
        )
        self.subject = index.name
        self.detail(f"Read as layout {index.layout}: {index.reason}")
        if self.command not in TELL_ALL:
            self._tell_of_broken_rows(index)
        return index

    def _tell_of_broken_rows(self, index: DatasetIndex) -> None:
        """What a table lost on the way: its rows are not all there."""
        for finding in index.findings:
            if finding.check == "csv-encoding" and finding.severity != "info":
                self.note(finding.told, severity=finding.severity)
                self.note(f"  {finding.hint}")

    def scan(self, index: DatasetIndex) -> Any:
        """One pass over the files, with a bar: path to ScanRecord."""
        from medimg.core.scan import scan

        with self.progress("Reading images", len(index)) as bar:
            return scan(index, progress=bar.update)

    # -- run folder and report ---------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """The run folder, made when it is first needed."""
        if self._folder is None:
            from medimg.core.runs import new_run_folder

            self._folder = new_run_folder(self.out, self.command, self.subject, self.name)
        return self._folder

    def finish(
        self,
        result: Any,
        *,
        index: DatasetIndex | None = None,
        fingerprint: str | None = None,
        split_hash: str | None = None,
        findings: tuple[Finding, ...] = (),
        runtime: RuntimeInfo | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Path:
        """Writes report.json last, prints it under --json, and returns its path."""
        from medimg.core import report as reports

        report = reports.build(
            self.command,
            result,
            arguments=self.arguments,
            settings={**self.settings, **(settings or {})},
            seed=self.seed,
            seconds=time.perf_counter() - self._started,
            plugins=self.manager.versions(),
            dataset=reports.summarise(index, fingerprint, split_hash) if index else None,
            findings=findings,
            runtime=runtime,
        )
        text = reports.to_json(report)
        path = self.folder / "report.json"
        reports.write_atomically(path, text)
        self.report_path = path
        if self.as_json:
            click.echo(text, nl=False)
        else:
            self.say(f"Report: {path}")
        return path


def words_of(given: Mapping[str, Any]) -> dict[str, str]:
    """DATASET and RUN as they were given to a command."""
    from shlex import quote

    dataset, run = given.get("dataset"), given.get("run")
    words = {"RUN": quote(run)} if isinstance(run, str) else {}
    return {**words, **words_for(given)} if isinstance(dataset, str) else words


def existing_folder(path: str, what: str) -> Path:
    """A folder that exists.

    Raises:
        InputError: it doesn't, or is a file.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(
            f"the {what} {path} does not exist"
            if not folder.exists()
            else f"the {what} {path} is no folder"
        )
    return folder
