"""Tests of the tiny CLIP: the shipped weights through open_clip's own door, and the parts of its training."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file

from pipelines.micrococo import clip_accuracy
from pipelines.micrococo.clip_accuracy import (
    WEIGHTS,
    MicroClip,
    accuracy_table,
    check_views,
    open_micro_clip,
    text_cosines,
)
from pipelines.micrococo.clip_batches import scene_caption
from pipelines.micrococo.clip_settings import MicroClipSettings
from pipelines.micrococo.clip_token_table import TokenTable
from pipelines.micrococo.clip_views import segment_views
from pipelines.micrococo.render import render_scene, scene_rng
from pipelines.micrococo.train_clip import contrastive_loss, train
from pipelines.micrococo.turns import WAYS, turned
from pipelines.micrococo.world import MICROCOCO_CATEGORIES

FRESH_SEED = 77  # the shipped weights were trained and measured with seed 0
TINY = MicroClipSettings(scenes=6, iterations=2, whole_scenes=2, full_frames=8, crops=8, check_every=2, check_scenes=16)


@pytest.fixture(scope="module")
def clip() -> MicroClip:
    return open_micro_clip()


@pytest.fixture(autouse=True)
def _torch_as_it_was() -> Iterator[None]:
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


# --- the shipped weights ---


def test_shipped_weights_are_small_halves_and_load_as_single_precision(clip: MicroClip) -> None:
    assert WEIGHTS.stat().st_size < 10e6
    assert {value.dtype for value in load_file(WEIGHTS).values() if value.is_floating_point()} == {torch.float16}
    assert {parameter.dtype for parameter in clip.model.parameters()} == {torch.float32}
    assert clip.model.logit_scale.exp().item() <= 14.1


def test_preprocessing_is_open_clips_own(clip: MicroClip) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8))
    pixels = clip.preprocess(image)
    assert pixels.shape == (3, 48, 48)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (clip.model.visual.preprocess_cfg[k] for k in ("mean", "std")))
    resized = torch.from_numpy(np.array(image.resize((48, 48), Image.Resampling.BICUBIC)))
    torch.testing.assert_close(pixels * std + mean, resized.permute(2, 0, 1) / 255, atol=1e-5, rtol=0)


def test_fresh_scenes_are_named_right(clip: MicroClip) -> None:
    table = accuracy_table(clip, check_views(clip, scenes=60, seed=FRESH_SEED))
    assert min(table["crop"].values()) >= 0.92, table
    assert min(table["full"].values()) >= 0.87, table


def test_names_stand_apart(clip: MicroClip) -> None:
    cosines = text_cosines(clip)
    off_diagonal = cosines[~torch.eye(len(cosines), dtype=torch.bool)]
    assert off_diagonal.max() < 0.75
    assert off_diagonal.mean() < 0.25


def test_the_recorded_accuracy_passes_the_bar() -> None:
    record = json.loads((clip_accuracy.HOME / "micrococo-clip.accuracy.json").read_bytes())
    assert min(record["accuracy"]["crop"].values()) >= 0.95
    assert min(record["accuracy"]["full"].values()) >= 0.90
    assert record["settings"]["seed"] != FRESH_SEED


def test_a_word_never_met_changes_no_embedding_but_its_place(clip: MicroClip) -> None:
    table = clip.model.token_embedding.weight
    used = table.abs().sum(1) > 0
    assert used.sum() < 60
    assert used[clip.tokenize(["a photo of a red circle and blue ring on dotted gray ground"])[0][:16]].all()


# --- views ---


def test_views_are_black_outside_the_segment() -> None:
    scene = next(s for s in (render_scene(scene_rng(0, "val", i)) for i in range(200)) if any(s.crowds))
    views = list(segment_views(scene, margin=3))
    shown = [k for k, crowd in enumerate(scene.crowds) if not crowd]
    assert [view.kind for view in views] == ["full", "crop"] * len(shown)
    assert len(list(segment_views(scene, crowds=True))) == 2 * len(scene.crowds)
    for segment, full, crop in zip(shown, views[::2], views[1::2], strict=True):
        mask = scene.segments == segment
        assert full.category == crop.category == scene.categories[segment]
        assert (np.asarray(full.image) == np.where(mask[..., None], scene.image, 0)).all()
        extent = max(np.ptp(axis) + 1 for axis in np.nonzero(mask))
        assert crop.image.size == (extent + 6, extent + 6)
        assert np.asarray(crop.image).sum() == np.asarray(full.image).sum()


def test_turns_are_the_eight_ways_of_the_square() -> None:
    image = torch.arange(2 * 2 * 3).view(1, 2, 2, 3)
    ways = turned(image.expand(WAYS, -1, -1, -1), 0)
    assert len({tuple(way.flatten().tolist()) for way in ways}) == WAYS
    assert torch.equal(ways[0], image[0])
    assert torch.equal(turned(image.expand(WAYS, -1, -1, -1), 3)[0], ways[3])


# --- training ---


def test_captions_name_the_scene() -> None:
    names = [category.name for category in MICROCOCO_CATEGORIES]
    contents = tuple(names.index(name) for name in ("red circle", "blue ring", "plain green ground"))
    caption = scene_caption(contents, np.random.default_rng(0))
    assert caption in (
        "red circle and blue ring on plain green ground",
        "blue ring and red circle on plain green ground",
    )


def test_loss_is_clips_where_captions_differ() -> None:
    images, texts = (F.normalize(torch.randn(5, 8), dim=-1) for _ in range(2))
    logits = 10 * images @ texts.T
    own = torch.arange(5)
    expected = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    torch.testing.assert_close(contrastive_loss(images, texts, own, torch.tensor(10.0)), expected)


def test_images_of_one_caption_are_no_negatives_of_each_other() -> None:
    texts = F.normalize(torch.eye(3), dim=-1)
    captions = torch.tensor([0, 0, 1, 2])
    loss = contrastive_loss(texts[captions], texts, captions, torch.tensor(100.0))
    assert abs(loss.item() - np.log(2) / 6) < 1e-3  # the two images of text 0 share its half of the loss


def test_the_small_token_table_gives_the_same_embeddings() -> None:
    torch.manual_seed(0)
    fresh = open_micro_clip(weights=None)
    texts = ["a picture of a purple cross", "white ring and red star on plain gray ground"]
    with torch.no_grad():
        expected = fresh.model.encode_text(fresh.tokenize(texts))
        tokens = TokenTable(fresh)
        torch.testing.assert_close(fresh.model.encode_text(tokens.tokenize(texts)), expected)
    whole = tokens.whole_table(fresh.model.token_embedding.weight)
    assert whole.shape == (49408, 64)
    assert int((whole.abs().sum(1) > 0).sum()) == len(tokens.ids)


def test_training_writes_what_open_clip_loads_and_repeats_itself(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        train(TINY, tmp_path / folder)
    name = "micrococo-clip.safetensors"
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    record = json.loads((tmp_path / "one" / "micrococo-clip.accuracy.json").read_bytes())
    assert record["settings"]["iterations"] == 2
    assert set(record["accuracy"]) == {"crop", "full"}
