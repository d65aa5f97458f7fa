"""The version of this package, as text and as a tuple that compares."""

__version__ = '0.20.0'
version_info = tuple(int(part) for part in __version__.split('.'))
