"""Public methods of Runner that a subclass overrides are called at the moments of the API.

``ASKED`` was recorded from MMEngine 0.10.7: which overridden methods a constructor and each stage
call.
"""

import inspect
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runner_toy import NO_TEST, NO_VALIDATION, toy_config

from mmengine.logging import MMLogger
from mmengine.runner import Runner

CONSTRUCTED = (
    'build_log_processor build_logger build_message_hub build_model build_visualizer dump_config '
    'get_hooks_info register_default_hooks register_hook register_hooks set_randomness setup_env '
    'wrap_model'
)
TRAINED = (
    'build_dataloader build_evaluator build_optim_wrapper build_train_loop build_val_loop '
    'load_or_resume save_checkpoint scale_lr train'
)
ASKED = {
    'train': (CONSTRUCTED + ' register_custom_hooks', TRAINED + ' build_param_scheduler'),
    'resume': (CONSTRUCTED, TRAINED + ' load_checkpoint resume set_randomness'),
    'load': (CONSTRUCTED, TRAINED + ' load_checkpoint'),
    'val': (CONSTRUCTED, 'build_dataloader build_evaluator build_val_loop load_or_resume val'),
    'test': (
        CONSTRUCTED,
        'build_dataloader build_evaluator build_test_loop load_checkpoint load_or_resume test',
    ),
}


def spied(called: list[str]) -> type[Runner]:
    """A subclass that overrides every public method and notes its calls."""

    def override(name: str) -> Any:
        if isinstance(inspect.getattr_static(Runner, name), staticmethod):

            def static(*args: Any, **kwargs: Any) -> Any:
                called.append(name)
                return getattr(Runner, name)(*args, **kwargs)

            return staticmethod(static)

        def method(self: Runner, *args: Any, **kwargs: Any) -> Any:
            called.append(name)
            return getattr(super(spy, self), name)(*args, **kwargs)

        return method

    public = [
        name
        for name in dir(Runner)
        if not name.startswith('_')
        and name != 'from_cfg'
        and inspect.isroutine(inspect.getattr_static(Runner, name))
    ]
    spy: type[Runner] = type('Spy', (Runner,), {name: override(name) for name in public})
    return spy


def config(folder: Path, **changes: Any) -> dict[str, Any]:
    hooks = {'checkpoint': {'type': 'CheckpointHook', 'interval': 1}, 'logger': None}
    return toy_config(folder, default_hooks=hooks, randomness={}, **changes)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp('first')
    np.random.seed(3)  # the seed of the run is drawn from it
    Runner(**config(folder)).train()
    return str(folder / 'epoch_1.pth')


@pytest.mark.parametrize('stage', ASKED)
def test_every_overridden_method_is_called_where_the_api_calls_it(
    stage: str, tmp_path: Path, checkpoint: str
) -> None:
    changes: dict[str, dict[str, Any]] = {
        'train': {
            'param_scheduler': {'type': 'StepLR', 'step_size': 1},
            'custom_hooks': [{'type': 'EMAHook'}],
        },
        'resume': {'load_from': checkpoint, 'resume': True},
        'load': {'load_from': checkpoint},
        'test': {'load_from': checkpoint},
    }
    called: list[str] = []
    np.random.seed(4)  # a resumed run takes up the other seed
    runner = spied(called)(**config(tmp_path, **changes.get(stage, {})))
    constructed = set(called)
    called.clear()
    {'val': runner.val, 'test': runner.test}.get(stage, runner.train)()
    expected = [set(names.split()) for names in ASKED[stage]]
    assert [constructed, set(called) - {'call_hook'}] == expected


def test_the_first_steps_have_the_facts_that_the_api_has_then(tmp_path: Path) -> None:
    before: list[list[str]] = []
    names = ('work_dir', 'launcher', 'timestamp', 'seed', 'log_dir', 'experiment_name')

    class Own(Runner):
        def note(self) -> None:
            before.append([name for name in names if getattr(self, name, '')])

        def setup_env(self, env_cfg: dict[str, Any]) -> None:
            self.given = env_cfg
            super().setup_env({'cudnn_benchmark': False})
            self.note()

        def set_randomness(self, *args: Any, **kwargs: Any) -> None:
            super().set_randomness(*args, **kwargs)
            self.note()

        def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
            self.note()
            return super().build_logger(*args, **kwargs)

    env_cfg = {'cudnn_benchmark': False, 'dist_cfg': {'backend': 'gloo'}}
    runner = Own(**config(tmp_path, env_cfg=env_cfg))
    assert runner.given == env_cfg
    assert before == [list(names[:3]), list(names[:4]), list(names)]


def test_steps_without_super_replace_those_of_the_runner(tmp_path: Path) -> None:
    class Own(Runner):
        def setup_env(self, env_cfg: dict[str, Any]) -> None:
            self.is_set_up = True

        def set_randomness(self, seed: int | None, **kwargs: Any) -> None:
            self._seed = 7
            torch.manual_seed(7)

        def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
            logger = MMLogger.get_instance('an_own_logger')
            logger.setLevel(logging.ERROR)
            return logger

    runner = Own(**config(tmp_path))
    assert runner.is_set_up
    assert runner.seed == 7
    assert torch.initial_seed() == 7
    assert runner.logger.instance_name == 'an_own_logger'
    runner.train()
    assert runner.epoch == 2


def test_an_overridden_load_checkpoint_changes_the_weights_of_a_resumed_run(
    tmp_path: Path, checkpoint: str
) -> None:
    class Own(Runner):
        def load_checkpoint(self, filename: str, map_location: Any = 'cpu', **kwargs: Any) -> Any:
            assert map_location == torch.device('cpu') or map_location == 'cpu'
            loaded = super().load_checkpoint(filename, map_location=map_location, **kwargs)
            with torch.no_grad():
                self.model.linear.weight.fill_(3.0)
            return loaded

    runner = Own(
        **config(
            tmp_path,
            load_from=checkpoint,
            resume=True,
            train_cfg={'by_epoch': True, 'max_epochs': 1},
            **{**NO_VALIDATION, **NO_TEST},
        )
    )
    runner.train()
    assert runner.epoch == 1
    assert runner.model.linear.weight.item() == 3.0
