"""Patient ids that only look like ids, or that some images lack"""

from __future__ import annotations

from medimg.api import CheckContext, Finding, Sample
from medimg.core.checking import grouped
from medimg.core.index import canonical_split

NAMED_BY = "-o 'group_regex=(patient\\d+)' or -o group=COLUMN names the patients"


def check(context: CheckContext, *, images: int = 20, unique: float = 0.98) -> list[Finding]:
    """A warning where ids say the class, the part or nothing; information where each is unique.

    Numbers that count anew in each series are fine: whoever gave the pattern told them apart.

    Args:
        images: how few images a dataset may have to be looked at.
        unique: patients an image from which on every id counts as unique (0 to 1).
    """
    known = [s for s in context.index.samples if s.group is not None]
    if not known:
        context.not_applicable("patients are unknown")
    if len(known) < images:
        return []
    patients = grouped(known, lambda s: s.group)
    source = context.index.patients or "the ids given"
    problem = meaningless(known, patients)
    if problem:
        return [finding("warning", f"{problem} (from {source})", known, patients)]
    if len(patients) < unique * len(known):
        return []
    same = sum(s.group == stem(s.path) for s in known)
    if same >= unique * len(known):
        message = f"the {len(patients):,} patient ids are the names of the files themselves"
        return [finding("warning", f"{message} (from {source})", known, patients)]
    return [
        finding(
            "info",
            f"{len(patients):,} patients for {len(known):,} images: every id is unique, so that "
            "ids can't show whether a patient stands on two sides; leakage can't be ruled out",
            known,
            patients,
        )
    ]


def meaningless(known: list[Sample], patients: dict[str | None, list[Sample]]) -> str | None:
    """What the ids say instead of a patient, where they do."""
    labels = {s.label for s in known}
    if len(patients) == 1:
        return f"one patient, {known[0].group}, has all {len(known):,} images"
    if all(str(group).strip().lower() in {str(c).lower() for c in labels} for group in patients):
        return "the patient ids are the names of the classes"
    if all(canonical_split(str(group)) for group in patients):
        return "the patient ids are the names of the parts"
    whole = {own[0].label for own in patients.values() if len({s.label for s in own}) == 1}
    if len(patients) == len(labels) == len(whole):
        return f"each class has one patient ({len(patients)} ids for {len(known):,} images)"
    return None


def finding(
    severity: str, message: str, known: list[Sample], patients: dict[str | None, list[Sample]]
) -> Finding:
    """The finding, with some ids as its items."""
    first = list(patients.items())[:20]
    return Finding(
        "patient-ids-unusable",
        severity,  # type: ignore[arg-type]
        message,
        len(known),
        tuple({"patient": who, "images": len(own)} for who, own in first),
        f"Look whether they are patients: {NAMED_BY}, -o group=none says that there are none.",
    )


def stem(path: str) -> str:
    """A file's name without its extension."""
    return path.rpartition("/")[2].rpartition(".")[0]
