"""Class probabilities for images, as a table, CSV or JSON"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from medimg.commands._job import Job
from medimg.commands._options import report_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from medimg.core.runs import Run
    from medimg.core.types import ModelSpec, Network
    from medimg.manager import PluginManager
    from medimg.opening import Picture

FILE = "predictions.csv"


def image_files(
    paths: Sequence[str], manager: PluginManager, options: Mapping[str, str]
) -> list[Picture]:
    """The pictures at the paths given, each once: files, those in folders, and what plugins read.

    Args:
        options: those of the layout that training read its data with.
    Raises:
        InputError: a folder holds no picture.
    """
    from pathlib import Path

    from medimg.core.errors import InputError
    from medimg.core.images import is_image_name
    from medimg.opening import Picture, dicom_in, pictures_at

    found: dict[str, Picture] = {}
    for given in map(Path, paths):
        if given.is_dir():
            plain = [p for p in files_in(given) if p.is_file() and is_image_name(p.name)]
        else:
            plain = [given] if is_image_name(given.name) else []
        pictures = [Picture(p.as_posix(), p.read_bytes) for p in plain]
        if not plain:
            pictures = pictures_at(given, manager, options)
        if not pictures and given.is_dir():
            raise InputError(
                f"the folder {given} holds no image",
                dicom_in(given) or "Give images, or their folder.",
            )
        # what nothing reads is told with the reason
        pictures = pictures or [Picture(given.as_posix(), given.read_bytes)]
        found.update((picture.name, picture) for picture in pictures)
    return list(found.values())


def files_in(folder: Path) -> list[Path]:
    """All that lies below a folder, except in run folders of medimg."""
    from medimg.core.runs import REPORT, is_run_folder

    found = sorted(folder.rglob("*"))
    runs = {p.parent for p in found if p.name == REPORT and is_run_folder(p.parent)} - {folder}
    return [p for p in found if runs.isdisjoint(p.parents)] if runs else found


def decoded(
    files: Sequence[Picture], spec: ModelSpec, resize: str
) -> Iterator[tuple[Picture, np.ndarray | str]]:
    """Each picture with UInt8[H, W, C] pixels, or with the reason why there are none."""
    import os
    from concurrent.futures import ThreadPoolExecutor

    from medimg.core.images import decode_to_input

    def one(file: Picture) -> np.ndarray | str:
        try:
            return decode_to_input(file.read(), spec.height, spec.width, spec.channels, resize)
        except OSError as error:
            return error.strerror or str(error)
        except ValueError as error:
            return str(error)

    at_once = 256  # files in memory
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, len(files), at_once):
            some = files[start : start + at_once]
            yield from zip(some, pool.map(one, some), strict=True)


def predict(
    network: Network,
    files: Sequence[Picture],
    card: Mapping[str, Any],
    progress: Callable[[int], object] | None = None,
) -> tuple[list[str], np.ndarray, list[dict[str, str]]]:
    """What a network says of some images.

    Args:
        card: the run's `model/model.json`.
    Returns:
        the names of those that could be read, Float64[N, K] probabilities, and those that could
        not be read (`file`, `reason`).
    """
    import numpy as np

    from medimg.training.loop import PREDICT_BATCH
    from medimg.training.prediction import predict_logits, probabilities_of

    read: list[str] = []
    failed: list[dict[str, str]] = []

    def batches() -> Iterator[np.ndarray]:
        waiting: list[np.ndarray] = []
        for file, pixels in decoded(files, network.spec, card["resize"]):
            if isinstance(pixels, str):
                failed.append({"file": file.name, "reason": pixels})
                continue
            read.append(file.name)
            waiting.append(pixels)
            if len(waiting) == PREDICT_BATCH:
                yield np.stack(waiting)
                waiting = []
        if waiting:
            yield np.stack(waiting)

    logits = predict_logits(network, batches(), len(card["classes"]), progress)
    probabilities = probabilities_of(logits, card) if len(logits) else logits.astype(np.float64)
    return read, probabilities, failed


def labels_of(probabilities: np.ndarray, card: Mapping[str, Any]) -> list[str]:
    """The positive class from the run's threshold up in a two-class task, else the likeliest."""
    classes, positive, threshold = card["classes"], card["positive"], card["threshold"]
    if len(classes) != 2 or positive is None or not threshold:
        return [classes[k] for k in probabilities.argmax(axis=1)]
    place = classes.index(positive)
    return [
        positive if value >= threshold["value"] else classes[1 - place]
        for value in probabilities[:, place]
    ]


def result_of(
    run: Run, read: Sequence[str], probabilities: np.ndarray, failed: list[dict[str, str]]
) -> dict[str, Any]:
    """The report's `result`."""
    classes = run.card["classes"]
    rows = zip(read, labels_of(probabilities, run.card), probabilities.tolist(), strict=True)
    used = len(classes) == 2 and run.card["positive"] is not None and run.card["threshold"]
    return {
        "run": run.name,
        "classes": classes,
        "threshold": run.card["threshold"]["value"] if used else None,
        "predictions": [
            {
                "path": path,
                "label": label,
                "probabilities": dict(zip(classes, row, strict=True)),
            }
            for path, label, row in rows
        ],
        "failed": failed,
    }


