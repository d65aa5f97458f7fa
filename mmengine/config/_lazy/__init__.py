"""Lazy-style configs: imports become names that are resolved on first use."""
