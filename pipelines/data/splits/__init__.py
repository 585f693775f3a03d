"""Seen-only training lists and validation lists."""
