"""One patient with a large share of a class or of a part"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from medimg.api import CheckContext, DatasetIndex, Finding, Sample
from medimg.core.checking import MOST_ITEMS

Place = tuple[str | None, str]


def check(
    context: CheckContext, *, share: float = 0.25, images: int = 20, times: float = 2.0
) -> list[Finding]:
    """A warning: what is learnt or measured there is that patient.

    Args:
        share: of a class's images, in the whole dataset or one part, that is too many (0 to 1).
        images: how few images a class may have there to be looked at.
        times: how often an equal share the patient's must be, so that few patients are no fault.
    """
    index = context.index
    if not index.groups():
        context.not_applicable("patients are unknown")
    found = [
        (place, patient, n, counts.total())
        for place, counts in patients_by_place(index)
        for patient, n in counts.most_common(1)
        if counts.total() >= images
        and len(counts) > 1
        and n / counts.total() >= max(share, times / len(counts))
    ]
    if not found:
        return []
    found.sort(key=lambda f: -f[2] / f[3])
    place, patient, n, total = found[0]
    more = f" (and {len(found) - 1} more such)" if len(found) > 1 else ""
    return [
        Finding(
            "patient-dominates",
            "warning",
            f"patient {patient} has {n / total:.0%} of the images of {place_in_words(place)} "
            f"({n:,} of {total:,}){more}",
            len(found),
            tuple(
                {"patient": who, "class": label}
                | ({"split": split} if split else {})
                | {"images": own, "of": everything, "share": round(own / everything, 3)}
                for (split, label), who, own, everything in found[:MOST_ITEMS]
            ),
            "A result there is that patient's. Take fewer images of that patient, or read "
            "intervals over patients, not over images.",
        )
    ]


def patients_by_place(index: DatasetIndex) -> Iterator[tuple[Place, Counter[str]]]:
    """Each class, in all and in each part, with its images by patient."""
    counts: dict[Place, Counter[str]] = {}
    for sample in index.samples:
        for place in places(sample):
            if sample.group is not None:
                counts.setdefault(place, Counter())[sample.group] += 1
    yield from counts.items()


def places(sample: Sample) -> Iterator[Place]:
    """Where a sample counts: in its class, and in its class's part."""
    yield None, str(sample.label)
    if sample.split is not None:
        yield sample.split, str(sample.label)


def place_in_words(place: Place) -> str:
    split, label = place
    return f"{label} in {split}" if split else f"the class {label}"
