"""A second run of each command changes nothing: on its result, and on the same source again."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / 'config'), str(HERE / 'project')]

import vocabularies  # noqa: E402
from random_projects import project  # noqa: E402

from mmengine.cli.__main__ import main  # noqa: E402

DETECTION = {
    name: vocabularies.DETECTION[name]
    for name in ('_base_/data.py', '_base_/schedule.py', '_base_/runtime.py', 'cityscapes.py')
}
CHECKPOINT = HERE / 'data' / 'checkpoints' / 'epochs-ema-Line-plain-epoch_2.pth'


def command(*words):
    return main(['migrate', *map(str, words)])


def written(files, folder):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file() and path.name != 'MIGRATION.md'
    }


@pytest.mark.parametrize('options', [(), ('--flatten',)], ids=['in place', 'flat'])
def test_of_a_tree_of_configs(tmp_path, options):
    source = written(DETECTION, tmp_path / 'old')
    assert command('config', source, '-o', tmp_path / 'one', *options) == 0
    first = contents(tmp_path / 'one')
    assert command('config', source, '-o', tmp_path / 'one', '--force', *options) == 0
    assert contents(tmp_path / 'one') == first
    assert command('config', tmp_path / 'one', '-o', tmp_path / 'two', *options) == 0
    assert contents(tmp_path / 'two') == first


def test_of_one_config_and_its_bases(tmp_path):
    source = written(DETECTION, tmp_path / 'old') / 'cityscapes.py'
    one, two = tmp_path / 'one', tmp_path / 'two'
    assert command('config', source, '-o', one / 'a.py') == 0
    assert command('config', one / 'a.py', '-o', two / 'a.py') == 0
    assert contents(two) == contents(one)


def test_without_a_destination_the_result_is_written_once(tmp_path):
    source = written(DETECTION, tmp_path / 'old')
    assert command('config', source) == 0
    first = contents(tmp_path)
    assert command('config', source) in (0, 2)
    assert contents(tmp_path) == first


def test_into_its_own_folder_is_refused_and_leaves_the_sources(tmp_path, capsys):
    source = written(DETECTION, tmp_path / 'old')
    before = contents(source)
    for _ in range(2):
        assert command('config', source, '-o', source, '--force') == 2
        assert contents(source) == before
    assert 'is a legacy config itself' in capsys.readouterr().err


def test_of_code(tmp_path):
    source = written(project(3), tmp_path / 'code')
    command('code', source, '--write')
    first = contents(source)
    command('code', source, '--write')
    assert contents(source) == first
    for path in source.rglob('*.py'):  # alone, without the classes of the others
        command('code', path, '--write')
    assert contents(source) == first


def test_of_a_project(tmp_path):
    source = written(project(4), tmp_path / 'old')
    command('project', source, tmp_path / 'one')
    first = contents(tmp_path / 'one')
    command('project', source, tmp_path / 'one', '--force')
    assert contents(tmp_path / 'one') == first
    command('project', tmp_path / 'one', tmp_path / 'two')
    assert contents(tmp_path / 'two') == first


def test_of_a_checkpoint(tmp_path, capsys):
    assert command('checkpoint', CHECKPOINT, tmp_path / 'one.pth') == 0
    first = contents(tmp_path)
    assert command('checkpoint', CHECKPOINT, tmp_path / 'one.pth', '--force') == 0
    assert contents(tmp_path) == first
    assert command('checkpoint', tmp_path / 'one.pth', tmp_path / 'two.pth') == 2
    assert contents(tmp_path) == first
    assert 'in the layout of this engine already' in capsys.readouterr().err
