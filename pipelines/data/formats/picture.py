"""A picture file of any kind, from its bytes to a decoded PIL image."""

import io
import struct
import zlib
from pathlib import Path
from typing import Final

from PIL import Image, UnidentifiedImageError

from pipelines.base.errors import CorruptFileError

_MEND: Final = "Copy or unpack the file again."


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
        if image.format == "PNG":
            _check_sums(data)
    except UnidentifiedImageError:  # its own message names an object in memory
        raise CorruptFileError(f"{what} not readable: it is no picture.", file=file, mend=_MEND) from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CorruptFileError(f"{what} not readable: {error}.", file=file, mend=_MEND) from None
    return image


def _check_sums(data: bytes) -> None:
    """Refuses a PNG with a damaged chunk: PIL does not look at the checksums of pixels, and reads other ones."""
    place, name = 8, b""  # after the signature
    while name != b"IEND":
        length, name = struct.unpack(">I4s", data[place : place + 8].ljust(8))
        content_end = place + 8 + length
        if data[content_end : content_end + 4] != struct.pack(">I", zlib.crc32(data[place + 4 : content_end])):
            raise ValueError("a checksum is wrong")
        place = content_end + 4
