"""A picture file of any kind, from its bytes to a decoded PIL image."""

import io
from pathlib import Path

from PIL import Image

from pipelines.errors import CorruptFileError


def open_picture(data: bytes, file: Path, what: str = "Image") -> Image.Image:
    """Decodes a picture.

    Args:
        data: the bytes of the file.
        file: its path, for messages.
        what: what it should be, for messages.

    Raises:
        CorruptFileError: it is damaged, truncated, no picture, or so large that it may be an attack.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CorruptFileError(
            f"{what} not readable: {error}.", file=file, mend="Copy or unpack the file again."
        ) from None
    return image
