"""Paired tests of runs on the samples that they share, corrected within each family."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from medimg.core.errors import InputError
from medimg.core.scored import Array, Scored, UndefinedMetric
from medimg.statistics.comparison import Comparison
from medimg.statistics.copies import as_pictures, joined
from medimg.training.comparison import Entry

# images of each kind that DeLong's variance needs
SMALL = 2
LEVEL = 0.05
# numbers that resampling may touch before fewer resamples do
MOST_WORK = 600_000_000
FEWEST_RESAMPLES = 200
RESAMPLES = 2000
Row = dict[str, Any]
Pair = tuple[Entry, Entry]


def resamples_for(runs: int, images: int) -> int:
    """How many resamples there is time for: 2,000 unless there are many runs of many images.

    >>> resamples_for(3, 600), resamples_for(1000, 3000)
    (2000, 200)
    """
    affordable = MOST_WORK // max(1, runs * images)
    return max(FEWEST_RESAMPLES, min(RESAMPLES, affordable))


class Tests:
    """Tests of pairs among runs on the same samples; what a run contributes is computed once.

    Independent images: DeLong for AUROC (where its variance is 0, the exchange of ranks),
    exact McNemar for accuracy, sensitivity and specificity. Where patients are known, and for
    every other metric, the paired bootstrap by patient, or by image. A metric that needs a
    threshold is not tested
    between runs whose thresholds were chosen by different rules.

    Args:
        entries: two or more, as `gather` gives them.
        functions: name to metric.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        functions: Mapping[str, Callable[..., Any]],
        *,
        seed: int = 0,
        resamples: int = RESAMPLES,
    ) -> None:
        self.entries = entries
        self.functions = functions
        self.seed = seed
        self.resamples = resamples
        self.samples = entries[0].samples
        # patients with one image each make the images independent
        groups: Sequence[Any] | None = self.samples.groups
        copies = joined(groups, [digest for digest, _ in self.samples.keys])
        self.by_picture = copies is not None and groups is None
        groups = groups if copies is None else copies
        self.groups = groups if groups and len(set(groups)) < len(groups) else None
        self._scored: dict[str, Scored] = {}
        self._drawn: dict[tuple[str, str], Array] = {}
        self._areas: tuple[list[str], Any] | None = None

    def family(
        self, pairs: Sequence[Pair], metric: str, name: str, tests: int | None = None
    ) -> list[Row]:
        """Rows of `pairs`, the first run minus the second, with Holm's correction over them.

        Args:
            name: of the family: `baseline`, `best` or `all pairs`.
            tests: that the correction counts, where these pairs were chosen among more by what
                the same images say: all pairs, where the others are told from the best.
        """
        from medimg.statistics.holm import holm

        self._ready(pairs, metric)
        rows = [self.row(a, b, metric, name) for a, b in pairs]
        tested = [row for row in rows if row["p"] is not None]
        count = len(tested) if tests is None else tests
        for row in rows:
            row["tests"] = count
        for row, adjusted in zip(tested, holm([r["p"] for r in tested], count), strict=True):
            row["p_holm"] = float(adjusted)
        return rows

    def row(self, a: Entry, b: Entry, metric: str, family: str) -> Row:
        """One pair: difference, interval, test and p, or why there are none."""
        row: Row = {
            "a": a.name,
            "b": b.name,
            "metric": metric,
            "family": family,
            "difference": None,
            "ci95": None,
            "test": None,
            "p": None,
            "p_holm": None,
            "tests": None,
            "interval": None,
            "reason": None,
        }
        why = self.untestable(a, b, metric)
        if why:
            return row | {"reason": why}
        try:
            found = self.tested(a, b, metric)
            if self.by_picture:
                found = in_pictures(found)
        except UndefinedMetric as error:
            return row | {"reason": error.reason}
        return row | {
            "difference": found.difference,
            "ci95": found.ci95,
            "test": found.method,
            "interval": found.interval,
            "p": found.p,
            "reason": found.reason,
        }

    def untestable(self, a: Entry, b: Entry, metric: str) -> str:
        """Why a pair is not tested on a metric; empty where it is."""
        free = getattr(self.functions[metric], "threshold_free", False)
        if free or a.rule() == b.rule():
            return ""
        return f"thresholds by different rules: {a.rule()} and {b.rule()}"

    def tested(self, a: Entry, b: Entry, metric: str) -> Comparison:
        """The test that fits the metric and the data."""
        if self.uses_delong(metric):
            from medimg.statistics.delong import apart

            names, areas = self._all_areas()
            found = apart(areas, names.index(a.name), names.index(b.name))
            return found if found.p is not None else self.exchanged(a, b)
        rows = self.right_answers(metric)
        if rows is None:
            return self.bootstrapped(a, b, metric)
        return self.mcnemar(a, b, rows)

    def exchanged(self, a: Entry, b: Entry) -> Comparison:
        from medimg.statistics.rank_exchange import rank_exchange

        place = self.entries[0].place()
        scores = (run.probabilities[:, place] for run in (a, b))
        return rank_exchange(self.samples.labels == place, *scores)

    def mcnemar(self, a: Entry, b: Entry, rows: Array) -> Comparison:
        from medimg.statistics.mcnemar import mcnemar

        first, second = ((self.scored(run).decided == self.samples.labels)[rows] for run in (a, b))
        return mcnemar(first, second)

    def uses_delong(self, metric: str) -> bool:
        """Whether it is AUROC of a positive class on enough independent images."""
        place = self.entries[0].place()
        if metric != "auroc" or self.groups is not None or place is None:
            return False
        positive = self.samples.labels == place
        return min(positive.sum(), (~positive).sum()) >= SMALL

    def right_answers(self, metric: str) -> Array | None:
        """Bool[N], the independent images that a share of right answers is about; None for other
        metrics, and where patients are known."""
        place = self.entries[0].place()
        if self.groups is not None:
            return None
        if metric == "accuracy":
            return np.ones(len(self.samples.labels), dtype=bool)
        if metric in ("sensitivity", "specificity") and place is not None:
            positive = self.samples.labels == place
            return positive if metric == "sensitivity" else ~positive
        return None

    def omnibus(self, metric: str) -> Row | None:
        """Cochran's Q for accuracy of more than two runs on independent images, else None."""
        from medimg.statistics.cochran import METHOD, cochran

        rules = {entry.rule() for entry in self.entries}
        if (
            metric != "accuracy"
            or self.groups is not None
            or len(self.entries) < 3
            or len(rules) > 1
        ):
            return None
        right = [self.scored(e).decided == self.samples.labels for e in self.entries]
        found = cochran(right)
        return {
            "metric": metric,
            "test": METHOD,
            "statistic": found.statistic,
            "df": found.df,
            "p": found.p,
            "runs": len(right),
            "images": found.images,
        }

    # -- what a run contributes, once ------------------------------------------------------------

    def scored(self, entry: Entry) -> Scored:
        if entry.name not in self._scored:
            self._scored[entry.name] = entry.scored()
        return self._scored[entry.name]

    def _all_areas(self) -> tuple[list[str], Any]:
        if self._areas is None:
            from medimg.statistics.delong import delong

            place = self.entries[0].place()
            assert place is not None
            scores = [entry.probabilities[:, place] for entry in self.entries]
            found = delong(self.samples.labels == place, *scores)
            self._areas = ([entry.name for entry in self.entries], found)
        return self._areas

    def bootstrapped(self, a: Entry, b: Entry, metric: str) -> Comparison:
        from medimg.statistics.paired_bootstrap import told_apart, units_apart

        function = self.functions[metric]
        first, second = self.scored(a), self.scored(b)
        difference = float(function(first)) - float(function(second))
        self._draw([a, b], metric)
        drawn = self._drawn[a.name, metric] - self._drawn[b.name, metric]
        return told_apart(
            difference, drawn, units_apart(first, second, function, self.groups), self.groups
        )

    def _ready(self, pairs: Sequence[Pair], metric: str) -> None:
        """Draws the resamples of all runs of a family in one go, where it will need them."""
        testable = [(a, b) for a, b in pairs if not self.untestable(a, b, metric)]
        if self.uses_delong(metric) or self.right_answers(metric) is not None:
            return
        self._draw(list({e.name: e for pair in testable for e in pair}.values()), metric)

    def _draw(self, entries: Sequence[Entry], metric: str) -> None:
        """A metric of some runs in each resample, the same resamples for all of them."""
        from medimg.statistics.resampling import replicates, resampled

        missing = [e for e in entries if (e.name, metric) not in self._drawn]
        if not missing:
            return
        parts: dict[str, list[Array]] = {entry.name: [] for entry in missing}
        for weights in resampled(self.samples.labels, self.groups, self.resamples, self.seed):
            for entry in missing:
                scored = self.scored(entry)
                parts[entry.name].append(replicates(self.functions[metric], scored, weights))
                # what it keeps of these weights is as large as they are
                scored._memo.clear()
        for name, drawn in parts.items():
            self._drawn[name, metric] = np.concatenate(drawn)


