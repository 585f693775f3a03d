import pytest
import torch
from torch.nn.functional import normalize

from pipelines.inference.probabilities import class_probabilities, query_probabilities
from pipelines.models.projector import ProjectionHead, build_projection_head
from pipelines.models.projector_settings import ProjectorSettings


def test_the_increment_goes_to_unseen_logits_alone() -> None:
    logits = torch.tensor([[0.0, -1.0], [2.0, -3.0]])
    probabilities = class_probabilities(logits, torch.tensor([False, True]), 1.0)
    assert torch.allclose(probabilities, torch.tensor([[0.5, 0.5], [0.8808, 0.1192]]), atol=1e-4)
    assert torch.equal(class_probabilities(logits, torch.tensor([False, True]), 0.0), logits.sigmoid())


def _head() -> ProjectionHead:
    torch.manual_seed(0)
    return build_projection_head(ProjectorSettings(hidden_dim=8), query_dim=4, text_dim=3)


def test_with_a_softmax_names_share_what_no_object_leaves() -> None:
    head, queries, text = _head(), torch.randn(5, 4), normalize(torch.randn(2, 3), dim=1)
    unseen = torch.tensor([False, True])
    logits = head(queries, text)[1]
    shares = torch.cat([logits + torch.tensor([0.0, 0.5]), torch.zeros(5, 1)], dim=1).exp()
    expected = (shares / shares.sum(1, keepdim=True))[:, :2]
    assert torch.allclose(query_probabilities(head, queries, text, unseen, increment=0.5, softmax=True), expected)


@pytest.mark.parametrize("softmax", [False, True])
def test_names_that_do_not_compete_get_nothing(softmax: bool) -> None:
    head, queries, text = _head(), torch.randn(5, 4), normalize(torch.randn(3, 3), dim=1)
    unseen = torch.tensor([False, True, True])
    alone = query_probabilities(head, queries, text, unseen, increment=1.0, softmax=softmax, novel_only=True)
    assert torch.equal(alone[:, 0], torch.zeros(5))
    assert torch.allclose(
        alone[:, 1:], query_probabilities(head, queries, text[1:], unseen[1:], increment=1.0, softmax=softmax)
    )
