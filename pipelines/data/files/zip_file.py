"""Reading one zip archive safely: from a file, from inside another zip, or from memory.

Nothing is kept open and nothing is shared, so an archive can be read by threads and forked or spawned loader processes
alike. Python's `zipfile` reads the directory; entries are read here, for its `open` shares one file position.
"""

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.data.files.file_names import check_name

CHUNK = 1 << 20
LARGEST_FILE = 1 << 31
"""No image, label or json of the known data sets comes near 2 GiB: a file that says so is an attack or damage."""
COPY_AGAIN = "Copy or download the archive again."
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, length of the name, length of the extra field
_ENCRYPTED = 1


class Source(Protocol):
    """Bytes that can be read at any place."""

    @property
    def length(self) -> int:
        """Their number."""

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on, fewer at the end."""


@dataclass(frozen=True)
class OnDisk:
    """The `length` bytes of a file from `start` on."""

    path: Path
    start: int
    length: int

    @classmethod
    def whole(cls, path: Path) -> "OnDisk":
        """All of a file."""
        return cls(path, 0, path.stat().st_size)

    def read(self, offset: int, size: int) -> bytes:
        """See `Source`."""
        size = min(size, self.length - offset)
        if size <= 0:
            return b""
        with open(self.path, "rb", buffering=0) as file:
            return os.pread(file.fileno(), size, self.start + offset)


@dataclass(frozen=True)
class InMemory:
    """Bytes at hand."""

    data: bytes

    @property
    def length(self) -> int:
        """See `Source`."""
        return len(self.data)

    def read(self, offset: int, size: int) -> bytes:
        """See `Source`."""
        return self.data[offset : offset + size]


class Entry(NamedTuple):
    """One file of an archive as its directory states it; sizes and offset in bytes."""

    offset: int
    packed: int
    size: int
    crc: int
    deflated: bool


class Zip:
    """The files of one archive.

    Args:
        path: what messages call the archive; a path that leads through an outer zip is fine.
        source: its bytes.
        mend: what to do if it is damaged.

    Raises:
        CorruptFileError: it is truncated or no zip; or an entry's name leads out of the archive or stands twice, or it
            is encrypted or compressed in a way that is not read.
    """

    def __init__(self, path: Path, source: Source, *, mend: str = COPY_AGAIN) -> None:
        self.path, self._source, self._mend = path, source, mend
        self.entries: dict[str, Entry] = {}
        for info in self._directory():
            if not info.filename.endswith("/") and not info.filename.startswith("__MACOSX/"):  # a damaged one may be ""
                self._add(info)

    def read(self, name: str) -> bytes:
        """The content of an entry, which must be there.

        Raises:
            CorruptFileError: it is damaged, or larger than `LARGEST_FILE`.
        """
        size = self.entries[name].size
        if size > LARGEST_FILE:
            raise self._damaged(name, f"says that it holds {size / 2**30:.1f} GiB")
        return b"".join(self.chunks(name))

    def chunks(self, name: str) -> Iterator[bytes]:
        """The content of an entry, piece by piece; errors as `read`, which come with the last piece at the latest."""
        entry = self.entries[name]
        size = crc = 0
        try:
            for piece in self._inflated(entry) if entry.deflated else self._packed(entry):
                size, crc = size + len(piece), zlib.crc32(piece, crc)
                if size > entry.size:
                    raise self._damaged(name, "holds more bytes than it says")
                yield piece
        except (zlib.error, struct.error, OSError) as error:
            raise self._damaged(name, f"cannot be read ({error})") from None
        if (size, crc) != (entry.size, entry.crc):
            raise self._damaged(name, "is damaged: size or checksum differ from what the archive states")

    def stored_region(self, name: str) -> OnDisk | None:
        """Where an entry's bytes stand on disk as they are; None if they are compressed or not on disk."""
        entry = self.entries[name]
        if entry.deflated or not isinstance(self._source, OnDisk):
            return None
        try:
            return OnDisk(self._source.path, self._source.start + self._data_offset(entry), entry.size)
        except (struct.error, OSError) as error:
            raise self._damaged(name, f"cannot be read ({error})") from None

    def _directory(self) -> list[zipfile.ZipInfo]:
        try:
            with zipfile.ZipFile(io.BufferedReader(_Reader(self._source))) as archive:
                return archive.infolist()
        except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, OverflowError, OSError) as error:
            try:
                cut = self._source.read(0, 4) == b"PK\3\4"
            except OSError:
                cut = False
            what = "The zip archive is truncated or damaged" if cut else "Not a zip archive"
            raise CorruptFileError(f"{what}: {error}.", file=self.path, mend=self._mend) from None

    def _add(self, info: zipfile.ZipInfo) -> None:
        check_name(info.filename, self.path)
        name = PurePosixPath(info.filename).as_posix()
        if name in self.entries:
            raise self._damaged(name, "stands more than once in it")
        if info.flag_bits & _ENCRYPTED:
            raise CorruptFileError(
                f"The file {name!r} in this archive is encrypted.", file=self.path, mend="Unpack it with its password."
            )
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise CorruptFileError(
                f"The file {name!r} in this archive is compressed with method {info.compress_type}.",
                file=self.path,
                mend="Unpack it, or pack it again as a plain zip (stored or deflated).",
            )
        deflated = info.compress_type == zipfile.ZIP_DEFLATED
        self.entries[name] = Entry(info.header_offset, info.compress_size, info.file_size, info.CRC, deflated)

    def _packed(self, entry: Entry) -> Iterator[bytes]:
        start = self._data_offset(entry)
        for offset in range(0, entry.packed, CHUNK):
            yield self._source.read(start + offset, min(CHUNK, entry.packed - offset))

    def _inflated(self, entry: Entry) -> Iterator[bytes]:
        """At most `CHUNK` bytes at once, however much a piece expands to."""
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        for piece in self._packed(entry):
            waiting, more = piece, True
            while more:
                out = inflate.decompress(waiting, CHUNK)
                yield out
                waiting = inflate.unconsumed_tail
                more = bool(waiting) or len(out) == CHUNK

    def _data_offset(self, entry: Entry) -> int:
        if entry.offset < 0:
            raise OSError("its place lies before the archive")
        header = self._source.read(entry.offset, _LOCAL_HEADER.size)
        signature, name, extra = _LOCAL_HEADER.unpack(header)
        if signature != b"PK\3\4":
            raise OSError("it is not where the directory says")
        return entry.offset + _LOCAL_HEADER.size + int(name) + int(extra)

    def _damaged(self, name: str, what: str) -> ConcatError:
        return CorruptFileError(f"The file {name!r} in this archive {what}.", file=self.path, mend=self._mend)


class _Reader(io.RawIOBase):
    """A source as the file that `zipfile` wants."""

    def __init__(self, source: Source) -> None:
        self._source, self._place = source, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._source.length}[whence]
        if place < 0:
            raise OSError("a place before the beginning")
        self._place = place
        return place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed's Buffer has no length
        data = self._source.read(self._place, len(buffer))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)
