"""What a file says beside its pixels: pages, orientation, JPEG quality, fields that name people.

The values of such fields are never kept: their names alone say that a file is not anonymous.
"""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from medimg.core.images import GIF, JPEG, PNG, TIFF, WEBP, Header

EXIF_PREFIX = b"Exif\0\0"
# tags of the main directory and of the Exif one that hold names, dates, places or free text
PRIVATE_TAGS = {
    0x010E: "ImageDescription",
    0x0132: "DateTime",
    0x013B: "Artist",
    0x013C: "HostComputer",
    0x8298: "Copyright",
    0x9003: "DateTimeOriginal",
    0x9004: "DateTimeDigitized",
    0x9286: "UserComment",
    0x9C9B: "XPTitle",
    0x9C9C: "XPComment",
    0x9C9D: "XPAuthor",
    0x9C9F: "XPSubject",
    0xA420: "ImageUniqueID",
    0xA430: "CameraOwnerName",
    0xA431: "BodySerialNumber",
}
ORIENTATION, EXIF_DIRECTORY, GPS_DIRECTORY = 0x0112, 0x8769, 0x8825
PNG_TEXTS = ("tEXt", "zTXt", "iTXt")
# keywords that describe the file and no person
HARMLESS_KEYWORDS = frozenset({"software", "gamma", "colorspace", "dpi", "resolution"})
COMMENTS = frozenset({"comment", "description"})
XMP_NAMES = (
    "dc:creator",
    "dc:description",
    "photoshop:AuthorsPosition",
    "photoshop:DateCreated",
    "xmp:CreateDate",
    "Iptc4xmpCore:CreatorContactInfo",
)
# what programs write by themselves as a comment or description, wherever it may stand
HARMLESS_COMMENTS = re.compile(
    rb"\s*(?:CREATOR: gd-jpeg|Lavc|LEAD Technologies|Intel\(R\) JPEG|ImageJ=|\{\"shape\": \["
    rb"|(?:Created|Edited|Written|Made) (?:with|by|using) (?:The )?"
    rb"(?:GIMP|ImageJ|Fiji|ImageMagick|Paint|Photoshop|Inkscape|matplotlib|OpenCV|Pillow)\b"
    rb"|OME-XML|[\s\0]*$)",
    re.IGNORECASE,
)
MOST_TEXT = 4096
# luminance table of ISO/IEC 10918-1, annex K.1: its sum at every quality of the usual scaling
STANDARD_TABLE = np.array(
    [16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55]
    + [14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62]
    + [18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92]
    + [49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99]
)


@dataclass(frozen=True, slots=True)
class Metadata:
    """Of one file; see `ScanRecord` for the fields."""

    frames: int = 1
    orientation: int = 1
    quality: int | None = None
    private: tuple[str, ...] = ()


NOTHING = Metadata()


def metadata_of(data: bytes, header: Header) -> Metadata:
    """What stands in an encoded file; nothing is decoded, and damaged fields are passed over."""
    if header.format == JPEG:
        return jpeg_metadata(data, header)
    if header.format == PNG:
        return png_metadata(data, header) if header.parts else NOTHING
    if header.format == TIFF:
        return tiff_metadata(data)
    if header.format == WEBP:
        return webp_metadata(data) if data[12:16] == b"VP8X" else NOTHING
    if header.format == GIF:
        return gif_metadata(data)
    return NOTHING


# -- formats -------------------------------------------------------------------------------------


def jpeg_metadata(data: bytes, header: Header) -> Metadata:
    """From the segments before the picture."""
    quality = None
    exif, private = NOTHING, []
    for kind, start, end in header.parts:
        if kind == "DQT":
            quality = table_quality(data[start:end]) if quality is None else quality
        elif kind == "APP1" and data.startswith(EXIF_PREFIX, start):
            exif = exif_metadata(data[start + len(EXIF_PREFIX) : end])
        elif kind == "APP1" and data.startswith(b"http://ns.adobe.com/xap/", start):
            private += xmp_fields(data[start:end])
        elif kind == "APP13" and b"8BIM\x04\x04" in data[start:end]:
            private += ["IPTC"]
        elif kind == "COM" and not harmless(data[start:end]):
            private += ["JPEG comment"]
    return replace(exif, quality=quality, private=(*exif.private, *private))


def harmless(comment: bytes) -> bool:
    """Whether a text is blank, or one that a program writes by itself."""
    return HARMLESS_COMMENTS.match(comment) is not None


def table_quality(segment: bytes) -> int | None:
    """1 to 100 as libjpeg scales its standard table; the nearest, for tables of other makers.

    Args:
        segment: a DQT segment's body; its first table is that of the luminance.
    """
    if len(segment) < 65 or segment[0] >> 4:
        return None
    return QUALITY_OF_SUM[min(sum(segment[1:65]), len(QUALITY_OF_SUM) - 1)]


