import itertools
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

from pipelines.base.errors import NonFiniteLossError
from pipelines.losses.focal import focal_cost, sigmoid_focal
from pipelines.losses.mask import dice_cost, mask_bce_cost, mask_focal_cost
from pipelines.losses.matching import Assignment, MatchingLoss, cheapest, matching_cost
from pipelines.losses.points import StepPoints, sample_points, uniform_points
from pipelines.losses.step_totals import StepTotals
from pipelines.losses.targets import Targets

LOSS = MatchingLoss(
    classification="focal",
    class_weight=2.0,
    mask_loss="cross-entropy",
    mask_weight=5.0,
    dice_weight=5.0,
    focal_alpha=0.25,
    focal_gamma=2.0,
    no_object_weight=0.1,
    points=40,
    oversample=3.0,
    importance=0.75,
)
SOFTMAX = MatchingLoss(**(vars(LOSS) | {"classification": "softmax"}))
WEIGHTS = {"class_weight": 2.0, "mask_weight": 5.0, "dice_weight": 5.0}


class World:
    """Random predictions and segments: B images of given O, K queries, N class columns, L layers."""

    def __init__(self, counts: list[int], *, queries: int = 6, names: int = 4, layers: int = 2, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        images = len(counts)
        self.class_logits = list(torch.randn(layers, images, queries, names, generator=generator))
        self.mask_logits = list(torch.randn(layers, images, queries, 6, 5, generator=generator) * 3)
        self.masks = [torch.rand(count, 12, 10, generator=generator) > 0.6 for count in counts]
        self.labels = [torch.randint(max(names - 1, 1), (count,), generator=generator) for count in counts]
        self.ignore = [torch.rand(12, 10, generator=generator) > 0.8 for _ in counts]

    def only(self, image: int) -> "World":
        alone = World([])
        alone.class_logits = [logits[image : image + 1] for logits in self.class_logits]
        alone.mask_logits = [logits[image : image + 1] for logits in self.mask_logits]
        alone.masks, alone.labels, alone.ignore = [self.masks[image]], [self.labels[image]], [self.ignore[image]]
        return alone

    @property
    def targets(self) -> dict[str, list[Tensor]]:
        return {"masks": self.masks, "labels": self.labels, "ignore": self.ignore}

    def loss(self, loss: MatchingLoss = LOSS, seed: int = 7) -> tuple[dict[str, Tensor], Assignment]:
        generator = torch.Generator().manual_seed(seed)
        return loss(self.class_logits, self.mask_logits, generator=generator, **self.targets)


def pairs_of(assignment: Assignment, image: int) -> list[tuple[int, int]]:
    """Query and segment of the pairs of an image, in the last layer."""
    mine = assignment.image[-1] == image
    return list(zip(assignment.query[-1][mine].tolist(), assignment.segment[-1][mine].tolist(), strict=True))


@pytest.mark.parametrize("counts", [[2, 0, 3], [1], [0], [4, 4]])
def test_the_assignment_is_the_cheapest_of_all(counts: list[int]) -> None:
    world = World(counts, queries=4, seed=3)
    targets = Targets.collate(**world.targets)
    at = targets.at(uniform_points(30, torch.Generator().manual_seed(1)))
    class_cost = focal_cost(world.class_logits[0], alpha=0.25, gamma=2.0)
    costs = matching_cost(class_cost, world.mask_logits[0], targets, at, **WEIGHTS)
    assignment = cheapest(costs[None], targets.counts)
    assert len(assignment) == sum(counts)
    first = 0
    for image, count in enumerate(counts):
        logits = sample_points(world.mask_logits[0][image : image + 1], at.coords)[0]
        values = at.values[first : first + count]
        cost = 2 * class_cost[image][:, world.labels[image]]
        cost = cost + 5 * mask_bce_cost(logits, values, at.weight[image])
        cost = cost + 5 * dice_cost(logits, values, at.weight[image])
        best = min(
            sum(cost[query, segment].item() for segment, query in enumerate(queries))
            for queries in itertools.permutations(range(4), count)
        )
        pairs = pairs_of(assignment, image)
        assert sum(cost[query, segment].item() for query, segment in pairs) == pytest.approx(best, rel=1e-5)
        assert [query for query, _ in pairs] == sorted({query for query, _ in pairs})
        first += count


def test_hand_made_matching_and_labels() -> None:
    mask = torch.zeros(2, 8, 8, dtype=torch.bool)
    mask[0, :, :4], mask[1, :, 4:] = True, True
    half = torch.where(mask, 9.0, -9.0)
    mask_logits = torch.stack([half[1], torch.full((8, 8), -9.0), half[0]])[None]  # query 2 is left, query 0 is right
    assignment = LOSS.assign(
        torch.zeros(1, 3, 5),
        mask_logits,
        masks=[mask],
        labels=[torch.tensor([4, 1])],
        ignore=[torch.zeros(8, 8, dtype=torch.bool)],
        generator=torch.Generator().manual_seed(0),
    )
    assert pairs_of(assignment, 0) == [(0, 1), (2, 0)]
    assert assignment.of_queries([torch.tensor([4, 1])]).tolist() == [[[1, -1, 4]]]
    assert assignment.of_queries([torch.tensor([77, 99])], unmatched=0).tolist() == [[[99, 0, 77]]]


def test_numbers_of_segments_reach_their_queries_across_a_batch() -> None:
    assignment = Assignment(
        torch.tensor([[0, 2, 2]]), torch.tensor([[1, 0, 2]]), torch.tensor([[0, 1, 0]]), images=3, queries=3
    )
    numbers = [torch.tensor([5]), torch.tensor([], dtype=torch.int64), torch.tensor([6, 7])]
    assert assignment.of_queries(numbers).tolist() == [[[-1, 5, -1], [-1, -1, -1], [7, -1, 6]]]
    assert assignment.rows([1, 0, 2]).tolist() == [[0, 2, 1]]


def test_a_batch_without_segments_teaches_only_that_nothing_is_there() -> None:
    world = World([0, 0])
    leaves = [logits.requires_grad_() for logits in (*world.class_logits, *world.mask_logits)]
    losses, assignment = world.loss()
    assert len(assignment) == 0
    assert losses["mask"].item() == losses["dice"].item() == 0
    assert losses["class"].item() > 0
    torch.stack(list(losses.values())).sum().backward()
    assert all(leaf.grad is not None for leaf in leaves)
    assert (leaves[0].grad > 0).all()


def test_more_segments_than_queries_leave_some_out() -> None:
    losses, assignment = World([5, 1], queries=3).loss()
    assert torch.bincount(assignment.image[-1]).tolist() == [3, 1]
    assert sorted(query for query, _ in pairs_of(assignment, 0)) == [0, 1, 2]
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_a_batch_is_its_images() -> None:
    counts = [2, 0, 3, 1]
    world = World(counts)
    losses, assignment = world.loss()
    expected = dict.fromkeys(losses, 0.0)
    for image, count in enumerate(counts):
        alone, own = world.only(image).loss()
        assert pairs_of(own, 0) == pairs_of(assignment, image)
        for name, loss in alone.items():
            expected[name] += loss.item() * max(count, 1) / sum(counts)
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, rel=1e-5)


