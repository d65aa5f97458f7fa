"""CurvesHook: draws the curves of a run into an image file."""

from __future__ import annotations

import io
import logging
import os
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from mmengine.dist import is_main_process
from mmengine.fileio import atomic_write
from mmengine.hooks.hook import Hook
from mmengine.logging import print_log
from mmengine.logging._numbers import float_of
from mmengine.logging._shown_once import shown_once
from mmengine.registry import HOOKS
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from mmengine.hooks.run import Run

Series = tuple['NDArray[np.float64]', 'NDArray[np.float64]']

_MOST_POINTS = 1000
_SHARE_OF_TIME = 0.02


@HOOKS.register_module()
class CurvesHook(Hook):
    """Draws losses, metrics and learning rates over iterations into ``curves.png``.

    The hook draws at the end of training. It also draws after validations, unless drawing would
    take more than 2 % of the time of the run. Long series are drawn as means over intervals of
    equal length. A resumed run continues its curves.

    Args:
        filename: Name of the image file in the work dir; the suffix selects the format.
    """

    # Runs after the checkpoint is saved, so that drawing does not delay saving.
    priority = 'LOWEST'

    def __init__(self, filename: str = 'curves.png') -> None:
        if not os.path.splitext(filename)[1]:
            raise ArgumentError(f'filename needs a suffix such as .png, got {filename!r}.')
        self.filename = filename
        self._metrics: dict[str, list[tuple[int, float]]] = {}
        self._is_training = False
        self._is_able = True
        self._next_drawing = 0.0

    def before_run(self, runner: Run) -> None:
        """Start without metrics; a resumed run loads its metrics later."""
        self._metrics = {}

    def before_train(self, runner: Run) -> None:
        """Record metrics from now on: they belong to the training."""
        self._is_training = True

    def after_val_epoch(self, runner: Run, metrics: dict[str, float] | None = None) -> None:
        """Record the metrics, and draw the curves."""
        if not self._is_training:
            return
        for name, value in shown_once(metrics or {}, 'val').items():
            if isinstance(value, (int, float, np.number)):
                self._metrics.setdefault(name, []).append((runner.iter, float_of(value)))
        if perf_counter() >= self._next_drawing:
            self._draw(runner)

    def after_train(self, runner: Run) -> None:
        """Draw the complete curves."""
        self._draw(runner)
        self._is_training = False

    def state_dict(self) -> dict[str, Any]:
        """The metrics of the run so far, with their iterations."""
        return {'metrics': {name: [list(one) for one in of] for name, of in self._metrics.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the metrics of the saved run."""
        self._metrics = {
            name: [(int(at), float(value)) for at, value in points]
            for name, points in state_dict['metrics'].items()
        }

    def _draw(self, runner: Run) -> None:
        if not self._is_able or not is_main_process():
            return
        begun = perf_counter()
        panels = self._panels(runner)
        try:
            picture = _picture(panels, os.path.splitext(self.filename)[1][1:])
            with atomic_write(os.path.join(runner.work_dir, self.filename)) as file:
                file.write(picture)
        except ImportError:
            self._give_up('CurvesHook needs matplotlib: pip install matplotlib')
        except OSError as error:
            self._give_up(f'Cannot write {self.filename} ({error}); the run continues without it.')
        now = perf_counter()
        self._next_drawing = now + (now - begun) / _SHARE_OF_TIME

    def _give_up(self, reason: str) -> None:
        self._is_able = False
        print_log(reason, logger='current', level=logging.WARNING)

    def _panels(self, runner: Run) -> dict[str, dict[str, Series]]:
        """The curves of each panel by name."""
        losses: dict[str, Series] = {}
        rates: dict[str, Series] = {}
        metrics: dict[str, Series] = {}
        hub = runner.message_hub
        hub.read_scalars()
        for key, buffer in hub.log_scalars.copy().items():
            mode, _, name = key.partition('/')
            if mode != 'train' or not ('loss' in name or name.rsplit('.', 1)[-1] == 'lr'):
                continue
            at, values = buffer.curve()
            if not len(at):
                continue
            # The latest value belongs to the latest iteration.
            curve = _shortened(at + (runner.iter - at[-1]), values)
            (losses if 'loss' in name else rates)[name] = curve
        for name, points in self._metrics.items():
            at, values = np.array(points, dtype=np.float64).T
            if 'loss' in name:
                losses[f'val {name.removeprefix("val_")}'] = (at, values)
            else:
                metrics[name] = (at, values)
        panels = {'loss': losses, 'validation': metrics, 'learning rate': rates}
        return {title: curves for title, curves in panels.items() if curves}


def _shortened(at: NDArray[np.float64], values: NDArray[np.float64]) -> Series:
    """Means over intervals of equal length, at most as many as an image can show."""
    stretch = -(-len(values) // _MOST_POINTS)
    if stretch <= 1:
        return at, values
    begins = np.arange(0, len(values), stretch)
    counts = np.diff([*begins, len(values)])
    return np.add.reduceat(at, begins) / counts, np.add.reduceat(values, begins) / counts


def _picture(panels: dict[str, dict[str, Series]], kind: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = max(len(panels), 1)
    figure = Figure(figsize=(5 * count, 4), layout='constrained')
    FigureCanvasAgg(figure)  # a canvas for this figure only, without pyplot
    axes: Any = figure.subplots(1, count, squeeze=False)[0]
    for panel, (title, curves) in zip(axes, panels.items(), strict=False):
        _fill(panel, title, curves)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind)
    return buffer.getvalue()


def _fill(panel: Axes, title: str, curves: dict[str, Series]) -> None:
    for name, (at, values) in curves.items():
        panel.plot(at, values, label=name, marker='.' if len(at) < 50 else None)
    panel.set_title(title)
    panel.set_xlabel('iteration')
    panel.grid(alpha=0.3)
    panel.legend()
