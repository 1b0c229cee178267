"""Opening DATASET: which layout reads it, which known dataset it is, who the patients are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from medimg.core.errors import InputError, MedimgError, PluginError, UsageError, near_misses
from medimg.core.types import DatasetIndex, Finding, Guess, Layout, Source

if TYPE_CHECKING:
    from medimg.core.registry import DatasetCard, Registry
    from medimg.hookspecs import DatasetInfo
    from medimg.manager import PluginManager

# where datasets asked for by name are looked for, before ./data
DATA_VARIABLE = "MEDIMG_DATA"
# archives of files, which no layout looks into
ARRAYS = ".npz"
PACKED = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar")


def open_dataset(
    path_or_name: str,
    *,
    layout: str | None,
    options: Mapping[str, str],
    manager: PluginManager,
    registry: Registry,
    positive: str | None = None,
) -> DatasetIndex:
    """The index of a folder, table, archive or registry name.

    Every layout is asked how sure it is; the surest reads, and says why. A dataset that the
    registry knows takes its card's patients and positive class.

    Args:
        layout: the layout to read with; None asks them all.
        options: the layout's own options.
        positive: the class that sensitivity is about; None takes the card's, else guesses by name.
    Raises:
        InputError: nothing is there, or nothing that a layout reads.
        UsageError: an unknown layout, option or class; two layouts equally sure.
        PluginError: a layout broke.
    """
    path, card = find(path_or_name, registry)
    if card is not None:
        layout = layout or (card.layout if card.layout in manager.datasets() else None)
        options = {**(card.options if layout == card.layout else {}), **options}
    from medimg.datasets._tree import listings_kept

    with listings_kept():
        chosen = choose_layout(path, layout, options, manager)
        index = read(chosen, path, options)
    index = replace(
        index,
        reason=index.reason or chosen.reason,
        findings=index.findings + chosen.findings,
        source=with_archives(index, manager),
    )
    index = recognised(index, registry, options)
    return with_positive(index, positive, registry)


# -- where it is -------------------------------------------------------------------------------


def find(path_or_name: str, registry: Registry) -> tuple[Path, DatasetCard | None]:
    """Where DATASET lies, and its card where it was asked for by its registry name.

    Raises:
        InputError: it is not there.
    """
    path = Path(path_or_name).expanduser()
    if path.exists():
        return path, None
    if Path(path_or_name).name != path_or_name:
        raise missing(path)
    try:
        card = registry.dataset(path_or_name)
    except UsageError:
        raise missing(path, registry) from None
    places = [Path("data")]
    if os.environ.get(DATA_VARIABLE):
        places.insert(0, Path(os.environ[DATA_VARIABLE]))
    for place in places:
        for name in dict.fromkeys((path_or_name, card.name, *card.folders)):
            if (place / name).exists():
                return place / name, card
    looked = " and ".join(str(place / card.name) for place in places)
    raise InputError(
        f"the dataset {card.name} is not at {looked}",
        f"Get it from {source_of(card)} and put it there, or give its path.",
    )


def source_of(card: DatasetCard) -> str:
    """Where a card says its dataset is published."""
    if card.source.url:
        return card.source.url
    return f"doi:{card.source.doi}" if card.source.doi else "its publisher"


def missing(path: Path, registry: Registry | None = None) -> InputError:
    """The error for a path where nothing is."""
    hint = "Give a folder, a .csv, an archive or a name that `medimg datasets` lists."
    near = near_misses(path.name, sorted(registry.datasets)) if registry else ""
    return InputError(f"{path} does not exist", f"{near} {hint}" if "Did" in near else hint)


# -- which layout ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chosen:
    """The layout that reads a dataset, why, and what went wrong while asking."""

    name: str
    reader: Layout
    reason: str = ""
    findings: tuple[Finding, ...] = ()


def choose_layout(
    path: Path, layout: str | None, options: Mapping[str, str], manager: PluginManager
) -> Chosen:
    """The layout named, or the surest.

    Raises:
        UsageError: no such layout, or two are equally sure.
        InputError: none reads it.
    """
    offered = manager.datasets()
    if layout is not None:
        if layout not in offered:
            raise UsageError(f"no layout is called {layout!r}", near_misses(layout, list(offered)))
        return Chosen(layout, reader_of(offered[layout], manager), f"asked for: {layout}")
    guesses, readers, findings = asked(path, offered, manager)
    sure = {name: guess for name, guess in guesses.items() if guess.confidence > 0}
    if not sure:
        raise unread(path, guesses, findings, offered)
    # -o label=… is meant for a layout that has labels columns
    able = {n: g for n, g in sure.items() if knows(readers[n], options)}
    ranked = sorted((able or sure).items(), key=lambda item: -item[1].confidence)
    best, guess = ranked[0]
    if len(ranked) > 1 and ranked[1][1].confidence == guess.confidence:
        other, its = ranked[1]
        raise UsageError(
            f"{path} could be of the layout {best} ({guess.reason}) or {other} ({its.reason})",
            f"Say which: --layout {best} or --layout {other}",
        )
    return Chosen(best, readers[best], guess.reason, tuple(findings))


def asked(
    path: Path, offered: Mapping[str, DatasetInfo], manager: PluginManager
) -> tuple[dict[str, Guess], dict[str, Layout], list[Finding]]:
    """Every layout's guess; one that breaks is left out with a finding."""
    guesses: dict[str, Guess] = {}
    readers: dict[str, Layout] = {}
    findings: list[Finding] = []
    for name, info in offered.items():
        try:
            readers[name] = reader_of(info, manager)
            guesses[name] = sound(name, readers[name].sniff(path))
        except InputError:
            raise
        except Exception as error:  # a stranger's plugin may raise anything
            findings.append(broken(name, error))
    return guesses, readers, findings


