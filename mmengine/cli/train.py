"""``mmengine train``: run the training that a config describes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmengine.cli.options import (
    add_config,
    add_run_options,
    build_runner,
    leave_process_group,
    load_run_config,
    new_parser,
)
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from mmengine.cli.options import Commands
    from mmengine.config import Config

_AMP_DTYPES = {'fp16': 'float16', 'bf16': 'bfloat16'}
_DEVICE_DEFAULT = 'default'
_EXAMPLES = """\
  mmengine train examples/digits/config.py
  mmengine train config.py --work-dir runs/a --cfg-options train_cfg.max_epochs=3 model.depth=50
  mmengine train config.py --resume               go on from the newest checkpoint of the work dir
  mmengine train config.py --resume runs/a/epoch_3.pth
  mmengine train config.py --amp bf16
  torchrun --nproc-per-node 2 -m mmengine train config.py --launcher pytorch
"""


def add_parser(commands: Commands) -> None:
    """Add this command to ``commands``."""
    parser = new_parser(
        commands,
        'train',
        'train the model of a config',
        'Train the model that CONFIG describes, validating as it says. Logs, scalars and\n'
        'checkpoints go to the work dir. The config can name modules in the current folder.',
        _EXAMPLES,
    )
    add_config(parser)
    add_run_options(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='auto|PATH',
        help='go on where a run had stopped: at this checkpoint, or at the newest of the work dir; '
        'stands behind CONFIG',
    )
    parser.add_argument(
        '--amp',
        nargs='?',
        const=_DEVICE_DEFAULT,
        choices=(*_AMP_DTYPES, _DEVICE_DEFAULT),
        metavar='fp16|bf16',
        help='train in mixed precision; without a value in fp16 on CUDA and bf16 on the CPU',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale learning rates by the real batch size over auto_scale_lr.base_batch_size of '
        'the config',
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train as the command line says."""
    cfg = load_run_config(options)
    if options.amp is not None:
        cfg.optim_wrapper = with_amp(cfg.get('optim_wrapper'), _AMP_DTYPES.get(options.amp))
    if options.auto_scale_lr:
        enable_auto_scale_lr(cfg)
    if options.resume is not None:
        resume_from(cfg, options.resume)
    if sys.stdout.isatty():
        add_progress_display(cfg)
    runner = build_runner(cfg)
    runner.train()
    if runner.rank == 0:
        print(_where_things_are(runner))
    leave_process_group()
    return 0


def with_amp(optim_wrapper: Any, dtype: str | None) -> dict[str, Any]:
    """The config of an optimizer wrapper, or of several by name, as ``AmpOptimWrapper``.

    Args:
        optim_wrapper: The config; left as it is.
        dtype: 'float16', 'bfloat16', or None to keep the config's or take the device's own.

    Raises:
        ArgumentError: If there is none, or its type is no plain ``OptimWrapper``.
    """
    if not isinstance(optim_wrapper, Mapping):
        raise ArgumentError(
            f'--amp changes the optim_wrapper of the config, which is {optim_wrapper!r}.'
        )
    changed = dict(optim_wrapper)
    if 'optimizer' not in changed:
        for name, part in changed.items():
            if isinstance(part, Mapping) and 'optimizer' in part:
                changed[name] = with_amp(part, dtype)
        return changed
    kind = changed.get('type', 'OptimWrapper')
    name = kind if isinstance(kind, str) else getattr(kind, '__name__', repr(kind))
    if name.rpartition('.')[2] not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise ArgumentError(
            f'--amp turns an OptimWrapper into an AmpOptimWrapper, but this optim_wrapper is a '
            f'{name}. Set its precision in the config.'
        )
    changed['type'] = 'mmengine.AmpOptimWrapper'
    if dtype is not None:
        changed['dtype'] = dtype
    return changed


def enable_auto_scale_lr(cfg: Config) -> None:
    """Switch on the config's ``auto_scale_lr``.

    Raises:
        ArgumentError: If the config does not say for which batch size its rates are.
    """
    settings = cfg.get('auto_scale_lr')
    if not isinstance(settings, Mapping) or 'base_batch_size' not in settings:
        raise ArgumentError(
            '--auto-scale-lr needs to know for which batch size the rates of the config are: put '
            'auto_scale_lr = dict(base_batch_size=...) into it.'
        )
    cfg.auto_scale_lr = {**settings, 'enable': True}


def resume_from(cfg: Config, source: str) -> None:
    """Let the run go on from ``source``, a checkpoint or 'auto' for the newest of the work dir.

    Raises:
        FileNotFoundError: If ``source`` is a local path and not there.
    """
    cfg.resume = True
    cfg.load_from = None
    if source != 'auto':
        from mmengine._checkpoint.files import check_is_there

        check_is_there(source)
        cfg.load_from = source


def add_progress_display(cfg: Config) -> None:
    """Show the run's progress live, unless the config has its own ``ProgressHook``."""
    hooks = list(cfg.get('custom_hooks') or [])
    kinds = [hook.get('type') if isinstance(hook, Mapping) else type(hook) for hook in hooks]
    names = [kind if isinstance(kind, str) else getattr(kind, '__name__', '') for kind in kinds]
    if 'ProgressHook' not in names:
        cfg.custom_hooks = [*hooks, {'type': 'mmengine.ProgressHook'}]


def _where_things_are(runner: Any) -> str:
    hub = runner.message_hub
    lines = [f'Work dir         {runner.work_dir}', f'Log and scalars  {runner.log_dir}']
    for title, key in (('Last checkpoint ', 'last_ckpt'), ('Best checkpoint ', 'best_ckpt')):
        if key in hub.runtime_info:
            lines.append(f'{title} {hub.get_info(key)}')
    return '\n'.join(lines)
