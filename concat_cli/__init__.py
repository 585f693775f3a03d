"""The face of concat: parse, call a stage, show progress, print a table, turn errors into a message."""
