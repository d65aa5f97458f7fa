"""What the doctor found."""

from __future__ import annotations

from dataclasses import asdict, dataclass

OK, WARN, FAIL = 'ok', 'warn', 'fail'


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        area: Group of the check: ``'software'``, ``'devices'``, ``'collectives'``, ``'disk'``,
            ``'limits'`` or ``'data'``.
        name: The check.
        status: ``'ok'``, ``'warn'`` (slow, or a risk) or ``'fail'`` (a run cannot work).
        found: What was found or measured.
        advice: What to do, in one sentence; empty if nothing.
    """

    area: str
    name: str
    status: str
    found: str
    advice: str = ''

    def to_dict(self) -> dict[str, str]:
        """The fields by name."""
        return asdict(self)


def bytes_text(number: float) -> str:
    """A number of bytes: ``3.2 GB``."""
    for unit in ('B', 'kB', 'MB', 'GB'):
        if number < 1000:
            return f'{number:.3g} {unit}'
        number /= 1000
    return f'{number:.3g} TB'
