"""Label maps: PNGs whose pixel values are category ids, as VOC, Context, ADE20K and COCO-Stuff publish them."""

import io
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.base.errors import CorruptFileError
from pipelines.base.files import atomic_path
from pipelines.data.formats.picture import open_picture

LARGEST: Final = 2**16 - 1
"""A grey PNG has at most 16 bits."""


def decode_label_map(data: bytes, file: Path) -> NDArray[np.int32]:
    """The pixel values of a label map as they stand, a palette not followed; `file` is named in messages.

    Grey that was saved as a colour picture of equal channels, and pictures of one bit, have values too; an array
    (.npy), as predictions may come, is its own values.

    Returns:
        int32, H×W.

    Raises:
        CorruptFileError: it is damaged, of another kind, or has colours in place of values.
    """
    if file.suffix == ".npy":
        return _array_values(data, file)
    image = open_picture(data, file, "Label map")
    if image.format == "PNG" and image.mode in ("P", "L", "I;16", "1"):
        return np.asarray(image).astype(np.int32)
    if image.format == "PNG" and image.mode in ("RGB", "RGBA", "LA"):
        return _grey_values(np.asarray(image), image.mode, file)
    raise _no_label_map(f"{image.format} of mode {image.mode}", file)


def _grey_values(pixels: NDArray[np.uint8], mode: str, file: Path) -> NDArray[np.int32]:
    """The one value of each pixel (H×W×C) whose colours are all equal, and which is opaque."""
    colours = pixels[..., : 1 if mode == "LA" else 3]
    wrong = (colours != colours[..., :1]).any(axis=-1)
    if mode in ("RGBA", "LA"):
        wrong |= pixels[..., -1] != 255
    if wrong.any():
        y, x = np.argwhere(wrong)[0].tolist()
        raise _no_label_map(f"PNG of mode {mode}, with the colour {tuple(pixels[y, x].tolist())} at x {x}, y {y}", file)
    return colours[..., 0].astype(np.int32)


def _array_values(data: bytes, file: Path) -> NDArray[np.int32]:
    try:
        values = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise CorruptFileError(f"Not an array of numpy: {error}.", file=file, mend="Save it with numpy.save.") from None
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.size == 0 or values.dtype.kind not in "biuf":
        shape = "×".join(map(str, getattr(values, "shape", ()))) or "no shape"
        raise _no_label_map(f"an array of {getattr(values, 'dtype', 'objects')}, {shape}", file)
    if not ((values >= 0) & (values <= LARGEST) & (values == np.floor(values))).all():
        raise _no_label_map(f"an array with values that are no whole numbers from 0 to {LARGEST}", file)
    return values.astype(np.int32)


def _no_label_map(found: str, file: Path) -> CorruptFileError:
    return CorruptFileError(
        f"Not a label map: {found}.",
        file=file,
        mend="A label map is a PNG with a palette or in grey (8 or 16 bits), or an array (.npy, H×W), whose values are "
        "category ids.",
    )


def write_label_map(path: Path, values: NDArray[np.integer]) -> None:
    """Writes values (H×W, 0 to 65535) as a grey PNG of 8 bits if they fit, else of 16, atomically.

    Raises:
        ValueError: `values` is not two-dimensional or a value does not fit.
    """
    if values.ndim != 2 or values.size == 0 or values.min() < 0 or values.max() > LARGEST:
        raise ValueError(f"values must be H×W within 0..{LARGEST}, not {values.shape} {values.dtype}")
    kind = np.uint8 if values.max() <= 255 else np.uint16
    with atomic_path(path) as partial:
        Image.fromarray(values.astype(kind)).save(partial, format="PNG")
