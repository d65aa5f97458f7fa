"""Settings that users write as a dict with a closed set of keys."""

from __future__ import annotations

from collections.abc import Iterable

from mmengine.utils.errors import ArgumentError, did_you_mean


def check_keys(owner: str, given: Iterable[object], known: Iterable[str]) -> None:
    """Check that all keys of the settings ``owner`` are known.

    Raises:
        ArgumentError: If one is not; the message has the similar ones, and all that are known.
    """
    known = list(known)
    for key in given:
        if key not in known:
            raise ArgumentError(
                f'{owner} has no key {key!r}.{did_you_mean(str(key), known)} '
                f'Known: {", ".join(known)}.'
            )
