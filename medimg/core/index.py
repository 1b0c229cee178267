"""Making, narrowing, writing and naming dataset indexes.

What every layout needs: sources of pixels, the names of splits, options, patients from file
names, the positive class, and an index written as a CSV file that every command accepts.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import re
import stat
import tempfile
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from medimg.core.errors import InputError, UsageError, near_misses
from medimg.core.types import DatasetIndex, Finding, Sample, Source

# a picture inside an archive: <file>::<part>/<number>
MEMBER = "::"
INDEX_HEADER = ("image", "label", "group", "split")
# what a report can hold without becoming the listing itself
MOST_ITEMS = 200

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "validate": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "tst": "test",
}
# words that say nothing about which split it is: train_set, test-images, Training Data
SPLIT_PADDING = {"set", "data", "dataset", "images", "imgs", "img", "image", "folder", "split"}

NEGATIVE_WORDS = {
    "0", "benign", "control", "controls", "false", "free", "healthy", "neg", "negative", "no",
    "none", "normal", "not", "notumor", "off", "unaffected", "uninfected", "without",
    # German, Spanish, Portuguese, French, Italian
    "gesund", "gutartig", "kein", "keine", "negativ", "ohne", "unauffallig",
    "benigna", "benigno", "negativa", "negativo", "sana", "sano", "saudavel", "sem", "sin",
    "benin", "negatif", "normale", "sain", "sans", "senza",
}  # fmt: skip


OPENED = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


# -- sources -----------------------------------------------------------------------------------


class FileSource:
    """Encoded image files under a folder.

    Args:
        root: paths are relative to it; absolute ones and `..` are followed too.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))
        self._folder = str(self.root)

    def file(self, path: str) -> Path:
        """Where an image lies."""
        return self.root / path

    def read(self, path: str) -> bytes:
        """The file's bytes.

        Raises:
            OSError: it can't be read.
        """
        file = os.path.join(self._folder, path)
        # without waiting for the other end of a pipe; three calls less than `open` makes
        handle = os.open(file, OPENED)
        try:
            state = os.fstat(handle)
            if not stat.S_ISREG(state.st_mode):
                raise OSError(errno.EINVAL, "it is no file", file)
            data = os.read(handle, state.st_size + 1)
            if len(data) == state.st_size:
                return data
            return whole_file(handle, data)
        finally:
            os.close(handle)


def whole_file(handle: int, begun: bytes) -> bytes:
    """The rest of a file after what was read of it: it grew, shrank, or came in parts."""
    parts = [begun]
    while parts[-1]:
        parts.append(os.read(handle, 1 << 20))
    return b"".join(parts)


class MemberSource(FileSource):
    """Files under a folder, and pictures inside archives (`scans.npz::train/12`).

    Args:
        root: paths are relative to it.
        opener: gives the source of an archive's pictures, whose keys are
            `<archive's name>::<part>/<number>`; asked once an archive.
    """

    def __init__(self, root: Path, opener: Callable[[Path], Source]) -> None:
        super().__init__(root)
        self._opener = opener
        self._opened: dict[Path, Source] = {}
        self._opening = Lock()

    def file(self, path: str) -> Path:
        """The file, or the archive that holds the picture."""
        return self.root / path.rpartition(MEMBER)[0] if MEMBER in path else self.root / path

    def read(self, path: str) -> Any:
        """The file's bytes, or the pixels of the archive's picture.

        Raises:
            OSError: the file or archive can't be read, or holds no such picture.
        """
        archive, mark, member = path.rpartition(MEMBER)
        if not mark:
            return super().read(path)
        file = self.root / archive
        with self._opening:
            if file not in self._opened:
                self._opened[file] = self._opener(file)
        return self._opened[file].read(f"{file.name}{MEMBER}{member}")


def dataset_name(path: Path) -> str:
    """What to call the dataset at `path`: the folder's name, a file's name without suffix."""
    full = Path(os.path.abspath(path))
    return (full.name if full.is_dir() else full.stem) or "dataset"


# -- names of splits and classes ---------------------------------------------------------------


def canonical_split(name: str) -> str | None:
    """`train`, `val` or `test` where a folder or cell is called so in any usual spelling.

    >>> [canonical_split(n) for n in ("Training", "valid", "test_set", "Testing", "NORMAL")]
    ['train', 'val', 'test', 'test', None]
    >>> canonical_split("01_Train")
    'train'
    """
    words = [w for w in re.split(r"[^a-z0-9]+", name.strip().lower()) if w]
    if len(words) > 1 and words[0].isdecimal():  # numbered so that they stand in order
        words = words[1:]
    telling = [w for w in words if w not in SPLIT_PADDING]
    return SPLIT_WORDS.get(telling[0]) if len(telling) == 1 else None


