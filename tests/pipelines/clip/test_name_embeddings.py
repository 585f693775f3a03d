from pathlib import Path

import pytest
import torch
from tiny_clip import CONFIG, tiny_clip, write_config

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.clip.encoder import ClipModel, load_clip
from pipelines.clip.name_embeddings import NameEmbeddings
from pipelines.clip.packed import pack_text, unpack_text
from pipelines.clip.settings import ClipSettings
from pipelines.clip.text import embed_names
from pipelines.vocabularies.typed_names import vocabulary_of
from pipelines.vocabularies.vocabulary import Category, Vocabulary

OWN = Vocabulary(
    name="own",
    categories=(
        Category(id=5, name="grass-merged", isthing=False),
        Category(id=9, name="road; street", isthing=False),
        Category(id=2, name="cow"),
    ),
)
ROWS = {name: torch.eye(16)[place] for place, name in enumerate(OWN.names)}


def _no_encoder() -> ClipModel:
    raise ConcatError("no encoder here")


def test_own_names_have_their_rows_however_they_are_called() -> None:
    embed = NameEmbeddings(OWN, ROWS, _no_encoder, "single")
    assert torch.equal(embed(OWN), torch.eye(16)[:3])
    called = vocabulary_of("COW, street; road, grass")
    assert torch.equal(embed(called), torch.eye(16)[[2, 1, 0]])
    assert torch.equal(embed(vocabulary_of("road, grass-merged")), torch.eye(16)[[1, 0]])


@pytest.mark.parametrize("text", ["street", "cow; cattle", "horse"])
def test_other_names_need_the_encoder(text: str) -> None:
    with pytest.raises(ConcatError, match="no encoder here"):
        NameEmbeddings(OWN, ROWS, _no_encoder, "single")(vocabulary_of(text))


def test_the_encoder_is_loaded_once_and_asked_once_for_a_name(tmp_path: Path) -> None:
    clip, _ = tiny_clip(tmp_path)
    loads = []

    def load() -> ClipModel:
        loads.append(clip)
        return clip

    embed = NameEmbeddings(OWN, {"cow": ROWS["cow"]}, load, "select_8")
    mixed = vocabulary_of("horse; pony, cow, road")
    found = embed(mixed)
    assert torch.equal(found[1], ROWS["cow"])
    horse, road = vocabulary_of("horse; pony"), Vocabulary(name="v", categories=OWN.categories[1:2])
    assert torch.allclose(found[0], embed_names(clip, horse, "select_8")[0], atol=1e-6)
    assert torch.allclose(found[2], embed_names(clip, road, "select_8")[0], atol=1e-6)  # with its own synonym
    assert torch.equal(embed(mixed), found)
    assert len(loads) == 1


def test_a_name_beyond_the_context_is_refused(tmp_path: Path) -> None:
    clip, _ = tiny_clip(tmp_path)
    with pytest.raises(ConcatError, match="longer than what CLIP reads"):
        NameEmbeddings(OWN, ROWS, lambda: clip, "single")(vocabulary_of("a very " + "long " * 12 + "name"))


def test_a_packed_text_tower_embeds_as_the_whole_clip_does(tmp_path: Path) -> None:
    clip, _ = tiny_clip(tmp_path)
    packed = pack_text(clip)
    assert not [name for name in packed.tensors if name.startswith("visual.")]
    unpacked = unpack_text(packed, torch.device("cpu"), file=tmp_path)
    names = vocabulary_of("cow; cattle, e-scooter")
    assert torch.equal(embed_names(unpacked, names, "select_8"), embed_names(clip, names, "select_8"))
    assert unpacked.fingerprint == clip.fingerprint
    assert unpacked.describe() == clip.describe()


def test_a_packed_tower_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    clip, _ = tiny_clip(tmp_path)
    packed = pack_text(clip)
    del packed.tensors["positional_embedding"]
    with pytest.raises(CorruptFileError, match="positional_embedding"):
        unpack_text(packed, torch.device("cpu"), file=tmp_path)


def test_a_text_tower_of_the_hub_is_not_packed(tmp_path: Path) -> None:
    clip = load_clip(ClipSettings(model=str(write_config(tmp_path)), pretrained="random"), "cpu")
    clip.origin["config"] = {**CONFIG, "text_cfg": {**CONFIG["text_cfg"], "hf_tokenizer_name": "somebody/something"}}
    with pytest.raises(ConcatError, match="Hugging Face hub"):
        pack_text(clip)
