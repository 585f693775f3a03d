"""Colours for categories that came without: far apart in hue, and the same every time."""

import colorsys

from pipelines.vocabularies.vocabulary import Category, Vocabulary

Colour = tuple[int, int, int]
"""RGB, 0 to 255."""

_GOLDEN_RATIO = 0.6180339887498949  # steps of it never come near an earlier hue


def with_colours(vocabulary: Vocabulary) -> Vocabulary:
    """The same categories, each that has the colour of those without (grey) given one of its own."""
    without = Category.model_fields["color"].default
    coloured = tuple(
        category.model_copy(update={"color": distinct_colour(place)}) if category.color == without else category
        for place, category in enumerate(vocabulary.categories)
    )
    return Vocabulary(name=vocabulary.name, categories=coloured)


def distinct_colour(place: int) -> Colour:
    """RGB of the category at a place: neighbours in a list get colours far apart."""
    saturation, value = ((0.75, 0.9), (0.95, 0.6), (0.5, 1.0))[place % 3]
    red, green, blue = colorsys.hsv_to_rgb(place * _GOLDEN_RATIO % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)
