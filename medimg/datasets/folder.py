"""A folder for each class, with or without train, val and test folders around them.

`root/NORMAL/*.png`, `root/train/NORMAL/*.png`, both nested in further folders; deeper folders
below a class belong to it. Where those are surely patients (`root/NORMAL/patient003/*.png`), they
are read as such.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from medimg.api import (
    DatasetIndex,
    FileSource,
    Finding,
    Guess,
    InputError,
    Sample,
    UsageError,
    canonical_split,
    check_options,
    counted,
    is_image_name,
    keep_classes,
    near_misses,
)
from medimg.core.index import dataset_name, files, listed, pattern_of, with_patient_options
from medimg.datasets._nameless import tell_nameless_pictures
from medimg.datasets._patients import (
    Inside,
    classes_inside,
    patient_shape,
    patients_in_classes,
)
from medimg.datasets._tree import Folder, Level, Tree, class_level, read_tree, split_level

# folders that a download was cut into, not classes
GENERIC_NAME = re.compile(
    r"(\w*[_ -])?(images?|imgs?|pictures?|photos?|data|part|batch|files?|scans?|folder|zip)"
    r"([_ -]?(part|batch)?[_ -]?(\d+|[a-z]))?(?![a-z])",
    re.IGNORECASE,
)
# the word that a file name begins with; how many such may be classes
LEADING_WORD = re.compile(r"([A-Za-z]{3,})[ _.\-]*\(?\d")
MOST_CLASS_WORDS = 10


class Reader:
    """Reads class folders."""

    options = ("classes", "group", "group_regex", "label_regex")

    def sniff(self, path: Path) -> Guess:
        """How sure it is that `path` holds class folders, by the folders' names."""
        if not path.is_dir():
            return Guess(0.0, "not a folder")
        tree = read_tree(path, sizes=False)
        if not tree.root.holds_images:
            return Guess(0.0, "no image in it")
        return self._guess(tree)

    def _guess(self, tree: Tree) -> Guess:
        splits = split_level(tree.root)
        names = class_level(splits).names
        shape = patient_shape(splits)
        if len(names) < 2:
            sure = 0.1 if not names else 0.5 if splits.parents[0][0] else 0.4
            return Guess(sure, counted(len(names), "class folder"))
        if shape and shape.confidence >= 0.5:
            return Guess(min(0.5, 1.2 - shape.confidence), f"class folders {shown(names)}")
        inside = classes_inside(splits)
        if inside:  # a question to ask rather than a folder to misread
            return Guess(0.9, f"folders {shown(names)} that each hold {shown([*inside.inner])}")
        if all(GENERIC_NAME.fullmatch(name) for name in names):
            return Guess(0.3, f"folders side by side, named like parts: {shown(names)}")
        sure = 0.95 if splits.parents[0][0] else 0.9
        return Guess(sure, describe(splits, names))

    def read(self, path: Path, options: Mapping[str, str]) -> DatasetIndex:
        """The index of the class folders under `path`.

        Raises:
            InputError: no image in it, or none in a class folder.
            UsageError: an option it does not have, `classes` that are no folders, or folders that
                each hold what could be the classes (`fold1/A`, `fold1/B`, `fold2/A`, …).
        """
        check_options("folder", options, self.options)
        return read_classes(path, options, "folder")


def read_classes(path: Path, options: Mapping[str, str], layout: str) -> DatasetIndex:
    """The index of class folders, patients as the options say."""
    check_group(layout, options)
    tree = images_tree(path)
    if "label_regex" in options:
        index = classes_in_names(path, tree, options["label_regex"], layout)
        if "classes" in options:
            wanted = listed(options["classes"])
            kept = keep_classes(index.samples, wanted)
            declared = tuple(d for d in index.declared if d[1] in wanted)
            index = replace(
                index, samples=kept, classes=tuple(sorted(set(wanted))), declared=declared
            )
    elif "classes" in options:
        index = named_classes(path, tree, listed(options["classes"]), layout)
    else:
        index = found_classes(path, tree, layout)
    return with_patient_options(index, options)


def check_group(layout: str, options: Mapping[str, str]) -> None:
    """`group` names a column elsewhere; of folders it can only say that there is none.

    Raises:
        UsageError: it names something.
    """
    if options.get("group", "none").lower() != "none":
        raise UsageError(
            f"the layout {layout!r} has no columns, so group={options['group']!r} names nothing",
            r"Give the patient's part of the file name: -o 'group_regex=(patient\d+)'",
        )


def images_tree(path: Path) -> Tree:
    """The tree under a folder that holds an image.

    Raises:
        InputError: it is no folder, or holds none.
    """
    if not path.is_dir():
        raise InputError(f"{path} is no folder", "Give the folder that holds the images.")
    tree = read_tree(path)
    found = instead(tree)
    tell_nameless_pictures(path, tree)
    if not tree.root.holds_images:
        raise InputError(f"no image in {path}{found}", no_image_hint(tree))
    return tree


