"""A folder of images as a tree: what lies where, without strays, masks and copies of itself."""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

from medimg.api import Finding, InputError, canonical_split, counted, is_image_name, is_run_folder

JUNK_FOLDERS = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"}
IMAGE_FOLDERS = {"image", "images", "img", "imgs"}
MASK_FOLDERS = {"mask", "masks"}
MASK_NAME = re.compile(r"(?P<image>.+?)_mask(_\d+)?", re.IGNORECASE)
REPORT = "report.json"
DICOM_SUFFIXES = {".dcm", ".dicom", ".ima"}
# files of no telling name that are opened to see whether they are DICOM
LOOKED_INTO = 20


@dataclass
class Folder:
    """A folder: its images (paths relative to the root), how many other files, its folders."""

    name: str
    path: str
    images: list[str] = field(default_factory=list)
    others: int = 0
    folders: list[Folder] = field(default_factory=list)

    def below(self) -> Iterator[str]:
        """Every image in it, at any depth."""
        yield from self.images
        for folder in self.folders:
            yield from folder.below()

    @property
    def holds_images(self) -> bool:
        return bool(self.images) or any(f.holds_images for f in self.folders)

    @property
    def is_empty(self) -> bool:
        """No file at any depth: a class folder that somebody forgot to fill."""
        return not self.images and not self.others and all(f.is_empty for f in self.folders)

    def copy(self) -> Folder:
        """Another that can be changed without changing this, its folders too."""
        inner = [folder.copy() for folder in self.folders]
        return Folder(self.name, self.path, [*self.images], self.others, inner)

    def holding(self) -> list[Folder]:
        """The folders in it that hold an image at some depth."""
        return [f for f in self.folders if f.holds_images]

    def walk(self) -> Iterator[Folder]:
        """It and every folder in it."""
        yield self
        for folder in self.folders:
            yield from folder.walk()


@dataclass
class Tree:
    """The folder, the files in it that are no images, and what was left out and why.

    Args:
        strays: DICOM files are not among them.
    """

    root: Folder
    strays: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    dicom: list[str] = field(default_factory=list)

    def copy(self) -> Tree:
        """Another that can be changed without changing this."""
        return Tree(self.root.copy(), [*self.strays], [*self.findings], [*self.dicom])


def read_tree(path: Path, *, raw: bool = False, sizes: bool = True) -> Tree:
    """The tree under `path`.

    Args:
        raw: keep masks and nested copies.
        sizes: tell a nested copy by its files' sizes too, not by their names alone.
    Raises:
        InputError: the folder can't be listed.
    """
    tree = listing_of(path)
    if not raw:
        leave_out_masks(tree)
        for folder in list(tree.root.walk()):
            leave_out_copy(tree, folder, path, sizes)
    tree.dicom = dicom_files(path, tree.strays)
    apart = set(tree.dicom)
    tree.strays = [stray for stray in tree.strays if stray not in apart]
    tree.findings += dicom_finding(tree.dicom)
    return tree


# path to tree while a dataset is opened; None where every look is a new one
_kept: ContextVar[dict[str, Tree] | None] = ContextVar("kept listings", default=None)


@contextmanager
def listings_kept() -> Iterator[None]:
    """Every folder is listed once within: each layout that is asked looks at the same files."""
    before = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(before)


def listing_of(path: Path) -> Tree:
    """The tree as the folder has it, nothing left out; the caller's own.

    Raises:
        InputError: the folder can't be listed.
    """
    kept = _kept.get()
    key = os.path.abspath(path)
    if kept is not None and key in kept:
        return kept[key].copy()
    tree = Tree(Folder(path.name, ""))
    try:
        fill(tree, tree.root, path, frozenset())
    except OSError as error:
        raise InputError(f"the folder {path} can't be read: {error.strerror or error}") from error
    if kept is not None:
        kept[key] = tree.copy()
    return tree


def fill(tree: Tree, folder: Folder, path: Path, above: frozenset[tuple[int, int]]) -> bool:
    """Lists `path` into `folder`, and the folders in it; medimg's own run folders are passed over.

    Returns:
        Whether it is such a folder, or holds nothing else.
    """
    status = path.stat()
    above = above | {(status.st_dev, status.st_ino)}
    with os.scandir(path) as listing:
        entries = sorted(listing, key=name_of)
    # a run folder that was asked for by its name is read
    if folder.path and holds(entries, REPORT) and is_run_folder(path):
        return True
    passed_over = False
    for entry in entries:
        name = f"{folder.path}/{entry.name}" if folder.path else entry.name
        if not entry.is_dir():
            add_file(tree, folder, entry.name, name)
        elif entry.name in JUNK_FOLDERS or entry.name.startswith("."):
            tree.strays += junk_files(Path(entry.path), name)
        elif not entry.is_symlink() or identity(entry) not in above:
            # a link to a folder it lies in would never end
            passed_over |= not add_folder(tree, folder, entry, name, above)
    return passed_over and not (folder.images or folder.others or folder.folders)


