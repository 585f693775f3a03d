"""Label maps: PNGs whose pixel values are category ids, as VOC, Context, ADE20K and COCO-Stuff publish them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.base.errors import CorruptFileError
from pipelines.base.files import atomic_path
from pipelines.data.formats.picture import open_picture


def decode_label_map(data: bytes, file: Path) -> NDArray[np.int32]:
    """The pixel values of a label map as they stand, a palette not followed; `file` is named in messages.

    Returns:
        int32, H×W.

    Raises:
        CorruptFileError: it is damaged, no PNG, or has colours in place of values.
    """
    image = open_picture(data, file, "Label map")
    if image.format != "PNG" or image.mode not in ("P", "L", "I;16"):
        raise CorruptFileError(
            f"Not a label map: {image.format} of mode {image.mode}.",
            file=file,
            mend="A label map is a PNG with a palette or in grey (8 or 16 bits) whose values are category ids.",
        )
    return np.asarray(image).astype(np.int32)


def write_label_map(path: Path, values: NDArray[np.integer]) -> None:
    """Writes values (H×W, 0 to 65535) as a grey PNG of 8 bits if they fit, else of 16, atomically.

    Raises:
        ValueError: `values` is not two-dimensional or a value does not fit.
    """
    if values.ndim != 2 or values.size == 0 or values.min() < 0 or values.max() > 65535:
        raise ValueError(f"values must be H×W within 0..65535, not {values.shape} {values.dtype}")
    kind = np.uint8 if values.max() <= 255 else np.uint16
    with atomic_path(path) as partial:
        Image.fromarray(values.astype(kind)).save(partial, format="PNG")
