"""A DICOM file's picture as a radiologist's screen would show it."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pydicom
from pydicom.pixels import apply_color_lut, apply_modality_lut, get_decoder, pixel_array

from medimg.api import FileSource, UnreadablePicture

MOST_PIXELS = 200_000_000
Window = tuple[float, float]
CUT_SHORT = "it is cut short"

# threads share Python's filters; pydicom's remarks on odd values would tear the progress bar
warnings.filterwarnings("ignore", module=r"pydicom\.")


class DicomSource(FileSource):
    """Pixels of DICOM files under a folder.

    Args:
        root: paths are relative to it.
        window: (centre, width) in modality units (HU) for every picture in place of its own.
        own_window: whether a picture's own window is used.
    """

    format = "DICOM"

    def __init__(self, root: Path, window: Window | None = None, own_window: bool = True) -> None:
        super().__init__(root)
        self.window = window
        self.own_window = own_window

    def read(self, path: str) -> np.ndarray:  # type: ignore[override]
        """UInt8 or UInt16[h, w] grey, or [h, w, 3] in RGB order; see `picture`.

        Raises:
            OSError: it can't be read, holds several frames, or is compressed in a way that no
                decoder here reads.
        """
        try:
            found = pydicom.dcmread(self.file(path))
        except OSError:
            raise
        except Exception as error:
            raise OSError(f"it is no DICOM file that can be read ({error})") from error
        return picture(found, self.window, self.own_window)


def picture(
    found: pydicom.Dataset, window: Window | None = None, own_window: bool = True
) -> np.ndarray:
    """The single picture of a data set.

    Grey: the modality LUT (rescale), then the window or VOI LUT as UInt8; without one the values
    as UInt16, whose 0.5th to 99.5th percentile medimg stretches (UInt8 where no more is stored).
    MONOCHROME1 is inverted. Colours come as RGB.

    Raises:
        OSError: there is none, there are several, or it can't be decoded.
    """
    array = decoded(found)
    if found.get("PhotometricInterpretation") == "PALETTE COLOR":
        array = apply_color_lut(array, found)
    if array.ndim == 3:
        return whole_bytes(array)
    grey = displayed(array, found, window, own_window)
    if found.get("PhotometricInterpretation") == "MONOCHROME1":
        grey = np.iinfo(grey.dtype).max - grey
    return grey


def decoded(found: pydicom.Dataset) -> np.ndarray:
    """Stored values [h, w], or RGB [h, w, 3]."""
    frames = int(found.get("NumberOfFrames") or 1)
    if frames > 1:
        raise UnreadablePicture(
            f"it holds {frames:,} frames; medimg reads single pictures, so write the frames that "
            "are meant as files of their own",
            "multi-frame",
        )
    if not found.get("Rows") or not found.get("Columns"):
        raise OSError("it holds no picture")
    if found.Rows * found.Columns > MOST_PIXELS:
        raise UnreadablePicture(
            f"it would unpack to {found.Columns:,}×{found.Rows:,} pixels", "decompression-bomb"
        )
    try:
        array = pixel_array(found)
    except Exception as error:  # each decoder raises its own
        reason = why_not(found, error)
        kind = "truncated" if reason.startswith(CUT_SHORT) else "unreadable"
        raise UnreadablePicture(reason, kind) from error
    return array.reshape(array.shape[1:]) if array.ndim > 2 and array.shape[0] == 1 else array


def why_not(found: pydicom.Dataset, error: Exception) -> str:
    """Why pixels can't be decoded, and what to do."""
    syntax = getattr(getattr(found, "file_meta", None), "TransferSyntaxUID", None)
    if syntax is None:
        return "it does not say how its pixels are stored (no transfer syntax)"
    if syntax.is_compressed:
        try:
            able = get_decoder(syntax).is_available
        except NotImplementedError:
            return f"its pixels are compressed as {syntax.name}, which pydicom does not read"
        if not able:
            return (
                f"its pixels are compressed as {syntax.name}, which needs a decoder: "
                'pip install "medimg-dicom[compressed]"'
            )
        return f"its pixels ({syntax.name}) can't be decoded; the file may be damaged"
    if "less than expected" in str(error):
        return f"{CUT_SHORT}: it holds fewer pixels than it says"
    return f"its pixels can't be decoded: {str(error).splitlines()[0]}"


# -- grey levels ---------------------------------------------------------------------------------


