"""The data, what was found in them, and how they were split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from medimg.core.as_typed import filled
from medimg.reports.document import Block, Findings, Found, Table, Text
from medimg.reports.language import Words
from medimg.reports.run_document.facts import facts
from medimg.reports.study import Study

MOST_FINDINGS = 40
NOTHING_TYPED: Mapping[str, str] = {}


def data(study: Study, words: Words) -> Iterator[Block]:
    told = study.dataset
    if told:
        images = words.images(told["images"], told.get("groups"))
        yield facts(
            [
                ("dataset", told.get("name")),
                ("card", told.get("card")),
                ("layout", told.get("layout")),
                ("images", images),
                ("positive", study.positive),
                ("fingerprint", told.get("fingerprint")),
            ],
            words,
        )
        yield class_table(told, words)
    if study.is_external:
        yield Text(words("say.external"))
        tested = study.tested
        yield facts(
            [
                ("dataset", tested.get("name")),
                ("images", words.images(tested["images"], tested.get("groups"))),
                ("fingerprint", tested.get("fingerprint")),
            ],
            words,
        )
        external = study.evaluated.get("external") or {}
        for difference in external.get("differences") or ():
            yield Text(words.phrase(difference), original=not words.knows(difference))
    yield from all_findings(study, words)


def class_table(told: Mapping[str, Any], words: Words) -> Table:
    """Images by class and part."""
    splits = told.get("splits") or {}
    total = max(1, told["images"])
    rows = [
        (
            name,
            *(words.count(counts.get(name, 0)) for counts in splits.values()),
            words.count(count),
            words.share(count / total),
        )
        for name, count in told["classes"].items()
    ]
    sums = (words.count(sum(counts.values())) for counts in splits.values())
    rows.append((words("column.all"), *sums, words.count(told["images"]), words.share(1.0)))
    columns = (
        words("column.class"),
        *(words.part(part) for part in splits),
        words("column.images"),
        words("column.share"),
    )
    return Table(columns, tuple(rows), words("say.class_table"), frozenset(range(1, len(columns))))


def all_findings(study: Study, words: Words) -> Iterator[Block]:
    """Of training, evaluation, and of verify where it looked at these data."""
    anything = False
    for which in ("training", "evaluation"):
        if rows := study.findings(which):
            anything = True
            yield findings_block(rows, words(f"say.from_{which}"), words, study.typed(which))
    if not anything:
        yield Text(words("say.no_findings"))
    if study.verified is None:
        if study.training:
            step = filled("medimg verify DATASET", study.typed("training"))
            yield Text(words("say.not_verified"), "note", step)
        return
    name, report = study.verified
    rows = report.get("findings") or []
    told = {
        "errors": words.errors(sum(r["severity"] == "error" for r in rows)),
        "warnings": words.warnings(sum(r["severity"] == "warning" for r in rows)),
    }
    yield Text(words("say.verified", run=name, **told))
    if rows:
        yield findings_block(rows, words("say.from_verify"), words, study.typed("training"))


def findings_block(
    rows: Sequence[Mapping[str, Any]],
    title: str,
    words: Words,
    typed: Mapping[str, str] = NOTHING_TYPED,
) -> Findings:
    """What was found, worst first, with the next steps.

    Args:
        typed: what stands for DATASET and RUN in them.
    """
    return Findings(
        title,
        tuple(
            Found(
                row["check"],
                row["severity"],
                row["message"],
                row.get("count") or 0,
                filled(row.get("hint") or "", typed),
                words.finding(row["check"]),
                words(f"severity.{row['severity']}"),
                words.message(row["message"]),
                filled(words.next_step(row["check"], row.get("hint") or ""), typed),
            )
            for row in rows[:MOST_FINDINGS]
        ),
    )


def split(study: Study, words: Words) -> Iterator[Block]:
    told = study.trained.get("split")
    if told:
        sentence = words.clauses(told)
        yield Text(sentence[:1].upper() + sentence[1:] + ".", original=not words.knows(told))
    parts = study.parts
    if parts is None:
        yield Text(words("say.no_split"))
        return
    with_patients = bool(parts.patients)
    columns = [words("column.part"), words("column.images")]
    columns += [words("column.patients")] if with_patients else []
    rows = [
        (
            words.part(part),
            words.count(count),
            *([words.count(parts.patients[part])] if with_patients else []),
        )
        for part, count in parts.images.items()
    ]
    yield Table(tuple(columns), tuple(rows), words("say.split_table"), frozenset({1, 2}))
    if parts.shared is None:
        yield Text(words("say.by_image"), "warning")
    elif parts.shared:
        yield Text(words("say.leak", count=words.count(parts.shared)), "error")
    else:
        yield Text(words("say.disjoint"), "ok")
    if told := study.dataset.get("split_hash"):
        yield facts([("split_hash", told)], words)
