"""The run of a config without what a plan does not need: its runner, prepared to train."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.plan._data import Shapes, cannot_load, described_dataloader
from mmengine.plan._model import without_numbers
from mmengine.registry import HOOKS, RUNNERS
from mmengine.runner._preparing import prepare_training
from mmengine.strategy import BaseStrategy
from mmengine.utils.errors import ArgumentError

_LEFT_OUT = (
    'val_dataloader', 'val_cfg', 'val_evaluator', 'test_dataloader', 'test_cfg', 'test_evaluator',
    'load_from', 'resume', 'compile', 'visualizer', 'env_cfg', 'launcher', 'experiment_name',
    'preempt', 'watchdog', 'sync_bn', 'log_processor',
)  # fmt: skip


def build_run(
    cfg: Config,
    work_dir: str,
    mode: Any,
    *,
    mesh: Mapping[str, int] | None,
    shapes: Shapes | None,
    num_samples: int | None,
    world_size: int,
) -> tuple[Any, list[str]]:
    """The runner of ``cfg``, prepared to train, and notes for the reader of the plan.

    Args:
        cfg: Of a training. Left as it is.
        work_dir: A folder for what the runner writes.
        mode: A ``FakeTensorMode``; None builds the model with numbers.
        mesh: For the strategy.
        shapes: Of a sample, in place of the dataset.
        num_samples: Length of the dataset in that case.
        world_size: Number of ranks.

    Raises:
        ArgumentError: If the config does not train, or a part cannot be built.
    """
    settings = cfg.to_dict()
    for part in ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper'):
        if settings.get(part) is None:
            raise ArgumentError(f'A plan needs the config of a training; {part} is missing.')
    notes = [
        f'{part} of the config is left out of the plan.'
        for part in ('compile', 'sync_bn')
        if settings.get(part)
    ]
    for part in _LEFT_OUT:
        settings.pop(part, None)
    loader = settings['train_dataloader']
    settings['train_dataloader'] = described_dataloader(
        loader, shapes, num_samples, _samples_of_iterations(settings, world_size)
    )
    if mesh is not None:
        settings['strategy'] = _with_mesh(settings, mesh)
    settings.update(
        work_dir=work_dir,
        log_level='ERROR',
        custom_hooks=[hook for hook in settings.get('custom_hooks') or [] if _averages(hook)],
    )
    runner = _planned(settings.pop('runner_type', 'Runner'), mode).from_cfg(Config(settings))
    try:
        _ = runner.train_loop
    except Exception as error:
        if isinstance(error, ArgumentError) or shapes is not None:
            raise
        raise cannot_load('The training data', error) from error
    prepare_training(runner)
    return runner, notes


def _planned(kind: Any, mode: Any) -> Any:
    """A subclass of the runner ``kind`` whose strategy follows a plan."""
    found: Any = RUNNERS.get(kind) if isinstance(kind, str) else kind

    def build_strategy(self: Any, arguments: dict[str, Any]) -> BaseStrategy:
        strategy: BaseStrategy = found._build_strategy(self, arguments)
        without_numbers(strategy, mode)
        return strategy

    return type(found.__name__, (found,), {'_build_strategy': build_strategy})


def _with_mesh(settings: Mapping[str, Any], mesh: Mapping[str, int]) -> dict[str, Any]:
    given = settings.get('strategy') or 'fsdp'
    if given == 'fsdp':
        own = {'model_wrapper': settings.get('model_wrapper_cfg')}
        given = {'type': 'FSDPStrategy', **own}
    if not isinstance(given, Mapping):
        raise ArgumentError(f"mesh belongs to strategy='fsdp'; the config has {given!r}.")
    return {**given, 'mesh': dict(mesh)}


def _averages(hook: Any) -> bool:
    kind = hook.get('type') if isinstance(hook, Mapping) else type(hook)
    found = HOOKS.get(kind) if isinstance(kind, str) else kind
    return isinstance(found, type) and issubclass(found, EMAHook)


def _samples_of_iterations(settings: Mapping[str, Any], world_size: int) -> int | None:
    loop, loader = settings['train_cfg'], settings['train_dataloader']
    iterations = loop.get('max_iters') if isinstance(loop, Mapping) else None
    size = loader.get('batch_size') if isinstance(loader, Mapping) else None
    return iterations * size * world_size if iterations and size else None