def guess_positive(classes: Iterable[str]) -> str | None:
    """The class of two whose name does not say normal, benign, negative, healthy, no or 0.

    >>> guess_positive(["NORMAL", "PNEUMONIA"]), guess_positive(["0", "1"])
    ('PNEUMONIA', '1')
    >>> guess_positive(["left", "right"]) is None
    True
    """
    names = list(classes)
    if len(names) != 2:
        return None
    telling = [name for name in names if not sounds_negative(name)]
    return telling[0] if len(telling) == 1 else None


def sounds_negative(name: str) -> bool:
    """Whether a class name is that of the absence of disease.

    >>> [sounds_negative(n) for n in ("No finding", "non-COVID", "IDC(-)", "abnormal", "IDC(+)")]
    [True, True, True, False, False]
    >>> [sounds_negative(n) for n in ("ohne Befund", "Sano", "Neumonía", "Unauffällig")]
    [True, True, False, True]
    """
    text = unicodedata.normalize("NFKD", name.strip().lower())
    text = "".join(c for c in text if not unicodedata.combining(c))
    if re.search(r"\(-\)|-$", text):
        return True
    words = [w for w in re.split(r"[^a-z0-9]+", text) if w]
    return any(w in NEGATIVE_WORDS or w.startswith("non") for w in words)


# -- options -----------------------------------------------------------------------------------


def check_options(layout: str, options: Mapping[str, str], known: Collection[str]) -> None:
    """Refuses an option that the layout does not have.

    Raises:
        UsageError: with the near miss.
    """
    for name in options:
        if name not in known:
            raise UsageError(
                f"the layout {layout!r} has no option {name!r}", near_misses(name, sorted(known))
            )


def listed(text: str) -> tuple[str, ...]:
    """The items of `a,b`, stripped.

    >>> listed("benign, malignant")
    ('benign', 'malignant')
    """
    return tuple(item.strip() for item in text.split(",") if item.strip())


def pattern_of(
    regex: str,
    option: str = "group_regex",
    what: str = "patient",
    example: str = r"(patient\d+)",
) -> re.Pattern[str]:
    """A compiled regular expression with at least one group.

    Args:
        option: under which it was given; what: its first group is; example: of such a one.
    Raises:
        UsageError: it is none, or has no group.
    """
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise UsageError(
            f"{option}={regex!r} is no regular expression: {error}",
            f"For example: -o '{option}={example}'",
        ) from error
    if not pattern.groups:
        raise UsageError(
            f"{option}={regex!r} has no group ( ) that is the {what}",
            f"Put brackets round the {what}'s part: -o '{option}=({regex})'",
        )
    return pattern


def with_groups(samples: Iterable[Sample], regex: str) -> tuple[Sample, ...]:
    """The samples, each with the first group of `regex` in its path as the patient.

    The regular expression is searched in the relative path with `/` between folders; a sample
    whose path does not match has no patient.

    Raises:
        UsageError: `regex` is no regular expression or has no group.
    """
    pattern = pattern_of(regex)

    def patient(path: str) -> str | None:
        match = pattern.search(path)
        return match.group(1) or None if match else None

    return tuple(replace(sample, group=patient(sample.path)) for sample in samples)


def keep_classes(samples: Iterable[Sample], classes: Sequence[str]) -> tuple[Sample, ...]:
    """The samples of the classes named.

    Raises:
        UsageError: a class that no sample has, with the near miss.
    """
    found = tuple(samples)
    known = sorted({s.label for s in found if s.label is not None})
    for name in classes:
        if name not in known:
            raise UsageError(f"no image is of the class {name!r}", near_misses(name, known))
    return tuple(s for s in found if s.label in classes)


def with_patient_options(index: DatasetIndex, options: Mapping[str, str]) -> DatasetIndex:
    """The index with patients as `group_regex=…` or `group=none` say.

    Raises:
        UsageError: a bad regular expression, or one that matches no path.
    """
    if options.get("group", "").lower() == "none":
        return without_patients(index)
    if "group_regex" not in options:
        return index
    regex = options["group_regex"]
    samples = with_groups(index.samples, regex)
    unmatched = [s for s in samples if s.group is None]
    if samples and len(unmatched) == len(samples):
        raise UsageError(
            f"group_regex={regex!r} matches none of {len(samples):,} paths",
            f"A path looks like this: {samples[0].path}",
        )
    unlabelled = with_groups(index.unlabelled, regex)
    changed = replace(index, unlabelled=unlabelled, patients=f"regular expression {regex}")
    return changed.with_samples(samples, findings=index.findings + unmatched_finding(unmatched))


def unmatched_finding(unmatched: Sequence[Sample]) -> tuple[Finding, ...]:
    """The warning that some paths name no patient."""
    if not unmatched:
        return ()
    return (
        Finding(
            "patient-ids-unusable",
            "warning",
            f"{counted(len(unmatched), 'path names', 'paths name')} no patient by group_regex: "
            f"{unmatched[0].path}",
            count=len(unmatched),
            items=files(s.path for s in unmatched),
            hint="Widen the expression, or patients without a name may stand on both sides of a "
            "split.",
        ),
    )


