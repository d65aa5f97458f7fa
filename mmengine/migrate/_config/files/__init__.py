"""Config files: read with their bases, rewritten where they must change, and verified."""
