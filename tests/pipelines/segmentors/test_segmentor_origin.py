"""The guard of whole segmentors' weights: which labels are recorded where, and what is refused without them."""

import json
import pickle

import pytest
import torch
from foreign_weights import SMALL, foreign_names, small
from safetensors.torch import save_file

from pipelines.base.errors import ProtocolError
from pipelines.segmentors.foreign import detectron2, mmdet, transformers_layout
from pipelines.segmentors.foreign.torchvision import TORCHVISION
from pipelines.segmentors.imagenet_labels import are_imagenet_1k
from pipelines.segmentors.origin import IMAGENET_ORIGIN, read_origin
from pipelines.segmentors.segmentor_origin import origin_of
from pipelines.segmentors.training_labels import check_training_labels

COCO = ("person", "giraffe", "tree-merged")


@pytest.fixture(scope="module")
def segmentor():
    return small("mask2former")


def origin(path):
    return origin_of(SMALL["mask2former"].model_copy(update={"weights": str(path)}))


def mmdet_file(segmentor, path, meta):
    named = foreign_names(segmentor, "mask2former", mmdet.SEGMENTORS, TORCHVISION)
    named["panoptic_head.cls_embed.bias"] = torch.zeros(134)
    torch.save({"state_dict": named, "meta": meta}, path)
    return path


@pytest.mark.parametrize(
    "meta",
    [{"dataset_meta": {"classes": COCO}}, {"dataset_meta": {"CLASSES": list(COCO)}}, {"CLASSES": COCO}],
)
def test_mmdetection_records_labels(tmp_path, segmentor, meta):
    found = origin(mmdet_file(segmentor, tmp_path / "m.pth", meta))
    assert (found.format, found.training_labels, found.classes) == ("MMDetection", COCO, 133)
    with pytest.raises(ProtocolError, match=r"'giraffe', which is an unseen category") as error:
        check_training_labels(found, unseen_names=["cow", "giraffe"])
    assert error.value.file == tmp_path / "m.pth"
    assert "--allow-seen-unseen" in error.value.mend
    with pytest.raises(ProtocolError, match="tree"):
        check_training_labels(found, unseen_names=["tree"])
    check_training_labels(found, unseen_names=["cow"])


def test_transformers_records_labels_in_its_configuration(tmp_path, segmentor):
    named = foreign_names(segmentor, "mask2former", transformers_layout.SEGMENTORS, transformers_layout.RESNET)
    save_file(named, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"id2label": dict(enumerate(COCO))}))
    for path in (tmp_path, tmp_path / "model.safetensors"):
        assert origin(path).training_labels == COCO
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}))
    assert origin(tmp_path).silent


def test_detectron2_does_not_say_and_is_refused(tmp_path, segmentor):
    named = foreign_names(segmentor, "mask2former", detectron2.SEGMENTORS, detectron2.BACKBONES[-1])
    named["sem_seg_head.predictor.class_embed.bias"] = torch.zeros(134)
    path = tmp_path / "model_final.pkl"
    path.write_bytes(pickle.dumps({"model": {name: value.numpy() for name, value in named.items()}}))
    found = origin(path)
    assert (found.origin, found.training_labels, found.classes) == ("unrecorded", None, 133)
    assert len(found.sha256) == 64
    with pytest.raises(ProtocolError, match=r"of 133 classes was trained on labels that its file does not record"):
        check_training_labels(found, unseen_names=["cow"])


def test_a_record_in_safetensors_speaks_for_any_format(tmp_path, segmentor):
    named = foreign_names(segmentor, "mask2former", detectron2.SEGMENTORS, detectron2.BACKBONES[-1])
    path = tmp_path / "m.safetensors"
    save_file(named, path, metadata={"training_labels": json.dumps(["person", "dog"]), "origin": "seen names of COCO"})
    found = origin(path)
    assert (found.origin, found.training_labels) == ("seen names of COCO", ("person", "dog"))
    check_training_labels(found, unseen_names=["cow"])


@pytest.mark.parametrize(
    "key", ["backbone.visual.conv1.weight", "backbone.clip_model.visual.conv1.weight", "logit_scale"]
)
def test_a_clip_tower_in_a_segmentor_is_refused(tmp_path, segmentor, key):
    named = foreign_names(segmentor, "mask2former", mmdet.SEGMENTORS, TORCHVISION)
    save_file(named | {key: torch.zeros(1)}, tmp_path / "m.safetensors")
    with pytest.raises(ProtocolError, match="CLIP"):
        origin(tmp_path / "m.safetensors")


def test_a_segmentors_weights_as_a_backbones_are_guarded_too(tmp_path, segmentor):
    path = str(mmdet_file(segmentor, tmp_path / "m.pth", {}))
    found = read_origin("resnet18", path)
    assert found.beside.startswith("panoptic_head.")
    with pytest.raises(ProtocolError, match="The backbone was trained on labels that its file does not record"):
        check_training_labels(found, unseen_names=["cow"])
    recorded = read_origin("resnet18", str(mmdet_file(segmentor, tmp_path / "n.pth", {"CLASSES": COCO})))
    with pytest.raises(ProtocolError, match="giraffe"):
        check_training_labels(recorded, unseen_names=["giraffe"])


def test_classifiers_of_imagenet_1k_are_known_by_their_labels(tmp_path):
    from timm.data import ImageNetInfo

    labels = ImageNetInfo().label_descriptions()
    assert are_imagenet_1k(labels)
    assert not are_imagenet_1k([*labels[:-1], "giraffe"])
    state = {f"backbone.{name}": value for name, value in _resnet().items()}
    torch.save({"state_dict": state, "meta": {"dataset_meta": {"classes": labels}}}, tmp_path / "w.pth")
    found = read_origin("resnet18", str(tmp_path / "w.pth"))
    assert found.origin == IMAGENET_ORIGIN
    check_training_labels(found, unseen_names=["zebra"])


def _resnet():
    import timm

    return timm.create_model("resnet18", num_classes=0).state_dict()
