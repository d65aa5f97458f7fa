"""Notebooks: code cells are converted together, and stay cells."""

import json

import pytest

from mmengine.cli.__main__ import main

pytest.importorskip('libcst')
BASE = dict(metadata={}, nbformat=4, nbformat_minor=2)


def notebook(path, *sources, indent=1):
    cells = [
        dict(cell_type='code', execution_count=1, metadata={}, outputs=[dict(text='é')],
             source=source.splitlines(keepends=True))
        for source in sources
    ]  # fmt: skip
    cells.insert(1, dict(cell_type='markdown', metadata={}, source=['from mmcv import Config']))
    text = json.dumps(dict(cells=cells, **BASE), indent=indent, ensure_ascii=False)
    path.write_text(text + '\n', encoding='utf-8')
    return path


def cells_of(path):
    cells = json.loads(path.read_text('utf-8'))['cells']
    return [''.join(cell['source']) for cell in cells if cell['cell_type'] == 'code']


CELLS = (
    '!pip install torch\nfrom mmcv import Config',
    "%matplotlib inline\ncfg = Config.fromfile('a.py')\n# of the legacy config",
    "print(cfg.data.train,\n      '''\n%d''')\nConfig?",
    '%%bash\necho mmcv',
)


def test_what_one_cell_defines_is_known_in_the_next(tmp_path, capsys):
    path = notebook(tmp_path / 'a.ipynb', *CELLS)
    before = json.loads(path.read_text('utf-8'))
    assert main(['migrate', 'code', str(path), '--write']) == 0
    assert cells_of(path) == [
        '!pip install torch\nfrom mmengine.config import Config',
        CELLS[1],
        CELLS[2].replace('data.train', 'train_dataloader.dataset'),
        CELLS[3],
    ]
    after = json.loads(path.read_text('utf-8'))
    assert after['cells'][1] == before['cells'][1]
    assert after['cells'][0]['outputs'] == [dict(text='é')]
    text = path.read_text('utf-8')
    assert main(['migrate', 'code', str(tmp_path), '--write']) == 0
    assert path.read_text('utf-8') == text


def test_a_runner_of_several_cells_is_made_where_it_runs(tmp_path):
    path = notebook(
        tmp_path / 'a.ipynb',
        'from mmcv.runner import EpochBasedRunner',
        "runner = EpochBasedRunner(model, optimizer=optimizer, work_dir='w', max_epochs=3)",
        "runner.run([loader], [('train', 1)])",
    )
    main(['migrate', 'code', str(path), '--write'])
    text = '\n'.join(cells_of(path))
    assert len(cells_of(path)) == 3
    assert 'Runner(' in text
    assert 'runner.train()' in text or 'TODO(mmengine migrate)' in text


def test_cells_that_are_not_python_are_told_and_left(tmp_path, capsys):
    path = notebook(
        tmp_path / 'a.ipynb', 'files = !ls\nimport mmcv', 'from mmcv.runner import Hook'
    )
    assert main(['migrate', 'code', str(path), '--write']) == 1
    assert cells_of(path)[0].endswith('files = !ls\nimport mmcv')
    assert 'this cell is not Python alone: convert it by hand\n' in capsys.readouterr().out
    text = path.read_text('utf-8')
    main(['migrate', 'code', str(path), '--write'])
    assert path.read_text('utf-8') == text


@pytest.mark.parametrize('text', ['', '[]', '{"cells": 3}', '{"cells": [{}]}', 'import mmcv'])
def test_what_is_not_a_notebook_is_told(tmp_path, capsys, text):
    path = tmp_path / 'a.ipynb'
    path.write_text(text)
    assert main(['migrate', 'code', str(path), '--write']) == 2
    assert 'it is not a notebook' in capsys.readouterr().err
    assert path.read_text() == text
