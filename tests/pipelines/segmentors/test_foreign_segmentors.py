"""Weights of whole segmentors: every format read back bit for bit, and every name accounted for."""

import json
import pickle
import re

import pytest
import torch
from foreign_weights import RGB, SMALL, foreign_names, images, same, small
from safetensors.torch import save_file

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.segmentors.build import build_and_start, build_segmentor
from pipelines.segmentors.foreign import detectron2, mmdet, own, transformers_layout
from pipelines.segmentors.foreign import hub as hub_module
from pipelines.segmentors.foreign.torchvision import TORCHVISION
from pipelines.segmentors.frozen_batch_norm import freeze_batch_norms

KINDS = pytest.mark.parametrize("kind", ["mask2former", "maskformer"])
D2_BACKBONE = detectron2.BACKBONES[-1]

# A layer of each stack, as the originals' modules spell it.
MASK2FORMER_LAYER = {
    "detectron2": [
        *(f"sem_seg_head.predictor.transformer_{x}_layers.1.{y}" for x, ys in {
            "self_attention": ["self_attn.in_proj_weight", "self_attn.in_proj_bias", "self_attn.out_proj.weight",
                               "self_attn.out_proj.bias", "norm.weight", "norm.bias"],
            "cross_attention": ["multihead_attn.in_proj_weight", "multihead_attn.in_proj_bias",
                                "multihead_attn.out_proj.weight", "multihead_attn.out_proj.bias", "norm.weight",
                                "norm.bias"],
            "ffn": ["linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias", "norm.weight", "norm.bias"],
        }.items() for y in ys),
        *(f"sem_seg_head.pixel_decoder.transformer.encoder.layers.1.{x}.{y}" for x in (
            "self_attn.sampling_offsets", "self_attn.attention_weights", "self_attn.value_proj",
            "self_attn.output_proj", "norm1", "linear1", "linear2", "norm2") for y in ("weight", "bias")),
    ],
    "mmdet": [
        *(f"panoptic_head.transformer_decoder.layers.1.{x}" for x in (
            "self_attn.attn.in_proj_weight", "self_attn.attn.in_proj_bias", "cross_attn.attn.in_proj_weight",
            "cross_attn.attn.in_proj_bias")),
        *(f"panoptic_head.transformer_decoder.layers.1.{x}.{y}" for x in (
            "self_attn.attn.out_proj", "cross_attn.attn.out_proj", "ffn.layers.0.0", "ffn.layers.1", "norms.0",
            "norms.1", "norms.2") for y in ("weight", "bias")),
        *(f"panoptic_head.pixel_decoder.encoder.layers.1.{x}.{y}" for x in (
            "self_attn.sampling_offsets", "self_attn.attention_weights", "self_attn.value_proj",
            "self_attn.output_proj", "norms.0", "norms.1", "ffn.layers.0.0", "ffn.layers.1")
          for y in ("weight", "bias")),
    ],
}  # fmt: skip
MASK2FORMER_REST = {
    "detectron2": [
        "sem_seg_head.pixel_decoder.input_proj.0.0.weight", "sem_seg_head.pixel_decoder.input_proj.2.1.bias",
        "sem_seg_head.pixel_decoder.transformer.level_embed", "sem_seg_head.pixel_decoder.mask_features.weight",
        "sem_seg_head.pixel_decoder.adapter_1.weight", "sem_seg_head.pixel_decoder.adapter_1.norm.weight",
        "sem_seg_head.pixel_decoder.layer_1.weight", "sem_seg_head.pixel_decoder.layer_1.norm.bias",
        "sem_seg_head.predictor.decoder_norm.weight", "sem_seg_head.predictor.query_feat.weight",
        "sem_seg_head.predictor.query_embed.weight", "sem_seg_head.predictor.level_embed.weight",
        "sem_seg_head.predictor.mask_embed.layers.2.bias", "backbone.stem.conv1.weight",
        "backbone.stem.conv1.norm.running_var", "backbone.res2.0.conv1.weight", "backbone.res5.1.conv2.norm.bias",
        "backbone.res3.0.shortcut.weight", "backbone.res3.0.shortcut.norm.running_mean",
    ],
    "mmdet": [
        "panoptic_head.pixel_decoder.input_convs.0.conv.weight", "panoptic_head.pixel_decoder.input_convs.2.gn.bias",
        "panoptic_head.pixel_decoder.level_encoding.weight", "panoptic_head.pixel_decoder.lateral_convs.0.conv.weight",
        "panoptic_head.pixel_decoder.lateral_convs.0.gn.weight", "panoptic_head.pixel_decoder.mask_feature.bias",
        "panoptic_head.pixel_decoder.output_convs.0.conv.weight", "panoptic_head.pixel_decoder.output_convs.0.gn.bias",
        "panoptic_head.transformer_decoder.post_norm.weight", "panoptic_head.query_embed.weight",
        "panoptic_head.query_feat.weight", "panoptic_head.level_embed.weight", "panoptic_head.mask_embed.4.weight",
        "backbone.conv1.weight", "backbone.layer1.0.conv1.weight", "backbone.layer4.1.bn2.num_batches_tracked",
    ],
}  # fmt: skip


