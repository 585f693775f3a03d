"""The one training loop, its log and its devices."""
