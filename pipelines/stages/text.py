"""Text embeddings of one half of the vocabulary, from the text encoder or from given rows, in a store of their own."""

from pathlib import Path

import numpy as np
import torch

from pipelines.clip.encoder import load_clip
from pipelines.clip.text import embed_names, text_store_path, write_text
from pipelines.files import sha256
from pipelines.runner import StageContext
from pipelines.vocabulary import Vocabulary


def text_store(context: StageContext, vocabulary: Vocabulary, given: Path | None, device: torch.device) -> Path:
    """The store of these names in the cache, made if it is not there yet.

    Args:
        given: rows that `split-coco` took from given embeddings, in the order of the names; None: CLIP embeds them.
    """
    folder, prompts = context.run.cache / "clip", context.recipe.clip.prompts
    folder.mkdir(parents=True, exist_ok=True)
    if given is not None:
        path = text_store_path(folder, vocabulary, source=sha256(given))
        if not path.exists():
            write_text(path, vocabulary.names, torch.from_numpy(np.load(given)))
        return path
    clip = load_clip(context.recipe.clip, device)
    path = text_store_path(folder, vocabulary, source=clip.fingerprint, prompts=prompts)
    if not path.exists():
        write_text(path, vocabulary.names, embed_names(clip, vocabulary, prompts, context.reporter))
    return path
