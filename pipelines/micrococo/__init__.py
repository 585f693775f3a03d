"""The embedded world: scenes, tiny CLIP and backbone, and what trains them."""
