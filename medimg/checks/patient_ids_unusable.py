"""Patient ids that only look like ids, or that some images lack"""

from __future__ import annotations

import re

from medimg.api import CheckContext, DatasetIndex, Finding, Sample
from medimg.core.checking import MOST_ITEMS, grouped, items
from medimg.core.index import canonical_split

LIKE_A_PATIENT = re.compile(
    r"(?:^|(?<=[/_\-. ]))(?P<id>(?P<word>patient|pat|person|subject|subj|sub|case|pid|pt|donor)"
    r"[-_ ]?\d+)(?![a-z0-9])",
    re.IGNORECASE,
)
# share of the paths that have to look so
MOST_PATHS = 0.9
MOST_FILES = 10
NAMED_BY = "-o 'group_regex=(patient\\d+)' or -o group=COLUMN names the patients"


def check(context: CheckContext, *, images: int = 20, unique: float = 0.98) -> list[Finding]:
    """A warning where ids say the class, the part or nothing, where some images have none, where
    one patient may be written in two ways, and where patients are unknown but paths seem to name
    them; information where each id is unique.

    Numbers that count anew in each series are fine: whoever gave the pattern told them apart.

    Args:
        images: how few images a dataset may have to be looked at.
        unique: patients an image from which on every id counts as unique (0 to 1).
    """
    known = [s for s in context.index.samples if s.group is not None]
    if context.index.patients == "":
        context.not_applicable("there are no patients, as -o group=none says")
    if not known:
        seen = in_names(context.index)
        return [seen] if seen else context.not_applicable("patients are unknown")
    patients = grouped(known, lambda s: s.group)
    found = [*without_one(context), *written_differently(patients)]
    return found if len(known) < images else found + unusable(context, known, patients, unique)


def unusable(
    context: CheckContext,
    known: list[Sample],
    patients: dict[str | None, list[Sample]],
    unique: float,
) -> list[Finding]:
    """What is wrong with the ids as a whole."""
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


def in_names(index: DatasetIndex) -> Finding | None:
    """Patients that nobody named, where paths seem to hold them (`patient003_1.png`)."""
    met = {s.path: match for s in index.samples if (match := LIKE_A_PATIENT.search(s.path))}
    ids = grouped(
        (s for s in index.samples if s.path in met), lambda s: plain_id(met[s.path]["id"])
    )
    several = sum(len(own) > 1 for own in ids.values())
    if len(met) < MOST_PATHS * len(index) or len(ids) < 2 or not several:
        return None
    words = sorted({match["word"] for match in met.values()})
    pattern = f"((?:{'|'.join(words)})[-_ ]?\\d+)" if len(words) > 1 else f"({words[0]}[-_ ]?\\d+)"
    apart = [own for own in ids.values() if len({s.split for s in own} - {None}) > 1]
    first = (apart or list(ids.values()))[0][0]
    said = f", {len(apart):,} of them on two sides of the split" if apart else ""
    return Finding(
        "patient-ids-unusable",
        "warning",
        f"patients are unknown, but the paths seem to name {len(ids):,} for {len(met):,} images, "
        f"such as {met[first.path]['id']} in {first.path}{said}",
        len(apart) or len(ids),
        tuple(
            {"patient": met[own[0].path]["id"], "files": [s.path for s in own[:MOST_FILES]]}
            for own in (apart or list(ids.values()))[:MOST_ITEMS]
        ),
        f"Name them: -o 'group_regex={pattern}'; where they are no patients: -o group=none",
    )


def without_one(context: CheckContext) -> list[Finding]:
    """Images without a patient beside others that have one; readers of file names say so too."""
    bare = [s for s in context.index.samples if s.group is None]
    if not bare or any(f.check == "patient-ids-unusable" for f in context.index.findings):
        return []
    subject = "1 image has" if len(bare) == 1 else f"{len(bare):,} images have"
    return [
        Finding(
            "patient-ids-unusable",
            "warning",
            f"{subject} no patient, {len(context.index) - len(bare):,} have one: whether those "
            "patients stand on two sides can't be told",
            len(bare),
            items(bare),
            "Fill in the patients, or leave those images out.",
        )
    ]


def written_differently(patients: dict[str | None, list[Sample]]) -> list[Finding]:
    """Ids that are one patient's once zeros in front, decimals, case and spaces are set aside."""
    spelt = grouped((own[0] for own in patients.values()), lambda s: plain_id(str(s.group)))
    several = [sorted(str(s.group) for s in own) for own in spelt.values() if len(own) > 1]
    if not several:
        return []
    rows = []
    for ids in several[:MOST_ITEMS]:
        own = [s for who in ids for s in patients[who]]
        splits = sorted({s.split for s in own if s.split})
        rows.append({"patients": ids, "splits": splits, "images": len(own)})
    apart = sum(len(row["splits"]) > 1 for row in rows)  # type: ignore[arg-type]
    subject = "1 patient may be" if len(several) == 1 else f"{len(several):,} patients may be"
    return [
        Finding(
            "patient-ids-unusable",
            "warning",
            f"{subject} written in two ways, such as {' and '.join(several[0])}: each counts as a "
            "patient of its own" + (f", {apart:,} of them on two sides of the split" * bool(apart)),
            len(several),
            tuple(rows),
            "Write each patient in one way. Where they are different people, nothing is wrong.",
        )
    ]


def plain_id(text: str) -> str:
    """`P007`, `p7` and `p 7.0` are one.

    >>> plain_id("P007"), plain_id("p 7.0"), plain_id("IM-0011")
    ('p7', 'p7', 'im-11')
    """
    text = re.sub(r"\.0+$", "", re.sub(r"\s+", "", text.lower()))
    return re.sub(r"(?<!\d)0+(?=\d)", "", text)


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
