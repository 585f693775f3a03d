"""A recipe, section by section, and the presets."""
