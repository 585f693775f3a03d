"""Size and augmentation of images."""

from pipelines.base.settings import Settings, setting


class InputSettings(Settings):
    """Size and augmentation of the extractor's input."""

    crop: int = setting(1024, "Side of the square training crop (px); images are padded to it.", ge=32)
    min_scale: float = setting(0.1, "Smallest scale of large-scale jitter, relative to the crop.", gt=0)
    max_scale: float = setting(2.0, "Largest scale of large-scale jitter, relative to the crop.", gt=0)
    flip: float = setting(0.5, "Probability of a horizontal flip.", ge=0, le=1)
    quarter_turns: bool = setting(False, "Turn by a random multiple of 90 degrees (for worlds without an up).")
    test_short: int = setting(800, "Shorter side of an image at inference (px).", ge=32)
    test_long: int = setting(1333, "Longest side of an image at inference (px).", ge=32)
