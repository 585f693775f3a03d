"""Text embeddings of one half of the vocabulary, from the text encoder or from given rows, in a store of their own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.base.files import alone, atomic_path, sha256
from pipelines.clip.context import check_context
from pipelines.clip.encoder import load_clip
from pipelines.clip.text import embed_names, open_text, text_store_path, write_text
from pipelines.runs.run import StageContext
from pipelines.vocabularies.vocabulary import Vocabulary, open_unseen


def text_store(context: StageContext, vocabulary: Vocabulary, given: Path | None, device: torch.device) -> Path:
    """The store of these names in the cache, made if it is not there yet.

    Args:
        given: rows that `split-coco` took from given embeddings, in the order of the names; None: CLIP embeds them.
    """
    folder, prompts = context.run.cache / "clip", context.recipe.clip.prompts
    if given is not None:
        path = text_store_path(folder, vocabulary, source=sha256(given))
        return _made(path, context, vocabulary, lambda: torch.from_numpy(np.load(given)))
    clip = load_clip(context.recipe.clip, device)
    check_context(clip, vocabulary, prompts)
    path = text_store_path(folder, vocabulary, source=clip.fingerprint, prompts=prompts)
    return _made(path, context, vocabulary, lambda: embed_names(clip, vocabulary, prompts, context.reporter))


def given_rows(context: StageContext, vocabulary: Vocabulary) -> Path | None:
    """A file with the rows of these names, for a run that was made from given text embeddings; else None.

    Raises:
        ConcatError: such a run has no embedding of a name.
    """
    if "text_unseen.npy" not in context.inputs:
        return None
    unseen = open_unseen(context.input("unseen.json"), stage=context.stage)
    missing = [name for name in vocabulary.names if name not in unseen.names]
    if missing:
        raise ConcatError(
            f"This run was made from given text embeddings, so {missing[0]!r} cannot be embedded.",
            file=context.input("text_unseen.npy"),
            mend="Make a run with a text encoder (clip.model, clip.pretrained) to teach names typed on the spot.",
        )
    path = context.out / "text_taught.npy"
    rows = np.load(context.input("text_unseen.npy"))[[unseen.names.index(name) for name in vocabulary.names]]
    with atomic_path(path) as partial, open(partial, "wb") as file:
        np.save(file, rows)
    return path


def _made(path: Path, context: StageContext, vocabulary: Vocabulary, embed: Callable[[], Tensor]) -> Path:
    """Writes the store unless a sound one is there; a damaged one is made anew, one of other names refused."""
    with alone(path):
        try:
            if path.exists():
                open_text(path, vocabulary.names, stage=context.stage)
                return path
        except CorruptFileError as error:
            context.reporter.say(f"{error.message} It is made again: {path}")
        write_text(path, vocabulary.names, embed())
    return path
