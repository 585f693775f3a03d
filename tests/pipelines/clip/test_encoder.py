import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from shared_data import shared_data
from tiny_clip import CONFIG, tiny_clip, write_config

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.clip import weights
from pipelines.clip.encoder import load_clip
from pipelines.clip.settings import ClipSettings
from pipelines.clip.weights import is_torchscript, resolve_clip


def noise_image(height: int, width: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_preprocessing_is_that_of_the_original_clip(tmp_path: Path) -> None:
    folder = shared_data("clip_preprocess_reference")
    vision = CONFIG["vision_cfg"] | {"image_size": 224, "patch_size": 32}
    config = write_config(tmp_path, vision_cfg=vision)
    clip = load_clip(ClipSettings(model=str(config), pretrained="random"), "cpu")
    image = Image.open(folder / "franz-kafka.jpg")
    expected = torch.from_numpy(np.load(folder / "expected_preprocessed_image.npy"))
    assert torch.equal(clip.preprocess(image)[None], expected)
    assert torch.equal(clip.prepare([image.convert("RGB")]), expected)


@pytest.mark.parametrize("size", [(32, 32), (24, 36), (90, 41), (7, 3)])
def test_preparing_together_equals_open_clips_own_transform(tmp_path: Path, size: tuple[int, int]) -> None:
    clip, _ = tiny_clip(tmp_path)
    images = [noise_image(*size, seed) for seed in range(3)]
    assert torch.equal(clip.prepare(images), torch.stack([clip.preprocess(image) for image in images]))


def test_embeddings_are_open_clips_own_at_unit_length(tmp_path: Path) -> None:
    clip, _ = tiny_clip(tmp_path)
    batch = clip.prepare([noise_image(30, 40, seed) for seed in range(3)])
    images, texts = clip.encode_images(batch), clip.encode_text(["a cat", "a dog"])
    assert images.shape == (3, clip.dim) == (3, 16)
    assert texts.shape == (2, 16)
    network = clip.network
    torch.testing.assert_close(images, network.encode_image(batch, normalize=True))
    tokens = open_clip.SimpleTokenizer(context_length=16)(["a cat", "a dog"])
    torch.testing.assert_close(texts, network.encode_text(tokens, normalize=True))


def test_one_image_is_embedded_as_in_a_batch(tmp_path: Path) -> None:
    clip, _ = tiny_clip(tmp_path)
    batch = clip.prepare([noise_image(30, 40, seed) for seed in range(3)])
    torch.testing.assert_close(clip.encode_images(batch)[1:2], clip.encode_images(batch[1:2]))


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_lower_precision_is_close_and_float32_outside(tmp_path: Path, precision: str) -> None:
    exact, _ = tiny_clip(tmp_path)
    lower, _ = tiny_clip(tmp_path, precision=precision)
    batch = exact.prepare([noise_image(30, 40)])
    tokens = lower.encode_images(batch)
    assert tokens.dtype == torch.float32
    assert not torch.equal(tokens, exact.encode_images(batch))
    assert (tokens * exact.encode_images(batch)).sum() > 0.999
    assert torch.equal(lower.encode_text(["a cat"]), exact.encode_text(["a cat"]))
    assert lower.fingerprint == exact.fingerprint


def test_random_weights_are_always_the_same_and_leave_the_random_state_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    first, _ = tiny_clip(tmp_path)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))
    second, _ = tiny_clip(tmp_path)
    assert first.fingerprint == second.fingerprint
    assert first.describe()["pretrained"] == "random"


def test_fingerprint_follows_weights_activation_and_preprocessing(tmp_path: Path) -> None:
    clip, _ = tiny_clip(tmp_path)
    changes = [
        {"quick_gelu": True},
        {"embed_dim": 24},
        {"model_cfg": CONFIG, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5]}},
    ]
    prints = {clip.fingerprint}
    for change in changes:
        config = write_config(tmp_path, **change)
        prints.add(load_clip(ClipSettings(model=str(config), pretrained="random"), "cpu").fingerprint)
    state = {name: tensor.contiguous() + 0.01 for name, tensor in clip.network.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    settings = ClipSettings(model=str(write_config(tmp_path)), pretrained=str(tmp_path / "w.safetensors"))
    prints.add(load_clip(settings, "cpu").fingerprint)
    assert len(prints) == 5


def test_weights_come_back_from_a_file(tmp_path: Path) -> None:
    clip, _ = tiny_clip(tmp_path)
    state = {name: (tensor * 1.5).contiguous() for name, tensor in clip.network.state_dict().items()}
    for name in ("w.safetensors", "w.pt"):
        path = tmp_path / name
        save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
        loaded = load_clip(ClipSettings(model=str(write_config(tmp_path)), pretrained=str(path)), "cpu")
        for key, tensor in loaded.network.state_dict().items():
            assert torch.equal(tensor, state[key]), key


@pytest.mark.parametrize("damage", ["truncated", "text", "other model"])
def test_damaged_weights_are_named(tmp_path: Path, damage: str) -> None:
    clip, _ = tiny_clip(tmp_path)
    path = tmp_path / "w.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in clip.network.state_dict().items()}, path)
    config = write_config(tmp_path, embed_dim=24) if damage == "other model" else write_config(tmp_path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:1000])
    elif damage == "text":
        path.write_text("hello")
    with pytest.raises(CorruptFileError, match="Not the weights of this CLIP") as caught:
        load_clip(ClipSettings(model=str(config), pretrained=str(path)), "cpu")
    assert caught.value.file == path


