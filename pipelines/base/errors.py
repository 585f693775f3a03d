"""Errors a user can mend. Everything else is a bug and keeps its traceback."""

from pathlib import Path


class ConcatError(Exception):
    """A failure with one clear message, the file it concerns and how to mend it.

    Args:
        message: what is wrong, in one or two sentences.
        file: the file, store or folder concerned, if any.
        mend: what the user can do about it.
    """

    def __init__(self, message: str, *, file: Path | str | None = None, mend: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.file = None if file is None else Path(file)
        self.mend = mend

    def __str__(self) -> str:
        parts = [self.message, f"File: {self.file}" if self.file else "", f"Mend: {self.mend}" if self.mend else ""]
        return "\n".join(part for part in parts if part)


class ProtocolError(ConcatError):
    """An unseen name, embedding or pixel turned up where the protocol forbids it."""


class CorruptFileError(ConcatError):
    """A file exists but cannot be what it should be: truncated, damaged or of another kind."""


class NonFiniteLossError(ConcatError):
    """A loss became NaN or infinite; the last checkpoint before it is kept."""
