"""Scores of predictions that lie in files, whoever made them; `eval` states its own in the same form."""
