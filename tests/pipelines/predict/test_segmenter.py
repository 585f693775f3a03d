import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from trained_world import MICROCOCO, random_model, smoke_recipe

import pipelines
from pipelines.base.errors import ConcatError
from pipelines.predict.predictions import InstanceResult, PanopticResult, Prediction, SemanticResult
from pipelines.predict.segmenter import Segmenter
from pipelines.vocabularies.vocabulary import Category, Vocabulary, load_vocabulary, write_part

CPU = torch.device("cpu")
TYPED = "red circle, blue star, plain green ground, turquoise heart; teal heart"


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter(random_model(), CPU)


def picture(height: int = 96, width: int = 96, seed: int = 0) -> NDArray[np.uint8]:
    """Blocks of colours, which a random extractor gives masks of some size."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (3, 3, 3), np.uint8)
    return np.asarray(Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST))


def same(one: Prediction, other: Prediction) -> bool:
    if isinstance(one, PanopticResult) and isinstance(other, PanopticResult):
        return np.array_equal(one.ids, other.ids) and one.segments == other.segments
    if isinstance(one, SemanticResult) and isinstance(other, SemanticResult):
        return np.array_equal(one.labels, other.labels) and one.regions == other.regions
    assert isinstance(one, InstanceResult)
    assert isinstance(other, InstanceResult)
    return one.instances == other.instances


def test_it_is_imported_by_name_and_torch_only_then() -> None:
    assert pipelines.Segmenter is Segmenter
    with pytest.raises(AttributeError, match="no attribute 'Segmentor'"):
        _ = pipelines.Segmentor
    code = "import sys, pipelines, pipelines.vocabularies.typed_names; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(("height", "width"), [(96, 96), (50, 131), (300, 40), (1, 1), (3, 400)])
@pytest.mark.parametrize("task", ["panoptic", "semantic", "instance"])
def test_a_prediction_has_the_size_of_the_picture_and_agrees_with_itself(
    segmenter: Segmenter, task: Any, height: int, width: int
) -> None:
    pixels = picture(height, width)
    found = segmenter.predict(pixels, TYPED, task=task, threshold=None if task == "semantic" else 0.0)
    assert np.array_equal(found.pixels, pixels)
    if isinstance(found, PanopticResult):
        assert found.ids.shape == (height, width)
        assert {s.id for s in found.segments} == set(np.unique(found.ids).tolist()) - {0}
        masks = {s.id: found.ids == s.id for s in found.segments}
    elif isinstance(found, SemanticResult):
        assert found.labels.shape == (height, width)
        assert {s.id for s in found.regions} == set(np.unique(found.labels).tolist()) <= set(found.vocabulary.ids)
        masks = {s.id: found.labels == s.id for s in found.regions}
    else:
        assert all(instance.category.isthing for instance in found.instances)
        assert [i.score for i in found.instances] == sorted((i.score for i in found.instances), reverse=True)
        masks = {number: instance.mask() for number, instance in enumerate(found.shown, start=1)}
    rows = found.table()
    assert [row.id for row in rows] == list(masks)
    for row in rows:
        ys, xs = np.nonzero(masks[row.id])
        assert row.area == len(ys)
        assert row.share == pytest.approx(100 * len(ys) / (height * width), abs=0.006)
        assert (row.x, row.y, row.x + row.width, row.y + row.height) == (
            xs.min(), ys.min(), xs.max() + 1, ys.max() + 1,
        )  # fmt: skip


@pytest.mark.parametrize("task", ["panoptic", "semantic", "instance"])
def test_batches_and_kinds_of_images_change_nothing(segmenter: Segmenter, tmp_path: Path, task: Any) -> None:
    pictures = [picture(96, 96, seed) for seed in range(3)] + [picture(64, 96), picture(96, 96, 9)]
    Image.fromarray(pictures[0]).save(tmp_path / "first.png")
    images = [str(tmp_path / "first.png"), Image.fromarray(pictures[1]), *pictures[2:]]
    one_by_one = [segmenter.predict(pixels, task=task) for pixels in pictures]
    for batch_size in (1, 2, 8):
        together = list(segmenter.predict_all(images, task=task, batch_size=batch_size))
        assert [p.pixels.shape for p in together] == [p.shape for p in pictures]
        for one, other in zip(one_by_one, together, strict=True):
            if task == "instance":  # the last bit of a score may depend on the batch
                assert isinstance(one, InstanceResult)
                assert isinstance(other, InstanceResult)
                scores = [[i.score for i in found.instances] for found in (one, other)]
                np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)
            else:
                maps = [p.ids if isinstance(p, PanopticResult) else p.labels for p in (one, other)]  # type: ignore[union-attr]
                assert (maps[0] == maps[1]).mean() > 0.999


def test_the_default_names_are_the_models_own(segmenter: Segmenter) -> None:
    names = segmenter.predict(picture()).vocabulary
    assert names == segmenter.vocabulary
    assert names.names == (MICROCOCO.seen + MICROCOCO.unseen).names
    assert names.unseen.names == MICROCOCO.unseen.names


def test_taught_names_join_the_own_ones_and_no_name_stands_twice() -> None:
    tram = Category(id=9000, name="tram; streetcar", unseen=True)
    taught = Vocabulary(name="micrococo", categories=(*MICROCOCO.unseen.categories[:2], tram))
    own = Segmenter(random_model(taught=taught), CPU).vocabulary
    assert own.names == [*(MICROCOCO.seen + MICROCOCO.unseen).names, "tram"]


def test_names_can_be_typed_read_from_a_file_or_given(segmenter: Segmenter, tmp_path: Path) -> None:
    typed = segmenter.predict(picture(), TYPED, threshold=0.0)
    assert typed.vocabulary.names == ["red circle", "blue star", "plain green ground", "turquoise heart"]
    assert [c.isthing for c in typed.vocabulary.categories] == [True, True, False, True]
    assert all(c.unseen for c in typed.vocabulary.categories)
    assert segmenter.predict(picture(), "red square").vocabulary.categories[0].unseen is False
    write_part(tmp_path / "names.json", typed.vocabulary)
    for given in (tmp_path / "names.json", str(tmp_path / "names.json"), typed.vocabulary):
        found = segmenter.predict(picture(), given, threshold=0.0)
        assert same(found, typed)
    assert segmenter.predict(picture(), "voc20").vocabulary.names == load_vocabulary("voc20").names


def test_unseen_is_what_training_never_met_whatever_a_vocabulary_says(segmenter: Segmenter) -> None:
    categories = (Category(id=1, name="red square", unseen=True), Category(id=2, name="red circle"))
    found = segmenter.predict(picture(), Vocabulary(name="v", categories=categories))
    assert [c.unseen for c in found.vocabulary.categories] == [False, True]


def test_the_finetuned_projector_is_asked_without_an_increment_and_the_other_with_the_recipes() -> None:
    model = random_model()
    both, first = Segmenter(model, CPU), Segmenter(replace(model, finetuned=None), CPU)
    preset = model.recipe.eval.increment
    assert preset > 0

    def asked(segmenter: Segmenter, **options: Any) -> Prediction:
        return segmenter.predict(picture(), threshold=0.0, **options)

    assert same(asked(both), asked(both, setting="transductive", increment=0.0))
    assert same(asked(first), asked(first, setting="inductive", increment=preset))
    assert same(asked(first), asked(both, setting="inductive"))
    assert not same(asked(first), asked(first, increment=0.0))
    assert not same(asked(both), asked(first, increment=0.0))
    with pytest.raises(ConcatError, match="no finetuned projector"):
        asked(first, setting="transductive")


def test_the_increment_lifts_names_unknown_to_training(segmenter: Segmenter) -> None:
    lifted = segmenter.predict(picture(), increment=30.0, task="semantic")
    sunk = segmenter.predict(picture(), increment=-30.0, task="semantic")
    assert isinstance(lifted, SemanticResult)
    assert isinstance(sunk, SemanticResult)
    assert all(region.category.unseen for region in lifted.regions)
    assert not any(region.category.unseen for region in sunk.regions)


def test_thresholds_leave_out_what_scores_less(segmenter: Segmenter) -> None:
    for task in ("panoptic", "instance"):
        found = segmenter.predict(picture(), TYPED, task=task, threshold=0.0)  # type: ignore[arg-type]
        assert found.table()
        assert not segmenter.predict(picture(), TYPED, task=task, threshold=1.0).table()  # type: ignore[arg-type]
    with pytest.raises(ConcatError, match="no threshold"):
        segmenter.predict(picture(), task="semantic", threshold=0.5)


@pytest.mark.parametrize("task", ["panoptic", "semantic", "instance"])
def test_a_longest_side_limits_the_work_and_not_the_result(segmenter: Segmenter, task: Any) -> None:
    large = picture(480, 640)
    sizes: list[tuple[int, ...]] = []
    hook = segmenter.model.extractor.register_forward_pre_hook(lambda _, args: sizes.append(args[0].shape[-2:]))
    found = segmenter.predict(large, TYPED, task=task, max_side=64)
    hook.remove()
    assert sizes == [(64, 64)]  # 48×64, padded
    assert found.pixels.shape == (480, 640, 3)
    if isinstance(found, InstanceResult):
        assert all(instance.mask().shape == (480, 640) for instance in found.instances)
    else:
        ids = found.ids if isinstance(found, PanopticResult) else found.labels
        assert ids.shape == (480, 640)
        assert np.array_equal(ids, np.kron(ids[5::10, 5::10], np.ones((10, 10), np.int32)))  # enlarged tenfold
    assert same(segmenter.predict(picture(), max_side=4000), segmenter.predict(picture()))


def test_with_a_softmax_no_object_competes() -> None:
    recipe = smoke_recipe('con.matching.classification="softmax"')
    found = Segmenter(random_model(recipe), CPU).predict(picture(), "red circle", task="instance")
    assert isinstance(found, InstanceResult)
    assert found.instances
    assert all(instance.score < 1 for instance in found.instances)


def test_what_cannot_be_asked_is_said(segmenter: Segmenter, tmp_path: Path) -> None:
    with pytest.raises(ConcatError, match="names no thing"):
        segmenter.predict(picture(), "road, grass", task="instance")
    with pytest.raises(ConcatError, match="stands twice"):
        segmenter.predict_all([], "cow, cow")  # before the first image
    with pytest.raises(ConcatError, match="longest side"):
        segmenter.predict(picture(), max_side=0)
    with pytest.raises(ConcatError, match="not readable"):
        segmenter.predict(tmp_path / "nowhere.jpg")
    with pytest.raises(ConcatError, match="longer than what CLIP reads"):
        segmenter.predict(picture(), "a " + "very " * 40 + "long name")


def test_without_a_text_encoder_other_names_are_refused_and_own_ones_work(tmp_path: Path) -> None:
    given = smoke_recipe('clip.text_embeddings="rows.npy"', 'clip.text_names="names.txt"')
    absent = smoke_recipe(f'clip.pretrained="{tmp_path}/absent.safetensors"')
    base = random_model()
    other = {**base.clip, "weights_sha256": "0" * 64}
    for model, phrase in (
        (replace(base, recipe=given), "given text embeddings"),
        (replace(base, recipe=absent), "cannot be loaded here"),
        (replace(base, clip=other), "not the one that the model was aligned with"),
    ):
        segmenter = Segmenter(model, CPU)
        segmenter.predict(picture())
        segmenter.predict(picture(), "Red Circle, blue star")
        with pytest.raises(ConcatError, match=phrase):
            segmenter.predict(picture(), "turquoise heart")


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ConcatError, match="Neither a run directory nor an exported model"):
            Segmenter.load(path)
    with pytest.raises(ConcatError, match="Unknown device"):
        Segmenter.load(tmp_path, device="abacus")
