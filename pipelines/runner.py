"""Fresh or stale? Lock, run beside, rename, manifest. The only place that knows freshness, locks and renames."""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch

from pipelines.data.archives import on_disk, open_files
from pipelines.devices import peak_memory, reset_peak_memory
from pipelines.errors import ConcatError, CorruptFileError, ProtocolError
from pipelines.files import (
    read_json,
    remove,
    replace_folder,
    room_on_disk,
    sha256,
    size_in_bytes,
    write_json,
)
from pipelines.manifest import (
    FileRecord,
    Protocol,
    RunManifest,
    git_commit,
    package_versions,
    read_manifest,
    write_manifest,
)
from pipelines.progress import Reporter
from pipelines.recipe import Recipe, write_recipe


@dataclass(frozen=True)
class Run:
    """A run directory with its recipe and the cache it shares with other runs.

    `command` is what the user typed, for manifests and to be repeated after an interruption.
    """

    folder: Path
    recipe: Recipe
    cache: Path
    reporter: Reporter
    command: str = ""


@dataclass
class StageContext:
    """What a stage may touch: its settings, its declared inputs, the folder it writes to and the cache.

    Attributes:
        out: the folder to write outputs to; what an interrupted run left there is still there.
        key: a hash of everything the result depends on, for outputs in the cache.
        forced: what the cache holds is to be made again.
        cached: outputs that live in the cache, by name.
        notes, metrics: go into the manifest.
    """

    run: Run
    stage: str
    out: Path
    key: str
    inputs: Mapping[str, Path]
    cached: dict[str, Path] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    effective_batch_size: int | None = None
    forced: bool = False

    @property
    def recipe(self) -> Recipe:
        """The run's recipe."""
        return self.run.recipe

    @property
    def reporter(self) -> Reporter:
        """Who listens to progress."""
        return self.run.reporter

    def input(self, name: str) -> Path:
        """The path of a declared input.

        Raises:
            ProtocolError: the stage did not declare it.
        """
        if name not in self.inputs:
            raise ProtocolError(f"The stage {self.stage} must not open {name}: it is none of its inputs.")
        return self.inputs[name]


@dataclass(frozen=True)
class Stage:
    """One box of the figure.

    Attributes:
        name: its command. folder: its folder in the run. version: raised when its results change.
        reads: stage → names of that stage's outputs this one opens; a stage that a recipe does without counts for none.
        settings: the settings that matter, as plain values.
        sources: inputs from outside the run by name: files count by content, folders as (name, size, mtime) lists.
        knows_unseen_names: for the manifest's protocol.
    """

    name: str
    folder: str
    version: int
    reads: Mapping[str, tuple[str, ...]]
    settings: Callable[[Recipe], dict[str, Any]]
    sources: Callable[[Run], dict[str, Path]]
    execute: Callable[[StageContext], None]
    knows_unseen_names: bool = False


_SCRATCH = ("key.json", "checkpoint.pt")  # in a folder that is being written; no outputs
_LOGS = ("metrics.jsonl", "tensorboard")  # to be read by people; no stage depends on them

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
    for stage in chain:
        late = next((name for name in stage.reads if name in found and found[name].state != "fresh"), None)
        own = _own_status(run, stage, chain)
        if own.state == "fresh" and late:
            own = Status(stage.name, "stale", f"{late} is {found[late].state}")
        found[stage.name] = own
    return list(found.values())


def bring_up_to_date(run: Run, chain: list[Stage], target: str, *, force: bool = False) -> list[str]:
    """Keeps the run's recipe, and runs `target` and every stage before it that it needs and that is not fresh.

    Returns:
        the names of the stages that ran.
    """
    wanted = _ancestors(chain, target)
    ran: list[str] = []
    with _locked(run):
        write_recipe(run.folder / "recipe.toml", run.recipe)
        for stage in chain:
            if stage.name not in wanted:
                continue
            state = _own_status(run, stage, chain)
            forced = force and stage.name == target
            if state.state == "fresh" and not forced:
                continue
            why = "forced" if state.state == "fresh" else state.why or state.state
            first = "" if stage.name == target else f", which {target} needs"
            run.reporter.say(f"{stage.name}{first}: {why}")
            _execute(run, stage, chain, forced=forced)
            ran.append(stage.name)
    return ran


def verify(run: Run, chain: list[Stage]) -> list[str]:
    """Hashes every output again.

    Returns:
        one line for each file that is missing or differs from its manifest.
    """
    wrong: list[str] = []
    for stage in chain:
        path = run.folder / stage.folder / "manifest.json"
        if not path.exists():
            continue
        for name, record in read_manifest(path).outputs.items():
            file = _resolve(run, record.path)
            if not file.exists():
                wrong.append(f"{stage.name}: {name} is missing ({file})")
            elif sha256(file) != record.sha256:
                wrong.append(f"{stage.name}: {name} was changed ({file})")
    return wrong


