"""``mmengine train``: runs the training of a config."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmengine.cli import _tryout
from mmengine.cli.options import (
    add_config,
    add_run_options,
    add_screen_options,
    build_runner,
    check_run_config,
    leave_process_group,
    leaving_when_stopped,
    load_run_config,
    new_parser,
)
from mmengine.config import DictAction
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from mmengine.cli.options import Commands
    from mmengine.config import Config

_AMP_DTYPES = {'fp16': 'float16', 'bf16': 'bfloat16'}
# The value of --amp without a word. It is not text, which would have to be one of the choices.
_OF_DEVICE = True
_EXAMPLES = """\
  mmengine train examples/digits/config.py
  mmengine train config.py --work-dir runs/a --cfg-options train_cfg.max_epochs=3 model.depth=50
  mmengine train config.py --resume               resume the newest checkpoint in the work dir
  mmengine train config.py --resume runs/a/epoch_3.pth
  mmengine train config.py --resume --resume-with schedule=checkpoint on_change=error
  mmengine train config.py --amp bf16
  mmengine train config.py --fast-dev-run         a check of everything on one batch
  mmengine train config.py --lr-find --seed 1
  torchrun --nproc-per-node 2 -m mmengine train config.py --launcher pytorch
"""


class _ResumeFields(DictAction):
    """Fields of ``resume``; a path among them belongs to another option."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        for word in values or []:
            if '=' not in str(word):
                raise ArgumentError(
                    f'{option_string} takes KEY=VALUE, got {word!r}. The checkpoint to resume is '
                    f'given by --resume {word}.'
                )
        super().__call__(parser, namespace, values, option_string)


