"""CVAE and GMMN: shapes, the condition, randomness, evaluation mode."""

import math

import pytest
import torch
from torch import nn

from pipelines.generators.build import build_generator
from pipelines.generators.cvae import Cvae
from pipelines.generators.cvae_settings import CvaeSettings
from pipelines.generators.gmmn import Gmmn
from pipelines.generators.gmmn_settings import GmmnSettings

D, C, H = 6, 4, 16
KINDS = pytest.mark.parametrize("kind", ["cvae", "gmmn"])


def build(kind="cvae", latent_dim=0, **changes):
    torch.manual_seed(0)
    if kind == "cvae":
        settings = CvaeSettings(hidden_dim=H, latent_dim=latent_dim, **changes)
    else:
        settings = GmmnSettings(hidden_dim=H, noise_dim=latent_dim, **changes)
    return build_generator(settings, query_dim=D, text_dim=C)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def text(rows):
    return nn.functional.normalize(torch.randn(rows, C, generator=seeded(9)), dim=-1)


@KINDS
@pytest.mark.parametrize("latent", [0, 10])
def test_shapes(kind, latent):
    generator = build(kind, latent_dim=latent)
    output = generator(torch.randn(5, D), text(5), seeded())
    assert output.generated.shape == (5, D)
    if kind == "cvae":
        assert output.mu.shape == output.log_var.shape == (5, latent or C)
    else:
        assert output.mu is output.log_var is None
    assert generator.generate(text(3), seeded()).shape == (3, D)


@KINDS
def test_evaluation_repeats_with_the_seed_and_treats_rows_alone(kind):
    generator = build(kind)
    generator(torch.randn(8, D), text(8), seeded())  # moves the running statistics
    generator.eval()
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    names = text(8)
    with torch.no_grad():
        first = generator.generate(names, seeded(1))
        assert torch.equal(first, generator.generate(names, seeded(1)))
        assert not torch.equal(first, generator.generate(names, seeded(2)))
        torch.testing.assert_close(generator.generate(names[:4], seeded(1)), first[:4])
        assert generator.generate(text(0), seeded()).shape == (0, D)
    assert all(torch.equal(before[name], value) for name, value in generator.state_dict().items())


@KINDS
def test_global_randomness_is_left_alone(kind):
    generator = build(kind)
    torch.manual_seed(5)
    generator(torch.zeros(4, D), text(4), seeded())
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))


@KINDS
def test_text_decides_what_is_generated(kind):
    generator = build(kind).eval()
    one, other = torch.eye(C)[:1], torch.eye(C)[1:2]
    assert not torch.allclose(generator.generate(one, seeded()), generator.generate(other, seeded()))


@KINDS
def test_gradient_reaches_every_parameter(kind):
    generator = build(kind, latent_dim=7)
    output = generator(torch.randn(8, D), text(8), seeded())
    terms = [t for t in (output.generated, output.mu, output.log_var) if t is not None]
    sum((t**2).sum() for t in terms).backward()
    assert [name for name, p in generator.named_parameters() if p.grad is None] == []


def test_encoder_and_decoder_have_four_linear_layers_with_a_plain_end():
    generator = build()
    for part in (generator.encoder, generator.decoder):
        kinds = [type(layer) for layer in part]
        assert kinds == [nn.Linear, nn.BatchNorm1d, nn.LeakyReLU] * 3 + [nn.Linear]


def test_latent_by_hand():
    generator = build(condition_scale=3.0).eval()
    generator.encoder = nn.Linear(D, 2 * C)  # any encoder
    generator.decoder = nn.Identity()
    queries, a = torch.randn(5, D), text(5)
    mu, log_var = generator.encoder(queries).split(C, dim=1)
    noise = torch.randn(5, C, generator=seeded(4))
    output = generator(queries, a, seeded(4))
    torch.testing.assert_close(output.generated, mu + torch.exp(log_var / 2) * noise + 3.0 * a)
    torch.testing.assert_close(generator.generate(a, seeded(4)), noise + 3.0 * a)


def test_log_variance_is_clamped():
    generator = build().eval()
    generator.encoder = nn.Linear(D, 2 * C)
    nn.init.zeros_(generator.encoder.weight)
    nn.init.constant_(generator.encoder.bias, 100.0)
    output = generator(torch.zeros(2, D), text(2), seeded())
    assert output.log_var.unique().tolist() == [8.0]
    assert output.mu.unique().tolist() == [100.0]


@pytest.mark.parametrize(("scale", "expected"), [(0.0, math.sqrt(C)), (1.0, 1.0), (2.5, 2.5)])
def test_condition_scale(scale, expected):
    for kind, part in (("cvae", Cvae), ("gmmn", Gmmn)):
        generator = build(kind, condition_scale=scale)
        assert isinstance(generator, part)
        assert generator.condition_scale == pytest.approx(expected)


def test_condition_is_the_identity_only_at_equal_widths():
    assert list(build(latent_dim=C).condition.parameters()) == []
    assert build(latent_dim=9).condition.weight.shape == (9, C)
