"""The options of ``mmengine train`` that try something out before, or instead of, a training."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.tryout import Overfit

_PROFILED = 20


def add_tryout_options(parser: argparse.ArgumentParser) -> None:
    """Add the options; at most one of those that replace the training can be given."""
    group = parser.add_argument_group(
        'try it out', 'the first five leave out the usual training; a bare one must follow CONFIG'
    )
    one = group.add_mutually_exclusive_group()
    one.add_argument(
        '--fast-dev-run',
        nargs='?',
        const=1,
        type=_number('--fast-dev-run'),
        metavar='N',
        help='train, validate and test on N batches each (default: 1), and keep only the log',
    )
    one.add_argument(
        '--overfit',
        type=_number('--overfit'),
        metavar='N',
        help='train on the same N batches in every epoch, in the folder overfit of the work dir, '
        'and say whether the loss goes to near zero',
    )
    one.add_argument(
        '--lr-find',
        nargs='?',
        const='loss',
        metavar='LOSS',
        help='look for a learning rate: let it grow over 100 steps and follow LOSS (default: loss)',
    )
    one.add_argument(
        '--find-batch-size',
        action='store_true',
        help='double the batch size until a step does not fit into memory, and show throughputs',
    )
    one.add_argument(
        '--profile',
        nargs='?',
        const=_PROFILED,
        type=_number('--profile'),
        metavar='N',
        help='show where the time of N iterations goes (default: %(const)s), and write a trace',
    )
    group.add_argument(
        '--limit-train-batches',
        type=_limit('--limit-train-batches'),
        metavar='N|SHARE',
        help='train on the first N batches of each pass over the data, or a share such as 0.1',
    )
    group.add_argument(
        '--limit-val-batches',
        type=_limit('--limit-val-batches'),
        metavar='N|SHARE',
        help='the same for validations',
    )
    group.add_argument(
        '--memory',
        metavar='BYTES',
        help='memory for --find-batch-size: 8GB (default: what the device or the machine has)',
    )


def apply(cfg: Config, options: argparse.Namespace) -> None:
    """Put what the options say about data and folders into ``cfg``.

    Raises:
        ArgumentError: If options do not fit together.
    """
    limits = {'train': options.limit_train_batches, 'val': options.limit_val_batches}
    given = [f'--limit-{stage}-batches' for stage, limit in limits.items() if limit is not None]
    if options.memory is not None and not options.find_batch_size:
        raise ArgumentError('--memory belongs to --find-batch-size, which is not given.')
    if given and options.fast_dev_run is not None:
        raise ArgumentError(f'--fast-dev-run says how many batches there are, so leave {given[0]}.')
    if limits['train'] is not None and options.overfit is not None:
        raise ArgumentError(
            '--overfit says how many batches there are, so leave --limit-train-batches.'
        )
    if cfg.get('train_cfg') is None and (given or _chosen(options) or options.overfit):
        raise ArgumentError('The config has no train_cfg: there is no training to try out.')
    if given:
        from mmengine.tryout import limit_batches

        limit_batches(cfg, **limits)
    if options.overfit is not None:
        # A later --resume of the training must not find the checkpoints.
        cfg.work_dir = os.path.join(cfg.work_dir, 'overfit')


def replaces_training(options: argparse.Namespace) -> bool:
    """Whether an option asks for something else than the training."""
    return _chosen(options) is not None


def run(cfg: Config, options: argparse.Namespace) -> int:
    """Do what the option asks for, and print the result on rank 0."""
    from mmengine.cli import _screen
    from mmengine.cli.options import leave_process_group
    from mmengine.dist import is_main_process

    chosen = _chosen(options)
    assert chosen is not None
    with _screen.console_of(options, has_display=False):
        text = chosen(cfg, options)
    if is_main_process() and not (options.quiet and chosen is _fast_dev_run):
        print(text)
    leave_process_group()
    return 0


def overfit_of(runner: Any, options: argparse.Namespace) -> Overfit | None:
    """Prepare ``runner`` for ``--overfit``, if it is given."""
    if options.overfit is None:
        return None
    from mmengine.runner import Runner
    from mmengine.tryout import overfit

    if not isinstance(runner, Runner):
        raise ArgumentError(
            f'--overfit needs a Runner, but runner_type is {type(runner).__name__}.'
        )
    return overfit(runner, options.overfit)


def _chosen(options: argparse.Namespace) -> Callable[[Config, argparse.Namespace], str] | None:
    if options.fast_dev_run is not None:
        return _fast_dev_run
    if options.lr_find is not None:
        return _lr_find
    if options.find_batch_size:
        return _find_batch_size
    return _profile if options.profile is not None else None


def _fast_dev_run(cfg: Config, options: argparse.Namespace) -> str:
    from mmengine.tryout import fast_dev_run

    return str(fast_dev_run(cfg, options.fast_dev_run))


def _profile(cfg: Config, options: argparse.Namespace) -> str:
    from mmengine.tryout import profile

    return str(profile(cfg, options.profile))


def _lr_find(cfg: Config, options: argparse.Namespace) -> str:
    from mmengine.tryout import lr_find
    from mmengine.tryout._scratch import folder_of, scratch_config, scratch_runner

    with scratch_config(cfg) as own:
        runner = scratch_runner(own, cfg)
        found = lr_find(runner, loss=options.lr_find)
    lines = [str(found)]
    if runner.rank == 0:
        files = found.save(folder_of(cfg, runner))
        lines += [f'Wrote {file}' for file in files]
        if len(files) == 1:
            lines.append('The picture needs matplotlib: pip install matplotlib')
    if found.settings:
        settings = [f'{key}={value:.3g}' for key, value in found.settings.items()]
        lines.append(_next_training(options, settings))
    return '\n'.join(lines)


def _find_batch_size(cfg: Config, options: argparse.Namespace) -> str:
    from mmengine.tryout import find_batch_size
    from mmengine.tryout._scratch import scratch_config, scratch_runner

    with scratch_config(cfg) as own:
        runner = scratch_runner(own, cfg)
        found = find_batch_size(runner, memory=options.memory)
    lines = [str(found)]
    if found.fastest is not None:
        lines.append(_next_training(options, [f'train_dataloader.batch_size={found.fastest}']))
    return '\n'.join(lines)


def _next_training(options: argparse.Namespace, settings: Sequence[str]) -> str:
    left_out = ('lr_find', 'find_batch_size', 'memory')
    return f'Next: {options.typed.with_settings(settings, without=left_out)}'


def _number(option: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if text.isdecimal() and int(text) > 0:
            return int(text)
        raise argparse.ArgumentTypeError(_wrong(option, text, 'a positive number'))

    return parse


def _limit(option: str) -> Callable[[str], int | float]:
    def parse(text: str) -> int | float:
        if text.isdecimal() and int(text) > 0:
            return int(text)
        try:
            share = float(text)
        except ValueError:
            share = -1.0
        if 0 < share <= 1:
            return share
        raise argparse.ArgumentTypeError(
            _wrong(option, text, 'a positive number of batches, or a share of them such as 0.1')
        )

    return parse


def _wrong(option: str, text: str, what: str) -> str:
    hint = ''
    if text.endswith(('.py', '.json', '.yaml', '.yml')):
        hint = f' Write CONFIG before {option}.'
    return f'this is {what}, got {text!r}.{hint}'
