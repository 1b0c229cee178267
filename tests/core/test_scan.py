"""The one pass over a dataset's files, held to Pillow, NumPy and hashlib."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from medimg.core.index import FileSource
from medimg.core.scan import FEATURE_NAMES, hash_only, scan
from medimg.core.types import DatasetIndex, Sample


class Arrays:
    """A source of pixels that never were files."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = arrays

    def read(self, path: str) -> np.ndarray:
        return self.arrays[path]


def index_of(source: object, paths: list[str], root: Path = Path(".")) -> DatasetIndex:
    samples = tuple(Sample(p, "a") for p in paths)
    return DatasetIndex("test", root, "folder", source, samples, ("a",))  # type: ignore[arg-type]


def folder_of(root: Path, pictures: dict[str, Image.Image | bytes]) -> DatasetIndex:
    for name, picture in pictures.items():
        if isinstance(picture, bytes):
            (root / name).write_bytes(picture)
        else:
            picture.save(root / name)
    return index_of(FileSource(root), list(pictures), root)


@pytest.fixture
def grey() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (45, 61), np.uint8)


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (45, 61, 3), np.uint8)


def test_a_record_says_what_pillow_and_numpy_say(tmp_path, grey):
    index = folder_of(tmp_path, {"a.png": Image.fromarray(grey)})
    record = scan(index)["a.png"]
    data = (tmp_path / "a.png").read_bytes()
    assert record.sha256 == hashlib.sha256(data).hexdigest()
    assert (record.width, record.height, record.mode, record.format) == (61, 45, "L", "PNG")
    assert record.size_bytes == len(data) and record.error == ""
    assert record.mean == pytest.approx(grey.mean()) and record.std == pytest.approx(grey.std())
    expected = np.percentile(grey, [1, 25, 50, 75, 99], method="inverted_cdf")
    assert record.percentiles == pytest.approx(expected)
    shares = np.histogram(grey, bins=64, range=(0, 256))[0] / grey.size
    assert record.histogram.sum() == pytest.approx(65535, abs=40)
    assert record.histogram / 65535 == pytest.approx(shares, abs=1e-4)
    features = dict(zip(FEATURE_NAMES, record.features, strict=True))
    corner = grey[:5, -7:]
    assert features["corner top right mean"] == pytest.approx(corner.mean(), rel=1e-5)
    assert features["corner top right spread"] == pytest.approx(corner.std(), rel=1e-5)
    assert features["mean"] == pytest.approx(grey.mean(), rel=1e-5)


def test_the_same_picture_has_the_same_pixel_hash_in_every_lossless_form(tmp_path, grey):
    repeated = np.dstack([grey] * 3)
    index = folder_of(
        tmp_path,
        {
            "a.png": Image.fromarray(grey),
            "a.bmp": Image.fromarray(grey),
            "a.tif": Image.fromarray(grey),
            "rgb.png": Image.fromarray(repeated),
            "rgb.bmp": Image.fromarray(repeated),
            "rgba.png": Image.fromarray(np.dstack([repeated, np.full_like(grey, 255)])),
            "palette.png": Image.fromarray(grey).convert("P"),
            "deep.png": Image.fromarray(grey.astype(np.uint16) * 257),
        },
    )
    records = scan(index)
    assert len({r.pixel_hash for r in records.values()}) == 1
    assert len({r.sha256 for r in records.values()}) == len(records)


def test_colour_files_and_arrays_agree(tmp_path, rgb):
    picture = Image.fromarray(rgb)
    files = scan(folder_of(tmp_path, {"a.png": picture, "a.bmp": picture}))
    array = scan(index_of(Arrays({"x": rgb}), ["x"]))["x"]
    assert {files["a.png"].pixel_hash, files["a.bmp"].pixel_hash} == {array.pixel_hash}
    assert array.mean == pytest.approx(files["a.png"].mean)
    assert (array.mode, array.format, array.size_bytes) == ("RGB", "ARRAY", rgb.nbytes)


