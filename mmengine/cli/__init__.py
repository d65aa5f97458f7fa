"""The command ``mmengine``: one file a command, each thin over the library."""
