"""Shared parts of the commands: the options of a run, and the config built from them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.config import Config, DictAction
from mmengine.config.config import run_custom_imports

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')


def new_parser(
    commands: Commands, name: str, summary: str, description: str, examples: str
) -> argparse.ArgumentParser:
    """The parser of a command; its help has a description, the options and examples."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f'examples:\n{examples}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--traceback', action='store_true', help='show the traceback of errors')
    parser.set_defaults(parser=parser)
    return parser


def add_config(
    parser: argparse.ArgumentParser, metavar: str = 'CONFIG', *, is_needed: bool = True
) -> None:
    """Add the options for the config file and for changes of its entries."""
    parser.add_argument(
        'config',
        nargs=None if is_needed else '?',
        metavar=metavar,
        help='config file: .py, .json, .yaml',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='change entries of the config: a.b=1 c.0.d=x e=[1,2] f="(1,2)"; digits index lists',
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the work dir and the launcher."""
    parser.add_argument(
        '--work-dir',
        metavar='DIR',
        help="folder for logs and checkpoints (default: the config's work_dir, else "
        './work_dirs/<name of the config>)',
    )
    parser.add_argument(
        '--launcher',
        choices=LAUNCHERS,
        help="launcher of the processes of a distributed run (default: the config's launcher, "
        'else none)',
    )
    # torch.distributed.launch passes it; torchrun only sets the environment variable.
    parser.add_argument('--local-rank', '--local_rank', type=int, default=0, help=argparse.SUPPRESS)


def add_screen_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--quiet`` and ``--verbose``."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument('--quiet', action='store_true', help='print warnings and errors only')
    group.add_argument(
        '--verbose',
        action='store_true',
        help='print all that goes to the log file: environment, config, hooks',
    )


def load_run_config(options: argparse.Namespace) -> Config:
    """The config of a run, with the options of the command line merged in.

    The current folder becomes importable, as with ``python -m``, so that a config can use modules
    of a project that is not installed.
    """
    _import_from_here()
    os.environ.setdefault('LOCAL_RANK', str(options.local_rank))
    cfg = Config.fromfile(options.config, import_custom_modules=False)
    options.warnings = merge_options(cfg, options.cfg_options)
    run_custom_imports(cfg)
    if options.work_dir is not None:
        cfg.work_dir = options.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('work_dirs', Path(options.config).stem)
    if options.launcher is not None:
        cfg.launcher = options.launcher
    return cfg


def load_with_imports(file: str) -> Config:
    """A config file whose ``custom_imports`` are imported, without options."""
    _import_from_here()
    return Config.fromfile(file)


def _import_from_here() -> None:
    if os.getcwd() not in sys.path and '' not in sys.path:
        sys.path.insert(0, os.getcwd())


def load_config(options: argparse.Namespace) -> Config:
    """The config file with ``--cfg-options`` merged in, without importing ``custom_imports``."""
    cfg = Config.fromfile(options.config, import_custom_modules=False)
    cfg.merge_from_dict(options.cfg_options)
    return cfg


def merge_options(cfg: Config, options: Mapping[str, Any]) -> list[str]:
    """Merge the options into the config of a run.

    Returns:
        Messages about new keys that nothing reads.

    Raises:
        ConfigKeyError: If there is such a key, and ``strict_config`` of the config is set.
    """
    from mmengine.runner import Runner
    from mmengine.runner._arguments import argument_names
    from mmengine.runner._config_keys import check_strict, new_keys_of_options

    messages = new_keys_of_options(cfg, options, argument_names(Runner, Runner))
    cfg.merge_from_dict(dict(options))
    check_strict(cfg, messages)
    return messages


def check_run_config(cfg: Config, stage: str, options: argparse.Namespace) -> None:
    """Check the config of a run before anything is printed or built.

    Raises:
        ConfigMistakesError: If it has mistakes; the message lists all of them.
        ArgumentError: If the work dir is a URL.
    """
    from mmengine.runner._check.config import refuse_mistakes

    refuse_mistakes(cfg, stage, options=options.cfg_options)
    warn_of_new_keys(options)


def warn_of_new_keys(options: argparse.Namespace) -> None:
    """Print what :func:`load_run_config` found about options that create keys, on rank 0."""
    if os.environ.get('RANK', '0') != '0':
        return
    for message in options.warnings:
        print(f'mmengine: warning: {message}', file=sys.stderr)


def build_runner(cfg: Config) -> Any:
    """Build the runner of the class in ``runner_type`` of the config, ``Runner`` by default."""
    from mmengine.registry import RUNNERS

    return RUNNERS.build(cfg)


def leave_process_group() -> None:
    """Destroy the process group; torch warns about groups that are not destroyed."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def leaving_when_stopped() -> Iterator[None]:
    """Leave the process group if the run within this context is stopped on request."""
    try:
        yield
    except SystemExit:
        leave_process_group()
        raise
