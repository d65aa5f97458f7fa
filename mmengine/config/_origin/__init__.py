"""Where each dict of a config, and each of its keys, was written."""
