"""The command that a command names as the next one has all that the user has typed."""

import shlex

import pytest

from mmengine.cli.__main__ import build_parser, main
from mmengine.cli._next_command import TypedCommand


def typed(line: str) -> TypedCommand:
    words = shlex.split(line)
    options = build_parser(words[:1]).parse_args(words)
    return TypedCommand(options.parser, words)


SETTINGS = {
    'nothing else': ('train c.py --lr-find', 'train c.py --cfg-options lr=1'),
    'a loss': ('train c.py --lr-find loss_g', 'train c.py --cfg-options lr=1'),
    'with =': ('train c.py --lr-find=loss_g', 'train c.py --cfg-options lr=1'),
    'shortened': ('train c.py --lr-f loss_g --see 1', 'train c.py --see 1 --cfg-options lr=1'),
    'memory': (
        'train c.py --find-batch-size --memory 8GB --amp', 'train c.py --amp --cfg-options lr=1'
    ),
    'all others': (
        "train c.py --work-dir 'a b' --seed 3 --amp bf16 --launcher none --auto-scale-lr --force "
        '--quiet --limit-train-batches 0.5 --limit-val-batches 3 --resume x.pth '
        '--resume-with schedule=config on_change=warn --lr-find',
        "train c.py --work-dir 'a b' --seed 3 --amp bf16 --launcher none --auto-scale-lr --force "
        '--quiet --limit-train-batches 0.5 --limit-val-batches 3 --resume x.pth '
        '--resume-with schedule=config on_change=warn --cfg-options lr=1',
    ),
    'other settings': (
        'train c.py --cfg-options a=1 b.c=[1,2] --lr-find --seed 1',
        "train c.py --seed 1 --cfg-options a=1 'b.c=[1,2]' lr=1",
    ),
    'the same setting': (
        'train c.py --cfg-options lr=5 lr_2=3 --lr-find', 'train c.py --cfg-options lr_2=3 lr=1'
    ),
    'settings with =': (
        'train c.py --cfg-options=a=1 --lr-find', 'train c.py --cfg-options=a=1 --cfg-options lr=1'
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', SETTINGS)
def test_a_tryout_names_the_training_with_its_settings(name: str) -> None:
    line, expected = SETTINGS[name]
    found = typed(line).with_settings(['lr=1'], without=('lr_find', 'find_batch_size', 'memory'))
    assert found == f'mmengine {expected}'
    # The options of both mean the same, but for the settings.
    first, second = (
        vars(build_parser(['train']).parse_args(shlex.split(one)))
        for one in (line, found.removeprefix('mmengine '))
    )
    for other in ('lr_find', 'find_batch_size', 'memory', 'cfg_options', 'parser'):
        first.pop(other), second.pop(other)
    assert first == second


@pytest.mark.parametrize(
    'resume', ['', ' --resume', ' --resume runs/epoch_3.pth', ' --resume=auto']
)
def test_an_interrupted_training_goes_on_from_its_newest_checkpoint(resume: str) -> None:
    command = typed(f'train c.py{resume} --seed 1').without(('resume',), ['--resume'])
    assert command == 'mmengine train c.py --seed 1 --resume'


def test_the_test_has_the_options_that_it_shares(
    project: object, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ['--seed', '1', '--cfg-options', 'model.slope=2', '--work-dir', 'mine']
    assert main(['train', 'toy.py', *words]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith('Next'))
    program, *rest = shlex.split(line.removeprefix('Next'))
    assert (program, rest[:2]) == ('mmengine', ['test', 'toy.py'])
    assert rest[3:] == ['--cfg-options', 'model.slope=2', '--work-dir', 'mine']
    assert main(rest) == 0
