"""What the pages say, in English and Spanish: phrases, numbers, and what stood in reports."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

LANGUAGES = ("en", "es")
HERE = Path(__file__).parent
NO_BREAK = "\u00a0"
# what is told in the singular where it is 1
COUNTS = ("count", "patients", "groups")
# in translations of messages
GROUP = re.compile(r"\\(\d)")
NUMBERED = re.compile(r"{(\d)\|([^|{}]*)\|([^|{}]*)}")
OPTIONAL = re.compile(r"{(\d)\+([^{}]*)}")
# in place of a list of fragments: groups are names of files and classes
AS_IT_IS = "as it is"
# within what a message lists
COUNTED = re.compile(r"\b\d{1,3}(?:,\d{3})+\b")
DECIMAL = re.compile(r"(?<![\w.-])\d+\.\d+(?![\w.])")
# what a comparison with an earlier report adds to a message
SOME = re.compile(r"^(.*) \(([\d,]+) of them (new|gone)\)$", re.DOTALL)


@cache
def table(name: str) -> Any:
    """A YAML file beside this module."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load((HERE / f"{name}.yaml").read_text(encoding="utf-8"), Loader=loader)


@cache
def messages() -> list[tuple[Any, ...]]:
    """(pattern, translation, and perhaps the name of its fragments) of what findings say."""
    return compiled([*table("messages"), *table("messages_of_checks")])


@cache
def phrases() -> list[tuple[Any, ...]]:
    """The same of methods and reasons."""
    return compiled(table("phrases"))


def compiled(rows: Sequence[Sequence[str]]) -> list[tuple[Any, ...]]:
    return [(re.compile(pattern, re.DOTALL), *rest) for pattern, *rest in rows]


