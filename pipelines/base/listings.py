"""Folders too large to be read again, told by the names, sizes and times of their files."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

_File = tuple[str, int, int]  # name, bytes, mtime in ns


class Listings:
    """Lists each folder once, for who looks at the same ones several times in a moment."""

    def __init__(self) -> None:
        self._listed: dict[str, tuple[list[_File], list[str]]] = {}

    def fingerprint(self, folder: Path) -> str:
        """A hash of the sorted (name, size, mtime) list of all files below a folder."""
        lines = sorted(f"{name} {size} {mtime}" for name, size, mtime in self._files(str(folder), ""))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def size(self, path: Path) -> int:
        """The bytes of a file, or of all files below a folder."""
        if path.is_dir():
            return sum(size for _, size, _ in self._files(str(path), ""))
        return path.stat().st_size

    def _files(self, folder: str, prefix: str) -> Iterator[_File]:
        if folder not in self._listed:
            self._listed[folder] = _scanned(folder)
        files, folders = self._listed[folder]
        if prefix:
            yield from ((prefix + name, size, mtime) for name, size, mtime in files)
        else:
            yield from files
        for name in folders:
            yield from self._files(f"{folder}/{name}", f"{prefix}{name}/")


def _scanned(folder: str) -> tuple[list[_File], list[str]]:
    """The files of one folder, symbolic links followed, and its folders, links not followed."""
    files: list[_File] = []
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file():
                stat = entry.stat()
                files.append((entry.name, stat.st_size, stat.st_mtime_ns))
            elif entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
    return files, folders
