"""Small pictures of a dataset's images, for pages that hold all they show."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np

from medimg.core.images import decode_to_input, is_image_name, read_header
from medimg.core.types import DatasetIndex, Sample

MOST_PICTURES = 400
JPEG_QUALITY = 82
# below this a lossless picture costs next to nothing and shows every pixel
SMALL_PX = 64
HEAVY_BYTES = 300_000
# thin letters stand on these
DRAWING_QUALITY = 90


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture as a data URI, or why there is none.

    Args:
        uri: `data:image/…`; None where there is no picture.
        why: in words, where there is none.
        small: the image itself is this small, so that its pixels may be shown as squares.
    """

    uri: str | None
    why: str = ""
    small: bool = False


class Thumbnails:
    """Pictures of an index's images: each decoded once, a bounded number shown.

    Args:
        index: whose source is read.
        size_px: width and height.
        most: how many are shown at most; the page would grow without bound.
        enough: whether somebody waits for the page: what is not drawn by then is left out.
    """

    def __init__(
        self,
        index: DatasetIndex,
        size_px: int,
        most: int = MOST_PICTURES,
        enough: Callable[[], bool] = lambda: False,
    ) -> None:
        self.index = index
        self.size_px = size_px
        self.most = most
        self.shown = 0
        self.left_out = 0
        self.samples = {s.path: s for s in (*index.unlabelled, *index.samples)}
        self._drawn: dict[str, Thumbnail] = {}
        self._enough = enough

    def sample(self, path: str) -> Sample | None:
        """The row of the index; None for a file beside it."""
        return self.samples.get(path)

    @cached_property
    def _by_patient(self) -> dict[str | None, list[str]]:
        found: dict[str | None, list[str]] = {}
        for sample in self.index.samples:
            found.setdefault(sample.group, []).append(sample.path)
        return found

    def of_patient(self, patient: str | None) -> list[str]:
        """The files of one patient; none where nobody is called so."""
        return [] if patient is None else self._by_patient.get(patient, [])

    def expected(self, path: Any) -> bool:
        """Whether it should be a picture: one of the index, or a file called like one."""
        return isinstance(path, str) and (path in self.samples or is_image_name(path))

    def name(self, path: str) -> str:
        """How the page calls a file: relative to the dataset, no folder of this machine."""
        if not os.path.isabs(path):
            return path
        return os.path.relpath(path, getattr(self.index.source, "root", self.index.root))

    def of(self, path: str) -> Thumbnail:
        """The picture of a file. One that can't be read, or one too many, gives the reason."""
        if self.shown >= self.most:
            self.left_out += 1
            return Thumbnail(None, "picture left out: the page has enough of them")
        if path not in self._drawn and self._enough():
            self.left_out += 1
            return Thumbnail(None, "picture left out: the command was interrupted")
        if path not in self._drawn:
            self._drawn[path] = self._draw(path)
        self.shown += self._drawn[path].uri is not None
        return self._drawn[path]

    def _draw(self, path: str) -> Thumbnail:
        try:
            data = self.index.source.read(path)
            size = min(self.size_px, longer_side(data) or self.size_px)
            pixels = decode_to_input(data, size, size, 3, "pad")
        except OSError as error:
            return Thumbnail(None, error.strerror or type(error).__name__)
        except Exception as error:  # a stranger's source may raise anything; the page goes on
            return Thumbnail(None, str(error) or type(error).__name__)
        return Thumbnail(data_uri(pixels), small=size <= SMALL_PX)


def longer_side(data: bytes | np.ndarray) -> int | None:
    """Pixels of the longer side; None where the header does not tell."""
    if isinstance(data, np.ndarray):
        return max(data.shape[:2], default=0)
    header = read_header(data)
    return max(header.width, header.height) if header and header.width and header.height else None


def data_uri(pixels: np.ndarray) -> str:
    """UInt8[h, w, 3] (RGB) as a PNG where it is small, as a JPEG else; grey where it is grey."""
    grey = (pixels == pixels[..., :1]).all()
    stored = pixels[..., 0] if grey else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    if max(pixels.shape[:2]) <= SMALL_PX:
        return embedded(cv2.imencode(".png", stored)[1].tobytes(), "png")
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    return embedded(cv2.imencode(".jpg", stored, options)[1].tobytes(), "jpeg")


def drawing_uri(png: bytes) -> str:
    """A plot as it is, or as a JPEG where photographs make its PNG too heavy for an e-mail."""
    heavy = len(png) > HEAVY_BYTES
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR) if heavy else None
    if pixels is None:
        return embedded(png, "png")
    options = [cv2.IMWRITE_JPEG_QUALITY, DRAWING_QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    return embedded(cv2.imencode(".jpg", pixels, options)[1].tobytes(), "jpeg")


def embedded(data: bytes, kind: str) -> str:
    """An encoded picture as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
