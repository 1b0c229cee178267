"""What a run has seen of the images that it is evaluated on, by content."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medimg.core.errors import Refused
from medimg.core.recipe import read_recipe
from medimg.core.runs import RECIPE, SPLITS, Run, Seen, read_predictions, read_run_splits
from medimg.core.types import Finding, Sample
from medimg.training.run import VAL_PREDICTIONS

if TYPE_CHECKING:
    from medimg.training.experiment import Data

CHECK = "training-images-in-test"


@dataclass(frozen=True)
class Memory:
    """The images that shaped a run's weights and choices, its parents' included.

    Args:
        trained, chosen: SHA-256 of the files and hashes of the pixels of training and validation
            parts.
        own: path to what the run's own splits.csv says; empty where the data are not the run's.
        lost: runs that this one goes on from and whose folders can't be read any more.
    """

    trained: frozenset[str]
    chosen: frozenset[str]
    own: Mapping[str, Seen]
    lost: tuple[str, ...] = ()


def remembered(
    run: Run,
    data: Data,
    own: bool,
    rescan: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
) -> Memory:
    """What a run and its parents saw, by content.

    Args:
        own: the data are the run's, so that in a run which wrote no hashes its paths tell.
        rescan: the records of a recipe's dataset, as far as it can still be read: what runs that
            wrote no hashes of pixels are asked by.
    """
    seen: dict[str, set[str | None]] = {"train": set(), "val": set()}
    folders, lost = lineage(run)
    for folder in folders:
        splits = read_run_splits(folder)
        pixels = pixels_of(data.records)
        if rescan and not own and not any(image.pixel_hash for image in splits.values()):
            pixels = pixels_of(rescan(read_recipe(folder / RECIPE)))
        for path, image in splits.items():
            digest = image.sha256
            if digest is None and own and path in data.records:
                digest = data.records[path].sha256
            if image.split in seen:
                seen[image.split] |= {digest, image.pixel_hash or pixels.get(digest or "")}
        if (folder / VAL_PREDICTIONS).is_file():
            seen["val"].update(read_predictions(folder / VAL_PREDICTIONS).sha256)
    here = read_run_splits(run.folder) if own else {}
    trained, chosen = (frozenset(h for h in seen[part] if h) for part in ("train", "val"))
    return Memory(trained, chosen, here, tuple(lost))


def pixels_of(records: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of each file that could be decoded, and is not blank, to the hash of its pixels."""
    return {r.sha256: r.pixel_hash for r in records.values() if r.pixel_hash and r.std}


def same_bytes(samples: Sequence[Sample], data: Data, seen: Container[str]) -> list[Sample]:
    return [s for s in samples if data.records[s.path].sha256 in seen]


def same_picture(samples: Sequence[Sample], data: Data, seen: Container[str]) -> list[Sample]:
    """The samples whose file or whose pixels have been seen: a file that was written again
    without loss is the same picture. Blank pictures are alike without being copies."""

    def is_seen(record: Any) -> bool:
        return record.sha256 in seen or (bool(record.std) and record.pixel_hash in seen)

    return [s for s in samples if is_seen(data.records[s.path])]


def how_alike(again: Sequence[Sample], data: Data, seen: Container[str]) -> str:
    bytewise = len(same_bytes(again, data, seen)) == len(again)
    return "byte by byte" if bytewise else "pixel by pixel"


def lineage(run: Run) -> tuple[list[Path], list[str]]:
    """The folders of a run and of the runs that it goes on from, and those that are gone."""
    folders, lost = [run.folder], []
    recipes: list[Mapping[str, Any]] = [run.recipe]
    while recipes:
        recipe = recipes.pop()
        for given in (recipe.get("parent"), recipe.get("weights")):
            if not given or given in ("none", "imagenet"):
                continue
            # run folders that were moved together still lie side by side
            places = [Path(given), run.folder.parent / Path(given).name]
            found = next((p for p in places if (p / SPLITS).is_file()), None)
            if found is None:
                lost.append(str(given))
            elif not any(found.samefile(folder) for folder in folders):
                folders.append(found)
                recipes.append(read_recipe(found / RECIPE))
    return folders, lost


def seen_in_training(memory: Memory, data: Data, split: str) -> list[Finding]:
    """What the evaluated part owes to training, by content, wherever the images lie.

    `training-images-in-test`, an error: images that the weights were fitted to; in a part other
    than val also those that chose epoch and threshold. `threshold-on-test`, a warning: the part
    is wholly or partly what epoch and threshold were chosen on. `data-changed`, a warning:
    images of the run's own data that are not the files that stood there in training.
    """
    samples = data.index.part(split)
    fitted = same_picture(samples, data, memory.trained)
    trained = {s.path for s in fitted}
    steering = [s for s in same_picture(samples, data, memory.chosen) if s.path not in trained]
    found = []
    if fitted or (steering and split != "val"):
        again = fitted + (steering if split != "val" else [])
        alike = how_alike(again, data, memory.trained | memory.chosen)
        found.append(
            training_images(again, len(fitted), len(samples), split, bool(memory.own), alike)
        )
    if steering and split == "val":
        found.append(chosen_on_this(steering, len(samples)))
    found += changed_since(memory.own, data, samples)
    if memory.lost:
        found.append(
            Finding(
                "training-images-in-test",
                "warning",
                f"the run starts from {', '.join(memory.lost)}, which can't be read: what that "
                "run was trained on is not known",
                len(memory.lost),
                hint="Evaluate where the run folders lie together.",
            )
        )
    return found


def rows_of(samples: Sequence[Sample]) -> tuple[dict[str, Any], ...]:
    return tuple({"file": s.path, "class": s.label, "split": s.split} for s in samples[:1000])


