"""Text embeddings of any names: a model's own ones as it was trained with them, others from CLIP's text encoder."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from pipelines.clip.context import check_context
from pipelines.clip.encoder import ClipModel
from pipelines.clip.text import embed_names
from pipelines.vocabularies.vocabulary import Category, Vocabulary

_Spoken = tuple[str, ...]


class NameEmbeddings:
    """Embeds vocabularies, each name once.

    A category that is called as one of the model's own is that one: same synonyms, or its name alone.

    Args:
        own: the model's categories.
        rows: embeddings (C, unit length) of those of them that are known, by category name.
        encoder: loads the text encoder, when the first other name is asked for.
        prompts: name of the prompt set.
    """

    def __init__(
        self, own: Vocabulary, rows: Mapping[str, Tensor], encoder: Callable[[], ClipModel], prompts: str
    ) -> None:
        self._load, self._prompts = encoder, prompts
        self._clip: ClipModel | None = None
        self._own = {called: c.spoken for c in own.categories for called in _ways_to_call(c)}
        self._rows: dict[_Spoken, Tensor] = {c.spoken: rows[c.name] for c in own.categories if c.name in rows}

    def __call__(self, vocabulary: Vocabulary) -> Tensor:
        """N×C, float32, unit length, on the CPU.

        Raises:
            ConcatError: a name is too long, or other names than the model's own are asked for and there is no encoder.
        """
        spoken = [self._own.get(_key(c.spoken), c.spoken) for c in vocabulary.categories]
        pairs = zip(vocabulary.categories, spoken, strict=True)
        missing = {said: c.model_copy(update={"prompt_names": said}) for c, said in pairs if said not in self._rows}
        if missing:
            self._clip = self._clip or self._load()
            part = Vocabulary(name=vocabulary.name, categories=tuple(missing.values()))
            check_context(self._clip, part, self._prompts)
            self._rows.update(zip(missing, embed_names(self._clip, part, self._prompts), strict=True))
        return torch.stack([self._rows[said] for said in spoken])


def _ways_to_call(category: Category) -> set[_Spoken]:
    return {_key(category.spoken), _key(category.spoken[:1]), _key((category.name,))}


def _key(spoken: _Spoken) -> _Spoken:
    return tuple(sorted(name.casefold() for name in spoken))
