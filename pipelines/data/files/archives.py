"""Files of a data set, the same way whether they lie in a folder, a zip, a folder of a zip or a zip within a zip."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.base.files import alone, atomic_path, room_on_disk
from pipelines.base.listings import Listings
from pipelines.data.files.file_names import check_name
from pipelines.data.files.zip_file import InMemory, OnDisk, Source, Zip

LARGEST_IN_MEMORY = 256 << 20
"""A compressed zip within a zip up to this size (bytes) is held in memory; a larger one is copied to the cache."""

RIGHTS = "Check its rights."


class Files(Protocol):
    """Files below one root; names are relative, with forward slashes."""

    @property
    def path(self) -> Path:
        """The root, as messages name it; it may lead through a zip."""

    def names(self) -> list[str]:
        """The names of all files, sorted."""

    def read(self, name: str, what: str = "File") -> bytes:
        """The content of a file; `what` it should be, for messages.

        Raises:
            ConcatError: it is missing or may not be read.
            CorruptFileError: it is damaged, or its name leads out of the root.
        """

    def __contains__(self, name: str) -> bool: ...

    def fingerprint(self) -> str:
        """A hash that differs once a file is added, removed or replaced, made from the listing alone."""


@dataclass(frozen=True)
class Folder:
    """The files below a folder on disk, symbolic links followed."""

    path: Path

    def names(self) -> list[str]:
        """See `Files`."""
        try:
            return sorted(file.relative_to(self.path).as_posix() for file in _files_below(self.path, frozenset()))
        except OSError as error:
            raise ConcatError(f"Folder not readable: {error.strerror}.", file=error.filename, mend=RIGHTS) from None

    def read(self, name: str, what: str = "File") -> bytes:
        """See `Files`."""
        check_name(name, self.path)
        return _read_from_disk(self.path / name, what)

    def __contains__(self, name: str) -> bool:
        check_name(name, self.path)
        return os.path.isfile(self.path / name)

    def fingerprint(self) -> str:
        """See `Files`."""
        return Listings().fingerprint(self.path)


@dataclass(frozen=True)
class ZipFolder:
    """The files of a zip, or of the folder `root` in it ("" or ending with a slash)."""

    path: Path
    archive: Zip
    root: str

    def names(self) -> list[str]:
        """See `Files`."""
        return sorted(name.removeprefix(self.root) for name in self.archive.entries if name.startswith(self.root))

    def read(self, name: str, what: str = "File") -> bytes:
        """See `Files`."""
        entry = self._entry(name)
        if entry not in self.archive.entries:
            raise _not_found(self.path / name, what)
        return self.archive.read(entry)

    def __contains__(self, name: str) -> bool:
        return self._entry(name) in self.archive.entries

    def fingerprint(self) -> str:
        """See `Files`."""
        entries = self.archive.entries
        lines = [f"{name} {entries[self.root + name].size} {entries[self.root + name].crc}" for name in self.names()]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def _entry(self, name: str) -> str:
        """The entry of a name below the root; a list may also name the root itself (`train2017/x.jpg`)."""
        check_name(name, self.path)
        name = PurePosixPath(name).as_posix()
        below = self.root + name
        return name if below not in self.archive.entries and name.startswith(self.root) else below


def open_files(path: Path, cache: Path | None = None) -> Files:
    """The files of a folder, a zip, a folder in a zip, or a zip in a zip.

    A zip with a single top folder (`train2017.zip` holds `train2017/…`) stands for that folder.

    Args:
        path: `train2017`, `train2017.zip`, `x.zip/train2017`, `panoptic_annotations_trainval2017.zip/annotations/
            panoptic_train2017.zip`, …
        cache: where a large compressed zip within a zip is copied to, once; None: `$CONCAT_CACHE`, else `./cache`.

    Raises:
        ConcatError: there is no such folder or zip.
        CorruptFileError: a zip on the way is damaged or unsafe.
    """
    if os.path.isdir(path):
        return Folder(path)
    archive, inside = _walk(path, cache)
    if inside in archive.entries:
        archive, inside = _inner(archive, inside, cache), ""
    root = f"{inside}/" if inside else _single_top_folder(archive)
    if not any(name.startswith(root) for name in archive.entries):
        tops = sorted({name.split("/")[0] for name in archive.entries})
        raise ConcatError(
            f"The archive {archive.path.name} holds no {inside or 'file'}.",
            file=path,
            mend=f"It holds {', '.join(tops[:5])}." if tops else "Give an archive with files.",
        )
    return ZipFolder(path, archive, root)


def read_bytes(path: Path, cache: Path | None = None, *, what: str = "File") -> bytes:
    """The content of one file, which may lie in a zip (`x.zip/annotations/panoptic_train2017.json`).

    Args:
        path: the file.
        cache: see `open_files`.
        what: what the file should be, for messages.

    Raises:
        ConcatError: it is missing or may not be read.
        CorruptFileError: it, or a zip on the way, is damaged.
    """
    if on_disk(path) == path:
        return _read_from_disk(path, what)
    archive, inside = _walk(path, cache)
    if inside not in archive.entries:
        raise _not_found(path, what)
    return archive.read(inside)


def on_disk(path: Path) -> Path:
    """The zip on disk that a path leads through, or the path itself if it leads through none."""
    if os.path.exists(path):
        return path
    return next((parent for parent in path.parents if os.path.isfile(parent)), path)


def exists(path: Path) -> bool:
    """Whether there is such a file or folder, on disk or in a zip."""
    if on_disk(path) == path:
        return os.path.exists(path)
    archive, inside = _walk(path, None)
    return inside in archive.entries or any(name.startswith(f"{inside}/") for name in archive.entries)


def _walk(path: Path, cache: Path | None) -> tuple[Zip, str]:
    """The innermost zip that `path` leads through or is, and what is left of the path within it."""
    start = on_disk(path)
    try:
        archive = Zip(start, OnDisk.whole(start))
    except OSError as error:
        what = "No such folder or zip" if isinstance(error, FileNotFoundError) else f"Not readable: {error.strerror}"
        raise ConcatError(f"{what}.", file=path, mend="Check the path and its rights.") from None
    rest = path.relative_to(start).parts
    while inner := next((k for k in range(1, len(rest)) if "/".join(rest[:k]) in archive.entries), 0):
        archive, rest = _inner(archive, "/".join(rest[:inner]), cache), rest[inner:]
    return archive, "/".join(rest)


def _inner(archive: Zip, name: str, cache: Path | None) -> Zip:
    """The zip that is an entry of another: read in place if it is stored, else from memory or from a copy."""
    entry = archive.entries[name]
    path = archive.path / name
    source: Source | None = archive.stored_region(name)
    if source is not None:
        return Zip(path, source)
    if entry.size <= LARGEST_IN_MEMORY:
        return Zip(path, InMemory(archive.read(name)))
    cache = cache or Path(os.environ.get("CONCAT_CACHE", "cache"))
    copy = cache / "archives" / f"{PurePosixPath(name).stem}-{entry.crc:08x}-{entry.size}.zip"
    try:
        with alone(copy), room_on_disk(copy):
            if not copy.exists() or copy.stat().st_size != entry.size:
                with atomic_path(copy) as partial, open(partial, "wb") as file:
                    file.writelines(archive.chunks(name))
            return Zip(path, OnDisk.whole(copy), mend=f"Remove {copy}, which is a copy and will be made again.")
    except OSError as error:
        raise ConcatError(
            f"The archive {name} cannot be copied to the cache: {error.strerror}.",
            file=copy,
            mend="Choose another folder with --cache or $CONCAT_CACHE.",
        ) from None


def _single_top_folder(archive: Zip) -> str:
    tops = {name.partition("/")[:2] for name in archive.entries}
    folder, slash = next(iter(tops), ("", ""))
    return f"{folder}/" if len(tops) == 1 and slash else ""


def _files_below(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    """All files; `above` are the folders on the way, so that a link back to one of them ends."""
    found = folder.stat()
    here = (found.st_dev, found.st_ino)
    if here in above:
        return
    for entry in os.scandir(folder):
        if entry.is_dir():
            yield from _files_below(Path(entry.path), above | {here})
        elif entry.is_file():
            yield Path(entry.path)


def _read_from_disk(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a NUL is no OSError
        raise _not_found(path, what) from None
    except OSError as error:
        raise CorruptFileError(f"{what} not readable: {error.strerror}.", file=path, mend=RIGHTS) from None


def _not_found(path: Path, what: str) -> ConcatError:
    return ConcatError(f"{what} not found.", file=path, mend="Check the path, and that the data set is complete.")
