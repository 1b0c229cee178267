"""The ledger of looks: how often the same images have been evaluated by runs in one folder."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medimg.core.runs import REPORT, Predictions, pictures_in
from medimg.core.types import Finding

Pictures = Counter[tuple[str, str]]

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


def looks(folder: Path, predictions: Predictions) -> int:
    """How often these images have been looked at as this part by runs in a folder, this time
    included."""
    pictures = pictures_of(predictions)
    digest = digest_of(pictures)
    return 1 + sum(
        looked_at(file, predictions.split, digest, pictures) for file in evaluations_under(folder)
    )


def looked_at(file: Path, split: str, digest: str, pictures: Pictures) -> bool:
    """Whether a report is an evaluation of these pictures as this part."""
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        if report["command"] != "evaluate" or report["result"]["split"] != split:
            return False
        if told := report["result"].get("pictures"):
            return bool(told == digest)
        # reports of before there was a digest
        return pictures_in(file.parent / "predictions.csv") == pictures
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


def reused(count: int, split: str) -> list[Finding]:
    """`test-reused`: information from the second look on, a warning from the tenth."""
    if split != "test" or count < 2:
        return []
    return [
        Finding(
            "test-reused",
            "warning" if count >= OFTEN else "info",
            f"this test part has been looked at {count} times by runs here: the best number of "
            "many looks is better than what new images will give",
            count,
            hint="Choose on validation, and look at test once; or keep images that nobody has "
            "looked at for the last word.",
        )
    ]
