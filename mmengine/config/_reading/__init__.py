"""Find, parse and execute one config file; inherit text-style files with ``_base_``."""
