"""A page of training images as the extractor sees them now: image, ground truth, prediction among seen names."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from pipelines.base.seeding import derive_seed
from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.draw.overlay import Picture
from pipelines.draw.panels import panel_page
from pipelines.inference.extract import Extracted, extract
from pipelines.inference.probabilities import query_probabilities
from pipelines.models.extractor import Extractor
from pipelines.predict.painting import Painting, paint
from pipelines.recipes.recipe import Recipe
from pipelines.stages.panels import truth_overlay
from pipelines.vocabularies.vocabulary import Vocabulary


class TrainingPanels:
    """The same few training images at every call, chosen by the seed.

    Args:
        fabric: whose precision the extractor runs in.
        seen: the names that training knows; no others are predicted.
        text: their embeddings, N×C.
    """

    def __init__(
        self,
        fabric: Fabric,
        extractor: Extractor,
        data: LabelledImages,
        seen: Vocabulary,
        text: Tensor,
        recipe: Recipe,
    ) -> None:
        self.fabric, self.extractor, self.data, self.seen, self.text = fabric, extractor, data, seen, text
        self.recipe, self.painting = recipe, Painting(recipe.task, recipe.eval)
        draws = torch.Generator().manual_seed(derive_seed(recipe.seed, "train-con", "panels"))
        self.indices = torch.randperm(len(data), generator=draws)[: recipe.con.panels].tolist()

    def __call__(self) -> NDArray[np.uint8]:
        """The page, H×W×3; random state and modules stay as they are."""
        with _evaluating(self.extractor), torch.random.fork_rng(), self.fabric.autocast():
            found = extract(
                self.extractor,
                self.data,
                self.indices,
                input=self.recipe.con.input,
                batch_size=1,
                device=self.text.device,
            )
            rows = [
                (self.data.file_name(index), self._row(index, extracted))
                for index, extracted in zip(self.indices, found, strict=True)
            ]
        return np.asarray(panel_page(rows))

    def _row(self, index: int, extracted: Extracted) -> list[tuple[str, Picture]]:
        pixels = extracted.sample.image.permute(1, 2, 0).numpy()
        prediction = paint(
            self.painting,
            self._probabilities(extracted.queries),
            extracted.mask_logits,
            extracted.padding,
            pixels=pixels,
            vocabulary=self.seen,
        )
        truth = truth_overlay(self.data, index, self.seen)
        return [("image", pixels), ("ground truth", truth), ("prediction", np.asarray(prediction.overlay()))]

    @torch.no_grad()
    def _probabilities(self, queries: Tensor) -> Tensor:
        """P of every query among the seen names, K×N."""
        return query_probabilities(
            self.extractor.head,
            queries,
            self.text,
            torch.zeros(len(self.seen), dtype=torch.bool, device=queries.device),
            softmax=self.recipe.con.matching.classification == "softmax",
        )


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards each module is in its own mode again, frozen ones too."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