def zoo(kind, segmentor, **more):
    """A file of Detectron2's zoo: NumPy arrays, a class head and a loss's buffer among them."""
    named = foreign_names(segmentor, kind, detectron2.SEGMENTORS, D2_BACKBONE, counters=False)
    named["sem_seg_head.predictor.class_embed.weight"] = torch.zeros(134, 32)
    named["sem_seg_head.predictor.class_embed.bias"] = torch.zeros(134)
    named["criterion.empty_weight"] = torch.ones(134)
    return {"model": {name: value.numpy() for name, value in named.items()}, "__author__": "third_party", **more}


def write_zoo(path, kind, segmentor, **more):
    path.write_bytes(pickle.dumps(zoo(kind, segmentor, **more), protocol=2))
    return path


def started(kind, path, **changes):
    torch.manual_seed(99)
    segmentor, start = build_and_start(SMALL[kind].model_copy(update={"weights": str(path), **changes}))
    return segmentor.eval(), start


@KINDS
def test_detectron2s_zoo_is_read_bit_for_bit(tmp_path, kind):
    original = small(kind)
    read, start = started(kind, write_zoo(tmp_path / "model_final.pkl", kind, original))
    assert same(original, read)
    assert start.format == "Detectron2"
    head = "sem_seg_head.predictor.class_embed"
    assert set(start.left) == {f"{head}.weight", f"{head}.bias", "criterion.empty_weight"}
    assert set(start.used) | set(start.left) == set(zoo(kind, original)["model"])
    assert start.noted()["used"] == len(start.used)


