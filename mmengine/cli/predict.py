"""``mmengine predict``: predicts on files, or on the test data of a config."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.cli.options import add_config, load_run_config, new_parser, warn_of_new_keys
from mmengine.utils._rows import rows_text

if TYPE_CHECKING:
    from mmengine.cli.options import Commands
    from mmengine.infer import Predictions

_FOLDER = 'predictions'
_WIDTH = 100
_EXAMPLES = """\
  mmengine predict config.py                      the test data, with the best checkpoint of its run
  mmengine predict config.py images/ a.png --out results
  mmengine predict config.py sample.npy --checkpoint work_dirs/config/epoch_3.pth
  mmengine predict config.py --checkpoint last --cfg-options test_dataloader.batch_size=8
"""


def add_parser(commands: Commands) -> None:
    """Add this command to ``commands``."""
    parser = new_parser(
        commands,
        'predict',
        'predict on files, or on the test data of a config',
        'Load a checkpoint of the work dir of CONFIG, predict on INPUTS, and write a line of\n'
        'JSON for each prediction. Without INPUTS the test data of CONFIG are used. A file is\n'
        'loaded by the inferencer of CONFIG, or the pipeline of its test data; without these\n'
        'it contains a sample as it is: .npy, .npz, .pt, .json.',
        _EXAMPLES,
    )
    add_config(parser)
    parser.add_argument('inputs', nargs='*', default=[], metavar='INPUTS', help='files and folders')
    add_checkpoint(parser)
    parser.add_argument(
        '--out', metavar='DIR', help=f'folder to write to (default: {_FOLDER} in the work dir)'
    )
    parser.add_argument(
        '--batch-size',
        type=int,
        metavar='N',
        help="samples of a batch (default: the dataloader's; 1 for files)",
    )
    parser.add_argument('--device', help='such as cpu or cuda:0 (default: the best there is)')
    parser.add_argument(
        '--input-key',
        default='img_path',
        metavar='KEY',
        help='key under which the pipeline expects the path of a file (default: %(default)s)',
    )
    parser.set_defaults(run=run, launcher=None, local_rank=0)
    _allow_inputs_after_options(parser)


def _allow_inputs_after_options(parser: argparse.ArgumentParser) -> None:
    """Let INPUTS stand anywhere after CONFIG, which argparse does not do for ``nargs='*'``."""

    def parse(args: Any = None, namespace: Any = None) -> Any:
        del parser.parse_known_args  # the next line calls the method of the class
        return parser.parse_known_intermixed_args(args, namespace)

    parser.parse_known_args = parse  # type: ignore[method-assign]  # of this parser alone


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Add the options for the weights of a trained model."""
    parser.add_argument(
        '--checkpoint',
        metavar='best|last|PATH',
        help='weights: a path or a URL, or the best or last ones of the work dir (default: the '
        'best if the run has saved them, else the last)',
    )
    parser.add_argument(
        '--work-dir',
        metavar='DIR',
        help="work dir of the run (default: the config's work_dir, else "
        './work_dirs/<name of the config>)',
    )


def run(options: argparse.Namespace) -> int:
    """Predict, and print a summary."""
    cfg = load_run_config(options)
    warn_of_new_keys(options)
    from mmengine.infer import predict

    predictions = predict(
        cfg,
        options.inputs,
        checkpoint=options.checkpoint,
        out=options.out or os.path.join(cfg.work_dir, _FOLDER),
        batch_size=options.batch_size,
        device=options.device,
        input_key=options.input_key,
        show_progress=sys.stdout.isatty(),
    )
    print(summary_of(predictions))
    return 0


def summary_of(predictions: Predictions) -> str:
    """What was predicted, with which weights, and where it is."""
    count, seconds = predictions.count, predictions.seconds
    speed = f', {count / seconds:,.0f} a second' if seconds > 0 else ''
    rows = [
        ('Checkpoint', str(predictions.checkpoint)),
        ('Model', f'{predictions.model} on {predictions.device}'),
        ('Data', predictions.data),
        ('Predictions', f'{count:,} in {seconds:.1f} s{speed}'),
    ]
    rows += [('' if index else 'First', _cut(line)) for index, line in enumerate(predictions.first)]
    if predictions.as_text:
        rows.append(('As text', f'values of {", ".join(predictions.as_text)}'))
    file = predictions.file or Path()
    beside = f' and {predictions.num_arrays:,} arrays beside it' if predictions.num_arrays else ''
    rows.append(('Wrote', f'{file}{beside}'))
    return rows_text(rows)


def _cut(line: str) -> str:
    return line if len(line) <= _WIDTH else f'{line[: _WIDTH - 3]}...'
