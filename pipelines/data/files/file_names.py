"""The names of files as lists and archives give them: relative, and never out of their folder."""

from pathlib import Path

from pipelines.base.errors import CorruptFileError


def check_name(name: str, file: Path) -> None:
    r"""Refuses a name that would lead out of the data set's folder, on any system; `file` is where it stands.

    Raises:
        CorruptFileError: it is empty, absolute, has a drive letter, a `..`, a backslash or a NUL.
    """
    parts = name.replace("\\", "/").split("/")
    if not parts[0] or parts[0][1:2] == ":" or ".." in parts:
        raise CorruptFileError(
            f"The file name {name!r} leads out of its folder.",
            file=file,
            mend="Do not use files from a source you do not trust.",
        )
    if "\\" in name or "\0" in name:
        raise CorruptFileError(
            f"The file name {name!r} holds a backslash or a NUL.",
            file=file,
            mend="Write names with forward slashes, as COCO does.",
        )
