"""A wrong or half-legacy config gets a message, never a traceback, and the exit code is true."""

import os
import random

import malformed
import pytest

from mmengine.cli.__main__ import main

GOOD = "optimizer = dict(type='SGD', lr=0.1)\ntotal_epochs = 3\n"


def command(*arguments):
    return main(['migrate', 'config', *map(str, arguments)])


def told(capsys):
    shown = capsys.readouterr()
    return shown.out + shown.err


def any_file(folder):
    return folder.is_file() or any(path.is_file() for path in folder.rglob('*'))


@pytest.mark.parametrize('block', range(6))
def test_no_tree_makes_a_traceback(block, tmp_path, capsys):
    for seed in range(25 * block, 25 * (block + 1)):
        chance = random.Random(seed)
        source, target = tmp_path / str(seed) / 'old', tmp_path / str(seed) / 'new'
        source.mkdir(parents=True)
        for name, content in malformed.files(seed).items():
            (source / name).write_bytes(content)
        options = [
            *chance.choice([[], ['--flatten']]),
            *chance.choice([[], ['--check'], ['--report', tmp_path / 'report.html']]),
            *chance.choice([[], ['--rules', chance.choice(['mmdet', 'mmseg', 'mmpose', 'mmcls'])]]),
        ]
        code = command(source, '-o', target, *options)
        text = told(capsys)
        assert code in (0, 1, 2), seed
        assert any_file(target) == (code != 2), seed
        assert 'Traceback' not in text, seed
        assert 'Traced' not in text, seed
        assert code == 0 or 'Left to do' in text or 'Not converted' in text or 'left' in text, seed


@pytest.mark.parametrize(
    ('text', 'place'),
    [
        ('evaluation = dict(\n  interval=0)\n' + GOOD, 'a.py:2: evaluation.interval: it is a'),
        (GOOD + "lr_config = dict(policy='exp', gamma='x')\n", 'gamma is a number, got'),
        (
            GOOD + "lr_config = dict(policy='step', step=[2.5])\n",
            'every step is a positive integer',
        ),
        (
            GOOD + "lr_config = dict(policy='fixed', warmup='exp', warmup_iters=.5)\n",
            'a positive integer for warmup_iters, got 0.5',
        ),
        (GOOD + 'fp16 = 3\n', 'a.py:3: fp16: it is a dict, got 3.'),
        (
            GOOD + "data = dict(samples_per_gpu='2')\n",
            'data.samples_per_gpu: it is a positive integer',
        ),
        (GOOD + 'find_unused_parameters = 1\n', 'a.py:3: find_unused_parameters: it is True or'),
        (GOOD + "log_config = dict(hooks=['Text'])\n", 'log_config.hooks: it is a list of dicts'),
        (GOOD + "workflow = ['train']\n", "a.py:3: workflow: it is a list like [('train', 1)]"),
        ('import sys\nsys.exit()\n' + GOOD, 'it ends the program'),
        ("_base_ = './a.py'\n", 'circular'),
        ("_base_ = './b.py'\n", "no config file"),
        ('x = 1 / 0\n' + GOOD, 'a.py:1: ZeroDivisionError'),
        ('total_epochs = (\n', 'a.py:1'),
    ],
)  # fmt: skip
def test_a_message_tells_the_key_and_the_line(tmp_path, capsys, monkeypatch, text, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'a.py').write_text(text)
    assert command('a.py') == 2
    assert place in told(capsys)
    assert sorted(os.listdir(tmp_path)) == ['a.py']


def test_a_file_in_another_encoding_is_told(tmp_path, capsys):
    (tmp_path / 'a.py').write_bytes(b'name = "S\xe9"\n')
    assert command(tmp_path / 'a.py') == 2
    assert 'UTF-8' in told(capsys)


def test_a_tree_without_configs_is_told(tmp_path, capsys):
    (tmp_path / 'tree').mkdir()
    (tmp_path / 'tree' / 'README.md').write_text('none here')
    assert command(tmp_path / 'tree') == 2
    assert 'holds no config' in told(capsys)
    assert not (tmp_path / 'tree_migrated').exists()


def test_code_of_the_project_is_copied_and_not_run(tmp_path):
    tree = tmp_path / 'tree'
    tree.mkdir()
    (tree / 'a.py').write_text(GOOD)
    code = 'raise RuntimeError\n\n\nclass Net:\n    pass\n'
    (tree / 'net.py').write_text(code)
    assert command(tree, '-o', tmp_path / 'new') == 0
    assert (tmp_path / 'new' / 'net.py').read_text() == code


def test_links_to_nowhere_are_left_out(tmp_path):
    tree = tmp_path / 'tree'
    tree.mkdir()
    (tree / 'a.py').write_text(GOOD)
    (tree / 'circle').symlink_to('circle')
    (tree / 'gone.py').symlink_to('nowhere.py')
    assert command(tree, '-o', tmp_path / 'new') == 0
    assert sorted(os.listdir(tmp_path / 'new')) == ['a.py']


def test_a_second_call_into_a_folder_inside_the_tree_converts_no_result(tmp_path, capsys):
    (tmp_path / 'a.py').write_text(GOOD)
    assert command(tmp_path, '-o', tmp_path / 'new') == 0
    assert command(tmp_path, '-o', tmp_path / 'new') == 0
    assert '1 of 1 configs converted' in told(capsys)
    assert not (tmp_path / 'new' / 'new').exists()


@pytest.mark.parametrize('target', ['tree', 'tree/a.py'])
def test_sources_as_the_destination_are_refused(tmp_path, capsys, target):
    (tmp_path / 'tree').mkdir()
    (tmp_path / 'tree' / 'a.py').write_text(GOOD)
    source = tmp_path / target
    assert command(source, '-o', source, '--force') == 2
    assert 'would be overwritten' in told(capsys)
    assert (tmp_path / 'tree' / 'a.py').read_text() == GOOD


@pytest.mark.parametrize('source', ['tree', 'tree/a.py'])
def test_a_destination_that_cannot_be_is_told(tmp_path, capsys, source):
    (tmp_path / 'tree').mkdir()
    (tmp_path / 'tree' / 'a.py').write_text(GOOD)
    (tmp_path / 'file').write_text('not a folder')
    assert command(tmp_path / source, '-o', tmp_path / 'file' / 'new') == 2
    assert 'mmengine migrate config: ' in told(capsys)
    assert (tmp_path / 'file').read_text() == 'not a folder'


def test_a_report_that_cannot_be_written_is_told_and_the_configs_are_there(tmp_path, capsys):
    (tmp_path / 'a.py').write_text(GOOD)
    (tmp_path / 'file').write_text('not a folder')
    report = tmp_path / 'file' / 'report.html'
    assert command(tmp_path / 'a.py', '--report', report) == 1
    assert 'no report' in told(capsys)
    assert (tmp_path / 'a_migrated.py').exists()