def torchscript_of(clip_network: torch.nn.Module, path: Path) -> None:
    """An archive as OpenAI's: a script module whose state dict is CLIP's, in half precision."""

    class Held(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    held = Held()
    for name, tensor in clip_network.state_dict().items():
        *parents, leaf = name.split(".")
        module: torch.nn.Module = held
        for parent in parents:
            if not hasattr(module, parent):
                module.add_module(parent, Held())
            module = getattr(module, parent)
        module.register_buffer(leaf, tensor.half())
    torch.jit.save(torch.jit.script(held), path)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_openais_archives_are_read_and_want_quick_gelu(tmp_path: Path) -> None:
    clip, _ = tiny_clip(tmp_path)
    path = tmp_path / "ViT-B-16.pt"
    torchscript_of(clip.network, path)
    assert is_torchscript(path)
    with pytest.raises(ConcatError, match="trained with QuickGELU") as caught:
        load_clip(ClipSettings(model=str(write_config(tmp_path)), pretrained=str(path)), "cpu")
    assert caught.value.mend is not None
    assert "quick_gelu" in caught.value.mend
    quick = write_config(tmp_path, "quick.json", quick_gelu=True)
    loaded = load_clip(ClipSettings(model=str(quick), pretrained=str(path)), "cpu")
    for name, tensor in loaded.network.state_dict().items():
        assert torch.equal(tensor, clip.network.state_dict()[name].half().float()), name


@pytest.mark.parametrize(
    ("model", "pretrained", "says", "mend"),
    [
        ("ViT-B-16", "openai", "trained with QuickGELU", "clip.model=ViT-B-16-quickgelu"),
        ("ViT-B-16-quickgelu", "laion2b_s34b_b88k", "trained with GELU", "clip.model=ViT-B-16."),
        ("ViT-B-16", "openai_vit_b16.safetensors", "trained with QuickGELU", "ViT-B-16-quickgelu"),
        ("ViT-B-16-quickgelu", "nowhere", "No such CLIP weights", "openai"),
        ("ViT-B-16-quickgelu", "", "No such CLIP weights", "openai"),
        ("no-such-model", "openai", "knows no model", "ViT-B-16-quickgelu"),
        ("micrococo", "openai", "No such CLIP weights", "micrococo: empty"),
        ("missing.json", "random", "File not found", "clip.model"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, pretrained: str, says: str, mend: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "openai_vit_b16.safetensors").write_bytes(b"x")
    with pytest.raises(ConcatError, match=says) as caught:
        resolve_clip(ClipSettings(model=model, pretrained=pretrained))
    assert caught.value.mend is not None
    assert mend in caught.value.mend


def test_a_failed_download_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(tag: dict[str, str]) -> str:
        raise OSError(f"no network for {tag['hf_hub']}")

    monkeypatch.setattr(weights, "download_pretrained", fail)
    with pytest.raises(ConcatError, match="could not be downloaded: no network") as caught:
        resolve_clip(ClipSettings())
    assert caught.value.mend is not None
    assert "path" in caught.value.mend


@pytest.mark.parametrize("text", ["{", "[]", '{"embed_dim": 3}'])
def test_a_config_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(CorruptFileError):
        resolve_clip(ClipSettings(model=str(path), pretrained="random"))


def test_a_config_that_cannot_be_built(tmp_path: Path) -> None:
    path = write_config(tmp_path, vision_cfg={"layers": 1, "unheard_of": 2})
    with pytest.raises(ConcatError, match="cannot build"):
        load_clip(ClipSettings(model=str(path), pretrained="random"), "cpu")


def test_an_openai_tag_by_name_takes_its_weights_and_preprocessing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "download_pretrained", lambda _: "/cache/open_clip_model.safetensors")
    source = resolve_clip(ClipSettings())
    assert (source.name, source.quick_gelu) == ("ViT-B-16-quickgelu", True)
    assert source.weights == Path("/cache/open_clip_model.safetensors")
    squashed = resolve_clip(ClipSettings(model="ViT-B-16-SigLIP", pretrained="webli"))
    assert squashed.preprocess["resize_mode"] == "squash"
    assert squashed.preprocess["mean"] == (0.5, 0.5, 0.5)


def test_micrococos_clip_ships_with_the_package() -> None:
    clip = load_clip(ClipSettings(model="micrococo", pretrained=""), "cpu")
    assert clip.dim == json.loads(weights.MICRO_CONFIG.read_text())["embed_dim"]
    assert clip.mean_colour == (123, 117, 104)
