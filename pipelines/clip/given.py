"""Text embeddings that someone else made: a table of rows and a list of their names, matched with a vocabulary."""

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.vocabularies.shipped import SHIPPED
from pipelines.vocabularies.vocabulary import Vocabulary, clean_name

CONSTITUENTS = SHIPPED / "mappings" / "coco_panoptic_constituents.toml"


def given_embeddings(rows_path: Path | str, names_path: Path | str, vocabulary: Vocabulary) -> Tensor:
    """The rows of a vocabulary's categories.

    A category takes, in this order, the row of its exact name; the renormalised mean of its COCO-Stuff constituents, if
    it is a merged category of COCO panoptic and all of them have rows; the row of the same clean name.

    Args:
        rows_path: .npy, a row a name; any length but zero, any float type.
        names_path: .txt (a name a line) or a vocabulary (.json, .toml; `categories` with a `name` each).
        vocabulary: the categories wanted.

    Returns:
        N×C, float32, unit length.

    Raises:
        ConcatError: a file is missing, rows and names do not go together, or a category has no row.
        CorruptFileError: a file is not what it should be, or a row is zero or not finite.
    """
    rows_path, names_path = Path(rows_path), Path(names_path)
    rows, names = _read_rows(rows_path), _read_names(names_path)
    if len(rows) != len(names):
        raise ConcatError(
            f"{len(rows)} text embeddings, but {len(names)} names in {names_path}.",
            file=rows_path,
            mend="Give the list of names that belongs to these rows.",
        )
    exact = dict(zip(names, rows, strict=True))
    cleaned: dict[str, list[Tensor]] = {}
    for name, row in exact.items():
        cleaned.setdefault(clean_name(name), []).append(row)
    constituents = tomllib.loads(CONSTITUENTS.read_text(encoding="utf-8"))
    found = []
    for name in vocabulary.names:
        merged, alike = constituents.get(name, []), cleaned.get(clean_name(name), [])
        if name in exact:
            found.append(exact[name])
        elif merged and all(part in exact for part in merged):
            found.append(normalize(torch.stack([exact[part] for part in merged]).mean(dim=0), dim=0))
        elif len(alike) == 1:
            found.append(alike[0])
        else:
            what = "several rows that could be meant" if alike else "no row"
            raise ConcatError(
                f"The given text embeddings have {what} for {name!r}.",
                file=names_path,
                mend="Add a row and its name, or leave clip.text_embeddings empty.",
            )
    return torch.stack(found)


def _read_rows(path: Path) -> Tensor:
    try:
        rows = torch.from_numpy(np.load(path, allow_pickle=False).astype(np.float32))
    except FileNotFoundError:
        raise ConcatError("Text embeddings not found.", file=path, mend="Check clip.text_embeddings.") from None
    except (ValueError, EOFError, OSError, TypeError) as error:
        raise CorruptFileError(f"Not a table of numbers: {error}", file=path) from None
    if rows.ndim != 2 or 0 in rows.shape:
        raise CorruptFileError(
            f"Text embeddings are a table of rows × components, not of shape {tuple(rows.shape)}.", file=path
        )
    lengths = rows.norm(dim=1)
    bad = (~torch.isfinite(lengths) | (lengths == 0)).nonzero().flatten()
    if len(bad):
        raise CorruptFileError(f"Row {int(bad[0])} is zero or not finite.", file=path)
    return normalize(rows, dim=1)


def _read_names(path: Path) -> list[str]:
    mend = "Set clip.text_names to the names of the given rows (.txt, .json or .toml)."
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix not in (".json", ".toml"):
            names = [line.strip() for line in text.splitlines() if line.strip()]
        else:
            names = _names_in(json.loads(text) if path.suffix == ".json" else tomllib.loads(text))
    except OSError:
        raise ConcatError("Names of the given text embeddings not found.", file=path, mend=mend) from None
    except (ValueError, KeyError, TypeError):
        raise CorruptFileError("Not a list of names.", file=path, mend=mend) from None
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ConcatError(f"The name {sorted(twice)[0]!r} stands more than once.", file=path, mend=mend)
    return names


def _names_in(value: Any) -> list[str]:
    entries = value["categories"] if isinstance(value, dict) else value
    return [entry if isinstance(entry, str) else str(entry["name"]) for entry in entries]
