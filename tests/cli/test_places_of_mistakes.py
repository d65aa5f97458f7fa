"""A mistake points to the file and line that last wrote the wrong value, however it came there."""

from pathlib import Path

import pytest

from mmengine.cli.__main__ import main
from mmengine.config import Config
from mmengine.runner import check_config

# Each writes one wrong value, in the line with the mark. `base.py` is the toy config.
MARK = '# <-'
BASE = "_base_ = './base.py'\n"
LAZY = 'from mmengine.config import read_base\nwith read_base():\n    from .base import *\n'
ARRANGEMENTS = {
    'overridden': {'child.py': BASE + 'train_dataloader = dict(\n    batch_size=0)  # <-\n'},
    'deleted': {
        'child.py': BASE + 'train_dataloader = dict(\n    _delete_=True,\n'
        "    dataset=dict(type='ToyPairs'),\n    batch_size=0,  # <-\n)\n"
    },
    'inherited': {
        'middle.py': BASE + 'train_dataloader = dict(batch_size=0)  # <-\n',
        'child.py': "_base_ = './middle.py'\ntrain_dataloader = dict(num_workers=0)\n",
    },
    'right in the base, wrong in the child': {
        'middle.py': BASE + 'train_dataloader = dict(batch_size=2)\n',
        'child.py': "_base_ = './middle.py'\ntrain_dataloader = dict(num_workers=0,\n"
        '    batch_size=0)  # <-\n',
    },
    'wrong in a file that two inherit from': {
        'loop.py': 'train_cfg = dict(\n    max_epochs=0)  # <-\n',
        'rest.py': "_base_ = './base.py'\ntrain_cfg = dict(_delete_=True)\n",
        'child.py': BASE + "loop = dict()\ntrain_cfg = dict(_delete_=True, max_epochs=1)\n"
        'train_cfg.update(\n    max_epochs=0)  # <-\n',
    },
    'a list replaced': {
        'middle.py': BASE + "custom_hooks = [dict(type='EMAHook', momentum=0.1)]\n",
        'child.py': "_base_ = './middle.py'\ncustom_hooks = [\n    dict(type='EMAHook'),\n"
        "    dict(type='EMAHook',\n         momentum='a'),  # <-\n]\n",
    },
    'a list built from the base': {
        'middle.py': BASE + "hooks = [dict(type='EMAHook')]\n",
        'child.py': "_base_ = './middle.py'\ncustom_hooks = [*_base_.hooks, dict(\n"
        "    type='EMAHok')]  # <-\n",
    },
    'an item of a list changed': {
        'child.py': BASE + "custom_hooks = [dict(type='EMAHook')]\n"
        "custom_hooks[0]['momentum'] = 'a'  # <-\n"
    },
    'a dict taken over': {
        'child.py': BASE + 'sizes = dict(\n    batch_size=0)  # <-\n'
        "train_dataloader = dict(dataset=dict(type='ToyPairs'), **sizes)\n"
    },
    'a key assigned': {
        'child.py': BASE + 'train_cfg = dict(max_epochs=1)\n\ntrain_cfg["max_epochs"] = 0  # <-\n'
    },
    'lazy, overridden': {'child.py': LAZY + '\ntrain_dataloader.batch_size = 0  # <-\n'},
    'lazy, merged': {
        'child.py': LAZY + 'train_dataloader.update(dict(\n    num_workers=0,\n'
        '    batch_size=0))  # <-\n'
    },
    'lazy, inherited': {
        'middle.py': LAZY + "train_dataloader['batch_size'] = 0  # <-\n",
        'child.py': LAZY.replace('.base', '.middle') + 'train_dataloader.num_workers = 0\n',
    },
    'lazy, taken over': {
        'child.py': LAZY + "train_cfg |= dict(\n    max_epochs=0)  # <-\n"
    },
    'lazy, a class': {
        'child.py': LAZY + 'from mmengine.hooks import EMAHook\n'
        'custom_hooks = [dict(type=EMAHook,\n                     momentum="a")]  # <-\n'
    },
}  # fmt: skip


def write(project: Path, files: dict[str, str]) -> str:
    """Write the files; returns the place of the marked line of the last one that has a mark."""
    (project / 'toy.py').rename(project / 'base.py')
    place = ''
    for name, text in files.items():
        (project / name).write_text(text)
        lines = text.splitlines()
        place = next(
            (f'{name}:{at}' for at, line in enumerate(lines, 1) if MARK in line), place
        )  # fmt: skip
    return place


@pytest.mark.parametrize('arrangement', ARRANGEMENTS)
def test_the_line_that_wrote_the_wrong_value_is_told(project: Path, arrangement: str) -> None:
    place = write(project, ARRANGEMENTS[arrangement])
    found = [one for one in check_config(Config.fromfile('child.py')) if one.is_certain]
    assert len(found) == 1, found
    assert found[0].place is not None
    assert found[0].place.removeprefix(f'{project}/') == place


@pytest.mark.parametrize('style', [BASE, LAZY], ids=['text', 'lazy'])
@pytest.mark.parametrize(
    'option',
    ['train_dataloader.batch_size=0', 'train_cfg.max_epochs=0', 'custom_hooks.0.momentum=a',
     'custom_hooks.0.type=EMAHok', 'default_hooks.logger.interval=0', 'randomness.seed=a',
     'optim_wrapper.optimizer.lr=a'],
)  # fmt: skip
def test_a_value_of_the_command_line_is_told_as_such(
    project: Path, capsys: pytest.CaptureFixture[str], style: str, option: str
) -> None:
    write(project, {'child.py': style + "custom_hooks = [dict(type='EMAHook', momentum=0.1)]\n"})
    assert main(['config', 'check', 'child.py', '--cfg-options', option]) == 2
    message = capsys.readouterr().err
    assert message.startswith('mmengine config: error: --cfg-options: '), message
