"""Pages that are made from the code while the site is built: complete, and of what a run does."""

import inspect
import re
from pathlib import Path

import pytest
import torch
from _generate import config_keys, docstrings, hook_points, reference, schedules

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.runner._config_keys import READ_FROM_CONFIG

DOCS = Path(__file__).parents[2] / 'docs'


def test_the_build_makes_each_of_them() -> None:
    pages = (DOCS / '_generate' / 'pages.py').read_text(encoding='utf-8')
    for module in ('reference', 'config_keys', 'hook_points', 'schedules'):
        assert f'{module}.write(' in pages
    assert 'pages.write(' in (DOCS / 'conf.py').read_text(encoding='utf-8')


def test_the_reference_has_every_public_name_once(tmp_path: Path) -> None:
    reference.write(tmp_path)
    text = ''.join(path.read_text(encoding='utf-8') for path in tmp_path.glob('*.rst'))
    directive = (
        r'^\.\. (?:autoclass|autofunction|py:data):: (\S+)\n(?: .*\n|\n(?!   Also))*'
        r'(?:\n   Also in (.*))?'
    )
    documented, named = [], set()
    for path, others in re.findall(directive, text, re.M):
        documented.append(path)
        name = path.rpartition('.')[2]
        named |= {path, *(f'{module}.{name}' for module in re.findall(r'[\w.]+\w', others))}
    found = {f'{path}.{entry.name}' for entry in reference.entries() for path in entry.paths}
    assert len(documented) == len(set(documented))
    assert named == found
    for module in reference.modules():
        missing = {
            f'{module.__name__}.{name}'
            for name in getattr(module, '__all__', ())
            if not name.startswith('_') and not inspect.ismodule(getattr(module, name))
        }
        assert missing - found == set()


def test_every_key_of_a_run_is_on_its_page() -> None:
    keys = {row[0] for row in config_keys.top_level()}
    assert keys == {*inspect.signature(Runner).parameters, *READ_FROM_CONFIG} - {'cfg'}
    rows = {row[0]: row for row in config_keys.top_level()}
    assert rows['resume'][1:3] == ('bool | str | dict[str, Any]', 'False')
    assert '| `max_epochs` | `int` |' in config_keys.page()


def test_texts_of_arguments_are_read_whole() -> None:
    text = """Do it.

    Args:
        first: On one line.
        second: On two lines, with ``code`` and
            a :class:`Role`.

    Returns:
        third: not an argument
    """
    assert docstrings.sections(text) == {
        'first': 'On one line.',
        'second': 'On two lines, with `code` and a `Role`.',
    }


@pytest.mark.parametrize(
    ('calls', 'folded'),
    [
        ('abc', 'abc'),
        ('xabababy', ['x', ('a', 'b'), 'y']),
        ('eiisieiisi', [('e', ('i',), 's', 'i')]),
    ],
)
def test_equal_rounds_are_drawn_once(calls: str, folded: list[object]) -> None:
    def loop(one: object) -> object:
        return hook_points.Loop(tuple(map(loop, one))) if isinstance(one, tuple) else one

    assert hook_points.fold(list(calls)) == [loop(one) for one in folded]


def test_hook_points_are_those_of_real_runs() -> None:
    runs = hook_points.recorded()
    batch = ['before_train_iter', 'model.train_step', 'after_train_iter']
    val_batch = ['before_val_iter', 'model.val_step', 'after_val_iter']
    # As the docstrings of the loops have it; a hook of after_train_epoch saves the checkpoint.
    validation = ['before_val', 'before_val_epoch', *2 * val_batch, 'evaluator.evaluate',
                  'after_val_epoch', 'after_val']  # fmt: skip
    epoch = ['before_train_epoch', *2 * batch, 'after_train_epoch', 'before_save_checkpoint']
    assert runs['epochs'] == [
        'before_run', 'before_train', *2 * [*epoch, *validation], 'after_train', 'after_run'
    ]  # fmt: skip
    assert runs['iterations'][:3] == ['before_run', 'before_train', 'before_train_epoch']
    assert runs['iterations'][-3:] == ['after_train_epoch', 'after_train', 'after_run']
    assert runs['failed'][-2:] == ['on_exception', 'after_run']
    seen = {call for calls in runs.values() for call in calls}
    assert {*Hook.stages, 'on_exception'} - seen == set()


def test_each_schedule_has_a_picture_of_its_values(tmp_path: Path) -> None:
    schedules.write(tmp_path)
    page = (tmp_path / 'schedules.md').read_text(encoding='utf-8')
    for cls in schedules.classes():
        assert f'## {cls.__name__}\n' in page
    for picture in re.findall(r'\]\((schedules/\S+)\)', page):
        assert '<svg' in (tmp_path / picture).read_text(encoding='utf-8')
    again = schedules.picture([dict(type='StepLR', **schedules.SETTINGS['StepLR'])])
    assert again == (tmp_path / 'schedules' / 'steplr.svg').read_text(encoding='utf-8')


def test_the_values_drawn_are_those_of_torch() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=schedules.LR)
    expected = torch.optim.lr_scheduler.StepLR(optimizer, step_size=30, gamma=0.5)
    drawn = schedules.values([dict(type='StepLR', **schedules.SETTINGS['StepLR'])])
    for value in drawn:
        assert value == pytest.approx(expected.get_last_lr()[0])
        optimizer.step()
        expected.step()
