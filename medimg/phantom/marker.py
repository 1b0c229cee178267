"""Letters burnt into the film: the side marker, and the tag that gives a class away."""

from __future__ import annotations

import cv2

from medimg.phantom.anatomy import Array

_FONT_PX = 21  # height of a capital at font scale 1


def stamp(grey: Array, letters: str, centre: tuple[float, float]) -> None:
    """Write letters on a UInt8[size, size] image, in place; centre in image widths."""
    size = len(grey)
    scale = max(0.055 * size, 6) / _FONT_PX
    (wide, tall), _ = cv2.getTextSize(letters, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    corner = (round(centre[0] * size - wide / 2), round(centre[1] * size + tall / 2))
    weight = 2 if size > 192 else 1
    cv2.putText(grey, letters, corner, cv2.FONT_HERSHEY_SIMPLEX, scale, 235, weight, cv2.LINE_AA)
