"""Backbones of Detectron2, torchvision, MMDetection and transformers, read into timm's."""

import json
import pickle

import numpy as np
import pytest
import timm
import torch
from foreign_weights import backbone_names
from safetensors.torch import save_file

from pipelines.base.errors import ConcatError
from pipelines.segmentors.backbone import build_backbone
from pipelines.segmentors.foreign import detectron2, mmdet, transformers_layout
from pipelines.segmentors.origin import read_origin

_CAFFE2, _DEEP, DETECTRON2 = detectron2.BACKBONES
MSRA_MEAN = [123.675 / 255, 116.28 / 255, 103.53 / 255]


def network(name="resnet18"):
    torch.manual_seed(5)
    net = timm.create_model(name, num_classes=7).eval()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.5, 1.5)
    return net


def features(net, pixels):
    with torch.no_grad():
        return net.forward_features(pixels)


def read(path, name="resnet18"):
    return build_backbone(name, str(path)).eval()


def images():
    return torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def last_map(backbone):
    with torch.no_grad():
        return backbone(images()).feature_maps[-1]


def normalised(mean, std):
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (mean, std))
    return ((images() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def without_counters(state):
    return {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}


def trunk(net):
    return {name: value for name, value in net.state_dict().items() if not name.startswith("fc.")}


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_torchvisions_file_is_read(tmp_path):
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(2)
    net = torchvision.models.resnet18().eval()
    torch.save(net.state_dict(), tmp_path / "resnet18.pth")
    torch.save(net.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for path in (tmp_path / "resnet18.pth", tmp_path / "old.pth"):
        state = read(path).net.state_dict()
        assert all(torch.equal(net.state_dict()[name], value) for name, value in state.items())


def test_detectron2s_conversion_of_torchvision_is_rgb(tmp_path):
    net, path = network(), tmp_path / "R-18.pkl"
    named = backbone_names(without_counters(trunk(net)), DETECTRON2)
    named |= {"stem.fc.weight": torch.zeros(7, 512), "stem.fc.bias": torch.zeros(7)}
    assert {"stem.conv1.weight", "res2.0.conv1.norm.weight", "res3.0.shortcut.norm.running_var"} <= set(named)
    content = {
        "model": {k: v.numpy() for k, v in named.items()},
        "__author__": "torchvision",
        "matching_heuristics": True,
    }
    path.write_bytes(pickle.dumps(content))
    backbone = read(path)
    assert torch.equal(last_map(backbone), features(net, normalised(*IMAGENET)))
    assert read_origin("resnet18", str(path)).remark == ""


def test_detectron2s_own_is_bgr_less_a_mean(tmp_path):
    net, path = network(), tmp_path / "R-18.pkl"
    named = backbone_names(without_counters(trunk(net)), DETECTRON2)
    path.write_bytes(pickle.dumps({"model": {k: v.numpy() for k, v in named.items()}, "__author__": "somebody"}))
    backbone = read(path)
    assert backbone.mean.flatten().tolist() == pytest.approx(MSRA_MEAN)
    assert backbone.std.flatten().tolist() == pytest.approx([1 / 255] * 3)
    bgr = images().flip(1).float() - torch.tensor([103.53, 116.28, 123.675]).view(3, 1, 1)
    torch.testing.assert_close(last_map(backbone), features(net, bgr), rtol=1e-4, atol=1e-3)


def _caffe2(name):
    """res2.0.conv1.norm.weight as Caffe2 spells it."""
    spelt = {"shortcut": "branch1", "conv1": "branch2a", "conv2": "branch2b", "conv3": "branch2c"}
    leaf = {"weight": "w", "norm.weight": "bn_s", "norm.bias": "bn_b"}
    if name.startswith("stem.conv1."):
        rest = leaf[name.removeprefix("stem.conv1.")]
        return f"conv1_{rest}" if rest == "w" else f"res_conv1_{rest}"
    stage, block, conv, rest = name.split(".", 3)
    return f"{stage}_{block}_{spelt[conv]}_{leaf[rest]}"


def test_msras_names_of_caffe2_are_read_norms_folded(tmp_path):
    net = network()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):  # folded into scale and shift
                module.running_mean.zero_()
                module.running_var.fill_(1 - 1e-5)
    state = {n: v for n, v in without_counters(trunk(net)).items() if "running" not in n}
    named = {_caffe2(name): value.numpy() for name, value in backbone_names(state, DETECTRON2).items()}
    assert {"conv1_w", "res_conv1_bn_s", "res2_0_branch2a_w", "res3_0_branch1_bn_b"} <= set(named)
    named |= {"fc1000_w": np.zeros((1000, 512)), "fc1000_b": np.zeros(1000), "conv1_b": np.zeros(64)}
    named["conv1_w_momentum"] = np.zeros(1)
    path = tmp_path / "R-18.pkl"
    path.write_bytes(pickle.dumps(named, protocol=2))
    bgr = images().flip(1).float() - torch.tensor([103.53, 116.28, 123.675]).view(3, 1, 1)
    torch.testing.assert_close(last_map(read(path)), features(net, bgr), rtol=1e-4, atol=1e-3)
    assert read_origin("resnet18", str(path)).remark == ""  # of basic blocks, which have no 1×1 convolutions


@pytest.mark.parametrize(("author", "remarked"), [("torchvision", False), ("Caffe2", True)])
def test_strides_that_lie_elsewhere_are_remarked(tmp_path, author, remarked):
    named = backbone_names(without_counters(trunk(network("resnet26"))), DETECTRON2)
    torch.save({"model": named, "__author__": author}, tmp_path / "R-26.pth")
    assert ("1×1" in read_origin("resnet26", str(tmp_path / "R-26.pth")).remark) == remarked


def test_the_backbone_of_a_segmentor_of_detectron2_is_rgb(tmp_path):
    net = network()
    named = backbone_names(without_counters(trunk(net)), DETECTRON2, "backbone.")
    named["sem_seg_head.predictor.query_feat.weight"] = torch.zeros(1)
    torch.save({"model": named, "__author__": "third_party"}, tmp_path / "m.pth")
    assert torch.equal(last_map(read(tmp_path / "m.pth")), features(net, normalised(*IMAGENET)))


@pytest.mark.parametrize("prefix", ["", "backbone."])
@pytest.mark.parametrize("name", ["resnet18", "test_resnet"])
def test_mmdetections_backbones_are_read_with_their_statistics(tmp_path, prefix, name):
    net = network(name)
    layout = mmdet.DEEP_STEM if name == "test_resnet" else None
    state = trunk(net)
    named = backbone_names(state, layout) if layout else dict(state)
    named = {prefix + key: value for key, value in named.items()}
    config = "data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)"
    torch.save({"state_dict": named, "meta": {"cfg": config}}, tmp_path / "w.pth")
    mean, std = (123.675 / 255, 116.28 / 255, 103.53 / 255), (58.395 / 255, 57.12 / 255, 57.375 / 255)
    torch.testing.assert_close(last_map(read(tmp_path / "w.pth", name)), features(net, normalised(mean, std)))


@pytest.mark.parametrize("prefix", ["resnet.", ""])
def test_transformers_resnet_is_read(tmp_path, prefix):
    net = network()
    named = backbone_names(trunk(net), transformers_layout.RESNET, prefix)
    assert f"{prefix}encoder.stages.1.layers.0.shortcut.convolution.weight" in named
    save_file(named | {"classifier.1.weight": torch.zeros(7, 512)}, tmp_path / "model.safetensors")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}))
    backbone = read(tmp_path)
    assert backbone.mean.flatten().tolist() == [0.5] * 3
    torch.testing.assert_close(last_map(backbone), features(net, normalised([0.5] * 3, [0.25] * 3)))


