"""Any picture a user has, as RGB pixels the right way up."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pipelines.base.errors import ConcatError
from pipelines.data.formats.picture import open_picture

Photo = Path | str | Image.Image | NDArray[np.uint8]


def pixels_of(photo: Photo) -> NDArray[np.uint8]:
    """RGB pixels of a file, a PIL image or an array.

    The orientation that a camera noted (EXIF) is followed, unlike in data sets, whose labels were drawn without it.
    What is transparent becomes white; grey of 16 bits is brought to 8.

    Args:
        photo: a path, an image of any mode, or uint8 H×W×3, RGB.

    Returns:
        uint8, H×W×3.

    Raises:
        ConcatError: the file is missing or may not be read, or the array is of another form.
        CorruptFileError: the file is damaged or no picture.
    """
    if isinstance(photo, np.ndarray):
        return _checked(photo)
    image = photo if isinstance(photo, Image.Image) else open_photo(Path(photo))
    return np.asarray(_as_rgb(ImageOps.exif_transpose(image)))


def open_photo(path: Path) -> Image.Image:
    """Decodes a picture file; raises as `pixels_of`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConcatError(f"Image not readable: {error.strerror}.", file=path, mend="Check the path.") from None
    return open_picture(data, path)


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):  # 16 bits as older files have them; what is beyond is cut off
        values = np.asarray(image, dtype=np.float64)
        values = values / 256 if values.max(initial=0) > 255 else values
        return Image.fromarray(values.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _checked(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise ConcatError(
            f"An image is an array of uint8, H×W×3, not of {pixels.dtype}, {'×'.join(map(str, pixels.shape))}.",
            mend="Give RGB values from 0 to 255, or a PIL image.",
        )
    return np.ascontiguousarray(pixels)
