"""What the Tab key gives for names that come with the package."""


def recipes(typed: str) -> list[str]:
    """Shipped recipes that begin with what was typed."""
    from pipelines.recipes.load import shipped_recipes

    return [name for name in shipped_recipes() if name.startswith(typed)]


def vocabularies(typed: str) -> list[str]:
    """Shipped vocabularies that begin with what was typed."""
    from pipelines.vocabularies.shipped import shipped_vocabularies

    return [name for name in shipped_vocabularies() if name.startswith(typed)]


def data_sets(typed: str) -> list[str]:
    """Data sets, or `own`, that begin with what was typed."""
    from pipelines.data.sets.build import DATA_SETS

    return [name for name in (*DATA_SETS, "own") if name.startswith(typed)]