def test_layers_are_summed_at_the_same_points() -> None:
    world = World([2, 1], layers=1)
    once, _ = world.loss()
    world.class_logits, world.mask_logits = world.class_logits * 3, world.mask_logits * 3
    thrice, _ = world.loss()
    for name, loss in once.items():
        torch.testing.assert_close(thrice[name], 3 * loss)


def test_points_derive_from_the_generator_alone() -> None:
    world = World([2, 3])
    first, _ = world.loss(seed=1)
    again, _ = world.loss(seed=1)
    other, _ = world.loss(seed=2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert first["mask"].item() != other["mask"].item()


def left_half_void() -> World:
    """Masks are 5 columns over 10 pixels: their first two see only void."""
    world = World([2, 3], seed=5)
    for ignore in world.ignore:
        ignore[:] = False
        ignore[:, :6] = True
    return world


def test_void_gives_no_gradient() -> None:
    world = left_half_void()
    world.mask_logits = [logits.clone().requires_grad_() for logits in world.mask_logits]
    losses, _ = world.loss()
    torch.stack([losses["mask"], losses["dice"]]).sum().backward()
    for logits in world.mask_logits:
        assert logits.grad is not None
        assert (logits.grad[..., :2] == 0).all()
        assert (logits.grad[..., 3:] != 0).any()


def test_what_is_predicted_or_annotated_in_void_changes_nothing() -> None:
    uniform = MatchingLoss(**(vars(LOSS) | {"importance": 0.0}))  # uncertain points would move within the void
    world = left_half_void()
    losses, assignment = world.loss(uniform)
    world.masks = [torch.cat([~mask[..., :5], mask[..., 5:]], -1) for mask in world.masks]
    world.mask_logits = [torch.cat([-logits[..., :2], logits[..., 2:]], -1) for logits in world.mask_logits]
    changed, same = world.loss(uniform)
    assert torch.equal(same.query, assignment.query)
    assert torch.equal(same.segment, assignment.segment)
    for name, loss in losses.items():
        torch.testing.assert_close(changed[name], loss)


@pytest.mark.parametrize("loss", [LOSS, SOFTMAX])
def test_wholly_ignored_images_give_no_mask_loss(loss: MatchingLoss) -> None:
    world = World([2, 3])
    world.ignore = [torch.ones_like(ignore) for ignore in world.ignore]
    losses, _ = world.loss(loss)
    assert losses["mask"].item() == losses["dice"].item() == 0


@pytest.mark.parametrize("loss", [LOSS, SOFTMAX])
def test_gradients_flow_to_every_layer_and_every_matched_mask(loss: MatchingLoss) -> None:
    world = World([2, 3], layers=3)
    leaves = [logits.requires_grad_() for logits in (*world.class_logits, *world.mask_logits)]
    losses, assignment = world.loss(loss)
    torch.stack(list(losses.values())).sum().backward()
    for leaf in leaves:
        assert leaf.grad is not None
        assert torch.isfinite(leaf.grad).all()
        assert (leaf.grad != 0).any()
    with_gradient = (leaves[-1].grad != 0).flatten(2).any(-1).nonzero().tolist()
    assert with_gradient == torch.stack([assignment.image[-1], assignment.query[-1]], 1).tolist()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("which", ["class_logits", "mask_logits"])
def test_a_cost_that_is_not_finite_is_refused(which: str, value: float) -> None:
    world = World([2, 3])
    getattr(world, which)[0][1, 2] = value
    with pytest.raises(NonFiniteLossError, match="matching cost is not finite"):
        world.loss()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=4),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 2),
    st.booleans(),
    st.integers(0, 999),
)
def test_any_shape(counts: list[int], queries: int, names: int, layers: int, softmax: bool, seed: int) -> None:
    world = World(counts, queries=queries, names=names + softmax, layers=layers, seed=seed)
    losses, assignment = world.loss(SOFTMAX if softmax else LOSS)
    assert set(losses) == {"class", "mask", "dice"}
    assert all(loss.ndim == 0 and torch.isfinite(loss) for loss in losses.values())
    for image, count in enumerate(counts):
        pairs = pairs_of(assignment, image)
        assert len(pairs) == min(count, queries)
        assert len({query for query, _ in pairs}) == len({segment for _, segment in pairs}) == len(pairs)
        assert all(segment < count for _, segment in pairs)


