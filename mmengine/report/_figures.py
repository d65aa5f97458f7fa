"""Curves as figures of Plotly, which can be zoomed in a browser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.report._run import RunRecord
from mmengine.utils.errors import ArgumentError

_HEIGHT = 320


def figures(runs: Sequence[RunRecord]) -> list[tuple[str, str]]:
    """The name of each quantity and its figure as HTML, all runs in one figure.

    A quantity that is also measured in validations, such as the loss, is drawn with it. The first
    figure needs the script of :func:`script`.

    Raises:
        ArgumentError: If Plotly is not installed.
    """
    plotly = _plotly()
    pages = []
    for name, members in _by_figure(runs).items():
        figure = plotly.graph_objects.Figure()
        for number, run in enumerate(runs):
            color = plotly.colors.qualitative.D3[number % len(plotly.colors.qualitative.D3)]
            for member in members:
                curve = run.curves.get(member)
                if curve is None:
                    continue
                is_validation = member.startswith('val/')
                label = _label(member, members)
                figure.add_scatter(
                    x=curve.iters,
                    y=curve.values,
                    name=f'{run.name}, {label}' if len(runs) > 1 else label,
                    mode='lines+markers' if is_validation else 'lines',
                    line={'color': color, 'dash': 'dot' if is_validation else 'solid'},
                )
        figure.update_layout(
            height=_HEIGHT,
            margin={'l': 60, 'r': 20, 't': 30, 'b': 45},
            template='plotly_white',
            showlegend=True,
            # Below, because the buttons are above: on a phone they would cover it.
            legend={'orientation': 'h', 'y': -0.25, 'yanchor': 'top'},
            xaxis_title='iteration',
            yaxis_title=name,
        )
        html: str = figure.to_html(
            full_html=False,
            include_plotlyjs=False,
            config={'displaylogo': False, 'responsive': True},
        )
        pages.append((name, html))
    return pages


def script() -> str:
    """The JavaScript of Plotly, which the page holds so that it needs no network."""
    source: str = _plotly().offline.get_plotlyjs()
    return source


def _by_figure(runs: Sequence[RunRecord]) -> dict[str, list[str]]:
    """Names of curves by the quantity that they show; losses first, then metrics, then the rest."""
    names = list(dict.fromkeys(name for run in runs for name in run.curves))
    groups: dict[str, list[str]] = {}
    for name in names:
        plain = name.removeprefix('val/')
        shared = plain.removeprefix('val_')  # `val_loss` is the loss
        groups.setdefault(shared if shared in names else plain, []).append(name)
    return dict(sorted(groups.items(), key=lambda item: _rank(item[0], item[1])))


def _label(member: str, members: Sequence[str]) -> str:
    """What a curve is called beside the other ``members`` of its figure."""
    if not member.startswith('val/'):
        return 'training'
    is_only_one = sum(other.startswith('val/') for other in members) == 1
    return 'validation' if is_only_one else f'validation, {member.removeprefix("val/")}'


def _rank(name: str, members: list[str]) -> int:
    if name == 'loss':
        return 0
    if any(member.startswith('val/') for member in members):
        return 1
    return 2 if 'loss' in name else 3


def _plotly() -> Any:
    try:
        import plotly
        import plotly.graph_objects
        import plotly.offline
    except ImportError as error:
        raise ArgumentError(
            "The curves of a report need Plotly: pip install 'mmengine[report]'"
        ) from error
    return plotly
