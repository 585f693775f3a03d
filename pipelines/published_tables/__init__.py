"""The papers' figures as data."""
