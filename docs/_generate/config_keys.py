"""The page of all keys of a run, from signatures and docstrings of what reads them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _generate.docstrings import arguments, table
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import (
    EpochBasedTrainLoop,
    IterBasedTrainLoop,
    Runner,
    TestLoop,
    ValLoop,
)
from mmengine.runner._config_facts import DATALOADER, ON_BAD_SAMPLE, OTHERS, SETTINGS
from mmengine.runner._config_keys import READ_FROM_CONFIG
from mmengine.runner._hook_list import DEFAULT_HOOKS

# Where each argument of the constructor acts. A test holds that none is missing.
ACTS_IN = {
    'model': '`MODELS`, when the run is built',
    'work_dir': 'logs and checkpoints',
    'train_dataloader': 'the train loop',
    'val_dataloader': 'the val loop',
    'test_dataloader': 'the test loop',
    'train_cfg': '`LOOPS`, when training begins',
    'val_cfg': '`LOOPS`, when a validation or training begins',
    'test_cfg': '`LOOPS`, when the test begins',
    'auto_scale_lr': 'the strategy, when the optimizer is built',
    'optim_wrapper': '`OPTIM_WRAPPERS`, when training begins',
    'param_scheduler': '`PARAM_SCHEDULERS`; stepped by `ParamSchedulerHook`',
    'val_evaluator': 'the val loop',
    'test_evaluator': 'the test loop',
    'default_hooks': '`HOOKS`, when the run is built',
    'custom_hooks': '`HOOKS`, when the run is built',
    'data_preprocessor': 'the model',
    'load_from': 'the start of train, val and test',
    'resume': 'the start of training',
    'launcher': 'the process group',
    'env_cfg': 'the process, before anything is built',
    'log_processor': '`LoggerHook` and `ProgressHook`',
    'log_level': 'the logger',
    'visualizer': '`LoggerHook`, and hooks that draw',
    'default_scope': 'every registry',
    'randomness': 'the process, and the loading of samples',
    'experiment_name': 'names of log, hub and visualizer',
    'cfg': 'kept as `runner.cfg`; not a key of a file',
    'preempt': 'signals, while a stage runs',
    'watchdog': 'a thread, while a stage runs',
    'checkpoint': 'the strategy, at each save',
}


def top_level() -> list[tuple[str, str, str, str, str]]:
    """Rows of all top-level keys: key, type, default, where it acts, what it does."""
    rows = [
        (one.name, one.type, one.default, ACTS_IN[one.name], one.text)
        for one in arguments(Runner)
        if one.name != 'cfg'
    ]
    missing = READ_FROM_CONFIG ^ set(OTHERS)
    if missing:
        raise LookupError(f'keys that are read from the config, and described here: {missing}')
    rows += [
        (name, kind, default, '`runner.cfg`', text)
        for name, (kind, default, text) in OTHERS.items()
    ]
    return rows


def write(folder: Path) -> None:
    """Write ``config_keys.md``."""
    (folder / 'config_keys.md').write_text(page(), encoding='utf-8')


def page() -> str:
    """The page as Markdown."""
    text = (
        '# Keys of a config\n\n'
        'A config of a run has these keys at its top level; they are the arguments of `Runner` of '
        'the same names. Other keys are variables of the author: the run keeps them in '
        '`runner.cfg` and reads none of them. This page is made from signatures and '
        'docstrings.\n\n'
        'Each stage needs three keys together: `train_dataloader`, `train_cfg` and '
        '`optim_wrapper`; `val_dataloader`, `val_cfg` and `val_evaluator`; '
        '`test_dataloader`, `test_cfg` and `test_evaluator`.\n\n'
        '## Top level\n\n'
        '| key | type | default | acts in | what it does |\n|---|---|---|---|---|\n'
    )
    for name, kind, default, where, what in top_level():
        cells = (f'`{name}`', f'`{kind}`', f'`{default}`' if default else 'needed', where, what)
        text += '| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |\n'
    text += _loops() + _dataloaders() + _optimizer() + _hooks() + _small()
    return text


def _loops() -> str:
    text = (
        '\n## `train_cfg`, `val_cfg`, `test_cfg`\n\n'
        '`by_epoch=True` chooses `EpochBasedTrainLoop`, `by_epoch=False` `IterBasedTrainLoop`; '
        '`type` names another class of `LOOPS`. The other keys are the arguments of the loop.\n\n'
    )
    for loop in (EpochBasedTrainLoop, IterBasedTrainLoop, ValLoop, TestLoop):
        text += f'### {loop.__name__}\n\n'
        text += table(arguments(loop, ('runner', 'dataloader', 'evaluator'), ValLoop)) + '\n'
    return text


def _dataloaders() -> str:
    text = (
        '## Dataloaders\n\nThese keys, and every argument of `torch.utils.data.DataLoader`.\n\n'
        '| key | what it does |\n|---|---|\n'
    )
    text += ''.join(f'| `{key}` | {what} |\n' for key, what in DATALOADER.items())
    return text + '\n### `on_bad_sample`\n\n' + table(arguments(ON_BAD_SAMPLE.target))


def _optimizer() -> str:
    return (
        '\n## `optim_wrapper`\n\n'
        "`type` is `'OptimWrapper'` by default. `optimizer` is a config of any class of "
        '`torch.optim`, `paramwise_cfg` and `constructor` choose options for groups of '
        'parameters.\n\n'
        '### OptimWrapper\n\n'
        + table(arguments(OptimWrapper))
        + '\n### AmpOptimWrapper\n\n'
        + table(arguments(AmpOptimWrapper, _shared(AmpOptimWrapper, OptimWrapper)))
    )


def _shared(cls: type, base: type) -> Sequence[str]:
    own = set(inspect.signature(cls).parameters) - set(inspect.signature(base).parameters)
    return [
        name
        for name, parameter in inspect.signature(cls).parameters.items()
        if name not in own or parameter.kind is parameter.VAR_KEYWORD
    ]


def _hooks() -> str:
    text = (
        '\n## `default_hooks`\n\n'
        'A run has these hooks. A key changes arguments of one; `None` drops it. '
        '`custom_hooks` is a list of further hooks: see the '
        '[hooks of the reference](api/hooks.rst).\n\n'
    )
    for key, config in DEFAULT_HOOKS.items():
        hook: Any = HOOKS.get(config['type'])
        text += f'### {key}: `{hook.__name__}`\n\n'
        given = {name: value for name, value in config.items() if name != 'type'}
        rows = arguments(hook)
        for row in rows:
            if row.name in given:
                row.default = repr(given[row.name])
        text += (table(rows) if rows else 'No arguments.\n') + '\n'
    return text


def _small() -> str:
    text = ''
    for key, setting in SETTINGS.items():
        rows = [*arguments(setting.target, setting.leave_out), *setting.more]
        text += f'\n## `{key}`\n\n{table(rows)}'
    return text
