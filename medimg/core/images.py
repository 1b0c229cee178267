"""Decoding: bytes to pixels, honestly. Half a file is no image, and a bomb is never unpacked."""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

import cv2
import numpy as np

from medimg.core.decoder_noise import quiet

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"}
    | {".pgm", ".ppm"}
)
MOST_PIXELS = 200_000_000
JPEG, PNG, BMP, TIFF, WEBP, GIF, PNM = "JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PNM"
AS_STORED = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR  # EXIF orientation applied
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
JPEG_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
# start-of-frame markers; C4, C8 and CC in this range are tables
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PROGRESSIVE = 0xC2
# strips, tiles: the tags of their offsets and lengths
TIFF_DATA = ((273, 279), (324, 325))
# compressions of a TIFF whose data end with a check sum
DEFLATED = (8, 32946)
MOST_TIFF_VALUES = 1_000_000
# libjpeg fills blocks for which there are no data with this grey
MISSING_LEVEL, BLOCK_PX = 128, 8
# quantisation tables, EXIF and XMP, IPTC, comments
JPEG_METADATA = {0xDB: "DQT", 0xE1: "APP1", 0xED: "APP13", 0xFE: "COM"}
PNG_METADATA = frozenset({b"acTL", b"eXIf", b"tEXt", b"zTXt", b"iTXt"})
PNM_HEADER = re.compile(rb"P([1-6])(?:\s+|#[^\n]*\n)+(\d+)(?:\s+|#[^\n]*\n)+(\d+)")
REDUCED = {
    (1, 2): cv2.IMREAD_REDUCED_GRAYSCALE_2,
    (1, 4): cv2.IMREAD_REDUCED_GRAYSCALE_4,
    (1, 8): cv2.IMREAD_REDUCED_GRAYSCALE_8,
    (3, 2): cv2.IMREAD_REDUCED_COLOR_2,
    (3, 4): cv2.IMREAD_REDUCED_COLOR_4,
    (3, 8): cv2.IMREAD_REDUCED_COLOR_8,
}

