"""medimg: check, train and report on medical-image classifiers without fooling yourself."""

from __future__ import annotations

__version__ = "0.1.0"
