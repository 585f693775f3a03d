"""An exported model: one file that holds a run's weights, settings and names, and nothing that runs code.

A zip, stored, of safetensors and json. `bundle.json` names format and version and the SHA-256 of every other member:
`recipe.json`, `names.json` (seen, unseen and taught categories), `clip.json` (what `ClipModel.describe` says),
`text.safetensors` (embeddings of the names, in their order), `extractor.safetensors`; `projector.safetensors` where
there is a finetuned one; `clip-text.safetensors` where CLIP's text encoder was packed.
"""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.base.files import atomic_path, room_on_disk
from pipelines.base.safe_weights import fit_weights
from pipelines.clip.name_embeddings import NameEmbeddings
from pipelines.clip.packed import PackedText, pack_text
from pipelines.models.build import build_head
from pipelines.models.extractor import Extractor
from pipelines.predict.trained import TrainedModel
from pipelines.recipes.recipe import Recipe
from pipelines.vocabularies.vocabulary import Vocabulary

FORMAT: Final = "concat model"
VERSION: Final = 1
_HEAD: Final = "bundle.json"
_WHEN: Final = (1980, 1, 1, 0, 0, 0)  # so that the same run gives the same bytes
_AGAIN: Final = "Export the run again, or copy the file again."


class _Head(BaseModel):
    """`bundle.json`."""

    model_config = ConfigDict(extra="forbid")

    format: str
    version: int
    members: dict[str, str]


class _Names(BaseModel):
    """`names.json`."""

    model_config = ConfigDict(extra="forbid")

    seen: Vocabulary
    unseen: Vocabulary
    taught: Vocabulary


def write_bundle(path: Path, model: TrainedModel, *, with_clip: bool = False) -> None:
    """Writes a trained model as one file, beside and then renamed.

    Args:
        with_clip: pack CLIP's text encoder too, so that other names can be typed where CLIP's weights are not.

    Raises:
        ConcatError: the text encoder is needed (to be packed, or for a name that was never embedded) and cannot be had.
    """
    names = _Names(seen=model.seen, unseen=model.unseen, taught=model.taught)
    members = {
        "recipe.json": _json(model.recipe.model_dump(mode="json")),
        "names.json": _json(names.model_dump(mode="json")),
        "clip.json": _json(model.clip),
        "text.safetensors": save({"rows": _own_rows(model)}),
        "extractor.safetensors": _weights(model.extractor),
    }
    if model.finetuned is not None:
        members["projector.safetensors"] = _weights(model.finetuned)
    if with_clip:
        packed = model.packed or pack_text(model.text_encoder(torch.device("cpu")))
        members["clip-text.safetensors"] = save(packed.tensors)
    head = _Head(format=FORMAT, version=VERSION, members={name: _sha256(data) for name, data in members.items()})
    with room_on_disk(path), atomic_path(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {_HEAD: _json(head.model_dump()), **members}.items():
            archive.writestr(zipfile.ZipInfo(name, _WHEN), data)


def read_bundle(path: Path) -> TrainedModel:
    """Reads an exported model, every member checked by its hash.

    Raises:
        ConcatError: it was written by another version.
        CorruptFileError: it is no exported model, truncated or damaged.
    """
    members = _read_members(path)
    try:
        recipe = Recipe.model_validate_json(members["recipe.json"])
        names = _Names.model_validate_json(members["names.json"])
        clip: dict[str, Any] = json.loads(members["clip.json"])
        weights = {name: load(data) for name, data in members.items() if name.endswith(".safetensors")}
        model = _assembled(path, recipe, names, clip, weights)
    except (KeyError, ValueError, SafetensorError) as error:
        raise CorruptFileError(f"Not a complete exported model: {_said(error)}.", file=path, mend=_AGAIN) from None
    return model


def _assembled(
    path: Path, recipe: Recipe, names: _Names, clip: dict[str, Any], weights: Mapping[str, Mapping[str, Tensor]]
) -> TrainedModel:
    rows, packed = weights["text.safetensors"]["rows"], weights.get("clip-text.safetensors")
    extractor = Extractor(recipe.con, rows.shape[1], load_backbone=False)
    fit_weights(weights["extractor.safetensors"], extractor, file=path)
    finetuned = None
    if "projector.safetensors" in weights:
        query_dim = recipe.con.segmentor.hidden_dim
        finetuned = build_head(recipe.con.classifier, query_dim=query_dim, text_dim=rows.shape[1]).eval()
        fit_weights(weights["projector.safetensors"], finetuned, file=path)
    model = TrainedModel(
        source=path,
        recipe=recipe,
        seen=names.seen,
        unseen=names.unseen,
        taught=names.taught,
        rows={},
        extractor=extractor.eval(),
        finetuned=finetuned,
        clip=clip,
        packed=PackedText(clip, dict(packed)) if packed is not None else None,
    )
    return replace(model, rows=dict(zip(model.own.names, rows, strict=True)))


def _own_rows(model: TrainedModel) -> Tensor:
    """Embeddings of all the model's own names, N×C, in order."""
    cpu = torch.device("cpu")
    embed = NameEmbeddings(model.own, model.rows, lambda: model.text_encoder(cpu), model.recipe.clip.prompts)
    return embed(model.own)


def _read_members(path: Path) -> dict[str, bytes]:
    """All members but the head, as it lists them.

    Raises:
        ConcatError: written by another version.
        CorruptFileError: no exported model, or a member is missing, damaged or of another hash.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            head = _read_head(archive, path)
            members = {name: archive.read(name) for name in head.members}
    except FileNotFoundError:
        raise ConcatError("Exported model not found.", file=path, mend="Check the path.") from None
    except (zipfile.BadZipFile, EOFError, KeyError, NotImplementedError, RuntimeError, zlib.error) as error:
        what = str(error).strip("'\"").rstrip(".")
        raise CorruptFileError(f"Not an exported model, or damaged: {what}.", file=path, mend=_AGAIN) from None
    for name, data in members.items():
        if _sha256(data) != head.members[name]:
            raise CorruptFileError(f"The exported model is damaged: {name} has changed.", file=path, mend=_AGAIN)
    return members


def _read_head(archive: zipfile.ZipFile, path: Path) -> _Head:
    if _HEAD not in archive.namelist():
        raise CorruptFileError("Not an exported model, but another zip.", file=path, mend="Give what concat exported.")
    try:
        value = json.loads(archive.read(_HEAD))
        kind, version = value["format"], value["version"]
    except (ValueError, KeyError, TypeError):
        kind, version = None, None
    if kind != FORMAT:
        raise CorruptFileError("Not an exported model: its bundle.json is none.", file=path, mend=_AGAIN)
    if version != VERSION:
        raise ConcatError(
            f"This model was exported in version {version} of the format; this concat reads version {VERSION}.",
            file=path,
            mend="Install the concat that exported it, or export the run again with this one.",
        )
    try:
        return _Head.model_validate(value)
    except ValidationError as error:
        raise CorruptFileError(f"Not an exported model: {_said(error)}.", file=path, mend=_AGAIN) from None


def _said(error: Exception) -> str:
    """What is wrong, in one line: pydantic's first complaint with its place."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, allow_nan=False).encode()


def _weights(module: nn.Module) -> bytes:
    return save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.state_dict().items()})


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
