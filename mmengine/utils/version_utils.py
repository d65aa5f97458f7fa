"""Versions as tuples that compare, and the git commit of the working directory."""

import os
import subprocess
from collections.abc import Sequence

from mmengine.utils.errors import ArgumentError

_STAGE_OF_PRERELEASE = {'a': -3, 'b': -2, 'rc': -1}
_STAGE_OF_DEV = -4


def digit_version(version_str: str, length: int = 4) -> tuple[int, ...]:
    """A version as a tuple of integers that compares in the order of releases (PEP 440).

    The first ``length`` integers are the release, filled up with zeros; then come the stage (-4
    dev, -3 alpha, -2 beta, -1 release candidate, 0 final, 1 post) and the number within the stage.
    A local part (``+cu118``) does not count.

    Args:
        version_str: The version.
        length: How many integers the release has.

    Raises:
        ArgumentError: If it is the version of parrots, which has no number.
        packaging.version.InvalidVersion: If it is not a version (a ``ValueError``).

    Example:
        >>> digit_version('1.2.3rc1')
        (1, 2, 3, 0, -1, 1)
        >>> digit_version('1.10') > digit_version('1.9.5')
        True
    """
    from packaging.version import Version

    if 'parrots' in version_str:
        raise ArgumentError(f'The version of parrots, {version_str!r}, cannot be compared.')
    version = Version(version_str)
    release = (version.release + (0,) * length)[:length]
    if version.pre is not None:
        return (*release, _STAGE_OF_PRERELEASE[version.pre[0]], version.pre[1])
    if version.post is not None:
        return (*release, 1, version.post)
    return (*release, _STAGE_OF_DEV if version.is_devrelease else 0, 0)


def _minimal_ext_cmd(cmd: Sequence[str]) -> bytes:
    """The output of a program, in English, without its error messages."""
    return subprocess.check_output(
        cmd, stderr=subprocess.DEVNULL, env={**os.environ, 'LC_ALL': 'C', 'LANGUAGE': 'C'}
    )


def get_git_hash(fallback: str = 'unknown', digits: int | None = None) -> str:
    """The commit that is checked out in the working directory.

    Args:
        fallback: Returned if there is no git or no commit.
        digits: How many characters to keep; all by default.

    Raises:
        TypeError: If ``digits`` is neither an integer nor None.
    """
    if digits is not None and not isinstance(digits, int):
        raise TypeError(f'digits must be an integer or None, got {type(digits).__name__}.')
    try:
        commit = _minimal_ext_cmd(['git', 'rev-parse', 'HEAD']).decode('ascii').strip()
    except (OSError, subprocess.CalledProcessError):
        return fallback
    return commit[:digits]
