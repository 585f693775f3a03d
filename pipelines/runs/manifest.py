"""The manifest of a stage: what it read, how it was set, what it wrote, what came out."""

import hashlib
import sys
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.base.errors import CorruptFileError
from pipelines.base.files import read_json, write_text

SCHEMA_VERSION = 2
READABLE = (1, 2)  # the first had neither digest nor logs
MANIFEST = "manifest.json"
_UNSIGNED = '"digest": ""'
PACKAGES = (
    "torch",
    "torchvision",
    "transformers",
    "timm",
    "open_clip_torch",
    "lightning-fabric",
    "numpy",
    "scipy",
    "zarr",
    "h5py",
)


class FileRecord(BaseModel):
    """One input or output: a file by its SHA-256, a folder by that of its sorted file list."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(description="relative to the run's folder where it lies below it, else absolute")
    sha256: str
    bytes: int
    mtime_ns: int = 0
    producer: str | None = Field(default=None, description="the stage whose output this is; None: from outside")


class Protocol(BaseModel):
    """The three switches that say what a zero-shot number means."""

    model_config = ConfigDict(extra="forbid")

    unseen_names_used: bool = Field(description="this stage knows the names of unseen categories")
    unseen_pixels_ignored: bool = Field(description="unseen pixels stay in training images, without a label (ZSS)")
    images_dropped: bool = Field(description="training images that hold an unseen pixel are dropped (ZPS)")


class RunManifest(BaseModel):
    """Written beside the outputs of every finished stage, checked on write and read."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    digest: str = Field(default="", description="SHA-256 of this file without it")
    stage: str
    code_version: int = Field(description="raised when the results of a stage change")
    recipe: str
    settings: dict[str, Any] = Field(description="the settings that matter to this stage")
    seed: int
    protocol: Protocol
    inputs: dict[str, FileRecord]
    outputs: dict[str, FileRecord]
    logs: dict[str, FileRecord] = Field(default_factory=dict, description="to be read by people; no stage depends on")
    notes: dict[str, Any] = Field(default_factory=dict, description="origins of weights, counts, choices made")
    metrics: dict[str, Any] = Field(default_factory=dict)
    device: str
    precision: str
    world_size: int = 1
    effective_batch_size: int | None = None
    threads: int
    versions: dict[str, str]
    git_commit: str | None
    command: str
    started: str = Field(description="UTC, ISO 8601")
    ended: str
    seconds: float = Field(description="wall-clock time of the last, finishing process")
    peak_memory_bytes: int


def write_manifest(path: Path, manifest: RunManifest) -> None:
    """Writes a manifest with its digest atomically, after checking that it reads back as itself."""
    text = manifest.model_copy(update={"digest": ""}).model_dump_json(indent=1) + "\n"
    RunManifest.model_validate_json(text)
    write_text(path, text.replace(_UNSIGNED, f'"digest": "{_digest_of(text)}"', 1))


def read_manifest(path: Path) -> RunManifest:
    """Reads a manifest.

    Raises:
        ConcatError: it is missing.
        CorruptFileError: it is damaged, not what its digest says, or of another schema version.
    """
    mend = "Run the stage again with --force."
    value = read_json(path, mend=mend)
    if not isinstance(value, dict) or value.get("schema_version") not in READABLE:
        raise CorruptFileError(f"Not a manifest of schema version {SCHEMA_VERSION}.", file=path, mend=mend)
    try:
        manifest = RunManifest.model_validate(value)
    except ValidationError as error:
        raise CorruptFileError(f"Not a manifest: {error.errors()[0]['msg']}.", file=path, mend=mend) from None
    if manifest.schema_version > 1 or manifest.digest:
        text = path.read_bytes().replace(f'"digest": "{manifest.digest}"'.encode(), _UNSIGNED.encode(), 1)
        if _digest_of(text) != manifest.digest:
            raise CorruptFileError("The manifest was changed since it was written.", file=path, mend=mend)
    return manifest


def _digest_of(unsigned: str | bytes) -> str:
    return hashlib.sha256(unsigned.encode() if isinstance(unsigned, str) else unsigned).hexdigest()


@cache
def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {"python": sys.version.split()[0]}
    for name in ("concat-zeroshot", *PACKAGES):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


@cache
def git_commit() -> str | None:
    """The commit of the source tree this code runs from, with `-dirty` if it was changed; None outside a checkout."""
    import subprocess

    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None
