"""The panoptic PNG of COCO: each pixel's colour is the id of its segment, R + 256·G + 65536·B, and 0 is void."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.base.files import atomic_path
from pipelines.base.progress import Reporter
from pipelines.data.formats.picture import open_picture
from pipelines.metrics.segment_runs import SegmentRuns, runs_of

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
        CorruptFileError: it is damaged, no PNG, or its colours are no ids (greyscale, transparency).
    """
    colours = _decode_colours(data, file).astype(np.int32)  # H×W×3
    return colours[..., 0] | colours[..., 1] << 8 | colours[..., 2] << 16


def decode_panoptic_runs(data: bytes, file: Path) -> SegmentRuns:
    """The runs of the map that `decode_panoptic_png` returns, in a fifth of the time; raises as it does."""
    from pipelines.data.formats.png_runs import rgb_runs  # imports numba

    runs = rgb_runs(data)
    return runs_of(decode_panoptic_png(data, file)) if runs is None else SegmentRuns.at(*runs)


def build_run_decoder(reporter: Reporter) -> None:
    """Compiles `decode_panoptic_runs` on a fresh machine, and says so; before processes start that would each do it."""
    from pipelines.data.formats.png_runs import build_once  # imports numba

    build_once(reporter)


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


def _expanded(image: Image.Image) -> Image.Image:
    """The colours of a picture with a palette."""
    expanded = image.convert("RGB")
    expanded.format = image.format
    return expanded


def _decode_colours(data: bytes, file: Path) -> NDArray[np.uint8]:
    image = open_picture(data, file, "Panoptic PNG")
    if image.mode == "P" and "transparency" not in image.info:
        image = _expanded(image)  # a recompressed copy: each entry of its palette is one colour
    pixels = np.asarray(image)
    opaque = image.mode == "RGB" or (image.mode == "RGBA" and bool((pixels[..., 3] == 255).all()))
    if image.format != "PNG" or not opaque:
        found = f"{image.format} of mode {image.mode}" + (
            "" if opaque or image.mode != "RGBA" else " with transparency"
        )
        mend = "Use the panoptic PNGs as published (RGB); a label map or a recompressed copy holds no segment ids."
        raise CorruptFileError(f"Not a panoptic PNG: {found}.", file=file, mend=mend)
    return pixels[..., :3]