def training_images(
    again: list[Sample], fitted: int, total: int, split: str, own: bool, alike: str
) -> Finding:
    if split == "train":
        hint = "Evaluate the test part: --split test"
    elif own:
        hint = "Leave the copies out and train again: medimg verify DATASET --write-clean clean.csv"
    else:
        hint = (
            "Evaluate images that it has not seen: its own test part (give no dataset), or others."
        )
    parts = [f"{fitted:,} by training"] if fitted else []
    parts += [f"{len(again) - fitted:,} by validation"] if len(again) > fitted else []
    return Finding(
        "training-images-in-test",
        "error",
        f"{len(again):,} of the {total:,} {split} images are, {alike}, images that the run "
        f"has seen ({', '.join(parts)}): these numbers say nothing about new images",
        len(again),
        rows_of(again),
        hint,
    )


def chosen_on_this(
    samples: list[Sample], total: int, what: str = "the epoch and the threshold"
) -> Finding:
    return Finding(
        "threshold-on-test",
        "warning",
        f"{len(samples):,} of the {total:,} images chose {what}: these numbers flatter the run",
        len(samples),
        rows_of(samples),
        "Evaluate images that chose nothing: --split test",
    )


def chosen_here(threshold: Mapping[str, Any] | None, data: Data, split: str) -> list[Finding]:
    """`threshold-on-test`, a warning, where the threshold was chosen on the part that is
    evaluated: allowed for validation, to look at."""
    if not threshold or threshold["chosen_on"] != split:
        return []
    samples = list(data.index.part(split))
    return [chosen_on_this(samples, len(samples), "the threshold")]


def changed_since(then: Mapping[str, Seen], data: Data, samples: Sequence[Sample]) -> list[Finding]:
    """`data-changed`, a warning, where some images are not the files that a run knew.

    Args:
        then: path to what the run's splits.csv says; old runs wrote no hash, and say nothing.
    """
    was = {path: image.sha256 for path, image in then.items() if image.sha256}
    changed = [s for s in samples if s.path in was and was[s.path] != data.records[s.path].sha256]
    if not changed:
        return []
    return [
        Finding(
            "data-changed",
            "warning",
            f"{len(changed):,} of these {len(samples):,} images are not the files that stood there "
            f"when the run was trained, the first {changed[0].path}",
            len(changed),
            rows_of(changed),
            "Train anew on the data as they are now, or give the dataset as it was.",
        )
    ]


def patients_on_both_sides(data: Data, split: str) -> list[Finding]:
    """`patient-leakage`, an error, where patients of the evaluated part have images in a part that
    trained, or chose the epoch and the threshold."""
    if split != "test":
        return []
    samples = data.index.part(split)
    seen = {s.group for part in ("train", "val") for s in data.index.part(part)} - {None}
    again = [s for s in samples if s.group in seen]
    if not again:
        return []
    people = {s.group for s in again}
    everyone = {s.group for s in samples} - {None}
    return [
        Finding(
            "patient-leakage",
            "error",
            f"{len(people):,} of the {len(everyone):,} {split} patients, with {len(again):,} of "
            f"its {len(samples):,} images, have images in training or validation too: these "
            "numbers say nothing about new patients",
            len(again),
            rows_of(again),
            "Split by patient and train again: medimg split DATASET",
        )
    ]


def refuse_known_images(findings: Sequence[Finding], allow: Sequence[str], name: str) -> None:
    """Other data are there to show how a run does on images that are new to it.

    Raises:
        Refused: images of training are among them, and `allow` does not name the check.
    """
    known = [f for f in findings if f.check == CHECK and f.severity == "error"]
    if known and CHECK not in allow:
        raise Refused(
            f"{name} is no external test: {known[0].message}, the first "
            f"{known[0].items[0]['file']}",
            "Leave them out of it (their hashes stand in the run's splits.csv).\n"
            f"Evaluate all the same: --allow {CHECK}",
            tuple(known),
        )


def copies_of_training(data: Data, split: str) -> list[Finding]:
    """`training-images-in-test`, an error, where a dataset's own training part holds images of the
    evaluated part: what a model that was trained elsewhere has seen is not known otherwise."""
    if split == "train":
        return []
    records = [data.records[s.path] for s in data.index.part("train")]
    trained = {hashed for r in records for hashed in (r.sha256, r.pixel_hash)} - {""}
    samples = data.index.part(split)
    again = same_picture(samples, data, trained)
    if not again:
        return []
    return [
        Finding(
            CHECK,
            "error",
            f"{len(again):,} of the {len(samples):,} {split} images are, "
            f"{how_alike(again, data, trained)}, images of the dataset's training part: a model "
            "trained on it has seen them",
            len(again),
            rows_of(again),
            "Leave the copies out: medimg verify DATASET --write-clean clean.csv",
        )
    ]


def copies_within(data: Data, split: str) -> list[Finding]:
    """`exact-duplicates`, a warning, where the evaluated part holds a picture more than once."""
    samples = data.index.part(split)
    first: dict[str, str] = {}
    again = []
    for sample in samples:
        digest = data.records[sample.path].sha256
        if digest and first.setdefault(digest, sample.path) != sample.path:
            again.append(sample)
    if not again:
        return []
    rows = tuple(
        {"file": s.path, "class": s.label, "copy": first[data.records[s.path].sha256]}
        for s in again[:1000]
    )
    return [
        Finding(
            "exact-duplicates",
            "warning",
            f"{len(again):,} of the {len(samples):,} {split} images are, byte by byte, others of "
            f"them, the first {again[0].path}: copies are drawn together, so that intervals know "
            "of it; the numbers themselves count each",
            len(again),
            rows,
            "Leave the copies out: medimg verify DATASET --write-clean clean.csv",
        )
    ]
