"""A run of which nothing is left but its log and chosen files."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine._checkpoint.tools import ls
from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.logging import MMLogger
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from mmengine.runner._arguments import ConfigLike, own_config
from mmengine.strategy._resume_request import parse_resume
from mmengine.strategy._resume_source import find_resume_source
from mmengine.strategy.checkpoint_io import FileCheckpointIO
from mmengine.utils.errors import ArgumentError

_FOLDER = '.tryout'
_LOGGER = logging.getLogger('mmengine.tryout')


@contextmanager
def scratch_config(cfg: ConfigLike, *kept: str) -> Iterator[Config]:
    """The config of a run in a hidden folder of the work dir, which is removed afterwards.

    The log of the run is then in ``<work dir>/<timestamp>``, as after other runs. Trackers are left
    out, and checkpoints go into the folder too. A run that resumes takes its checkpoint from the
    work dir.

    Args:
        cfg: The config of a run. Left as it is.
        kept: Names of other files in the log dir that are kept.

    Raises:
        ArgumentError: If the config has no ``work_dir``.
    """
    own = own_config(cfg)
    if own.get('work_dir') is None:
        raise ArgumentError('The config needs a work_dir: the log of the run is written there.')
    target = Path(own.work_dir).absolute()
    folder = target / _FOLDER
    if _resume_from_target(own, str(target)):
        _stand_in(folder, target)
    own.work_dir = str(folder)
    _keep_files_inside(own)
    try:
        yield own
        barrier()  # another rank may still write
    finally:
        _close_logs_in(folder)
        if is_main_process() and folder.is_dir():
            _keep(folder, target, ('*.log', *kept))
            shutil.rmtree(folder, ignore_errors=True)


def scratch_runner(own: Config, cfg: ConfigLike) -> Any:
    """The runner of ``own``, a :func:`scratch_config` of ``cfg``.

    Its config is ``cfg`` afterwards: a checkpoint that is resumed is compared with the real run.
    """
    runner = RUNNERS.build(own)
    if isinstance(runner, Runner):
        runner.cfg = own_config(cfg)
    return runner


def log_of(cfg: ConfigLike, runner: Any) -> str:
    """Where the log of a run with :func:`scratch_config` of ``cfg`` is afterwards."""
    return str(folder_of(cfg, runner) / f'{runner.timestamp}.log')


def folder_of(cfg: ConfigLike, runner: Any) -> Path:
    """Where the log dir of a run with :func:`scratch_config` of ``cfg`` is afterwards."""
    return Path(str(cfg['work_dir'])).absolute() / str(runner.timestamp)


def _resume_from_target(cfg: Config, target: str) -> bool:
    """Name the checkpoint that a run in the work dir would resume; whether there is one."""
    request = parse_resume(cfg.get('resume'))
    if not request.enabled:
        return False
    source = find_resume_source(
        FileCheckpointIO(), target, cfg.get('load_from'), request.source, _LOGGER
    )
    if source is None:
        cfg.resume = False
    elif isinstance(cfg.resume, dict):
        cfg.resume = {**cfg.resume, 'path': source}
    else:
        cfg.resume = source
    return source is not None


def _stand_in(folder: Path, target: Path) -> None:
    """Put something of each name into ``folder`` in the place of checkpoints in the work dir.

    A resumed run looks for those that it has saved, and removes some of them.
    """
    for name in (os.path.basename(entry['path']) for entry in ls(target)):
        place = folder / name
        if (target / name).is_dir():
            place.mkdir(parents=True, exist_ok=True)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            place.touch()


def _keep_files_inside(cfg: Config) -> None:
    visualizer = cfg.get('visualizer')
    if visualizer is None or isinstance(visualizer, dict):
        cfg.visualizer = {
            'type': 'Visualizer',
            **(visualizer or {}),
            'vis_backends': [{'type': 'LocalVisBackend'}],
        }
    hooks = cfg.get('default_hooks') or {}
    checkpoint = hooks.get('checkpoint')
    if isinstance(checkpoint, dict) and 'out_dir' in checkpoint:
        del checkpoint['out_dir']


def _close_logs_in(folder: Path) -> None:
    """Let loggers write to no file in ``folder`` any more; the console still shows them."""
    for logger in list(MMLogger._instance_dict.values()):
        files = [each for each in logger.handlers if isinstance(each, logging.FileHandler)]
        for handler in files:
            if Path(handler.baseFilename).is_relative_to(folder):
                logger.removeHandler(handler)
                handler.close()


def _keep(folder: Path, target: Path, patterns: Sequence[str]) -> None:
    for start in folder.iterdir():
        if not start.is_dir():
            continue
        for pattern in patterns:
            for file in start.glob(pattern):
                (target / start.name).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target / start.name / file.name)
