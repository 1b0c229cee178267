"""Folds, held to what they promise over many random datasets, and beside scikit-learn's."""

from __future__ import annotations

import csv
import random
import warnings
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from medimg.core.errors import InputError, UsageError
from medimg.core.folds import Folds, class_distance, describe, make_folds, write_folds
from medimg.core.split import apply_splits_file, write_splits
from medimg.core.types import DatasetIndex, Sample


def dataset(patients: list[dict[str, int]]) -> list[Sample]:
    """One dict a patient: class to number of images."""
    return [
        Sample(f"{label}/p{number}_{label}_{i}.png", label, f"p{number}")
        for number, counts in enumerate(patients)
        for label, images in counts.items()
        for i in range(images)
    ]


def index_of(samples: list[Sample]) -> DatasetIndex:
    classes = tuple(sorted({s.label or "" for s in samples}))
    return DatasetIndex("set", None, "folder", None, tuple(samples), classes)


def held_to_the_promises(samples: list[Sample], folds: Folds, keep=None) -> None:
    """Each image is tested once; nothing that belongs together is on two sides of any fold."""
    tested = Counter()
    for name, split in zip(folds.dealt.ratios, folds.splits, strict=True):
        assert set(split.split_of) == {s.path for s in samples}
        here = {path for path, part in split.split_of.items() if part == "test"}
        assert here == {path for path, fold in folds.dealt.split_of.items() if fold == name}
        tested.update(here)
        sides = defaultdict(set)
        for s in samples:
            part = split.split_of[s.path]
            sides["group", s.group or s.path].add(part)
            if keep and keep.get(s.path):
                sides["copy", keep[s.path]].add(part)
        assert all(len(parts) == 1 for parts in sides.values())
        counts = Counter((split.split_of[s.path], s.label) for s in samples)
        told = {(part, label): n for part, row in split.counts.items() for label, n in row.items()}
        assert {key: n for key, n in told.items() if n} == dict(counts)
        assert all(split.groups.values())
        assert sum(split.ratios.values()) == pytest.approx(1)
    assert set(tested.values()) == {1} and len(tested) == len(samples)


rows = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.one_of(st.none(), st.integers(0, 20)),
        st.one_of(st.none(), st.integers(0, 30)),
    ),
    min_size=1,
    max_size=90,
)


@settings(max_examples=80, deadline=None)
@given(rows, st.integers(2, 6), st.integers(0, 9), st.sampled_from([0.0, 15.0, 40.0]))
def test_every_image_is_tested_once_and_no_patient_is_on_two_sides(rows, number, seed, val):
    samples = [
        Sample(f"{i}.png", label, None if group is None else f"p{group}")
        for i, (label, group, _) in enumerate(rows)
    ]
    keep = {f"{i}.png": None if copy is None else str(copy) for i, (*_, copy) in enumerate(rows)}
    try:
        folds = make_folds(samples, number, seed, keep, val)
    except InputError as error:
        units = len(connected(samples, keep))
        if units >= number:
            # beside a fold there may be too few to learn every class from and to validate by
            tested = make_folds(samples, number, seed, keep, 0.0).dealt.groups.values()
            assert val and "validation part" in error.message
            assert units - max(tested) <= len({label for label, *_ in rows})
        assert error.hint
        return
    held_to_the_promises(samples, folds, keep)
    shuffled = samples[:]
    random.Random(seed).shuffle(shuffled)
    again = make_folds(shuffled, number, seed, keep, val)
    assert [s.split_of for s in again.splits] == [s.split_of for s in folds.splits]


def connected(samples: list[Sample], keep: dict[str, str | None]) -> set[frozenset[str]]:
    """Sets of images that hang together, grown by brute force."""
    keys = [{f"g{s.group or s.path}", f"k{keep[s.path] or s.path}"} for s in samples]
    found: list[set[str]] = []
    for key in keys:
        touching = [f for f in found if f & key]
        found = [f for f in found if not f & key] + [key.union(*touching)]
    return {frozenset(f) for f in found}