def displayed(
    array: np.ndarray, found: pydicom.Dataset, window: Window | None, own_window: bool
) -> np.ndarray:
    """UInt8 or UInt16[h, w], larger values brighter, before any inversion."""
    values = np.asarray(apply_modality_lut(array, found))
    if window is not None:
        return as_bytes(windowed(values, *window))
    if own_window and found.get("VOILUTSequence"):
        return as_bytes(through_lut(values, found))
    own = first_window(found) if own_window else None
    if own is not None:
        return as_bytes(windowed(values, *own, str(found.get("VOILUTFunction") or "LINEAR")))
    return unwindowed(array, values, found)


def first_window(found: pydicom.Dataset) -> Window | None:
    """The first of the windows that a file offers; None where there is none that can be used."""
    numbers = []
    for keyword in ("WindowCenter", "WindowWidth"):
        value = found.get(keyword)
        several = isinstance(value, pydicom.multival.MultiValue)
        first = (value[0] if len(value) else None) if several else value
        if first is None or first == "":
            return None
        numbers.append(float(first))
    return (numbers[0], numbers[1]) if numbers[1] >= 1 else None


def windowed(
    values: np.ndarray, centre: float, width: float, function: str = "LINEAR"
) -> np.ndarray:
    """Float[h, w] in 0..1.

    Source:
        DICOM PS3.3, C.11.2.1.2 (LINEAR) and C.11.2.1.3 (LINEAR_EXACT, SIGMOID).
    """
    values = values.astype(np.float64)
    if function == "SIGMOID":
        return 1.0 / (1.0 + np.exp(-4.0 * (values - centre) / width))
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0.0, 1.0)
    if width <= 1:
        return (values > centre - 0.5).astype(np.float64)
    return np.clip((values - (centre - 0.5)) / (width - 1.0) + 0.5, 0.0, 1.0)


def through_lut(values: np.ndarray, found: pydicom.Dataset) -> np.ndarray:
    """Float[h, w] in 0..1 by the first VOI LUT.

    Source:
        DICOM PS3.3, C.11.2.1.1.
    """
    item = found.VOILUTSequence[0]
    entries, first, bits = (int(v) for v in item.LUTDescriptor)
    table = item.LUTData
    if isinstance(table, bytes):
        table = np.frombuffer(table, np.dtype("<u2" if bits > 8 else "u1"))
    table = np.asarray(table, dtype=np.float64)
    place = np.clip(np.rint(values).astype(np.int64) - first, 0, (entries or 65536) - 1)
    return np.clip(table[np.minimum(place, len(table) - 1)] / (2.0**bits - 1.0), 0.0, 1.0)


def as_bytes(shares: np.ndarray) -> np.ndarray:
    """UInt8 from 0..1."""
    return np.rint(255.0 * shares).astype(np.uint8)


def unwindowed(array: np.ndarray, values: np.ndarray, found: pydicom.Dataset) -> np.ndarray:
    """What is stored, without a window: UInt8 for 8 bits or less, else UInt16.

    The offset and scale depend on what could be stored, not on the picture, so that pictures of
    one scanner stay comparable; HU stay one level apart.
    """
    low, high = value_range(array, values, found)
    bits = int(found.get("BitsStored") or 16)
    if bits <= 8 and array.dtype.kind in "ui":
        return as_bytes((values - low) / max(high - low, 1.0))
    whole = high - low <= 65535 and np.array_equal(values, np.rint(values))
    scale = 1.0 if whole else 65535.0 / max(high - low, 1e-12)
    shifted = np.nan_to_num((values.astype(np.float64) - low) * scale)
    return np.clip(np.rint(shifted), 0, 65535).astype(np.uint16)


def value_range(
    array: np.ndarray, values: np.ndarray, found: pydicom.Dataset
) -> tuple[float, float]:
    """The least and greatest value that could be stored, in modality units."""
    bits = int(found.get("BitsStored") or 16)
    linear = array.dtype.kind in "ui" and not found.get("ModalityLUTSequence")
    if linear:
        signed = bool(found.get("PixelRepresentation"))
        ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        slope = float(found.get("RescaleSlope") or 1)
        intercept = float(found.get("RescaleIntercept") or 0)
        if ends[0] <= array.min() and array.max() <= ends[1]:
            low, high = sorted(slope * end + intercept for end in ends)
            return low, high
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def whole_bytes(array: np.ndarray) -> np.ndarray:
    """RGB as UInt8 or UInt16."""
    array = array[..., :3]
    return array if array.dtype in (np.uint8, np.uint16) else as_bytes(array / max(array.max(), 1))
