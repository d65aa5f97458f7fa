"""State dicts, checkpoint files and the places they are read from."""
