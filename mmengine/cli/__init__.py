"""The command ``mmengine``: one file per command, each a thin layer over the library."""
