"""Class weights, over- and under-sampling, SMOTE: counts before and after; writes balance.json"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medimg.commands._job import Job
from medimg.commands._options import (
    dataset_argument,
    dataset_options,
    report_options,
    retyped,
    split_options,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from medimg.balance._planning import Balance
    from medimg.core.types import DatasetIndex
    from medimg.manager import PluginManager

SYNTHETIC = "synthetic.csv"


def balance(
    index: DatasetIndex,
    method: str,
    seed: int,
    manager: PluginManager,
    embedding: Callable[[], np.ndarray],
) -> Balance:
    """What a method makes of the training part.

    Args:
        index: split; only its training part is looked at.
        embedding: of the training part's images, asked for by methods that need it.

    Raises:
        UsageError: no such method.
        InputError: the training part holds fewer than two classes, or too few images of one.
        PluginError: the method's plan does not fit the training part.
    """
    from medimg.balance._planning import check_classes, make_balance

    train = index.part("train")
    check_classes(index.name, index.class_counts(train))
    return make_balance(
        method, manager.samplers(), manager.resolve, train, index.classes, seed, embedding
    )


def write_images(
    made: Balance, index: DatasetIndex, records: Mapping[str, Any], folder: Path, progress: Any
) -> None:
    """`<class>/<number>.png` for each synthetic picture, and synthetic.csv: path, class, the two
    parents, the second's share.

    A picture has the size of its first parent; the network sees both at its own size, blended
    there.

    Raises:
        InputError: a parent can't be decoded, or the folder can't be written.
    """
    import csv
    import io
    import os
    import re
    from concurrent.futures import ThreadPoolExecutor

    from medimg.core.report import cannot_write, write_atomically

    pairs = made.pairs()
    digits = len(str(len(pairs)))
    plain = {name: re.sub(r"[^\w. -]+", "-", name).strip(". ") or "class" for name in made.classes}
    names = [f"{plain[str(p['class'])]}/{n:0{digits}d}.png" for n, p in enumerate(pairs, 1)]

    def one(place: int) -> None:
        file = folder / names[place]
        write_png(file, blended(pairs[place], index, records))

    try:
        for name in sorted({p["class"] for p in pairs}):
            (folder / plain[name]).mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for _ in pool.map(one, range(len(pairs))):
                progress(1)
    except OSError as error:
        raise cannot_write(folder, error) from error
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", "first", "second", "share"])
    for name, pair in zip(names, pairs, strict=True):
        writer.writerow([name, pair["class"], *pair["parents"], repr(pair["share"])])
    write_atomically(folder / SYNTHETIC, text.getvalue())


def blended(pair: Mapping[str, Any], index: DatasetIndex, records: Mapping[str, Any]) -> np.ndarray:
    """UInt8[h, w, C] of a pair of parents, at the first one's size; C is 1 where both are grey."""
    from medimg.core.blend import blend, fixed_point
    from medimg.core.images import decode_to_input

    first, second = (records[path] for path in pair["parents"])
    channels = 1 if first.grey and second.grey else 3
    one, other = (
        decode_to_input(index.source.read(path), first.height, first.width, channels)
        for path in pair["parents"]
    )
    return blend(one, other, int(fixed_point(pair["share"])))


def write_png(file: Path, image: np.ndarray) -> None:
    """Raises OSError where it can't be written."""
    import cv2

    if image.shape[2] == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    file.write_bytes(cv2.imencode(".png", image)[1].tobytes())


def check_folder(folder: Path, index: DatasetIndex) -> None:
    """Raises InputError where synthetic pictures would mix with others."""
    from medimg.core.errors import InputError

    if folder.resolve().is_relative_to(index.root.resolve()):
        raise InputError(
            f"{folder} lies in the dataset: synthetic pictures would be read as its images",
            "Give a folder outside: --write-images synthetic",
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"{folder} exists and is not an empty folder", "Give a new one: --write-images DIR"
        )


def check_room(made: Balance, records: Mapping[str, Any], folder: Path) -> None:
    """Raises InputError where the pictures can't fit on the disk."""
    import shutil

    from medimg.core.cache import in_units
    from medimg.core.errors import InputError

    first = [records[made.samples[place].path] for place in made.parents[:, 0].tolist()]
    needed = sum(r.width * r.height * (1 if r.grey else 3) for r in first)
    place = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise InputError(
            f"{len(first):,} synthetic pictures take up to {in_units(needed)}, and "
            f"{in_units(free)} are free in {place}",
            "Leave --write-images out: training blends them as it needs them, and writes none.",
        )