@pytest.mark.parametrize("number", [2, 3, 5, 10, 20])
def test_independent_images_are_dealt_to_the_image(number):
    """Each class, and all together, within one image of equal folds."""
    samples = [Sample(f"{c}{i}.png", c) for c, n in (("a", 207), ("b", 41), ("c", 93), ("d", 25))
               for i in range(n)]  # fmt: skip
    folds = make_folds(samples, number, seed=3)
    held_to_the_promises(samples, folds)
    by_class = np.array([list(row.values()) for row in folds.dealt.counts.values()])
    assert (by_class.max(axis=0) - by_class.min(axis=0) <= 1).all()
    assert np.ptp(by_class.sum(axis=1)) <= 1
    for split in folds.splits:
        rest = sum(sum(split.counts[p].values()) for p in ("train", "val"))
        assert abs(sum(split.counts["val"].values()) - 0.15 * rest) <= 2  # half an image a class


def test_equal_patients_give_equal_folds():
    samples = dataset([{"a": 3, "b": 1} for _ in range(50)])
    folds = make_folds(samples, 5)
    assert set(folds.dealt.groups.values()) == {10} and folds.dealt.distance == 0
    assert class_distance(folds.dealt)[0] == 0
    assert folds.findings() == ()
    assert describe(folds, 0) == (
        "5 test folds, by patient, stratified by class; 15 % of what is not tested validates; "
        "seed 0"
    )


def test_sizes_are_within_half_a_patient():
    """What grouping allows: a fold is off by no more than half of the largest patient."""
    for seed in range(20):
        draw = random.Random(seed)
        patients = [{"a": draw.randint(1, 12), "b": draw.randint(0, 6)} for _ in range(60)]
        samples = dataset(patients)
        folds = make_folds(samples, 5, seed)
        largest = max(sum(p.values()) for p in patients)
        assert folds.dealt.distance * len(samples) <= largest / 2
        off, label, _ = class_distance(folds.dealt)
        total = sum(p[label] for p in patients) if label else 1
        assert off * total <= max(p[label] for p in patients) / 2


def test_another_seed_gives_other_folds():
    samples = dataset([{"a": n % 5 + 1, "b": n % 3} for n in range(40)])
    found = {tuple(sorted(make_folds(samples, 5, seed).dealt.split_of.items())) for seed in
             range(10)}  # fmt: skip
    assert len(found) == 10


def spread(labels: np.ndarray, fold: np.ndarray, number: int) -> float:
    """Standard deviation over folds of the share of each class, and of all images, that a fold
    holds; the mean over these."""
    table = np.array([[np.sum((labels == c) & (fold == k)) for c in np.unique(labels)]
                      for k in range(number)], float)  # fmt: skip
    table = np.column_stack([table, table.sum(axis=1)])
    return float((table / table.sum(axis=0)).std(axis=0).mean())


@pytest.mark.parametrize(("shares", "margin"), [((0.27, 0.73), 0.6), ((0.5, 0.3, 0.2), 0.9)])
def test_unequal_patients_are_dealt_at_least_as_evenly_as_by_scikit_learn(shares, margin):
    """Patients from one image to a hundred, each with a mixture of classes of its own."""
    ours, theirs = [], []
    for seed in range(12):
        draw = np.random.default_rng(seed)
        sizes = np.maximum(1, draw.lognormal(1.5, 1.0, 120)).astype(int)
        labels = np.concatenate(
            [draw.choice(len(shares), n, p=draw.dirichlet(2 * np.array(shares))) for n in sizes]
        )
        groups = np.repeat(np.arange(len(sizes)), sizes)
        samples = [Sample(f"{i}.png", str(c), f"p{g}") for i, (c, g) in
                   enumerate(zip(labels, groups, strict=True))]  # fmt: skip
        folds = make_folds(samples, 5, seed, val_percent=0)
        mine = np.array([int(folds.dealt.split_of[s.path][5:]) - 1 for s in samples])
        ours.append(spread(labels, mine, 5))
        other = np.zeros(len(labels), int)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cut = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
            for k, (_, test) in enumerate(cut.split(labels, labels, groups)):
                other[test] = k
        theirs.append(spread(labels, other, 5))
    assert np.mean(ours) < margin * np.mean(theirs)