def sound(name: str, guess: Any) -> Guess:
    """A guess, or PluginError where a plugin answered something else."""
    if not isinstance(guess, Guess) or not 0.0 <= guess.confidence <= 1.0:
        raise PluginError(f"the layout {name!r} answered {guess!r}, not a Guess of 0..1")
    return guess


def broken(name: str, error: Exception) -> Finding:
    """The warning about a layout that could not be asked."""
    return Finding(
        "plugin-failed",
        "warning",
        f"the layout {name!r} could not be asked: {type(error).__name__}: {error}",
        1,
        hint="medimg plugins shows who offers it.",
    )


def reader_of(info: DatasetInfo, manager: PluginManager) -> Layout:
    """A layout's reader, imported and made.

    Raises:
        PluginError: it can't be.
    """
    target: Callable[[], Layout] = manager.resolve(info)
    try:
        return target()
    except MedimgError:
        raise
    except Exception as error:
        raise PluginError(f"the layout {info.name!r} can't be made: {error}") from error


def knows(reader: Layout, options: Mapping[str, str]) -> bool:
    """Whether a layout has all the options given; one that doesn't say is asked by reading."""
    known = getattr(reader, "options", None)
    return known is None or all(name in known for name in options)


def unread(
    path: Path,
    guesses: Mapping[str, Guess],
    findings: list[Finding],
    offered: Mapping[str, DatasetInfo],
) -> InputError:
    """The error where no layout reads a path: what each looked for."""
    said = "; ".join(f"{name}: {guess.reason}" for name, guess in guesses.items())
    failed = "".join(f" ({finding.message})" for finding in findings)
    what = "folder" if path.is_dir() else "file"
    dicom = dicom_in(path)
    holds = f", which {'holds' if path.is_dir() else 'is'} DICOM" if dicom else ""
    return InputError(
        f"no layout reads the {what} {path}{holds} ({said}){failed}",
        dicom
        or packed_in(path)
        or archive_in(path, offered)
        or "It takes folders of images by class or by patient, a .csv that names images, or an "
        "archive that a plugin reads: medimg plugins",
    )


def archive_in(path: Path, offered: Mapping[str, DatasetInfo]) -> str:
    """The next step where a file is an archive of arrays (.npz), or a folder holds such; else
    empty."""
    named = [path] if path.is_file() else sorted(path.iterdir())
    found = [file for file in named if file.suffix.lower() == ARRAYS]
    if not found:
        return ""
    if any(ARRAYS in info.suffixes for info in offered.values()):
        return f"Give one of the archives in it: {quote(str(found[0]))}" if path.is_dir() else ""
    return (
        f"{found[0].name} is read by the plugin medimg-medmnist: pip install medimg-medmnist "
        "(from a checkout: pip install ./plugins/medimg-medmnist)"
    )


def dicom_in(path: Path) -> str:
    """The next step where a file is DICOM, or a folder holds such files; empty where not."""
    from medimg.datasets._tree import dicom_hint, read_tree, starts_like_dicom

    if not path.is_dir():
        return dicom_hint() if starts_like_dicom(path) else ""
    hints = [f.hint for f in read_tree(path, sizes=False).findings]
    return dicom_hint() if dicom_hint() in hints else ""


def packed_in(path: Path) -> str:
    """The next step where a file is an archive of files, or a folder holds such; else empty."""
    if path.is_file():
        return f"Unpack it first: {path.name}" if path.name.lower().endswith(PACKED) else ""
    found = sorted(f.name for f in path.iterdir() if f.name.lower().endswith(PACKED))
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"Unpack what is in it first: {found[0]}{more}" if found else ""


def read(chosen: Chosen, path: Path, options: Mapping[str, str]) -> DatasetIndex:
    """The index, any failure of the plugin named as its own.

    Raises:
        PluginError: it raised what it should not, or gave no index.
    """
    try:
        index = chosen.reader.read(path, options)
    except MedimgError:
        raise
    except Exception as error:
        raise PluginError(
            f"the layout {chosen.name!r} failed on {path}: {type(error).__name__}: {error}",
            "Tell its authors; another layout may read it: --layout NAME",
        ) from error
    if not isinstance(index, DatasetIndex):
        raise PluginError(f"the layout {chosen.name!r} gave {type(index).__name__}, no index")
    return index


# -- pictures inside archives ------------------------------------------------------------------


