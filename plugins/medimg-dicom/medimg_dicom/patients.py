"""Which files must stay on one side of a split, by their headers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from medimg.api import Finding, counted
from medimg_dicom.headers import Header

MOST_ITEMS = 200


def groups_of(headers: Sequence[Header]) -> tuple[dict[str, str | None], str | None, list[Finding]]:
    """(path to group, where it comes from in words, what there is to say).

    The group is PatientID. Where that is blank, or the same in all files as after a crude
    de-identification, studies are kept together instead, or series where the study is one too.
    """
    patients = {h.patient for h in headers}
    if len(patients - {""}) >= 2:
        return by_patient(headers)
    for name, keyword in (("study", "StudyInstanceUID"), ("series", "SeriesInstanceUID")):
        if len({getattr(h, name) for h in headers}) >= 2:
            groups = {h.path: getattr(h, name) or None for h in headers}
            blank = patients == {""}
            words = f"{keyword} of the DICOM headers"
            return groups, words, [unusable(headers, keyword, blank)]
    if patients == {""}:
        return dict.fromkeys((h.path for h in headers), None), None, []
    return {h.path: h.patient for h in headers}, "PatientID of the DICOM headers", []


def by_patient(
    headers: Sequence[Header],
) -> tuple[dict[str, str | None], str | None, list[Finding]]:
    """By PatientID; files without one by their study."""
    groups: dict[str, str | None]
    groups = {h.path: h.patient or h.study or h.series or None for h in headers}
    words = "PatientID of the DICOM headers"
    findings = []
    if joined := one_series(headers):
        groups = {path: joined.get(group or "", group) for path, group in groups.items()}
        words = f"{words}, joined where they share a SeriesInstanceUID"
    if several := shared_series(headers):
        findings.append(several_ids(headers, several, bool(joined)))
    without = [h.path for h in headers if not h.patient]
    if not without:
        return groups, words, findings
    finding = Finding(
        "patient-ids-unusable",
        "warning",
        f"{len(without):,} of {len(headers):,} files {'has' if len(without) == 1 else 'have'} no "
        f"PatientID; what shares a study is kept together instead: {without[0]}",
        len(without),
        tuple({"file": path} for path in without[:MOST_ITEMS]),
        "A patient with several studies may still be on two sides of a split.",
    )
    return groups, f"{words}, StudyInstanceUID where it is blank", [*findings, finding]


def shared_series(headers: Sequence[Header]) -> dict[str, list[str]]:
    """Series of several patients, which by the standard has one, to their PatientIDs."""
    patients: dict[str, dict[str, None]] = {}
    for header in headers:
        if header.series and header.patient:
            patients.setdefault(header.series, {})[header.patient] = None
    return {series: list(ids) for series, ids in patients.items() if len(ids) > 1}


def one_series(headers: Sequence[Header]) -> dict[str, str]:
    """PatientID to the one that stands for all that share a series; empty where all would be one.

    An anonymiser that numbers files gives every image of a patient an id of its own.
    """
    stands: dict[str, str] = {}

    def first(patient: str) -> str:
        while stands.get(patient, patient) != patient:
            patient = stands[patient]
        return patient

    for ids in shared_series(headers).values():
        for other in ids[1:]:
            a, b = sorted((first(ids[0]), first(other)))
            stands[b] = a
    joined = {patient: first(patient) for patient in stands}
    patients = {h.patient for h in headers if h.patient}
    return joined if len({joined.get(p, p) for p in patients}) > 1 else {}


def several_ids(headers: Sequence[Header], several: dict[str, list[str]], joined: bool) -> Finding:
    """The warning that files of one series have different PatientIDs."""
    files = [h.path for h in headers if h.series in several]
    done = (
        "they are kept together" if joined else "as they would all be one patient, they stay apart"
    )
    return Finding(
        "patient-ids-unusable",
        "warning",
        f"{len(files):,} files of {counted(len(several), 'series', 'series')} have several "
        f"PatientIDs in one series, so that an id is no patient; {done}: {files[0]}",
        len(files),
        tuple({"file": path} for path in files[:MOST_ITEMS]),
        "An anonymiser may have numbered files instead of patients: ask for ids by patient.",
    )


def unusable(headers: Sequence[Header], keyword: str, blank: bool) -> Finding:
    """The warning that PatientID tells no patients apart."""
    said = "is blank in all files" if blank else "is the same in all files"
    return Finding(
        "patient-ids-unusable",
        "warning",
        f"PatientID {said} ({len(headers):,}); what shares {keyword} is kept together instead",
        len(headers),
        tuple({"file": h.path} for h in headers[:MOST_ITEMS]),
        "A patient with several of them may still be on two sides of a split; where file names "
        r"hold the patient: -o 'group_regex=(patient\d+)'",
    )


PSEUDONYMS = {"PatientID", "StudyID"}


def private_fields(headers: Sequence[Header]) -> list[Finding]:
    """What may identify a person: names of fields, never their values.

    A study needs its numbers, and whether they are pseudonyms only its keeper knows: headers that
    hold nothing else are information.
    """
    found = [h for h in headers if h.private]
    telling = [h for h in found if not set(h.private) <= PSEUDONYMS]
    numbered = [h for h in found if set(h.private) <= PSEUDONYMS]
    remedy = "Blank them, or replace them by pseudonyms (PS3.15 annex E), before the files go out."
    return [
        *private_finding(telling, headers, "warning", remedy),
        *private_finding(numbered, headers, "info", "Make sure that they are pseudonyms."),
    ]


def private_finding(
    found: Sequence[Header], headers: Sequence[Header], severity: str, hint: str
) -> list[Finding]:
    """The finding about some of the headers, none where there are none."""
    if not found:
        return []
    most = Counter(name for h in found for name in h.private).most_common()
    listed = ", ".join(f"{name} ({n:,})" for name, n in most[:8])
    more = f" and {len(most) - 8} more" if len(most) > 8 else ""
    removed = sum(h.removed for h in found)
    declares = "declares" if removed == 1 else "declare"
    declared = f"; {removed:,} of them {declares} PatientIdentityRemoved" if removed else ""
    return [
        Finding(
            "private-metadata",
            "info" if removed == len(found) else severity,  # type: ignore[arg-type]
            f"{len(found):,} of {counted(len(headers), 'DICOM header')} "
            f"{'has' if len(found) == 1 else 'have'} fields filled in that may identify a person: "
            f"{listed}{more}{declared}",
            len(found),
            tuple({"file": h.path, "fields": ", ".join(h.private)} for h in found[:MOST_ITEMS]),
            hint,
        )
    ]