def in_pictures(found: Comparison) -> Comparison:
    """The same where copies of pictures are drawn together and patients are unknown."""
    return replace(
        found,
        method=as_pictures(found.method),
        reason=found.reason and as_pictures(found.reason),
        interval=found.interval and as_pictures(found.interval),
    )


# -- families ------------------------------------------------------------------------------------


def against(entries: Sequence[Entry], reference: Entry) -> list[Pair]:
    """Each other run and the reference."""
    return [(entry, reference) for entry in entries if entry is not reference]


def all_pairs(runs: int) -> int:
    """How many pairs there are among some runs."""
    return runs * (runs - 1) // 2


def every_pair(entries: Sequence[Entry]) -> list[Pair]:
    """All pairs, the later run minus the earlier one."""
    return [(b, a) for place, a in enumerate(entries) for b in entries[place + 1 :]]


def best_of(entries: Sequence[Entry], metric: str, function: Any) -> Entry | None:
    """The run with the best value of a metric; None where no run has one."""
    sign = 1 if getattr(function, "higher_is_better", True) else -1
    known = [e for e in entries if (e.metrics.get(metric) or {}).get("value") is not None]
    return max(known, key=lambda e: sign * e.metrics[metric]["value"], default=None)


def marks(entries: Sequence[Entry], best: Entry | None, rows: Sequence[Row]) -> dict[str, str]:
    """`best`; `tied` for every run that its family can't tell from the best, `untested` for those
    that have no p.

    Args:
        rows: pairs in the metric that ranks; those with the best among them count.
    """
    if best is None:
        return {}
    found = {best.name: "best"}
    for row in rows:
        if best.name in (row["a"], row["b"]):
            other = row["b"] if row["a"] == best.name else row["a"]
            # without p, but not for want of a difference
            if row["p_holm"] is None and row["difference"] != 0:
                found.setdefault(other, "untested")
            elif row["p_holm"] is None or row["p_holm"] >= LEVEL:
                found.setdefault(other, "tied")
    return found


def check_pairs(entries: Sequence[Entry], most: int = 60) -> None:
    """Raises InputError where all pairs would be more than anybody reads."""
    if len(entries) > most:
        count = all_pairs(len(entries))
        raise InputError(
            f"all pairs of {len(entries):,} runs are {count:,}",
            f"Name at most {most} runs beside --matrix, or test them against one: --baseline RUN",
        )
