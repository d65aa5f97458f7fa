"""API path of :mod:`mmengine.runner._rehearsal`."""

from mmengine.runner._rehearsal import (
    ToyModel,
    fake_run,
    runtimeinfo_step,
    update_params_step,
)

__all__ = ['ToyModel', 'fake_run', 'runtimeinfo_step', 'update_params_step']
