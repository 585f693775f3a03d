"""Which query answers for which segment, and the loss of that answer (CONCAT eqs. 2, 3; Mask2Former, section 3.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import cross_entropy, embedding

from pipelines.base.errors import NonFiniteLossError
from pipelines.losses.focal import classification_focal, focal_cost
from pipelines.losses.mask import dice_cost, mask_bce, mask_bce_cost, mask_dice
from pipelines.losses.points import StepPoints, read_points, sample_points, uniform_points
from pipelines.losses.step_totals import StepTotals
from pipelines.losses.targets import PointTargets, Targets


@dataclass(frozen=True)
class Assignment:
    """σ̂ of L layers: the matched pairs of a batch, M = Σ min(K, O_i) a layer, ordered by image, then by query.

    Attributes:
        image: int64, L×M, position in the batch.
        query: int64, L×M, in [0, K).
        segment: int64, L×M, position among the segments of its image.
        images: B.
        queries: K.
    """

    image: Tensor
    query: Tensor
    segment: Tensor
    images: int
    queries: int

    def __len__(self) -> int:
        """M, the number of matched pairs of a layer."""
        return self.image.shape[1]

    def rows(self, counts: Sequence[int]) -> Tensor:
        """The pairs' segments in the batch's segments laid end to end, int64, L×M; `counts`: O of each image."""
        first = torch.tensor([0, *counts[:-1]]).cumsum(0).to(self.image.device)
        return first[self.image] + self.segment

    def of_queries(self, of_segments: Sequence[Tensor], *, unmatched: int = -1) -> Tensor:
        """A number of each segment, such as its label or its id, handed to the query that matched it.

        Args:
            of_segments: B × (int64, O_i).
            unmatched: the number of ∅.

        Returns:
            int64, L×B×K.
        """
        layers = len(self.image)
        numbers = torch.full((layers, self.images, self.queries), unmatched, device=self.image.device)
        rows = self.rows([len(of_image) for of_image in of_segments])
        layer = torch.arange(layers, device=self.image.device)[:, None]
        numbers[layer, self.image, self.query] = torch.cat(list(of_segments))[rows]
        return numbers


@torch.no_grad()
def matching_cost(
    class_cost: Tensor,
    mask_logits: Tensor,
    targets: Targets,
    at: PointTargets,
    *,
    class_weight: float,
    mask_weight: float,
    dice_weight: float,
) -> Tensor:
    """What it costs each query of a layer to answer for each segment of its image, fp32, B×K×O.

    Args:
        class_cost: B×K×N, what each name costs each query.
        mask_logits: B×K×h×w.
        targets: the segments; where an image has fewer than O, what its further columns say means nothing.
        at: the same at the points of the comparison.
        class_weight: weight of naming.
        mask_weight: weight of the binary cross entropy.
        dice_weight: weight of dice.
    """
    logits = read_points(mask_logits, at.coords)  # B×K×P
    masks, labels = targets.padded(at.values), targets.padded(targets.labels)  # B×O×P, B×O
    naming = class_cost.float().gather(2, labels[:, None].expand(-1, logits.shape[1], -1))  # B×K×O
    cost = class_weight * naming
    cost = cost + mask_weight * mask_bce_cost(logits, masks, at.weight)
    return cost + dice_weight * dice_cost(logits, masks, at.weight)


def cheapest(cost: Tensor, counts: Sequence[int]) -> Assignment:
    """The cheapest one-to-one assignment of queries to segments, layer by layer and image by image.

    All costs come to the host in one piece, and the pairs go back in one.

    Args:
        cost: L×B×K×O.
        counts: O_i of each image; an image may have none, or more than K (K of them are then matched).

    Raises:
        NonFiniteLossError: a cost is NaN or infinite.
    """
    given = cost.cpu().numpy()
    if not np.isfinite(given).all():
        raise NonFiniteLossError("The matching cost is not finite.")
    layers = []
    for of_layer in given:
        pairs = [np.stack(linear_sum_assignment(own[:, :count])) for own, count in zip(of_layer, counts, strict=True)]
        position = np.repeat(np.arange(len(pairs)), [own.shape[1] for own in pairs])
        layers.append(np.concatenate([position[None], np.concatenate(pairs, axis=1)]))
    matched = torch.from_numpy(np.stack(layers, axis=1).astype(np.int64)).to(cost.device)  # 3×L×M
    image, query, segment = matched
    return Assignment(image, query, segment, images=given.shape[1], queries=given.shape[2])


@dataclass(frozen=True, kw_only=True)
class MatchingLoss:
    """L_match over all decoder layers (eqs. 2, 3), each matched on its own, all at the same points.

    Attributes:
        classification: `focal`: class logits are B×K×N, sigmoid, ∅ is all zeros. `softmax` (Mask2Former's own):
            the caller gives B×K×(N+1), the last column the logit of ∅ (zeros, or a learned bias).
        class_weight, mask_weight, dice_weight: weights, in the matching cost and in the loss alike.
        focal_alpha, focal_gamma: of the focal loss.
        no_object_weight: weight of ∅ in the cross entropy of `softmax`.
        points, oversample, importance: as `StepPoints.draw`.
    """

    classification: Literal["focal", "softmax"]
    class_weight: float
    mask_weight: float
    dice_weight: float
    focal_alpha: float
    focal_gamma: float
    no_object_weight: float
    points: int
    oversample: float
    importance: float

    def __call__(
        self,
        class_logits: Sequence[Tensor],
        mask_logits: Sequence[Tensor],
        *,
        masks: Sequence[Tensor],
        labels: Sequence[Tensor],
        ignore: Sequence[Tensor],
        generator: torch.Generator,
        totals: StepTotals | None = None,
    ) -> tuple[dict[str, Tensor], Assignment]:
        """The losses of a batch, normalised by the number of matched segments of its step (at least 1).

        Args:
            class_logits: L × (B×K×N), first to last layer.
            mask_logits: L × (B×K×h×w).
            masks: B × (bool, O_i×H×W), of one size; they cover what `mask_logits` cover.
            labels: B × (int64, O_i).
            ignore: B × (bool, H×W), pixels without weight.
            generator: on the CPU; all points come from it.
            totals: of the step that this batch is a part of; None: it is the whole step. The losses of the parts of a
                step, all given the same generator state, sum to those of the whole.

        Returns:
            `class`, `mask` and `dice`, weighted and summed over the layers; the assignment of all layers.

        Raises:
            NonFiniteLossError: a matching cost is NaN or infinite.
        """
        targets = Targets.collate(masks, labels, ignore)
        if totals is None:
            totals = StepTotals.of_counts(targets.counts, queries=class_logits[0].shape[1])
        points = StepPoints.draw(
            self.points,
            oversample=self.oversample,
            importance=self.importance,
            generator=generator,
            device=targets.masks.device,
        )
        assignment = self._assign(class_logits, mask_logits, targets, targets.at(points.matching))
        scores = torch.stack(list(class_logits)).float()  # L×B×K×N
        naming = self._classification(scores, assignment.of_queries(labels), totals)
        pairs = zip(mask_logits, assignment.image, assignment.query, strict=True)
        matched = [own[image, query] for own, image, query in pairs]
        masks_at = self._masks(torch.cat(matched), assignment, targets, points, targets.at(points.pool), totals)
        return {"class": self.class_weight * naming, **masks_at}, assignment

    def assign(
        self,
        class_logits: Tensor,
        mask_logits: Tensor,
        *,
        masks: Sequence[Tensor],
        labels: Sequence[Tensor],
        ignore: Sequence[Tensor],
        generator: torch.Generator,
    ) -> Assignment:
        """The assignment of one layer (L = 1), without a loss. Args and errors as `__call__`, but a single layer."""
        targets = Targets.collate(masks, labels, ignore)
        at = targets.at(uniform_points(self.points, generator, targets.masks.device))
        return self._assign([class_logits], [mask_logits], targets, at)

    @torch.no_grad()
    def _assign(
        self, class_logits: Sequence[Tensor], mask_logits: Sequence[Tensor], targets: Targets, at: PointTargets
    ) -> Assignment:
        weights = {"class_weight": self.class_weight, "mask_weight": self.mask_weight, "dice_weight": self.dice_weight}
        naming = self._naming_cost(torch.stack(list(class_logits)))  # L×B×K×N
        costs = [
            matching_cost(own, logits, targets, at, **weights) for own, logits in zip(naming, mask_logits, strict=True)
        ]
        return cheapest(torch.stack(costs), targets.counts)

    def _naming_cost(self, scores: Tensor) -> Tensor:
        if self.classification == "focal":
            return focal_cost(scores, alpha=self.focal_alpha, gamma=self.focal_gamma)
        return -scores.float().softmax(-1)

    def _classification(self, scores: Tensor, named: Tensor, totals: StepTotals) -> Tensor:
        """The loss of all class logits, L×B×K×N, given the names of the queries, L×B×K (−1: ∅)."""
        scores, named = scores.flatten(0, 2), named.flatten()  # LBK×N, LBK
        if self.classification == "focal":
            alpha, gamma = self.focal_alpha, self.focal_gamma
            return classification_focal(scores, named, alpha=alpha, gamma=gamma, normaliser=totals.matched)
        no_object = scores.shape[1] - 1
        weight = torch.ones(no_object + 1, device=scores.device)
        weight[no_object] = self.no_object_weight
        loss = cross_entropy(scores, torch.where(named < 0, no_object, named), weight, reduction="sum")
        return loss / (totals.matched + self.no_object_weight * totals.unmatched)

    def _masks(
        self,
        mask_logits: Tensor,
        assignment: Assignment,
        targets: Targets,
        points: StepPoints,
        pool: PointTargets,
        totals: StepTotals,
    ) -> dict[str, Tensor]:
        """The mask losses of all matched pairs (logits LM×h×w), at their uncertain and at common points."""
        index = points.select(mask_logits)  # LM×P
        sampled = sample_points(mask_logits[:, None], embedding(index, pool.coords))[:, 0]  # LM×P
        values = pool.values[assignment.rows(targets.counts).flatten()].gather(1, index)
        weight = pool.weight[assignment.image.flatten()].gather(1, index)
        return {
            "mask": self.mask_weight * mask_bce(sampled, values, weight, normaliser=totals.matched),
            "dice": self.dice_weight * mask_dice(sampled, values, weight, normaliser=totals.matched),
        }
