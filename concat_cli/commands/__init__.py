"""One file a command, or a family of commands that differ in nothing but their stage."""
