"""A schedule of MMCV and its conversion as one picture: both curves, and how far they are apart."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence

from mmengine.migrate._config.report.check import TOLERANCE, Check
from mmengine.migrate._config.schedules.curves import Comparison

_WIDTH, _LEFT, _RIGHT = 720, 64, 700
_TOP, _BOTTOM = 44, 234
_STRIP_TOP, _STRIP_BOTTOM = 262, 312
_HEIGHT = 352
_MOST_POINTS = 600
_LOWEST = 1e-18  # differences of 0 are drawn here

STYLE = """\
.curves { --ink: #24292f; --faint: #c9d1d9; --old: #f2a65a; --new: #1d5f8a; }
@media (prefers-color-scheme: dark) {
  .curves { --ink: #d0d7de; --faint: #4a525c; --old: #b4652a; --new: #8cc8f2; }
}
.curves text { font: 12px system-ui, sans-serif; fill: var(--ink); }
.curves .title { font-weight: 600; }
.curves .axis { fill: none; stroke: var(--faint); }
.curves .limit { stroke: var(--faint); stroke-dasharray: 3 4; }
.curves polyline { fill: none; stroke-linejoin: round; }
.curves .old { stroke: var(--old); stroke-width: 6; stroke-linecap: round; }
.curves .new { stroke: var(--new); stroke-width: 1.6; }
.curves .apart { stroke: var(--new); stroke-width: 1; }
"""


def curves_svg(title: str, check: Check, *, is_alone: bool = False) -> str:
    """The picture of a check that compared something.

    Args:
        title: The config that it is of.
        check: With its comparison.
        is_alone: Whether it is a separate file, which needs its own colours.
    """
    comparison = check.comparison
    if comparison is None:
        return ''
    style = f'<style>{STYLE}</style>' if is_alone else ''
    what = 'Momentum' if check.key == 'momentum_config' else 'Learning rate'
    title = f'{what} of {title}'
    largest = f'largest relative difference {check.largest:.1e}'
    if check.largest == 0:
        largest = 'no difference'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="curves" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'role="img" aria-label="{html.escape(f"{title}: {largest}")}">{style}',
        _text(_LEFT, 20, title, kind='title'),
        *_legend(),
        *_curves(comparison),
        *_strip(comparison, largest),
        *_time_axis(len(comparison.legacy), check.unit),
        '</svg>',
    ]
    return ''.join(parts)


def _legend() -> Iterator[str]:
    yield f'<line class="old" x1="{_RIGHT - 218}" x2="{_RIGHT - 190}" y1="16" y2="16"/>'
    yield _text(_RIGHT - 180, 20, 'MMCV 1.x')
    yield f'<line class="new" x1="{_RIGHT - 92}" x2="{_RIGHT - 64}" y1="16" y2="16"/>'
    yield _text(_RIGHT - 56, 20, 'converted')


def _curves(comparison: Comparison) -> Iterator[str]:
    old = [values[0] for values in comparison.legacy]
    new = [values[0] for values in comparison.converted]
    top = max(*old, *new, 1e-30)
    for share in (0.0, 0.5, 1.0):
        y = _BOTTOM - share * (_BOTTOM - _TOP)
        yield f'<path class="axis" d="M{_LEFT - 4},{y:.1f} H{_RIGHT}"/>'
        yield _text(_LEFT - 8, y + 4, f'{share * top:.3g}', anchor='end')
    for kind, values in (('old', old), ('new', new)):
        heights = [_BOTTOM - (_BOTTOM - _TOP) * value / top for value in values]
        yield _polyline(kind, heights)


def _strip(comparison: Comparison, largest: str) -> Iterator[str]:
    """How far apart the curves are at each step, on a scale of powers of ten."""
    apart = [
        max(map(_difference, before, after))
        for before, after in zip(comparison.legacy, comparison.converted, strict=True)
    ]
    ceiling = max(1e-4, comparison.largest)
    decades = math.log10(ceiling / _LOWEST)

    def height(value: float) -> float:
        share = math.log10(max(value, _LOWEST) / _LOWEST) / decades
        return _STRIP_BOTTOM - (_STRIP_BOTTOM - _STRIP_TOP) * min(share, 1.0)

    limit = height(TOLERANCE)
    yield f'<path class="axis" d="M{_LEFT},{_STRIP_TOP} V{_STRIP_BOTTOM} H{_RIGHT}"/>'
    yield f'<path class="limit" d="M{_LEFT},{limit:.1f} H{_RIGHT}"/>'
    for value in (TOLERANCE, 1e-12, _LOWEST):
        yield _text(_LEFT - 8, height(value) + 4, f'{value:.0e}', anchor='end')
    yield _text(_RIGHT, _STRIP_TOP - 8, largest, anchor='end')
    yield _polyline('apart', [height(value) for value in apart], keep_peaks=True)


def _difference(old: float, new: float) -> float:
    if old == new:
        return 0.0
    return abs(new - old) / abs(old) if old else 1.0


def _time_axis(count: int, unit: str) -> Iterator[str]:
    last = max(count - 1, 1)
    step = _round_step(last / 5)
    for at in range(0, last + 1, step):
        x = _LEFT + (_RIGHT - _LEFT) * at / last
        if x < _RIGHT - 110:
            yield _text(x, _STRIP_BOTTOM + 18, f'{at:,}', anchor='start' if at == 0 else 'middle')
    yield _text(_RIGHT, _STRIP_BOTTOM + 18, f'{count:,} {unit}', anchor='end')


def _round_step(value: float) -> int:
    power = 10 ** math.floor(math.log10(max(value, 1)))
    return int(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value))


def _polyline(kind: str, heights: Sequence[float], *, keep_peaks: bool = False) -> str:
    """A line through ``heights``, thinned to what can be seen."""
    last = max(len(heights) - 1, 1)
    width = max(math.ceil(len(heights) / _MOST_POINTS), 1)
    places = []
    for start in range(0, len(heights), width):
        group = range(start, min(start + width, len(heights)))
        if keep_peaks:
            places.append(min(group, key=heights.__getitem__))
        else:
            # Both ends of a group, so that a jump stays a jump.
            places.extend(sorted({group[0], group[-1]}))
    points = ' '.join(
        f'{_LEFT + (_RIGHT - _LEFT) * at / last:.1f},{heights[at]:.1f}' for at in places
    )
    return f'<polyline class="{kind}" points="{points}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = 'start', kind: str = '') -> str:
    named = f' class="{kind}"' if kind else ''
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}"{named}>{html.escape(text)}</text>'
