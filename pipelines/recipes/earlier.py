"""Recipes as earlier versions wrote them, told in today's words, so that older runs, exports and habits go on."""

from typing import Any, Final

_OF_CVAE: Final = {"hidden_dim": "hidden_dim", "latent_dim": "latent_dim", "condition_scale": "condition_scale"}
_OF_GMMN: Final = {"hidden_dim": "hidden_dim", "latent_dim": "noise_dim", "condition_scale": "condition_scale"}
_WRITTEN_WHOLE: Final = {"iterations", "segmentor", "optimiser", "matching", "panels", "log_every"}
_SINCE: Final = "images_per_forward"  # what a whole recipe says since then
_NOT_OF_MASKFORMER: Final = ("encoder_layers", "encoder_feedforward_dim")


def as_now(values: dict[str, Any]) -> dict[str, Any]:
    """A recipe's values, or those of some of its sections, with what has moved since in its present place.

    CGA and CIA were sections of `con`; `cat` held the settings of both generators, `generator` the kind alone;
    MaskFormer had Mask2Former's pixel decoder among its settings, without a use for it. What a recipe that was written
    whole does not say of the originals' ways, it did in the only way there was.
    """
    changed = dict(values)
    if isinstance(values.get("con"), dict):
        changed["con"] = _con(values["con"])
    if isinstance(values.get("cat"), dict):
        changed["cat"] = _cat(values["cat"])
    return changed


def _con(con: dict[str, Any]) -> dict[str, Any]:
    changed = {name: value for name, value in con.items() if name not in ("cga", "cia")}
    moved = {name: con[name] for name in ("cga", "cia") if name in con}
    if moved:
        changed["alignment"] = {**moved, **con.get("alignment", {})}
    segmentor = con.get("segmentor")
    if isinstance(segmentor, dict) and segmentor.get("kind") == "maskformer":
        changed["segmentor"] = {n: v for n, v in segmentor.items() if n not in _NOT_OF_MASKFORMER}
    return _before_the_originals_ways(changed) if con.keys() >= _WRITTEN_WHOLE else changed


def _before_the_originals_ways(con: dict[str, Any]) -> dict[str, Any]:
    """Batch norms were trained, biases did not decay, and the pixel decoder started as in transformers."""
    if _SINCE in con:
        return con
    segmentor = {"batch_norm": "trained", **con["segmentor"]}
    if segmentor.get("kind") == "mask2former":
        segmentor = {"initialisation": "transformers", **segmentor}
    return con | {"segmentor": segmentor, "optimiser": {"decay_biases": False, **con["optimiser"]}}


def _cat(cat: dict[str, Any]) -> dict[str, Any]:
    if not any(name in cat for name in _OF_CVAE):
        return cat
    stated = cat.get("generator")
    generator = dict(stated) if isinstance(stated, dict) else {"kind": stated} if stated else {}
    moved = _OF_GMMN if generator.get("kind") == "gmmn" else _OF_CVAE
    generator = {moved[name]: cat[name] for name in moved if name in cat} | generator
    return {name: value for name, value in cat.items() if name not in moved} | {"generator": generator}