def with_archives(index: DatasetIndex, manager: PluginManager) -> Source:
    """The index's source, able to open the archives that a table's rows point into."""
    from medimg.core.index import MEMBER, FileSource, MemberSource

    rows = (*index.samples, *index.unlabelled)
    archives = {s.path.rpartition(MEMBER)[0] for s in rows if MEMBER in s.path}
    if type(index.source) is not FileSource or not archives:
        return index.source
    return MemberSource(
        index.source.root, archive_opener(index.root.name, sorted(archives), manager)
    )


def archive_opener(
    who: str, archives: Iterable[str], manager: PluginManager
) -> Callable[[Path], Source]:
    """What opens archives, by the plugins that say they read their suffix.

    Args:
        who: what points into them, for the message.
    Raises:
        InputError: no plugin opens one of them.
    """
    openers = {suffix: info for info in manager.datasets().values() for suffix in info.suffixes}
    for archive in archives:
        if Path(archive).suffix.lower() not in openers:
            raise InputError(
                f"{who} points into {archive}, and no plugin here opens such archives",
                'For MedMNIST: pip install "medimg[medmnist]"; then: medimg plugins',
            )
    return lambda file: reader_of(openers[file.suffix.lower()], manager).read(file, {}).source


# -- pictures without labels -------------------------------------------------------------------


@dataclass(frozen=True)
class Picture:
    """A picture, by the name that users know it by, and what reads its bytes or pixels.

    `read` raises OSError where it can't be read.
    """

    name: str
    read: Callable[[], Any]


def pictures_at(path: Path, manager: PluginManager, options: Mapping[str, str]) -> list[Picture]:
    """The pictures that layouts find in a file or folder, labels or not; none where none does.

    A layout that offers `pictures` is asked for them; else the surest reads the path as a dataset.

    Args:
        path: a file, a folder, or a picture inside an archive (`scans.npz::train/12`).
        options: those that training was given; each layout takes what concerns its pixels.
    Raises:
        InputError: no plugin opens the archive.
        PluginError: a layout broke.
    """
    from medimg.core.index import MEMBER

    archive, mark, member = path.as_posix().rpartition(MEMBER)
    if mark and not path.exists() and Path(archive).exists():
        source = archive_opener(str(path), [archive], manager)(Path(archive))
        key = f"{Path(archive).name}{MEMBER}{member}"
        return [Picture(path.as_posix(), partial(source.read, key))]
    for info in manager.datasets().values():
        try:
            offered = getattr(reader_of(info, manager), "pictures", None)
        except PluginError:  # another one may read it
            continue
        found: tuple[Source | None, list[str]] = offered(path, options) if offered else (None, [])
        if found[0] is not None and found[1]:
            return named_pictures(path, found[0], found[1])
    try:
        chosen = choose_layout(path, None, {}, manager)
        index = read(chosen, path, {})
    except (InputError, UsageError):
        return []
    keys = [s.path for s in (*index.samples, *index.unlabelled)]
    return named_pictures(path, with_archives(index, manager), keys)


def named_pictures(path: Path, source: Source, keys: Iterable[str]) -> list[Picture]:
    """The pictures of a source, named as seen from where `path` is."""
    base = path if path.is_dir() else path.parent
    return [
        Picture(Path(os.path.normpath(base / key)).as_posix(), partial(source.read, key))
        for key in keys
    ]


# -- what is known about it --------------------------------------------------------------------


def recognised(index: DatasetIndex, registry: Registry, options: Mapping[str, str]) -> DatasetIndex:
    """The index with its card's name and patients, where the registry knows it."""
    found = registry.recognise(index)
    if found is None:
        return index
    card, why = found
    index = replace(index, card=card.name, recognised_by=why)
    if (
        card.patient_pattern
        and index.patients is None
        and not {"group", "group_regex"} & {*options}
    ):
        index = card_patients(index, card)
    return index


def card_patients(index: DatasetIndex, card: DatasetCard) -> DatasetIndex:
    """Patients by the card's pattern; unchanged where no path fits it."""
    from medimg.core.index import unmatched_finding, with_groups

    samples = with_groups(index.samples, card.patient_pattern or "")
    unmatched = [s for s in samples if s.group is None]
    if len(unmatched) == len(samples):
        return index
    return replace(
        index,
        samples=samples,
        unlabelled=with_groups(index.unlabelled, card.patient_pattern or ""),
        patients=f"file names, by the pattern of {card.name}: {card.patient_pattern}",
        findings=index.findings + unmatched_finding(unmatched),
    )


def with_positive(index: DatasetIndex, positive: str | None, registry: Registry) -> DatasetIndex:
    """The index with its positive class: the one asked for, the card's, or the one by name.

    Raises:
        UsageError: the class asked for is none of the dataset's.
    """
    from medimg.core.index import guess_positive

    if positive is not None:
        if positive not in index.classes:
            raise UsageError(
                f"--positive {positive!r} is no class of {index.name}",
                near_misses(positive, list(index.classes)),
            )
        return replace(index, positive=positive)
    if len(index.classes) != 2:
        return index
    card = registry.datasets.get(index.card) if index.card else None
    known = card.positive_of(index.classes) if card else None
    return replace(index, positive=known or index.positive or guess_positive(index.classes))
