"""The split, held to what it promises by brute force and over many random datasets."""

from __future__ import annotations

import csv
import itertools
import random
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medimg.core.errors import InputError, UsageError
from medimg.core.split import (
    Assignment,
    apply_splits_file,
    ensure_splits,
    make_split,
    parse_ratios,
    split_hash,
    write_splits,
)
from medimg.core.stratify import gap as distance
from medimg.core.types import DatasetIndex, Sample

CLASSES = "abcd"


def dataset(patients: list[dict[str, int]]) -> list[Sample]:
    """One dict a patient: class to number of images."""
    return [
        Sample(f"{label}/p{number}_{label}_{i}.png", label, f"p{number}")
        for number, counts in enumerate(patients)
        for label, images in counts.items()
        for i in range(images)
    ]


def index_of(samples: list[Sample], **changes) -> DatasetIndex:
    classes = tuple(sorted({s.label or "" for s in samples}))
    return DatasetIndex("set", Path("set"), "folder", None, tuple(samples), classes, **changes)


def sides(samples: list[Sample], split: Assignment) -> dict[str | None, set[str]]:
    found = defaultdict(set)
    for s in samples:
        if s.group is not None:
            found[s.group].add(split.split_of[s.path])
    return found


def coverable(patients: list[dict[str, int]], wanted: set[tuple[str, int]], parts: int) -> bool:
    """Whether any of all assignments has every (class, part) of `wanted`; by trying them all."""
    held = [set(counts) for counts in patients]
    for parts_of in itertools.product(range(parts), repeat=len(patients)):
        got = {(c, p) for p, classes in zip(parts_of, held, strict=True) for c in classes}
        if wanted <= got:
            return True
    return False


patients = st.lists(
    st.dictionaries(st.sampled_from(CLASSES), st.integers(1, 9), min_size=1, max_size=3),
    min_size=1,
    max_size=7,
)


@settings(max_examples=150, deadline=None)
@given(patients, st.sampled_from([(70, 15, 15), (80, 20), (34, 33, 33)]), st.integers(0, 5))
def test_no_class_is_lost_that_any_split_by_patient_keeps(patients, ratios, seed):
    samples = dataset(patients)
    split = make_split(samples, ratios, seed)
    assert all(len(found) == 1 for found in sides(samples, split).values())
    names = list(split.ratios)
    every = {(c, p) for counts in patients for c in counts for p in range(len(names))}
    missing = {(g.label, names.index(g.split)) for g in split.gaps}
    kept = {(c, p) for c, p in every if split.counts[names[p]][c] > 0}
    assert kept == every - missing
    if missing:
        assert not coverable(patients, every, len(names))
    for gap in missing:
        # not one class more could have been kept beside those that are
        assert gap[1] != 0, "a class is missing in train"
        nonempty = {p for p in range(len(names)) if sum(split.counts[names[p]].values())}
        if len(nonempty) == len(names):
            assert not coverable(patients, kept | {gap}, len(names))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(CLASSES), st.one_of(st.none(), st.integers(0, 12))), max_size=80
    ),
    st.integers(0, 9),
)
def test_mixed_datasets_keep_their_promises(rows, seed):
    samples = [
        Sample(f"{i}.png", label, None if group is None else str(group))
        for i, (label, group) in enumerate(rows)
    ]
    split = make_split(samples, (70, 15, 15), seed)
    assert set(split.split_of) == {s.path for s in samples}
    assert all(len(found) == 1 for found in sides(samples, split).values())
    for name, counts in split.counts.items():
        assert counts == {
            label: sum(s.label == label and split.split_of[s.path] == name for s in samples)
            for label in counts
        }
    alone = Counter(s.label for s in samples if s.group is None)
    assert not [g for g in split.gaps if alone[g.label] >= 3]


def largest_remainder(number: int, ratios: tuple[float, ...]) -> list[int]:
    """Hamilton's method by sorting, for totals without ties."""
    ideal = [number * r / sum(ratios) for r in ratios]
    floors = [int(x) for x in ideal]
    by_remainder = sorted(range(len(ratios)), key=lambda i: floors[i] - ideal[i])
    for i in by_remainder[: number - sum(floors)]:
        floors[i] += 1
    return floors


