"""Parameters of checks: read off their signatures, set from texts."""

from __future__ import annotations

import pytest

from medimg.core.errors import UsageError
from medimg.core.parameters import parameters_of, settings_of


def check(context, *, distance: int = 4, share: float = 0.5, mirror: bool = False):
    """A check.

    Args:
        distance: bits in which two hashes
            may differ.
        share: of the images, 0 to 1.
    """


CHECKS = {"near": check, "shop:near": check}


def test_keyword_only_arguments_are_the_parameters():
    found = parameters_of(check)
    assert list(found) == ["distance", "share", "mirror"]
    assert found["distance"].default == 4
    assert found["distance"].meaning == "bits in which two hashes may differ."
    assert found["mirror"].meaning == ""


def test_values_take_the_type_of_the_default():
    given = {"near.distance": "6", "near.share": "1", "near.mirror": "yes", "shop:near.share": ".2"}
    settings = settings_of(given, CHECKS)
    assert settings == {
        "near": {"distance": 6, "share": 1.0, "mirror": True},
        "shop:near": {"share": 0.2},
    }
    assert isinstance(settings["near"]["share"], float)


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("nearr.distance", "6", "Did you mean 'near'?"),
        ("distance", "6", "no check is called 'distance'"),
        ("near.distanse", "6", "Did you mean 'distance'?"),
        ("near.distance", "6.5", "is not a whole number from 0 up"),
        ("near.share", "half", "is not a number"),
        ("near.share", "nan", "is not a number"),
        ("near.share", "-0.1", "is not a number from 0 up"),
        ("near.mirror", "perhaps", "is not yes or no"),
    ],
)
def test_what_can_not_be_set_is_said(key, text, said):
    with pytest.raises(UsageError) as error:
        settings_of({key: text}, CHECKS)
    assert said in f"{error.value} {error.value.hint}"


def test_a_check_without_parameters_says_so():
    with pytest.raises(UsageError, match="blank has no parameters"):
        settings_of({"blank.z": "3"}, CHECKS, names=["blank"])
