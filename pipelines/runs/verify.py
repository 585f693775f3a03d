"""Is a finished run still what it was, to the last byte? Everything in it is hashed again."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.base.errors import ConcatError
from pipelines.base.files import sha256
from pipelines.recipes.load import recipe_is_as_written
from pipelines.runs.manifest import MANIFEST, RunManifest, read_manifest
from pipelines.runs.run import RECIPE, SCRATCH, Run, Stage


@dataclass
class Verdict:
    """What a run's files are.

    Attributes:
        wrong: a line for each file that was changed, removed or added since it was written.
        unsigned: files of version 0.1, which carry no digest of their own, so that a change of them may go unnoticed.
    """

    wrong: list[str] = field(default_factory=list)
    unsigned: list[str] = field(default_factory=list)


def verify(run: Run, chain: list[Stage]) -> Verdict:
    """Hashes manifests, outputs, logs and the recipe again."""
    verdict = Verdict()
    for folder, name in _stages_by_folder(run, chain).items():
        path = folder / MANIFEST
        if not path.exists():
            if folder.exists():
                verdict.wrong.append(f"{name}: {MANIFEST} is missing ({path})")
            continue
        try:
            manifest = read_manifest(path)
        except ConcatError as error:
            verdict.wrong.append(f"{name}: {MANIFEST} was changed ({error.file})")
            continue
        if not manifest.digest:
            verdict.unsigned.append(f"{folder.name}/{MANIFEST}")
        verdict.wrong += _changed(run, folder, manifest)
    _check_recipe(run, verdict)
    return verdict


def _stages_by_folder(run: Run, chain: list[Stage]) -> dict[Path, str]:
    """The folders of the chain's stages, and of those that finished besides: an evaluation on another data set."""
    known = {run.folder / stage.folder: stage.name for stage in chain}
    finished = (path.parent for path in sorted(run.folder.glob(f"[!.]*/{MANIFEST}")))
    return known | {folder: folder.name for folder in finished if folder not in known}


def _changed(run: Run, folder: Path, manifest: RunManifest) -> Iterator[str]:
    recorded, stage = manifest.outputs | manifest.logs, manifest.stage
    for name, record in recorded.items():
        file = run.folder / record.path
        if not file.exists():
            yield f"{stage}: {name} is missing ({file})"
        elif sha256(file) != record.sha256:
            yield f"{stage}: {name} was changed ({file})"
    for file in sorted(folder.iterdir()):
        if manifest.digest and file.name not in (*recorded, MANIFEST, *SCRATCH):  # a kill may have left the latter
            yield f"{stage}: {file.name} was added ({file})"


def _check_recipe(run: Run, verdict: Verdict) -> None:
    """The recipe's digest; one without is of version 0.1, unless a stage was finished since."""
    path = run.folder / RECIPE
    as_written = recipe_is_as_written(path)
    if as_written is None and verdict.unsigned:
        verdict.unsigned.append(RECIPE)
    elif not as_written:
        verdict.wrong.append(f"{RECIPE} is not as a command last wrote it ({path})")
