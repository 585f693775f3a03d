"""What a prediction or a label is to who draws it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Drawing:
    """A prediction to be drawn: ids (int32, H×W, 0 is void) and the category id of each."""

    ids: NDArray[np.int32]
    category_of: Mapping[int, int]