def without_patients(index: DatasetIndex) -> DatasetIndex:
    """The index with no patient known, because somebody said that there are none."""
    return replace(
        index,
        samples=tuple(replace(s, group=None) for s in index.samples),
        unlabelled=tuple(replace(s, group=None) for s in index.unlabelled),
        patients="",
    )


def files(paths: Iterable[str]) -> tuple[dict[str, str], ...]:
    """A finding's items: the first so many files."""
    return tuple({"file": path} for path in list(paths)[:MOST_ITEMS])


def counted(number: int, one: str, several: str = "") -> str:
    """A number with its noun.

    >>> counted(1, "image"), counted(1200, "image"), counted(2, "image has", "images have")
    ('1 image', '1,200 images', '2 images have')
    """
    return f"{number:,} {one if number == 1 else several or one + 's'}"


# -- naming and writing an index ---------------------------------------------------------------


def fingerprint(index: DatasetIndex, hashes: Mapping[str, str]) -> str:
    """What the dataset is, wherever it lies: a hash of its images' bytes, labels and patients.

    Args:
        hashes: SHA-256 of each image by its path in the index; an unreadable one may be absent.
    Returns:
        `sha256:…`, the same for any order of listing, folder, file name or split.
    """
    # labels and patients recur: written once each, a hash needs no escaping
    written = {word: json.dumps(word) for s in index.samples for word in (s.label, s.group)}
    rows = sorted(
        f'["{hashes.get(s.path, "")}", {written[s.label]}, {written[s.group]}]'
        for s in index.samples
    )
    digest = hashlib.sha256("\n".join(rows).encode("ascii"))
    return f"sha256:{digest.hexdigest()}"


def write_index_csv(
    index: DatasetIndex, path: Path, samples: Iterable[Sample] | None = None
) -> Path:
    """Writes the labelled images as a CSV file that every command takes as DATASET.

    Columns image, label, group, split, then the index's further columns; UTF-8. Images are
    named relative to the CSV file's folder (absolute where they lie on another drive), pictures
    inside an archive as `scans.npz::train/12`. The file appears whole or not at all.

    Args:
        samples: the rows to write; default all of `index.samples`.
    Raises:
        InputError: the file can't be written, or stands there and is no index that this wrote.
    """
    refuse_replacing(Path(path), index)
    rows = tuple(index.samples if samples is None else samples)
    extra = sorted({name for s in rows for name in s.columns})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*INDEX_HEADER, *(column_name(name) for name in extra)])
    locate = locator(index, path)
    for s in rows:
        fixed = [locate(s.path), s.label or "", s.group or "", s.split or ""]
        writer.writerow([*fixed, *(s.columns.get(name, "") for name in extra)])
    return write_whole(Path(path), text.getvalue())


def refuse_replacing(path: Path, index: DatasetIndex) -> None:
    """Fails where writing `path` would change a file of the user's."""
    if not path.exists():
        return
    ours = path.is_file() and path.read_bytes().startswith(",".join(INDEX_HEADER).encode())
    if not ours or (index.root.exists() and path.samefile(index.root)):
        what = "is the dataset itself" if ours else "exists and is no index written by medimg"
        raise InputError(f"{path} {what}", "Give another file name.")


def column_name(name: str) -> str:
    """A further column's heading, kept apart from the four that an index has."""
    return f"{name} (original)" if name.strip().lower() in INDEX_HEADER else name


def locator(index: DatasetIndex, target: Path) -> Callable[[str], str]:
    """From an index's path to the path as seen from the folder of `target`."""
    # the system follows links before it goes up by '..', so the folder's real path counts
    folder = os.path.realpath(os.path.dirname(os.path.abspath(target)))
    base = source_folder(index)

    @cache
    def seen(directory: str) -> str:
        full = os.path.join(base, directory)
        try:
            return os.path.relpath(full, folder)
        except ValueError:  # another drive
            return full

    def locate(path: str) -> str:
        file, mark, member = path.rpartition(MEMBER) if MEMBER in path else (path, "", "")
        directory, _, name = file.rpartition("/")
        way = os.path.join(seen(directory or ("/" if file.startswith("/") else "")), name)
        return f"{os.path.normpath(way).replace(os.sep, '/')}{mark}{member}"

    return locate


def source_folder(index: DatasetIndex) -> str:
    """The folder that the index's paths are relative to."""
    root = getattr(index.source, "root", None)
    if root is None:
        root = index.root if index.root.is_dir() else index.root.parent
    return os.path.abspath(root)


def write_whole(path: Path, text: str) -> Path:
    """Writes a text file beside its place and moves it there.

    Raises:
        InputError: the disk or folder can't take it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            # file names that are no UTF-8 are given back byte for byte
            with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(text)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise InputError(
            f"{path} can't be written: {error.strerror or error}", "Choose another folder."
        ) from error
    return path
