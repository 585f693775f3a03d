"""Room on disks: what is free where a folder lies, and the refusal of what cannot fit, before hours are spent on it."""

import shutil
from pathlib import Path

from pipelines.base.errors import ConcatError
from pipelines.base.listings import Listings

LARGER = "Make room, or give --cache FOLDER on a larger disk."


def nearest_existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    folder = folder.resolve()
    return next(path for path in (folder, *folder.parents) if path.exists())


def free_bytes(folder: Path) -> int:
    """What is free for this user in the file system where a folder lies, or will lie (bytes)."""
    return shutil.disk_usage(nearest_existing(folder)).free


def one_disk(first: Path, second: Path) -> bool:
    """Whether two folders lie, or will lie, in one file system."""
    return nearest_existing(first).stat().st_dev == nearest_existing(second).stat().st_dev


def bytes_below(path: Path) -> int:
    """The bytes of a file, or of all files below a folder; 0 if there is none."""
    return Listings().size(path) if path.exists() else 0


def check_room(folder: Path, needed: int, what: str, *, mend: str = LARGER) -> None:
    """Refuses to begin what will not fit.

    Args:
        folder: where it will be written.
        needed: bytes still to be written.
        what: what it is, for the message.
        mend: how to find room for it.

    Raises:
        ConcatError: less is free in the file system of the folder.
    """
    free = free_bytes(folder)
    if needed > free:
        raise ConcatError(f"{what} needs {in_words(needed)}, but {in_words(free)} are free.", file=folder, mend=mend)


def in_words(size: int) -> str:
    """Bytes as KiB, MiB, GiB or TiB."""
    for unit, power in (("TiB", 40), ("GiB", 30), ("MiB", 20)):
        if size >= 2**power:
            return f"{size / 2**power:.{0 if size >= 100 * 2**power else 1}f} {unit}"
    return f"{-(-size // 2**10)} KiB"
