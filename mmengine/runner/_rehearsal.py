"""A rehearsal of a training run: its schedules and hooks without its model and data."""

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
from torch import nn
from torch.utils.data import Dataset

from mmengine.config import Config
from mmengine.hooks import RuntimeInfoHook
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.registry import DATASETS
from mmengine.runner.runner import Runner
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Sized

_LEFT_OUT = (
    *(
        f'{stage}_{part}'
        for stage in ('val', 'test')
        for part in ('dataloader', 'cfg', 'evaluator')
    ),
    'custom_hooks',
    'data_preprocessor',
    'load_from',
    'resume',
    'compile',
    'model_wrapper_cfg',
)


class ToyModel(BaseModel):
    """A model of one weight that any batch suits, in the place of the real one.

    Args:
        args: Not used.
        kwargs: Not used, so that the configuration of any model will do.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
        """A loss of 0, whatever comes."""
        return {'loss': torch.zeros(())}


class _SamplesToCount(Dataset[int]):
    """As many samples as a dataset has, with nothing in them: nothing is read from disk."""

    def __init__(self, dataset: 'Sized') -> None:
        self._length = len(dataset)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> int:
        return index


def update_params_step(self: OptimWrapper, loss: torch.Tensor) -> None:
    """Takes the place of :meth:`OptimWrapper.update_params`: counts, and steps without a gradient.

    Args:
        self: The wrapper.
        loss: Not used.
    """
    self._inner_count += 1
    if self.should_update():
        # Without a gradient this moves nothing, but schedulers want to have seen it.
        self.optimizer.step()
        self.num_steps += 1


def runtimeinfo_step(
    self: RuntimeInfoHook, runner: Runner, batch_idx: int, data_batch: Any = None
) -> None:
    """Takes the place of ``RuntimeInfoHook.before_train_iter``: records the momentum as well.

    Args:
        self: The hook.
        runner: The runner.
        batch_idx: Number of the batch.
        data_batch: Not used.
    """
    hub = runner.message_hub
    hub.update_info('iter', runner.iter)
    for name, rates in runner.optim_wrapper.get_lr().items():
        hub.update_scalar(f'train/{name}', rates[0])
    for name, momenta in runner.optim_wrapper.get_momentum().items():
        hub.update_scalar(f'train/{name}', momenta[0])


def fake_run(cfg: Config) -> Runner:
    """Run the schedules of a configuration: every hook and scheduler steps, nothing is computed.

    Shows what the learning rate and the momentum will be before hours are spent on them. The
    dataset is built for its length only; validation, custom hooks and checkpoints are left out. The
    visualizer of the configuration writes the learning rate and the momentum.

    Args:
        cfg: The configuration of a training run with one optimizer. It is left as it is.

    Returns:
        The runner, whose ``message_hub`` has ``train/lr`` and ``train/momentum`` of each iteration.

    Raises:
        ArgumentError: If the configuration has no training part or several optimizers.
    """
    settings = cfg.to_dict()
    for part in ('train_dataloader', 'train_cfg', 'optim_wrapper'):
        if settings.get(part) is None:
            raise ArgumentError(f'fake_run needs a configuration to train with; {part} is missing.')
    if 'optimizer' not in settings['optim_wrapper']:
        raise ArgumentError('fake_run supports one optimizer only: optim_wrapper.optimizer.')
    for part in _LEFT_OUT:
        settings.pop(part, None)
    wrapper = settings['optim_wrapper']
    settings.update(
        model={'type': ToyModel},
        launcher='none',
        optim_wrapper={
            'optimizer': wrapper['optimizer'],
            'accumulative_counts': wrapper.get('accumulative_counts', 1),
        },
        train_dataloader=_without_data(settings['train_dataloader']),
        default_hooks={**settings.get('default_hooks', {}), 'checkpoint': None},
    )
    runner = Runner.from_cfg(settings)
    with (
        patch.object(OptimWrapper, 'update_params', update_params_step),
        patch.object(RuntimeInfoHook, 'before_train_iter', runtimeinfo_step),
    ):
        runner.train()
    return runner


def _without_data(dataloader: dict[str, Any]) -> dict[str, Any]:
    dataset = dataloader['dataset']
    if isinstance(dataset, dict):
        dataset = DATASETS.build(dataset)
    kept = {
        key: value
        for key, value in dataloader.items()
        if key in ('batch_size', 'sampler', 'batch_sampler', 'drop_last')
    }
    return {**kept, 'num_workers': 0, 'dataset': _SamplesToCount(dataset)}
