"""Checks the config of a run before anything is built."""
