"""The ledger of looks: how often the same images have been evaluated by runs in one folder."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medimg.core.runs import REPORT, Predictions, pictures_in
from medimg.core.types import Finding

Pictures = Counter[tuple[str, str]]

PREDICTIONS = "predictions.csv"
# from here on the best of the runs owes something to having been looked for
OFTEN = 10


def pictures_of(predictions: Predictions) -> Pictures:
    """(sha256, label) of each image: the same ones count wherever they lie and however given."""
    return Counter(zip(predictions.sha256, predictions.labels, strict=True))


def digest_of(pictures: Pictures) -> str:
    """One line that tells a set of labelled pictures from others, whatever their order."""
    rows = sorted(f"{digest}\t{label}\t{n}" for (digest, label), n in pictures.items())
    return "sha256:" + hashlib.sha256("\n".join(rows).encode("utf-8", "replace")).hexdigest()


def evaluations_under(folder: Path) -> Iterator[Path]:
    """The report of every evaluation that stands in a folder of runs."""
    yield from folder.glob(f"*/evaluate/*/{REPORT}")
    yield from folder.glob(f"*/{REPORT}")


@dataclass(frozen=True)
class Looks:
    """How often images have been looked at by evaluations in folders of runs.

    Args:
        times: evaluations of a part of that name that share an image.
        partly: of them, those that hold not all of the images, and how many they hold.
    """

    times: int
    partly: tuple[tuple[str, int], ...] = ()

    def rows(self) -> list[dict[str, Any]]:
        """The `looks_in_part` of a report."""
        return [{"evaluation": place, "shared": shared} for place, shared in self.partly]


def looks(
    folders: Iterable[Path],
    split: str,
    labelled: Iterable[tuple[str, str]],
    whole: Iterable[Path] = (),
) -> Looks:
    """How often images have been looked at as this part by runs in some folders, as of now.

    Pictures count, whatever their labels: a part of the same pictures, or the same ones labelled
    anew, is no new test.

    Args:
        labelled: (sha256, label) of each image.
        whole: reports of evaluations of exactly these images, which need not be read again.
    """
    pictures = Counter(labelled)
    ours = {digest for digest, _ in pictures} - {""}
    known = {digest_of(pictures): len(ours)}
    partly = []
    reports = {file.resolve(): file for f in folders for file in evaluations_under(f)}
    read = {file.resolve() for file in whole}
    times = len(read)
    for place, file in reports.items():
        if place in read:
            continue
        shared = shared_pictures(file, split, ours, known)
        times += bool(shared)
        if 0 < shared < len(ours):
            partly.append((file.parent.as_posix(), shared))
    return Looks(times, tuple(partly))


def shared_pictures(file: Path, split: str, ours: set[str], known: dict[str, int]) -> int:
    """How many of our pictures an evaluation of this part looked at.

    Args:
        known: what was counted before, by the digest of the pictures: read once each.
    """
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        if report["command"] != "evaluate" or report["result"]["split"] != split:
            return 0
        told = report["result"].get("pictures")
        if told in known:
            return known[told]
        theirs = {digest for digest, _ in pictures_in(file.parent / PREDICTIONS)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0
    shared = len(ours & theirs)
    if told:
        known[told] = shared
    return shared


def looked_at(file: Path, split: str, digest: str, pictures: Pictures) -> bool:
    """Whether a report is an evaluation of these labelled pictures as this part."""
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        if report["command"] != "evaluate" or report["result"]["split"] != split:
            return False
        if told := report["result"].get("pictures"):
            return bool(told == digest)
        # reports of before there was a digest
        return pictures_in(file.parent / PREDICTIONS) == pictures
    except (OSError, ValueError, KeyError, TypeError):
        return False


def linear_baseline(
    folder: Path, predictions: Predictions, run: str | None
) -> dict[str, Any] | None:
    """The newest evaluation of a run of the linear backend on these images, beside `run`.

    Returns:
        its name and its metrics; None where there is none.
    """
    pictures = pictures_of(predictions)
    digest = digest_of(pictures)
    found: list[tuple[str, dict[str, Any]]] = []
    for file in folder.glob(f"*/evaluate/*/{REPORT}"):
        name = file.parents[2].name
        if name == run or not looked_at(file, predictions.split, digest, pictures):
            continue
        report = json.loads(file.read_text(encoding="utf-8"))
        result = report["result"]
        if result["training"].get("backend") == "linear":
            found.append((report["created"], {"run": name, "metrics": result["metrics"]}))
    return max(found, key=lambda pair: pair[0])[1] if found else None


def reused(
    count: int, split: str, partly: Sequence[Mapping[str, Any]] = (), images: int = 0
) -> list[Finding]:
    """`test-reused`: information from the second look on, a warning from the tenth.

    Args:
        count: looks, this one included.
        partly: the `looks_in_part` of the report.
        images: of the part.
    """
    if split != "test" or count < 2:
        return []
    return [
        Finding(
            "test-reused",
            "warning" if count >= OFTEN else "info",
            f"this test part has been looked at {count} times by runs here: the best number of "
            f"many looks is better than what new images will give{in_part(partly, images)}",
            count,
            tuple(dict(row) for row in partly[:1000]),
            hint="Choose on validation, and look at test once; or keep images that nobody has "
            "looked at for the last word.",
        )
    ]


def in_part(partly: Sequence[Mapping[str, Any]], images: int) -> str:
    """`; 2 of these looks share 40 to 100 of the 140 images`, empty where all share all."""
    if not partly:
        return ""
    shared = sorted(row["shared"] for row in partly)
    told = f"{shared[0]:,}" + (f" to {shared[-1]:,}" if shared[-1] > shared[0] else "")
    verb = "shares" if len(partly) == 1 else "share"
    return f"; {len(partly)} of these looks {verb} {told} of the {images:,} images"