# files in error become findings; the decoders' own complaints would only tear the progress bar
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class UnreadableImage(ValueError):
    """An image that can't be decoded; `kind` is the check that names it."""

    def __init__(self, reason: str, kind: str = "unreadable") -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself before it is decoded; sizes in pixels, None where unknown.

    `parts` are a JPEG's segments and a PNG's further chunks that hold metadata: (kind, start of
    the body, its end), or a TIFF's strips and tiles where those carry check sums; `whole` says
    whether a PNG's chunks or a TIFF's strips are all there, `progressive` whether a JPEG is saved
    as several scans of the whole picture.
    """

    format: str
    width: int | None
    height: int | None
    mode: str | None
    parts: tuple[tuple[str, int, int], ...] = ()
    whole: bool = True
    progressive: bool = False


def is_image_name(name: str) -> bool:
    """Whether a file name looks like an image that medimg decodes.

    >>> is_image_name("a/IM-0001.JPEG"), is_image_name("._IM-0001.jpeg"), is_image_name("x.dcm")
    (True, False, False)
    >>> is_image_name("~$report.png")
    False
    """
    base = name.rpartition("/")[2]
    # hidden ones, and what an office program leaves while a file is open
    if base.startswith((".", "~$")):
        return False
    return "." + base.rpartition(".")[2].lower() in IMAGE_SUFFIXES and "." in base


def read_header(data: bytes) -> Header | None:
    """Format, size and mode; None where it is no known image."""
    if data.startswith(PNG_SIGNATURE):
        return png_header(data)
    if data.startswith(b"\xff\xd8"):
        return jpeg_header(data)
    if data.startswith(b"BM") and len(data) >= 30:
        return bmp_header(data)
    if data[:4] in (b"II*\x00", b"MM\x00*"):
        return tiff_header(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return webp_header(data)
    if data[:6] in (b"GIF87a", b"GIF89a") and len(data) >= 10:
        width, height = struct.unpack_from("<HH", data, 6)
        return Header(GIF, width, height, "P")
    return pnm_header(data)


def bmp_header(data: bytes) -> Header:
    """Negative heights mean rows from the top."""
    width, height = struct.unpack_from("<ii", data, 18)
    bits = struct.unpack_from("<H", data, 28)[0]
    mode = "P" if bits <= 8 else ("RGBA" if bits == 32 else "RGB")
    return Header(BMP, abs(width), abs(height), mode)


def webp_header(data: bytes) -> Header:
    """Size and mode of the three kinds of WebP: lossy, lossless, extended."""
    kind, body = data[12:16], data[20:30]
    if len(body) < 10:
        return Header(WEBP, None, None, None)
    if kind == b"VP8X":
        width, height = (int.from_bytes(body[i : i + 3], "little") + 1 for i in (4, 7))
        return Header(WEBP, width, height, "RGBA" if body[0] & 0x10 else "RGB")
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        mode = "RGBA" if bits >> 28 & 1 else "RGB"
        return Header(WEBP, (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, mode)
    width, height = struct.unpack_from("<HH", body, 6)
    return Header(WEBP, width & 0x3FFF, height & 0x3FFF, "RGB")


def pnm_header(data: bytes) -> Header | None:
    """Portable grey and colour maps; None where it is none."""
    match = PNM_HEADER.match(data[:512])
    if match is None:
        return None
    mode = {1: "1", 2: "L", 0: "RGB"}[int(match[1]) % 3]
    return Header(PNM, int(match[2]), int(match[3]), mode)


def png_header(data: bytes) -> Header:
    """Walks the chunks to IEND."""
    if len(data) < 26:
        return Header(PNG, None, None, None)
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    mode = PNG_MODES.get(colour)
    parts: list[tuple[str, int, int]] = []
    whole, place = False, len(PNG_SIGNATURE)
    while place + 12 <= len(data):
        kind = data[place + 4 : place + 8]
        if kind == b"IEND":
            whole = True
            break
        length = int.from_bytes(data[place : place + 4], "big")
        if kind in PNG_METADATA:
            parts.append((kind.decode(), place + 8, place + 8 + length))
        place += 12 + length
    mode = f"{mode};16" if depth == 16 and mode else mode
    return Header(PNG, width, height, mode, tuple(parts), whole)


def jpeg_header(data: bytes) -> Header:
    """Walks the segments to the start of the first frame."""
    parts: list[tuple[str, int, int]] = []
    place = 2
    while place + 9 < len(data):
        if data[place] != 0xFF:
            place += 1
            continue
        marker = data[place + 1]
        if marker in JPEG_FRAMES:
            height, width, colours = struct.unpack_from(">HHB", data, place + 5)
            mode, progressive = JPEG_MODES.get(colours), marker == PROGRESSIVE
            return Header(JPEG, width, height, mode, tuple(parts), progressive=progressive)
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD9:
            place += 1 if marker == 0xFF else 2
            continue
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        if marker in JPEG_METADATA:
            parts.append((JPEG_METADATA[marker], place + 4, end))
        place = end
    return Header(JPEG, None, None, None)


# bits a sample: whole numbers or floating point, both are said
DEEP = (16, 32, 64)


def tiff_header(data: bytes) -> Header:
    """Size, depth and samples from the first directory; whether its strips or tiles are there."""
    try:
        fields = tiff_fields(data)
    except struct.error:
        return Header(TIFF, None, None, None, whole=False)
    width, height, depth, samples = (
        fields.get(tag, [missing])[0] for tag, missing in ((256, 0), (257, 0), (258, 8), (277, 1))
    )
    places = [
        ("strip", start, start + length)
        for offsets, counts in TIFF_DATA
        for start, length in zip(fields.get(offsets, ()), fields.get(counts, ()), strict=False)
    ]
    summed = fields.get(259, [0])[0] in DEFLATED
    mode = {1: "L", 3: "RGB", 4: "RGBA"}.get(samples)
    mode = f"{mode};{depth}" if depth in DEEP and mode else mode
    return Header(
        TIFF,
        width or None,
        height or None,
        mode,
        tuple(places) if summed else (),
        whole=max((end for *_, end in places), default=0) <= len(data),
    )


def tiff_fields(data: bytes) -> dict[int, tuple[int, ...]]:
    """Tag to its whole numbers, of the first directory.

    Raises:
        struct.error: the file ends before the directory does.
    """
    order = "<" if data[:2] == b"II" else ">"
    fields = {}
    (start,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, start)
    for place in range(start + 2, start + 2 + 12 * entries, 12):
        tag, kind, count = struct.unpack_from(order + "HHI", data, place)
        code = {3: "H", 4: "I"}.get(kind)
        if code is None or count > MOST_TIFF_VALUES:
            continue
        size = count * struct.calcsize(code)
        (elsewhere,) = struct.unpack_from(order + "I", data, place + 8)
        at = place + 8 if size <= 4 else elsewhere
        fields[tag] = struct.unpack_from(f"{order}{count}{code}", data, at)
    return fields


def gif_is_whole(data: bytes) -> bool:
    """Whether the trailer stands at the end; zeros may follow it."""
    return data.rstrip(b"\0").endswith(b";")


def is_truncated(data: bytes, header: Header) -> bool:
    """Whether a file ends before its picture does; decoders may show half a picture then.

    Told by the end mark of JPEG, PNG and GIF, by the length that BMP and WebP give, and by where
    the strips of a TIFF should lie.
    """
    if header.format in (PNG, TIFF):
        return not header.whole
    if header.format == GIF:
        return not gif_is_whole(data)
    if header.format == BMP:
        return not bmp_is_whole(data)
    if header.format == WEBP:
        return struct.unpack_from("<I", data, 4)[0] + 8 > len(data)
    if header.format == JPEG:
        if data.endswith(b"\xff\xd9"):
            return False
        # bytes may follow the end mark; a thumbnail's own end mark stands before the picture
        scan = data.rfind(b"\xff\xda")
        return scan < 0 or data.find(b"\xff\xd9", scan) < 0
    return False


def ends_early(data: bytes, header: Header, image: np.ndarray) -> bool:
    """Whether a JPEG with an end mark holds fewer data than its picture needs.

    libjpeg then fills the rest with grey and only warns. Where the last block has that grey (and
    for progressive ones, which have no such sign) bytes are put in before the end mark: a decoder
    that still waits for data shows another picture, one that has all of it passes them over.

    Args:
        image: what the decoder made of the file, at full size, in cv2's order of colours.
    """
    if header.format != JPEG:
        return False
    if not header.progressive:
        # the last value alone tells of nearly every picture
        if image.item(-1) != MISSING_LEVEL:
            return False
        if (image[-BLOCK_PX // 2 :, -BLOCK_PX // 2 :] != MISSING_LEVEL).any():
            return False
    end = data.rfind(b"\xff\xd9")
    more = data[:end] + b"\x55\xaa\x5a\xa5" * 64 + data[end:]
    try:
        return not np.array_equal(unpack_bgr(more), image)
    except UnreadableImage:
        return False


def is_damaged(data: bytes, header: Header) -> bool:
    """Whether check sums say so of a TIFF, which decoders pass over; PNG's are theirs to look at.

    JPEG, WebP, BMP and other TIFFs have none: a change in the middle that leaves their length is
    another picture to every decoder.
    """
    if header.format != TIFF:
        return False
    try:
        for _, start, end in header.parts:
            zlib.decompress(data[start:end])
    except zlib.error:
        return True
    return False


def bmp_is_whole(data: bytes) -> bool:
    """Compares the length with rows times columns; compressed ones are left to the decoder."""
    start = struct.unpack_from("<I", data, 10)[0]
    if len(data) < 34 or struct.unpack_from("<I", data, 30)[0] != 0:
        return True
    width, height = struct.unpack_from("<ii", data, 18)
    bits = struct.unpack_from("<H", data, 28)[0]
    # rows are padded to four bytes
    return start + (width * bits + 31) // 32 * 4 * abs(height) <= len(data)


def check_file(data: bytes) -> Header:
    """The header of a file that may be decoded.

    Raises:
        UnreadableImage: it is empty, no image, cut short, or too large to unpack.
    """
    if not data:
        raise UnreadableImage("the file is empty", "empty-file")
    header = read_header(data)
    if header is None:
        raise UnreadableImage("it is no image that medimg knows")
    if header.width and header.height and header.width * header.height > MOST_PIXELS:
        raise UnreadableImage(
            f"it would unpack to {header.width:,}×{header.height:,} pixels", "decompression-bomb"
        )
    if is_truncated(data, header):
        raise UnreadableImage("it is cut short", "truncated")
    return header


def decode(data: bytes | np.ndarray) -> np.ndarray:
    """Pixels as UInt8 or UInt16[h, w] (grey) or [h, w, 3] (RGB).

    EXIF orientation is applied, palettes are resolved, alpha is dropped (the colours under it
    stay), CMYK becomes RGB.

    Args:
        data: an encoded file, or pixels, which come back as they are (a fourth channel dropped).

    Raises:
        UnreadableImage: it can't be decoded wholly.
    """
    if isinstance(data, np.ndarray):
        return plain_array(data)
    check_file(data)
    return unpack(data)


def unpack(data: bytes, flags: int = AS_STORED) -> np.ndarray:
    """What cv2's decoder makes of a checked file, colours in RGB order."""
    image = unpack_bgr(data, flags)
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def unpack_bgr(data: bytes, flags: int = AS_STORED) -> np.ndarray:
    """The same, colours in cv2's own order: [h, w] or [h, w, 3], UInt8 or UInt16.

    Raises:
        UnreadableImage: the decoder refuses.
    """
    try:
        with quiet:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise UnreadableImage(f"it can't be decoded ({error.err})") from error
    if image is None:
        raise UnreadableImage("it can't be decoded")
    if image.dtype not in (np.uint8, np.uint16):
        image = to_bytes(image)
    return image if image.ndim == 2 else image[..., :3]


