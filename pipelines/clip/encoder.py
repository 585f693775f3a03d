"""CLIP by open_clip: images and texts to unit vectors, with its own preprocessing and an identity to key caches by."""

import contextlib
import hashlib
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.factory import load_checkpoint
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import normalize
from torchvision.transforms import Compose

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.base.files import sha256
from pipelines.clip.pictures import resized
from pipelines.clip.settings import ClipSettings
from pipelines.clip.weights import RANDOM, ClipSource, is_torchscript, quiet, resolve_clip

RANDOM_SEED = 0
_AUTOCAST = {"fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class ClipModel:
    """A frozen CLIP.

    Attributes:
        dim: C, components of an embedding.
        preprocess: open_clip's own transform, PIL image → 3×s×s float32.
        mean_colour: the colour (0 to 255) that preprocessing maps to about 0.
        origin: what was loaded, in plain values; it determines every embedding but for `precision`.
        precision: of the image tower; texts are always embedded in fp32.
    """

    network: nn.Module
    tokenize: Callable[[list[str]], Tensor]
    dim: int
    preprocess: Compose
    mean_colour: tuple[int, int, int]
    origin: dict[str, Any]
    precision: Literal["fp32", "fp16", "bf16"]
    device: torch.device

    @property
    def fingerprint(self) -> str:
        """A hash of weights, configuration with activation, and preprocessing."""
        return hashlib.sha256(json.dumps(self.origin, sort_keys=True).encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        """What a manifest records of the model."""
        return {**self.origin, "precision": self.precision, "fingerprint": self.fingerprint}

    @property
    def geometry(self) -> Compose:
        """The part of `preprocess` that makes a PIL image s×s px; any process can do it."""
        return Compose(self.preprocess.transforms[:-2])

    def normalised(self, pixels: NDArray[np.uint8]) -> Tensor:
        """The rest of `preprocess`, of many images together and on the device; the same values.

        Args:
            pixels: n×s×s×3.

        Returns:
            n×3×s×s, float32, channels last: faster in convolutions.
        """
        scaled = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).to(torch.float32)
        scaled /= torch.tensor(255.0, device=self.device)  # by a plain number, CUDA would multiply by its reciprocal
        result: Tensor = self.preprocess.transforms[-1](scaled)
        return result

    def prepare(self, images: Sequence[Image.Image]) -> Tensor:
        """What `preprocess` makes of each image (n×3×s×s, float32)."""
        return self.normalised(resized(images, self.geometry))

    @torch.inference_mode()
    def encode_images(self, batch: Tensor) -> Tensor:
        """Preprocessed images (n×3×s×s) → unit vectors (n×C, float32): CLS tokens after CLIP's projection."""
        dtype = _AUTOCAST.get(self.precision)
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
            features = self.network.encode_image(batch.to(self.device))  # type: ignore[operator]
        return normalize(features.float(), dim=-1)

    @torch.inference_mode()
    def encode_text(self, texts: list[str]) -> Tensor:
        """Texts → unit vectors (n×C, float32)."""
        features = self.network.encode_text(self.tokenize(texts).to(self.device))  # type: ignore[operator]
        return normalize(features.float(), dim=-1)


def load_clip(settings: ClipSettings, device: torch.device | str) -> ClipModel:
    """The CLIP of the settings, in evaluation mode.

    Raises:
        ConcatError: it cannot be found, downloaded or built, or its activation does not fit the weights.
        CorruptFileError: its weights are damaged or of another model.
    """
    source, device = resolve_clip(settings), torch.device(device)
    network, tokenize = build_network(source)
    if source.weights is not None:
        _load_weights(network, source.weights)
    network.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)
    preprocess = PreprocessCfg(**network.visual.preprocess_cfg)  # type: ignore[arg-type, union-attr]
    red, green, blue = (round(255 * value) for value in preprocess.mean)
    return ClipModel(
        network=network,
        tokenize=tokenize,
        dim=int(source.config["embed_dim"]),
        preprocess=image_transform_v2(preprocess, is_train=False),
        mean_colour=(red, green, blue),
        origin=_origin(settings, source, network, preprocess),
        precision=settings.precision,
        device=device,
    )


def build_network(source: ClipSource) -> tuple[nn.Module, Callable[[list[str]], Tensor]]:
    """An untrained network, the same at every call, and its tokenizer."""
    with torch.random.fork_rng(devices=[]), quiet(), _open_clip_name(source) as name:
        torch.manual_seed(RANDOM_SEED)
        try:
            network = open_clip.create_model(
                name, pretrained=None, load_weights=False, pretrained_text=False, force_preprocess_cfg=source.preprocess
            )
            return network, open_clip.get_tokenizer(name)
        except Exception as error:  # whatever a wrong value in someone's config leads to
            raise ConcatError(f"open_clip cannot build this model: {error}", mend="Check clip.model.") from error


@contextlib.contextmanager
def _open_clip_name(source: ClipSource) -> Iterator[str]:
    """What open_clip calls the model; a config of one's own is lent to it as a folder, so nothing is registered."""
    if source.name is not None:
        yield source.name
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "open_clip_config.json").write_text(json.dumps({"model_cfg": source.config}))
        yield f"local-dir:{folder}"


def _load_weights(network: nn.Module, path: Path) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch remarks that a TorchScript archive is one
            load_checkpoint(network, str(path), strict=True, weights_only=not is_torchscript(path))
    except Exception as error:  # pickle, zip, safetensors and shape errors alike mean one thing
        detail = " ".join(str(error).split())
        raise CorruptFileError(
            f"Not the weights of this CLIP: {detail[:200]}",
            file=path,
            mend="Check that clip.model and clip.pretrained belong together.",
        ) from error


def _origin(
    settings: ClipSettings, source: ClipSource, network: nn.Module, preprocess: PreprocessCfg
) -> dict[str, Any]:
    weights = _hash_state(network) if source.weights is None else sha256(source.weights)
    return {
        "model": Path(settings.model).name,
        "config": source.config,
        "activation": "quick_gelu" if source.quick_gelu else "gelu",
        "pretrained": RANDOM if source.weights is None else source.weights.name,
        "weights_sha256": weights,
        "preprocessing": json.loads(json.dumps(asdict(preprocess))),
    }


def _hash_state(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
