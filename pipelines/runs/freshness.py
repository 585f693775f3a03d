"""Fresh or stale? The state of every stage, told by its manifest, its settings, its inputs and its outputs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipelines.base.errors import ConcatError
from pipelines.base.files import sha256
from pipelines.base.listings import Listings
from pipelines.runs.earlier import settings_as_now
from pipelines.runs.manifest import FileRecord, RunManifest, read_manifest
from pipelines.runs.run import Run, Stage

State = Literal["fresh", "stale", "missing"]


@dataclass(frozen=True)
class Status:
    """The state of one stage and, unless fresh, the reason."""

    name: str
    state: State
    why: str = ""


def status(run: Run, chain: list[Stage]) -> list[Status]:
    """The state of every stage, by stating files and comparing manifests; nothing is hashed that did not change."""
    found: dict[str, Status] = {}
    listings = Listings()
    for stage in chain:
        late = next((name for name in stage.reads if name in found and found[name].state != "fresh"), None)
        own = state_of(run, stage, chain, listings)
        if own.state == "fresh" and late:
            own = Status(stage.name, "stale", f"{late} is {found[late].state}")
        found[stage.name] = own
    return list(found.values())


def state_of(run: Run, stage: Stage, chain: list[Stage], listings: Listings | None = None) -> Status:
    """The state of one stage by itself, whatever that of the stages it reads from.

    Args:
        listings: knows the folders that were listed already.
    """
    path = run.manifest_path(stage)
    if not path.exists():
        partial = run.partial_folder(stage).exists()
        return Status(stage.name, "missing", "interrupted; will resume" if partial else "not run yet")
    try:
        manifest = read_manifest(path)
    except ConcatError as error:
        return Status(stage.name, "stale", error.message)
    why = _what_changed(run, stage, chain, manifest, listings or Listings())
    return Status(stage.name, "stale" if why else "fresh", why)


def needed_stages(chain: list[Stage], target: str) -> set[str]:
    """The names of `target` and of every stage before it that it needs.

    Raises:
        ConcatError: there is no such stage.
    """
    by_name = {stage.name: stage for stage in chain}
    if target not in by_name:
        raise ConcatError(f"This recipe has no stage {target}.", mend=f"Its stages: {', '.join(by_name)}.")
    wanted, frontier = {target}, [target]
    while frontier:
        for name in by_name[frontier.pop()].reads:
            if name in by_name and name not in wanted:
                wanted.add(name)
                frontier.append(name)
    return wanted


def output_path(run: Run, stage: Stage, name: str) -> Path:
    """The path of a finished stage's output.

    Raises:
        ConcatError: the stage has not run or has no such output.
    """
    manifest = read_manifest(run.manifest_path(stage))
    if name not in manifest.outputs:
        raise ConcatError(f"The stage {stage.name} left no {name}.", file=run.folder / stage.folder)
    return run.folder / manifest.outputs[name].path


def _what_changed(run: Run, stage: Stage, chain: list[Stage], manifest: RunManifest, listings: Listings) -> str:
    if manifest.code_version != stage.version:
        return f"code version {manifest.code_version} → {stage.version}"
    if manifest.seed != run.recipe.seed:
        return f"seed {manifest.seed} → {run.recipe.seed}"
    changed = _first_difference(plain(settings_as_now(manifest.settings)), plain(stage.settings(run.recipe)))
    if changed:
        return changed
    for name, record in manifest.outputs.items():
        file = run.folder / record.path
        if not file.exists():
            return f"output {name} is missing"
        touched = file.is_file() and file.stat().st_mtime_ns != record.mtime_ns  # as in a copy of the run
        if listings.size(file) != record.bytes or (touched and sha256(file) != record.sha256):
            return f"output {name} was changed"
    return _changed_input(run, stage, chain, manifest.inputs, listings)


def _changed_input(
    run: Run, stage: Stage, chain: list[Stage], recorded: dict[str, FileRecord], listings: Listings
) -> str:
    try:
        now = inputs_of(run, stage, chain, known=recorded, listings=listings)
    except ConcatError as error:
        return f"{error.message.rstrip('.')}: {error.file}"
    for name in sorted(set(now) | set(recorded)):
        if name not in now or name not in recorded:
            return f"input {name} was {'removed' if name in recorded else 'added'}"
        if now[name].sha256 != recorded[name].sha256:
            return f"input {name} changed"
    return ""


def _first_difference(old: Any, new: Any, key: str = "") -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(set(old) | set(new)):
            found = _first_difference(old.get(name), new.get(name), f"{key}.{name}" if key else name)
            if found:
                return found
        return ""
    return "" if old == new else f"{key}: {json.dumps(old)} → {json.dumps(new)}"


def inputs_of(
    run: Run, stage: Stage, chain: list[Stage], known: Mapping[str, FileRecord], listings: Listings
) -> dict[str, FileRecord]:
    """Records of all inputs; a source whose size and time match its `known` record is not hashed again.

    Args:
        listings: as in `state_of`.
    """
    records: dict[str, FileRecord] = {}
    for producer in chain:
        names = stage.reads.get(producer.name, ())
        if not names:
            continue
        outputs = read_manifest(run.manifest_path(producer)).outputs
        for name in names:
            if name in outputs:
                records[name] = outputs[name].model_copy(update={"producer": producer.name})
    for name, path in stage.sources(run).items():
        records[name] = _source_record(path, known.get(name), listings)
    return records


def _source_record(path: Path, known: FileRecord | None, listings: Listings) -> FileRecord:
    if not path.exists() or path.suffix == ".zip":
        return _archive_record(path)
    if path.is_dir():  # too large to be hashed
        return FileRecord(path=str(path.resolve()), sha256=listings.fingerprint(path), bytes=0)
    stat = path.stat()
    record = FileRecord(path=str(path.resolve()), sha256="", bytes=stat.st_size, mtime_ns=stat.st_mtime_ns)
    same = known is not None and (known.bytes, known.mtime_ns) == (record.bytes, record.mtime_ns)
    record.sha256 = known.sha256 if same and known is not None else sha256(path)
    return record


def _archive_record(path: Path) -> FileRecord:
    """The record of a zip, whose directory holds checksums, or of the one that a path leads through."""
    from pipelines.data.files.archives import on_disk, open_files  # most inputs are files and folders

    path = on_disk(path)
    if not path.exists():
        raise ConcatError(
            "Input not found.", file=path, mend="Check the path, or run split-coco again with the right one."
        )
    return FileRecord(path=str(path.resolve()), sha256=open_files(path).fingerprint(), bytes=0)


def plain(value: Any) -> Any:
    """As JSON would read it back, so that tuples equal lists."""
    return json.loads(json.dumps(value))
