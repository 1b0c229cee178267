"""The report of a run as a document: data, split, model, curves, metrics, mistakes, checklists."""

from __future__ import annotations

from medimg.reports.checklists import checklist_sections
from medimg.reports.document import Document, Section
from medimg.reports.language import Words
from medimg.reports.run_document.calibration import calibration
from medimg.reports.run_document.data import data, split
from medimg.reports.run_document.limits import limits, reproduce
from medimg.reports.run_document.metrics import metrics
from medimg.reports.run_document.mistakes import mistakes
from medimg.reports.run_document.subgroups import subgroups
from medimg.reports.run_document.summary import headline, remarks, summary
from medimg.reports.run_document.training import curves, model
from medimg.reports.study import Study


def run_document(study: Study, language: str = "en", pictures: bool = True) -> Document:
    """Everything that is known of a run.

    Args:
        pictures: images that were answered wrongly are shown, where they can still be read.
    """
    words = Words(language)
    sections = [
        Section("summary", words("section.summary"), tuple(summary(study, words))),
        Section("data", words("section.data"), tuple(data(study, words))),
        Section("split", words("section.split"), tuple(split(study, words))),
        Section("model", words("section.model"), tuple(model(study, words))),
        Section("curves", words("section.curves"), tuple(curves(study, words))),
        Section("metrics", words("section.metrics"), tuple(metrics(study, words))),
        Section("calibration", words("section.calibration"), tuple(calibration(study, words))),
        Section("subgroups", words("section.subgroups"), tuple(subgroups(study, words))),
        Section("mistakes", words("section.mistakes"), tuple(mistakes(study, words, pictures))),
        Section("limits", words("section.limits"), tuple(limits(study, words))),
        Section("reproduce", words("section.reproduce"), tuple(reproduce(study, words))),
        *checklist_sections(study, words),
    ]
    if not study.training:
        sections = [s for s in sections if s.anchor not in ("split", "model", "curves")]
    verdict, tone = headline(study, words)
    return Document(
        language=language,
        kind=words("page.kind_predictions" if study.made_elsewhere else "page.kind_run"),
        title=study.name,
        verdict=verdict,
        tone=tone,
        notes=tuple(remarks(study, words)),
        sections=tuple(s for s in sections if s.blocks),
        version=str((study.first.get("medimg") or {}).get("version", "")),
    )