@pytest.mark.parametrize("ratios", [(70, 15, 15), (61, 20, 19), (80, 20)])
def test_images_without_patients_are_dealt_by_largest_remainders(ratios):
    for number in (21, 47, 96, 333, 1001):
        samples = [Sample(f"{i}.png", "a") for i in range(number)]
        split = make_split(samples, ratios, seed=number)
        ideal = [number * r / 100 for r in ratios]
        got = [sum(c.values()) for c in split.counts.values()]
        assert sum(got) == number
        # ties (15/15) may go either way; the multiset of remainders may not
        assert max(abs(g - i) for g, i in zip(got, ideal, strict=True)) < 1
        assert sorted(got) == sorted(largest_remainder(number, ratios))


def test_odd_images_of_many_classes_do_not_all_go_to_one_part():
    samples = [Sample(f"{c}/{i}.png", f"class{c:02}") for c in range(20) for i in range(10)]
    totals = [sum(c.values()) for c in make_split(samples).counts.values()]
    assert totals == [140, 30, 30]


@pytest.mark.parametrize("seed", range(25))
def test_unequal_patients_of_several_classes(seed):
    draw = random.Random(seed)
    numbers = [draw.randint(1, 40) for _ in range(60)]
    patients = [dict(Counter(draw.choices(CLASSES, weights=(60, 25, 12, 3), k=n))) for n in numbers]
    samples = dataset(patients)
    split = make_split(samples, (70, 15, 15), seed)
    assert all(len(found) == 1 for found in sides(samples, split).values())
    assert not split.gaps
    assert split.distance < 0.01
    totals = Counter(s.label for s in samples)
    for name, ratio in split.ratios.items():
        for label, number in totals.items():
            # a class is as close as a patient of it weighs, and closer where there are many
            assert abs(split.counts[name][label] / number - ratio) < 0.02 + 3 / number


@pytest.mark.parametrize("seed", range(5))
def test_large_patients_do_not_gather_in_train(seed):
    draw = random.Random(seed)
    patients = [{"a": draw.choice([2, 5, 10, 40]), "b": draw.randint(1, 9)} for _ in range(200)]
    split = make_split(dataset(patients), (70, 15, 15), seed)
    assert split.distance < 0.002
    for name, ratio in split.ratios.items():
        assert abs(split.groups[name] / 200 - ratio) < 0.05


def test_one_patient_with_two_fifths_of_the_images_goes_to_train():
    patients = [{"a": 200, "b": 200}] + [{"a": 10, "b": 10} for _ in range(30)]
    for seed in range(5):
        split = make_split(dataset(patients), (70, 15, 15), seed)
        assert split.split_of["a/p0_a_0.png"] == "train"
        assert split.distance <= 0.5 * 20 / 1000 + 1e-9


def test_shares_are_the_best_that_any_split_of_few_patients_gives():
    draw = random.Random(3)
    worse = []
    for seed in range(12):
        patients = [{"a": draw.randint(1, 20), "b": draw.randint(1, 20)} for _ in range(8)]
        total = np.array([[p["a"], p["b"], p["a"] + p["b"]] for p in patients], float)
        target = np.array([[0.7], [0.15], [0.15]]) * total.sum(axis=0)

        def gap(parts, total=total, target=target):
            held = np.array([total[np.array(parts) == p].sum(axis=0) for p in range(3)])
            return float((((held - target) / total.sum(axis=0)) ** 2).sum())

        best = min(gap(p) for p in itertools.product(range(3), repeat=8) if len(set(p)) == 3)
        split = make_split(dataset(patients), (70, 15, 15), seed)
        names = list(split.ratios)
        ours = [names.index(split.split_of[f"a/p{i}_a_0.png"]) for i in range(8)]
        worse.append(gap(ours) - best)
    # a local search: nearly always the optimum, never far from it
    assert np.median(worse) < 0.005
    assert max(worse) < 0.05


def test_order_of_listing_does_not_matter_and_the_seed_does():
    draw = random.Random(0)
    patients = [{"a": draw.randint(1, 30), "b": draw.randint(1, 9)} for _ in range(50)]
    samples = dataset(patients) + [Sample(f"single{i}.png", "ab"[i % 2]) for i in range(40)]
    split = make_split(samples, seed=1)
    shuffled = samples[:]
    draw.shuffle(shuffled)
    assert make_split(shuffled, seed=1).split_of == split.split_of
    renamed = [Sample("moved/" + s.path, s.label, s.group) for s in samples if s.group]
    grouped = [s for s in samples if s.group]
    assert list(make_split(renamed, seed=1).split_of.values()) == list(
        make_split(grouped, seed=1).split_of.values()
    )
    different = {tuple(sorted(make_split(samples, seed=s).split_of.items())) for s in range(10)}
    assert len(different) == 10


