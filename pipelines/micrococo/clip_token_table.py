"""The token table of the tiny CLIP while it trains: the rows that captions use, and no others."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipelines.micrococo.clip_accuracy import MicroClip
from pipelines.micrococo.clip_batches import PROMPTS
from pipelines.micrococo.world import MICROCOCO_CATEGORIES


class TokenTable:
    """Trains only the rows of the token table that captions use: some 30 of 49,408, so the optimiser has less to do.

    While training, the model's table has only those rows and `tokenize` gives their places. Places keep the order of
    token ids, so the end-of-text token stays the largest one, by which open_clip finds the text's end.
    """

    def __init__(self, clip: MicroClip) -> None:
        self._tokenize = clip.tokenize
        texts = [prompt.format(category.name) for prompt in PROMPTS for category in MICROCOCO_CATEGORIES]
        self.ids = torch.unique(clip.tokenize([*texts, "and on"]))
        self._whole: nn.Embedding = clip.model.token_embedding
        small = nn.Embedding(len(self.ids), self._whole.embedding_dim)
        small.weight.data.copy_(self._whole.weight.data[self.ids])
        clip.model.token_embedding = small

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """(n, 24) int64 places in the small table."""
        return torch.searchsorted(self.ids, self._tokenize(list(texts)))

    def whole_table(self, small: Tensor) -> Tensor:
        """(49408, width): trained rows in their places, zeros elsewhere, so a word never met changes nothing."""
        table = torch.zeros_like(self._whole.weight.data)
        table[self.ids] = small
        return table