def output_path(run: Run, stage: Stage, name: str) -> Path:
    """The path of a finished stage's output.

    Raises:
        ConcatError: the stage has not run or has no such output.
    """
    manifest = read_manifest(run.folder / stage.folder / "manifest.json")
    if name not in manifest.outputs:
        raise ConcatError(f"The stage {stage.name} left no {name}.", file=run.folder / stage.folder)
    return _resolve(run, manifest.outputs[name].path)


# --- freshness -------------------------------------------------------------------------------------------------------


def _own_status(run: Run, stage: Stage, chain: list[Stage]) -> Status:
    path = run.folder / stage.folder / "manifest.json"
    if not path.exists():
        partial = _partial(run, stage).exists()
        return Status(stage.name, "missing", "interrupted; will resume" if partial else "not run yet")
    try:
        manifest = read_manifest(path)
    except ConcatError as error:
        return Status(stage.name, "stale", error.message)
    why = _what_changed(run, stage, chain, manifest)
    return Status(stage.name, "stale" if why else "fresh", why)


def _what_changed(run: Run, stage: Stage, chain: list[Stage], manifest: RunManifest) -> str:
    if manifest.code_version != stage.version:
        return f"code version {manifest.code_version} → {stage.version}"
    if manifest.seed != run.recipe.seed:
        return f"seed {manifest.seed} → {run.recipe.seed}"
    changed = _first_difference(manifest.settings, _plain(stage.settings(run.recipe)))
    if changed:
        return changed
    for name, record in manifest.outputs.items():
        file = _resolve(run, record.path)
        if not file.exists():
            return f"output {name} is missing"
        touched = file.is_file() and file.stat().st_mtime_ns != record.mtime_ns  # as in a copy of the run
        if size_in_bytes(file) != record.bytes or (touched and sha256(file) != record.sha256):
            return f"output {name} was changed"
    return _changed_input(run, stage, chain, manifest.inputs)


def _changed_input(run: Run, stage: Stage, chain: list[Stage], recorded: dict[str, FileRecord]) -> str:
    try:
        now = _inputs(run, stage, chain, known=recorded)
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


def _plain(value: Any) -> Any:
    """As JSON would read it back, so that tuples equal lists."""
    return json.loads(json.dumps(value))


def _inputs(run: Run, stage: Stage, chain: list[Stage], known: Mapping[str, FileRecord]) -> dict[str, FileRecord]:
    """Records of all inputs; a source whose size and time match its `known` record is not hashed again."""
    records: dict[str, FileRecord] = {}
    for producer in chain:
        names = stage.reads.get(producer.name, ())
        if not names:
            continue
        outputs = read_manifest(run.folder / producer.folder / "manifest.json").outputs
        for name in names:
            if name in outputs:
                records[name] = outputs[name].model_copy(update={"producer": producer.name})
    for name, path in stage.sources(run).items():
        records[name] = _source_record(path, known.get(name))
    return records


def _source_record(path: Path, known: FileRecord | None) -> FileRecord:
    path = on_disk(path)
    if not path.exists():
        raise ConcatError(
            "Input not found.", file=path, mend="Check the path, or run split-coco again with the right one."
        )
    if path.is_dir() or path.suffix == ".zip":  # too large to be hashed; a zip's directory holds checksums
        return FileRecord(path=str(path.resolve()), sha256=open_files(path).fingerprint(), bytes=0)
    stat = path.stat()
    record = FileRecord(path=str(path.resolve()), sha256="", bytes=stat.st_size, mtime_ns=stat.st_mtime_ns)
    same = known is not None and (known.bytes, known.mtime_ns) == (record.bytes, record.mtime_ns)
    record.sha256 = known.sha256 if same and known is not None else sha256(path)
    return record


# --- execution -------------------------------------------------------------------------------------------------------