def test_copies_stay_on_one_side_and_take_their_patients_along():
    samples = dataset([{"a": 3, "b": 3} for _ in range(30)])
    # p0 – p1 – p2 hold copies of each other's pictures, one in the other class
    together = {
        "a/p0_a_0.png": "h1",
        "b/p1_b_0.png": "h1",
        "a/p1_a_2.png": "h2",
        "a/p2_a_1.png": "h2",
        "a/p5_a_0.png": None,
    }
    apart = 0
    for seed in range(20):
        split = make_split(samples, seed=seed, keep_together=together)
        found = {frozenset(sides(samples, split)[p]) for p in ("p0", "p1", "p2")}
        assert len(found) == 1
        plain = make_split(samples, seed=seed)
        apart += len({frozenset(sides(samples, plain)[p]) for p in ("p0", "p1", "p2")}) > 1
        swapped = make_split(samples[::-1], seed=seed, keep_together=together)
        assert swapped.split_of == split.split_of
    assert apart > 5


def test_a_class_with_one_image_goes_to_train_and_the_reason_is_told():
    samples = [Sample(f"{i}.png", "a") for i in range(30)] + [Sample("x.png", "b")]
    split = make_split(samples)
    assert split.split_of["x.png"] == "train"
    assert {(g.split, g.label, g.reason) for g in split.gaps} == {
        ("val", "b", "1 image for 3 parts"),
        ("test", "b", "1 image for 3 parts"),
    }
    (finding,) = split.findings()
    assert finding.check == "class-missing-in-split"
    assert finding.count == 2
    assert "b in val (1 image for 3 parts)" in finding.message


def test_a_class_of_two_patients_is_learnt_and_judged():
    split = make_split(dataset([{"a": 4} for _ in range(20)] + [{"b": 5}, {"b": 2}]))
    assert [(g.split, g.label, g.reason) for g in split.gaps] == [
        ("val", "b", "2 patients for 3 parts")
    ]


def test_nothing_and_one_patient_do_not_crash():
    assert make_split([]).split_of == {}
    split = make_split(dataset([{"a": 5, "b": 5}]))
    assert set(split.split_of.values()) == {"train"}
    assert split.distance == pytest.approx(0.3)


@pytest.mark.slow
def test_large_datasets_are_split_in_seconds():
    import time

    draw = np.random.default_rng(0)
    sizes = draw.integers(100, 1900, 279)
    labels = draw.integers(0, 4, int(sizes.sum())) == 0
    groups = np.repeat(np.arange(279), sizes)
    samples = [
        Sample(f"{i}.png", str(int(label)), str(g))
        for i, (label, g) in enumerate(zip(labels, groups, strict=True))
    ]
    singles = [Sample(f"{i}.png", f"c{i % 7}") for i in range(100_000)]
    start = time.process_time()
    assert make_split(samples).distance < 0.001
    assert make_split(singles).distance < 0.001
    assert time.process_time() - start < 10


def test_the_idc_sample(shared_data):
    folder = shared_data / "idc_breast_histopathology"
    files = sorted(p for p in folder.rglob("*.png"))
    samples = [Sample(p.name, p.parent.name, p.name.split("_")[0]) for p in files]
    assert len({s.group for s in samples}) == 43
    for seed in range(3):
        split = make_split(samples, seed=seed)
        assert all(len(found) == 1 for found in sides(samples, split).values())
        assert not split.gaps
        assert split.distance < 0.01
        assert sum(split.groups.values()) == 43


# -- ratios --------------------------------------------------------------------------------------


def test_ratios_are_parsed():
    assert parse_ratios("60/20/20") == (60, 20, 20)
    assert parse_ratios("0.7/0.15/0.15") == (70, 15, 15)
    assert parse_ratios("33.3/33.3/33.3") == (33.3, 33.3, 33.3)
    assert parse_ratios("7/2/1") == parse_ratios("14:4:2") == (70, 20, 10)
    assert parse_ratios("2/1") == pytest.approx((200 / 3, 100 / 3))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("70/15/10", "adds up to 95, not to 100"),
        ("7/1.5/1", "adds up to 9.5, not to 100"),
        ("14/6/1", "adds up to 21, not to 100"),
        ("a/b", "is not numbers"),
        ("100", "has 1 parts"),
        ("25/25/25/25", "has 4 parts"),
        ("100/0", "above 0"),
        ("120/-20", "above 0"),
        ("nan/nan", "above 0"),
        ("", "is not numbers"),
    ],
)
def test_bad_ratios_are_named(text, message):
    with pytest.raises(UsageError, match=message) as error:
        parse_ratios(text)
    assert "70/15/15" in error.value.hint


