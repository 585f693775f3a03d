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
from pipelines.losses.points import StepPoints, sample_points, uniform_points
from pipelines.losses.targets import PointTargets, Targets


@dataclass(frozen=True)
class Assignment:
    """σ̂: the matched pairs of a batch, M = Σ min(K, O_i), ordered by image, then by query.

    Attributes:
        image: int64, M, position in the batch.
        query: int64, M, in [0, K).
        segment: int64, M, position among the segments of its image.
        images: B.
        queries: K.
    """

    image: Tensor
    query: Tensor
    segment: Tensor
    images: int
    queries: int

    def __len__(self) -> int:
        """M, the number of matched pairs."""
        return len(self.image)

    def rows(self, counts: Sequence[int]) -> Tensor:
        """The pairs' segments in the batch's segments laid end to end, int64, M; `counts`: O of each image."""
        first = torch.tensor([0, *counts[:-1]], device=self.image.device).cumsum(0)
        return first[self.image] + self.segment

    def of_queries(self, of_segments: Sequence[Tensor], *, unmatched: int = -1) -> Tensor:
        """A number of each segment, such as its label or its id, handed to the query that matched it.

        Args:
            of_segments: B × (int64, O_i).
            unmatched: the number of ∅.

        Returns:
            int64, B×K.
        """
        numbers = torch.full((self.images, self.queries), unmatched, device=self.image.device)
        rows = self.rows([len(of_image) for of_image in of_segments])
        numbers[self.image, self.query] = torch.cat(list(of_segments))[rows]
        return numbers


@torch.no_grad()
def match(
    class_cost: Tensor,
    mask_logits: Tensor,
    targets: Targets,
    at: PointTargets,
    *,
    class_weight: float,
    mask_weight: float,
    dice_weight: float,
) -> Assignment:
    """The cheapest one-to-one assignment of queries to segments, image by image.

    Args:
        class_cost: B×K×N, what each name costs each query.
        mask_logits: B×K×h×w.
        targets: the segments; an image may have none, or more than K (K of them are then matched).
        at: the same at the points of the comparison.
        class_weight: weight of naming.
        mask_weight: weight of the binary cross entropy.
        dice_weight: weight of dice.

    Raises:
        NonFiniteLossError: a cost is NaN or infinite.
    """
    logits = sample_points(mask_logits, at.coords)  # B×K×P
    masks, labels = targets.padded(at.values), targets.padded(targets.labels)  # B×O×P, B×O
    naming = class_cost.float().gather(2, labels[:, None].expand(-1, logits.shape[1], -1))  # B×K×O
    cost = class_weight * naming
    cost = cost + mask_weight * mask_bce_cost(logits, masks, at.weight)
    cost = cost + dice_weight * dice_cost(logits, masks, at.weight)
    return _cheapest(cost.cpu().numpy(), targets.counts, mask_logits.device)


def _cheapest(cost: np.ndarray, counts: tuple[int, ...], device: torch.device) -> Assignment:
    if not np.isfinite(cost).all():
        raise NonFiniteLossError("The matching cost is not finite.")
    pairs = [np.stack(linear_sum_assignment(of_image[:, :count])) for of_image, count in zip(cost, counts, strict=True)]
    position = np.repeat(np.arange(len(pairs)), [of_image.shape[1] for of_image in pairs])
    matched = np.concatenate([position[None], np.concatenate(pairs, axis=1)]).astype(np.int64)  # 3×M
    image, query, segment = torch.from_numpy(matched).to(device)
    return Assignment(image, query, segment, images=cost.shape[0], queries=cost.shape[1])


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
    ) -> tuple[dict[str, Tensor], Assignment]:
        """The losses of a batch, normalised by its number of matched segments (at least 1).

        Args:
            class_logits: L × (B×K×N), first to last layer.
            mask_logits: L × (B×K×h×w).
            masks: B × (bool, O_i×H×W), of one size; they cover what `mask_logits` cover.
            labels: B × (int64, O_i).
            ignore: B × (bool, H×W), pixels without weight.
            generator: on the CPU; all points come from it.

        Returns:
            `class`, `mask` and `dice`, weighted and summed over the layers; the assignment of the last layer.

        Raises:
            NonFiniteLossError: a matching cost is NaN or infinite.
        """
        targets = Targets.collate(masks, labels, ignore)
        points = StepPoints.draw(
            self.points,
            oversample=self.oversample,
            importance=self.importance,
            generator=generator,
            device=targets.masks.device,
        )
        matching, pool = targets.at(points.matching), targets.at(points.pool)
        layers: list[dict[str, Tensor]] = []
        for scores, logits in zip(class_logits, mask_logits, strict=True):
            assignment = self._match(scores, logits, targets, matching)
            named = assignment.of_queries(labels)  # B×K
            layers.append(
                {"class": self.class_weight * self._classification(scores, named, len(assignment))}
                | self._masks(logits, assignment, targets, points, pool)
            )
        return {name: torch.stack([layer[name] for layer in layers]).sum() for name in layers[0]}, assignment

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
        """The assignment of one layer, without a loss. Args and errors as `__call__`, but a single layer."""
        targets = Targets.collate(masks, labels, ignore)
        at = targets.at(uniform_points(self.points, generator, targets.masks.device))
        return self._match(class_logits, mask_logits, targets, at)

    def _match(self, scores: Tensor, logits: Tensor, targets: Targets, at: PointTargets) -> Assignment:
        if self.classification == "focal":
            cost = focal_cost(scores.detach(), alpha=self.focal_alpha, gamma=self.focal_gamma)
        else:
            cost = -scores.detach().float().softmax(-1)
        return match(
            cost,
            logits,
            targets,
            at,
            class_weight=self.class_weight,
            mask_weight=self.mask_weight,
            dice_weight=self.dice_weight,
        )

    def _classification(self, scores: Tensor, named: Tensor, matched: int) -> Tensor:
        """The loss of one layer's class logits, B×K×N, given the names of its queries, B×K (−1: ∅)."""
        scores, named = scores.flatten(0, 1), named.flatten()  # BK×N, BK
        if self.classification == "focal":
            return classification_focal(
                scores, named, alpha=self.focal_alpha, gamma=self.focal_gamma, normaliser=matched
            )
        no_object = scores.shape[1] - 1
        weight = torch.ones(no_object + 1, device=scores.device)
        weight[no_object] = self.no_object_weight
        return cross_entropy(scores.float(), torch.where(named < 0, no_object, named), weight)

    def _masks(
        self, mask_logits: Tensor, assignment: Assignment, targets: Targets, points: StepPoints, pool: PointTargets
    ) -> dict[str, Tensor]:
        """The mask losses of one layer's matched pairs, at their uncertain and at common points."""
        logits = mask_logits[assignment.image, assignment.query].float()  # M×h×w
        index = points.select(logits)  # M×P
        sampled = sample_points(logits[:, None], embedding(index, pool.coords))[:, 0]  # M×P
        values = pool.values[assignment.rows(targets.counts)].gather(1, index)
        weight = pool.weight[assignment.image].gather(1, index)
        matched = len(assignment)
        return {
            "mask": self.mask_weight * mask_bce(sampled, values, weight, normaliser=matched),
            "dice": self.dice_weight * mask_dice(sampled, values, weight, normaliser=matched),
        }