def _execute(run: Run, stage: Stage, chain: list[Stage], *, forced: bool) -> None:
    started, clock = datetime.now(UTC), time.monotonic()
    inputs = _inputs(run, stage, chain, known={})
    made_from = _plain(
        {
            "version": stage.version,
            "seed": run.recipe.seed,
            "settings": stage.settings(run.recipe),
            "inputs": {name: record.sha256 for name, record in inputs.items()},
        }
    )
    partial = _open_partial(run, stage, made_from | {"forced": forced})
    context = StageContext(
        run=run if stage.knows_unseen_names else _without_unseen_names(run),
        stage=stage.name,
        out=partial,
        key=hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16],
        forced=forced,
        inputs={name: _resolve(run, record.path) for name, record in inputs.items()},
    )
    with _resumable(run, stage):
        reset_peak_memory(torch.device("cpu"))
        stage.execute(context)
        manifest = RunManifest(
            stage=stage.name,
            code_version=stage.version,
            recipe=run.recipe.name,
            settings=_plain(stage.settings(run.recipe)),
            seed=run.recipe.seed,
            protocol=Protocol(
                unseen_names_used=stage.knows_unseen_names,
                unseen_pixels_ignored=run.recipe.data.protocol == "zss",
                images_dropped=run.recipe.data.protocol == "zps",
            ),
            inputs=inputs,
            outputs=_outputs(run, stage, context),
            notes=_plain(context.notes),
            metrics=_plain(context.metrics),
            device=context.device,
            precision=run.recipe.runtime.precision,
            effective_batch_size=context.effective_batch_size,
            threads=torch.get_num_threads(),
            versions=package_versions(),
            git_commit=git_commit(),
            command=run.command,
            started=started.isoformat(timespec="seconds"),
            ended=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - clock, 3),
            peak_memory_bytes=peak_memory(torch.device(context.device)),
        )
        write_manifest(partial / "manifest.json", manifest)
        final = run.folder / stage.folder
        replace_folder(partial, final)
        for name in _SCRATCH:  # only now: a kill before the rename must find all that it needs to go on
            (final / name).unlink(missing_ok=True)


def _without_unseen_names(run: Run) -> Run:
    """The run as a stage sees it that must not know unseen names, which a user may have listed in the recipe."""
    data = run.recipe.data.model_copy(update={"unseen": ()})
    finetune = run.recipe.finetune.model_copy(update={"taught": ()})
    return replace(run, recipe=run.recipe.model_copy(update={"data": data, "finetune": finetune}))


def _open_partial(run: Run, stage: Stage, made_from: dict[str, Any]) -> Path:
    """The folder a stage writes to; what an earlier process left there is kept only if it was made from the same.

    A forced run goes on with what a forced run left, so that the same command resumes it.
    """
    partial = _partial(run, stage)
    try:
        left: dict[str, Any] | None = read_json(partial / "key.json")
    except ConcatError:
        left = None
    if left != made_from and (made_from["forced"] or left != made_from | {"forced": True}):
        remove(partial)
        write_json(partial / "key.json", made_from)
    elif any(entry.name != "key.json" for entry in partial.iterdir()):
        run.reporter.say(f"{stage.name}: resuming what an interrupted run left")
        for unfinished in partial.rglob(".*.partial*"):  # files that a killed process was writing
            unfinished.unlink()
    return partial


def _outputs(run: Run, stage: Stage, context: StageContext) -> dict[str, FileRecord]:
    final = run.folder / stage.folder
    records = {name: _output_record(path, str(path.resolve())) for name, path in context.cached.items()}
    for path in sorted(context.out.iterdir()):
        if path.name not in (*_SCRATCH, *_LOGS, "manifest.json") and not path.name.startswith("."):
            records[path.name] = _output_record(path, (final / path.name).relative_to(run.folder).as_posix())
    return records


def _output_record(path: Path, recorded_path: str) -> FileRecord:
    mtime = path.stat().st_mtime_ns if path.is_file() else 0
    return FileRecord(path=recorded_path, sha256=sha256(path), bytes=size_in_bytes(path), mtime_ns=mtime)


def _partial(run: Run, stage: Stage) -> Path:
    return run.folder / f".{stage.folder}.partial"


def _resolve(run: Run, path: str) -> Path:
    return run.folder / path


def _ancestors(chain: list[Stage], target: str) -> set[str]:
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


@contextmanager
def _locked(run: Run) -> Iterator[None]:
    """Holds the run directory; the lock goes with the process, however it ends."""
    run.folder.mkdir(parents=True, exist_ok=True)
    path = run.folder / ".lock"
    with open(path, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ConcatError(
                f"The run directory is in use by process {file.read().strip() or '?'}.",
                file=run.folder,
                mend="Wait for it to end, or use another --run directory.",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def _resumable(run: Run, stage: Stage) -> Iterator[None]:
    """Turns a full disk into a message, and adds to every mendable failure the command that resumes."""
    command = run.command or f"concat {stage.name} --run {run.folder}"
    resume = f"`{command}` resumes; nothing finished is lost."
    try:
        with room_on_disk(run.folder):
            yield
    except (ProtocolError, CorruptFileError):
        raise
    except ConcatError as error:
        error.mend = f"{error.mend} {resume}" if error.mend else resume
        raise