def table(result: Mapping[str, Any]) -> str:
    """A row a class: images before and after, weight, share of the loss before and after."""
    from tabulate import tabulate

    from medimg.balance._planning import shares

    rows = [
        [
            name,
            result["before"][name],
            result["after"][name],
            f"{result['class_weights'][name]:.3f}",
            f"{100 * was:.1f} %",
            f"{100 * now:.1f} %",
        ]
        for name, (was, now) in shares(result).items()
    ]
    headers = ["class", "before", "after", "weight", "share of the loss", "balanced"]
    return tabulate(rows, headers=headers, disable_numparse=True, colalign=("left", *["right"] * 5))


@click.command("balance", epilog="Example: medimg balance ./chest_xray --method oversample")
@dataset_argument
@dataset_options
@split_options
@click.option(
    "--method",
    default="class-weight",
    show_default=True,
    metavar="METHOD",
    help="class-weight, oversample, undersample, smote, borderline-smote, adasyn, or a plugin's.",
)
@click.option(
    "--write-images",
    metavar="DIR",
    help="Write the synthetic pictures as PNG, and a CSV with the two parents of each.",
)
@report_options
def command(
    dataset: str,
    layout: str | None,
    options: dict[str, str],
    positive: str | None,
    splits: str | None,
    split_ratios: str | None,
    method: str,
    write_images: str | None,
    seed: int,
    **common: Any,
) -> None:
    """Show what balancing the classes of DATASET does, before training with --balance METHOD.

    Only the training part is balanced, after the split: validation and test keep the shares
    that the data have. Synthetic pictures are blended from two neighbours of one class.
    """
    from medimg.balance._planning import (
        FILE,
        note_on_patients,
        note_on_probabilities,
        sampler_of,
    )
    from medimg.core.report import write_atomically
    from medimg.core.split import ensure_splits, split_hash

    job = Job("balance", seed=seed, **common)
    sampler_of(method, job.manager.samplers(), job.manager.resolve)
    index = job.open(dataset, layout, options, positive, splits)
    if write_images:
        check_folder(Path(write_images), index)
    index, words = ensure_splits(index, splits, split_ratios, seed)
    train = Training(job, index)
    made = balance(index, method, seed, job.manager, train.embedding)
    result = made.result() | {"split": words}
    result["note"] = " ".join(
        filter(None, (note_on_patients(result), note_on_probabilities(result)))
    )
    job.say(f"{index.name}: {words}")
    job.say(f"Training part, {sum(result['before'].values()):,} images, by {method}:")
    job.say()
    job.say(table(result))
    job.say()
    job.say(str(result["note"]))
    if write_images:
        train.write_images(made, Path(write_images))
    file = job.folder / FILE
    write_atomically(file, made.file_text(split_hash(index.samples)))
    job.say(f"Balance: {file}")
    job.say(f"Next: medimg train {retyped('method', 'write_images')} --balance {method}")
    job.finish(
        result | {"file": FILE, "images": write_images},
        index=index,
        split_hash=split_hash(index.samples),
    )


class Training:
    """The training part's pictures, read when a method or --write-images needs them."""

    def __init__(self, job: Job, index: DatasetIndex) -> None:
        self.job = job
        self.index = index.with_samples(index.part("train"))
        self.known: Mapping[str, Any] | None = None

    def records(self) -> Mapping[str, Any]:
        """Path to ScanRecord.

        Raises:
            InputError: an image can't be decoded.
        """
        from medimg.core.errors import InputError

        if self.known is None:
            self.known = self.job.scan(self.index)
            broken = [s.path for s in self.index.samples if self.known[s.path].error]
            if broken:
                raise InputError(
                    f"{len(broken)} of the {len(self.index):,} training images can't be read, the "
                    f"first {broken[0]}",
                    "Leave them out: medimg verify DATASET --write-clean clean.csv",
                )
        return self.known

    def embedding(self) -> np.ndarray:
        """Float32[N, D] of the training images, in their order."""
        from medimg.balance._embedding import picture_embedding

        digests = {path: record.sha256 for path, record in self.records().items()}
        samples = self.index.samples
        with self.job.progress("Decoding", len(samples)) as bar:
            return picture_embedding(samples, self.index.source, digests, bar.update)

    def write_images(self, made: Balance, folder: Path) -> None:
        """The synthetic pictures, where there are any.

        Raises:
            UsageError: the method makes none.
        """
        from medimg.core.errors import UsageError

        if not len(made.parents):
            raise UsageError(
                f"{made.method} makes no pictures here: there is nothing for --write-images",
                "Methods that make some: smote, borderline-smote, adasyn.",
            )
        check_room(made, self.records(), folder)
        with self.job.progress("Writing", len(made.parents)) as bar:
            write_images(made, self.index, self.records(), folder, bar.update)
        self.job.say(f"Synthetic pictures: {folder}, {len(made.parents):,} of them")
