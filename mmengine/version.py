"""The version of this package, as text and as a tuple that compares."""

import re

__version__ = '0.20.0'


def parse_version_info(version_str: str) -> tuple[int | str, ...]:
    """The numbers of a release; a release candidate has its mark behind them.

    Compare versions by :func:`mmengine.utils.digit_version`, which orders all of them.

    Raises:
        ValueError: If the text does not begin with a number.

    Example:
        >>> parse_version_info('1.2.3'), parse_version_info('1.2.3rc1')
        ((1, 2, 3), (1, 2, 3, 'rc1'))
    """
    found = re.match(r'(\d+(?:\.\d+)*)(rc\d+)?', version_str)
    if found is None:
        raise ValueError(f"A version looks like '1.2.3' or '1.2.3rc1', got {version_str!r}.")
    numbers, candidate = found.groups()
    release = tuple(int(number) for number in numbers.split('.'))
    return (*release, candidate) if candidate else release


version_info = parse_version_info(__version__)