def test_transformers_own_model_has_these_names():
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(embedding_size=64, hidden_sizes=[64, 128, 256, 512], depths=[2] * 4, layer_type="basic")
    theirs = {n for n in ResNetForImageClassification(config).state_dict() if not n.startswith("classifier")}
    assert set(backbone_names(trunk(network()), transformers_layout.RESNET, "resnet.")) == theirs


def test_a_deep_stem_of_deeplab_is_read(tmp_path):
    state = without_counters(trunk(network("resnet50c")))
    named = backbone_names(state, _DEEP)
    assert {"stem.conv1.weight", "stem.conv2.norm.weight", "stem.conv3.norm.bias"} <= set(named)
    torch.save({"model": named, "__author__": "torchvision"}, tmp_path / "R-50-c.pth")
    loaded = read(tmp_path / "R-50-c.pth", "resnet50c").net.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


def test_a_backbone_within_a_larger_network_is_read_and_what_is_beside_it_named(tmp_path):
    net = network()
    named = backbone_names(without_counters(trunk(net)), DETECTRON2, "backbone.bottom_up.")
    named["roi_heads.box_predictor.cls_score.weight"] = torch.zeros(81, 8)
    torch.save({"model": named, "__author__": "torchvision"}, tmp_path / "detector.pth")
    assert torch.equal(last_map(read(tmp_path / "detector.pth")), features(net, normalised(*IMAGENET)))
    origin = read_origin("resnet18", str(tmp_path / "detector.pth"))
    assert origin.beside == "roi_heads.box_predictor.cls_score.weight"
    assert origin.silent


def test_a_foreign_name_that_does_not_fit_is_named_as_the_file_has_it(tmp_path):
    named = backbone_names(without_counters(trunk(network())), DETECTRON2, "backbone.")
    named["backbone.res6.0.conv1.weight"] = torch.zeros(1)
    torch.save({"model": named}, tmp_path / "w.pth")
    with pytest.raises(ConcatError, match=r"holds 'backbone\.res6\.0\.conv1\.weight'"):
        read(tmp_path / "w.pth")
