"""Where every number comes from: the stages of a run, their inputs and outputs, and the commands that made them."""

import shlex
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from pipelines.report.finished_run import FinishedRun
from pipelines.report.settings_text import flat
from pipelines.report.words import bytes_in_words, seconds_in_words
from pipelines.runs.manifest import FileRecord, RunManifest


@dataclass(frozen=True)
class StageRecord:
    """One stage, as the page shows it; `inputs` and `outputs` are name, size, first hash digits and producer."""

    name: str
    started: str
    time: str
    device: str
    memory: str
    state: str
    code_version: int
    knows_unseen: bool
    inputs: list[tuple[str, str, str, str]]
    outputs: list[tuple[str, str, str, str]]
    settings: dict[str, str]
    notes: dict[str, str]


@dataclass(frozen=True)
class Provenance:
    """The chain of manifests of a run."""

    stages: list[StageRecord]
    versions: dict[str, str]
    commits: list[str]
    commands: list[str]
    reproduce: str
    recipe_toml: str
    total_time: str
    peak_memory: str
    devices: list[str]


def provenance(finished: FinishedRun) -> Provenance:
    """The provenance of a run, its stages in order."""
    manifests = [finished.manifests[stage.name] for stage in finished.stages]
    recipe = finished.run.recipe
    return Provenance(
        stages=[_stage(manifest, finished) for manifest in manifests],
        versions=dict(sorted({name: v for m in manifests for name, v in m.versions.items()}.items())),
        commits=list(dict.fromkeys(m.git_commit for m in manifests if m.git_commit)),
        commands=list(dict.fromkeys(m.command for m in sorted(manifests, key=lambda m: m.started) if m.command)),
        reproduce=f"concat run recipe.toml --run {shlex.quote(finished.run.folder.name)}-again --seed {recipe.seed}",
        recipe_toml=tomli_w.dumps(recipe.model_dump(mode="json")),
        total_time=seconds_in_words(sum(m.seconds for m in manifests)),
        peak_memory=bytes_in_words(max(m.peak_memory_bytes for m in manifests)),
        devices=list(dict.fromkeys(m.device for m in manifests)),
    )


def _stage(manifest: RunManifest, finished: FinishedRun) -> StageRecord:
    state = finished.states[manifest.stage]
    return StageRecord(
        name=manifest.stage,
        started=manifest.started.replace("T", " ").removesuffix("+00:00"),
        time=seconds_in_words(manifest.seconds),
        device=f"{manifest.device}, {manifest.precision}",
        memory=bytes_in_words(manifest.peak_memory_bytes),
        state=state.state + (f": {state.why}" if state.why else ""),
        code_version=manifest.code_version,
        knows_unseen=manifest.protocol.unseen_names_used,
        inputs=_files(manifest.inputs),
        outputs=_files(manifest.outputs),
        settings=flat(manifest.settings),
        notes={name: _shortened(text) for name, text in flat(manifest.notes).items()},
    )


def _files(records: dict[str, FileRecord]) -> list[tuple[str, str, str, str]]:
    """Without the folders they lie in, which name a machine and its user."""
    return [
        (name if name == Path(record.path).name else f"{name} ({Path(record.path).name})",
         bytes_in_words(record.bytes) if record.bytes else "–", record.sha256[:12], record.producer or "")
        for name, record in records.items()
    ]  # fmt: skip


def _shortened(text: str, most: int = 300) -> str:
    return text if len(text) <= most else f"{text[:most].rstrip()} …"