def name_of(entry: os.DirEntry[str]) -> str:
    return entry.name


def holds(entries: Sequence[os.DirEntry[str]], name: str) -> bool:
    """Whether one of the entries, which are sorted by their names, has that name."""
    place = bisect_left(entries, name, key=name_of)
    return place < len(entries) and entries[place].name == name


def identity(entry: os.DirEntry[str]) -> tuple[int, int]:
    """What tells a folder from every other, links followed."""
    status = entry.stat()
    return status.st_dev, status.st_ino


def add_file(tree: Tree, folder: Folder, name: str, path: str) -> None:
    """Puts a file with the images or with the strays."""
    if is_image_name(name) and not name.startswith("."):
        folder.images.append(path)
        return
    tree.strays.append(path)
    # a .DS_Store does not make a folder a filled one
    folder.others += not name.startswith(".") and name != "Thumbs.db"


def add_folder(
    tree: Tree,
    folder: Folder,
    entry: os.DirEntry[str],
    path: str,
    above: frozenset[tuple[int, int]],
) -> bool:
    """Lists a folder in a folder; one that can't be listed becomes a finding.

    Returns:
        Whether it is part of the dataset, as medimg's own run folders are not.
    """
    inner = Folder(entry.name, path)
    try:
        if fill(tree, inner, Path(entry.path), above):
            return False
    except OSError as error:
        message = f"the folder {path} can't be listed: {error.strerror or error}"
        tree.findings.append(Finding("unreadable", "error", message, 1, ({"file": path},)))
        inner.others += 1
    folder.folders.append(inner)
    return True


def junk_files(folder: Path, path: str) -> list[str]:
    """Every file of a folder that an operating system or an editor left."""
    found = []
    for here, _, names in os.walk(folder):
        inside = Path(here).relative_to(folder).as_posix()
        prefix = path if inside == "." else f"{path}/{inside}"
        found += [f"{prefix}/{name}" for name in sorted(names)]
    return found


# -- what is left out ----------------------------------------------------------------------------


def leave_out_masks(tree: Tree) -> None:
    """Takes segmentation masks away: `masks` beside `images`, `x_mask.png` beside `x.png`."""
    masks: list[str] = []
    for folder in tree.root.walk():
        names = {f.name.lower() for f in folder.holding()}
        if names & MASK_FOLDERS and (names & IMAGE_FOLDERS or named_like_own(folder)):
            for inner in [f for f in folder.folders if f.name.lower() in MASK_FOLDERS]:
                masks += inner.below()
                folder.folders.remove(inner)
        named = named_masks(folder.images)
        masks += named
        folder.images = [path for path in folder.images if path not in named]
    if masks:
        tree.findings.append(mask_finding(masks))


def named_like_own(folder: Folder) -> bool:
    """Whether the images in its mask folder are called as images beside that folder are."""
    own = {stem_of(path) for path in folder.images}
    masks = {
        stem_of(path)
        for inner in folder.folders
        if inner.name.lower() in MASK_FOLDERS
        for path in inner.below()
    }
    return bool(masks) and len(masks & own) >= 0.9 * len(masks)


def stem_of(path: str) -> str:
    """A file's name without its extension, and without what says that it is a mask."""
    stem = os.path.splitext(os.path.basename(path))[0]
    match = MASK_NAME.fullmatch(stem)
    return match["image"] if match else stem


def named_masks(paths: Sequence[str]) -> set[str]:
    """The paths whose stem is that of another image in the folder, with `_mask` after it."""
    if not any("_mask" in path.lower() for path in paths):
        return set()
    stems = {path: os.path.splitext(path)[0] for path in paths}
    known = set(stems.values())
    matches = {path: MASK_NAME.fullmatch(stem) for path, stem in stems.items()}
    return {path for path, match in matches.items() if match and match["image"] in known}


def mask_finding(masks: list[str]) -> Finding:
    """The note that masks were left out."""
    return Finding(
        "stray-files",
        "info",
        f"{counted(len(masks), 'segmentation mask lies', 'segmentation masks lie')} beside the "
        f"images and {'was' if len(masks) == 1 else 'were'} left out: {masks[0]}",
        count=len(masks),
        items=({"file": os.path.dirname(masks[0])},),
    )


def dicom_finding(dicom: list[str]) -> list[Finding]:
    """The note that DICOM files were not read, and what reads them."""
    if not dicom:
        return []
    subject = counted(len(dicom), "DICOM file was", "DICOM files were")
    return [
        Finding(
            "stray-files",
            "info",
            f"{subject} not read: {dicom[0]}",
            count=len(dicom),
            items=tuple({"file": path} for path in dicom[:50]),
            hint=dicom_hint(),
        )
    ]


