"""Which known dataset this is, and how it differs from the published counts"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medimg.api import SPLITS, CheckContext, DatasetIndex, Finding

if TYPE_CHECKING:
    from medimg.core.registry import DatasetCard

NAME = "registry-mismatch"
ALL = "all"
WHY_MORE = "Copies, augmented images and mixed sets look so; as published it is at"
WHY_OTHER = "A result is comparable with others' only on the same classes; as published it is at"


def check(context: CheckContext) -> list[Finding]:
    """Information where it is the published set, a sample or another cut of it.

    A warning where it holds more images than were published, or lacks or adds a class.
    """
    if context.card is None:
        context.not_applicable("the registry does not know this dataset")
    compared = Comparison.of(context.index, context.card)
    if not compared.found.total():
        return []
    if not compared.known_classes:
        return [other_classes(compared)]
    problems = [*compared.surplus(), *compared.missing(), *compared.strange()]
    if problems:
        message = (
            f"{compared.total:,} images of {compared.card.name}, published with "
            f"{compared.card.images:,}, and "
            f"{'; '.join(problems)}"
        )
        hint = f"{WHY_MORE if compared.surplus() else WHY_OTHER} {source(compared.card)}"
        return [compared.finding("warning", message, hint)]
    return [compared.finding("info", compared.sameness())]


@dataclass(frozen=True)
class Comparison:
    """A dataset beside its card; classes by the card's names.

    Args:
        found, published: images by class.
        found_parts, published_parts: images by part and class, where there are parts.
        unknown: classes that the card has not, with their images.
    """

    index: DatasetIndex
    card: DatasetCard
    found: Counter[str]
    published: Mapping[str, int]
    found_parts: Mapping[str, Mapping[str, int]]
    published_parts: Mapping[str, Mapping[str, int]]
    unknown: Mapping[str, int]

    @classmethod
    def of(cls, index: DatasetIndex, card: DatasetCard) -> Comparison:
        names = {c: card.canonical(c) or c for c in index.classes}
        found = canonical_counts(index.class_counts(), names)
        return cls(
            index,
            card,
            found,
            published_by_class(card),
            {split: canonical_counts(own, names) for split, own in index.split_counts().items()},
            {split: own for split, own in card.counts.items() if split != ALL},
            {c: n for c, n in found.items() if n and c not in known(card)},
        )

    @property
    def known_classes(self) -> list[str]:
        """The card's classes that have an image here."""
        return [c for c, n in self.found.items() if n and c in known(self.card)]

    @property
    def total(self) -> int:
        return self.found.total()

    # -- what is wrong -------------------------------------------------------------------------

    def surplus(self) -> list[str]:
        """Classes with more images than were published, in words."""
        return [
            f"{c} has {n:,} images and {self.published[c]:,} were published"
            + (f" ({n // self.published[c]} times as many)" if n % self.published[c] == 0 else "")
            for c, n in self.found.items()
            if c in self.published and n > self.published[c]
        ]

    def missing(self) -> list[str]:
        """Classes of the card without an image here, in words."""
        lost = [c for c in self.card.classes if not self.found[c]]
        if not lost:
            return []
        told = [f"{c} ({self.published[c]:,})" if c in self.published else c for c in lost]
        return [f"{'the class' if len(lost) == 1 else 'the classes'} {' and '.join(told)} "
                f"{'is' if len(lost) == 1 else 'are'} missing"]  # fmt: skip

    def strange(self) -> list[str]:
        """Classes that were not published, in words."""
        return [f"the class {c} ({n:,} images) was not published" for c, n in self.unknown.items()]

    # -- what it is ----------------------------------------------------------------------------

    def sameness(self) -> str:
        """That it is the published set, cut again or a sample, with the arithmetic."""
        card = self.card
        expected = sum(self.published.get(c, 0) for c in self.known_classes) or card.images
        if self.total != expected:
            return self.sample_of(expected)
        if not self.found_parts:
            parts = " without its parts" if self.published_sizes() else ""
            return f"{card.name} as published{parts}: {self.total:,} images"
        if self.as_published():
            return f"{card.name} as published: {self.total:,} images in the published parts"
        return f"{card.name}: {self.sum_of_parts()} are the published {expected:,}, {self.cut()}"

    def sample_of(self, expected: int) -> str:
        """That it is a part of the published set, and how large a part of each class."""
        shares = [
            f"{c}: {self.found[c]:,} of {self.published[c]:,}"
            for c in self.known_classes
            if c in self.published
        ]
        text = (
            f"a sample of {self.card.name}: {self.total:,} of the published {expected:,} images "
            f"({share_in_words(self.total, expected)}{'; ' if shares else ''}{', '.join(shares)})"
        )
        lost = [s for s in self.published_sizes() if s not in self.found_parts]
        if self.found_parts and lost:
            text += f"; the published {' and '.join(lost)} part is not there"
        larger = [s for s in self.found_parts if self.exceeds(s)]
        if larger:
            text += f"; {' and '.join(larger)} holds more than the published part: cut again"
        return text

    def published_sizes(self) -> dict[str, int]:
        """Images of each published part."""
        sizes = {split: sum(own.values()) for split, own in self.published_parts.items()}
        return {**sizes, **{s: n for s, n in self.card.split_images.items() if s != ALL}}

    def exceeds(self, split: str) -> bool:
        """Whether a part holds more of a class, or in all, than the published one."""
        own, theirs = self.found_parts[split], self.published_parts.get(split, {})
        size = self.published_sizes().get(split)
        return any(n > theirs[c] for c, n in own.items() if c in theirs) or (
            size is not None and sum(own.values()) > size
        )

    def as_published(self) -> bool:
        """Whether every part has the published images a class, as far as these are known."""
        sizes = {split: sum(own.values()) for split, own in self.found_parts.items()}
        return sizes == self.published_sizes() and all(
            dict(self.found_parts[split]) == dict(own)
            for split, own in self.published_parts.items()
        )

    def sum_of_parts(self) -> str:
        """`4,172 + 1,060 + 624`."""
        sizes = [sum(self.found_parts[s].values()) for s in SPLITS if s in self.found_parts]
        rest = self.total - sum(sizes)
        return " + ".join(f"{n:,}" for n in [*sizes, *([rest] if rest else [])])

    def cut(self) -> str:
        """How the parts were made, where a study's are alike."""
        parts = {split: dict(own) for split, own in self.found_parts.items()}
        sizes = {split: sum(own.values()) for split, own in parts.items()}
        for variant in self.card.variants.values():
            counts = {s: own for s, own in variant.counts.items() if s != ALL}
            if (counts and counts == parts) or (
                not counts and variant.split_images and variant.split_images == sizes
            ):
                return f"re-cut as in study {variant.study} ({variant.summary.rstrip('.')})"
        theirs = self.published_sizes()
        if not theirs:
            return "which have no published parts"
        published = " + ".join(f"{theirs[s]:,}" for s in SPLITS if s in theirs)
        kept = [s for s in self.found_parts if self.same_part(s)]
        same = f", {' and '.join(kept)} as published" if kept else ""
        return f"re-cut (published as {published}{same})"

    def same_part(self, split: str) -> bool:
        """Whether one part has the published images a class."""
        theirs = self.published_parts.get(split)
        return theirs is not None and dict(self.found_parts[split]) == dict(theirs)

    def finding(self, severity: Any, message: str, hint: str = "") -> Finding:
        """The finding, with a row for each class."""
        rows = [
            {"class": c, "images": self.found[c]}
            | ({"published": self.published[c]} if c in self.published else {})
            for c in dict.fromkeys([*self.card.classes, *self.found])
        ]
        return Finding(NAME, severity, message, max(self.total, len(rows)), tuple(rows), hint)