# -- files ---------------------------------------------------------------------------------------


def test_a_split_is_written_and_read_back(tmp_path):
    index = index_of(dataset([{"a": 2, "b": 2} for _ in range(12)]))
    split = make_split(index.samples, seed=4).apply(index)
    write_splits(tmp_path / "splits.csv", split.samples)
    with (tmp_path / "splits.csv").open() as file:
        assert next(csv.reader(file)) == ["path", "label", "group", "split"]
    again = apply_splits_file(index, tmp_path / "splits.csv")
    assert again.samples == split.samples
    assert split_hash(again.samples) == split_hash(split.samples[::-1])
    assert split_hash(again.samples) != split_hash(index.samples)
    assert split_hash(again.samples).startswith("sha256:")


def test_a_splits_file_brings_patients_where_none_are_known(tmp_path):
    (tmp_path / "s.csv").write_text(
        "\ufeffpath,split,group,more\r\n1.png,Training,p,x\r\n2.png,valid,q,\r\n3.png,,,\r\n",
        encoding="utf-8",
    )
    index = index_of([Sample("1.png", "a"), Sample("2.png", "b"), Sample("3.png", "b")])
    read = apply_splits_file(index, tmp_path / "s.csv")
    assert [(s.split, s.group) for s in read.samples] == [
        ("train", "p"),
        ("val", "q"),
        (None, None),
    ]
    assert read.patients == "column group of s.csv"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,split\n1.png,train\n", r"has no column 'path' \(found: file, split\)"),
        ("path,label\n1.png,a\n", "has no column 'split'"),
        ("", "has no column 'path' and no column 'split'"),
        ("path,split\n1.png,train\n", r"1 image of set not in it \(such as 2.png\)"),
        (
            "path,split\n1.png,train\n2.png,val\n3.png,val\n4.png,test\n",
            r"2 rows without an image \(such as 3.png\)",
        ),
        ("path,split\n1.png,train\n2.png,hold\n", "line 3: 'hold' is no split"),
        ("path,split\n1.png,train\n2.png,val\n2.png,test\n", "2.png in 'val' and, in line 4"),
        ("path,split,label\n1.png,train,a\n2.png,val,a\n", "calls 2.png 'a'.* calls it 'b'"),
    ],
)
def test_a_splits_file_that_does_not_fit_is_named(tmp_path, text, message):
    (tmp_path / "s.csv").write_text(text)
    index = index_of([Sample("1.png", "a"), Sample("2.png", "b")])
    with pytest.raises(InputError, match=message):
        apply_splits_file(index, tmp_path / "s.csv")


def test_a_missing_splits_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no.csv can't be read"):
        apply_splits_file(index_of([Sample("1.png", "a")]), tmp_path / "no.csv")


# -- the split that a command works with ---------------------------------------------------------


def split_index(*names: str | None) -> DatasetIndex:
    """20 patients a split, two images of each class a patient."""
    samples = [
        Sample(f"{s.path}-{name}", s.label, f"{name}{s.group}", name)
        for name in names
        for s in dataset([{"a": 2, "b": 2} for _ in range(20)])
    ]
    return index_of(samples, patients="the file name")


def test_own_splits_are_kept():
    index = split_index("train", "val", "test")
    found, words = ensure_splits(index)
    assert found.samples == index.samples
    assert words == "the dataset's own splits"


def test_a_missing_validation_part_is_cut_from_train_by_patient():
    index = split_index("train", "test")
    found, words = ensure_splits(index, seed=3)
    assert found.splits() == ("train", "val", "test")
    assert found.part("test") == index.part("test")
    assert found.split_counts()["val"] == {"a": 6, "b": 6}
    assert not {s.group for s in found.part("val")} & {s.group for s in found.part("train")}
    assert words == (
        "the dataset's own splits; validation cut from train: 12 of 80 images, 3 patients, seed 3"
    )


