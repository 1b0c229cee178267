"""`operating.json` of a run: what was chosen on validation, and is applied unchanged from then on.

First the temperature that probabilities are brought to, then thresholds on such probabilities."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from medimg.core.errors import InputError

FILE = "operating.json"


@dataclass(frozen=True)
class Operating:
    """What a run keeps.

    Args:
        temperature: `{value, fitted_on, images, log_loss, ece}`; None where none was fitted.
        points: rule to `{value, chosen_on, predictions, temperature, images, sensitivity,
            specificity}`, of validation.
    """

    temperature: dict[str, Any] | None = None
    points: dict[str, dict[str, Any]] = field(default_factory=dict)


def read_operating(folder: Path) -> Operating:
    """What stands in a run folder; nothing where the file is not there.

    Raises:
        InputError: the file is damaged.
    """
    file = folder / FILE
    try:
        return Operating(**json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Operating()
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{file} is damaged: {error}", "Remove it: evaluate --calibrate makes it anew."
        ) from error


def write_operating(folder: Path, operating: Operating) -> None:
    from medimg.core.report import write_atomically

    write_atomically(folder / FILE, json.dumps(asdict(operating), indent=2) + "\n")


def tempered_threshold(value: float, temperature: float) -> float:
    """The threshold at a temperature that calls the same images as `value` does without it.

    >>> tempered_threshold(0.5, 3.0)
    0.5
    """
    if not 0 < value < 1:
        return value
    return 1 / (1 + math.exp(-math.log(value / (1 - value)) / temperature))


def tempered_card(card: Mapping[str, Any], operating: Operating) -> dict[str, Any]:
    """A model.json with the temperature that is kept beside it, and the threshold that its rule
    chooses at that temperature."""
    if operating.temperature is None:
        return dict(card)
    value = operating.temperature["value"]
    threshold = card.get("threshold")
    if threshold and len(card["classes"]) == 2:
        # what was chosen after the temperature; runs of older versions hold none
        chosen = operating.points.get(threshold["rule"]) if threshold["chosen_on"] else None
        moved = chosen["value"] if chosen else tempered_threshold(threshold["value"], value)
        threshold = {**threshold, "value": moved}
    return {**card, "temperature": value, "threshold": threshold}
