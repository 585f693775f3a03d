"""Folders, zips and jsons, and where things lie in them."""
