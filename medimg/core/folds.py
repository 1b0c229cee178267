"""Folds for cross-validation by patient: every image is tested once, no patient on two sides."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medimg.core.errors import InputError, UsageError
from medimg.core.split import VALIDATION_PERCENT, Assignment, counted, deal, make_split
from medimg.core.types import DatasetIndex, Finding, Sample

FEWEST, MOST = 2, 20
# patients of very unequal size: one search in the order of one draw is not always the best
STARTS = 6
FOLD_FIELDS = ("path", "label", "group", "fold")


@dataclass(frozen=True)
class Folds:
    """Folds, and for each the complete split in which it is the test part.

    Args:
        dealt: the images dealt to `fold-1`, `fold-2`, …
        splits: fold by fold: train, val (where one was asked for) and test.
        val_percent: share of what is not tested that validates, in percent.
    """

    dealt: Assignment
    splits: tuple[Assignment, ...]
    val_percent: float

    def findings(self) -> tuple[Finding, ...]:
        """A warning where a class is missing in a part of a fold."""
        gaps = list(self._gaps())
        if not gaps:
            return ()
        of_class: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for label, split, fold in gaps:
            of_class[label][split].append(fold)
        said = [self._said(label, parts) for label, parts in of_class.items()]
        more = f"; and {len(said) - 3} more classes" if len(said) > 3 else ""
        items = tuple({"class": label, "split": split, "fold": n} for label, split, n in gaps)
        hint = "Leave such classes out (-o classes=…), join them, or add patients."
        fewest = min(self.dealt.class_groups[label] for label in of_class)
        if FEWEST < fewest < len(self.splits):
            hint = f"Fewer folds: --folds {fewest}; or l{hint[1:]}"
        return (
            Finding(
                "class-missing-in-split",
                "warning",
                f"not every class is in every part of every fold: {'; '.join(said[:3])}{more}",
                len(gaps),
                items,
                hint,
            ),
        )

    def _gaps(self) -> Iterator[tuple[str, str, int]]:
        """(class, part, fold) wherever a part holds none of a class."""
        for label in self.dealt.class_groups:
            for number, split in enumerate(self.splits, start=1):
                for part, counts in split.counts.items():
                    if not counts.get(label, 0):
                        yield label, part, number

    def _said(self, label: str, parts: Mapping[str, Sequence[int]]) -> str:
        """`RARE (3 patients) is missing in test of folds 4, 5`."""
        places = [
            f"in {part} of fold{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
            for part, numbers in parts.items()
        ]
        have = counted(self.dealt.class_groups[label], self.dealt.unit)
        return f"{label} ({have}) is missing {' and '.join(places)}"


def make_folds(
    samples: Sequence[Sample],
    folds: int,
    seed: int = 0,
    keep_together: Mapping[str, str | None] | None = None,
    val_percent: float = VALIDATION_PERCENT,
) -> Folds:
    """Folds stratified by class in which no patient is on two sides.

    They depend on the seed, the patients and the labels alone, not on the order of listing.
    What is not tested is dealt to train and validation by patient in the same way.

    Args:
        samples: the images.
        folds: how many, 2 to 20.
        keep_together: path to a key, as of `make_split`.
        val_percent: share of the images that are not tested, 0 (no validation part) to below 100.
    Raises:
        UsageError: a number of folds or a share that can't be.
        InputError: fewer patients than folds, or too few to validate by.
    """
    if not FEWEST <= folds <= MOST:
        raise UsageError(f"{folds} folds can't be made", f"Give {FEWEST} to {MOST}.")
    if not 0 <= val_percent < 100:
        raise UsageError(
            f"a validation part can't have {val_percent:g} % of what is not tested",
            "Give a percentage from 0 (none) to below 100: --val-share 15",
        )
    names = [f"fold-{number}" for number in range(1, folds + 1)]
    dealt = deal(samples, dict.fromkeys(names, 1.0), seed, keep_together, "folds", STARTS)
    if not all(dealt.groups.values()):
        raise too_few(dealt)
    splits = tuple(
        _with_test(samples, dealt, name, seed, keep_together, val_percent) for name in names
    )
    return Folds(dealt, splits, val_percent)


def too_few(dealt: Assignment) -> InputError:
    """The error where some folds would be empty."""
    units = sum(dealt.groups.values())
    fewer = f"Fewer folds: --folds {units}; or " if units >= FEWEST else ""
    return InputError(
        f"{len(dealt.groups)} folds can't be made of {counted(units, dealt.unit)}",
        f"{fewer}{'' if fewer else 'Add patients, or '}-o group=none, if the images are "
        "independent."
        if dealt.unit != "image"
        else f"{fewer}add images.".capitalize(),
    )


def _with_test(
    samples: Sequence[Sample],
    dealt: Assignment,
    name: str,
    seed: int,
    keep_together: Mapping[str, str | None] | None,
    val_percent: float,
) -> Assignment:
    """The complete split whose test part is the fold of that name."""
    rest = [s for s in samples if dealt.split_of[s.path] != name]
    ratios = (100 - val_percent, val_percent)
    if val_percent:
        cut = make_split(rest, ratios, seed, keep_together, parts=("train", "val"))
    else:
        cut = deal(rest, {"train": 1.0}, seed, keep_together)
    if not all(cut.groups.values()):
        units = counted(sum(cut.groups.values()), cut.unit)
        raise InputError(
            f"no validation part can be cut beside {name}: {units} are not tested there",
            "Leave it out: --val-share 0",
        )
    tested = dealt.ratios[name]
    return replace(
        cut,
        ratios={**{part: r * (1 - tested) for part, r in cut.ratios.items()}, "test": tested},
        split_of={s.path: cut.split_of.get(s.path, "test") for s in samples},
        counts={**cut.counts, "test": dealt.counts[name]},
        groups={**cut.groups, "test": dealt.groups[name]},
    )


def class_distance(dealt: Assignment) -> tuple[float, str, str]:
    """The largest difference of a fold's share of a class from an equal one: (0..1, class, fold).

    A class of `uncounted_classes` is a finding and not counted here.
    """
    left_out = uncounted_classes(dealt)
    found = [(0.0, "", "")]
    for label in dealt.class_groups:
        total = sum(counts.get(label, 0) for counts in dealt.counts.values())
        if label in left_out:
            continue
        for name, counts in dealt.counts.items():
            found.append((abs(counts.get(label, 0) / total - dealt.ratios[name]), label, name))
    return max(found, key=lambda gap: gap[0])


def uncounted_classes(dealt: Assignment) -> dict[str, int]:
    """Classes with fewer patients than folds, and how many have an image of each."""
    return {label: n for label, n in dealt.class_groups.items() if n < len(dealt.counts)}


def describe(folds: Folds, seed: int) -> str:
    """How the folds were made, in words."""
    by = {"patient": "by patient", "image": "image by image (patients are unknown)"}.get(
        folds.dealt.unit, "by patient where one is known"
    )
    cut = (
        f"{folds.val_percent:g} % of what is not tested validates"
        if folds.val_percent
        else "no validation part"
    )
    return f"{len(folds.splits)} test folds, {by}, stratified by class; {cut}; seed {seed}"


def write_folds(path: Path, index: DatasetIndex, folds: Folds) -> None:
    """`path,label,group,fold`, a row an image, sorted by path; folds are numbered from 1.

    Raises:
        InputError: the file can't be written.
    """
    from medimg.core.report import write_atomically

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FOLD_FIELDS)
    for s in sorted(index.samples, key=lambda s: s.path):
        number = folds.dealt.split_of[s.path].removeprefix("fold-")
        writer.writerow([s.path, s.label or "", s.group or "", number])
    write_atomically(path, text.getvalue())
