"""Which values read from a json are the numbers that scores can be made of."""

import math
from numbers import Integral, Real
from typing import Any


def is_integer(value: Any) -> bool:
    """True for an integer, which True and False are not."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """True for a number that a float can hold."""
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False
