from pathlib import Path

import pytest
from tiny_clip import tiny_clip

from pipelines.base.errors import ConcatError
from pipelines.clip.context import check_context
from pipelines.vocabularies.vocabulary import Category, Vocabulary

CONTEXT = 16  # tokens of the tiny CLIP, two of which say where a text begins and ends
PROMPT = 5  # tokens of "a photo of a {}." without the name


def _named(*names: str) -> Vocabulary:
    return Vocabulary(name="v", categories=(Category(id=1, name="cow"), Category(id=2, name="x", prompt_names=names)))


@pytest.mark.parametrize("words", range(1, 14))
def test_a_name_is_refused_exactly_where_its_prompt_does_not_fit(tmp_path: Path, words: int) -> None:
    clip, _ = tiny_clip(tmp_path)
    vocabulary = _named("horse", " ".join(["cat"] * words))
    if PROMPT + words + 2 <= CONTEXT:
        check_context(clip, vocabulary, "single")
    else:
        with pytest.raises(ConcatError, match=r"'cat cat.*longer than what CLIP reads of a text \(16 tokens"):
            check_context(clip, vocabulary, "single")


def test_the_longest_prompt_counts(tmp_path: Path) -> None:
    clip, _ = tiny_clip(tmp_path)
    name = " ".join(["cat"] * 8)
    check_context(clip, _named(name), "single")
    with pytest.raises(ConcatError, match="longer than"):
        check_context(clip, _named(name), "select_8")  # "A photo of a {} in the scene"
