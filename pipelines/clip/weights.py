"""Which open_clip model and weights the settings mean, checked before anything is built."""

import contextlib
import json
import logging
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
from open_clip.pretrained import download_pretrained, get_pretrained_cfg, list_pretrained_tags_by_model

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.base.files import read_json
from pipelines.clip.model_files import MICRO_CONFIG, MICRO_WEIGHTS
from pipelines.clip.settings import ClipSettings

RANDOM = "random"
_QUICK_GELU_MAKERS = ("openai", "metaclip", "dfn", "quickgelu")


@dataclass(frozen=True)
class ClipSource:
    """A resolved model.

    Attributes:
        name: open_clip's own name of the model, or None when `config` came from a file.
        config: open_clip's model configuration (embed_dim, vision_cfg, text_cfg, quick_gelu …).
        preprocess: what the weights' makers changed in open_clip's preprocessing (mean, std, interpolation …).
        weights: the file of weights, or None for random ones.
    """

    name: str | None
    config: dict[str, Any]
    preprocess: dict[str, Any]
    weights: Path | None

    @property
    def quick_gelu(self) -> bool:
        """Whether the towers use QuickGELU (x·sigmoid(1.702x)) in place of GELU."""
        return bool(self.config.get("quick_gelu", False))


def resolve_clip(settings: ClipSettings) -> ClipSource:
    """Finds configuration and weights; a weights tag is downloaded (or taken from the hub's cache).

    Raises:
        ConcatError: unknown model or tag, a missing file, a failed download, or an activation that does not fit.
        CorruptFileError: the model config is not one.
    """
    if settings.model == "micrococo":
        return _micrococo(settings.pretrained)
    if settings.model.endswith(".json"):
        config, preprocess = _read_config(Path(settings.model))
        source = ClipSource(None, config, preprocess, _given_weights(settings.pretrained, tags=[]))
    else:
        config = open_clip.get_model_config(settings.model)
        if config is None:
            raise ConcatError(
                f"open_clip knows no model {settings.model!r}.",
                mend="Set clip.model to one of its names (ViT-B-16-quickgelu …) or to a .json config.",
            )
        tag = get_pretrained_cfg(settings.model, settings.pretrained)
        if tag:
            _check_tag(settings, bool(config.get("quick_gelu", False)), bool(tag.get("quick_gelu", False)))
            return ClipSource(settings.model, config, _overlay(tag), _download(settings, tag))
        tags = list_pretrained_tags_by_model(settings.model)
        _check_known_elsewhere(settings)
        source = ClipSource(settings.model, config, {}, _given_weights(settings.pretrained, tags))
    _check_file(source)
    return source


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive, the form in which only OpenAI gave CLIP's weights away."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps what open_clip and the hub log ("No pretrained weights loaded", every retry) off the screen."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _micrococo(pretrained: str) -> ClipSource:
    config, preprocess = _read_config(MICRO_CONFIG)
    if pretrained:
        weights = _given_weights(pretrained, tags=[])
    elif MICRO_WEIGHTS.is_file():
        weights = MICRO_WEIGHTS
    else:
        raise ConcatError(
            "The weights of micrococo's CLIP are missing.", file=MICRO_WEIGHTS, mend="Install the package again."
        )
    return ClipSource(None, config, preprocess, weights)


def _read_config(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Model and preprocessing configuration from a file, bare or in the form of the hub's open_clip_config.json."""
    value = read_json(path, mend="Set clip.model to an open_clip name or an existing .json config.")
    config = value.get("model_cfg", value) if isinstance(value, dict) else None
    if not isinstance(config, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= config.keys():
        raise CorruptFileError("Not an open_clip model config: it needs embed_dim, vision_cfg and text_cfg.", file=path)
    return json.loads(json.dumps(config)), _overlay(value.get("preprocess_cfg", {}))


def _overlay(preprocess: dict[str, Any]) -> dict[str, Any]:
    """The preprocessing keys; the size is left to the image tower, as open_clip does."""
    keys = ("mean", "std", "interpolation", "resize_mode", "fill_color")
    return {key: preprocess[key] for key in keys if preprocess.get(key) is not None}


def _given_weights(pretrained: str, tags: list[str]) -> Path | None:
    if pretrained == RANDOM:
        return None
    path = Path(pretrained)
    if pretrained and path.is_file():
        return path
    known = f" or one of {', '.join(tags)}" if tags else ""
    raise ConcatError(
        f"No such CLIP weights: {pretrained!r}.",
        file=path if pretrained else None,
        mend=f"Set clip.pretrained to an existing file, `random`{known}"
        f"{'' if tags else ' (a weights tag needs an open_clip model name; micrococo: empty)'}.",
    )


def _download(settings: ClipSettings, tag: dict[str, Any]) -> Path:
    try:
        with quiet():
            return Path(download_pretrained(tag))
    except Exception as error:  # the hub, urllib and open_clip each raise their own kinds
        detail = str(error).strip().splitlines()
        raise ConcatError(
            f"The weights {settings.pretrained!r} of {settings.model} could not be downloaded: "
            f"{detail[0] if detail else type(error).__name__}",
            mend="Download them elsewhere and set clip.pretrained to the path of the file.",
        ) from error


def _check_tag(settings: ClipSettings, model: bool, weights: bool) -> None:
    if model != weights:
        raise _misfit(settings.model, settings.pretrained, wants_quick_gelu=weights)


def _check_known_elsewhere(settings: ClipSettings) -> None:
    """Refuses `X-quickgelu` with a tag that only X has: those weights want the plain GELU."""
    plain = settings.model.removesuffix("-quickgelu")
    if plain != settings.model and get_pretrained_cfg(plain, settings.pretrained):
        raise _misfit(settings.model, settings.pretrained, wants_quick_gelu=False)


def _check_file(source: ClipSource) -> None:
    """Refuses weights of known QuickGELU makers for a GELU model.

    A file of weights does not say its activation, so this goes by what can be known: a TorchScript archive is OpenAI's,
    and file names usually carry the maker. Other files are trusted to fit the config.
    """
    if source.weights is None or source.quick_gelu:
        return
    name = source.weights.name.lower().replace("-", "").replace("_", "")
    if is_torchscript(source.weights) or any(maker in name for maker in _QUICK_GELU_MAKERS):
        raise _misfit(source.name or "the config", str(source.weights), wants_quick_gelu=True)


def _misfit(model: str, weights: str, *, wants_quick_gelu: bool) -> ConcatError:
    wanted, given = ("QuickGELU", "GELU") if wants_quick_gelu else ("GELU", "QuickGELU")
    plain = model.removesuffix("-quickgelu")
    name = f"{plain}-quickgelu" if wants_quick_gelu else plain
    known = open_clip.get_model_config(name) is not None
    how = f"Set clip.model={name}." if known else f'Set "quick_gelu": {str(wants_quick_gelu).lower()} in the config.'
    return ConcatError(f"The weights {weights!r} were trained with {wanted}, but {model} computes {given}.", mend=how)
