"""Write beside, then rename; hash; check JSON on read. The only place that knows how files are made safe."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.base.errors import ConcatError, CorruptFileError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a neighbouring path to write to; renames it onto `path` when the block ends well, removes it otherwise.

    The temporary name keeps the suffix, since savers choose formats by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def room_on_disk(path: Path) -> Iterator[None]:
    """Turns a full disk (or quota) into a message about the file or folder being written."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ConcatError("The disk is full.", file=path, mend="Make room.") from error


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Waits until no other process makes `path`, which lies in a cache that several runs may fill at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f".{path.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # goes with the process, however it ends
        yield


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text atomically."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, *, indent: int | None = 1) -> None:
    """Writes JSON atomically; NaN and infinity are refused, since JSON has no such numbers."""
    write_text(path, json.dumps(value, indent=indent, allow_nan=False) + "\n")


def read_json(path: Path, *, mend: str | None = None) -> Any:
    """Reads JSON.

    Raises:
        ConcatError: the file is missing.
        CorruptFileError: it is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ConcatError("File not found.", file=path, mend=mend) from None
    except (ValueError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"Not valid JSON: {error}.", file=path, mend=mend) from None


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, or, for a folder (a zarr store), of its sorted (relative path, hash) list."""
    if path.is_dir():
        lines = [f"{p.relative_to(path).as_posix()} {sha256(p)}" for p in sorted(path.rglob("*")) if p.is_file()]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove(path: Path) -> None:
    """Removes a file or a folder with all below it; nothing happens if there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def replace_folder(partial: Path, final: Path) -> None:
    """Puts a finished folder in the place of an older one, which vanishes only once the new one can take its place."""
    old = final.with_name(f".{final.name}.old")
    remove(old)
    if final.exists():
        os.rename(final, old)
    os.rename(partial, final)
    remove(old)
