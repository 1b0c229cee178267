"""The datasets and models that medimg knows: cards read from `registry.yaml` files.

A registry file is literal data: no tags, anchors or merge keys. What is wrong in one is said with
its file, line and field. Several files (medimg's own and plugins') make one registry.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from medimg.core.errors import PluginError, UsageError, near_misses
from medimg.core.recipe import Recipe
from medimg.core.types import SPLITS, DatasetIndex, ModelSpec

LAYER = re.compile(r"conv[1-9]\d*|pool|bn")
HEAD = re.compile(r"flatten|gap|fc[1-9]\d*|dropout0\.\d+")
SCALING = re.compile(
    r"unit|signed|imagenet|caffe|none|inside|own|mean=[\d.]+(,[\d.]+)* std=[\d.]+(,[\d.]+)*"
)
# a card whose name ends so stands for every name that begins as it does
FAMILY = "*"
# where a dataset is published without a split its counts stand under this name
ALL = "all"
# files that were renamed or added by hand don't make it another dataset
RECOGNISED_SHARE = 0.9
# a picture inside an archive: <file>::<part>/<number>
ARCHIVE_MARK = "::"

LITERAL_TAGS = {
    f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str", "map", "seq")
}


class Card(BaseModel):
    """What all cards share: unknown fields are errors, types are taken as written."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def one_group(pattern: str) -> str:
    """A regular expression with exactly one group."""
    if compiled(pattern).groups != 1:
        raise ValueError("must have exactly one group ( ), the patient")
    return pattern


