"""Whether names fit into what CLIP reads of a text; its tokenizers cut longer ones off without a word."""

from typing import Protocol, cast

from torch import Tensor

from pipelines.base.errors import ConcatError
from pipelines.clip.encoder import ClipModel
from pipelines.clip.text import prompt_set
from pipelines.vocabularies.vocabulary import Vocabulary


class _Tokenizer(Protocol):
    """What open_clip's tokenizers have in common."""

    def __call__(self, texts: list[str], context_length: int | None = None) -> Tensor:
        """Token ids (n×`context_length`, by default the model's), cut off where they are more."""


def check_context(clip: ClipModel, vocabulary: Vocabulary, prompts: str) -> None:
    """Refuses names that CLIP would read in part.

    Args:
        clip: the text encoder.
        vocabulary: the categories that will be asked for.
        prompts: name of the prompt set they are put into.

    Raises:
        ConcatError: naming the first category that is too long.
    """
    tokenize, sentences = cast(_Tokenizer, clip.tokenize), prompt_set(prompts)
    for category in vocabulary.categories:
        for name in category.spoken:
            if _cut_off(tokenize, [prompt.format(name) for prompt in sentences]):
                raise ConcatError(
                    f"The name {_short(name)!r} is longer than what CLIP reads of a text "
                    f"({tokenize(['']).shape[1]} tokens, the prompt included).",
                    mend="Say it in fewer words.",
                )


def _cut_off(tokenize: _Tokenizer, texts: list[str]) -> bool:
    """Whether a text is too long: given room for one token more, the tokens of one that fits stay what they were."""
    tokens = tokenize(texts)
    length = tokens.shape[1]
    return not bool((tokenize(texts, length + 1)[:, :length] == tokens).all())


def _short(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:57]}..."
