"""Decoding: what comes out of each format, and what is refused before it is decoded."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from medimg.core import images
from medimg.core.images import (
    UnreadableImage,
    check_file,
    decode,
    decode_to_input,
    is_image_name,
    read_header,
    to_bytes,
    to_input,
)


def smooth(height: int = 60, width: int = 80, channels: int = 3, seed: int = 0) -> np.ndarray:
    """A picture that survives JPEG: UInt8[h, w, C], or [h, w] for one channel."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    blurred = cv2.GaussianBlur(noise, (0, 0), 6)
    image = cv2.normalize(blurred, None, 0, 255, cv2.NORM_MINMAX)
    return image.reshape(height, width) if channels == 1 else image


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


RGB = smooth()
GREY = smooth(channels=1)


# -- what comes out ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize("pixels", [RGB, GREY], ids=["rgb", "grey"])
def test_lossless_formats_give_the_pixels_back_in_rgb_order(kind, pixels):
    assert np.array_equal(decode(saved(Image.fromarray(pixels), kind)), pixels)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_formats_agree_with_pillow(kind):
    data = saved(Image.fromarray(RGB), kind, quality=90)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert np.abs(decode(data).astype(int) - expected).mean() < 1.0


def test_a_palette_is_resolved():
    picture = Image.fromarray(RGB).quantize(16)
    expected = np.asarray(picture.convert("RGB"))
    assert np.array_equal(decode(saved(picture, "PNG")), expected)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_kept(kind):
    deep = GREY.astype(np.uint16) * 200
    out = decode(saved(Image.fromarray(deep), kind))
    assert out.dtype == np.uint16 and np.array_equal(out, deep)


def test_alpha_is_dropped_and_the_colours_under_it_stay():
    alpha = np.zeros(RGB.shape[:2], np.uint8)
    data = saved(Image.fromarray(np.dstack([RGB, alpha])), "PNG")
    assert np.array_equal(decode(data), RGB)


def test_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: 90° clockwise to be seen upright
    upright = np.rot90(GREY, -1)
    out = decode(saved(Image.fromarray(GREY), "JPEG", exif=exif, quality=95))
    assert out.shape == upright.shape == (80, 60)
    assert np.abs(out.astype(int) - upright).mean() < 4


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 1), (5, 6, 3), (5, 6, 4)])
def test_arrays_come_back_as_pictures(shape):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    expected = {2: array, 3: array[..., 0] if shape[-1] == 1 else array[..., :3]}[array.ndim]
    assert np.array_equal(decode(array), expected)


def test_an_array_that_is_no_picture_is_refused():
    with pytest.raises(UnreadableImage, match="no picture"):
        decode(np.zeros((4, 5), np.float64))


# -- headers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "mode", "expected"),
    [
        ("PNG", "RGB", "RGB"),
        ("PNG", "L", "L"),
        ("PNG", "P", "P"),
        ("PNG", "RGBA", "RGBA"),
        ("PNG", "I;16", "L;16"),
        ("JPEG", "L", "L"),
        ("JPEG", "RGB", "RGB"),
        ("JPEG", "CMYK", "CMYK"),
        ("BMP", "RGB", "RGB"),
        ("TIFF", "L", "L"),
        ("TIFF", "RGB", "RGB"),
        ("TIFF", "I;16", "L;16"),
        ("TIFF", "F", "L;32"),
        ("WEBP", "RGB", "RGB"),
        ("WEBP", "RGBA", "RGBA"),
        ("PPM", "L", "L"),
    ],
)
def test_headers_say_format_size_and_mode(kind, mode, expected):
    deep = Image.fromarray(GREY.astype(np.uint16))
    picture = deep if mode == "I;16" else Image.fromarray(RGB).convert(mode)
    if mode == "RGBA":
        picture.putalpha(Image.fromarray(GREY))  # WebP drops an alpha that says nothing
    header = read_header(saved(picture, kind))
    assert header is not None
    assert (header.width, header.height, header.mode) == (80, 60, expected)
    assert header.format == ("PNM" if kind == "PPM" else kind)


def test_a_lossless_webp_says_its_size():
    header = read_header(saved(Image.fromarray(RGB), "WEBP", lossless=True))
    assert header is not None and (header.width, header.height) == (80, 60)


@pytest.mark.parametrize("data", [b"hello", b"\x00" * 100, b"%PDF-1.4", b"P9 3 3"])
def test_what_is_no_image_has_no_header(data):
    assert read_header(data) is None


def test_image_names():
    assert is_image_name("a/b.JPEG") and is_image_name("x.TIFF") and is_image_name("mdb001.pgm")
    others = ["._a.jpg", ".jpg", "Thumbs.db", "a.dcm", "jpeg", "a.png.txt"]
    assert not any(map(is_image_name, others))


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.98])
def test_a_file_cut_short_is_truncated(kind, share):
    data = saved(Image.fromarray(RGB), kind)
    with pytest.raises(UnreadableImage) as caught:
        decode(data[: int(len(data) * share)])
    assert caught.value.kind == "truncated"


