"""Classes that are one class by two names: case, spaces, plural, a typing error, language"""

from __future__ import annotations

import re
import unicodedata
from itertools import combinations

from medimg.api import CheckContext, Finding
from medimg.checks._class_words import OPPOSITES, SYNONYMS
from medimg.core.checking import MOST_ITEMS

MEANING = {word: line.split()[0] for line in SYNONYMS for word in line.split()}
# `TypeB`, `PNEUMONIA`, `covid19`: words by case, letters apart from digits
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+(?:\.\d+)?")
SIGN = re.compile(r"\(?([+-])\)?\s*$")
# every pair is compared; more than these are patients or files read as classes
MOST_CLASSES = 500
SHORTEST_FOR_ONE, SHORTEST_FOR_TWO = 6, 9


def check(context: CheckContext, *, letters: int = 2) -> list[Finding]:
    """A warning with the counts: a network is taught to tell apart what is the same.

    Args:
        letters: how many letters a typing error may change; 0 takes names as they are spelt.
    """
    counts = context.index.class_counts()
    if len(counts) > MOST_CLASSES:
        context.not_applicable(f"there are more than {MOST_CLASSES} classes")
    pairs = [
        (one, other, how)
        for one, other in combinations(counts, 2)
        if (how := likeness(one, other, letters))
    ]
    if not pairs:
        return []
    first, second, how = pairs[0]
    rest = len(pairs) - 1
    more = f", and {rest} more pair{'s' * (rest > 1)}" if rest else ""
    return [
        Finding(
            "similar-class-names",
            "warning",
            f"{first} ({counts[first]:,} images) and {second} ({counts[second]:,}) look like one "
            f"class: they differ {how}{more}",
            len(pairs),
            tuple(
                {"classes": [a, b], "images": [counts[a], counts[b]], "differ": reason}
                for a, b, reason in pairs[:MOST_ITEMS]
            ),
            f"If they are one, give both one name (the folder, or the label in the table). "
            f"To see one of them alone: -o classes={first},…",
        )
    ]


def likeness(one: str, other: str, letters: int = 2) -> str | None:
    """How two class names differ if they may mean the same; None where they don't.

    >>> likeness("Pneumonia", "PNEUMONIA"), likeness("pneumonia", "NEUMONIA")
    ('by case, blanks, marks or accents', 'by language')
    >>> likeness("normal", "abnormal") is likeness("grade1", "grade2") is None
    True
    """
    signs = [SIGN.search(name) for name in (one, other)]
    if len({s.group(1) if s else "" for s in signs}) > 1:
        return None
    words, others = words_of(one), words_of(other)
    if "".join(words) == "".join(others) and numbers(words) == numbers(others):
        return "by case, blanks, marks or accents"
    if [singular(w) for w in words] == [singular(w) for w in others]:
        return "by the plural"
    if meaning(words) == meaning(others):
        return "by language"
    if len(words) != len(others):
        return None
    apart = [(a, b) for a, b in zip(words, others, strict=True) if a != b]
    if len(apart) == 1 and is_typing_error(*apart[0], letters):
        return "by a letter" if distance(*apart[0], letters) == 1 else "by two letters"
    return None


def words_of(name: str) -> list[str]:
    """The words of a class name, small, without accents; numbers without leading zeros.

    >>> words_of("Viral_Pneumonia"), words_of("Ödem 02")
    (['viral', 'pneumonia'], ['odem', '2'])
    """
    decomposed = unicodedata.normalize("NFKD", name.replace("ß", "ss"))
    text = "".join(c for c in decomposed if not unicodedata.combining(c))
    found = WORD.findall(text)
    if not found:  # another script
        return re.findall(r"\w+", text.casefold()) or [name.strip()]
    return [f"{float(w):g}" if w[0].isdigit() else w.lower() for w in found]


def numbers(words: list[str]) -> list[str]:
    """The numbers among the words, so that `1-0` is not `10`."""
    return [w for w in words if w[0].isdigit()]


def singular(word: str) -> str:
    """An English plural without its ending.

    >>> [singular(w) for w in ("nodules", "biopsies", "masses", "mass", "virus")]
    ['nodule', 'biopsy', 'mass', 'mass', 'virus']
    """
    if word.endswith(("ss", "us", "is")) or len(word) < 5:
        return word
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") else word


def meaning(words: list[str]) -> tuple[str, ...]:
    """What the words mean, whatever their order: `neumonía viral` is `viral pneumonia`."""
    together = "".join(words)
    if together in MEANING:
        return (MEANING[together],)
    return tuple(sorted(MEANING.get(word, word) for word in words))


def is_typing_error(one: str, other: str, letters: int) -> bool:
    """Whether two words may be one with a letter or two wrong.

    A typing error keeps the first letter (`normal` and `abnormal` don't) and is not the last
    letter's exchange alone (`type a`, `type b`), and short words have none.
    """
    if one[0] != other[0] or one[0].isdigit() or min(len(one), len(other)) < SHORTEST_FOR_ONE:
        return False
    if len(one) == len(other) and one[:-1] == other[:-1]:
        return False
    if one.startswith(other) or other.startswith(one):
        # typing stops short by a letter; more is another word
        letters = min(letters, 1)
    if any(opposed(one, other, a, b) for pair in OPPOSITES for a, b in (pair, pair[::-1])):
        return False
    allowed = min(letters, 1 if min(len(one), len(other)) < SHORTEST_FOR_TWO else 2)
    return distance(one, other, allowed) <= allowed


def opposed(one: str, other: str, part: str, counterpart: str) -> bool:
    """Whether one word becomes the other by changing a part into its opposite."""
    return part in one and one.replace(part, counterpart, 1) == other


def distance(one: str, other: str, most: int) -> int:
    """Letters to put in, leave out, change or swap with the next; counted to `most` + 1.

    Source:
        Damerau 1964, A technique for computer detection and correction of spelling errors.
    """
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, last, row = row, before, [i]
        for j, b in enumerate(other, 1):
            cost = min(row[j - 1] + 1, before[j] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]
