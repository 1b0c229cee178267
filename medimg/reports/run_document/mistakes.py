"""Images that were answered wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from medimg.reports.document import Block, Picture, Pictures, Table, Text
from medimg.reports.language import Words
from medimg.reports.study import Study

MOST_MISTAKES = 12


def mistakes(study: Study, words: Words, pictures: bool) -> Iterator[Block]:
    predictions = study.predictions
    if predictions is None:
        yield Text(words("say.mistakes_unknown"))
        return
    from medimg.core.scored import Scored

    positive = study.positive if len(predictions.classes) == 2 else None
    place = predictions.classes.index(positive) if positive in predictions.classes else None  # type: ignore[arg-type]
    cut = study.threshold["value"] if study.threshold and place is not None else None
    labels = predictions.label_numbers()
    decided = Scored(labels, predictions.probabilities, place, cut).decided
    wrong = np.flatnonzero(decided != labels)
    total = words.count(len(labels))
    if not len(wrong):
        yield Text(words("say.no_mistakes", images=total))
        return
    told = {"wrong": words.count(len(wrong)), "images": total}
    yield Text(words("say.mistakes", **told, share=words.share(len(wrong) / len(labels))))
    surest = predictions.probabilities[wrong, decided[wrong]]
    order = wrong[np.argsort(-surest, kind="stable")][:MOST_MISTAKES]
    if pictures:
        root = Path(str(study.recipe.get("dataset") or ""))
        shown = []
        for row in order:
            answer = predictions.classes[decided[row]]
            caption = words(
                "say.mistake_caption",
                label=predictions.labels[row],
                answer=answer,
                probability=words.number(predictions.probabilities[row, decided[row]]),
            )
            uri, small = picture_of(root, predictions.paths[row])
            shown.append(Picture(caption, predictions.paths[row], uri, small))
        if any(picture.uri for picture in shown):
            yield Pictures(tuple(shown))
            return
    yield mistake_table(predictions, order, decided, words)


def mistake_table(predictions: Any, order: Any, decided: Any, words: Words) -> Table:
    with_patients = any(predictions.groups)
    rows = []
    for row in order:
        patient = [predictions.groups[row] or "–"] if with_patients else []
        rows.append(
            (
                predictions.paths[row],
                predictions.labels[row],
                predictions.classes[decided[row]],
                words.number(predictions.probabilities[row, decided[row]]),
                *patient,
            )
        )
    names = ["file", "label", "answer", "probability"] + (["patient"] if with_patients else [])
    return Table(tuple(words(f"column.{n}") for n in names), tuple(rows), "", frozenset({3}))


def picture_of(root: Path, name: str) -> tuple[str, bool]:
    """A data URI of an image that lies as a file in the dataset, and whether it is small."""
    from medimg.core.images import decode_to_input
    from medimg.reports.thumbnails import SMALL_PX, data_uri, longer_side

    base = root if root.is_dir() else root.parent
    try:
        data = (base / name).read_bytes()
        size = min(160, longer_side(data) or 160)
        return data_uri(decode_to_input(data, size, size, 3, "pad")), size <= SMALL_PX
    except Exception:  # an archive, a folder that moved, a broken file: the table says it all
        return "", False