def instead(tree: Tree) -> str:
    """What is there where no image is."""
    kinds: dict[str, int] = {}
    for stray in (*tree.strays, *tree.dicom):
        suffix = os.path.splitext(stray)[1].lower() or "no suffix"
        kinds[suffix] = kinds.get(suffix, 0) + 1
    most = sorted(kinds.items(), key=lambda item: -item[1])[:4]
    if not most:
        return " (it is empty)"
    return f" (found: {', '.join(f'{n:,} {kind}' for kind, n in most)})"


def no_image_hint(tree: Tree) -> str:
    """The next step where no image was found."""
    hints = [f.hint for f in tree.findings if f.hint]
    return hints[0] if hints else "Give the folder that holds the images, a .csv or an archive."


def found_classes(path: Path, tree: Tree, layout: str) -> DatasetIndex:
    """The index by the classes that the folders' places tell."""
    splits = split_level(tree.root)
    level = class_level(splits)
    names = level.names
    if not names:
        raise InputError(
            f"no class folders and no CSV file in {path}: its images have no labels",
            class_words_hint(tree)
            or class_folder_hint(path)
            or "Put each class's images into a folder of its name, or give a table: "
            "-o labels=FILE.csv (columns image, label)",
        )
    unclear = classes_inside(splits)
    if unclear:
        raise which_classes(path, unclear)
    samples: list[Sample] = []
    declared: set[tuple[str | None, str]] = set()
    for split, parent in level.parents:
        for folder in parent.folders:
            if folder.name in names:
                own = class_samples(folder, split)
                samples += own
                declared |= {(s, folder.name) for s in splits_of(own, split)}
    # a part's folder that nothing lies in was meant to hold all classes
    empty = [split for split, folder in splits.parents if split and folder.is_empty]
    declared |= {(split, name) for split in empty for name in names}
    reason, patients = describe(splits, names), None
    inside = patients_in_classes(level, names)
    if inside:
        samples = [replace(s, group=inside[s.path]) for s in samples]
        patients = "folders in the class folders"
        reason += f", and in them {counted(len({*inside.values()}), 'folder')} of patients"
    return assemble(path, tree, layout, samples, declared, reason, patients=patients)


def which_classes(path: Path, inside: Inside) -> UsageError:
    """The question which of two levels are the classes."""
    inner, outer = (shlex.quote(",".join(names)) for names in (inside.inner, inside.outer))
    ways = [f"Those inside, put together: -o classes={inner}"]
    if inside.cut or inside.in_splits:
        what = "part" if inside.cut else "dataset"
        ways.append(f"One {what} alone: {path / inside.outer[0]}")
    if not inside.in_splits:
        ways.append("Those inside, each folder round them a patient: --layout patient")
    return UsageError(
        f"which folders in {path} are the classes is not clear: {shown([*inside.outer])} each "
        f"hold {shown([*inside.inner])}",
        "\n".join([*ways, f"Those outside: -o classes={outer}"]),
    )


def class_words_hint(tree: Tree) -> str:
    """The option that reads the classes from the file names, where those seem to tell them."""
    words = class_words(tree.root.below())
    if not words:
        return ""
    option = shlex.quote(f"label_regex=({'|'.join(words)})[^/]*$")
    return f"The file names seem to tell the class ({shown(words)}). If they do: -o {option}"


def class_folder_hint(path: Path) -> str:
    """The folder above, where the one given looks like one class of several: images lie in it,
    and in a folder beside it."""
    parent = Path(os.path.abspath(path)).parent
    try:
        beside = sorted(f.name for f in parent.iterdir() if f.is_dir() and f.name != path.name)
        holding = [name for name in beside if any(map(is_image, (parent / name).iterdir()))]
    except OSError:
        return ""
    if not holding:
        return ""
    return (
        f"If {path.name} is a class of its own, beside {shown(holding)}, point medimg at the "
        f"folder above: {parent}"
    )


def is_image(file: Path) -> bool:
    """Whether a file is called like an image, and is not hidden."""
    return is_image_name(file.name) and not file.name.startswith(".")


def class_samples(folder: Folder, split: str | None) -> list[Sample]:
    """The images of a class folder; `NORMAL/train/…` names the split below the class."""
    holding = folder.holding()
    if (
        split is None
        and holding
        and not folder.images
        and all(canonical_split(f.name) for f in holding)
    ):
        return [
            Sample(path, folder.name, split=canonical_split(f.name))
            for f in holding
            for path in f.below()
        ]
    return [Sample(path, folder.name, split=split) for path in folder.below()]


def splits_of(samples: Iterable[Sample], split: str | None) -> set[str | None]:
    """The splits that a class folder declares."""
    return {s.split for s in samples} or {split}