def canonical_counts(counts: Mapping[str, int], names: Mapping[str, str]) -> Counter[str]:
    """Images by the card's class names; those of two spellings added up."""
    added: Counter[str] = Counter()
    for name, n in counts.items():
        added[names[name]] += n
    return added


def known(card: DatasetCard) -> set[str]:
    """All classes that were published."""
    return {*card.classes, *card.further_classes}


def published_by_class(card: DatasetCard) -> dict[str, int]:
    """Images by class over all parts; empty where they are not known of every part."""
    if ALL in card.counts:
        return {**card.counts[ALL], **card.further_classes}
    added: Counter[str] = Counter()
    for own in card.counts.values():
        added.update(own)
    return {**added, **card.further_classes} if added.total() == card.images else {}


def share_in_words(part: int, whole: int) -> str:
    """A percentage that is rounded neither to nothing nor to all.

    >>> share_in_words(7, 7909), share_in_words(1416, 5856)
    ('0.09 %', '24 %')
    >>> share_in_words(5846, 5856), share_in_words(277523, 277524), share_in_words(5856, 5856)
    ('99.8 %', '99.9 %', '100 %')
    """
    share = 100 * part / whole
    if part < whole and share >= 99.5:
        return f"{math.floor(10 * share) / 10:.1f} %"
    return f"{share:.0f} %" if share >= 1 else f"{share:.1g} %"


def other_classes(compared: Comparison) -> Finding:
    """The finding where other classes were read than the card's, its subtypes perhaps."""
    card, total = compared.card, compared.total
    sets = card.recognition.class_sets if card.recognition else []
    lowered = {c.lower() for c in compared.unknown}
    subtypes = any(lowered <= {c.lower() for c in one} for one in sets)
    names = ", ".join(list(compared.unknown)[:6])
    text = f"{total:,} of the {card.images:,} images of {card.name}, by {names}"
    if subtypes and total <= card.images:
        return compared.finding("info", f"{text} instead of {' and '.join(card.classes)}")
    return compared.finding(
        "warning",
        f"{text}: none of these is one of its classes, {' and '.join(card.classes)}",
        f"Name the classes: -o classes={card.options.get('classes', ','.join(card.classes))}",
    )


def source(card: DatasetCard) -> str:
    """Where a card says its dataset is published."""
    if card.source.url:
        return card.source.url
    return f"doi:{card.source.doi}" if card.source.doi else card.title