def test_a_class_with_fewer_patients_than_folds_is_told():
    samples = dataset([{"a": 4} for _ in range(30)] + [{"rare": 2}, {"rare": 2}, {"rare": 3}])
    folds = make_folds(samples, 5, val_percent=0)
    (finding,) = folds.findings()
    assert (finding.check, finding.severity, finding.count) == (
        "class-missing-in-split", "warning", 2,
    )  # fmt: skip
    assert {(i["class"], i["split"]) for i in finding.items} == {("rare", "test")}
    missing = [i["fold"] for i in finding.items]
    assert [f"fold-{n}" for n in missing] == [
        name for name, counts in folds.dealt.counts.items() if not counts["rare"]
    ]
    told = f"rare (3 patients) is missing in test of folds {missing[0]}, {missing[1]}"
    assert told in finding.message
    assert finding.hint.startswith("Fewer folds: --folds 3; or leave such classes out")


def test_the_only_patient_of_a_class_can_not_be_learnt_where_it_is_tested():
    samples = dataset([{"a": 4} for _ in range(30)] + [{"rare": 2}])
    folds = make_folds(samples, 4, val_percent=0)
    (finding,) = folds.findings()
    learnt = [i["fold"] for i in finding.items if i["split"] == "train"]
    tested = [n for n, counts in enumerate(folds.dealt.counts.values(), 1) if counts["rare"]]
    assert learnt == tested and len(tested) == 1
    assert finding.hint.startswith("Leave such classes out")


def test_more_folds_than_patients():
    samples = dataset([{"a": 5, "b": 5} for _ in range(4)])
    with pytest.raises(InputError, match="5 folds can't be made of 4 patients") as error:
        make_folds(samples, 5)
    assert error.value.hint.startswith("Fewer folds: --folds 4; or -o group=none")
    with pytest.raises(InputError, match="2 folds can't be made of 1 image") as error:
        make_folds([Sample("a.png", "a")], 2)
    assert error.value.hint == "Add images."


def test_too_few_patients_to_validate_by():
    samples = dataset([{"a": 5, "b": 5} for _ in range(2)])
    with pytest.raises(InputError, match="beside fold-1: 1 patient") as error:
        make_folds(samples, 2)
    assert error.value.hint == "Leave it out: --val-share 0"
    assert [set(s.counts) for s in make_folds(samples, 2, val_percent=0).splits] == [
        {"train", "test"}
    ] * 2


@pytest.mark.parametrize(("number", "val"), [(1, 15), (21, 15), (5, 100), (5, -1)])
def test_numbers_that_can_not_be(number, val):
    with pytest.raises(UsageError):
        make_folds(dataset([{"a": 1}] * 30), number, val_percent=val)


def test_what_is_written_is_read_back(tmp_path):
    samples = dataset([{"a": 2, "b": 1} for _ in range(12)])
    index = index_of(samples)
    folds = make_folds(samples, 3)
    write_folds(tmp_path / "folds.csv", index, folds)
    with (tmp_path / "folds.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == ["path", "label", "group", "fold"]
    assert {row["path"]: f"fold-{row['fold']}" for row in found} == folds.dealt.split_of
    assert [row["path"] for row in found] == sorted(s.path for s in samples)
    for number, split in enumerate(folds.splits):
        file = tmp_path / f"{number}.csv"
        write_splits(file, split.apply(index).samples)
        assert apply_splits_file(index, file).samples == split.apply(index).samples


def test_hard_cases_end_in_seconds():
    """Many classes that can't be everywhere: the search for the best cover is bounded."""
    import time

    draw = np.random.default_rng(0)
    samples = [
        Sample(f"{i}_{j}.png", f"c{int(draw.exponential(4))}", f"p{i}")
        for i in range(60)
        for j in range(int(draw.integers(1, 9)))
    ]
    start = time.process_time()
    folds = make_folds(samples, 20)
    assert time.process_time() - start < 20
    held_to_the_promises(samples, folds)
    assert folds.findings()[0].message.count("more classes") == 1


def test_the_idc_sample(shared_data):
    folder = shared_data / "idc_breast_histopathology"
    files = sorted(p for p in folder.rglob("*.png"))
    samples = [Sample(p.name, p.parent.name, p.name.split("_")[0]) for p in files]
    for seed in range(3):
        folds = make_folds(samples, 5, seed)
        held_to_the_promises(samples, folds)
        assert folds.dealt.distance < 0.001 and class_distance(folds.dealt)[0] < 0.005
        assert not folds.findings()
