"""Legacy files broken at random: cut, doubled, bytes and tokens put in, lines exchanged."""

import contextlib
import io
import random
import sys
from pathlib import Path

from random_projects import project

from mmengine.cli.__main__ import main

sys.path.append(str(Path(__file__).parents[1] / 'config'))

import vocabularies

_TOKENS = (
    '(', ')', '[', ']', '{', '}', ':', ',', '=', '\\', "'", '"""', '#', '\n', '\r\n', '\t', '\f',
    '\x00', '\ufeff', 'é', '*', '**', '@', 'lambda: ', 'None', 'dict(', 'class X(', 'def ', 'if ',
    'return ', 'yield ', 'await ', 'runner.', 'self.', 'optimizer', '1e400', '-1', "''", '[]',
    '{{_base_.x}}', "_base_ = 'toy.py'\n", "_base_ = ['absent.py']\n", 'import mmcv.runner as r\n',
    'from mmcv.runner import *\n', '_delete_=True, ', 'runner = dict()\n', 'data = []\n',
    'lr_config = 3\n', 'custom_hooks = [None]\n', 'total_epochs = None\n', 'optimizer = {}\n',
)  # fmt: skip


def broken(seed):
    """The files of a project as bytes, by name, some of them broken; the same for each seed."""
    draw = random.Random(f'broken {seed}')
    files = {name: text.encode() for name, text in _whole(seed, draw).items()}
    names = draw.sample(sorted(files), min(draw.randint(1, 3), len(files)))
    for name in names:
        for _ in range(draw.choice([1, 1, 2, 5])):
            files[name] = _broken_once(draw, files[name])
    return files


def _whole(seed, draw):
    """A drawn project; for every second seed of configs, those of a known project."""
    number = draw.randrange(400)
    if seed % 6 != 5:
        return project(number)
    known = vocabularies.PROJECTS[draw.choice(sorted(vocabularies.PROJECTS))]
    leaves = draw.sample(sorted(name for name in known if not name.startswith('_base_')), 2)
    return {name: known[name] for name in known if name in leaves or name.startswith('_base_')}


def _broken_once(draw, data):
    place, other = sorted(draw.randrange(len(data) + 1) for _ in range(2))
    kind = draw.choice(['cut', 'gone', 'twice', 'token', 'token', 'token', 'byte', 'lines', 'line'])
    if kind == 'cut':
        return data[:place]
    if kind == 'gone':
        return data[:place] + data[min(other, place + 40) :]
    if kind == 'twice':
        return data[:other] + data[place:]
    if kind == 'token':
        return data[:place] + draw.choice(_TOKENS).encode() + data[place:]
    if kind == 'byte':
        return data[:place] + bytes([draw.randrange(256)]) + data[place:]
    lines = data.splitlines(keepends=True)
    if not lines:
        return data
    if kind == 'lines':
        draw.shuffle(lines)
    else:
        del lines[draw.randrange(len(lines))]
    return b''.join(lines)


def fault_of(seed, folder):
    """What is wrong with how the commands take the input of a seed; empty if nothing is.

    No command ends in a traceback, and a second run changes nothing.
    """
    source = Path(folder, f'{seed}', 'source')
    for name, data in broken(seed).items():
        place = source / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    command = ('project', 'code', 'config')[seed % 3]
    try:
        return _fault(command, source)
    except Exception as error:
        return f'{command}: {type(error).__name__}: {error}'


def _fault(command, source):
    first, second = source.with_name('first'), source.with_name('second')
    if command == 'code':
        _run('code', source, '--write')
        before = _contents(source)
        _run('code', source, '--write')
        return '' if _contents(source) == before else f'code: {_changed(before, source)} changed'
    words = ('project',) if command == 'project' else ('config',)
    options = () if command == 'project' else ('-o',)
    if _run(*words, source, *options, first) == 2:
        return ''
    _run(*words, first, *options, second)
    before = _contents(first)
    return '' if _contents(second) == before else f'{command}: {_changed(before, second)} changed'


def _run(*words):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            return main(['migrate', *map(str, words)])
        except SystemExit as stop:
            return stop.code


def _contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file() and path.name != 'MIGRATION.md'
    }


def _changed(before, folder):
    after = _contents(folder)
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