def test_validation_of_unknown_patients_is_cut_image_by_image():
    samples = [Sample(f"{i}.png", "ab"[i % 2], None, "train") for i in range(40)]
    found, words = ensure_splits(index_of(samples))
    assert found.split_counts() == {"train": {"a": 17, "b": 17}, "val": {"a": 3, "b": 3}}
    assert "validation cut from train: 6 of 40 images, image by image, seed 0" in words


def test_train_and_validation_without_test_are_kept_and_told():
    found, words = ensure_splits(split_index("train", "val"))
    assert found.splits() == ("train", "val")
    assert words.endswith("there is no test part")


def test_no_splits_at_all_become_70_15_15():
    found, words = ensure_splits(split_index(None))
    assert found.split_counts() == {
        "train": {"a": 28, "b": 28},
        "val": {"a": 6, "b": 6},
        "test": {"a": 6, "b": 6},
    }
    assert words == (
        "the dataset has no splits: a new split train/val/test 70/15/15, "
        "by patient, stratified by class, seed 0"
    )


def test_ratios_win_over_own_splits():
    found, words = ensure_splits(split_index("train", "test"), ratios="50/25/25")
    assert found.split_counts()["test"] == {"a": 20, "b": 20}
    assert words.startswith("a new split train/val/test 50/25/25, by patient")


def test_two_parts_are_train_and_test_and_validation_comes_from_train():
    found, words = ensure_splits(split_index(None), ratios="80/20")
    assert {name: sum(c.values()) for name, c in found.split_counts().items()} == {
        "train": 56,
        "val": 8,
        "test": 16,
    }
    assert "train/test 80/20" in words and "validation cut from train: 8 of 64 images" in words


def test_a_file_wins_and_excludes_ratios(tmp_path):
    index = split_index("train", "val", "test")
    wanted = make_split(index.samples, (60, 20, 20), 7).apply(index)
    write_splits(tmp_path / "splits.csv", wanted.samples)
    found, words = ensure_splits(index, splits_file=tmp_path / "splits.csv")
    assert found.samples == wanted.samples
    assert words == f"splits from {tmp_path / 'splits.csv'}"
    with pytest.raises(UsageError, match="exclude each other"):
        ensure_splits(index, splits_file="splits.csv", ratios="70/15/15")


def test_images_without_a_split_stay_out():
    found, words = ensure_splits(split_index("train", "val", "test", None))
    assert len(found.part(None)) == 80
    assert words.endswith("80 images without a split stay out")


@pytest.mark.parametrize("names", [("test",), ("val", "test")])
def test_no_training_part_is_an_error(names):
    with pytest.raises(InputError, match=r"no training part \(only .*test\)"):
        ensure_splits(split_index(*names))


def test_one_patient_can_not_be_cut():
    samples = [Sample(f"{i}.png", "ab"[i % 2], "p", "train") for i in range(9)]
    with pytest.raises(InputError, match=r"no validation part .* holds 1 patient \(9 images\)"):
        ensure_splits(index_of(samples))
    with pytest.raises(InputError, match="no validation part"):
        ensure_splits(index_of(samples), ratios="70/15/15")


def test_a_splits_file_does_not_bring_back_patients_that_the_user_denied(tmp_path):
    samples = [Sample(f"{i}.png", "ab"[i % 2], group=f"p{i}", split="train") for i in range(4)]
    write_splits(tmp_path / "s.csv", samples)
    without = [Sample(s.path, s.label) for s in samples]
    read = apply_splits_file(index_of(without, patients=""), tmp_path / "s.csv")
    assert read.patients == "" and read.groups() == ()
    assert apply_splits_file(index_of(without), tmp_path / "s.csv").groups() != ()


def test_few_patients_are_dealt_as_well_as_they_can_be():
    """Held to every way of dealing seven patients to three parts."""
    shares = np.array([0.7, 0.15, 0.15])
    ways = np.array(list(itertools.product(range(3), repeat=7)))
    for draw in range(12):
        held = np.random.default_rng(draw).integers(0, 6, (7, 2))
        held[:, 0] += held.sum(axis=1) == 0
        dealt = make_split(dataset([{"a": a, "b": b} for a, b in held.tolist()]), (70, 15, 15))
        table = np.array([[counts.get(k, 0) for k in "ab"] for counts in dealt.counts.values()])
        tables = (ways[:, None, :] == np.arange(3)[None, :, None]) @ held
        assert distance(table, shares) == min(distance(one, shares) for one in tables)
