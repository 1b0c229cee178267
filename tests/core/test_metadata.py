"""What files say beside their pixels, written by Pillow and by hand."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from medimg.core.images import check_file
from medimg.core.metadata import Metadata, metadata_of

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60), np.uint8))
OTHERS = [Image.fromarray(np.full((40, 60), level, np.uint8)) for level in (40, 200)]
NAME = "Jane Roe"


def told(picture: Image.Image, kind: str, **options: object) -> Metadata:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return metadata_of(file.getvalue(), check_file(file.getvalue()))


@pytest.mark.parametrize("quality", [5, 30, 50, 75, 90, 95])
def test_the_quality_of_a_jpeg_is_the_one_it_was_saved_with(quality):
    assert told(PICTURE, "JPEG", quality=quality).quality == quality


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_frames_and_pages_are_counted(kind):
    assert told(PICTURE, kind).frames == 1
    assert told(PICTURE, kind, save_all=True, append_images=OTHERS).frames == 3


def test_a_reduced_copy_in_a_tiff_is_no_page():
    def directory(place: int, subfile: int, after: int) -> bytes:
        return struct.pack("<HHHIII", 1, 254, 4, 1, subfile, after)

    first = directory(8, 0, 26)
    second = directory(26, 1, 0)
    data = b"II*\x00" + struct.pack("<I", 8) + first + second
    from medimg.core.metadata import tiff_pages

    assert tiff_pages(data) == 1


def exif(**tags: object) -> Image.Exif:
    block = Image.Exif()
    numbers = {"orientation": 0x0112, "artist": 0x013B, "date": 0x0132, "software": 0x0131}
    for name, value in tags.items():
        block[numbers[name]] = value
    return block


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_and_names_of_private_fields(kind):
    found = told(PICTURE.convert("RGB"), kind, exif=exif(orientation=6, artist=NAME))
    assert found.orientation == 6
    assert found.private == ("Artist",)
    assert NAME not in repr(found)


def test_blank_fields_and_the_program_that_wrote_a_file_are_not_private():
    block = exif(artist="  ", date="0000:00:00 00:00:00", software="Scanner 3")
    assert told(PICTURE, "JPEG", exif=block).private == ()


def test_a_date_counts():
    assert told(PICTURE, "JPEG", exif=exif(date="2019:03:04 10:00:00")).private == ("DateTime",)


def test_a_place_counts():
    block = Image.Exif()
    block.get_ifd(0x8825)[1] = "N"
    block._ifds[0x8825] = {1: "N", 2: (47.0, 3.0, 1.0)}
    assert "GPS" in told(PICTURE, "JPEG", exif=block).private


def test_texts_of_a_png_by_their_keyword():
    texts = PngInfo()
    texts.add_text("Patient", NAME)
    texts.add_text("Software", "a scanner")
    assert told(PICTURE, "PNG", pnginfo=texts).private == ("PNG text Patient",)


def test_a_comment_in_a_jpeg():
    assert told(PICTURE, "JPEG", comment=NAME.encode()).private == ("JPEG comment",)


def test_damaged_metadata_are_passed_over():
    file = io.BytesIO()
    PICTURE.save(file, "JPEG", exif=exif(orientation=6))
    data = file.getvalue().replace(b"II*\x00", b"xxxx").replace(b"MM\x00*", b"xxxx")
    found = metadata_of(data, check_file(data))
    assert found.orientation == 1 and found.private == () and found.quality == 75
