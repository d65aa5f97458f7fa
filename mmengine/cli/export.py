"""``mmengine export``: writes a trained model by torch.export or to ONNX, and checks the file."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mmengine.cli.options import add_config, load_run_config, new_parser, warn_of_new_keys
from mmengine.cli.predict import add_checkpoint
from mmengine.utils._rows import rows_text

if TYPE_CHECKING:
    from mmengine.cli.options import Commands
    from mmengine.export import Exported

_EXAMPLES = """\
  mmengine export config.py                       the best checkpoint of its run, by torch.export
  mmengine export config.py --out model.onnx
  mmengine export config.py --out model.onnx --batch-size 1 --opset 18 --with-preprocessor
  mmengine export config.py --dynamic inputs:2,3
  mmengine export config.py --module backbone --checkpoint work_dirs/config/epoch_3.pth
"""


def add_parser(commands: Commands) -> None:
    """Add this command to ``commands``."""
    parser = new_parser(
        commands,
        'export',
        'export a trained model by torch.export or to ONNX',
        "Write forward(mode='tensor') of the model of CONFIG as a file that runs without its\n"
        'code. The file is read back and compared with the model on samples of the test data.\n'
        'If they differ, nothing is written, and the exit code is 1.',
        _EXAMPLES,
    )
    add_config(parser)
    add_checkpoint(parser)
    parser.add_argument(
        '--format',
        choices=('torch', 'onnx'),
        help='torch.export (.pt2) or ONNX (default: by the suffix of --out, else torch)',
    )
    parser.add_argument(
        '--out',
        metavar='FILE',
        help='file ending in .pt2 or .onnx (default: in the work dir, named as the checkpoint)',
    )
    parser.add_argument(
        '--batch-size', type=int, metavar='N', help='the only batch size (default: any)'
    )
    parser.add_argument(
        '--opset', type=int, metavar='N', help="version of ONNX operators (default: torch's)"
    )
    parser.add_argument(
        '--with-preprocessor',
        action='store_true',
        help='the data preprocessor is in the file too (default: inputs of forward)',
    )
    parser.add_argument(
        '--module', metavar='NAME', help='export this sub-module only, such as backbone'
    )
    parser.add_argument(
        '--inputs',
        nargs='+',
        metavar='KEY',
        help='entries of a batch that the file takes (default: those that an output depends on)',
    )
    parser.add_argument(
        '--dynamic',
        nargs='+',
        type=_dims,
        metavar='KEY:DIMS',
        help='sizes that may vary besides the batch size, such as inputs:2,3 for images',
    )
    parser.add_argument(
        '--tolerance',
        type=float,
        metavar='X',
        help='largest difference, relative to the largest number of an output or to 1 (default: '
        '1e-4 for float32)',
    )
    parser.set_defaults(run=run, launcher=None, local_rank=0)


def run(options: argparse.Namespace) -> int:
    """Export, and print what the file is."""
    cfg = load_run_config(options)
    warn_of_new_keys(options)
    from mmengine.export import export

    exported = export(
        cfg,
        checkpoint=options.checkpoint,
        format=options.format,
        out=options.out,
        batch_size=options.batch_size,
        opset=options.opset,
        with_preprocessor=options.with_preprocessor,
        module=options.module,
        inputs=options.inputs,
        dynamic=dict(options.dynamic or ()),
        tolerance=options.tolerance,
    )
    print(summary_of(exported))
    return 0


def _dims(text: str) -> tuple[str, tuple[int, ...]]:
    """The input and its dimensions in ``inputs:2,3``."""
    name, _, dims = text.rpartition(':')
    numbers = dims.split(',')
    if not name or not all(number.isdecimal() for number in numbers):
        raise argparse.ArgumentTypeError(
            f'this is an input and the numbers of its dimensions, as in inputs:2,3, got {text!r}.'
        )
    return name, tuple(map(int, numbers))


def summary_of(exported: Exported) -> str:
    """What the file computes, takes and returns, and how far it is from the model."""
    rows = [('Checkpoint', exported.checkpoint), ('Exported', exported.title)]
    for title, forms in (('Inputs', exported.inputs), ('Outputs', exported.outputs)):
        rows += [
            ('' if index else title, f'{name}: {form}') for index, (name, form) in enumerate(forms)
        ]
    if exported.left_out:
        rows.append(('Left out', f'{", ".join(exported.left_out)}: no output depends on it'))
    rows += [('Note', note) for note in exported.notes]
    worst = max(exported.differences.values(), key=lambda one: one.largest)
    sizes = ', '.join(str(size) for size in sorted(filter(None, exported.differences)))
    resized = f', and {exported.resized}' if exported.resized else ''
    rows.append((
        'Compared',
        f'with the model, batch size {sizes}{resized}: largest difference {worst.largest:.2g} '
        f'({worst.allowed:.2g} is allowed)',
    ))  # fmt: skip
    rows.append(('Wrote', f'{exported.file} ({exported.bytes / 1000:,.0f} kB)'))
    return rows_text(rows)
