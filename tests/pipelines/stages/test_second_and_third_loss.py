"""L_2 and L_3: which terms stand in them, which parts they train."""

import torch
from torch.nn.functional import normalize

from pipelines.generators.build import build_generator
from pipelines.generators.dump import QueryBatch
from pipelines.losses.focal import classification_focal
from pipelines.losses.matching_settings import MatchingSettings
from pipelines.models.build import build_head
from pipelines.models.projector_settings import ProjectorSettings
from pipelines.recipes.finetune import FinetuneSettings
from pipelines.recipes.load import override
from pipelines.recipes.recipe import Recipe
from pipelines.stages.finetune import union_losses
from pipelines.stages.train_cat import cat_losses

D, C, SEEN, UNSEEN = 16, 8, 5, 2


def _parts(*overrides: str):
    torch.manual_seed(0)
    recipe = override(Recipe(), ("cat.generator.hidden_dim=32", *overrides))
    head = build_head(ProjectorSettings(hidden_dim=16), query_dim=D, text_dim=C)
    generator = build_generator(recipe.cat.generator, query_dim=D, text_dim=C)
    labels = torch.tensor([[0, -1, 3], [4, 2, -1]])
    index = torch.arange(2)[:, None].expand_as(labels)
    batch = QueryBatch(torch.randn(2, 3, D), labels, labels >= 0, index)
    text = normalize(torch.randn(SEEN + UNSEEN, C), dim=-1)
    return recipe, head, generator, batch, text


def _cat(*overrides: str) -> dict[str, torch.Tensor]:
    recipe, head, generator, batch, text = _parts(*overrides)
    noise = torch.Generator().manual_seed(1)
    return cat_losses(generator, head, batch, text[:SEEN], recipe.cat, recipe.con.matching, noise)


def test_every_switch_of_the_second_stage_removes_its_term() -> None:
    assert set(_cat()) == {"mmd", "kl", "contrast", "supervision"}
    assert set(_cat("cat.query_contrast=false")) == {"mmd", "kl", "supervision"}
    assert set(_cat("cat.semantic_supervision=false")) == {"mmd", "kl", "contrast"}
    assert set(_cat("cat.generator.kind=gmmn")) == {"mmd", "contrast", "supervision"}


def test_unmatched_queries_only_make_the_contrast_harder() -> None:
    with_them, without = _cat(), _cat("cat.unmatched_negatives=false")
    assert with_them["contrast"] > without["contrast"]
    assert with_them["mmd"] == without["mmd"]


def test_weights_scale_their_terms() -> None:
    assert torch.allclose(2 * _cat()["contrast"], _cat("cat.contrast_weight=0.2")["contrast"])
    assert torch.allclose(3 * _cat()["kl"], _cat("cat.kl_weight=3.0")["kl"])


def _union(settings: FinetuneSettings) -> tuple[dict[str, torch.Tensor], tuple]:
    parts = _parts()
    _, head, generator, batch, text = parts
    noise = torch.Generator().manual_seed(1)
    return union_losses(head, generator.eval(), batch, text, SEEN, settings, MatchingSettings(), noise), parts


def test_the_real_term_is_the_focal_loss_over_the_seen_names() -> None:
    losses, (_, head, _, batch, text) = _union(FinetuneSettings())
    _, logits = head(batch.queries.flatten(0, 1), text[:SEEN])
    expected = classification_focal(logits, batch.labels.flatten(), alpha=0.25, gamma=2.0, normaliser=4)
    assert torch.equal(losses["real"], expected)
    among_all, _ = _union(FinetuneSettings(real_targets="all"))
    assert among_all["real"] > losses["real"]


def test_the_generator_is_not_trained_and_the_projector_is() -> None:
    losses, (_, head, generator, _, _) = _union(FinetuneSettings())
    sum(losses.values()).backward()
    assert all(p.grad is None for p in generator.parameters())
    assert all(p.grad is not None for p in head.projector.parameters())


def test_without_fcls_only_pseudo_queries_teach() -> None:
    losses, _ = _union(FinetuneSettings(real_focal=False, pseudo_seen=10))
    assert set(losses) == {"pseudo"}