def test_a_deep_array_is_told_from_one_of_bytes(grey):
    kinds = {"deep": grey.astype(np.uint16) * 257, "plain": grey}
    records = scan(index_of(Arrays(kinds), list(kinds)))
    assert {path: r.mode for path, r in records.items()} == {"deep": "L;16", "plain": "L"}


def test_one_pixel_makes_another_picture(grey, rgb):
    other, third = grey.copy(), rgb.copy()
    other[3, 4] ^= 1
    third[40, 2, 1] ^= 1
    wide = np.ascontiguousarray(grey.reshape(61, 45))
    sources = {"a": grey, "b": other, "c": rgb, "d": third, "e": wide}
    records = scan(index_of(Arrays(sources), list(sources)))
    assert len({r.pixel_hash for r in records.values()}) == 5


def test_red_and_blue_are_told_apart(rgb):
    records = scan(index_of(Arrays({"a": rgb, "b": rgb[..., ::-1]}), ["a", "b"]))
    assert records["a"].pixel_hash != records["b"].pixel_hash


def test_files_that_cannot_be_decoded_say_why_and_by_which_check(tmp_path, grey):
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "PNG")
    index = folder_of(
        tmp_path,
        {
            "whole.png": Image.fromarray(grey),
            "empty.png": b"",
            "half.png": buffer.getvalue()[: len(buffer.getvalue()) // 2],
            "text.jpg": b"<html>404</html>",
        },
    )
    index = index.with_samples([*index.samples, Sample("gone.png", "a")])
    records = scan(index)
    assert {p: r.kind for p, r in records.items()} == {
        "whole.png": "",
        "empty.png": "empty-file",
        "half.png": "truncated",
        "text.jpg": "unreadable",
        "gone.png": "unreadable",
    }
    assert records["gone.png"].sha256 == "" and "No such file" in records["gone.png"].error
    assert records["text.jpg"].sha256 == hashlib.sha256(b"<html>404</html>").hexdigest()
    assert all((r.error == "") == (p == "whole.png") for p, r in records.items())


def test_records_do_not_depend_on_threads_or_order(grey):
    arrays = {str(i): np.roll(grey, i, axis=1) for i in range(200)}
    one = scan(index_of(Arrays(arrays), list(arrays)), workers=1)
    many = scan(index_of(Arrays(arrays), list(arrays)[::-1]), workers=4)
    assert list(one) == list(arrays)
    for path, record in one.items():
        other = many[path]
        assert (record.pixel_hash, record.mean, record.dhash) == (
            other.pixel_hash,
            other.mean,
            other.dhash,
        )
        assert np.array_equal(record.histogram, other.histogram)


def test_progress_counts_every_image(grey):
    arrays = {str(i): grey for i in range(150)}
    seen: list[int] = []
    scan(index_of(Arrays(arrays), list(arrays)), progress=seen.append)
    assert sum(seen) == 150 and len(seen) > 1


def test_an_error_in_the_callers_progress_ends_the_scan(grey):
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    arrays = {str(i): grey for i in range(300)}
    with pytest.raises(KeyboardInterrupt):
        scan(index_of(Arrays(arrays), list(arrays)), progress=stop)


def test_a_path_that_stands_twice_is_read_once(grey):
    assert len(scan(index_of(Arrays({"a": grey}), ["a", "a"]))) == 1


def test_hashes_alone_are_those_of_the_scan(tmp_path, grey, rgb):
    index = folder_of(tmp_path, {"a.png": Image.fromarray(grey), "b.jpg": Image.fromarray(rgb)})
    index = index.with_samples([*index.samples, Sample("gone.png", "a")])
    assert hash_only(index) == {p: r.sha256 for p, r in scan(index).items()}
    arrays = index_of(Arrays({"x": grey}), ["x"])
    assert hash_only(arrays) == {"x": scan(arrays)["x"].sha256}


def test_a_kept_record_is_small(grey):
    """277,524 records have to fit into memory beside everything else."""
    arrays = {str(i): grey for i in range(64)}
    record = scan(index_of(Arrays(arrays), list(arrays)))["7"]
    arrays = (record.histogram, record.features)
    assert all(len(array.base) == array.nbytes for array in arrays), "they keep a whole block"
    assert sum(array.nbytes for array in arrays) < 256


def test_sharpness_falls_with_blur_and_does_not_depend_on_brightness():
    from PIL import ImageFilter

    texture = np.random.default_rng(0).integers(0, 200, (60, 80), np.uint8)
    sharp = Image.fromarray(texture).resize((240, 180), Image.Resampling.BICUBIC)
    darker = Image.fromarray((np.asarray(sharp) // 2).astype(np.uint8))
    blurred = sharp.filter(ImageFilter.GaussianBlur(4))
    arrays = {"sharp": np.asarray(sharp), "darker": np.asarray(darker), "x": np.asarray(blurred)}
    records = scan(index_of(Arrays(arrays), list(arrays)))
    assert records["x"].sharpness < records["sharp"].sharpness / 2
    assert records["darker"].sharpness == pytest.approx(records["sharp"].sharpness, rel=0.1)


@pytest.mark.parametrize("side", [120, 256, 700])
def test_sharpness_falls_as_blur_grows_to_the_end(side):
    random = np.random.default_rng(2)
    layers = [
        cv2.resize(random.normal(0, weight, (cells, cells)), (side, side), interpolation=2)
        for cells, weight in ((5, 25.0), (40, 10.0), (side, 4.0))
    ]
    picture = np.clip(120 + sum(layers), 0, 255).astype(np.uint8)
    # of more than an eighth of its side nothing but rounding is left
    sigmas = [s for s in (1.5, 2, 3, 4, 6, 8, 12, 16, 20, 30) if s <= side / 8]
    arrays = {"sharp": picture} | {str(s): cv2.GaussianBlur(picture, (0, 0), s) for s in sigmas}
    records = scan(index_of(Arrays(arrays), list(arrays)))
    values = [records[path].sharpness for path in arrays]
    assert max(values[k + 1] / values[k] for k in range(len(sigmas))) < 1.05, values
    assert values[3] < values[0] / 2 and max(values[5:]) < values[0] / 4
    brighter = cv2.convertScaleAbs(picture, alpha=0.8, beta=40)
    one = scan(index_of(Arrays({"x": brighter}), ["x"]))["x"]
    assert one.sharpness == pytest.approx(values[0], rel=0.05)


def test_a_blank_picture_has_no_sharpness():
    arrays = {"blank": np.full((50, 50), 7, np.uint8)}
    assert scan(index_of(Arrays(arrays), ["blank"]))["blank"].sharpness is None


def test_grey_is_told_however_it_is_stored(tmp_path, grey, rgb):
    pictures = {
        "grey.png": Image.fromarray(grey),
        "three.png": Image.fromarray(np.dstack([grey] * 3)),
        "colour.png": Image.fromarray(rgb),
    }
    records = scan(folder_of(tmp_path, pictures))
    assert [records[name].grey for name in pictures] == [True, True, False]
    assert [records[name].mode for name in pictures] == ["L", "RGB", "RGB"]


@pytest.mark.parametrize("quality", [30, 80, 95])
def test_grey_saved_with_losses_is_grey_and_a_faint_tint_is_none(tmp_path, grey, quality):
    three = np.dstack([grey] * 3)
    tinted = np.clip(three.astype(int) + (5, 0, -5), 0, 255).astype(np.uint8)
    deep = three.astype(np.uint16) * 257
    deep[..., 2] -= np.minimum(deep[..., 2], 300)
    pictures = {
        "grey.webp": encoded(Image.fromarray(three), "WEBP", quality=quality),
        "grey.png": Image.fromarray(grey),
        "tinted.png": Image.fromarray(tinted),
        "deep.png": cv2.imencode(".png", deep)[1].tobytes(),
    }
    decoded = np.asarray(Image.open(io.BytesIO(pictures["grey.webp"])).convert("RGB"))
    assert np.ptp(decoded, axis=2).max() > 0, "no channel differs: this shows nothing"
    pictures["copy.png"] = Image.fromarray(decoded)
    records = scan(folder_of(tmp_path, pictures))
    assert [records[name].grey for name in pictures] == [True, True, False, True, True]
    # the same pixels in another format are an exact copy; what was lost makes it none of the grey
    assert records["copy.png"].pixel_hash == records["grey.webp"].pixel_hash
    assert records["grey.png"].pixel_hash != records["grey.webp"].pixel_hash


def test_frames_orientation_and_private_fields_stand_in_the_record(tmp_path, grey):
    turned = Image.Exif()
    turned[0x0112], turned[0x013B] = 6, "Jane Roe"
    Image.fromarray(grey).save(tmp_path / "a.jpg", exif=turned, quality=80)
    more = [Image.fromarray(grey // 2)]
    Image.fromarray(grey).save(tmp_path / "b.gif", save_all=True, append_images=more)
    records = scan(index_of(FileSource(tmp_path), ["a.jpg", "b.gif"], tmp_path))
    first, second = records["a.jpg"], records["b.gif"]
    assert (first.orientation, first.private, first.quality) == (6, ("Artist",), 80)
    assert (first.width, first.height) == (45, 61)
    assert (second.frames, second.format, second.quality) == (2, "GIF", None)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_half_a_jpeg_with_an_end_mark_is_truncated(tmp_path, rgb, progressive, colour, share):
    picture = Image.fromarray(rgb if colour else rgb[..., 0]).resize((240, 180))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90, progressive=progressive)
    data = file.getvalue()
    scans = data.index(b"\xff\xda")
    cut = data[: scans + int(share * (len(data) - scans))].rstrip(b"\xff") + b"\xff\xd9"
    records = scan(folder_of(tmp_path, {"whole.jpg": data, "cut.jpg": cut}))
    assert records["whole.jpg"].error == ""
    assert records["cut.jpg"].kind == "truncated"


@pytest.mark.parametrize("level", [0, 127, 128, 129, 255])
@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}])
def test_a_whole_jpeg_with_a_plain_margin_is_not_truncated(tmp_path, rgb, level, options):
    pixels = np.full((180, 240, 3), level, np.uint8)
    pixels[:45, :61] = rgb
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, **options)
    index = folder_of(tmp_path, {"a.jpg": file.getvalue(), "b.jpg": file.getvalue() + b"\0" * 9})
    assert [record.error for record in scan(index).values()] == ["", ""]


def encoded(picture: Image.Image, suffix: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, suffix, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("place", [0.3, 0.5, 0.7])
@pytest.mark.parametrize(
    ("suffix", "options"),
    [("PNG", {}), ("TIFF", {"compression": "tiff_adobe_deflate"})],
    ids=["png", "deflated tiff"],
)
def test_one_bit_turned_in_data_with_check_sums_is_an_error(tmp_path, rgb, suffix, options, place):
    data = bytearray(encoded(Image.fromarray(rgb), suffix, **options))
    record = scan(folder_of(tmp_path, {"whole": bytes(data)}))["whole"]
    assert record.error == ""
    data[int(len(data) * place)] ^= 4
    record = scan(folder_of(tmp_path, {"damaged": bytes(data)}))["damaged"]
    assert record.kind == "unreadable"


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("GIF", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"quality": 90}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_a_piece_lost_from_the_middle_is_an_error(tmp_path, rgb, suffix, options):
    data = encoded(Image.fromarray(rgb), suffix, **options)
    middle = len(data) // 2
    names = {"whole": data, "lost": data[:middle] + data[middle + 64 :]}
    records = scan(folder_of(tmp_path, names))
    assert records["whole"].error == "" and records["lost"].kind in ("truncated", "unreadable")
