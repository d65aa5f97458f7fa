"""State dicts, checkpoint files, and the sources from which they are read."""
