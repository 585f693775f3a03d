"""Which pictures a user means by folders, files and globs."""

import glob
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

SUFFIXES: Final = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp", ".jp2", ".avif", ".mpo"}
)


class FoundPhoto(NamedTuple):
    """A picture file, and its path below the folder it was looked for in, with forward slashes."""

    path: Path
    name: str


def find_photos(arguments: Sequence[str], *, outside: Path | None = None) -> list[FoundPhoto]:
    """The pictures, each once, in the order of the arguments and in each of names.

    Folders are searched to their ground and globs (`**` too) followed, for files that end as pictures do and are not
    hidden; a file that is named counts whatever it is, even if it is missing.

    Args:
        arguments: folders, files, globs.
        outside: a folder whose files are passed over: where predictions are written.
    """
    found: dict[Path, FoundPhoto] = {}
    for argument in arguments:
        for photo in _found(argument):
            resolved = photo.path.resolve()
            if outside is None or not resolved.is_relative_to(outside.resolve()):
                found.setdefault(resolved, photo)
    return list(found.values())


def _found(argument: str) -> Iterator[FoundPhoto]:
    path = Path(argument)
    if path.is_dir():
        yield from _pictures(path.rglob("*"), path)
    elif not path.exists() and glob.has_magic(argument):
        fixed = Path(*(part for part in _before_magic(path.parts)))
        yield from _pictures(map(Path, glob.glob(argument, recursive=True)), fixed)
    else:
        yield FoundPhoto(path, path.name)


def _before_magic(parts: Sequence[str]) -> Iterator[str]:
    for part in parts[:-1]:
        if glob.has_magic(part):
            return
        yield part


def _pictures(paths: Iterable[Path], folder: Path) -> Iterator[FoundPhoto]:
    for path in sorted(paths):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if path.suffix.lower() in SUFFIXES and not hidden and path.is_file():
            yield FoundPhoto(path, name.as_posix())