def test_softmax_is_cross_entropy_with_a_light_no_object() -> None:
    world = World([2, 3], names=5, layers=1)
    losses, assignment = world.loss(SOFTMAX)
    targets = assignment.of_queries(world.labels, unmatched=4)[0]
    weight = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.1])
    expected = 2 * cross_entropy(world.class_logits[0].flatten(0, 1), targets.flatten(), weight)
    torch.testing.assert_close(losses["class"], expected)


@pytest.mark.parametrize("importance", [0.0, 0.75])
def test_the_softmax_variant_equals_transformers_mask2former(
    importance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer is handed our points; nothing is ignored, since it knows no ignored points."""
    world = World([2, 3, 1], queries=7, names=5, layers=1, seed=9)
    world.ignore = [torch.zeros_like(ignore) for ignore in world.ignore]
    loss = MatchingLoss(**(vars(SOFTMAX) | {"importance": importance}))
    losses, _ = world.loss(loss, seed=4)
    points = StepPoints.draw(40, oversample=3.0, importance=importance, generator=torch.Generator().manual_seed(4))
    rest = 40 - points.uncertain

    def our_points(pairs: int, n: int, _: int, device: torch.device) -> Tensor:
        if n == 120:
            return (points.pool[:120] if importance else torch.zeros(120, 2)).repeat(pairs, 1, 1)
        return (points.matching if pairs == 1 else points.pool[-rest:]).repeat(pairs, 1, 1).to(device)

    config = SimpleNamespace(
        num_labels=4,
        no_object_weight=0.1,
        train_num_points=40,
        oversample_ratio=3.0,
        importance_sample_ratio=importance,
        **WEIGHTS,
    )
    peer = Mask2FormerLoss(config, {})
    monkeypatch.setattr(torch, "rand", our_points)
    masks = [mask.float() for mask in world.masks]
    theirs = peer(world.mask_logits[0], world.class_logits[0], masks, world.labels)
    torch.testing.assert_close(losses["class"], 2 * theirs["loss_cross_entropy"])
    torch.testing.assert_close(losses["mask"], 5 * theirs["loss_mask"])
    torch.testing.assert_close(losses["dice"], 5 * theirs["loss_dice"])


def test_half_precision_logits_are_compared_in_fp32() -> None:
    world = World([2, 3])
    world.class_logits = [logits.bfloat16() for logits in world.class_logits]
    world.mask_logits = [logits.bfloat16() for logits in world.mask_logits]
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast, _ = world.loss()
    world.class_logits = [logits.float() for logits in world.class_logits]
    world.mask_logits = [logits.float() for logits in world.mask_logits]
    plain, _ = world.loss()
    for name, loss in plain.items():
        assert under_autocast[name].dtype == torch.float32
        torch.testing.assert_close(under_autocast[name], loss)


@pytest.mark.parametrize("loss", [LOSS, SOFTMAX])
def test_all_layers_are_matched_with_one_transfer(loss: MatchingLoss, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[torch.Size] = []
    plain = Tensor.cpu
    monkeypatch.setattr(Tensor, "cpu", lambda tensor: moved.append(tensor.shape) or plain(tensor))
    World([2, 3], layers=3).loss(loss)
    assert moved == [(3, 2, 6, 3)]  # layers, images, queries, segments


@pytest.mark.parametrize("loss", [LOSS, SOFTMAX])
@pytest.mark.parametrize("counts", [[2, 0, 3, 1], [9, 1], [0, 0]])
def test_the_parts_of_a_step_sum_to_the_whole(loss: MatchingLoss, counts: list[int]) -> None:
    world = World(counts, queries=4)
    whole, _ = world.loss(loss)
    totals = StepTotals.of_counts(counts, queries=4)
    sums = dict.fromkeys(whole, torch.zeros(()))
    for image in range(len(counts)):
        alone = world.only(image)
        generator = torch.Generator().manual_seed(7)
        part, _ = loss(alone.class_logits, alone.mask_logits, generator=generator, totals=totals, **alone.targets)
        sums = {name: value + part[name] for name, value in sums.items()}
    for name, value in whole.items():
        torch.testing.assert_close(sums[name], value, rtol=1e-6, atol=1e-6)


def test_focal_masks_at_every_pixel_are_maskformers() -> None:
    """MaskFormer's own losses, written as its paper states them: focal (20) and dice (1) over the whole map."""
    loss = MatchingLoss(**(vars(LOSS) | {"mask_loss": "focal", "points": 0, "mask_weight": 20.0, "dice_weight": 1.0}))
    world = World([2, 1], layers=1, seed=4)
    world.masks = [masks[:, ::2, ::2] for masks in world.masks]  # as large as the predictions
    world.ignore = [torch.zeros(6, 5, dtype=torch.bool) for _ in world.ignore]
    losses, assignment = world.loss(loss)
    focal = dice = 0.0
    for image in range(2):
        for query, segment in pairs_of(assignment, image):
            p = world.mask_logits[0][image, query].sigmoid()
            target = world.masks[image][segment].float()
            p_t = p * target + (1 - p) * (1 - target)
            weight = 0.25 * target + 0.75 * (1 - target)
            focal += (-weight * (1 - p_t) ** 2 * p_t.log()).mean().item()
            dice += (1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)).item()
    assert losses["mask"].item() == pytest.approx(20 * focal / 3, rel=1e-4)
    assert losses["dice"].item() == pytest.approx(dice / 3, rel=1e-4)
    costs = torch.stack([mask_focal_cost(world.mask_logits[0][0].flatten(1), world.masks[0].flatten(1).float(),
                                         torch.ones(30), alpha=0.25, gamma=2.0)])  # fmt: skip
    slow = torch.stack([
        torch.stack([sigmoid_focal(q.flatten(), m.flatten(), alpha=0.25, gamma=2.0).mean() for m in world.masks[0]])
        for q in world.mask_logits[0][0]
    ])  # fmt: skip
    torch.testing.assert_close(costs[0], slow)
