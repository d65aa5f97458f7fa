"""Quantities with units: '24GB', '312T', '80GiB' as numbers, and numbers as text."""

from __future__ import annotations

import re

from mmengine.utils.errors import ArgumentError

_PREFIXES = {'': 0, 'K': 1, 'M': 2, 'G': 3, 'T': 4, 'P': 5}
_PATTERN = re.compile(
    r'\s*(\d+(?:\.\d*)?(?:e[+-]?\d+)?)\s*([kKMGTP]?)(i?)(B|FLOPS|FLOP|FLOP/S|B/S)?\s*', re.I
)


def parse_quantity(name: str, value: float | int | str) -> float:
    """A number, or its text with a unit: ``'24GB'``, ``'80GiB'``, ``'312T'``, ``'1e12'``.

    Raises:
        ArgumentError: If it is not a positive number; the message has ``name``.

    Example:
        >>> parse_quantity('memory', '24GB'), parse_quantity('memory', '2 KiB')
        (24000000000.0, 2048.0)
    """
    match = _PATTERN.fullmatch(str(value))
    if match is None or isinstance(value, bool) or float(match[1]) <= 0:
        raise ArgumentError(
            f"{name} must be a positive number such as 24e9, '24GB' or '312T'; got {value!r}."
        )
    base = 1024.0 if match[3] else 1000.0
    return float(float(match[1]) * base ** _PREFIXES[match[2].upper()])


def bytes_text(count: float) -> str:
    """Bytes in decimal units.

    Example:
        >>> bytes_text(1_234_567), bytes_text(12)
        ('1.23 MB', '12 B')
    """
    return _scaled(count, 'B')


def count_text(count: float) -> str:
    """A count in decimal units.

    Example:
        >>> count_text(370_200_000)
        '370 M'
    """
    return _scaled(count, '')


def counted(number: int, noun: str) -> str:
    """A number of things, with the noun in the right form.

    Example:
        >>> counted(1, 'epoch'), counted(1200, 'batch'), counted(0, 'optimizer step')
        ('1 epoch', '1,200 batches', '0 optimizer steps')
    """
    ending = '' if number == 1 else 'es' if noun.endswith(('tch', 's', 'x')) else 's'
    return f'{number:,} {noun}{ending}'


def time_text(seconds: float) -> str:
    """A duration.

    Example:
        >>> time_text(0.0123), time_text(90), time_text(200_000)
        ('12.3 ms', '1 min 30 s', '2 d 7 h')
    """
    if seconds < 60:
        return f'{seconds:.3g} s' if seconds >= 1 else f'{seconds * 1e3:.3g} ms'
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f'{days} d {hours} h'
    return f'{hours} h {minutes} min' if hours else f'{minutes} min {rest} s'


def _scaled(count: float, unit: str) -> str:
    for prefix in ('', 'k', 'M', 'G', 'T', 'P'):
        if abs(count) < 999.5 or prefix == 'P':
            break
        count /= 1000
    digits = f'{count:.0f}' if not prefix or count >= 100 else f'{count:.3g}'
    return f'{digits} {prefix}{unit}'.rstrip()