@dataclass(frozen=True)
class Words:
    """One language.

    Args:
        language: `en` or `es`.
    """

    language: str = "en"

    @property
    def place(self) -> int:
        return LANGUAGES.index(self.language)

    def __call__(self, key: str, **values: Any) -> str:
        """A phrase of words.yaml, filled in; where it counts one patient, the one in the singular.

        Raises:
            KeyError: there is none.
        """
        known = table("words")
        alone = any(str(values.get(name)) == "1" for name in COUNTS)
        found = known.get(f"{key}.one", known[key]) if alone else known[key]
        return found[self.place].format(**values)

    def either(self, key: str, otherwise: str) -> str:
        """A phrase, or what stands for it where there is none (a stranger's metric)."""
        found = table("words").get(key)
        return found[self.place] if found else otherwise

    def answer(self, key: str, **values: Any) -> str:
        """What medimg says of an item of a checklist."""
        return table("checklists")["answers"][key][self.place].format(**values)

    def items(self, checklist: str) -> dict[str, str]:
        """The items of `claim` or `tripod`."""
        return {item: words[self.place] for item, words in table("checklists")[checklist].items()}

    # -- numbers ---------------------------------------------------------------------------------

    def number(self, value: float | None, digits: int = 3) -> str:
        """
        >>> Words("en").number(0.7211), Words("es").number(0.7211), Words("en").number(None)
        ('0.721', '0,721', '–')
        """
        if value is None:
            return "–"
        return self.marked(f"{value:.{digits}f}")

    def brief(self, value: float) -> str:
        """Four significant digits: learning rates and the like."""
        return self.marked(f"{value:.4g}")

    def marked(self, text: str) -> str:
        """A number with the language's decimal mark."""
        return text.replace(".", ",") if self.language == "es" else text

    def count(self, value: int | None) -> str:
        r"""
        >>> Words("en").count(5216), Words("es").count(5216), Words("es").count(134272835)
        ('5,216', '5216', '134\xa0272\xa0835')
        """
        if value is None:
            return "–"
        if self.language == "en":
            return f"{value:,}"
        return f"{value:,}".replace(",", NO_BREAK) if abs(value) >= 10_000 else str(value)

    def share(self, value: float | None, digits: int = 1) -> str:
        """A share in percent; Spanish sets a blank before the sign."""
        if value is None:
            return "–"
        blank = NO_BREAK if self.language == "es" else ""
        return self.marked(f"{100 * value:.{digits}f}") + f"{blank}%"

    def interval(self, bounds: Sequence[float] | None, digits: int = 3, sign: bool = False) -> str:
        """`0.609 to 0.811`; empty where there is none."""
        if not bounds:
            return ""
        plus = "+" if sign else ""
        low, high = (self.marked(f"{b:{plus}.{digits}f}") for b in bounds)
        return f"{low} {'a' if self.language == 'es' else 'to'} {high}"

    def with_interval(self, cell: Any, digits: int = 3) -> str:
        """`0.721 (0.609 to 0.811)`."""
        if not cell or cell.get("value") is None:
            return "–"
        told = self.number(cell["value"], digits)
        bounds = self.interval(cell.get("ci95"), digits)
        return f"{told} ({bounds})" if bounds else told

    def p_value(self, p: float | None) -> str:
        if p is None:
            return "–"
        return self.marked("<0.001" if p < 0.001 else f"{p:.3f}")

    def duration(self, seconds: float | None) -> str:
        from medimg.reports.comparison_tables import duration

        return "–" if seconds is None else self.marked(duration(seconds))

    # -- names -----------------------------------------------------------------------------------

    def metric(self, name: str) -> str:
        return self.either(f"metric.{name}", name.replace("_", " "))

    def inside(self, name: str) -> str:
        """A metric's name within a sentence: capitals only where it is an abbreviation."""
        told = self.metric(name)
        return told if told[1:2].isupper() or told[1:2].isdigit() else told[:1].lower() + told[1:]

    def setting(self, name: str) -> str:
        return self.either(f"setting.{name}", name.replace("_", " "))

    def part(self, name: str) -> str:
        return self.either(f"value.part.{name}", name)

    def listed(self, names: Sequence[str], most: int = 6) -> str:
        """
        >>> Words("en").listed(["a", "b", "c"]), Words("es").listed(["a", "b"])
        ('a, b and c', 'a y b')
        """
        if len(names) > most:
            some = ", ".join(names[:most])
            return self("say.and_more", names=some, count=self.count(len(names) - most))
        return f" {self('say.and')} ".join(filter(None, [", ".join(names[:-1]), names[-1]]))

    def images(self, images: int, patients: int | None) -> str:
        """`142 images of 100 patients`."""
        if patients:
            told = {"images": self.count(images), "patients": self.count(patients)}
            return self("value.images_patients", **told)
        return self("value.images_only", images=self.count(images))

    def errors(self, count: int) -> str:
        return self("say.error_one") if count == 1 else self("say.errors", count=self.count(count))

    def warnings(self, count: int) -> str:
        told = self.count(count)
        return self("say.warning_one") if count == 1 else self("say.warnings", count=told)

    # -- what stood in a report ------------------------------------------------------------------

    def phrase(self, text: str | None) -> str:
        """A method or reason of a report in this language; as it stands where it is not known."""
        if not text or self.language == "en":
            return text or ""
        for pattern, translation, *fragments in phrases():
            if found := pattern.match(text):
                told = self.put_together(translation, found.groups(), *fragments)
                return COUNTED.sub(lambda m: self.count(int(m[0].replace(",", ""))), told)
        return text

    def clauses(self, text: str | None) -> str:
        """Phrases with semicolons between them, each in this language."""
        return "; ".join(self.phrase(clause) for clause in (text or "").split("; "))

    def knows(self, text: str | None) -> bool:
        """Whether `phrase` gives it in this language."""
        return self.language == "en" or not text or self.phrase(text) != text

    def finding(self, check: str) -> str:
        """What a check finds, where the page's language is not that of its message."""
        return "" if self.language == "en" else table("findings").get(check, ("", ""))[0]

    def message(self, text: str) -> str:
        """A finding's message in this language; empty where it is not known, or English is."""
        if self.language == "en":
            return ""
        if found := SOME.match(text):
            told, count = self.message(found[1]), self.filled(found[2])
            return told and f"{told} ({self(f'say.of_them_{found[3]}', count=count)})"
        for pattern, translation, *fragments in messages():
            if found := pattern.match(text):
                return self.put_together(translation, found.groups(), *fragments)
        return ""

    def put_together(
        self, translation: str, groups: Sequence[str | None], fragments: str = ""
    ) -> str:
        """A translation with the groups of its pattern.

        `{1|one|more}` goes by whether the first group is 1; `{2+ …}` is said where there is a
        second group.
        """
        told = OPTIONAL.sub(lambda m: m[2] if groups[int(m[1]) - 1] else "", translation)
        told = NUMBERED.sub(lambda m: m[2] if groups[int(m[1]) - 1] == "1" else m[3], told)
        filled = [self.filled(group or "", fragments) for group in groups]
        return GROUP.sub(lambda m: filled[int(m[1]) - 1], told)

    def filled(self, told: str, fragments: str = "") -> str:
        """A number, a part or a metric of a message in this language; other words as they are,
        or by a list of fragments.yaml."""
        if re.fullmatch(r"\d{1,3}(,\d{3})*|\d+", told):
            return self.count(int(told.replace(",", "")))
        if re.fullmatch(r"\d*\.\d+(e[+-]?\d+)?", told):
            return self.marked(told)
        if fragments == AS_IT_IS:
            return told
        known = table("words")
        part, metric = f"value.part.{told}", f"metric.{told}"
        if part in known or metric in known:
            return self(part if part in known else metric)
        if not fragments:
            return told
        told = COUNTED.sub(lambda m: self.count(int(m[0].replace(",", ""))), told)
        told = DECIMAL.sub(lambda m: self.marked(m[0]), told)
        for pattern, translation in table("fragments")[fragments]:
            told = re.sub(pattern, translation, told)
        return told

    def next_step(self, check: str, hint: str) -> str:
        """What to do about a finding: as it was said, else what is to be done about its kind;
        empty in English."""
        if self.language == "en" or not hint:
            return ""
        return self.message(hint) or table("findings").get(check, ("", ""))[1]
