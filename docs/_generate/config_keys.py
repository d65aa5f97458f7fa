"""The page of all keys of a run, from signatures and docstrings of what reads them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _generate.docstrings import Argument, arguments, table
from mmengine.dataset._bad_samples import BadSamplePolicy
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.process import Preempt
from mmengine.process.env import setup_process
from mmengine.process.session import Session
from mmengine.process.watchdog import WatchdogSettings
from mmengine.registry import HOOKS
from mmengine.runner import (
    EpochBasedTrainLoop,
    IterBasedTrainLoop,
    LogProcessor,
    Runner,
    TestLoop,
    ValLoop,
)
from mmengine.runner._config_keys import READ_FROM_CONFIG
from mmengine.runner._hook_list import DEFAULT_HOOKS
from mmengine.strategy._checkpoint_settings import CheckpointSettings
from mmengine.strategy._resume_request import ResumeRequest
from mmengine.visualization import Visualizer

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
# Keys without an argument of the constructor, which are read from the config itself.
OTHERS = {
    'strategy': (
        "str or dict", "None",
        "Where the parameters are: `'auto'`, `'ddp'`, `'fsdp'`, or the config of a strategy. "
        'See [strategies](../strategies.md).',
    ),
    'model_wrapper_cfg': (
        'str or dict', 'None',
        'The class that wraps the model on several ranks, by `MODEL_WRAPPERS`.',
    ),
    'sync_bn': (
        'str', 'None',
        "`'torch'` or `'mmcv'`: batch norms become synchronised ones on several ranks.",
    ),
    'find_unused_parameters': (
        'bool', 'False', 'Passed to DDP: parameters may be without a gradient in a step.',
    ),
    'compile': (
        'bool or dict', 'False',
        '`torch.compile` for a method of the model: `True`, or the arguments of `torch.compile` '
        "with `target`, the name of the method, `'forward'` by default.",
    ),
    'activation_checkpointing': (
        'str or list[str]', 'None',
        'Names of modules whose activations are computed again in backward.',
    ),
    'custom_imports': (
        'dict', 'None',
        '`imports`, modules that are imported when the file is read, and `allow_failed_imports`.',
    ),
    'runner_type': ('str', "'Runner'", 'Another class than `Runner`, by `RUNNERS`.'),
    'strict_config': ('bool', 'False', 'Warnings about keys that look misspelt are errors.'),
    'tta_model': ('dict', 'None', 'The model of test-time augmentation, for `PrepareTTAHook`.'),
    'tta_pipeline': ('list', 'None', 'The pipeline of test-time augmentation.'),
}  # fmt: skip
DATALOADER = {
    'dataset': 'The dataset, or its config for `DATASETS`. Needed.',
    'batch_size': 'Samples of a batch, on each rank. 1 by default.',
    'sampler': "The sampler's config for `DATA_SAMPLERS`; `DefaultSampler(shuffle=...)` and "
    '`InfiniteSampler` split the data over ranks.',
    'batch_sampler': 'The config of a batch sampler.',
    'collate_fn': 'How samples become a batch: a function, its name, or `dict(type=...)`. '
    "`'pseudo_collate'` by default, which makes lists; `'default_collate'` stacks.",
    'num_workers': 'Processes that load samples; 0 loads in the main process.',
    'num_batch_per_epoch': 'Only as many of the first samples as fill so many batches.',
    'limit_batches': 'The first batches of each pass over all samples: a number, or a share such '
    'as 0.1. An epoch has that length for schedules too; a stream gets a length by it.',
    'worker_init_fn': 'Called in each worker when it starts.',
    'on_bad_sample': "`'raise'`, `'skip'`, or a dict with the fields below.",
    'disable_subprocess_warning': 'Ignore warnings in workers.',
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
    return text + '\n### `on_bad_sample`\n\n' + table(arguments(BadSamplePolicy))


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
    parts: list[tuple[str, list[Argument]]] = [
        ('log_processor', arguments(LogProcessor)),
        ('visualizer', arguments(Visualizer)),
        ('resume', arguments(ResumeRequest, ('enabled',))),
        ('checkpoint', arguments(CheckpointSettings)),
        ('randomness', arguments(Session.set_randomness)),
        ('env_cfg', arguments(setup_process)),
        ('preempt', arguments(Preempt)),
        ('watchdog', arguments(WatchdogSettings)),
    ]
    return ''.join(f'\n## `{key}`\n\n{table(rows)}' for key, rows in parts)