@KINDS
def test_padings_and_other_trainings_pth_is_read_too(tmp_path, kind):
    original = small(kind)
    named = foreign_names(original, kind, detectron2.SEGMENTORS, D2_BACKBONE, counters=False)
    named |= {"new_fc.weight": torch.zeros(134, 32), "generator.layers.0.linear1.weight": torch.zeros(8, 8)}
    optimiser = {"state": {0: {"step": 5, "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]}
    torch.save({"model": named, "optimizer": optimiser, "iteration": 9}, tmp_path / "model.pth")
    read, start = started(kind, tmp_path / "model.pth")
    assert same(original, read)
    assert start.left == ("new_fc.weight", "generator.layers.0.linear1.weight")


def test_names_of_detectron2s_first_versions_are_known(tmp_path):
    for kind, old in (("maskformer", {}), ("mask2former", {"query_feat": "static_query"})):
        original, path = small(kind), tmp_path / f"{kind}.pkl"
        named = zoo(kind, original)["model"]
        for new, earlier in {"sem_seg_head.pixel_decoder.": "sem_seg_head.", **old}.items():
            named = {name.replace(new, earlier): value for name, value in named.items()}
        path.write_bytes(pickle.dumps({"model": named, "__author__": "third_party"}))
        read, start = started(kind, path)
        assert same(original, read)
        assert set(start.used) | set(start.left) == set(named)


@KINDS
def test_mmdetection_is_read_bit_for_bit(tmp_path, kind):
    original = small(kind)
    named = foreign_names(original, kind, mmdet.SEGMENTORS, TORCHVISION)
    named |= {"panoptic_head.cls_embed.weight": torch.zeros(134, 32), "panoptic_head.cls_embed.bias": torch.zeros(134)}
    torch.save({"state_dict": named, "meta": {"dataset_meta": {"classes": ("person",)}}}, tmp_path / "m.pth")
    read, start = started(kind, tmp_path / "m.pth")
    assert same(original, read)
    assert start.format == "MMDetection"
    assert start.left == ("panoptic_head.cls_embed.weight", "panoptic_head.cls_embed.bias")


@KINDS
@pytest.mark.parametrize("form", ["safetensors", "parts", "bin", "bin parts", "bare", "file"])
def test_transformers_is_read_bit_for_bit(tmp_path, kind, form):
    original = small(kind)
    named = foreign_names(original, kind, transformers_layout.SEGMENTORS, transformers_layout.RESNET)
    named |= {"class_predictor.weight": torch.zeros(134, 32), "class_predictor.bias": torch.zeros(134)}
    if form == "bare" and kind == "mask2former":  # the model without its heads
        named = {n.removeprefix("model."): v for n, v in named.items() if n.startswith("model.")}
    path = _folder(tmp_path, named, form)
    read, start = started(kind, path)
    assert same(original, read)
    assert start.format == "transformers"
    assert set(start.left) == {name for name in named if name.startswith("class_predictor")}


def _folder(folder, named, form):
    name, save = ("pytorch_model.bin", torch.save) if form.startswith("bin") else ("model.safetensors", save_file)
    if "parts" in form:
        half = len(named) // 2
        halves = [dict(list(named.items())[:half]), dict(list(named.items())[half:])]
        stem, suffix = name.split(".")
        files = [f"{stem}-{k + 1:05d}-of-00002.{suffix}" for k in (0, 1)]
        for file, part in zip(files, halves, strict=True):
            save(part, folder / file)
        weight_map = {key: file for file, part in zip(files, halves, strict=True) for key in part}
        (folder / f"{name}.index.json").write_text(json.dumps({"weight_map": weight_map}))
    else:
        save(named, folder / name)
    (folder / "config.json").write_text(json.dumps({"id2label": {"0": "LABEL_0"}}))
    return folder / name if form == "file" else folder


@KINDS
def test_a_run_of_ones_own_is_read_bit_for_bit(tmp_path, kind):
    original = small(kind)
    state = {f"segmentor.{name}": value for name, value in original.state_dict().items()}
    save_file(state | {"head.projector.weight": torch.zeros(3)}, tmp_path / "model.safetensors")
    read, start = started(kind, tmp_path / "model.safetensors")
    assert same(original, read)
    assert start.format == "concat"
    assert "head.projector.weight" in start.left


@KINDS
def test_batch_norms_are_frozen_as_they_were_read(tmp_path, kind):
    original = small(kind)
    read, _ = started(kind, write_zoo(tmp_path / "m.pkl", kind, original), batch_norm="frozen")
    freeze_batch_norms(original.model.pixel_level_module.encoder)
    assert same(original, read)
    save_file({f"segmentor.{n}": v for n, v in read.state_dict().items()}, tmp_path / "model.safetensors")
    assert same(original, started(kind, tmp_path / "model.safetensors", batch_norm="frozen")[0])


@pytest.mark.parametrize(
    ("format", "layout", "backbone"),
    [("detectron2", detectron2.SEGMENTORS, D2_BACKBONE), ("mmdet", mmdet.SEGMENTORS, TORCHVISION)],
)
def test_the_tables_spell_names_as_the_originals_do(format, layout, backbone):
    named = foreign_names(small("mask2former"), "mask2former", layout, backbone)
    stack = re.compile(r"[.\w]*(encoder|decoder|transformer_\w+)[._]layers\.1\.")
    assert sorted(name for name in named if stack.match(name)) == sorted(MASK2FORMER_LAYER[format])
    assert [name for name in MASK2FORMER_REST[format] if name not in named] == []


def test_a_deep_stem_is_read_with_the_segmentor(tmp_path):
    original = small("mask2former", backbone="test_resnet")
    original.model.pixel_level_module.encoder.normalise_by((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    named = foreign_names(original, "mask2former", mmdet.SEGMENTORS, mmdet.DEEP_STEM)
    assert "backbone.stem.7.weight" in named
    torch.save({"state_dict": named}, tmp_path / "m.pth")
    read, _ = started("mask2former", tmp_path / "m.pth", backbone="test_resnet")
    assert same(original, read)


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("sem_seg_head.predictor.query_feat.weight", "lack 'model.transformer_module.queries_features.weight'"),
        ("backbone.res4.1.conv2.weight", "lack 'model.pixel_level_module.encoder.net.layer3.1.conv2.weight'"),
    ],
)
def test_what_a_file_lacks_is_named(tmp_path, lost, said):
    content = zoo("mask2former", small("mask2former"))
    del content["model"][lost]
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ConcatError, match=said) as error:
        started("mask2former", path)
    assert error.value.file == path


def test_what_ours_has_no_place_for_is_named(tmp_path):
    content = zoo("maskformer", small("maskformer"))
    content["model"]["sem_seg_head.pixel_decoder.transformer.encoder.layers.0.norm1.weight"] = torch.ones(32).numpy()
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(ConcatError, match=r"'sem_seg_head\.pixel_decoder\.transformer\.encoder\.layers\.0\.norm1"):
        started("maskformer", tmp_path / "m.pkl")


@pytest.mark.parametrize(
    ("changes", "mend"),
    [
        ({"queries": 9}, "--set con.segmentor.queries=7"),
        ({"hidden_dim": 64}, "--set con.segmentor.hidden_dim=32"),
        ({"decoder_layers": 3}, "--set con.segmentor.decoder_layers=2"),
        ({"decoder_layers": 1}, "--set con.segmentor.decoder_layers=2"),
        ({"encoder_layers": 1, "encoder_feedforward_dim": 48}, "--set con.segmentor.encoder_feedforward_dim=40"),
        ({"backbone": "resnet26"}, "con.segmentor.backbone"),
        ({"heads": 8}, "heads"),
    ],
)
def test_other_sizes_are_refused_with_the_settings_that_fit(tmp_path, changes, mend):
    path = write_zoo(tmp_path / "m.pkl", "mask2former", small("mask2former"))
    with pytest.raises(ConcatError) as error:
        started("mask2former", path, **changes)
    assert mend in error.value.mend


def test_another_kind_is_refused_with_the_kind_that_fits(tmp_path):
    path = write_zoo(tmp_path / "m.pkl", "maskformer", small("maskformer"))
    with pytest.raises(ConcatError, match="of a maskformer, not of a mask2former") as error:
        started("mask2former", path)
    assert "con.segmentor.kind=maskformer" in error.value.mend


def test_a_file_of_no_segmentor_is_refused(tmp_path):
    save_file({"conv1.weight": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(ConcatError, match="no segmentor that is known") as error:
        started("mask2former", tmp_path / "w.safetensors")
    assert "backbone_weights" in error.value.mend
    with pytest.raises(ConcatError, match="not found"):
        started("mask2former", tmp_path / "gone.pth")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConcatError, match="holds no weights"):
        started("mask2former", tmp_path / "empty")


@pytest.mark.parametrize("entry", ["../elsewhere.safetensors", 3])
def test_an_index_that_leads_out_of_its_folder_is_refused(tmp_path, entry):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": entry}}))
    with pytest.raises(CorruptFileError, match="index"):
        started("mask2former", tmp_path)


def test_without_network_the_hubs_files_are_named(monkeypatch):
    def no_network(*_, **__):
        raise OSError("no route to host\nand more")

    monkeypatch.setattr("huggingface_hub.snapshot_download", no_network)
    with pytest.raises(ConcatError, match="no route to host") as error:
        started("mask2former", "somebody/some-model")
    assert all(name in error.value.mend for name in ("config.json", "model.safetensors", "somebody/some-model"))
    assert "more" not in error.value.message


def test_weights_of_the_hub_come_as_a_folder(tmp_path, monkeypatch):
    original = small("maskformer")
    named = foreign_names(original, "maskformer", transformers_layout.SEGMENTORS, transformers_layout.RESNET)
    asked = []

    def snapshot(name, allow_patterns):
        asked.append(name)
        return str(_folder(tmp_path, named, "bin"))

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    read, _ = started("maskformer", "somebody/some-model")
    assert same(original, read)
    assert set(asked) == {"somebody/some-model"}
    assert hub_module.hub_folder("a/b") == tmp_path


def test_images_are_normalised_as_the_file_says(tmp_path):
    original = small("mask2former")
    named = foreign_names(original, "mask2former", mmdet.SEGMENTORS, TORCHVISION)
    config = "dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False)"
    torch.save({"state_dict": named, "meta": {"cfg": config}}, tmp_path / "m.pth")
    encoder = started("mask2former", tmp_path / "m.pth")[0].model.pixel_level_module.encoder
    assert encoder.mean.flatten().tolist() == pytest.approx([123.675 / 255, 116.28 / 255, 103.53 / 255])
    assert encoder.std.flatten().tolist() == pytest.approx([1 / 255] * 3)
    theirs = original.model.pixel_level_module.encoder.net.conv1.weight
    assert torch.equal(encoder.net.conv1.weight, theirs.flip(1))


def test_a_checkpoint_is_loaded_without_the_weights_file(tmp_path):
    settings = SMALL["mask2former"].model_copy(update={"weights": str(tmp_path / "gone.pkl")})
    build_segmentor(settings, load_weights=False)


def test_own_layout_is_told_from_transformers(tmp_path):
    save_file({f"segmentor.{n}": v for n, v in small("mask2former").state_dict().items()}, tmp_path / "m.safetensors")
    assert started("mask2former", tmp_path / "m.safetensors")[1].format == own.SEGMENTORS.name


def _of_transformers(kind):
    """transformers' own model of the small sizes, on a residual network of eighteen layers."""
    from transformers import (
        DetrConfig,
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        MaskFormerConfig,
        MaskFormerForInstanceSegmentation,
        ResNetConfig,
    )

    torch.manual_seed(4)
    backbone = ResNetConfig(
        embedding_size=64, hidden_sizes=[64, 128, 256, 512], depths=[2] * 4, layer_type="basic",
        out_features=[f"stage{k}" for k in (1, 2, 3, 4)],
    )  # fmt: skip
    if kind == "mask2former":
        config = Mask2FormerConfig(
            backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=40,
            dim_feedforward=48, encoder_layers=2, decoder_layers=3, num_attention_heads=4, num_queries=7, dropout=0.0,
        )  # fmt: skip
        return Mask2FormerForUniversalSegmentation(config).eval()
    decoder = DetrConfig(
        backbone_config=backbone, d_model=32, num_queries=7, decoder_layers=2, decoder_ffn_dim=48,
        decoder_attention_heads=4, dropout=0.0,
    )  # fmt: skip
    config = MaskFormerConfig(
        backbone_config=backbone, fpn_feature_size=32, mask_feature_size=32, decoder_config=decoder
    )
    return MaskFormerForInstanceSegmentation(config).eval()


@KINDS
def test_what_transformers_itself_saved_gives_its_masks(tmp_path, kind):
    theirs = _of_transformers(kind)
    theirs.save_pretrained(tmp_path)
    read, start = started(kind, tmp_path)
    assert {name.partition(".")[0] for name in start.left} <= {"class_predictor", "criterion"}
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in RGB)
    with torch.no_grad():
        masks = theirs(pixel_values=(images() / 255 - mean) / std).masks_queries_logits
        torch.testing.assert_close(read(images()).mask_logits[-1], masks, rtol=1e-3, atol=1e-3)
