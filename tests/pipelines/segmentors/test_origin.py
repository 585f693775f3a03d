"""The guard of the backbone's origin: what is recorded, what is refused."""

import hashlib
import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from pipelines.base.errors import ConcatError, CorruptFileError, ProtocolError
from pipelines.segmentors.origin import BackboneOrigin, check_training_labels, read_origin


def write(path, *, keys=("conv1.weight",), **record):
    save_file({key: torch.zeros(1) for key in keys}, path, metadata={k: str(v) for k, v in record.items()} or None)
    return str(path)


def origin(labels, text="a classifier"):
    return BackboneOrigin(name="test_resnet", weights="none", origin=text, training_labels=labels)


def test_imagenet_is_recorded_with_its_source():
    found = read_origin("resnet50", "imagenet")
    assert found.origin == "ImageNet-1k classification (timm, timm/resnet50.a1_in1k)"
    assert (found.training_labels, found.sha256, found.path) == (None, None, None)
    assert "gluon_in1k" in read_origin("resnet101c", "imagenet").origin
    assert "tv_in1k" in read_origin("resnet50.tv_in1k", "imagenet").origin


def test_random_weights_know_no_label():
    assert read_origin("test_resnet", "none").training_labels == ()


def test_a_files_record_and_hash_are_read(tmp_path):
    path = write(
        tmp_path / "w.safetensors", origin="seen crops", architecture="test_resnet",
        training_labels=json.dumps(["red square", "green circle"]),
    )  # fmt: skip
    found = read_origin("test_resnet", path)
    assert found.origin == "seen crops"
    assert found.training_labels == ("red square", "green circle")
    assert found.sha256 == hashlib.sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest()
    assert str(found.path) == path


def test_a_file_without_a_record_is_allowed_and_named_unrecorded(tmp_path):
    found = read_origin("test_resnet", write(tmp_path / "w.safetensors"))
    assert (found.origin, found.training_labels) == ("unrecorded", None)
    check_training_labels(found, unseen_names=["giraffe"], seen_names=[])


@pytest.mark.parametrize(
    "name",
    [
        "resnet50_clip.openai",
        "vit_base_patch16_siglip_224",
        "eva02_base_patch16_clip_224",
        "convnext_base.clip_laion2b",
    ],
)
@pytest.mark.parametrize("weights", ["imagenet", "none"])
def test_clip_architectures_and_tags_are_refused(name, weights):
    with pytest.raises(ProtocolError, match="CLIP"):
        read_origin(name, weights)


@pytest.mark.parametrize(
    "name",
    ["convnext_base.fb_in22k", "convnext_base.fb_in22k_ft_in1k", "resnet50.fb_swsl_ig1b_ft_in1k"],
)
def test_more_than_imagenet_1k_is_refused(name):
    with pytest.raises(ProtocolError, match=r"ImageNet-1k"):
        read_origin(name, "imagenet")


@pytest.mark.parametrize("name", ["resnet50.no_such_tag", "no_such_net", "test_resnet.x"])
def test_weights_that_timm_has_not_are_refused(name):
    with pytest.raises(ConcatError, match="no pretrained weights"):
        read_origin(name, "imagenet")


def test_every_ordinary_resnet50_of_timm_passes():
    for tag in ("a1_in1k", "tv_in1k", "gluon_in1k", "ra_in1k", "bt_in1k"):
        read_origin(f"resnet50.{tag}", "imagenet")
    assert timm.is_model("resnet50.tv_in1k")


@pytest.mark.parametrize(
    "keys", [("visual.conv1.weight",), ("module.visual.proj",), ("logit_scale", "conv1.weight"), ("text.blocks.0.w",)]
)
def test_a_clip_tower_in_a_file_is_refused(tmp_path, keys):
    path = write(tmp_path / "w.safetensors", keys=keys)
    with pytest.raises(ProtocolError, match="CLIP") as error:
        read_origin("test_resnet", path)
    assert str(error.value.file) == path


def test_a_file_that_calls_itself_clip_is_refused(tmp_path):
    with pytest.raises(ProtocolError, match="CLIP"):
        read_origin("test_resnet", write(tmp_path / "w.safetensors", origin="image tower of the tiny CLIP"))


def test_a_missing_or_foreign_file_is_a_plain_error(tmp_path):
    with pytest.raises(ConcatError, match="not found"):
        read_origin("test_resnet", str(tmp_path / "gone.safetensors"))
    with pytest.raises(ConcatError, match="of 'resnet18'"):
        read_origin("test_resnet", write(tmp_path / "w.safetensors", architecture="resnet18"))
    with pytest.raises(CorruptFileError, match="record"):
        read_origin("test_resnet", write(tmp_path / "v.safetensors", training_labels="not json"))


def test_an_unseen_label_is_refused():
    with pytest.raises(ProtocolError, match="'Giraffe', which is an unseen category"):
        check_training_labels(origin(("dog", "Giraffe")), unseen_names=["giraffe", "cow"])
    check_training_labels(origin(("dog", "cat")), unseen_names=["giraffe", "cow"])


def test_labels_are_compared_as_spoken():
    with pytest.raises(ProtocolError):
        check_training_labels(origin(("playing field",)), unseen_names=["playingfield"])
    with pytest.raises(ProtocolError):
        check_training_labels(origin(("grass",)), unseen_names=["grass-merged"])


def test_a_stage_that_knows_seen_names_alone_demands_them():
    check_training_labels(origin(("dog",)), seen_names=["dog", "cat"])
    check_training_labels(origin(()), seen_names=[])
    with pytest.raises(ProtocolError, match="no seen category"):
        check_training_labels(origin(("dog", "giraffe")), seen_names=["dog", "cat"])


def test_imagenet_1k_passes_whatever_its_labels():
    check_training_labels(origin(("zebra",), "ImageNet-1k classification"), unseen_names=["zebra"])


def test_more_than_imagenet_1k_does_not_pass_under_its_name():
    with pytest.raises(ProtocolError, match="zebra"):
        check_training_labels(origin(("zebra",), "ImageNet-1k classification, then COCO"), unseen_names=["zebra"])