def dicom_files(root: Path, paths: Iterable[str]) -> list[str]:
    """Of some files those that are DICOM by their suffix; where none is, the first ones without a
    suffix of letters (`IM0001`, `1.2.840.113`) are looked into."""
    others = list(paths)
    named = [p for p in others if os.path.splitext(p)[1].lower() in DICOM_SUFFIXES]
    bare = (p for p in others if not os.path.splitext(p)[1][1:].isalpha())
    return named or [p for p in islice(bare, LOOKED_INTO) if starts_like_dicom(root / p)]


def starts_like_dicom(file: Path) -> bool:
    """Whether `DICM` stands at byte 128 (DICOM PS3.10, 7.1)."""
    try:
        # a pipe or a device would be waited for without end
        if not file.is_file():
            return False
        with file.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def dicom_hint() -> str:
    """The next step for who has DICOM files: the plugin, or its layout where it is installed."""
    if find_spec("medimg_dicom") is None:
        return 'DICOM is read by the plugin medimg-dicom: pip install "medimg[dicom]"'
    return "To read the DICOM files: --layout dicom"


def leave_out_copy(tree: Tree, folder: Folder, root: Path, sizes: bool) -> None:
    """Takes away a copy of `folder` that lies inside it; what the copy has more is kept."""
    nested = nested_in(folder)
    if nested is None:
        return
    folder.folders.remove(nested)
    outer = {inside(path, folder.path): path for path in folder.below()}
    copies: list[str] = []
    new: list[str] = []
    for path in nested.below():
        twin = outer.get(inside(path, nested.path))
        same = twin is not None and (not sizes or same_size(root / twin, root / path))
        (copies if same else new).append(path)
    for path in new:
        graft(folder, inside(path, nested.path), path)
    tree.findings.append(copy_finding(nested.path, len(copies), len(new)))


def nested_in(folder: Folder) -> Folder | None:
    """The one folder in `folder` that holds folders called like those beside it."""
    found = []
    for inner in folder.folders:
        beside = {f.name for f in folder.holding() if f is not inner}
        shared = beside & {f.name for f in inner.holding()}
        if len(shared) >= 2 or (shared and inner.name == folder.name):
            found.append(inner)
    # several of them are patients 0, 1, 2 with classes 0, 1, 2 rather than copies
    return found[0] if len(found) == 1 else None


def inside(path: str, folder: str) -> str:
    """`path` as seen from `folder`."""
    return path[len(folder) + 1 :] if folder else path


def same_size(one: Path, other: Path) -> bool:
    """Whether two files have equally many bytes."""
    try:
        return one.stat().st_size == other.stat().st_size
    except OSError:
        return False


def graft(folder: Folder, place: str, path: str) -> None:
    """Adds an image to `folder` as if it lay at `place` in it."""
    *names, _ = place.split("/")
    for name in names:
        found = next((f for f in folder.folders if f.name == name), None)
        if found is None:
            found = Folder(name, f"{folder.path}/{name}" if folder.path else name)
            folder.folders.append(found)
        folder = found
    folder.images.append(path)


def copy_finding(path: str, copies: int, new: int) -> Finding:
    """The warning that a dataset lies in itself."""
    only = counted(new, "image that stands only there was", "images that stand only there were")
    return Finding(
        "nested-copy",
        "warning",
        f"{path} repeats the folder it lies in: {counted(copies, 'image was', 'images were')} not "
        f"read twice{f'; {only} read' if new else ''}",
        count=copies,
        items=({"file": path, "copies": copies},),
        hint=f"Delete {path} if it is a copy." if not new else "",
    )


# -- levels --------------------------------------------------------------------------------------


@dataclass
class Level:
    """Folders that stand side by side, each with its split."""

    parents: list[tuple[str | None, Folder]]

    @property
    def names(self) -> list[str]:
        """Names of the folders below them that hold images, or are empty."""
        inner = [f for _, parent in self.parents for f in parent.folders]
        return sorted({f.name for f in inner if f.holds_images or f.is_empty})

    def children(self, name: str) -> Level:
        """The folders of that name below them."""
        return Level([(s, f) for s, p in self.parents for f in p.folders if f.name == name])


def split_level(root: Folder) -> Level:
    """The split folders, searched through folders that hold nothing but one folder; or the root."""
    node = root
    while True:
        named = [(canonical_split(f.name), f) for f in node.folders]
        splits = [(s, f) for s, f in named if s and (f.holds_images or f.is_empty)]
        if any(f.holds_images for _, f in splits):
            return Level(list(splits))
        holding = node.holding()
        if len(holding) != 1 or node.images:
            return Level([(None, root)])
        node = holding[0]


def class_level(level: Level) -> Level:
    """The level whose folders are the classes: the first with two or more side by side."""
    names = level.names
    holding = [n for n in names if any(f.holds_images for _, f in level.children(n).parents)]
    if len(holding) == 1:
        deeper = class_level(level.children(holding[0]))
        if len(deeper.names) >= 2:
            return deeper
    return level