def add_parser(commands: Commands) -> None:
    """Add this command to ``commands``."""
    parser = new_parser(
        commands,
        'train',
        'train the model of a config',
        'Train and validate the model of CONFIG. Logs, scalars and checkpoints are written to the\n'
        'work dir. The config can use modules in the current folder.',
        _EXAMPLES,
    )
    add_config(parser)
    add_run_options(parser)
    add_screen_options(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='auto|PATH',
        help='resume from this checkpoint, or from the newest one in the work dir; must follow '
        'CONFIG',
    )
    parser.add_argument(
        '--resume-with',
        nargs='+',
        action=_ResumeFields,
        metavar='KEY=VALUE',
        help='what wins where config and checkpoint differ: schedule=config|checkpoint, '
        'optimizer=config|checkpoint, on_change=warn|error; again=True opens a run that had ended',
    )
    parser.add_argument(
        '--amp',
        nargs='?',
        const=_OF_DEVICE,
        choices=tuple(_AMP_DTYPES),
        metavar='fp16|bf16',
        help='train in mixed precision; without a word fp16 on CUDA and bf16 on the CPU',
    )
    parser.add_argument(
        '--seed', type=int, metavar='N', help="seed of the run: the config's randomness.seed"
    )
    parser.add_argument(
        '--force',
        action='store_true',
        help='train although another run holds the work dir',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale learning rates by the real batch size divided by '
        'auto_scale_lr.base_batch_size of the config',
    )
    _tryout.add_tryout_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the training with the options of the command line."""
    cfg = load_run_config(options)
    if options.amp is not None:
        cfg.optim_wrapper = with_amp(cfg.get('optim_wrapper'), _AMP_DTYPES.get(options.amp))
    if options.seed is not None:
        cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': options.seed}
    if options.auto_scale_lr:
        enable_auto_scale_lr(cfg)
    if options.resume is not None or options.resume_with:
        resume_from(cfg, options.resume, options.resume_with)
    if options.force:
        cfg.env_cfg = {**(cfg.get('env_cfg') or {}), 'lock': 'force'}
    _tryout.apply(cfg, options)
    check_run_config(cfg, 'train', options)
    if _tryout.replaces_training(options):
        return _tryout.run(cfg, options)
    refuse_second_run(cfg)
    from mmengine.cli import _screen
    from mmengine.process.signals import RunStopped
    from mmengine.runner import Runner

    has_display = _is_live() and not options.quiet
    if has_display:
        add_progress_display(cfg)
    screen = _screen.ScreenHook(has_table=has_display and not options.verbose)
    with _screen.console_of(options, has_display):
        runner = build_runner(cfg)
        is_known = isinstance(runner, Runner) and not options.quiet
        talks = is_known and runner.rank == 0
        if is_known:
            runner.register_hook(screen)
        overfitted = _tryout.overfit_of(runner, options)
        with leaving_when_stopped():
            try:
                runner.train()
            except RunStopped:
                if talks:
                    print(_screen.interruption_of(runner, options.typed))
                raise
    if talks:
        print(_screen.summary_of(runner, screen, options))
        if overfitted is not None:
            print(overfitted)
    leave_process_group()
    return 0


def _is_live() -> bool:
    """Whether standard output is a terminal that can redraw lines."""
    return sys.stdout.isatty() and os.environ.get('TERM') != 'dumb'


def refuse_second_run(cfg: Config) -> None:
    """Refuse a work dir that another run holds, before anything is written to it.

    Raises:
        WorkDirInUseError: If another run holds it.
    """
    from mmengine.process._lock import check_lock_setting, refuse_if_held

    if check_lock_setting((cfg.get('env_cfg') or {}).get('lock', True)) is True:
        refuse_if_held(cfg.work_dir)


def with_amp(optim_wrapper: Any, dtype: str | None) -> dict[str, Any]:
    """Convert the config of one or several optimizer wrappers to ``AmpOptimWrapper``.

    Args:
        optim_wrapper: The config, or configs by name. Not changed.
        dtype: 'float16', 'bfloat16', or None for the dtype in the config, if any, else the default
            of the device.

    Raises:
        ArgumentError: If there is no config, or its type is not ``OptimWrapper`` itself.
    """
    if not isinstance(optim_wrapper, Mapping):
        raise ArgumentError(
            f'--amp needs a dict as optim_wrapper of the config, got {optim_wrapper!r}.'
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
            f'--amp converts an OptimWrapper to an AmpOptimWrapper, but this optim_wrapper is a '
            f'{name}. Set its precision in the config.'
        )
    changed['type'] = 'mmengine.AmpOptimWrapper'
    if dtype is not None:
        changed['dtype'] = dtype
    return changed


def enable_auto_scale_lr(cfg: Config) -> None:
    """Enable ``auto_scale_lr`` of the config.

    Raises:
        ArgumentError: If the config has no ``auto_scale_lr.base_batch_size``.
    """
    settings = cfg.get('auto_scale_lr')
    if not isinstance(settings, Mapping) or 'base_batch_size' not in settings:
        raise ArgumentError(
            '--auto-scale-lr needs the batch size for which the learning rates were tuned: add '
            'auto_scale_lr = dict(base_batch_size=...) to the config.'
        )
    cfg.auto_scale_lr = {**settings, 'enable': True}


def resume_from(cfg: Config, source: str | None, fields: Mapping[str, Any] | None = None) -> None:
    """Make the run resume.

    ``load_from`` of the config stays: a run without a checkpoint begins with these weights.

    Args:
        cfg: The config. Fields of a ``resume`` dict in it stay.
        source: A checkpoint, or 'auto' for the newest in the work dir; None leaves it to the
            config.
        fields: More fields of ``resume``.

    Raises:
        FileNotFoundError: If ``source`` is a local path that does not exist.
    """
    if source not in (None, 'auto'):
        from mmengine._checkpoint.files import check_is_there

        check_is_there(source)
    given = cfg.get('resume')
    known = dict(given) if isinstance(given, Mapping) else {}
    if isinstance(given, str):
        known['path'] = given
    if source is not None:
        known['path'] = source
    known.update(fields or {})
    cfg.resume = known['path'] if set(known) == {'path'} else known


def add_progress_display(cfg: Config) -> None:
    """Add a ``ProgressHook``, unless the config already has one."""
    hooks = list(cfg.get('custom_hooks') or [])
    kinds = [hook.get('type') if isinstance(hook, Mapping) else type(hook) for hook in hooks]
    names = [kind if isinstance(kind, str) else getattr(kind, '__name__', '') for kind in kinds]
    if 'ProgressHook' not in names:
        cfg.custom_hooks = [*hooks, {'type': 'mmengine.ProgressHook'}]