def quality_by_sum() -> list[int]:
    """The quality whose luminance table has the sum nearest to each sum."""
    qualities = np.arange(1, 101)
    scale = np.where(qualities < 50, 5000 // qualities, 200 - 2 * qualities)
    tables = np.clip((STANDARD_TABLE[None] * scale[:, None] + 50) // 100, 1, 255)
    sums = tables.sum(axis=1)
    wanted = np.arange(sums.max() + 1)
    return qualities[np.abs(sums[None] - wanted[:, None]).argmin(axis=1)].tolist()


QUALITY_OF_SUM = quality_by_sum()


def png_metadata(data: bytes, header: Header) -> Metadata:
    """From the chunks that are no part of the picture."""
    frames, exif, private = 1, NOTHING, []
    for kind, start, end in header.parts:
        if kind == "acTL" and end - start >= 4:
            frames = struct.unpack_from(">I", data, start)[0]
        elif kind == "eXIf":
            exif = exif_metadata(data[start:end])
        elif kind in PNG_TEXTS:
            keyword = data[start:end].partition(b"\0")[0].decode("latin-1")
            if keyword.lower() in COMMENTS and harmless(png_text(kind, data[start:end])):
                continue
            if keyword == "XML:com.adobe.xmp":
                private += xmp_fields(data[start:end])
            elif keyword.lower() not in HARMLESS_KEYWORDS and "date:" not in keyword:
                private += [f"PNG text {keyword}"]
    return replace(exif, frames=frames, private=(*exif.private, *private))


def png_text(kind: str, chunk: bytes) -> bytes:
    """The beginning of what a text chunk says, unpacked."""
    text = chunk.partition(b"\0")[2]
    packed = kind == "zTXt"
    if kind == "iTXt":
        # whether it is packed, how, its language, its keyword in that language
        packed, text = text[:1] == b"\1", text[2:].split(b"\0", 2)[-1]
    elif packed:
        text = text[1:]
    try:
        return zlib.decompressobj().decompress(text, MOST_TEXT) if packed else text[:MOST_TEXT]
    except zlib.error:
        return b""


def webp_metadata(data: bytes) -> Metadata:
    """From the chunks of an extended WebP."""
    frames, exif, private, place = 0, NOTHING, [], 12
    while place + 8 <= len(data):
        kind, length = data[place : place + 4], struct.unpack_from("<I", data, place + 4)[0]
        body = data[place + 8 : place + 8 + length]
        frames += kind == b"ANMF"
        if kind == b"EXIF":
            exif = exif_metadata(body.removeprefix(EXIF_PREFIX))
        elif kind == b"XMP ":
            private += xmp_fields(body)
        place += 8 + length + length % 2
    return replace(exif, frames=max(1, frames), private=(*exif.private, *private))


def tiff_metadata(data: bytes) -> Metadata:
    """A TIFF is what an Exif block is: directories of tags; pages are chained."""
    return replace(exif_metadata(data), frames=tiff_pages(data))


def tiff_pages(data: bytes) -> int:
    """Full-size pages; reduced copies of a page (pyramids, thumbnails) don't count."""
    order = "<" if data[:2] == b"II" else ">"
    pages, seen = 0, set()
    try:
        place = struct.unpack_from(order + "I", data, 4)[0]
        while place and place not in seen:
            seen.add(place)
            entries = struct.unpack_from(order + "H", data, place)[0]
            reduced = False
            for entry in range(entries):
                tag, _, _, value = struct.unpack_from(order + "HHII", data, place + 2 + 12 * entry)
                reduced |= tag == 254 and bool(value & 1)
            pages += not reduced
            place = struct.unpack_from(order + "I", data, place + 2 + 12 * entries)[0]
    except struct.error:
        pass
    return max(1, pages)


def gif_metadata(data: bytes) -> Metadata:
    """Image blocks of a GIF, and whether a comment says more than which program made it."""
    frames, private = 0, []
    try:
        place = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
        while data[place] != 0x3B:
            if data[place] == 0x2C:
                frames += 1
                packed = data[place + 9]
                place += 10 + (3 << (packed & 7) + 1 if packed & 0x80 else 0) + 1
            else:
                said = data[place + 3 : place + 3 + data[place + 2]]
                if data[place + 1] == 0xFE and not harmless(said):
                    private = ["GIF comment"]
                place += 2
            while data[place]:
                place += 1 + data[place]
            place += 1
    except IndexError:
        pass
    return Metadata(frames=max(1, frames), private=tuple(private))


# -- fields --------------------------------------------------------------------------------------


def exif_metadata(block: bytes) -> Metadata:
    """Orientation and the names of private fields of an Exif block or a TIFF file."""
    from PIL import Image

    exif = Image.Exif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exif.load(block)
            fields = [dict(exif), dict(exif.get_ifd(EXIF_DIRECTORY))]
            places = exif.get_ifd(GPS_DIRECTORY)
    except Exception:  # Pillow raises what it likes on damaged blocks
        return NOTHING
    private = [PRIVATE_TAGS[tag] for found in fields for tag in found if said(tag, found[tag])]
    private += ["GPS"] if set(places) - {0} else []
    turned = fields[0].get(ORIENTATION, 1)
    return Metadata(
        orientation=turned if isinstance(turned, int) and 1 <= turned <= 8 else 1,
        private=tuple(dict.fromkeys(private)),
    )


def said(tag: int, value: Any) -> bool:
    """Whether a private field holds more than blanks or a date of zeros."""
    if tag not in PRIVATE_TAGS:
        return False
    text = value if isinstance(value, bytes) else str(value).encode()
    # a user comment begins with its encoding
    text = text.removeprefix(b"ASCII\0\0\0").removeprefix(b"UNICODE\0")
    return bool(text.strip(b"\0 :0")) and not harmless(text)


def xmp_fields(packet: bytes) -> list[str]:
    """Names of the XMP properties that name people, places or dates."""
    return [f"XMP {name}" for name in XMP_NAMES if name.encode() in packet]
