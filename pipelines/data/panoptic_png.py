"""The panoptic PNG of COCO: each pixel's colour is the id of its segment, R + 256·G + 65536·B, and 0 is void."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.data.picture import open_picture
from pipelines.data.png import decode_plain_png
from pipelines.errors import ConcatError, CorruptFileError
from pipelines.files import atomic_path
from pipelines.metrics.segment_runs import SegmentRuns

MAX_ID = 2**24 - 1


def read_panoptic_png(path: Path) -> NDArray[np.int32]:
    """Reads a panoptic PNG as a map of segment ids; returns and raises as `decode_panoptic_png`.

    Raises:
        ConcatError: the file is missing or may not be read.
    """
    mend = "Check that the PNG folder lies beside its json and is complete."
    try:
        return decode_panoptic_png(path.read_bytes(), path)
    except FileNotFoundError:
        raise ConcatError("Panoptic PNG not found.", file=path, mend=mend) from None
    except OSError as error:
        raise ConcatError(f"Panoptic PNG not readable: {error.strerror}.", file=path, mend=mend) from None


def decode_panoptic_png(data: bytes, file: Path) -> NDArray[np.int32]:
    """The map of segment ids in the bytes of a panoptic PNG; `file` is named in messages.

    Returns:
        int32, H×W; 0 is void.

    Raises:
        CorruptFileError: it is damaged, no PNG, or its colours are no ids (greyscale, palette, transparency).
    """
    colours = _decode_colours(data, file)
    return _ids_of(colours).reshape(colours.shape[:2])


def decode_panoptic_runs(data: bytes, file: Path) -> SegmentRuns:
    """The runs of the map of segment ids in the bytes of a panoptic PNG; twice as fast as making the map first.

    Raises:
        CorruptFileError: as `decode_panoptic_png`.
    """
    colours = _decode_colours(data, file)
    flat = colours.reshape(-1)
    changed = np.flatnonzero(flat[3:] != flat[:-3]) // 3 + 1  # pixels, each up to three times
    starts = np.append(0, changed[np.diff(changed, prepend=0) > 0])
    return SegmentRuns.at(starts, _ids_of(colours.reshape(-1, 3)[starts]), colours.shape[:2])


def write_panoptic_png(path: Path, ids: NDArray[np.integer]) -> None:
    """Writes a map of segment ids (H×W, 0 to 2²⁴−1, 0 is void) as a panoptic PNG, atomically.

    Raises:
        ValueError: `ids` is not two-dimensional or an id does not fit into a colour.
    """
    if ids.ndim != 2 or ids.size == 0 or ids.min() < 0 or ids.max() > MAX_ID:
        raise ValueError(f"ids must be H×W within 0..{MAX_ID}, not {ids.shape} {ids.dtype}")
    colours = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=-1).astype(np.uint8)
    with atomic_path(path) as partial:
        Image.fromarray(colours).save(partial, format="PNG")


def _decode_colours(data: bytes, file: Path) -> NDArray[np.uint8]:
    """H×W×3, contiguous."""
    plain = decode_plain_png(data, "RGB")
    return _decode_with_pil(data, file) if plain is None else plain


def _decode_with_pil(data: bytes, file: Path) -> NDArray[np.uint8]:
    image = open_picture(data, file, "Panoptic PNG")
    pixels = np.asarray(image)
    opaque = image.mode == "RGB" or (image.mode == "RGBA" and bool((pixels[..., 3] == 255).all()))
    if image.format != "PNG" or not opaque:
        found = f"{image.format} of mode {image.mode}" + (
            "" if opaque or image.mode != "RGBA" else " with transparency"
        )
        mend = "Use the panoptic PNGs as published (RGB); a label map or a recompressed copy holds no segment ids."
        raise CorruptFileError(f"Not a panoptic PNG: {found}.", file=file, mend=mend)
    return np.ascontiguousarray(pixels[..., :3])


def _ids_of(colours: NDArray[np.uint8]) -> NDArray[np.int32]:
    """R + 256·G + 65536·B of every pixel, flattened; `colours` is …×3 and contiguous."""
    flat = colours.reshape(-1)
    ids = np.empty(flat.size // 3, np.int32)
    four_bytes = np.ndarray((ids.size - 1,), "<i4", flat, strides=(3,))  # the fourth is the next pixel's red
    np.bitwise_and(four_bytes, MAX_ID, out=ids[:-1])
    red, green, blue = flat[-3:].tolist()
    ids[-1] = red | green << 8 | blue << 16
    return ids
