"""The vision-language model."""

from typing import Literal

from pipelines.base.settings import Settings, cosmetic, name_or_path, path, setting


class ClipSettings(Settings):
    """The vision-language model that the extractor is aligned with."""

    model: str = name_or_path(
        "ViT-B-16-quickgelu", "open_clip model name, `micrococo`, or path of a model config (.json)."
    )
    pretrained: str = name_or_path(
        "openai", "open_clip weights tag, path of weights, `random` (untrained), or empty for `micrococo`."
    )
    precision: Literal["fp32", "fp16", "bf16"] = setting("fp32", "Precision of the image tower.")
    prompts: str = setting("select_8", "Prompt set: single, scene, select_8, imagenet_80 or micrococo.")
    masked: Literal["full", "crop"] = setting("full", "A masked image: the full frame or the segment's box.")
    fill: Literal["black", "mean"] = setting("black", "What surrounds a segment: black or CLIP's mean colour.")
    flipped_view: bool = setting(False, "Cache the tokens of flipped images too, for samples that training flips.")
    text_embeddings: str = path("Given text embeddings (.npy, one row a name) in place of a text encoder.")
    text_names: str = path("Names of those rows (.txt, a name a line, or a .json vocabulary).")
    batch_size: int = cosmetic(32, "Images a forward pass of CLIP (images).", ge=1)
