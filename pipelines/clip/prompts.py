"""Prompt sets by name; `{}` stands for the category's name."""

from typing import Final

from open_clip import OPENAI_IMAGENET_TEMPLATES

PROMPTS: Final[dict[str, tuple[str, ...]]] = {
    "single": ("a photo of a {}.",),
    "scene": ("A photo of a {} in the scene",),
    # ZegFormer's and PADing's ensemble, which CONCAT takes over
    "select_8": (
        "itap of a {}.",
        "a bad photo of the {}.",
        "a origami {}.",
        "a photo of the large {}.",
        "a {} in a video game.",
        "art of the {}.",
        "a photo of the small {}.",
        "A photo of a {} in the scene",
    ),
    "imagenet_80": tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES),
    "micrococo": ("{}", "a photo of a {}", "a picture of a {}", "a rendering of a {}"),
}
