"""Mask2Former and MaskFormer: shapes, alignment of queries and masks, batching, gradients, files, silence."""

import copy
import logging
import socket

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn

from pipelines.base.errors import ConcatError, ProtocolError
from pipelines.segmentors.backbone import Backbone
from pipelines.segmentors.build import build_segmentor
from pipelines.segmentors.frozen_batch_norm import FrozenBatchNorm, freeze_batch_norms
from pipelines.segmentors.mask2former_settings import Mask2FormerSettings
from pipelines.segmentors.maskformer_settings import MaskFormerSettings
from pipelines.segmentors.parameters import parameter_groups

COMMON = {
    "backbone": "test_resnet", "backbone_weights": "none", "hidden_dim": 64, "feedforward_dim": 128, "queries": 20,
    "decoder_layers": 3, "heads": 4,
}  # fmt: skip
SMALL = {
    "mask2former": Mask2FormerSettings(encoder_feedforward_dim=128, encoder_layers=1, **COMMON),
    "maskformer": MaskFormerSettings(**COMMON),
}
RATES = {"learning_rate": 1e-3, "backbone_factor": 0.1, "weight_decay": 0.05, "decay_biases": True}
KINDS = pytest.mark.parametrize("kind", ["mask2former", "maskformer"])


def small(kind, **changes):
    torch.manual_seed(0)
    return build_segmentor(SMALL[kind].model_copy(update=changes))


def images(count, height=96, width=96, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=random)


