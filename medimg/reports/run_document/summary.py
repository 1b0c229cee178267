"""The top of the report: its one sentence, what stands under it, and the facts in short."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from medimg.reports.document import Block, Text, Tone
from medimg.reports.language import Words
from medimg.reports.run_document.facts import facts
from medimg.reports.study import Study


def headline(study: Study, words: Words) -> tuple[str, Tone]:
    """The one sentence of the report."""
    name, cells = told_of(study), study.evaluated.get("metrics") or {}
    if name is None:
        return words("say.not_evaluated"), "warning"
    part = study.evaluated.get("split")
    told = words(
        headline_key(study),
        metric=words.metric(name),
        value=words.with_interval(cells[name]),
        images=words.images(study.evaluated["images"], study.evaluated.get("groups")),
        split=words.part(str(part)),
        seen=words.count(study.seen_before),
    )
    severities = {f["severity"] for w in ("training", "evaluation") for f in study.findings(w)}
    tone: Tone = (
        "error" if "error" in severities else "warning" if "warning" in severities else "ok"
    )
    return told, tone


def told_of(study: Study) -> str | None:
    """The metric of the headline; None where there is none to tell."""
    cells = study.evaluated.get("metrics") or {}
    return next((n for n in ("auroc", "accuracy") if (cells.get(n) or {}).get("value")), None)


def headline_key(study: Study) -> str:
    """Which sentence is true: what training has seen decides what the numbers are worth."""
    if study.evaluated.get("split") != "test":
        return "say.headline_part"
    if study.made_elsewhere:
        return "say.headline_elsewhere"
    if study.seen_before:
        return "say.headline_seen"
    if not study.is_external and study.parts and study.parts.shared:
        return "say.headline_patients_seen"
    return "say.headline"


def remarks(study: Study, words: Words) -> Iterator[Text]:
    """What stands under the headline."""
    if study.evaluated.get("phantom"):
        yield Text(words("page.phantom"), "note")
    found = [f["severity"] for w in ("training", "evaluation") for f in study.findings(w)]
    errors, warnings = found.count("error"), found.count("warning")
    if errors or warnings:
        told = [words.errors(errors)] if errors else []
        told += [words.warnings(warnings)] if warnings else []
        what = words.listed(told)
        yield Text(words("say.problems", what=what), "error" if errors else "warning")
    if not study.evaluation:
        yield Text(words("say.evaluate_next"), "note", f"medimg evaluate {study.folder}")
    cell = (study.evaluated.get("metrics") or {}).get(told_of(study)) or {}
    if cell.get("ci95") and cell.get("method"):
        yield Text(words("say.interval_by", method=words.phrase(cell["method"])), "soft")
    if majority := majority_line(study, words):
        yield Text(majority, "soft")
    yield Text(words("page.not_for_diagnosis"), "soft")


def majority_line(study: Study, words: Words) -> str:
    """How often the commonest class of training would be right, and that of these images."""
    cell = (study.evaluated.get("baseline") or {}).get("accuracy") or {}
    here = {
        n: row.get("support") or 0 for n, row in (study.evaluated.get("per_class") or {}).items()
    }
    if cell.get("value") is None or not any(here.values()):
        return ""
    taught = (study.dataset.get("splits") or {}).get("train") if study.training else None
    name, common = commonest(taught or here), commonest(here)
    told = words("say.beats_majority", name=name, value=words.share(cell["value"]))
    if name == common:
        return told
    share = words.share(here[common] / sum(here.values()))
    return f"{told} {words('say.majority_differs', name=name, here=common, value=share)}"


def commonest(counts: Mapping[str, int]) -> str:
    return max(counts, key=lambda name: counts[name])


def summary(study: Study, words: Words) -> Iterator[Block]:
    result, backend = study.evaluated, study.backend
    evaluated = None
    if result:
        images = words.images(result["images"], result.get("groups"))
        evaluated = words("value.evaluated", split=words.part(result["split"]), images=images)
        if study.is_external:
            evaluated += f" ({study.tested.get('name')})"
    looks = study.test_looks
    yield facts(
        [
            ("model", study.model),
            ("backend", " ".join(filter(None, (backend.get("name"), backend.get("version"))))),
            ("dataset", study.dataset.get("name")),
            ("classes", ", ".join(study.classes)),
            ("positive", study.positive),
            ("evaluated", evaluated),
            ("threshold", threshold_words(study, words)),
            ("looks", words.count(looks) if looks else None),
            ("made", str(study.first.get("created", "")).replace("T", " ").replace("Z", " UTC")),
            ("version", str((study.first.get("medimg") or {}).get("version", ""))),
        ],
        words,
    )


def threshold_words(study: Study, words: Words) -> str | None:
    cut = study.threshold
    if not cut:
        return None
    value = words.number(cut["value"], 4)
    if not cut.get("chosen_on"):
        return words("value.threshold_given", value=value)
    part = words.part(cut["chosen_on"])
    return words("value.threshold_rule", value=value, rule=words.phrase(cut["rule"]), part=part)
