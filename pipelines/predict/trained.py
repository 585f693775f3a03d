"""What is left of a finished run when its data is taken away: weights, settings and names."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipelines.base.errors import ConcatError
from pipelines.clip.encoder import ClipModel, load_clip
from pipelines.clip.packed import PackedText, unpack_text
from pipelines.models.extractor import Extractor
from pipelines.models.projector import ProjectionHead
from pipelines.recipes.recipe import Recipe
from pipelines.vocabularies.vocabulary import Vocabulary

_IDENTITY = ("config", "activation", "weights_sha256", "preprocessing")  # of a CLIP, whatever its file is called


@dataclass(frozen=True)
class TrainedModel:
    """A trained extractor and all that is needed to ask it for names.

    Attributes:
        source: the run directory or the exported file, for messages.
        seen: the categories of training.
        unseen: the data set's others, marked unseen.
        taught: those that finetuning was told of, marked unseen; some may stand in `unseen` too.
        rows: text embeddings (C) by category name, of these categories; one that lacks is embedded by CLIP.
        extractor: with the head that train-con trained.
        finetuned: the head that finetuning trained, if it did.
        clip: the CLIP it was aligned with, as `ClipModel.describe` gives it.
        packed: that CLIP's text encoder, if it came along.
    """

    source: Path
    recipe: Recipe
    seen: Vocabulary
    unseen: Vocabulary
    taught: Vocabulary
    rows: dict[str, Tensor]
    extractor: Extractor
    finetuned: ProjectionHead | None
    clip: dict[str, Any]
    packed: PackedText | None = None

    @property
    def own(self) -> Vocabulary:
        """Every category it knows: seen, unseen and taught ones."""
        known = set(self.unseen.names)
        taught = tuple(c for c in self.taught.categories if c.name not in known)
        return self.seen + self.unseen + Vocabulary(name=self.taught.name, categories=taught)

    def text_encoder(self, device: torch.device) -> ClipModel:
        """The CLIP that embeds other names.

        Raises:
            ConcatError: there is none, it cannot be had on this machine, or the one here is another.
        """
        if self.recipe.clip.text_embeddings:
            raise ConcatError(
                "This run was made from given text embeddings, so other names cannot be embedded.",
                file=self.source,
                mend=f"Use its own names, such as {', '.join(self.own.names[:3])}.",
            )
        if self.packed is not None:
            return unpack_text(self.packed, device, file=self.source)
        mend = "Use the model's own names, or export it with --with-clip where its CLIP is."
        try:
            clip = load_clip(self.recipe.clip, device)
        except ConcatError as error:
            raise ConcatError(
                f"Other names need CLIP's text encoder, which cannot be loaded here. {error.message}",
                file=error.file,
                mend=mend,
            ) from error
        if any(clip.origin[key] != self.clip[key] for key in _IDENTITY):
            raise ConcatError(
                f"The CLIP found here ({clip.origin['pretrained']}) is not the one that the model was aligned with.",
                file=self.source,
                mend=mend,
            )
        return clip
