"""On a loaded machine the time of an example says nothing; a test may still give its examples a deadline."""

from hypothesis import settings

settings.register_profile("loaded machine", deadline=None)
settings.load_profile("loaded machine")
