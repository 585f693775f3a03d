"""A finished run directory as a trained model."""

from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from pipelines.base.errors import ConcatError
from pipelines.clip.text import read_text
from pipelines.models.extractor import load_extractor, load_head
from pipelines.models.projector import ProjectionHead
from pipelines.predict.trained import TrainedModel
from pipelines.recipes.load import load_recipe
from pipelines.recipes.recipe import Recipe
from pipelines.runs.manifest import RunManifest, read_manifest
from pipelines.vocabularies.vocabulary import Vocabulary, load_vocabulary, open_seen, open_unseen

RECIPE: Final = "recipe.toml"
_STAGE: Final = "eval"  # whatever eval may know, a prediction may


def read_run(folder: Path, cache: Path | None = None) -> TrainedModel:
    """Reads what `train-con` and, where it ran, `finetune` left.

    Args:
        folder: the run directory.
        cache: where its text stores lie, if no longer where the run left them.

    Raises:
        ConcatError: it is no run directory, not trained, or was trained anew after finetuning.
        CorruptFileError: a file in it is damaged.
    """
    if not (folder / RECIPE).is_file():
        raise ConcatError(
            "Neither a run directory nor an exported model.", file=folder, mend="Give a directory with a recipe.toml."
        )
    recipe = load_recipe(str(folder / RECIPE))
    trained, clip = _manifest(folder, "con", "train-con"), _manifest(folder, "precompute", "precompute")
    finetuned = _finetuned(folder, trained)
    seen = open_seen(folder / "split/seen.json")
    unseen = open_unseen(folder / "split/unseen.json", stage=_STAGE)
    rows = _rows(folder, cache, seen, unseen, [clip, *([finetuned] if finetuned else [])])
    described = clip.notes["clip"]
    width = len(next(iter(rows.values()))) if rows else int(described["config"]["embed_dim"])
    return TrainedModel(
        source=folder,
        recipe=recipe,
        seen=seen,
        unseen=unseen,
        taught=_taught(folder, unseen, finetuned),
        rows=rows,
        extractor=load_extractor(folder / "con/model.safetensors", recipe.con, width),
        finetuned=_head(folder, recipe, width) if finetuned else None,
        clip=described,
    )


def _manifest(folder: Path, stage_folder: str, stage: str) -> RunManifest:
    path = folder / stage_folder / "manifest.json"
    if not path.is_file():
        raise ConcatError(
            f"This run is not finished: {stage} has not run.", file=folder, mend=f"Run `concat {stage} --run {folder}`."
        )
    return read_manifest(path)


def _finetuned(folder: Path, trained: RunManifest) -> RunManifest | None:
    """The manifest of finetuning, if it ran.

    Raises:
        ConcatError: it finetuned another extractor's projector.
    """
    path, weights = folder / "finetune/manifest.json", "model.safetensors"
    if not path.is_file():
        return None
    manifest = read_manifest(path)
    if manifest.inputs[weights].sha256 != trained.outputs[weights].sha256:
        raise ConcatError(
            "The extractor of this run was trained anew after finetuning.",
            file=folder,
            mend=f"Run `concat finetune --run {folder}`.",
        )
    return manifest


def _head(folder: Path, recipe: Recipe, width: int) -> ProjectionHead:
    path = folder / "finetune/projector.safetensors"
    return load_head(path, recipe.con, recipe.con.segmentor.hidden_dim, width, prefix="").eval()


def _taught(folder: Path, unseen: Vocabulary, finetuned: RunManifest | None) -> Vocabulary:
    """What finetuning taught: as it wrote down, else all that is unseen."""
    if finetuned is None:
        return Vocabulary(name=unseen.name, categories=())
    path = folder / "finetune/taught.json"
    return load_vocabulary(str(path)) if path.is_file() else unseen


def _rows(
    folder: Path, cache: Path | None, seen: Vocabulary, unseen: Vocabulary, manifests: list[RunManifest]
) -> dict[str, Tensor]:
    """Text embeddings by name, from given ones and from the stores that are still there."""
    rows: dict[str, Tensor] = {}
    for half, name in ((seen, "text_seen.npy"), (unseen, "text_unseen.npy")):
        path = folder / "split" / name
        if path.is_file():
            rows |= zip(half.names, torch.from_numpy(np.load(path, allow_pickle=False)), strict=True)
    for manifest in manifests:
        for name, record in manifest.outputs.items():
            store = _store(folder / record.path, cache)
            if name.startswith("text_") and store is not None:
                rows |= zip(*read_text(store), strict=True)
    return rows


def _store(path: Path, cache: Path | None) -> Path | None:
    """A text store where the run left it, or in the cache as it lies now."""
    candidates = [path] + ([cache / "clip" / path.name] if cache else [])
    return next((candidate for candidate in candidates if candidate.is_dir()), None)
