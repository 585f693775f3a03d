"""One file a stage; only stages put parts together."""