def named_classes(path: Path, tree: Tree, classes: tuple[str, ...], layout: str) -> DatasetIndex:
    """The index by folders of the names given, at whatever depth."""
    samples: list[Sample] = []
    declared: set[tuple[str | None, str]] = set()
    for split, folder in folders_named(tree.root, set(classes), None):
        samples += [Sample(p, folder.name, split=split) for p in folder.below()]
        declared.add((split, folder.name))
    missing = [name for name in classes if name not in {label for _, label in declared}]
    if missing:
        known = sorted({f.name for f in tree.root.walk() if f.path})
        raise UsageError(
            f"no folder under {path} is called {missing[0]!r}", near_misses(missing[0], known[:40])
        )
    reason = f"folders called {' and '.join(classes)}, as asked for"
    return assemble(path, tree, layout, samples, declared, reason, outside="wrong-level")


def classes_in_names(path: Path, tree: Tree, regex: str, layout: str) -> DatasetIndex:
    """The index by the first group of a regular expression, searched in each image's path.

    Raises:
        UsageError: it is no regular expression, has no group, or matches no path.
    """
    pattern = pattern_of(regex, "label_regex", "class", "([a-z]+)_")
    samples = []
    for image in tree.root.below():
        match = pattern.search(image)
        if match and match.group(1):
            splits = (canonical_split(folder) for folder in image.split("/")[:-1])
            samples.append(Sample(image, match.group(1), split=next(filter(None, splits), None)))
    if not samples:
        raise UsageError(
            f"label_regex={regex!r} matches no path under {path}",
            f"A path looks like this: {next(iter(tree.root.below()))}",
        )
    declared = {(s.split, str(s.label)) for s in samples}
    reason = f"classes in the file names, by label_regex={regex}"
    return assemble(path, tree, layout, samples, declared, reason)


def class_words(paths: Iterable[str]) -> list[str]:
    """What file names begin with before a mark or a number, where that may be the class.

    >>> class_words(["covid_1.png", "normal_1.png", "covid-2.png", "normal_2.png"])
    ['covid', 'normal']
    >>> class_words(["a.png", "b.png", "c.png"])
    []
    """
    words: dict[str, int] = {}
    total = 0
    for path in paths:
        total += 1
        match = LEADING_WORD.match(path.rpartition("/")[2])
        if match:
            words[match[1]] = words.get(match[1], 0) + 1
    several = 2 <= len(words) <= MOST_CLASS_WORDS and min(words.values()) > 1
    return sorted(words) if several and sum(words.values()) == total else []


def folders_named(
    folder: Folder, names: set[str], split: str | None
) -> Iterable[tuple[str | None, Folder]]:
    """The topmost folders of these names with the split they lie in."""
    for inner in folder.folders:
        if inner.name in names:
            yield split, inner
        else:
            yield from folders_named(inner, names, split or canonical_split(inner.name))


def assemble(
    path: Path,
    tree: Tree,
    layout: str,
    samples: Iterable[Sample],
    declared: Iterable[tuple[str | None, str]],
    reason: str,
    outside: str = "missing-labels",
    patients: str | None = None,
) -> DatasetIndex:
    """An index of a tree; its images that are in no sample have no label."""
    ordered = tuple(sorted(samples, key=lambda s: s.path))
    taken = {s.path for s in ordered}
    rest = tuple(Sample(p, None) for p in sorted(tree.root.below()) if p not in taken)
    declared = tuple(sorted(set(declared), key=lambda d: (d[0] or "", d[1])))
    return DatasetIndex(
        name=dataset_name(path),
        root=Path(os.path.abspath(path)),
        layout=layout,
        source=FileSource(path),
        samples=ordered,
        classes=tuple(sorted({label for _, label in declared})),
        reason=reason,
        patients=patients,
        unlabelled=rest,
        strays=tuple(tree.strays),
        declared=declared,
        findings=(*tree.findings, *outside_finding(rest, outside)),
    )


def outside_finding(rest: tuple[Sample, ...], check: str) -> tuple[Finding, ...]:
    """The warning about images that lie in no class folder."""
    if not rest:
        return ()
    return (
        Finding(
            check,
            "warning",
            f"{counted(len(rest), 'image lies', 'images lie')} in no class folder and "
            f"{'has' if len(rest) == 1 else 'have'} no label: {rest[0].path}",
            count=len(rest),
            items=files(s.path for s in rest),
            hint="What lies outside is never trained on: move it into a class folder, or leave it.",
        ),
    )


def describe(splits: Level, names: list[str]) -> str:
    """The reading in words."""
    where = sorted({folder.name for split, folder in splits.parents if split})
    kind = "class folder" if len(names) == 1 else "class folders"
    return f"{kind} {shown(names)}" + (f" in {shown(where)}" if where else "")


def shown(names: list[str], most: int = 6) -> str:
    """`a, b, c and 4 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
