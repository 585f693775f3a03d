"""Text embeddings of a vocabulary from CLIP's text encoder, and the store that keeps them.

Seen and unseen names lie in different stores, so that the store of a stage that must not know unseen names holds none.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
import zarr
from torch import Tensor
from torch.nn.functional import normalize

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.base.files import remove, replace_folder, room_on_disk
from pipelines.base.progress import Reporter, SilentReporter
from pipelines.clip.encoder import ClipModel
from pipelines.clip.given import given_embeddings
from pipelines.clip.prompts import PROMPTS
from pipelines.vocabularies.vocabulary import Vocabulary, check_names

__all__ = ["embed_names", "given_embeddings", "open_text", "text_store_path", "write_text"]

MEND = "Delete it; the stage that made it makes it again."
_BATCH = 256  # texts


def embed_names(clip: ClipModel, vocabulary: Vocabulary, prompts: str, reporter: Reporter | None = None) -> Tensor:
    """One embedding a category: the renormalised mean over prompts and spoken names (CLIP's prompt ensembles).

    Args:
        clip: the text encoder.
        vocabulary: the categories.
        prompts: name of a prompt set.
        reporter: shows progress.

    Returns:
        N×C, float32, unit length, on the CPU.

    Raises:
        ConcatError: there is no such prompt set.
    """
    texts = [
        [prompt.format(name) for name in category.spoken for prompt in prompt_set(prompts)]
        for category in vocabulary.categories
    ]
    flat = [text for of_category in texts for text in of_category]
    parts = []
    with (reporter or SilentReporter()).task("text embeddings", len(flat), unit="text") as task:
        for first in range(0, len(flat), _BATCH):
            parts.append(clip.encode_text(flat[first : first + _BATCH]).cpu())
            task.advance(len(parts[-1]))
    per_category = torch.cat(parts).split([len(of_category) for of_category in texts])
    return torch.stack([normalize(rows.mean(dim=0), dim=0) for rows in per_category])


def prompt_set(name: str) -> tuple[str, ...]:
    """The prompts of a set.

    Raises:
        ConcatError: there is no such set.
    """
    if name not in PROMPTS:
        raise ConcatError(f"Unknown prompt set {name!r}.", mend=f"Set clip.prompts to one of {', '.join(PROMPTS)}.")
    return PROMPTS[name]


def text_store_path(folder: Path, vocabulary: Vocabulary, *, source: str, prompts: str = "") -> Path:
    """Where the embeddings of exactly these names lie.

    Args:
        folder: the folder of CLIP stores.
        vocabulary: the categories.
        source: `ClipModel.fingerprint`, or the hash of given embeddings.
        prompts: the prompt set; empty for given embeddings.
    """
    said = [[category.name, *category.spoken] for category in vocabulary.categories]
    key = json.dumps([source, prompt_set(prompts) if prompts else [], said])
    return folder / f"text-{hashlib.sha256(key.encode()).hexdigest()[:16]}.zarr"


def write_text(path: Path, names: list[str], embeddings: Tensor) -> None:
    """Writes a text store: `embeddings` (N×C, float32) and, as attributes, the names."""
    partial = path.with_name(f"{path.name}.partial")
    remove(partial)
    with room_on_disk(path):
        store = zarr.open_group(partial, mode="w", zarr_format=3, attributes={"names": names})
        store.create_array(
            "embeddings", data=embeddings.to(torch.float32).cpu().numpy(), compressors=None, fill_value=float("nan")
        )
        replace_folder(partial, path)


def open_text(path: Path, expected_names: list[str], *, stage: str) -> Tensor:
    """Reads the embeddings of exactly `expected_names`.

    Returns:
        N×C, float32, unit length, in the order of `expected_names`.

    Raises:
        ConcatError: there is no such store, or it lacks a name.
        ProtocolError: it holds a name that `stage` must not know.
        CorruptFileError: it is damaged.
    """
    names, embeddings = read_text(path)
    check_names(names, expected_names, file=path, stage=stage, mend=MEND)
    return embeddings


def read_text(path: Path) -> tuple[list[str], Tensor]:
    """The names of a store and their embeddings (N×C, float32, unit length), for what may know any name.

    Raises:
        ConcatError: there is no such store.
        CorruptFileError: it is damaged.
    """
    if not path.is_dir():
        raise ConcatError("Text embeddings not found.", file=path, mend="Run precompute.")
    try:
        store = zarr.open_group(path, mode="r")
        names = [str(name) for name in store.attrs["names"]]
        embeddings = torch.from_numpy(np.asarray(store["embeddings"][:], dtype=np.float32))
    except Exception as error:  # zarr, json and numpy each have their own words for a damaged store
        raise CorruptFileError(f"Not a store of text embeddings: {error}", file=path, mend=MEND) from error
    if embeddings.ndim != 2 or len(embeddings) != len(names):
        raise CorruptFileError(
            f"It names {len(names)} categories but its embeddings are of shape {tuple(embeddings.shape)}.",
            file=path,
            mend=MEND,
        )
    if not torch.allclose(embeddings.norm(dim=1), torch.ones(len(names)), atol=1e-3):
        raise CorruptFileError("Some of its embeddings are missing or not of unit length.", file=path, mend=MEND)
    return names, embeddings
