"""A JSON schema of the config of a run, made from signatures, docstrings and registries."""