def compiled(pattern: str) -> re.Pattern[str]:
    """`pattern`, or ValueError where it is no regular expression."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from error


# -- augmentation --------------------------------------------------------------------------------


class AugmentationPreset(Card):
    """How far pictures of a modality may be changed; every draw is uniform within ± its bound.

    `shift` and `zoom` are shares of the side, `brightness` of the full range, `contrast` of the
    distance from mid-grey.
    """

    summary: str = ""
    rotation_deg: float = Field(0.0, ge=0, le=180)
    shift: float = Field(0.0, ge=0, lt=1)
    zoom: float = Field(0.0, ge=0, lt=1)
    shear_deg: float = Field(0.0, ge=0, lt=90)
    horizontal_flip: bool = False
    vertical_flip: bool = False
    brightness: float = Field(0.0, ge=0, le=1)
    contrast: float = Field(0.0, ge=0, le=1)
    note: str | None = None


# -- models --------------------------------------------------------------------------------------


class ModelCard(Card):
    """A network that can be trained by name.

    A card whose name ends in `*` (`timm:*`) stands for every network whose name begins so.

    Args:
        architecture: `layers`, or a name that backends know (`resnet18-small`).
        layers, head: as in `ModelSpec`; the output layer follows by itself.
        output: `sigmoid` (one logit where there are two classes) or `softmax` (one a class).
        input_size: pixels a side that the card's parameter counts hold for.
        scaling: as in `ModelSpec`; by backend where the backends' pretrained weights differ in it.
        parameters: by backend, weights and BatchNorm running statistics, at two classes and the
            card's input size and channels.
        recipe: settings of the study where they differ from medimg's defaults.
        example: what may stand for the `*` of the card's name.
        study: number of the study among those that medimg reproduces.
    """

    name: str = ""
    title: str = ""
    summary: str = ""
    architecture: str = "layers"
    layers: list[str] = Field([], validate_default=True)
    head: list[str]
    output: Literal["sigmoid", "softmax"] = "sigmoid"
    input_size: int = Field(ge=8, le=4096)
    channels: Literal[1, 3] = 3
    scaling: str | dict[str, str] = "unit"
    bn_momentum: float = Field(0.99, ge=0, lt=1)
    bn_epsilon: float = Field(1e-3, gt=0)
    parameters: dict[str, Annotated[int, Field(gt=0)]] = {}
    backends: list[str] = []
    recipe: dict[str, Any] = {}
    study: int | None = None
    source: str | None = None
    citation: str | None = None
    example: str | None = None

    @field_validator("layers")
    @classmethod
    def _known_layers(cls, layers: list[str], info: ValidationInfo) -> list[str]:
        if (info.data.get("architecture") == "layers") != bool(layers):
            raise ValueError(
                "are for the architecture 'layers', which needs them, and for no other"
            )
        return known_layers(layers, LAYER, "conv32, pool, bn")

    @field_validator("head")
    @classmethod
    def _known_head(cls, head: list[str]) -> list[str]:
        return known_layers(head, HEAD, "flatten, gap, fc128, dropout0.5")

    @field_validator("scaling")
    @classmethod
    def _known_scaling(cls, scaling: str | dict[str, str]) -> str | dict[str, str]:
        for name in scaling.values() if isinstance(scaling, dict) else [scaling]:
            if not SCALING.fullmatch(name):
                raise ValueError(
                    f"has no scaling {name!r} (known: unit, signed, imagenet, caffe, none, inside, "
                    "own, mean=0.5 std=0.5)"
                )
        return scaling

    @field_validator("recipe")
    @classmethod
    def _known_settings(cls, recipe: dict[str, Any]) -> dict[str, Any]:
        for setting in recipe:
            if setting not in Recipe.model_fields:
                hint = near_misses(setting, list(Recipe.model_fields))
                raise ValueError(f"has no setting {setting!r}. {hint}")
        try:
            Recipe.model_validate(recipe)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(
                f"can't have {first['loc'][0]} {first['input']!r}: {first['msg']}"
            ) from error
        return recipe

    @property
    def is_family(self) -> bool:
        """Whether the card stands for many networks, none of which is called so."""
        return self.name.endswith(FAMILY)

    def built_by(self, architectures: Iterable[str]) -> bool:
        """Whether a backend with these architectures builds it."""
        return any(
            self.architecture == a
            or (a.endswith(FAMILY) and self.architecture.startswith(a.removesuffix(FAMILY)))
            for a in architectures
        )

    def scaling_for(self, backend: str | None) -> str:
        """How a backend scales pixels; where the card says it by backend and none is named, `own`,
        which every backend takes for the same."""
        if isinstance(self.scaling, str):
            return self.scaling
        return self.scaling.get(backend or "", "own")

    def spec(
        self,
        classes: int,
        size: int | None = None,
        channels: int | None = None,
        backend: str | None = None,
    ) -> ModelSpec:
        """The network for so many classes, at `size` pixels a side (default the card's).

        Args:
            backend: whose scaling it is to have, where the card says it by backend.

        Raises:
            UsageError: fewer than two classes, channels other than 1 or 3, pictures too small for
                the layers, or a card that stands for many networks.
        """
        if self.is_family:
            prefix = self.name.removesuffix(FAMILY)
            raise UsageError(
                f"{self.name!r} stands for many networks",
                f"Name one of them, for example {prefix}{self.example}"
                if self.example
                else f"Name one of them: {prefix}NAME",
            )
        size = self.input_size if size is None else size
        channels = self.channels if channels is None else channels
        if classes < 2:
            raise UsageError(f"{self.name} needs at least two classes to tell apart, not {classes}")
        if channels not in (1, 3):
            raise UsageError(f"{self.name} takes pictures of 1 or 3 channels, not {channels}")
        smallest = smallest_size(self.layers)
        if size < smallest:
            raise UsageError(
                f"{self.name} needs pictures of at least {smallest} px a side, not {size}",
                f"Give --image-size {smallest} or more, or take a smaller model: medimg models",
            )
        return ModelSpec(
            name=self.name,
            architecture=self.architecture,
            layers=tuple(self.layers),
            head=tuple(self.head),
            height=size,
            width=size,
            channels=channels,
            outputs=1 if classes == 2 and self.output == "sigmoid" else classes,
            scaling=self.scaling_for(backend),
            bn_momentum=self.bn_momentum,
            bn_epsilon=self.bn_epsilon,
        )


def known_layers(names: list[str], pattern: re.Pattern[str], examples: str) -> list[str]:
    """`names`, or ValueError at the first that no backend knows."""
    for name in names:
        if not pattern.fullmatch(name):
            raise ValueError(f"has no layer {name!r} (known: {examples})")
    return names


def smallest_size(layers: Iterable[str]) -> int:
    """Pixels a side from which 3×3 valid convolutions and 2×2 pools leave a pixel.

    >>> smallest_size(["conv32", "pool", "conv64", "pool"])
    10
    """
    size = 1
    for layer in reversed(list(layers)):
        if layer == "pool":
            size *= 2
        elif layer.startswith("conv"):
            size += 2
    return size


# -- datasets ------------------------------------------------------------------------------------


class Publication(Card):
    """Where a dataset is published."""

    url: str | None = None
    doi: str | None = None


class Recognition(Card):
    """By what a dataset is recognised when it is found on a disk.

    Args:
        class_sets: the classes that it may be read with; default the card's own.
        file_pattern: matches the names of its files from end to end.
        distinctive: files are named so by nobody else, so that the dataset is recognised even
            where a single class was read, from the wrong level of folders.
        beside: patterns of files of which one must lie beside the pictures.
        archive_pattern: matches the name of the archive that holds it, which is enough alone.
    """

    class_sets: list[list[str]] = []
    file_pattern: str | None = None
    distinctive: bool = False
    beside: list[str] = []
    archive_pattern: str | None = None

    _patterns = field_validator("file_pattern", "archive_pattern")(
        lambda pattern: compiled(pattern).pattern if pattern else pattern
    )


class Variant(Card):
    """The dataset as one study cut it."""

    study: int | None = None
    summary: str
    classes: list[str] = []
    counts: dict[str, dict[str, int]] = {}
    split_images: dict[str, int] = {}


class DatasetCard(Card):
    """A dataset that medimg knows.

    Args:
        aliases: other names for it on the command line.
        folders: what its folder or archive is usually called.
        class_titles: what a class name means where it doesn't say so itself.
        class_aliases: other spellings of its class names, case aside.
        further_classes: classes of the published set that the card leaves out, with their images.
        positive: the class that sensitivity is about where two classes are told apart.
        options: what to give the layout with -o.
        patient_pattern: its one group, found in a path, is the patient.
        patients: how many there are.
        counts: images by split and class as published; the split is `all` where there is none.
        image_size_px: width and height, where all are alike.
        defects: what is known to be wrong with it, a sentence each.
        augmentation, model: names of the preset and the model to take where none is given.
        unnatural: by setting of augmentation presets, why it is anatomically wrong here.
    """

    name: str = ""
    title: str
    modality: str
    anatomy: str
    task: Literal["two classes", "several classes"]
    aliases: list[str] = []
    folders: list[str] = []
    classes: list[str] = Field(min_length=2)
    class_titles: dict[str, str] = {}
    class_aliases: dict[str, str] = {}
    further_classes: dict[str, int] = {}
    positive: str | None = None
    layout: str
    options: dict[str, str] = {}
    patient_pattern: str | None = None
    patients: int | None = Field(None, gt=0)
    images: int = Field(gt=0)
    counts: dict[str, dict[str, int]] = {}
    split_images: dict[str, int] = {}
    image_size_px: list[int] | None = Field(None, min_length=2, max_length=2)
    image_format: str | None = None
    source: Publication
    licence: str | None = None
    citation: str | None = None
    defects: list[str] = []
    augmentation: str | None = None
    unnatural: dict[str, str] = {}
    model: str | None = None
    recognition: Recognition | None = None
    variants: dict[str, Variant] = {}
    study: int | None = None

    @field_validator("patient_pattern")
    @classmethod
    def _one_group(cls, pattern: str | None) -> str | None:
        return one_group(pattern) if pattern else pattern

    @field_validator("positive")
    @classmethod
    def _positive_is_a_class(cls, positive: str | None, info: ValidationInfo) -> str | None:
        check_classes([positive] if positive else [], info)
        return positive

    @field_validator("unnatural")
    @classmethod
    def _settings_of_presets(cls, unnatural: dict[str, str]) -> dict[str, str]:
        known = [n for n in AugmentationPreset.model_fields if n not in ("summary", "note")]
        for name in unnatural:
            if name not in known:
                raise ValueError(f"names the setting {name!r}. {near_misses(name, known)}")
        return unnatural

    @field_validator("class_titles")
    @classmethod
    def _titles_of_classes(cls, titles: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        check_classes(titles, info)
        return titles

    @field_validator("class_aliases")
    @classmethod
    def _aliases_of_classes(cls, aliases: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        check_classes(aliases.values(), info)
        return aliases

    @field_validator("counts")
    @classmethod
    def _counts_of_classes(
        cls, counts: dict[str, dict[str, int]], info: ValidationInfo
    ) -> dict[str, dict[str, int]]:
        check_splits(counts)
        for by_class in counts.values():
            check_classes(by_class, info)
        return counts

    @field_validator("split_images")
    @classmethod
    def _known_splits(cls, images: dict[str, int]) -> dict[str, int]:
        check_splits(images)
        return images

    def canonical(self, name: str) -> str | None:
        """The card's class that a name found on a disk stands for, case and aliases aside."""
        lowered = name.strip().lower()
        spelt = {c.lower(): c for c in [*self.classes, *self.further_classes]}
        spelt.update({alias.lower(): c for alias, c in self.class_aliases.items()})
        return spelt.get(lowered)

    def positive_of(self, classes: Iterable[str]) -> str | None:
        """Which of the classes found on a disk is the positive one."""
        if self.positive is None:
            return None
        return next((c for c in classes if self.canonical(c) == self.positive), None)

    def recognise(self, index: DatasetIndex) -> tuple[float, str] | None:
        """(share of file names that fit, why) where `index` is this dataset, else None."""
        rules = self.recognition
        if rules is None or not index.samples:
            return None
        return self._by_archive(index, rules) or self._by_names(index, rules)

    def _by_archive(self, index: DatasetIndex, rules: Recognition) -> tuple[float, str] | None:
        if rules.archive_pattern is None:
            return None
        first, mark, _ = index.samples[0].path.partition(ARCHIVE_MARK)
        names = [index.root.name, *([first.rpartition("/")[2]] if mark else [])]
        for name in names:
            if re.fullmatch(rules.archive_pattern, name, re.IGNORECASE):
                return 1.0, f"the archive is called {name}"
        return None

    def _by_names(self, index: DatasetIndex, rules: Recognition) -> tuple[float, str] | None:
        if rules.file_pattern is None or not self._classes_fit(index.classes, rules):
            return None
        found = beside(index.root, rules.beside)
        if rules.beside and found is None:
            return None
        pattern = re.compile(rules.file_pattern, re.IGNORECASE)
        names = [sample.path.rpartition("/")[2] for sample in index.samples]
        fitting = [name for name in names if pattern.fullmatch(name)]
        if len(fitting) < RECOGNISED_SHARE * len(names):
            return None
        reason = (
            f"{len(fitting):,} of {len(names):,} files are named like {fitting[0]} "
            f"and the classes are {', '.join(index.classes)}"
        )
        if found:
            reason += f", with {found} beside them"
        return len(fitting) / len(names), reason

    def _classes_fit(self, found: Iterable[str], rules: Recognition) -> bool:
        # a part of the published set (COVID and Normal alone) is still the set
        canonical = {self.canonical(name) or name.strip().lower() for name in found}
        if rules.distinctive and len(canonical) == 1:
            return True
        sets = rules.class_sets or [[*self.classes, *self.further_classes]]
        return any(canonical <= {self.canonical(c) or c.lower() for c in one} for one in sets)


def beside(root: Path, patterns: Iterable[str]) -> str | None:
    """The name of a file in `root`'s folder, or the one above, that fits one of the patterns."""
    folder = root if root.is_dir() else root.parent
    for place in (folder, folder.parent):
        for pattern in patterns:
            for found in sorted(place.glob(pattern)):
                return found.name
    return None


def check_classes(names: Iterable[str], info: ValidationInfo) -> None:
    """ValueError where a name is none of the card's classes."""
    known = info.data.get("classes")
    for name in names:
        if known is not None and name not in known:
            raise ValueError(
                f"names {name!r}, which is no class of the card. " + near_misses(name, known)
            )


def check_splits(names: Iterable[str]) -> None:
    """ValueError where a name is no split."""
    for name in names:
        if name not in (*SPLITS, ALL):
            raise ValueError(f"has no split {name!r} (known: {', '.join(SPLITS)}, {ALL})")


# -- the registry --------------------------------------------------------------------------------


SECTIONS: dict[str, type[Card]] = {
    "models": ModelCard,
    "datasets": DatasetCard,
    "augmentations": AugmentationPreset,
}


@dataclass(frozen=True)
class Registry:
    """All cards by name."""

    datasets: Mapping[str, DatasetCard]
    models: Mapping[str, ModelCard]
    augmentations: Mapping[str, AugmentationPreset]

    def dataset(self, name: str) -> DatasetCard:
        """A dataset's card, by name or alias, case aside.

        Raises:
            UsageError: there is none, with the near miss.
        """
        names = {
            alias.lower(): card.name
            for card in self.datasets.values()
            for alias in (card.name, *card.aliases)
        }
        return self._named("dataset", name, self.datasets, names)

    def model(self, name: str) -> ModelCard:
        """A model's card; of a family (`timm:*`) the one for the name that was asked for.

        Raises:
            UsageError: there is none, with the near miss.
        """
        for card in self.models.values():
            prefix = card.name.removesuffix(FAMILY)
            if card.is_family and name != card.name and name.lower().startswith(prefix.lower()):
                named = prefix + name[len(prefix) :]
                return card.model_copy(
                    update={"name": named, "title": named, "architecture": named, "example": None}
                )
        return self._named("model", name, self.models, {m.lower(): m for m in self.models})

    def augmentation(self, name: str) -> AugmentationPreset:
        """An augmentation preset.

        Raises:
            UsageError: there is none, with the near miss.
        """
        presets = self.augmentations
        return self._named("augmentation preset", name, presets, {p.lower(): p for p in presets})

    @staticmethod
    def _named(kind: str, name: str, cards: Mapping[str, Any], names: Mapping[str, str]) -> Any:
        found = names.get(name.lower())
        if found is None:
            raise UsageError(f"no {kind} is called {name!r}", near_misses(name, list(names)))
        return cards[found]

    def recognise(self, index: DatasetIndex) -> tuple[DatasetCard, str] | None:
        """The known dataset that `index` is, and why; None where it is none of them.

        Never by class names alone: the files must be named like the published ones, or the
        archive be called so.
        """
        best: tuple[float, DatasetCard, str] | None = None
        for card in self.datasets.values():
            fit = card.recognise(index)
            if fit and (best is None or fit[0] > best[0]):
                best = (fit[0], card, fit[1])
        return (best[1], best[2]) if best else None


def core_registry_path() -> Path:
    """medimg's own registry.yaml: the copy inside the wheel, or the checkout's top level."""
    package = Path(__file__).resolve().parents[1]
    shipped = package / "registry.yaml"
    return shipped if shipped.is_file() else package.parent / "registry.yaml"


def load_registry(files: Iterable[tuple[str, Path]]) -> Registry:
    """One registry from several files, each with the name of who offers it.

    Raises:
        PluginError: a file is missing or wrong; the message names file, line and field.
        UsageError: two files offer one name.
    """
    sections: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    offered: dict[tuple[str, str], str] = {}
    documents = [read_document(offerer, path) for offerer, path in files]
    for document in documents:
        for section, cards in document.cards().items():
            for name, card in cards.items():
                other = offered.setdefault((section, name), document.offerer)
                if name in sections[section]:
                    raise UsageError(
                        f"two registries offer {section.removesuffix('s')} {name!r}: {other} and "
                        f"{document.offerer} ({document.path})",
                        "Uninstall one of the plugins: medimg plugins",
                    )
                sections[section][name] = card
    for document in documents:
        document.check_references(sections)
    return Registry(sections["datasets"], sections["models"], sections["augmentations"])


# -- reading with line numbers -------------------------------------------------------------------

Place = tuple[str | int, ...]


class Document:
    """One registry file: its plain data, and on which line each field stands."""

    def __init__(self, offerer: str, path: Path, text: str) -> None:
        self.offerer = offerer
        self.path = path
        self.lines: dict[Place, int] = {(): 1}
        self._seen: set[int] = set()
        self._scalars = yaml.SafeLoader("")
        try:
            root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self.fail((), f"is no YAML: {error.problem}", line=mark.line + 1 if mark else 1)
        except yaml.YAMLError as error:
            self.fail((), f"is no YAML: {error}")
        self.data = self._plain(root, ()) if root is not None else {}
        if not isinstance(self.data, dict):
            self.fail((), f"must be a mapping of {', '.join(SECTIONS)}")

    def fail(self, place: Place, problem: str, line: int | None = None) -> NoReturn:
        """Raises PluginError with file, line and field."""
        field = ".".join(str(part) for part in place)
        where = f"{self.path}, line {line or self.line(place)}"
        raise PluginError(
            f"{where}: {field} {problem}" if field else f"{where}: {problem}",
            "" if self.offerer == "medimg" else f"This registry comes from {self.offerer}.",
        )

    def line(self, place: Place) -> int:
        """The line of a field, or of the nearest thing around it."""
        while place not in self.lines:
            place = place[:-1]
        return self.lines[place]

    def _plain(self, node: yaml.Node, place: Place) -> Any:
        line = node.start_mark.line + 1
        if id(node) in self._seen:
            self.fail(place, "is an alias (*name); a registry is literal data", line)
        self._seen.add(id(node))
        if node.tag not in LITERAL_TAGS:
            self.fail(
                place,
                f"is of the type {node.tag.rpartition(':')[2]}; quote text, and use "
                "no tags or merge keys",
                line,
            )
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self._item(item, (*place, i)) for i, item in enumerate(node.value)]
        return self._scalars.construct_object(node)

    def _item(self, node: yaml.Node, place: Place) -> Any:
        self.lines[place] = node.start_mark.line + 1
        return self._plain(node, place)

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = self._plain(key_node, place)
            if not isinstance(key, str):
                self.fail(place, f"has the key {key_node.value}, which is no text: quote it", line)
            here = (*place, key)
            if key in found:
                self.fail(here, f"stands twice, first on line {self.lines[here]}", line)
            self.lines[here] = line
            found[key] = self._plain(value_node, here)
        return found

    def cards(self) -> dict[str, dict[str, Card]]:
        """The cards of each section."""
        result: dict[str, dict[str, Card]] = {}
        for section, cards in self.data.items():
            if section not in SECTIONS:
                self.fail((section,), "is no section. " + near_misses(section, list(SECTIONS)))
            if not isinstance(cards, dict):
                self.fail((section,), "must be a mapping from names to cards")
            result[section] = {
                name: self._card(SECTIONS[section], (section, name), data)
                for name, data in cards.items()
            }
        return result

    def _card(self, model: type[Card], place: Place, data: Any) -> Card:
        if not isinstance(data, dict):
            self.fail(place, "must be a mapping of fields")
        if "name" in data:
            self.fail((*place, "name"), "is not written: the card's key is its name")
        named = {**data, "name": place[-1]} if "name" in model.model_fields else data
        try:
            return model.model_validate(named)
        except ValidationError as error:
            self._explain(model, place, error)

    def _explain(self, model: type[Card], place: Place, error: ValidationError) -> NoReturn:
        # an unknown key first: it is the likely cause of a missing one
        problems = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        loc = tuple(problems[0]["loc"])
        kind, message = problems[0]["type"], problems[0]["msg"]
        if kind == "extra_forbidden":
            message = "is no field. " + near_misses(str(loc[-1]), fields_at(model, loc[:-1]))
        elif kind == "missing":
            message = "is missing"
        elif kind == "value_error":
            message = message.removeprefix("Value error, ")
        else:
            message = f"can't be {problems[0]['input']!r}: {message}"
        self.fail((*place, *loc), message)

    def check_references(self, sections: Mapping[str, Mapping[str, Any]]) -> None:
        """Fails where a dataset names a preset or model that no registry has."""
        for name, card in (self.data.get("datasets") or {}).items():
            for field, section in (("augmentation", "augmentations"), ("model", "models")):
                wanted = card.get(field)
                if wanted is not None and wanted not in sections[section]:
                    self.fail(
                        ("datasets", name, field),
                        f"names {wanted!r}, which no registry has. "
                        + near_misses(wanted, list(sections[section])),
                    )


def fields_at(model: type[BaseModel], place: Place) -> list[str]:
    """The fields of the model that stands at `place` inside `model`."""
    for part in place:
        field = model.model_fields.get(str(part))
        inner = model_in(field.annotation) if field else None
        model = inner or model
    return [name for name in model.model_fields if name != "name"]


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The pydantic model somewhere in an annotation, as in `dict[str, Variant]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for a in typing.get_args(annotation) if (m := model_in(a))), None)


def read_document(offerer: str, path: Path) -> Document:
    """One registry file.

    Raises:
        PluginError: it is missing, no UTF-8 or no literal YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PluginError(f"the registry {path} of {offerer} can't be read: {error}") from error
    return Document(offerer, path, text)
