"""Near copies: neighbours held to brute force, pixels to NumPy, the bounds that are said."""

from __future__ import annotations

from itertools import combinations

import cv2
import numpy as np
import pytest

from medimg.core import near_copies
from medimg.core.errors import UsageError
from medimg.core.index import FileSource
from medimg.core.near_copies import find_near_copies, keys_of, neighbours, picture_keys
from medimg.core.scan import scan_samples
from medimg.core.types import Sample


class Pictures:
    """A source of encoded pictures kept in memory."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def read(self, path: str) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self.files[path]


def drawn(seed: int, side: int = 128) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def saved(pixels: np.ndarray, suffix: str = ".png", *options: int) -> bytes:
    return cv2.imencode(suffix, pixels, list(options))[1].tobytes()


def searched(files: dict[str, bytes], later: dict[str, bytes] | None = None):
    """The search over files; `later` is what the source holds when pixels are compared."""
    samples = [Sample(path, "a") for path in files]
    records = scan_samples(samples, Pictures(files))
    return find_near_copies(samples, records, Pictures(files if later is None else later))


def close_by_brute_force(hashes: np.ndarray) -> list[tuple[int, int]]:
    numbers = hashes.tolist()
    return [
        (i, j)
        for i, j in combinations(range(len(numbers)), 2)
        if (numbers[i] ^ numbers[j]).bit_count() <= 4
    ]


@pytest.mark.parametrize("seed", range(5))
def test_the_bands_miss_no_pair(seed):
    random = np.random.default_rng(seed)
    hashes = random.integers(0, 2**64, 120, dtype=np.uint64)
    flipped = hashes.copy()
    for place in range(len(flipped)):
        for bit in random.choice(64, place % 7, replace=False):
            flipped[place] ^= np.uint64(1) << np.uint64(bit)
    both = np.concatenate([hashes, flipped])
    pairs, left_out = neighbours(both)
    assert [tuple(pair) for pair in pairs.tolist()] == close_by_brute_force(both)
    assert len(pairs) >= 80 and left_out == ""


def test_a_bucket_larger_than_a_tile_is_searched_wholly(monkeypatch):
    monkeypatch.setattr(near_copies, "TILE", 16)
    hashes = np.random.default_rng(0).integers(0, 64, 100, dtype=np.uint64)
    pairs, left_out = neighbours(hashes)
    assert [tuple(pair) for pair in pairs.tolist()] == close_by_brute_force(hashes)
    assert left_out == ""


def test_nothing_to_compare():
    for hashes in ([], [5]):
        pairs, left_out = neighbours(np.array(hashes, np.uint64))
        assert (pairs.shape, left_out) == ((0, 2), "")


@pytest.mark.parametrize(
    "again",
    [
        lambda p: saved(p, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 90),
        lambda p: saved(p, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 60),
        lambda p: saved(cv2.resize(p, (96, 96), interpolation=cv2.INTER_AREA)),
        lambda p: saved(cv2.resize(p, (256, 256), interpolation=cv2.INTER_LINEAR)),
        lambda p: saved(np.clip(p * 0.8 + 20, 0, 255).astype(np.uint8)),
    ],
    ids=["jpeg 90", "jpeg 60", "smaller", "larger", "other contrast"],
)
def test_a_picture_saved_anew_is_confirmed(again):
    files = {f"{n}.png": saved(drawn(n)) for n in range(6)}
    files["copy"] = again(drawn(3))
    found = searched(files)
    assert [(p.first.path, p.second.path) for p in found.pairs] == [("3.png", "copy")]
    assert found.pairs[0].confirmed and found.not_searched == ""


def test_the_correlation_is_that_of_the_pixels():
    one, other = drawn(1, 64), saved(drawn(1, 64), ".jpg", cv2.IMWRITE_JPEG_QUALITY, 30)
    (pair,) = searched({"one.png": saved(one), "other.jpg": other}).pairs
    decoded = cv2.imdecode(np.frombuffer(other, np.uint8), cv2.IMREAD_GRAYSCALE)
    smooth = [cv2.GaussianBlur(p.astype(np.float64), (3, 3), 0).ravel() for p in (one, decoded)]
    assert pair.correlation == pytest.approx(np.corrcoef(*smooth)[0, 1], abs=1e-4)


def test_different_pictures_are_no_pair():
    assert searched({f"{n}.png": saved(drawn(n)) for n in range(40)}).pairs == ()


def test_look_alikes_are_not_confirmed():
    """The same shape with a lesion more: neighbours by hash, told apart by their pixels."""
    body = drawn(7).astype(np.float32)
    lesion = np.zeros_like(body)
    cv2.circle(lesion, (40, 60), 12, 60.0, -1)
    ill = np.clip(body + cv2.GaussianBlur(lesion, (0, 0), 5), 0, 255).astype(np.uint8)
    found = searched({"well.png": saved(drawn(7)), "ill.png": saved(ill)})
    assert not any(pair.confirmed for pair in found.pairs)


def test_patients_of_the_phantoms_are_not_taken_for_copies(tmp_path):
    from medimg.phantom import make_dataset

    make_dataset(tmp_path, images=60, size_px=64, seed=5, faults=())
    files = {str(p.relative_to(tmp_path)): p.read_bytes() for p in sorted(tmp_path.rglob("*.png"))}
    assert len(files) == 60
    assert not any(pair.confirmed for pair in searched(files).pairs)


def test_blank_pictures_are_near_nothing():
    blank = {f"{level}.png": saved(np.full((64, 64), level, np.uint8)) for level in (0, 1, 2, 90)}
    assert searched(blank).pairs == ()


def test_pixel_identical_pictures_stand_for_one_another():
    files = {
        "a.png": saved(drawn(1)),
        "b.bmp": saved(drawn(1), ".bmp"),
        "c.jpg": saved(drawn(1), ".jpg"),
    }
    assert [(p.first.path, p.second.path) for p in searched(files).pairs] == [("a.png", "c.jpg")]


def test_a_file_that_is_gone_when_pixels_are_compared_is_no_copy():
    files = {"a.png": saved(drawn(1)), "c.jpg": saved(drawn(1), ".jpg")}
    assert searched(files, later={"a.png": files["a.png"]}).pairs == ()


def test_all_copies_share_a_key():
    files = {
        "a.png": saved(drawn(1)),
        "b.bmp": saved(drawn(1), ".bmp"),
        "c.jpg": saved(drawn(1), ".jpg"),
        "other.png": saved(drawn(2)),
        "torn.png": b"\x89PNG",
    }
    samples = [Sample(path, "a") for path in files]
    records = scan_samples(samples, Pictures(files))
    keys = picture_keys(samples, records, Pictures(files))
    assert keys["a.png"] == keys["b.bmp"] == keys["c.jpg"] != keys["other.png"]
    assert set(keys) == set(files) - {"torn.png"}
    alone = keys_of([s for s in samples if s.path != "torn.png"], records, [])
    assert alone["a.png"] == alone["b.bmp"] != alone["c.jpg"]


# -- bounds ------------------------------------------------------------------------------------


def alike(count: int) -> np.ndarray:
    """Hashes that differ in two bits at most."""
    return np.random.default_rng(0).integers(0, 4, count, dtype=np.uint64)


@pytest.mark.parametrize("bound", ["MOST_HASH_PAIRS", "MOST_CANDIDATES"])
def test_a_search_that_would_not_end_says_what_it_left_out(bound, monkeypatch):
    monkeypatch.setattr(near_copies, bound, 1000)
    pairs, left_out = neighbours(alike(200))
    assert len(pairs) < 200 * 199 // 2
    assert left_out == ("200 pictures are so much alike that not all pairs of them were compared")


def test_the_bounds_leave_the_rare_pairs_in(monkeypatch):
    monkeypatch.setattr(near_copies, "MOST_HASH_PAIRS", 1000)
    rare = np.array([0xF0F0_0000_1234_0F0F, 0xF0F0_0000_1234_0F0E], np.uint64)
    pairs, left_out = neighbours(np.concatenate([alike(200), rare]))
    assert [200, 201] in pairs.tolist() and left_out


def test_no_more_pictures_are_held_than_fit(monkeypatch):
    monkeypatch.setattr(near_copies, "MOST_PICTURES", 4)
    files = {f"{n}{kind}": saved(drawn(n), kind) for n in range(4) for kind in (".png", ".jpg")}
    found = searched(files)
    assert len(found.pairs) == 2
    assert found.not_searched.startswith("4 pictures are so much alike")


@pytest.mark.slow
def test_twenty_thousand_pictures_that_look_alike_end():
    hashes = np.random.default_rng(1).integers(0, 2**12, 20_000, dtype=np.uint64)
    pairs, left_out = neighbours(hashes)
    assert len(pairs) >= near_copies.MOST_CANDIDATES // 2 and left_out


# -- parameters --------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [0, 2, 6, 9])
def test_any_distance_misses_no_pair(distance):
    random = np.random.default_rng(distance)
    hashes = random.integers(0, 2**64, 60, dtype=np.uint64)
    flipped = hashes.copy()
    for place in range(len(flipped)):
        for bit in random.choice(64, place % 12, replace=False):
            flipped[place] ^= np.uint64(1) << np.uint64(bit)
    both = np.concatenate([hashes, flipped])
    numbers = both.tolist()
    expected = [
        (i, j)
        for i, j in combinations(range(len(numbers)), 2)
        if (numbers[i] ^ numbers[j]).bit_count() <= distance
    ]
    assert [tuple(pair) for pair in neighbours(both, distance)[0].tolist()] == expected


@pytest.mark.parametrize("distance", [-1, 13])
def test_a_distance_that_is_none_is_refused(distance):
    with pytest.raises(UsageError, match="0 to 12"):
        neighbours(np.zeros(3, np.uint64), distance)


def test_mirror_images_are_found_on_request():
    files = {f"{n}.png": saved(drawn(n)) for n in range(6)}
    files["turned.jpg"] = saved(drawn(3)[:, ::-1], ".jpg", cv2.IMWRITE_JPEG_QUALITY, 80)
    samples = [Sample(path, "a") for path in files]
    records = scan_samples(samples, Pictures(files))
    assert find_near_copies(samples, records, Pictures(files)).pairs == ()
    (pair,) = find_near_copies(samples, records, Pictures(files), mirror=True).pairs
    assert (pair.first.path, pair.second.path) == ("3.png", "turned.jpg")
    assert pair.mirrored and pair.confirmed


@pytest.mark.parametrize(("kind", "turn"), near_copies.KINDS.items())
def test_a_hash_turned_is_the_hash_of_the_picture_turned(kind, turn):
    pictures = [drawn(n) for n in range(20)]
    turned = [p[:, ::-1].copy() for p in pictures]
    files = {f"{n}": saved(p) for n, p in enumerate([*pictures, *turned])}
    records = scan_samples([Sample(path, "a") for path in files], Pictures(files))
    hashes = np.array([getattr(records[str(n)], kind) for n in range(40)], np.uint64)
    apart = np.bitwise_count(turn(hashes[:20]) ^ hashes[20:])
    # cells that are equally grey have no gradient, whichever way one looks
    assert apart.max() <= 2


def test_a_pair_is_confirmed_by_the_correlation_asked_for():
    files = {
        "a.png": saved(drawn(1)),
        "b.jpg": saved(drawn(1), ".jpg", cv2.IMWRITE_JPEG_QUALITY, 20),
    }
    samples = [Sample(path, "a") for path in files]
    records = scan_samples(samples, Pictures(files))
    for asked, confirmed in ((0.5, True), (1.0, False)):
        (pair,) = find_near_copies(samples, records, Pictures(files), correlation=asked).pairs
        assert pair.confirmed is confirmed


@pytest.mark.slow
def test_a_hundred_thousand_distinct_hashes_take_hardly_more_than_ten_times_ten_thousand():
    """Near-linear: comparing all pairs would take a hundred times as long."""
    from time import process_time

    random = np.random.default_rng(0)
    seconds = []
    for count in (10_000, 100_000):
        hashes = random.integers(0, 2**64, count, dtype=np.uint64)
        runs = []
        for _ in range(3):
            started = process_time()
            neighbours(hashes)
            runs.append(process_time() - started)
        seconds.append(min(runs))
    assert seconds[1] < 30 * seconds[0]


# -- crops ---------------------------------------------------------------------------------------


def detailed(seed: int, side: int = 200) -> np.ndarray:
    """Large shapes with fine detail on them, as tissue has."""
    fine = np.random.default_rng(seed).integers(0, 60, (side, side), np.uint8)
    return cv2.add(cv2.resize(drawn(seed), (side, side)) // 2, cv2.GaussianBlur(fine, (0, 0), 1.2))


@pytest.mark.parametrize("wide", [253, 219, 131])
def test_a_jpeg_at_another_size_is_confirmed(wide):
    """Decoders that halve odd sides round them up: the two would not lie on each other."""
    files = {f"{n}.jpg": saved(detailed(n, 256), ".jpg") for n in range(4)}
    smaller = cv2.resize(detailed(2, 256), (wide, wide), interpolation=cv2.INTER_AREA)
    files["smaller.jpg"] = saved(smaller, ".jpg")
    pairs = [p for p in searched(files).pairs if p.confirmed]
    assert [(p.first.path, p.second.path) for p in pairs] == [("2.jpg", "smaller.jpg")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("again", "least"), [("75", 0.97), ("50", 0.92), ("half", 0.6)], ids=lambda value: str(value)
)
def test_patches_saved_anew_are_pairs_and_others_are_not(shared_data, again, least):
    """Of real patches of 50×50; what is told is less than all of them at half their size."""
    files = {}
    for number, path in enumerate(
        sorted((shared_data / "idc_breast_histopathology").rglob("*.png"))
    ):
        patch = cv2.imread(str(path))
        if number % 8 or patch.shape[:2] != (50, 50):
            continue
        options = (cv2.IMWRITE_JPEG_QUALITY, int(again)) if again != "half" else ()
        other = cv2.resize(patch, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        files[f"{number}.png"] = saved(patch)
        files[f"{number}.{again}"] = saved(*((patch, ".jpg", *options) if options else (other,)))
    pairs = [
        {pair.first.path.partition(".")[0], pair.second.path.partition(".")[0]}
        for pair in searched(files).pairs
    ]
    assert all(len(pair) == 1 for pair in pairs)
    assert len(pairs) >= least * len(files) / 2 > 90


def test_of_many_copies_only_what_connects_them_is_compared():
    """Two pictures with twenty copies each, and all pairs of all of them."""
    random = np.random.default_rng(0)
    two = np.repeat(random.normal(size=(2, 64, 64)), 20, axis=0)
    pictures = two + random.normal(scale=0.01, size=two.shape)
    flat = pictures - pictures.mean(axis=(1, 2), keepdims=True)
    flat /= flat.std(axis=(1, 2), keepdims=True)
    pixels = np.rint(flat * near_copies.STEPS).astype(np.int16)
    pairs = np.array(list(combinations(range(40), 2)))
    no = np.zeros(len(pairs), bool)
    left = pairs[near_copies.unsettled(pixels, pairs, no, no, 0.999)]
    within = (left[:, 0] < 20) == (left[:, 1] < 20)
    assert (within.sum(), (~within).sum()) == (2 * 19, 20 * 20)


@pytest.mark.parametrize("moved", [1, 2])
def test_a_crop_moved_a_little_is_told_as_such(moved):
    files = {f"{n}.png": saved(detailed(n)[8:136, 8:136]) for n in range(4)}
    files["moved.png"] = saved(detailed(2)[8 + moved : 136 + moved, 8 + moved : 136 + moved])
    pairs = [p for p in searched(files).pairs if p.moved]
    assert [(p.first.path, p.second.path) for p in pairs] == [("2.png", "moved.png")]
    assert not pairs[0].confirmed


def test_look_alikes_stay_unconfirmed_however_they_are_moved():
    """Pictures of one shape, each with detail of its own."""
    shape = drawn(5, 200) // 2 + 60
    random = np.random.default_rng(0)
    files = {}
    for n in range(6):
        own = cv2.GaussianBlur(random.integers(0, 60, shape.shape).astype(np.float32), (0, 0), 2)
        files[f"{n}.png"] = saved(np.clip(shape + own - 30, 0, 255).astype(np.uint8))
    found = searched(files).pairs
    assert found and not any(pair.confirmed or pair.moved for pair in found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "suffix"),
    [("brain_tumor_mri", ".jpg"), ("chest_xray_kermany", ".jpeg"), ("wbc_zheng_csv", ".bmp")],
)
def test_no_copy_that_comparing_all_pairs_finds_is_missed(shared_data, name, suffix):
    """Of the real samples: every pair of correlation 0.99 and more at 64×64."""
    root = shared_data / name
    files = sorted(p for p in root.rglob(f"*{suffix}") if not p.name.startswith("."))
    samples = [Sample(str(p.relative_to(root)), "a") for p in files]
    source = FileSource(root)
    records = scan_samples(samples, source)
    readable = [s for s in samples if not records[s.path].error]
    kept = near_copies.distinct(readable, records)
    pixels = np.stack([near_copies.standardised(source, s.path).ravel() for s in kept])
    flat = pixels.astype(np.float32) / (near_copies.STEPS * near_copies.COMPARED_PX)
    like = np.argwhere(np.triu(flat @ flat.T, 1) >= near_copies.PLAUSIBLE)
    pairs = find_near_copies(readable, records, source).pairs
    found = {(pair.first.path, pair.second.path) for pair in pairs}
    # of copies of one picture those pairs are told that connect them
    keys = keys_of(readable, records, pairs)
    alike = [(kept[i].path, kept[j].path) for i, j in like.tolist()]
    assert [pair for pair in alike if pair not in found and keys[pair[0]] != keys[pair[1]]] == []
