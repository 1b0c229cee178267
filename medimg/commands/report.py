"""One self-contained page of a run or a comparison, in English or Spanish, and a model card"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from medimg.reports.document import Document
    from medimg.reports.study import Study

FORMATS = {"html": "html", "md": "md", "json": "json"}


def document_of(
    folder: Path, language: str, split: str | None, pictures: bool
) -> tuple[Document, Study | None]:
    """The report of a folder, and the study where it is a run's.

    Raises:
        InputError: it is neither a run nor a comparison.
    """
    from medimg.core.report import read_report
    from medimg.core.runs import unfinished

    if folder.is_dir() and not (folder / "report.json").is_file():
        raise unfinished(folder)
    report = read_report(folder / "report.json")
    if report.get("command") == "compare":
        from medimg.reports.comparison_document import comparison_document

        return comparison_document(folder, report, language), None
    from medimg.reports.run_document import run_document
    from medimg.reports.study import read_study

    study = read_study(folder, split)
    return run_document(study, language, pictures), study


def rendered(document: Document, style: str) -> str:
    """The document in one of the formats."""
    from medimg.reports.document import as_markdown
    from medimg.reports.document_html import as_html

    if style == "json":
        return printed([document])
    return as_html(document) if style == "html" else as_markdown(document)


def printed(documents: list[Document]) -> str:
    """One document as JSON, or several in a list."""
    import json

    from medimg.core.report import finite
    from medimg.reports.document import as_data

    data = [finite(as_data(document)) for document in documents]
    return json.dumps(data[0] if len(data) == 1 else data, indent=2, ensure_ascii=False) + "\n"


def file_name(stem: str, style: str, language: str) -> str:
    """`report.html`, `report.es.html`; JSON is `report-page.json`, for report.json is the run's.

    >>> file_name("report", "html", "en"), file_name("report", "json", "es")
    ('report.html', 'report-page.es.json')
    """
    stem = f"{stem}-page" if style == "json" else stem
    return f"{stem}.{FORMATS[style]}" if language == "en" else f"{stem}.{language}.{style}"


@click.command("report", epilog="Example: medimg report runs/cnn3 --lang es")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option(
    "--format", "style", type=click.Choice(list(FORMATS)), default="html", show_default=True
)
@click.option(
    "--lang", "language", type=click.Choice(["en", "es"]), default="en", show_default=True
)
@click.option("--split", metavar="NAME", help="The evaluation told about.  [default: test]")
@click.option("--no-pictures", is_flag=True, help="No images of the dataset on the page.")
@click.option("--no-card", is_flag=True, help="No model card beside it.")
@click.option("--json", "as_json", is_flag=True, help="The document as JSON on standard output.")
@click.option("-q", "--quiet", is_flag=True, help="Print only what was asked for.")
def command(
    runs: tuple[str, ...],
    style: str,
    language: str,
    split: str | None,
    no_pictures: bool,
    no_card: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write one page about each run or comparison into its folder.

    Data and findings, split, model, curves, metrics with intervals, calibration, subgroups,
    mistakes, and the items of CLAIM 2024 and TRIPOD+AI, filled in where the run knows the answer.
    Beside it stands a model card. Several runs give a page each: to set them side by side,
    medimg compare, then medimg report on its folder.
    """
    from medimg.core.report import write_atomically
    from medimg.reports.document_figures import with_figures
    from medimg.reports.html import size_in_words, write_page
    from medimg.reports.model_card import model_card

    documents: list[Document] = []
    for run in runs:
        folder = Path(run)
        document, study = document_of(folder, language, split, not no_pictures)
        if as_json:
            documents.append(document)
            continue
        if style == "md":
            document = with_figures(document, folder)
        text = rendered(document, style)
        path = folder / file_name("report", style, language)
        size = write_page(path, text)
        said = [f"{path} ({size_in_words(size)})"]
        if study is not None and study.training and not no_card:
            card = folder / file_name("model-card", "md", language)
            write_atomically(card, model_card(study, document))
            said.append(str(card))
        if not quiet:
            click.echo("\n".join(said))
    if as_json:
        click.echo(printed(documents), nl=False)