def plain_array(array: np.ndarray) -> np.ndarray:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim == 3 and array.shape[2] == 4:
        array = array[..., :3]
    if array.ndim not in (2, 3) or array.dtype not in (np.uint8, np.uint16) or not array.size:
        raise UnreadableImage(f"an array of shape {array.shape} and {array.dtype} is no picture")
    return array


def to_bytes(image: np.ndarray) -> np.ndarray:
    """UInt8 from any depth: 0.5th to 99.5th percentile of the picture itself to 0..255.

    16-bit pictures rarely use their whole range; a fixed division by 256 would leave most of
    them black.
    """
    if image.dtype == np.uint8:
        return image
    if image.dtype == np.uint16:
        # counting is faster than sorting
        cumulative = np.cumsum(np.bincount(image.ravel(), minlength=65536))
        low, high = np.searchsorted(cumulative, np.array([0.005, 0.995]) * image.size)
    else:
        finite = image[np.isfinite(image)]
        low, high = np.percentile(finite, [0.5, 99.5]) if finite.size else (0.0, 1.0)
    scaled = (image.astype(np.float32) - low) * (255.0 / max(high - low, 1e-6))
    return np.clip(np.nan_to_num(scaled), 0, 255).astype(np.uint8)


def to_input(
    image: np.ndarray, height: int, width: int, channels: int, resize: str = "squash"
) -> np.ndarray:
    """UInt8[height, width, channels] from UInt8/UInt16[h, w] or [h, w, 3].

    Args:
        channels: 1 (colours become their luminance) or 3 (grey is repeated).
        resize: `squash` loses the aspect ratio; `pad` keeps it, on black.
    """
    image = to_bytes(image)
    if channels == 1 and image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if resize == "pad":
        image = padded(image, height, width)
    elif image.shape[:2] != (height, width):
        image = resized(image, height, width)
    if channels == 3 and image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    return image.reshape(height, width, channels)


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    smaller = image.shape[0] >= height and image.shape[1] >= width
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=how)


