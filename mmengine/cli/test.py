"""``mmengine test``: evaluates a checkpoint on the test data of a config."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from mmengine.cli.options import Commands
    from mmengine.config import Config

_EXAMPLES = """\
  mmengine test examples/digits/config.py work_dirs/digits/best_accuracy_epoch_12.pth
  mmengine test config.py epoch_3.pth --out predictions.pkl
  mmengine test config.py epoch_3.pth --cfg-options test_dataloader.batch_size=1
  torchrun --nproc-per-node 2 -m mmengine test config.py epoch_3.pth --launcher pytorch
"""


def add_parser(commands: Commands) -> None:
    """Add this command to ``commands``."""
    parser = new_parser(
        commands,
        'test',
        'test a checkpoint of the model of a config',
        'Load CHECKPOINT into the model of CONFIG, run it on test_dataloader and print the\n'
        'metrics of test_evaluator.',
        _EXAMPLES,
    )
    add_config(parser)
    parser.add_argument(
        'checkpoint', metavar='CHECKPOINT', help='checkpoint to test: a path or a URL'
    )
    add_run_options(parser)
    add_screen_options(parser)
    parser.add_argument(
        '--out',
        metavar='FILE.pkl',
        help='also write the predictions, a pickled list in the order of DumpResults',
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the test with the options of the command line."""
    from mmengine._checkpoint.files import check_is_there

    cfg = load_run_config(options)
    if all(cfg.get(key) is None for key in ('test_dataloader', 'test_cfg', 'test_evaluator')):
        raise ArgumentError(
            f'{options.config} has nothing to test: it has no test_dataloader, test_cfg and '
            'test_evaluator.'
        )
    check_is_there(options.checkpoint)
    cfg.load_from, cfg.resume = options.checkpoint, False
    if options.out is not None:
        dump_predictions(cfg, options.out)
    check_run_config(cfg, 'test', options)
    from mmengine.cli._screen import console_of

    with console_of(options, has_display=False):
        runner = build_runner(cfg)
        with leaving_when_stopped():
            metrics = runner.test()
    if runner.rank == 0:
        print(_table(metrics))
    leave_process_group()
    return 0


def dump_predictions(cfg: Config, path: str) -> None:
    """Make the test evaluator also write its predictions to ``path``.

    With several dataloaders, each writes a separate file: ``<stem>_<name>.pkl``.
    """
    from mmengine.runner._build import named_parts

    evaluator = cfg.get('test_evaluator')
    several = named_parts(cfg.get('test_dataloader'), evaluator, 'test')
    if several is None:
        cfg.test_evaluator = _with_dump(evaluator, path)
        return
    target = Path(path)
    parts = {
        name: _with_dump(one, str(target.with_name(f'{target.stem}_{name}{target.suffix}')))
        for name, one in several[1].items()
    }
    cfg.test_evaluator = parts if isinstance(evaluator, Mapping) else list(parts.values())


def _with_dump(evaluator: Any, path: str) -> Any:
    dump = {'type': 'mmengine.DumpResults', 'out_file_path': path}
    if isinstance(evaluator, Mapping) and 'metrics' in evaluator:
        metrics = evaluator['metrics']
        return {**evaluator, 'metrics': [*_as_list(metrics), dump]}
    return [*_as_list(evaluator), dump]


def _as_list(metrics: Any) -> list[Any]:
    if metrics is None:
        return []
    return list(metrics) if isinstance(metrics, (list, tuple)) else [metrics]


def _table(metrics: Mapping[str, Any]) -> str:
    """A table with one metric per line and the values in one column."""
    width = max(map(len, metrics), default=0)
    return '\n'.join(
        f'{name:<{width}}  {value:.4f}' if isinstance(value, float) else f'{name:<{width}}  {value}'
        for name, value in metrics.items()
    )
