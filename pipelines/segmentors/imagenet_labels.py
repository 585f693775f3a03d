"""Whether labels are the thousand of ImageNet-1k, with which the papers start."""

from collections.abc import Sequence


def are_imagenet_1k(labels: Sequence[str]) -> bool:
    """Whether these are ImageNet-1k's categories and no others, by the first word that each is known by."""
    if len(labels) != 1000:
        return False
    from timm.data import ImageNetInfo  # with torch; labels that are a thousand are rare

    return {_first(label) for label in labels} == {_first(known) for known in ImageNetInfo().label_descriptions()}


def _first(label: str) -> str:
    return label.partition(",")[0].strip().casefold()
