"""The datasets that medimg knows: what is in them and what is wrong with them"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from medimg.commands._options import json_option

if TYPE_CHECKING:
    from medimg.core.registry import DatasetCard, Registry

# what `show` prints one under another, beside the tables of counts
LINES = (
    "modality",
    "anatomy",
    "task",
    "images",
    "patients",
    "positive",
    "layout",
    "options",
    "patient_pattern",
    "image_size_px",
    "image_format",
    "augmentation",
    "model",
    "licence",
    "citation",
)


def list_datasets(registry: Registry) -> list[dict[str, Any]]:
    """A row for each dataset."""
    return [
        {
            "name": card.name,
            "title": card.title,
            "task": card.task,
            "classes": card.classes,
            "images": card.images,
            "patients": card.patients,
            "layout": card.layout,
        }
        for card in registry.datasets.values()
    ]


def card_as_text(card: DatasetCard) -> str:
    """The card for reading: fields, counts as published, known defects."""
    from tabulate import tabulate

    fields = [[name.replace("_", " "), said(getattr(card, name))] for name in LINES]
    rows = [row for row in fields if row[1]]
    rows += [["source", said([card.source.url, card.source.doi and f"doi {card.source.doi}"])]]
    rows += [["also called", said(card.aliases)]] if card.aliases else []
    parts = [f"{card.name}: {card.title}", tabulate(rows, tablefmt="plain")]
    if card.counts:
        parts.append(counts_as_text(card))
    parts += [f"Cut by study {v.study}: {v.summary}" for v in card.variants.values()]
    if card.defects:
        parts.append("Known defects\n" + "\n".join(f"  - {defect}" for defect in card.defects))
    return "\n\n".join(parts)


def counts_as_text(card: DatasetCard) -> str:
    """Images by split and class, as published."""
    from tabulate import tabulate

    headers = ["split", *(f"{c} ({t})" if (t := card.class_titles.get(c)) else c
                          for c in card.classes)]  # fmt: skip
    rows = [
        [split, *(by_class.get(c) for c in card.classes)] for split, by_class in card.counts.items()
    ]
    return "As published\n" + tabulate(rows, headers=headers, intfmt=",", missingval="")


def said(value: Any) -> str:
    """A field's value in words; empty where there is none."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return " ".join(f"-o {key}={text}" for key, text in value.items())
    if isinstance(value, list):
        joint = " × " if all(isinstance(v, int) for v in value) else ", "
        return joint.join(str(v) for v in value if v)
    return f"{value:,}" if isinstance(value, int) else str(value)


@click.group(
    "datasets", invoke_without_command=True, epilog="Example: medimg datasets show breakhis"
)
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List the datasets that medimg knows; `show NAME` prints one's card."""
    import json

    from tabulate import tabulate

    from medimg.manager import plugins

    if context.invoked_subcommand is not None:
        return
    rows = list_datasets(plugins().registry())
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    table = [
        [r["name"], r["title"], r["images"], r["patients"], ", ".join(r["classes"])] for r in rows
    ]
    headers = ["name", "title", "images", "patients", "classes"]
    click.echo(tabulate(table, headers=headers, intfmt=",", missingval="unknown"))


@command.command("show", epilog="Example: medimg datasets show chest-xray-pneumonia --json")
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show a dataset's card: counts as published, source, licence, known defects."""
    import json

    from medimg.manager import plugins

    card = plugins().registry().dataset(name)
    if as_json:
        click.echo(json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False))
    else:
        click.echo(card_as_text(card))
