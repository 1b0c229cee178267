"""What a reader must not conclude, and how to run it again."""

from __future__ import annotations

from collections.abc import Iterator

from medimg.reports.conclusions import FEW_PATIENTS
from medimg.reports.document import Block, Code, Text
from medimg.reports.language import Words
from medimg.reports.run_document.facts import facts
from medimg.reports.study import Study

FEW_IMAGES = 50


def limits(study: Study, words: Words) -> Iterator[Block]:
    """What a reader must not conclude."""
    result = study.evaluated
    if not result:
        yield Text(words("limit.no_evaluation"))
        return
    if not result.get("groups"):
        yield Text(words("limit.patients"))
    elif result["groups"] < FEW_PATIENTS:
        yield Text(words("limit.few_patients", count=words.count(result["groups"])))
    if study.training and not study.is_external and not study.tested_elsewhere:
        yield Text(words("limit.one_source"))
    if study.test_looks > 1:
        yield Text(words("limit.looks", count=words.count(study.test_looks)))
    per_class = result.get("per_class") or {}
    support: dict[str, int] = {n: int(row.get("support") or 0) for n, row in per_class.items()}
    for name, count in support.items():
        if 0 < count < FEW_IMAGES:
            yield Text(words("limit.small", count=words.count(count), name=name))
    total = sum(support.values())
    if study.positive in support and total:
        share = support[str(study.positive)] / total
        yield Text(words("limit.prevalence", share=words.share(share), name=study.positive))
    wide = (result["metrics"].get("auroc") or {}).get("ci95")
    if wide and wide[1] - wide[0] > 0.2:
        width = words.number(wide[1] - wide[0])
        yield Text(words("say.wide", metric=words.metric("auroc"), width=width))
    if study.training:
        yield Text(words("limit.seed"))


def reproduce(study: Study, words: Words) -> Iterator[Block]:
    import shlex

    environment = study.first.get("environment") or {}
    for report in (study.training, study.evaluation):
        arguments = ((report or {}).get("invocation") or {}).get("arguments") or []
        if report is study.evaluation and study.temperature and "--calibrate" not in arguments:
            # an earlier evaluation fitted it, and a new run keeps none
            arguments = [*arguments, "--calibrate"]
        if arguments:
            yield Text("", "plain", shlex.join(["medimg", *arguments]))
    told = [f"Python {environment['python']}"] if environment.get("python") else []
    told += [str(environment["platform"])] if environment.get("platform") else []
    yield facts([("environment", ", ".join(told))], words)
    yield Text(words("say.again"), "soft")
    if study.recipe:
        import yaml

        text = yaml.safe_dump(study.recipe, sort_keys=False, allow_unicode=True)
        yield Code(words("say.recipe"), text)
