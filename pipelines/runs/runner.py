"""Brings stages up to date: lock, run beside, rename, manifest. The only place that knows locks and renames.

Of several processes the first one decides and writes; the others follow it through the stages that share their work.
"""

import fcntl
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.base.errors import ConcatError, CorruptFileError, ProtocolError
from pipelines.base.files import read_json, remove, replace_folder, room_on_disk, sha256, write_json
from pipelines.base.listings import Listings
from pipelines.base.memory import peak_resident, reset_peak_resident
from pipelines.base.parallel import usable_cores
from pipelines.recipes.load import write_recipe
from pipelines.runs.freshness import inputs_of, needed_stages, plain, state_of
from pipelines.runs.manifest import (
    MANIFEST,
    FileRecord,
    Protocol,
    RunManifest,
    git_commit,
    package_versions,
    write_manifest,
)
from pipelines.runs.run import RECIPE, SCRATCH, Run, Stage, StageContext
from pipelines.training.processes import Processes, join_processes

_LOGS = ("metrics.jsonl", "tensorboard")  # to be read by people; no stage depends on them


def bring_up_to_date(run: Run, chain: list[Stage], target: str, *, force: bool = False) -> list[str]:
    """Keeps the run's recipe, and runs `target` and every stage before it that it needs and that is not fresh.

    Returns:
        the names of the stages that ran.
    """
    wanted = needed_stages(chain, target)
    ran: list[str] = []
    processes = join_processes()
    if not processes.first:
        return _follow(run, chain, processes)
    with _locked(run):
        write_recipe(run.folder / RECIPE, run.recipe)
        for stage in chain:
            if stage.name not in wanted:
                continue
            state = state_of(run, stage, chain)
            forced = force and stage.name == target
            if state.state == "fresh" and not forced:
                continue
            why = "forced" if state.state == "fresh" else state.why or state.state
            first = "" if stage.name == target else f", which {target} needs"
            run.reporter.say(f"{stage.name}{first}: {why}")
            _execute(run, stage, chain, processes, forced=forced)
            ran.append(stage.name)
    processes.from_first(None)  # the others may go
    return ran


@dataclass(frozen=True)
class _Errand:
    """What the first process asks the others to work on with it."""

    stage: str
    out: Path
    key: str
    forced: bool
    inputs: dict[str, Path]


def _follow(run: Run, chain: list[Stage], processes: Processes) -> list[str]:
    """Works on what the first process begins, in silence, until it says that nothing is left."""
    by_name = {stage.name: stage for stage in chain}
    ran: list[str] = []
    errand: _Errand | None
    while errand := processes.from_first(None):
        stage = by_name[errand.stage]
        stage.execute(_context(run, stage, errand, processes))
        processes.gather(None)
        ran.append(stage.name)
    return ran


def _context(run: Run, stage: Stage, errand: _Errand, processes: Processes) -> StageContext:
    return StageContext(
        run=run if stage.knows_unseen_names else _without_unseen_names(run),
        stage=stage.name,
        out=errand.out,
        key=errand.key,
        forced=errand.forced,
        inputs=errand.inputs,
        processes=processes if stage.shared else Processes(),
    )


def _execute(run: Run, stage: Stage, chain: list[Stage], processes: Processes, *, forced: bool) -> None:
    started, clock = datetime.now(UTC), time.monotonic()
    inputs = inputs_of(run, stage, chain, known={}, listings=Listings())
    made_from = plain(
        {
            "version": stage.version,
            "seed": run.recipe.seed,
            "settings": stage.settings(run.recipe),
            "inputs": {name: record.sha256 for name, record in inputs.items()},
        }
    )
    partial = _open_partial(run, stage, made_from | {"forced": forced})
    key = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
    errand = _Errand(stage.name, partial, key, forced, {n: run.folder / record.path for n, record in inputs.items()})
    context = _context(run, stage, errand, processes)
    with _resumable(run, stage):
        reset_peak_resident()
        if stage.shared:
            processes.from_first(errand)
        stage.execute(context)
        if stage.shared:
            processes.gather(None)  # all are done
        manifest = _manifest(run, stage, context, inputs, started, seconds=time.monotonic() - clock)
        write_manifest(partial / MANIFEST, manifest)
        final = run.folder / stage.folder
        replace_folder(partial, final)
        for name in SCRATCH:  # only now: a kill before the rename must find all that it needs to go on
            (final / name).unlink(missing_ok=True)


def _manifest(
    run: Run, stage: Stage, context: StageContext, inputs: dict[str, FileRecord], started: datetime, *, seconds: float
) -> RunManifest:
    return RunManifest(
        stage=stage.name,
        code_version=stage.version,
        recipe=run.recipe.name,
        settings=plain(stage.settings(run.recipe)),
        seed=run.recipe.seed,
        protocol=Protocol(
            unseen_names_used=stage.knows_unseen_names,
            unseen_pixels_ignored=run.recipe.data.protocol == "zss",
            images_dropped=run.recipe.data.protocol == "zps",
        ),
        inputs=inputs,
        outputs=_outputs(stage, context),
        logs={name: _record(stage, context.out / name) for name in _LOGS if (context.out / name).exists()},
        notes=plain(context.notes),
        metrics=plain(context.metrics),
        device=context.device,
        precision=context.precision,
        effective_batch_size=context.effective_batch_size,
        threads=_threads(),
        versions=package_versions(),
        git_commit=git_commit(),
        command=run.command,
        started=started.isoformat(timespec="seconds"),
        ended=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(seconds, 3),
        peak_memory_bytes=_peak_memory(context.device),
    )


def _threads() -> int:
    """Threads of torch, or, for a stage that did without, the cores it may use."""
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch else usable_cores()


def _peak_memory(device: str) -> int:
    if device == "cpu":
        return peak_resident()
    import torch

    from pipelines.training.devices import peak_memory

    return peak_memory(torch.device(device))


def _without_unseen_names(run: Run) -> Run:
    """The run as a stage sees it that must not know unseen names.

    A recipe may list them, or say where: its vocabulary holds them all.
    """
    data = run.recipe.data.model_copy(update={"unseen": (), "vocabulary": ""})
    finetune = run.recipe.finetune.model_copy(update={"taught": ()})
    return replace(run, recipe=run.recipe.model_copy(update={"data": data, "finetune": finetune}))


def _open_partial(run: Run, stage: Stage, made_from: dict[str, Any]) -> Path:
    """The folder a stage writes to; what an earlier process left there is kept only if it was made from the same.

    A forced run goes on with what a forced run left, so that the same command resumes it.
    """
    partial = run.partial_folder(stage)
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


def _outputs(stage: Stage, context: StageContext) -> dict[str, FileRecord]:
    records = {name: _output_record(path, str(path.resolve())) for name, path in context.cached.items()}
    for path in sorted(context.out.iterdir()):
        if path.name not in (*SCRATCH, *_LOGS, MANIFEST) and not path.name.startswith("."):
            records[path.name] = _record(stage, path)
    return records


def _record(stage: Stage, path: Path) -> FileRecord:
    """The record of what lies in the folder that will be the stage's."""
    return _output_record(path, f"{stage.folder}/{path.name}")


def _output_record(path: Path, recorded_path: str) -> FileRecord:
    mtime = path.stat().st_mtime_ns if path.is_file() else 0
    return FileRecord(path=recorded_path, sha256=sha256(path), bytes=Listings().size(path), mtime_ns=mtime)


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
        os.register_at_fork(after_in_child=file.close)  # else loader processes would hold it when this one is killed
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