def padded(image: np.ndarray, height: int, width: int) -> np.ndarray:
    scale = min(height / image.shape[0], width / image.shape[1])
    inner = (max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale)))
    small = resized(image, min(inner[0], height), min(inner[1], width))
    top, left = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    return cv2.copyMakeBorder(
        small,
        top,
        height - small.shape[0] - top,
        left,
        width - small.shape[1] - left,
        cv2.BORDER_CONSTANT,
        value=0,
    )


def decode_to_input(
    data: bytes | np.ndarray,
    height: int,
    width: int,
    channels: int,
    resize: str = "squash",
    *,
    finer: int = 1,
) -> np.ndarray:
    """UInt8[height, width, channels] of a file, in the cheapest way.

    A JPEG that is at least twice as large as wanted is decoded at a half, quarter or eighth of
    its size, which libjpeg does for next to nothing.

    Args:
        finer: how many times the wanted size it is decoded at where its sides would be rounded up
            to whole pixels at reduced size: copies of two sizes lie on each other only where that
            is little of a pixel.
    Raises:
        UnreadableImage: it can't be decoded wholly.
    """
    if isinstance(data, np.ndarray):
        return to_input(plain_array(data), height, width, channels, resize)
    header = check_file(data)
    flags = AS_STORED
    if header.format == JPEG and header.width and header.height:
        # orientation may swap the sides: compare the shorter with the longer
        ratio = min(header.width, header.height) / max(height, width)
        grey = header.mode == "L" or channels == 1
        for step in (8, 4, 2):
            whole = header.width % step == 0 and header.height % step == 0
            if ratio >= step * (1 if whole else finer):
                flags = REDUCED[(1 if grey else 3, step)]
                break
    return to_input(unpack(data, flags), height, width, channels, resize)
