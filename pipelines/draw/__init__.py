"""Pictures to look at: overlays, panels, legends."""
