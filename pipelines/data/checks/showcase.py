"""Which images of a data set show most of its categories, for a person who looks at a few."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

EASY_TO_SEE: Final = 0.02  # share of an image from which a larger segment shows its category no better


def choose_images(shares: NDArray[np.floating], unseen: NDArray[np.bool_], *, least: int, most: int) -> list[int]:
    """Images that together show as many categories as possible, each as large as is useful; unseen ones come first.

    Greedy: every next image adds most to Σ_categories max_{chosen images} min(share, 2 %), in which an unseen category
    weighs more than all seen ones. Once nothing is left to add, the images shown so far are forgotten and another round
    begins, until there are `least` images.

    Args:
        shares: images × categories, the part of an image's pixels that a category has, 0 to 1.
        unseen: categories, which of them are unseen.
        least: how many images are chosen at least, if there are so many.
        most: how many at most.

    Returns:
        Indices of images in ascending order.
    """
    images, categories = shares.shape
    visible = np.minimum(shares.astype(np.float32), EASY_TO_SEE)  # images × categories
    weights = np.where(unseen, categories + 1.0, 1.0).astype(np.float32)
    shown = np.zeros(categories, np.float32)
    chosen: list[int] = []
    while len(chosen) < min(most, images):
        gains = np.maximum(visible - shown, 0) @ weights
        gains[chosen] = -1
        best = int(gains.argmax())
        if gains[best] <= 0:
            if len(chosen) >= least:
                break
            if not shown.any():  # what is left shows no category at all
                chosen += [i for i in range(images) if i not in chosen][: min(least, images) - len(chosen)]
                break
            shown[:] = 0
            continue
        chosen.append(best)
        shown = np.maximum(shown, visible[best])
    return sorted(chosen)
