"""Published label formats, read into samples."""
