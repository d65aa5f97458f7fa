"""Telling where an error happened without changing what it is."""


def add_note(error: BaseException, note: str) -> None:
    """Let the traceback of ``error`` end with ``note``, on Python 3.11 and later."""
    if hasattr(error, 'add_note'):
        error.add_note(note)