@KINDS
@pytest.mark.parametrize(("height", "width"), [(96, 96), (64, 128)])
def test_output_has_queries_and_stride_4_masks_of_every_layer(kind, height, width):
    output = small(kind)(images(2, height, width))
    layers = 4 if kind == "mask2former" else 3  # Mask2Former also predicts before its first layer
    assert [tuple(q.shape) for q in output.queries] == [(2, 20, 64)] * layers
    assert [tuple(m.shape) for m in output.mask_logits] == [(2, 20, height // 4, width // 4)] * layers


@KINDS
def test_masks_of_a_layer_are_made_of_its_queries(kind):
    segmentor = small(kind).eval()
    seen = {}
    decoder = segmentor.model.pixel_level_module.decoder
    decoder.mask_projection.register_forward_hook(lambda _, __, pixels: seen.update(pixels=pixels))
    with torch.no_grad():
        output = segmentor(images(2))
    embed = (
        segmentor.mask_embedder
        if kind == "maskformer"
        else segmentor.model.transformer_module.decoder.mask_predictor.mask_embedder
    )
    for queries, masks in zip(output.queries, output.mask_logits, strict=True):
        expected = torch.einsum("bkd,bdhw->bkhw", embed(queries), seen["pixels"])
        torch.testing.assert_close(masks, expected, rtol=1e-4, atol=1e-4)


def test_mask2former_is_that_of_transformers():
    segmentor = small("mask2former", backbone="resnet18").train()
    model = segmentor.model
    model.transformer_module.decoder.layerdrop = 0.0
    with torch.no_grad():
        for parameter in model.parameters():  # biases and offsets that do something
            parameter.add_(0.02 * torch.randn(parameter.shape))
    theirs = model(pixel_values=images(2, 64, 96), output_hidden_states=True)
    ours = segmentor(images(2, 64, 96))
    expected = [states.transpose(0, 1) for states in theirs.transformer_decoder_intermediate_states]
    gradients = []
    for queries, masks in ((expected, theirs.masks_queries_logits), (ours.queries, ours.mask_logits)):
        segmentor.zero_grad()
        sum((t**2).mean() for t in [*queries, *masks]).backward()
        gradients.append({name: p.grad for name, p in segmentor.named_parameters()})
    for given, wanted in zip(ours.queries, expected, strict=True):
        torch.testing.assert_close(given, wanted, rtol=1e-4, atol=1e-4)
    for given, wanted in zip(ours.mask_logits, theirs.masks_queries_logits, strict=True):
        torch.testing.assert_close(given, wanted, rtol=1e-3, atol=1e-3)
    whole = torch.stack([g.norm() for g in gradients[0].values()]).norm()
    for name, wanted in gradients[0].items():
        assert (gradients[1][name] - wanted).norm() <= 1e-3 * wanted.norm() + 1e-4 * whole, name


def test_frozen_batch_norms_are_those_of_evaluation_and_learn_nothing():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU())
    for own in (net[1].weight, net[1].bias, net[1].running_mean, net[1].running_var):
        own.data.uniform_(0.5, 2.0)
    pixels = torch.randn(2, 3, 5, 5)
    expected = net.eval()(pixels)
    holder = nn.ModuleDict({"net": net})
    freeze_batch_norms(holder)
    holder.train()
    before = {name: own.clone() for name, own in holder.state_dict().items()}
    torch.testing.assert_close(holder["net"](pixels), expected)
    torch.testing.assert_close(holder["net"](pixels[:1]), expected[:1])  # whatever else is in the batch
    assert [name for name, _ in holder.named_parameters()] == ["net.0.weight", "net.0.bias"]
    assert all(torch.equal(own, before[name]) for name, own in holder.state_dict().items())


def test_a_frozen_segmentor_in_training_does_not_see_its_neighbours():
    segmentor = small("mask2former", batch_norm="frozen", backbone="resnet18").train()
    together, alone = segmentor(images(3, 64, 64)), segmentor(images(3, 64, 64)[1:2])
    torch.testing.assert_close(together.mask_logits[-1][1:2], alone.mask_logits[-1], rtol=1e-3, atol=1e-3)


def test_the_pixel_decoder_starts_as_in_the_original():
    decoder = small("mask2former", hidden_dim=256).model.pixel_level_module.decoder
    assert decoder.mask_projection.weight.std().item() == pytest.approx(1 / 16, rel=0.02)  # 1 / √256
    assert decoder.output_convolutions[0][0].weight.std().item() == pytest.approx((9 * 256) ** -0.5, rel=0.02)
    theirs = small("mask2former", hidden_dim=256, initialisation="transformers").model.pixel_level_module.decoder
    assert theirs.mask_projection.weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_queries_are_the_layer_normed_outputs_of_the_layers():
    kind = "maskformer"
    segmentor = small(kind).eval()
    decoder = segmentor.model.transformer_module.decoder
    with torch.no_grad():  # a norm that does something, so that forgetting or repeating it shows
        decoder.layernorm.weight.uniform_(0.5, 2.0)
        decoder.layernorm.bias.uniform_(-1.0, 1.0)
    outputs = []
    for layer in decoder.layers:
        layer.register_forward_hook(lambda _, __, out: outputs.append(out[0] if isinstance(out, tuple) else out))
    with torch.no_grad():
        queries = segmentor(images(2)).queries
        expected = [decoder.layernorm(states) for states in outputs]
    for given, wanted in zip(queries[-3:], expected, strict=True):
        torch.testing.assert_close(given, wanted)
    assert not torch.allclose(queries[-1][0], queries[-1][1])  # they tell images apart


@KINDS
def test_batched_equals_single(kind):
    segmentor = small(kind).eval()
    batch = images(3)
    with torch.no_grad():
        together = segmentor(batch)
        for row in range(3):
            alone = segmentor(batch[row : row + 1])
            torch.testing.assert_close(alone.queries[-1][0], together.queries[-1][row], rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(alone.mask_logits[-1][0], together.mask_logits[-1][row], rtol=1e-3, atol=1e-3)


@KINDS
def test_gradient_reaches_every_parameter(kind):
    segmentor = small(kind)
    output = segmentor(images(2))
    sum((t**2).mean() for t in [*output.queries, *output.mask_logits]).backward()
    assert [name for name, p in segmentor.named_parameters() if p.grad is None] == []
    assert all(torch.isfinite(p.grad).all() for p in segmentor.parameters())


@KINDS
def test_training_repeats_bit_for_bit_under_deterministic_algorithms(kind):
    def trained():
        segmentor = small(kind)
        optimiser = torch.optim.AdamW(parameter_groups(segmentor, **RATES))
        for step in range(2):
            output = segmentor(images(2, 64, 64, seed=step))
            optimiser.zero_grad()
            sum((t**2).mean() for t in [*output.queries, *output.mask_logits]).backward()
            optimiser.step()
        return segmentor.state_dict()

    torch.use_deterministic_algorithms(True)
    try:
        first, second = trained(), trained()
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(first[name], second[name]) for name in first)


@KINDS
def test_training_works_after_inference_mode_in_the_same_process(kind):
    # transformers caches position embeddings; one made in inference mode must not spoil a later backward pass.
    segmentor = small(kind)
    with torch.inference_mode():
        segmentor(images(2, 32, 160))
    segmentor(images(2, 32, 160)).mask_logits[-1].sum().backward()


@KINDS
def test_state_dict_survives_safetensors_strictly(kind, tmp_path):
    segmentor = small(kind).eval()
    save_file(segmentor.state_dict(), tmp_path / "model.safetensors")  # refuses shared or strided tensors
    torch.manual_seed(1)
    other = build_segmentor(SMALL[kind], load_weights=False).eval()
    other.load_state_dict(load_file(tmp_path / "model.safetensors"), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(other(images(1)).mask_logits[-1], segmentor(images(1)).mask_logits[-1])


@KINDS
def test_copies_do_not_share_parameters(kind):
    segmentor = small(kind).eval()
    twin = copy.deepcopy(segmentor)
    with torch.no_grad():
        before = segmentor(images(1)).mask_logits[-1]
        for parameter in twin.parameters():
            parameter.add_(1.0)
        assert torch.equal(segmentor(images(1)).mask_logits[-1], before)
        assert not torch.equal(twin(images(1)).mask_logits[-1], before)


def test_dropout_never_skips_whole_decoder_layers():
    segmentor = small("mask2former", dropout=0.9).train()
    for _ in range(3):
        assert len(segmentor(images(2, 32, 64)).queries) == 4


def test_widths_that_do_not_fit_are_refused():
    with pytest.raises(ConcatError, match=r"hidden_dim is 48"):
        small("mask2former", hidden_dim=48)
    with pytest.raises(ConcatError, match="5 heads"):
        small("maskformer", heads=5)


def test_sides_that_do_not_divide_are_refused():
    with pytest.raises(ConcatError, match="100×96"):
        small("mask2former")(images(1, 100, 96))


def test_clip_backbone_is_refused_before_anything_is_built():
    with pytest.raises(ProtocolError, match="CLIP"):
        small("mask2former", backbone="resnet50_clip")


def test_parameter_groups_are_a_partition_with_the_right_rates():
    segmentor = small("mask2former", batch_norm="trained")
    frozen = segmentor.model.transformer_module.queries_embedder.weight.requires_grad_(False)
    holder = nn.ModuleDict({"segmentor": segmentor, "head": nn.Linear(64, 8)})
    holder.scale = nn.Parameter(torch.tensor(2.0))
    groups = parameter_groups(holder, **RATES)
    of = {id(p): group for group in groups for p in group["params"]}
    trainable = [p for p in holder.parameters() if p.requires_grad]
    assert len(of) == len(trainable) == sum(len(group["params"]) for group in groups)
    assert id(frozen) not in of
    backbone = segmentor.model.pixel_level_module.encoder
    assert isinstance(backbone, Backbone)
    assert {of[id(p)]["lr"] for p in backbone.parameters()} == {1e-4}
    assert of[id(holder["head"].weight)] | {"params": 0} == {
        "name": "heads", "params": 0, "lr": 1e-3, "weight_decay": 0.05
    }  # fmt: skip
    model = segmentor.model
    for still in (
        holder.scale,
        model.pixel_level_module.decoder.level_embed,
        model.transformer_module.queries_features.weight,
        model.transformer_module.decoder.layernorm.weight,
        backbone.net.bn1.weight,
    ):
        assert of[id(still)]["weight_decay"] == 0.0
    assert of[id(holder["head"].bias)]["weight_decay"] == 0.05
    of = {id(p): own for own in parameter_groups(holder, **RATES | {"decay_biases": False}) for p in own["params"]}
    assert of[id(holder["head"].bias)]["weight_decay"] == 0.0


@KINDS
def test_building_and_running_says_nothing_and_needs_no_network(kind, monkeypatch, capfd, recwarn):
    def refuse(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    remarks = []
    library = logging.getLogger("transformers")
    monkeypatch.setattr(library, "handlers", [logging.NullHandler()])
    monkeypatch.setattr(library.handlers[0], "handle", remarks.append)
    transformers.utils.logging.get_logger("any").warning_once.cache_clear()  # what was said once may be said again
    verbosity = transformers.utils.logging.get_verbosity()
    small(kind)(images(2, 64, 64))
    assert [record.getMessage() for record in remarks] == []
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
    assert transformers.utils.logging.get_verbosity() == verbosity


def test_a_dilated_last_stage_keeps_sizes_and_weights_and_sees_farther():
    plain = small("mask2former", backbone="resnet50", batch_norm="frozen").model.pixel_level_module.encoder
    dilated = small("mask2former", backbone="resnet50", batch_norm="frozen", last_stage_dilation=(1, 2, 4))
    dilated = dilated.model.pixel_level_module.encoder
    assert all(torch.equal(own, dilated.state_dict()[name]) for name, own in plain.state_dict().items())
    for module in (*plain.modules(), *dilated.modules()):
        if isinstance(module, FrozenBatchNorm):
            module.scale.fill_(1.0)  # timm starts the last one of a block at zero
    with torch.no_grad():
        maps, far = plain(images(1, 192, 192)).feature_maps, dilated(images(1, 192, 192)).feature_maps
    assert [m.shape for m in maps] == [m.shape for m in far]
    assert torch.equal(maps[2], far[2])
    assert (maps[3] - far[3]).norm() > 1e-2 * maps[3].norm()
    with pytest.raises(ConcatError, match="no last stage of 3 ResNet blocks"):
        small("mask2former", last_stage_dilation=(1, 2, 4))
