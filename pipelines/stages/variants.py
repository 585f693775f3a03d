"""What eval scores: the increments of the inductive setting, the iterates of finetuning, and both candidate sets."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipelines.base.terms import Candidates
from pipelines.inference.probabilities import query_probabilities
from pipelines.models.extractor import Extractor, load_head
from pipelines.models.projector import ProjectionHead
from pipelines.recipes.recipe import Recipe
from pipelines.runs.run import StageContext
from pipelines.stages.judges.judge import Answer
from pipelines.vocabularies.vocabulary import Vocabulary

NOVEL_ONLY = ", unseen names alone"


@dataclass(frozen=True)
class Variant:
    """One way to score the same queries: a head, an increment on unseen logits, and the names that compete."""

    head: ProjectionHead
    increment: float
    candidates: Candidates = "generalised"


def inductive(increment: float) -> str:
    """The name of the variant with this increment on unseen logits."""
    return f"increment {increment:g}"


def _iterate(step: int) -> str:
    return f"iterate {step:06d}"


def variants_of(
    context: StageContext, extractor: Extractor, vocabulary: Vocabulary, text_dim: int, device: torch.device
) -> dict[str, Variant]:
    """Everything that is scored, by name: the increments of the inductive setting, the iterates of finetuning."""
    recipe = context.recipe
    increments = sorted({*recipe.eval.sweep, recipe.eval.increment})
    variants = {inductive(increment): Variant(extractor.head, increment) for increment in increments}
    iterates = context.inputs.get("iterates")  # none in an inductive run
    for path in sorted(iterates.glob("[0-9]*.safetensors")) if iterates else []:
        head = load_head(path, recipe.con, recipe.con.segmentor.hidden_dim, text_dim, prefix="").to(device).eval()
        variants[_iterate(int(path.stem))] = Variant(head, 0.0)
    if recipe.eval.novel_only and 0 < len(vocabulary.unseen) < len(vocabulary):
        for name in written_variants(recipe, variants).values():
            variants[name + NOVEL_ONLY] = replace(variants[name], candidates="novel-only")
    return variants


def written_variants(recipe: Recipe, variants: Mapping[str, Variant]) -> dict[str, str]:
    """The setting's name → the variant whose predictions are kept: the preset increment and the last iterate."""
    iterates = [name for name in variants if name.startswith("iterate") and NOVEL_ONLY not in name]
    written = {"inductive": inductive(recipe.eval.increment)}
    return written | ({"transductive": max(iterates)} if iterates else {})


class Answers:
    """Class probabilities of every variant, from the queries of an image."""

    def __init__(self, variants: Mapping[str, Variant], vocabulary: Vocabulary, text: Tensor, *, softmax: bool) -> None:
        self.variants, self.text, self.softmax = variants, text, softmax
        self.unseen = torch.tensor([category.unseen for category in vocabulary.categories], device=text.device)

    @torch.inference_mode()
    def __call__(self, queries: Tensor) -> dict[str, Answer]:
        """Queries are V, K×D."""
        return {
            name: Answer(self._probabilities(variant, queries), variant.candidates)
            for name, variant in self.variants.items()
        }

    def _probabilities(self, variant: Variant, queries: Tensor) -> Tensor:
        return query_probabilities(
            variant.head,
            queries,
            self.text,
            self.unseen,
            increment=variant.increment,
            softmax=self.softmax,
            novel_only=variant.candidates == "novel-only",
        )