def test_a_progressive_jpeg_cut_short_is_truncated():
    data = saved(Image.fromarray(RGB), "JPEG", progressive=True)
    assert decode(data).shape == RGB.shape
    with pytest.raises(UnreadableImage) as caught:
        decode(data[: len(data) * 2 // 3])
    assert caught.value.kind == "truncated"


def test_a_thumbnail_does_not_hide_that_a_jpeg_is_cut_short():
    thumbnail = saved(Image.fromarray(RGB).resize((16, 12)), "JPEG")
    data = saved(Image.fromarray(RGB), "JPEG", quality=95)
    segment = b"\xff\xe2" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = data[:2] + segment + data[2:]
    assert decode(whole).shape == RGB.shape
    with pytest.raises(UnreadableImage) as caught:
        decode(whole[: len(segment) + (len(whole) - len(segment)) * 2 // 3])
    assert caught.value.kind == "truncated"


def test_bytes_after_the_end_do_no_harm():
    for kind in ("JPEG", "PNG", "BMP"):
        data = saved(Image.fromarray(RGB), kind)
        assert np.array_equal(decode(data + b"\x00" * 100), decode(data))


def test_a_half_tiff_is_refused():
    data = saved(Image.fromarray(RGB), "TIFF")
    with pytest.raises(UnreadableImage):
        decode(data[: len(data) // 2])


def test_an_empty_file_is_called_so():
    with pytest.raises(UnreadableImage) as caught:
        decode(b"")
    assert caught.value.kind == "empty-file"


def test_damaged_pixels_of_a_png_are_refused():
    data = bytearray(saved(Image.fromarray(RGB), "PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(UnreadableImage) as caught:
        decode(bytes(data))
    assert caught.value.kind == "unreadable"


def test_a_bomb_is_never_unpacked(monkeypatch):
    def chunk(name: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + check

    size = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b""))
    bomb = images.PNG_SIGNATURE + chunk(b"IHDR", size) + pixels + chunk(b"IEND", b"")

    def forbidden(*_: object) -> None:
        raise AssertionError("the decoder was called")

    monkeypatch.setattr(images.cv2, "imdecode", forbidden)
    for attempt in (decode, lambda data: decode_to_input(data, 8, 8, 1)):
        with pytest.raises(UnreadableImage) as caught:
            attempt(bomb)
        assert caught.value.kind == "decompression-bomb"
        assert "60,000×60,000" in caught.value.reason


def test_a_whole_file_passes():
    assert check_file(saved(Image.fromarray(RGB), "JPEG")).format == "JPEG"


# -- to the network's input ----------------------------------------------------------------------


def test_sixteen_bits_are_mapped_by_their_own_percentiles():
    deep = np.linspace(1000, 5000, 10_000).astype(np.uint16).reshape(100, 100)
    low, high = np.percentile(deep, [0.5, 99.5])
    expected = np.clip((deep - low) * 255 / (high - low), 0, 255)
    assert np.abs(to_bytes(deep).astype(float) - expected).max() <= 1.1


def test_a_constant_16_bit_picture_does_not_divide_by_zero():
    assert to_bytes(np.full((4, 4), 700, np.uint16)).dtype == np.uint8


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("pixels", [RGB, GREY], ids=["rgb", "grey"])
@pytest.mark.parametrize("resize", ["squash", "pad"])
def test_shapes_and_types(pixels, channels, resize):
    out = to_input(pixels, 32, 48, channels, resize)
    assert out.shape == (32, 48, channels) and out.dtype == np.uint8


def test_colour_becomes_luminance_and_grey_is_repeated():
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    assert to_input(red, 4, 4, 1)[0, 0, 0] == 76  # ITU-R BT.601: 0.299 × 255
    out = to_input(GREY, 60, 80, 3)
    assert np.array_equal(out[..., 0], GREY) and np.array_equal(out[..., 2], GREY)


def test_shrinking_averages():
    board = np.indices((64, 64)).sum(axis=0) % 2 * np.uint8(255)
    assert np.abs(to_input(board.astype(np.uint8), 8, 8, 1).astype(int) - 127).max() <= 1


def test_padding_keeps_the_aspect_ratio_on_black():
    white = np.full((50, 100), 255, np.uint8)
    out = to_input(white, 40, 40, 1, "pad")[..., 0]
    assert (out[10:30] == 255).all() and (out[:10] == 0).all() and (out[30:] == 0).all()


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("channels", [1, 3])
def test_reduced_decoding_gives_the_same_picture(factor, channels):
    big = cv2.resize(RGB, (80 * factor, 60 * factor), interpolation=cv2.INTER_CUBIC)
    data = saved(Image.fromarray(big), "JPEG", quality=95)
    quick = decode_to_input(data, 60, 80, channels)
    slow = to_input(decode(data), 60, 80, channels)
    assert np.abs(quick.astype(int) - slow).mean() < 3
    assert np.array_equal(quick, decode_to_input(data, 60, 80, channels))


def test_reduced_decoding_turns_pictures_upright_too():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(Image.fromarray(smooth(480, 640)), "JPEG", exif=exif)
    quick, slow = decode_to_input(data, 40, 40, 3, "pad"), to_input(decode(data), 40, 40, 3, "pad")
    assert np.abs(quick.astype(int) - slow).mean() < 3


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "BMP", "PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}, {"tile": True}])
def test_every_format_cut_short_is_truncated(kind, options):
    if options and kind != "TIFF":
        pytest.skip("only TIFF has it")
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70), np.uint8)
    file = io.BytesIO()
    if options.get("tile"):
        file.write(cv2.imencode(".tif", pixels, [cv2.IMWRITE_TIFF_ROWSPERSTRIP, 8])[1].tobytes())
    else:
        Image.fromarray(pixels).save(file, kind, **options)
    whole = file.getvalue()
    assert check_file(whole).format == kind
    assert check_file(whole + b"\0" * 16).format == kind
    # a TIFF's directory may stand at its end
    for share in (0.5, 0.9):
        with pytest.raises(UnreadableImage) as error:
            check_file(whole[: int(share * len(whole))])
        assert error.value.kind == "truncated"
