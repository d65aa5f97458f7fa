"""``mmengine init``: writes a small project that runs at once."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.cli.options import new_parser
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from mmengine.cli.options import Commands

_TEMPLATES = Path(__file__).with_name('_templates')
# A finetuning has the data and the network of the classification.
_FILES = {
    'classification': ('classification/config.py', 'classification/project.py'),
    'gan': ('gan/config.py', 'gan/project.py'),
    'finetune': ('finetune/config.py', 'finetune/pretrain.py', 'classification/project.py'),
}
NAMES = tuple(_FILES)
_EXAMPLES = """\
  mmengine init                      a classifier of drawn shapes, in the folder classification
  mmengine init gan --out my_gan     two networks with an optimizer each, in the folder my_gan
"""
_BEFORE = {'finetune': ['mmengine train pretrain.py']}
_THEN = [
    'mmengine train config.py',
    'mmengine predict config.py',
    'mmengine report work_dirs/config',
]


def add_parser(commands: Commands) -> None:
    """Add this command to ``commands``."""
    parser = new_parser(
        commands,
        'init',
        'write a small project that runs at once',
        'Write a config and one file with data and network, to begin with. It needs no\n'
        'other data and trains for some seconds on a CPU.',
        _EXAMPLES,
    )
    parser.add_argument(
        'template', nargs='?', default=NAMES[0], choices=NAMES, help='default: %(default)s'
    )
    parser.add_argument('--out', metavar='DIR', help='default: the name of the template')
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the project, and print the commands that come next."""
    folder = create(options.template, options.out)
    print(f'Wrote {folder}. Next:')
    for command in [f'cd {folder}', *_BEFORE.get(options.template, []), *_THEN]:
        print(f'  {command}')
    return 0


def create(template: str = NAMES[0], folder: str | Path | None = None) -> Path:
    """Write a small project.

    Args:
        template: ``'classification'``, ``'gan'`` or ``'finetune'``.
        folder: Where to; the name of the template by default. It is created if need be.

    Returns:
        The folder.

    Raises:
        ArgumentError: If there is no such template, or the folder has a file of one of the names.
    """
    if template not in NAMES:
        raise ArgumentError(f'The templates are {", ".join(NAMES)}; got {template!r}.')
    target = Path(template if folder is None else folder)
    sources = [_TEMPLATES / file for file in _FILES[template]]
    present = [source.name for source in sources if (target / source.name).exists()]
    if present:
        raise ArgumentError(f'{target} already has {", ".join(present)}; nothing was written.')
    target.mkdir(parents=True, exist_ok=True)
    for source in sources:
        shutil.copyfile(source, target / source.name)
    return target