def csv_text(result: Mapping[str, Any]) -> str:
    """`path,label,prob_<class>…`, a row an image, full float precision."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", *(f"prob_{name}" for name in result["classes"])])
    for row in result["predictions"]:
        values = [repr(row["probabilities"][name]) for name in result["classes"]]
        writer.writerow([row["path"], row["label"], *values])
    return text.getvalue()


def refuse_replacing(path: Path) -> None:
    """Raises InputError where writing `path` would destroy what is no table of predictions."""
    from medimg.core.errors import InputError

    if path.is_dir():
        raise InputError(f"{path} is a folder", "Give the name of a file: --csv predictions.csv")
    if not path.is_file():
        return
    try:
        with path.open("rb") as file:
            header = file.readline(4096)
    except OSError as error:
        raise InputError(
            f"{path} exists and can't be read: {error.strerror}", "Give another file: --csv FILE"
        ) from error
    names = header.decode("utf-8", "replace").lstrip("\ufeff").strip().split(",")
    # an index or a file of labels has a path and a label too, but no probabilities
    if header and not (names[0] == "path" and any(n.startswith("prob_") for n in names)):
        raise InputError(
            f"{path} exists and holds no predictions: it is not overwritten",
            "Give another file: --csv FILE, or remove it.",
        )


def table(result: Mapping[str, Any]) -> str:
    """A row an image, the probability of each class with four digits."""
    from tabulate import tabulate

    rows = [
        [row["path"], row["label"], *(f"{row['probabilities'][c]:.4f}" for c in result["classes"])]
        for row in result["predictions"]
    ]
    return tabulate(
        rows,
        headers=["image", "class", *(f"p({c})" for c in result["classes"])],
        disable_numparse=True,
    )


def rule(run: Run) -> str:
    """How the class follows from the probabilities, in words."""
    card = run.card
    threshold = card["threshold"]
    if len(card["classes"]) != 2 or card["positive"] is None or not threshold:
        return "The class is the one with the highest probability."
    return (
        f"The class is {card['positive']} from a probability of {threshold['value']:.4g} up "
        f"({threshold['rule']}, chosen on {threshold['chosen_on']})."
    )


def refuse_if_all_failed(files: Sequence[Picture], failed: Sequence[Mapping[str, str]]) -> None:
    from medimg.core.errors import InputError

    if len(failed) < len(files):
        return
    shown = "\n  ".join(f"{f['file']}: {f['reason']}" for f in failed[:10])
    more = f"\n  and {len(failed) - 10} more" if len(failed) > 10 else ""
    raise InputError(
        f"no image could be read\n  {shown}{more}",
        "Give PNG, JPEG, TIFF, BMP or WebP images, or folders that hold them.",
    )


@click.command(
    "predict", epilog="Example: medimg predict runs/cnn3 new_scans/ --csv predictions.csv"
)
@click.argument("run", metavar="RUN")
@click.argument("paths", metavar="PATHS...", nargs=-1, required=True)
@click.option(
    "--csv",
    "csv_file",
    metavar="FILE",
    help="Write the table as CSV too; only predictions are overwritten.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="What standard output gets.",
)
@report_options
def command(
    run: str,
    paths: tuple[str, ...],
    csv_file: str | None,
    form: str,
    as_json: bool,
    quiet: bool,
    **common: Any,
) -> None:
    """Give the class probabilities that RUN's network has for images or folders of images.

    Pictures are brought to the network's size as they were in training. What a plugin reads is
    taken too (DICOM files, archives). Files that can't be read are named and left out.
    """
    from pathlib import Path

    from medimg.core.report import write_atomically
    from medimg.core.runs import MODEL, read_run
    from medimg.training.experiment import spec_of

    trained = read_run(Path(run))
    if csv_file:
        refuse_replacing(Path(csv_file))
    # CSV on standard output stands alone there
    job = Job("predict", as_json=as_json or form == "json", quiet=quiet or form == "csv", **common)
    job.subject = trained.name
    files = image_files(paths, job.manager, trained.recipe.get("options") or {})
    backend = job.manager.backend_of(trained)
    network = backend.load(trained.folder / MODEL, spec_of(trained.card))
    with job.progress("Predicting", len(files)) as bar:
        read, probabilities, failed = predict(network, files, trained.card, bar.update)
    refuse_if_all_failed(files, failed)
    for item in failed:
        job.note(f"{item['file']} can't be read: {item['reason']}", severity="warning")
    result = result_of(trained, read, probabilities, failed)
    for target in filter(None, (job.folder / FILE, Path(csv_file) if csv_file else None)):
        write_atomically(target, csv_text(result))
    if form == "csv" and not job.as_json:
        click.echo(csv_text(result), nl=False)
    elif not job.as_json:
        click.echo(table(result))
        job.say(rule(trained))
    job.finish(result, runtime=backend.runtime())
