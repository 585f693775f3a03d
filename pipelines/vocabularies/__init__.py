"""Categories, seen and unseen, from shipped lists, files or typed names."""
