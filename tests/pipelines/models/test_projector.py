"""Projector and text classifier (eq. 1)."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from pipelines.models.projector import SemanticProjector, TextClassifier, build_projection_head
from pipelines.models.projector_settings import ProjectorSettings


def head(**changes):
    torch.manual_seed(0)
    return build_projection_head(ProjectorSettings(hidden_dim=8, **changes), query_dim=6, text_dim=4)


def test_logits_by_hand():
    classifier = TextClassifier(logit_scale=10.0, logit_bias=-4.0, learn=True)
    semantic = torch.tensor([[[3.0, 4.0], [0.0, 2.0]]])  # cosines with the axes: .6 .8, 0 1
    expected = torch.tensor([[[2.0, 4.0], [-4.0, 6.0]]])
    torch.testing.assert_close(classifier(semantic, torch.eye(2)), expected)


@given(st.floats(0.1, 50.0), st.floats(-6.0, 2.0), st.floats(0.01, 100.0))
def test_logits_do_not_depend_on_the_length_of_a_semantic_query(scale, bias, length):
    classifier = TextClassifier(logit_scale=scale, logit_bias=bias, learn=False)
    random = torch.Generator().manual_seed(0)
    semantic = torch.randn(3, 5, generator=random)
    text = F.normalize(torch.randn(7, 5, generator=random), dim=-1)
    logits = classifier(semantic, text)
    torch.testing.assert_close(classifier(length * semantic, text), logits, rtol=1e-4, atol=1e-4)
    assert logits.max() <= scale + bias + 1e-4
    assert logits.min() >= bias - scale - 1e-4


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_projector_is_two_linear_layers_with_the_activation_between(activation):
    projector = SemanticProjector(dim_in=6, hidden=8, dim_out=4, activation=activation)
    first, _, last = projector.layers
    queries = torch.randn(2, 3, 6)
    expected = getattr(F, activation)(queries @ first.weight.T + first.bias) @ last.weight.T + last.bias
    torch.testing.assert_close(projector(queries), expected)


def test_head_is_projector_then_classifier():
    module, queries, text = head(), torch.randn(2, 3, 6), torch.eye(4)
    semantic, logits = module(queries, text)
    torch.testing.assert_close(semantic, module.projector(queries))
    torch.testing.assert_close(logits, module.classifier(semantic, text))
    assert (semantic.shape, logits.shape) == ((2, 3, 4), (2, 3, 4))


def test_settings_start_scale_and_bias():
    module = head(logit_scale=7.0, logit_bias=-2.0)
    logits = module.classifier(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), torch.eye(4))
    torch.testing.assert_close(logits, torch.tensor([[5.0, -2.0, -2.0, -2.0]]))


def test_no_object_is_a_last_column_of_zeros():
    logits = torch.randn(2, 3, 4)
    extended = head().classifier.with_no_object(logits)
    assert extended.shape == (2, 3, 5)
    assert torch.equal(extended[..., :4], logits)
    assert not extended[..., 4].any()


def test_bias_is_the_prior_of_a_name_against_no_object():
    module = head(logit_bias=-math.log(4))  # four names of weight 1/4 against ∅ of weight 1
    module.projector.layers[-1].weight.data.zero_()
    module.projector.layers[-1].bias.data.zero_()  # cosine 0 to every name
    _, logits = module(torch.randn(1, 6), torch.eye(4))
    assert module.classifier.with_no_object(logits).softmax(-1)[0, -1].item() == pytest.approx(0.5)


def test_learn_scale_decides_what_trains():
    def learned(module):
        return sorted(name for name, p in module.named_parameters() if p.requires_grad)

    assert learned(head()) == sorted([*learned(head(learn_scale=False)), "classifier.log_scale", "classifier.bias"])
    module = head()
    module(torch.randn(2, 6), torch.eye(4))[1].sum().backward()
    assert all(p.grad is not None for p in module.parameters())
