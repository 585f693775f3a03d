"""A trained run in use: the segmenter, its export, predictions and their files."""
