"""Settings in manifests that version 0.1 wrote, told in today's words, so that what it made stays fresh."""

from typing import Any

from pipelines.models.projector_settings import ProjectorSettings
from pipelines.recipes.cat import CatSettings
from pipelines.recipes.con import ConSettings
from pipelines.recipes.earlier import as_now


def settings_as_now(settings: dict[str, Any]) -> dict[str, Any]:
    """A stage's settings of then as today's stage would state them; settings of today come back as they are.

    What moved is described in `recipes.earlier`; besides, an evaluation stated the model's widths, which its weights
    imply.
    """
    moved = as_now(settings)
    con, cat, head = settings.get("con"), settings.get("cat"), settings.get("classifier")
    if "eval" in settings:
        moved.pop("con", None)
    elif con and "alignment" not in con:
        moved["con"] = ConSettings.model_validate(moved["con"]).that_matter()
    if "con" in moved and "weights" not in moved["con"]["segmentor"]:  # a segmentor could start from its backbone alone
        moved["con"] = moved["con"] | {"segmentor": moved["con"]["segmentor"] | {"weights": ""}}
    if cat and isinstance(cat["generator"], str):
        moved["cat"] = CatSettings.model_validate(moved["cat"]).that_matter()
    if head and "kind" not in head:
        moved["classifier"] = ProjectorSettings.model_validate(head).that_matter()
    return moved
