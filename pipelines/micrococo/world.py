"""The categories of micrococo: compositions of a colour and a shape (things) or a colour and a texture (stuff).

An unseen name is new, but its parts are known from seen categories: that is what makes zero-shot transfer real in so
small a world. Everything here follows from one rule, so the data set, its vocabulary file and the tiny CLIP cannot
disagree.
"""

from dataclasses import dataclass
from typing import Final

RGB = tuple[int, int, int]

THING_COLOURS: Final[dict[str, RGB]] = {
    "red": (215, 45, 40),
    "yellow": (235, 205, 50),
    "green": (45, 165, 65),
    "blue": (50, 85, 215),
    "purple": (150, 60, 190),
    "white": (238, 238, 238),
}
SHAPES: Final = ("circle", "square", "triangle", "star", "cross", "ring")
STUFF_COLOURS: Final[dict[str, RGB]] = {
    "green": (110, 150, 95),
    "blue": (105, 135, 175),
    "brown": (150, 115, 80),
    "gray": (125, 125, 125),
}
TEXTURES: Final = ("plain", "striped", "checkered", "dotted")

# Steps from one category id to the next. COCO's ids have holes too, so an id mistaken for an index fails at once.
_ID_STEPS: Final = (1, 3, 2, 4)


@dataclass(frozen=True)
class MicrococoCategory:
    """One category of the world.

    Attributes:
        id: category id as the annotations have it (1 to 88, with holes, things and stuff interleaved).
        name: "red circle" for a thing, "striped green ground" for stuff.
        isthing: whether it is a thing.
        color: RGB in 0..255, different for every category; for overlays only.
        unseen: whether the zero-shot split hides it from training.
        colour: name of the colour it is composed of.
        form: name of the shape (things) or texture (stuff) it is composed of.
    """

    id: int
    name: str
    isthing: bool
    color: RGB
    unseen: bool
    colour: str
    form: str


@dataclass(frozen=True)
class _Composition:
    colour: str
    form: str
    isthing: bool
    unseen: bool
    color: RGB


def _shade(base: RGB, step: int) -> RGB:
    """Darken `base` by `step` eighths of a half, so that categories of one colour can be told apart in an overlay."""
    red, green, blue = (round(channel * (1 - 0.12 * step)) for channel in base)
    return red, green, blue


def _compose(
    colours: dict[str, RGB], forms: tuple[str, ...], *, isthing: bool, left_out: int, unseen: int
) -> list[_Composition]:
    """Pair colours and forms where (form index - colour index) modulo the number of forms is not one of the last ones.

    `left_out` is how many differences are left out. Difference 0 is unseen for the first `unseen` colours; every part
    of an unseen pair then occurs in seen pairs.
    """
    compositions = []
    for i, (colour, base) in enumerate(colours.items()):
        for difference in range(len(forms) - left_out):
            form = forms[(i + difference) % len(forms)]
            hidden = difference == 0 and i < unseen
            compositions.append(_Composition(colour, form, isthing, hidden, _shade(base, difference)))
    return compositions


def _name(composition: _Composition) -> str:
    if composition.isthing:
        return f"{composition.colour} {composition.form}"
    return f"{composition.form} {composition.colour} ground"


def _categories() -> tuple[MicrococoCategory, ...]:
    things = _compose(THING_COLOURS, SHAPES, isthing=True, left_out=2, unseen=6)
    stuff = _compose(STUFF_COLOURS, TEXTURES, isthing=False, left_out=1, unseen=3)
    interleaved = [c for k, s in enumerate(stuff) for c in (things[2 * k], things[2 * k + 1], s)]
    categories, identifier = [], 1
    for position, c in enumerate(interleaved):
        categories.append(MicrococoCategory(identifier, _name(c), c.isthing, c.color, c.unseen, c.colour, c.form))
        identifier += _ID_STEPS[position % len(_ID_STEPS)]
    return tuple(categories)


MICROCOCO_CATEGORIES: Final = _categories()
"""The 36 categories in the order of their ids: 24 things (6 unseen) and 12 stuff (3 unseen)."""

SEEN_CATEGORIES: Final = tuple(k for k, c in enumerate(MICROCOCO_CATEGORIES) if not c.unseen)
"""Indices of the 27 seen ones in `MICROCOCO_CATEGORIES`."""

ALL_CATEGORIES: Final = tuple(range(len(MICROCOCO_CATEGORIES)))
"""Indices of all 36."""
