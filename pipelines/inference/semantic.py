"""From class probabilities and mask logits to a category for each pixel (method.md, "Inference").

    label = argmax over n of Σ_k P_kn · sigmoid(M_k)

Source: Cheng et al., "Masked-attention Mask Transformer", `semantic_inference`.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipelines.inference.masks import Padding, resize_rows

_STRIP_FLOATS: Final = 2**22  # at work at a time: rows × width × (masks + categories)


def semantic_variants(
    variants: Sequence[Tensor],
    mask_logits: Tensor,
    size: tuple[int, int],
    padding: Padding | None = None,
) -> list[NDArray[np.int32]]:
    """The label of each pixel for several class probabilities of the same masks.

    The picture is worked through in strips of rows, so that memory does not grow with its size times that of the
    vocabulary. Masks are resized once for all variants.

    Args:
        variants: float, each K×N, class probabilities of each query, without that of "no object".
        mask_logits: float, K×h×w.
        size: height and width of the prediction in px.
        padding: what the masks cover, where that is more than the picture.

    Returns:
        for each variant int32, H×W, an index of its N categories.
    """
    height, width = size
    widest = max(scores.shape[1] for scores in variants)
    rows = max(1, _STRIP_FLOATS // (width * (len(mask_logits) + widest)))
    labels = [np.empty(size, np.int32) for _ in variants]
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        mask_probs = resize_rows(mask_logits, size, padding, top=top, bottom=bottom)  # K×rows×W
        for scores, painted in zip(variants, labels, strict=True):
            votes = scores.float().T @ mask_probs.flatten(1)  # N×(rows·W)
            painted[top:bottom] = votes.max(dim=0).indices.view(-1, width).cpu().numpy()
    return labels
