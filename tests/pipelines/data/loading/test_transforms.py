"""Transforms: exact cases by hand, what any draw must keep, and that a seed decides everything."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.data.formats.sample import Sample
from pipelines.data.loading.settings import InputSettings
from pipelines.data.loading.transforms import PADDING, TrainTransform, test_transform


def _sample(height: int, width: int, segments: int = 3, *, draw: int = 0) -> Sample:
    """Random vertical stripes: some segments, void (ignored) between. The red channel tells the owner, 60 apart."""
    generator = torch.Generator().manual_seed(draw)
    owner = torch.randint(0, segments + 1, (width,), generator=generator).repeat(height, 1)
    masks = owner == torch.arange(1, segments + 1)[:, None, None]
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)
    image[0] = owner.to(torch.uint8) * 60
    return Sample(
        image_id=5,
        image=image,
        masks=masks,
        labels=torch.arange(segments) + 10,
        segment_ids=torch.arange(segments) + 100,
        ignore=owner == 0,
    )


def _same(a: Sample, b: Sample) -> bool:
    names = ("image", "masks", "labels", "segment_ids", "ignore")
    return a.image_id == b.image_id and all(torch.equal(getattr(a, n), getattr(b, n)) for n in names)


STILL = InputSettings(crop=32, min_scale=1.0, max_scale=1.0, flip=0.0)
TURNING = STILL.model_copy(update={"quarter_turns": True})
MIRRORING = STILL.model_copy(update={"flip": 1.0})
JITTER = InputSettings(crop=32, min_scale=0.1, max_scale=2.0, flip=0.5)


def test_an_image_of_the_crops_size_stays_as_it_is() -> None:
    sample = _sample(32, 32)
    assert _same(TrainTransform(STILL)(sample, 1), sample)


def test_a_flip_mirrors_image_masks_and_ignore() -> None:
    sample = _sample(32, 32)
    mirrored = TrainTransform(MIRRORING)(sample, 1)
    assert _same(mirrored, sample.flipped())
    assert torch.equal(mirrored.image[:, :, 0], sample.image[:, :, -1])
    assert _same(mirrored.flipped(), sample)
    assert mirrored.mirrored
    assert not TrainTransform(MIRRORING)(mirrored, 1).mirrored
    assert not TrainTransform(TURNING)(sample, 1).mirrored


def test_quarter_turns_occur_all_four_and_turn_everything_alike() -> None:
    sample = _sample(32, 32)
    turned = [TrainTransform(TURNING)(sample, seed) for seed in range(40)]
    kinds = [next(k for k in range(4) if torch.equal(t.image, sample.image.rot90(k, (1, 2)))) for t in turned]
    assert set(kinds) == {0, 1, 2, 3}
    for k, t in zip(kinds, turned, strict=True):
        assert torch.equal(t.masks, sample.masks.rot90(k, (1, 2)))
        assert torch.equal(t.ignore, sample.ignore.rot90(k, (0, 1)))


def test_padding_is_ignored_and_has_the_mean_colour() -> None:
    sample = _sample(16, 32)
    padded = TrainTransform(STILL)(sample, 1)
    assert torch.equal(padded.image[:, :16], sample.image)
    assert (padded.image[:, 16:] == torch.tensor(PADDING)[:, None, None]).all()
    assert padded.ignore[16:].all()
    assert torch.equal(padded.ignore[:16], sample.ignore)
    assert not padded.masks[:, 16:].any()


def test_half_scale_takes_the_nearest_pixel_and_keeps_names_of_segments() -> None:
    sample = _sample(32, 32)
    owner = torch.zeros(32, 32, dtype=torch.int64)
    owner[:16], owner[16:, :2] = 1, 2
    sample = Sample(5, sample.image, torch.stack([owner == 1, owner == 2]), torch.tensor([4, 7]),
                    torch.tensor([11, 12]), owner == 0)  # fmt: skip
    half = TrainTransform(STILL.model_copy(update={"min_scale": 0.5, "max_scale": 0.5}))(sample, 3)
    assert half.masks[0, :8, :16].all()
    assert half.masks.sum((1, 2)).tolist() == [8 * 16, 8 * 1]
    assert (half.labels.tolist(), half.segment_ids.tolist()) == ([4, 7], [11, 12])


def test_a_segment_that_the_crop_removed_vanishes_everywhere() -> None:
    sample = _sample(32, 32, segments=2)
    owner = torch.ones(32, 32, dtype=torch.int64)
    owner[0, 0] = 2
    sample = Sample(5, sample.image, torch.stack([owner == 1, owner == 2]), torch.tensor([4, 7]),
                    torch.tensor([11, 12]), torch.zeros(32, 32, dtype=torch.bool))  # fmt: skip
    zoom = TrainTransform(STILL.model_copy(update={"min_scale": 2.0, "max_scale": 2.0}))
    found = {tuple(zoom(sample, seed).segment_ids.tolist()) for seed in range(60)}
    assert (11,) in found
    cropped = next(s for s in (zoom(sample, seed) for seed in range(60)) if len(s.masks) == 1)
    assert (cropped.labels.tolist(), tuple(cropped.masks.shape)) == ([4], (1, 32, 32))


def test_an_image_without_segments_passes() -> None:
    sample = _sample(20, 30, segments=0)
    jittered = TrainTransform(JITTER)(sample, 4)
    assert tuple(jittered.masks.shape) == (0, 32, 32)
    assert jittered.ignore.all()


def test_pixels_of_no_segment_that_count_stay_so() -> None:
    sample = _sample(32, 32, segments=0)
    background = Sample(5, sample.image, sample.masks, sample.labels, sample.segment_ids, ~sample.ignore)
    assert not TrainTransform(STILL)(background, 1).ignore.any()


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70), segments=st.integers(0, 4), seed=st.integers(0, 2**63 - 1))
def test_whatever_is_drawn_image_and_masks_agree(height: int, width: int, segments: int, seed: int) -> None:
    sample = _sample(height, width, segments, draw=seed % 1000)
    transform = TrainTransform(JITTER)
    result = transform(sample, seed)
    assert (tuple(result.image.shape), result.image.dtype) == ((3, 32, 32), torch.uint8)
    assert (result.masks.dtype, tuple(result.ignore.shape)) == (torch.bool, (32, 32))
    covered = result.masks.sum(0) + result.ignore
    assert (covered == 1).all()  # each pixel has one owner or none and then no weight
    assert result.masks.flatten(1).any(1).all()
    assert (result.segment_ids - 100).tolist() == (result.labels - 10).tolist()
    assert _same(transform(sample, seed), result)


def test_masks_follow_the_image_when_resampled() -> None:
    """In wide stripes, colour (the owner, 60 apart) and mask agree but at the borders, which are blurred."""
    owner = (torch.arange(64) // 16 + 1).repeat(64, 1)
    image = (owner * 60).to(torch.uint8).repeat(3, 1, 1)
    masks = owner == torch.arange(1, 5)[:, None, None]
    sample = Sample(5, image, masks, torch.arange(4), torch.arange(4), torch.zeros(64, 64, dtype=torch.bool))
    for seed in range(30):
        result = TrainTransform(InputSettings(crop=64, min_scale=0.5, max_scale=2.0))(sample, seed)
        seen = (result.image[0].float() / 60).round().long()
        owners = torch.einsum("ohw,o->hw", result.masks.long(), result.segment_ids + 1)
        agree = (seen == owners)[~result.ignore].float().mean()
        assert agree > 0.97


def test_another_seed_draws_another_crop() -> None:
    sample = _sample(60, 40)
    images = {TrainTransform(JITTER)(sample, seed).image.numpy().tobytes() for seed in range(20)}
    assert len(images) == 20


def test_the_global_random_state_is_neither_read_nor_changed() -> None:
    sample = _sample(60, 40)
    torch.manual_seed(1)
    first, state = TrainTransform(JITTER)(sample, 3), torch.get_rng_state()
    torch.manual_seed(2)
    assert _same(TrainTransform(JITTER)(sample, 3), first)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("size", "content", "padded"),
    [
        ((96, 96), (96, 96), (96, 96)),
        ((480, 640), (96, 128), (96, 128)),
        ((640, 480), (128, 96), (128, 96)),
        ((100, 400), (50, 200), (64, 224)),  # the longer side bounds it
        ((48, 50), (96, 100), (96, 128)),
        ((1, 1000), (1, 200), (32, 224)),
    ],
)
def test_the_shorter_side_is_scaled_unless_the_longer_one_gets_too_long(
    size: tuple[int, int], content: tuple[int, int], padded: tuple[int, int]
) -> None:
    image, found = test_transform(torch.full((3, *size), 200, dtype=torch.uint8), short=96, long=200)
    assert (found, tuple(image.shape[1:]), image.dtype) == (content, padded, torch.uint8)
    assert (image[:, : content[0], : content[1]] == 200).all()
    assert (image[:, content[0] :] == torch.tensor(PADDING)[:, None, None]).all()
    assert (image[:, :, content[1] :] == torch.tensor(PADDING)[:, None, None]).all()


def test_an_image_of_the_wanted_size_is_not_resampled() -> None:
    image = _sample(96, 130).image
    padded, content = test_transform(image, short=96, long=200)
    assert content == (96, 130)
    assert torch.equal(padded[:, :96, :130], image)
