"""Deals patients into parts so that every part holds every class in the same proportion.

Numbers only: U units (a patient, or an image without one), K classes, P parts. `medimg.core.split`
turns samples into these numbers and back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

# the search for a split that loses no class, and that for one that loses as few as can be, are
# each exact up to this many steps, shared by the parts
SEARCH_STEPS = 150_000
SEARCH_REQUIREMENTS = 240
# pairs are tried in full up to this many patients a part, then among the first so many
SWAP_UNITS = 400
IMPROVEMENTS = 400
# so few patients that every way to deal them is looked at: nine to three parts
ALL_WAYS = 20_000
IMPROVEMENT_WORK = 40_000_000


def largest_remainder(ideal: np.ndarray, total: int, shortfall: np.ndarray) -> np.ndarray:
    """Whole numbers closest to `ideal` that add up to `total`.

    Args:
        ideal: Float[P], not negative, adding up to `total`.
        total: how many there are to deal.
        shortfall: Float[P], who gets the odd one where remainders tie: the part short of most.
    Returns:
        Int[P].

    >>> largest_remainder(np.array([7.0, 1.5, 1.5]), 10, np.array([0.0, 0.0, 1.0])).tolist()
    [7, 1, 2]
    """
    whole = np.floor(ideal + 1e-9).astype(np.int64)
    remainder = np.round(ideal - whole, 9)
    order = np.lexsort((-np.round(shortfall, 9), -remainder))
    whole[order[: total - int(whole.sum())]] += 1
    return whole


def fill(wanted: np.ndarray, total: int) -> np.ndarray:
    """The not negative Float[P] nearest to `wanted` that adds up to `total`.

    Source:
        Projection onto the simplex: Duchi et al. 2008, ICML, figure 1.
    """
    ordered = np.sort(wanted)[::-1]
    excess = (np.cumsum(ordered) - total) / np.arange(1, len(wanted) + 1)
    last = int(np.nonzero(ordered - excess > 0)[0][-1]) if total else 0
    return np.maximum(wanted - excess[last], 0.0) if total else np.zeros(len(wanted))


def deal_singles(
    total: int, wanted: np.ndarray, empty: np.ndarray, shortfall: np.ndarray
) -> np.ndarray:
    """How many of `total` images of one class go to each part.

    Args:
        total: images, at least as many as parts are `empty`.
        wanted: Float[P], how many each part still lacks.
        empty: Bool[P], the parts that hold none of the class so far: each gets one at least.
        shortfall: Float[P], images of any class that each part lacks.
    Returns:
        Int[P], adding up to `total`.
    """
    dealt = largest_remainder(fill(wanted, total), total, shortfall)
    for part in np.nonzero(empty & (dealt == 0))[0]:
        spare = np.where(empty, dealt - 1, dealt)
        dealt[int(np.argmax(spare))] -= 1
        dealt[part] += 1
    return dealt


def deal_units(
    counts: np.ndarray, targets: np.ndarray, priority: Sequence[int] | None, secure: np.ndarray
) -> np.ndarray:
    """The part of each unit: no class lost where it can be helped, then shares as asked.

    Args:
        counts: Int[U, K], images of each class a unit holds; rows in the order in which equals
            are taken (a random one, fixed by the seed).
        targets: Float[P, K], images of each class a part should hold.
        priority: the parts in the order in which a class that can't be everywhere goes to them;
            None: they are alike, and that none is empty comes first.
        secure: Bool[K], classes that reach every part anyway, by images dealt afterwards.
    Returns:
        Int[U], part numbers.
    """
    if not len(counts):
        return np.zeros(0, dtype=np.int64)
    board = Board(counts, targets, secure)
    board.place_greedily(np.full(len(counts), -1))
    if board.lost():
        board.place_greedily(_pins(board.has, counts, len(targets), priority))
    board.improve()
    if few_ways(len(counts), len(targets)):
        board.take_the_best_of_all()
    return board.parts


def few_ways(units: int, parts: int) -> bool:
    """Whether every way to deal them is looked at."""
    return parts > 1 and units < 64 and parts**units <= ALL_WAYS


def gap(held: np.ndarray, shares: np.ndarray) -> tuple[int, float]:
    """(classes that parts lack, squared gap as a `Board` counts it); the smaller the better.

    Args:
        held: Int[P, K], images of each class in each part.
        shares: Float[P], what each part was to hold, adding up to 1.
    """
    columns = np.column_stack([held, held.sum(axis=1)])
    columns = columns[:, columns.any(axis=0)]
    of_class = columns / columns.sum(axis=0)
    squared = (of_class - shares[:, None]) ** 2 / shares[:, None]
    return int((columns == 0).sum()), round(float(squared.sum()), 12)


class Board:
    """Units on parts, with the squared gap between the shares held and the shares asked.

    The gap counts each class by its share, so a rare class weighs what a frequent one does, and
    all images together as one class more. As in chi squared it is relative to what a part should
    hold: all parts fill alike, and large patients do not gather in the largest part.
    """

    def __init__(self, counts: np.ndarray, targets: np.ndarray, secure: np.ndarray) -> None:
        self.counts = np.column_stack([counts, counts.sum(axis=1)]).astype(np.float64)
        self.targets = np.column_stack([targets, targets.sum(axis=1)])
        self.totals = np.maximum(self.targets.sum(axis=0), 1.0)
        self.weights = 1.0 / (self.totals * np.where(self.targets > 0, self.targets, 1.0))
        # a secure class is nobody's to lose; "any class at all" is one more to keep everywhere
        anything = np.full((len(counts), 1), not secure.any())
        self.has = np.column_stack([(counts > 0) & ~secure, anything])
        self.parts = np.full(len(counts), -1, dtype=np.int64)

    def held(self) -> np.ndarray:
        """Float[P, K + 1], images in each part."""
        sums = np.zeros_like(self.targets)
        placed = self.parts >= 0
        np.add.at(sums, self.parts[placed], self.counts[placed])
        return sums

    def cover(self) -> np.ndarray:
        """Int[P, K + 1], units of each part that hold the class; last, units of any class."""
        return np.array([self.has[self.parts == p].sum(axis=0) for p in range(len(self.targets))])

    def lost(self) -> int:
        """How often a part holds none of a class that units could bring it."""
        return int((self.cover()[:, self.has.any(axis=0)] == 0).sum())

    def place_greedily(self, pins: np.ndarray) -> None:
        """Every unit where it lowers the gap most; `pins` Int[U] are placed already (-1: not).

        Units with a large share of a class come first, while there is room for them; within a
        factor of two the order is that of the rows, so that another seed gives another split.
        """
        self.parts = pins.astype(np.int64).copy()
        lack = (self.held() - self.targets).tolist()
        share = (self.counts / self.totals).max(axis=1)
        size = -np.floor(np.log2(np.maximum(share, 1e-12)))
        weights = self.weights.tolist()
        for unit in np.argsort(size, kind="stable").tolist():
            if self.parts[unit] >= 0:
                continue
            held = [(k, self.counts[unit, k].item()) for k in np.nonzero(self.counts[unit])[0]]
            costs = [
                sum(weight[k] * n * (2.0 * row[k] + n) for k, n in held)
                for row, weight in zip(lack, weights, strict=True)
            ]
            part = costs.index(min(costs))
            self.parts[unit] = part
            for k, n in held:
                lack[part][k] += n

    def improve(self) -> None:
        """Moves and swaps units while that lowers the gap; never takes a class off a part."""
        rounds = min(IMPROVEMENTS, IMPROVEMENT_WORK // max(1, self.counts.size))
        for _ in range(rounds):
            if not (self._move() or self._swap()):
                return

    def take_the_best_of_all(self) -> None:
        """Looks at every way to deal the units; where a class is lost anyhow, nothing changes."""
        if self.lost():
            return
        number = len(self.targets)
        ways = np.indices((number,) * len(self.parts), dtype=np.int8).reshape(len(self.parts), -1).T
        needed = self.has[:, self.has.any(axis=0)].astype(np.float64)
        squared = np.zeros(len(ways))
        for part in range(number):
            here = (ways == part).astype(np.float64)
            squared += (here @ self.counts - self.targets[part]) ** 2 @ self.weights[part]
            squared[((here @ needed) == 0).any(axis=1)] = np.inf
        best = int(np.argmin(squared))
        now = float(((self.held() - self.targets) ** 2 * self.weights).sum())
        if squared[best] < now - 1e-12:
            self.parts = ways[best].astype(np.int64)

    def _move(self) -> bool:
        deviation = self.held() - self.targets
        pull = self.counts @ (self.weights * deviation).T
        own = np.take_along_axis(pull, self.parts[:, None], axis=1)
        square = self.counts**2 @ self.weights.T
        own_square = np.take_along_axis(square, self.parts[:, None], axis=1)
        change = 2.0 * (pull - own) + square + own_square
        last_of_its_class = (self.has & (self.cover()[self.parts] == 1)).any(axis=1)
        change[last_of_its_class] = np.inf
        np.put_along_axis(change, self.parts[:, None], np.inf, axis=1)
        unit, part = np.unravel_index(int(np.argmin(change)), change.shape)
        if change[unit, part] >= -1e-12:
            return False
        self.parts[unit] = part
        return True

    def _swap(self) -> bool:
        deviation, cover = self.held() - self.targets, self.cover()
        best: tuple[float, int, int] = (-1e-12, -1, -1)
        for p in range(len(self.targets)):
            for q in range(p + 1, len(self.targets)):
                best = min(best, self._best_swap(p, q, deviation, cover), key=lambda b: b[0])
        _, one, other = best
        if one < 0:
            return False
        self.parts[[one, other]] = self.parts[[other, one]]
        return True

    def _best_swap(
        self, p: int, q: int, deviation: np.ndarray, cover: np.ndarray
    ) -> tuple[float, int, int]:
        """(change of the gap, unit of p, unit of q) of the best pair to swap."""
        ones = np.nonzero(self.parts == p)[0][:SWAP_UNITS]
        others = np.nonzero(self.parts == q)[0][:SWAP_UNITS]
        if not len(ones) or not len(others):
            return 0.0, -1, -1
        a, b = self.counts[ones], self.counts[others]
        pull = self.weights[q] * deviation[q] - self.weights[p] * deviation[p]
        both = self.weights[p] + self.weights[q]
        square = (a**2 @ both)[:, None] + (b**2 @ both)[None, :] - 2.0 * (both * a) @ b.T
        change = 2.0 * ((a @ pull)[:, None] - (b @ pull)[None, :]) + square
        change[self._loses(ones, others, cover[p] == 1)] = np.inf
        change[self._loses(others, ones, cover[q] == 1).T] = np.inf
        row, column = np.unravel_index(int(np.argmin(change)), change.shape)
        return float(change[row, column]), int(ones[row]), int(others[column])

    def _loses(self, leaving: np.ndarray, coming: np.ndarray, single: np.ndarray) -> np.ndarray:
        """Bool[leaving, coming]: the part would lose a class that one unit alone gives it."""
        only = (self.has[leaving] & single).astype(np.float64)
        return only @ (~self.has[coming]).astype(np.float64).T > 0


# -- which class can be in which part ------------------------------------------------------------


def _pins(
    has: np.ndarray, counts: np.ndarray, parts: int, priority: Sequence[int] | None
) -> np.ndarray:
    """Int[U]: part of the few units that bring every class everywhere, -1 for the others."""
    number = has.sum(axis=0).tolist()
    anything = len(number) - 1
    classes = sorted((k for k in range(anything) if number[k]), key=lambda k: (number[k], k))
    first, *others = priority or range(parts)
    filled = [(anything, p) for p in (first, *others) if number[anything]]
    wanted = [(k, first) for k in classes]
    wanted = [*filled, *wanted] if priority is None else [*wanted, *filled]
    wanted += [(k, p) for p in others for k in classes]
    kinds: dict[int, list[int]] = {}
    share = (counts / np.maximum(counts.sum(axis=0), 1)).max(axis=1)
    for unit in np.argsort(share, kind="stable").tolist():
        mask = sum(1 << int(k) for k in np.nonzero(has[unit])[0])
        kinds.setdefault(mask, []).append(unit)
    pins = np.full(len(counts), -1, dtype=np.int64)
    for mask, part in Cover(kinds, parts, [first, *others]).best(wanted):
        # small patients do where few images are wanted; the first part takes a large one
        large = priority is not None and part == first
        pins[kinds[mask].pop(-1 if large else 0)] = part
    return pins


Deal = list[tuple[int, int]]


class Cover:
    """Which units bring which class to which part; units of equal class sets are alike.

    Args:
        kinds: class set, as a bit mask, to the units that hold just these classes.
        parts: number of parts.
        priority: the parts, the most important first.
    """

    def __init__(self, kinds: dict[int, list[int]], parts: int, priority: Sequence[int]) -> None:
        self.kinds = {mask: len(units) for mask, units in kinds.items()}
        self.parts = parts
        self.priority = list(priority)
        self.steps = 0

    def best(self, wanted: list[tuple[int, int]]) -> Deal:
        """(class set, part) pairs that meet every (class, part) wanted, or as many as can be.

        Where not all can be met, they are taken in the order given, each kept if it can be met
        together with those kept before.
        """
        deal = self._solve(wanted)
        if deal is not None:
            return deal
        self.steps = 0
        kept: list[tuple[int, int]] = []
        deal = []
        for requirement in wanted:
            longer = self._extend(deal, requirement)
            if longer is None:
                longer = self._solve([*kept, requirement])
            if longer is not None:
                kept.append(requirement)
                deal = longer
        return deal

    def _extend(self, deal: Deal, requirement: tuple[int, int]) -> Deal | None:
        k, part = requirement
        if any(p == part and mask >> k & 1 for mask, p in deal):
            return deal
        used = Counter(mask for mask, _ in deal)
        for mask, number in self.kinds.items():
            if mask >> k & 1 and number > used[mask]:
                return [*deal, (mask, part)]
        return None

    def _solve(self, wanted: list[tuple[int, int]]) -> Deal | None:
        if len(wanted) > SEARCH_REQUIREMENTS:
            return None
        lacking = [0] * self.parts
        for k, part in wanted:
            lacking[part] |= 1 << k
        return self._search(tuple(lacking), dict(self.kinds), set())

    def _search(
        self, lacking: tuple[int, ...], left: dict[int, int], failed: set[tuple]
    ) -> Deal | None:
        """Depth first; the class with the least room first, its most useful unit first."""
        if not any(lacking):
            return []
        state = (lacking, tuple(left.values()))
        tightest = self._tightest(lacking, left)
        self.steps += 1
        if tightest is None or state in failed or self.steps > SEARCH_STEPS // self.parts:
            return None
        part = next(p for p in self.priority if lacking[p] >> tightest & 1)
        for mask in self._by_use(tightest, lacking[part], left):
            left[mask] -= 1
            rest = (*lacking[:part], lacking[part] & ~mask, *lacking[part + 1 :])
            found = self._search(rest, left, failed)
            left[mask] += 1
            if found is not None:
                return [(mask, part), *found]
        failed.add(state)
        return None

    def _tightest(self, lacking: tuple[int, ...], left: dict[int, int]) -> int | None:
        """The class with fewest units to spare; None where one has too few."""
        room: dict[int, int] = {}
        for k in _bits_of(lacking):
            supply = sum(n for mask, n in left.items() if mask >> k & 1)
            room[k] = supply - sum(part >> k & 1 for part in lacking)
            if room[k] < 0:
                return None
        return min(room, key=lambda k: (room[k], k))

    def _by_use(self, k: int, lacking: int, left: dict[int, int]) -> list[int]:
        masks = [mask for mask, n in left.items() if n and mask >> k & 1]
        return sorted(masks, key=lambda m: (-(m & lacking).bit_count(), m.bit_count(), m))


def _bits_of(masks: Sequence[int]) -> Iterator[int]:
    together = 0
    for mask in masks:
        together |= mask
    while together:
        yield (together & -together).bit_length() - 1
        together &= together - 1
