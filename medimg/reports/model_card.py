"""A model card: what a model is, what it was shown, how well it does, what it is not for."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote
from typing import Any

from medimg.reports.document import Document, Facts, Text, block_markdown
from medimg.reports.language import Words
from medimg.reports.study import Study

# sections of the report that a card holds, in its order
SECTIONS = ("model", "data", "split", "metrics", "calibration", "subgroups", "limits", "reproduce")


def model_card(study: Study, document: Document) -> str:
    """The card as Markdown with a YAML head, as model hubs read it.

    Args:
        document: the run's report, whose words it takes.
    Source:
        Mitchell et al. 2019, Model Cards for Model Reporting.
    """
    import yaml

    words = Words(document.language)
    head = yaml.safe_dump(front_matter(study, words), sort_keys=False, allow_unicode=True)
    lines = [f"---\n{head}---", "", f"# {words('card.title', run=study.name)}", ""]
    lines += [f"**{document.verdict}**", ""]
    for title, text in uses(words):
        lines += [f"## {title}", "", text, ""]
    by_anchor = {section.anchor: section for section in document.sections}
    for anchor in SECTIONS:
        if section := by_anchor.get(anchor):
            lines += [f"## {section.title}", ""]
            for block in section.blocks:
                if isinstance(block, (Facts, Text)) or type(block).__name__ in (
                    "Table",
                    "Code",
                    "Findings",
                ):
                    lines += [block_markdown(block), ""]
    lines += [f"## {words('card.load')}", "", "```sh"]
    lines += [f"medimg predict {quote(str(study.folder))} IMAGES", "```", ""]
    lines += [f"## {words('card.ethics')}", "", f"{words('check.to_write')}.", ""]
    return "\n".join(lines)


def uses(words: Words) -> Iterator[tuple[str, str]]:
    yield words("card.use"), words("card.use_text")
    yield words("card.out_title"), words("card.out_of_scope")


def front_matter(study: Study, words: Words) -> dict[str, Any]:
    """What a model hub indexes by."""
    cells = study.evaluated.get("metrics") or {}
    metrics = [
        {"name": words.metric(name), "type": name, "value": round(cell["value"], 6)}
        for name, cell in cells.items()
        if cell.get("value") is not None
    ]
    head: dict[str, Any] = {
        "language": words.language,
        "library_name": "medimg",
        "pipeline_tag": "image-classification",
        "tags": ["medical-imaging", "medimg"],
    }
    if metrics:
        data = {"name": study.tested.get("name"), "type": study.tested.get("name")}
        task = {"type": "image-classification"}
        result = {
            "task": task,
            "dataset": data | {"split": study.evaluated["split"]},
            "metrics": metrics,
        }
        head["model-index"] = [{"name": study.name, "results": [result]}]
    return head
