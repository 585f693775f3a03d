"""Backbones: maps, normalisation, and weights that fit or are refused."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.segmentors import backbone as module
from pipelines.segmentors.backbone import build_backbone


@pytest.fixture
def weights(tmp_path):
    """A timm classifier's weights in float16 with their statistics."""
    torch.manual_seed(3)
    state = {k: v.half() for k, v in timm.create_model("test_resnet", num_classes=7).state_dict().items()}
    path = tmp_path / "weights.safetensors"
    save_file(state, path, metadata={"image_mean": json.dumps([0.4, 0.5, 0.6]), "image_std": json.dumps([0.2] * 3)})
    return path


def test_four_maps_of_strides_4_to_32():
    backbone = build_backbone("test_resnet", "none").eval()
    maps = backbone(torch.zeros(2, 3, 64, 96, dtype=torch.uint8)).feature_maps
    assert backbone.channels == [32, 48, 192, 96]
    assert [tuple(m.shape) for m in maps] == [(2, 32, 16, 24), (2, 48, 8, 12), (2, 192, 4, 6), (2, 96, 2, 3)]


def test_r101c_has_three_3x3_convolutions_for_a_stem():
    net = build_backbone("resnet101c", "none").net
    assert [layer.kernel_size for layer in net.conv1 if hasattr(layer, "kernel_size")] == [(3, 3)] * 3


def test_weights_of_a_classifier_load_whole_and_bring_their_statistics(weights):
    classifier = timm.create_model("test_resnet", num_classes=7)
    classifier.load_state_dict(torch.load(_as_pickle(weights)))
    backbone = build_backbone("test_resnet", str(weights)).eval()
    classifier.eval()
    assert backbone.mean.flatten().tolist() == pytest.approx([0.4, 0.5, 0.6])
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    pixels = (images / 255 - torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)) / 0.2
    with torch.no_grad():
        torch.testing.assert_close(
            backbone(images).feature_maps[-1], classifier.forward_features(pixels), rtol=1e-4, atol=1e-5
        )


def test_pth_files_load_too_and_load_weights_false_reads_no_file(weights, tmp_path):
    pickled = _as_pickle(weights)
    torch.save({"state_dict": torch.load(pickled)}, tmp_path / "nested.pth")
    wanted = build_backbone("test_resnet", str(weights)).net.state_dict()
    for path in (pickled, tmp_path / "nested.pth"):
        loaded = build_backbone("test_resnet", str(path)).net.state_dict()
        assert all(torch.equal(loaded[key], wanted[key]) for key in wanted)
    build_backbone("test_resnet", str(tmp_path / "gone.safetensors"), load_weights=False)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: state.pop("layer1.0.conv1.weight"), "lacks 'layer1.0.conv1.weight'"),
        (lambda state: state.update({"layer9.conv.weight": torch.zeros(1)}), "holds 'layer9.conv.weight'"),
        (lambda state: state.update({"layer1.0.conv1.weight": torch.zeros(2, 2)}), "size mismatch"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, spoil, message):
    state = timm.create_model("test_resnet").state_dict()
    spoil(state)
    path = tmp_path / "spoilt.safetensors"
    save_file(state, path)
    with pytest.raises(ConcatError, match=message) as error:
        build_backbone("test_resnet", str(path))
    assert error.value.file == path


def test_damaged_files_are_refused(tmp_path):
    for name in ("weights.safetensors", "weights.pth"):
        (tmp_path / name).write_bytes(b"no weights at all")
        with pytest.raises(CorruptFileError):
            build_backbone("test_resnet", str(tmp_path / name))


def test_unknown_names_and_unfit_architectures_are_refused():
    with pytest.raises(ConcatError, match="no backbone 'resnet5'") as error:
        build_backbone("resnet5", "none")
    assert "resnet50" in error.value.mend
    with pytest.raises(ConcatError, match="strides 4, 8, 16 and 32"):
        build_backbone("test_vit", "none")


def test_failed_download_is_one_clear_error(monkeypatch):
    def no_network(*_, **__):
        raise OSError("no route to host\nand more lines")

    monkeypatch.setattr(module.timm, "create_model", no_network)
    with pytest.raises(ConcatError, match="no route to host") as error:
        build_backbone("resnet50", "imagenet")
    assert "none" in error.value.mend
    assert "more lines" not in error.value.message


def _as_pickle(path):
    from safetensors.torch import load_file

    pickled = path.with_suffix(".pth")
    torch.save(load_file(path), pickled)
    return pickled
