"""Averaged weights in the checkpoint of a run that no longer averages."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from mmengine.utils._quantities import counted

if TYPE_CHECKING:
    from mmengine.runner.runner import Runner

_PREFIX = 'module.'


def use_raw_weights(runner: Runner, checkpoint: dict[str, Any]) -> None:
    """Resume from the raw weights, if no hook of the run has taken the average.

    A checkpoint with an average has the raw weights, from which training goes on, in
    ``ema_state_dict``. ``EMAHook`` exchanges them. Without that hook the training would go on from
    the averaged weights.
    """
    if not runner.state.is_resuming or 'ema_state_dict' not in checkpoint:
        return
    if any('EMA' in type(hook).__name__.upper() for hook in runner.hooks):
        return
    saved = checkpoint.pop('ema_state_dict')
    raw = {
        key.removeprefix(_PREFIX): value for key, value in saved.items() if key.startswith(_PREFIX)
    }
    average = checkpoint['state_dict']
    weights: Any = OrderedDict({**average, **{key: raw[key] for key in raw if key in average}})
    if hasattr(average, '_metadata'):
        weights._metadata = average._metadata
    checkpoint['state_dict'] = weights
    if runner.state.resume_report is not None:
        runner.state.resume_report.add(
            'averaged weights',
            f'an average of {counted(int(saved.get("steps", 0)), "step")}',
            'no EMAHook',
            'config; training goes on from the raw weights (load_from takes the average)',
            'custom_hooks',
        )
