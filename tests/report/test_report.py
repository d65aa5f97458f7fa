"""``mmengine report``: what a page says of the runs in work dirs."""

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mmengine.cli.__main__ import main
from mmengine.report import read_run, report

START, LATER = '20260101_100000', '20260101_120000'


def write_start(
    work_dir: Path, start: str, records: list[dict[str, Any]], config: str = '', log: str = ''
) -> None:
    folder = work_dir / start / 'vis_data'
    folder.mkdir(parents=True)
    lines = ''.join(json.dumps(record) + '\n' for record in records)
    (folder / 'scalars.json').write_text(lines)
    (folder / 'config.py').write_text(config)
    (work_dir / start / f'{start}.log').write_text(log)


def trained(iteration: int, loss: float) -> dict[str, Any]:
    return {'lr': 0.1, 'loss': loss, 'time': 0.5, 'epoch': 1, 'iter': iteration, 'step': iteration}


def validated(epoch: int, accuracy: float) -> dict[str, Any]:
    return {'accuracy': accuracy, 'val_loss': 1.0, 'time': 9.0, 'data_time': 1.0, 'step': epoch}


class Parts(HTMLParser):
    """The texts of a page, and the elements that would load something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.open = ''
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open = tag
        self.tags.append(tag)
        self.loads += [value or '' for name, value in attrs if name in ('src', 'href')]

    def handle_data(self, data: str) -> None:
        if self.open not in ('script', 'style'):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return ' '.join(self.texts)


def test_validation_is_at_the_last_iteration_before_it(tmp_path: Path) -> None:
    write_start(tmp_path, START, [trained(10, 2.0), validated(1, 0.5), trained(20, 1.0)])
    curves = read_run(tmp_path).curves
    assert (curves['loss'].iters, curves['loss'].values) == ([10, 20], [2.0, 1.0])
    assert (curves['val/accuracy'].iters, curves['val/accuracy'].values) == ([10], [0.5])
    assert 'val/time' not in curves  # 9 s is not the time of an iteration


def test_later_start_replaces_what_it_repeats(tmp_path: Path) -> None:
    first = [trained(10, 4.0), trained(20, 3.0), validated(1, 0.5), trained(30, 9.0)]
    write_start(tmp_path, START, first)
    write_start(tmp_path, LATER, [trained(30, 2.0), trained(40, 1.0)])
    run = read_run(tmp_path)
    assert run.starts == [START, LATER]
    assert run.curves['loss'].iters == [10, 20, 30, 40]
    assert run.curves['loss'].values == [4.0, 3.0, 2.0, 1.0]
    assert run.curves['val/accuracy'].iters == [20]
    assert run.iterations == 40


def test_start_without_records_replaces_nothing(tmp_path: Path) -> None:
    write_start(tmp_path, START, [trained(10, 4.0)])
    write_start(tmp_path, LATER, [])
    assert read_run(tmp_path).curves['loss'].values == [4.0]


def test_validation_alone(tmp_path: Path) -> None:
    write_start(tmp_path, START, [{'accuracy': 0.25, 'step': 7}])
    curve = read_run(tmp_path).curves['val/accuracy']
    assert (curve.iters, curve.values) == ([7], [0.25])


def test_killed_run_and_odd_values(tmp_path: Path) -> None:
    odd = {**trained(10, 1.0), 'name': 'text', 'flag': True, 'many': [1, 2], 'loss_b': float('nan')}
    write_start(tmp_path, START, [odd])
    file = tmp_path / START / 'vis_data' / 'scalars.json'
    file.write_text(file.read_text() + '{"loss": 0.')
    assert set(read_run(tmp_path).curves) == {'lr', 'loss', 'time'}


def test_page_needs_nothing_else_and_says_what_was_found(tmp_path: Path) -> None:
    work_dir = tmp_path / 'mine'
    log = (
        '2026/01/01 10:00:00 - mmengine - INFO - \n' + '-' * 60 + '\nSystem environment:\n'
        '    Python: 3.11.7\n' + '-' * 60 + '\n'
        '2026/01/01 10:00:01 - mmengine - WARNING - Twice.\n'
        '2026/01/01 10:00:02 - mmengine - WARNING - Twice.\n'
        '2026/01/01 10:00:03 - mmengine - ERROR - Once.\n'
    )
    records = [trained(10, 2.0), validated(1, 0.75)]
    write_start(work_dir, START, records, 'lr = 0.1\n', log)
    parts = Parts(report(work_dir, tmp_path / 'page.html').read_text())
    assert [value for value in parts.loads if not value.startswith('data:')] == []
    assert 'accuracy 0.7500, val_loss 1.0000' in parts.text
    assert 'WARNING: Twice. (2 times)' in parts.text
    assert 'ERROR: Once.' in parts.text
    assert 'Python: 3.11.7' in parts.text
    assert 'lr = 0.1' in parts.text


def test_runs_side_by_side(tmp_path: Path) -> None:
    for name, rate in (('a', 0.1), ('b', 0.2)):
        write_start(tmp_path / name, START, [trained(10, rate)], f'lr = {rate}\nseed = 0\n')
    page = report([tmp_path / 'a', tmp_path / 'b'], tmp_path / 'page.html').read_text()
    assert '"name":"a, training"' in page
    assert '"name":"b, training"' in page
    text = Parts(page).text
    assert '-lr = 0.1\n+lr = 0.2\n seed = 0' in text


def test_runs_of_one_name_have_as_much_of_their_paths_as_tells_them_apart(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ('a/x/run', 'b/x/run', 'b/y/run', 'b/x/other')]
    for number, folder in enumerate(folders):
        write_start(folder, START, [trained(10, 1.0)], f'lr = {number}\n')
    # A folder that is given twice is one run.
    page = report([*folders, folders[0]], tmp_path / 'page.html').read_text()
    names = re.findall('"name":"([^"]*), training"', page)
    names = [json.loads(f'"{name}"') for name in names]
    assert list(dict.fromkeys(names)) == ['a/x/run', 'b/x/run', 'y/run', 'other']
    text = Parts(page).text
    assert 'Config of y/run, compared with a/x/run' in text
    assert '--- a/x/run' in text
    assert 'Checkpoints of b/x/run' in text


def test_place_in_the_code_is_no_part_of_a_message(tmp_path: Path) -> None:
    log = (
        '2026/01/01 10:00:03 - mmengine - ERROR - /home/a b/hook.py - <module> - 12 - It broke.\n'
        '2026/01/01 10:00:04 - mmengine - WARNING - 3 - of - 4 - parts.\n'
    )
    write_start(tmp_path, START, [trained(10, 1.0)], log=log)
    assert read_run(tmp_path).warnings == [
        ('ERROR: It broke.', 1), ('WARNING: 3 - of - 4 - parts.', 1),
    ]  # fmt: skip


def test_texts_of_a_run_are_not_html(tmp_path: Path) -> None:
    bad = '</script><img src=x onerror=alert(1)>'
    work_dir = tmp_path / 'run'
    log = f'2026/01/01 10:00:01 - mmengine - WARNING - {bad}\n'
    write_start(work_dir, START, [{**trained(10, 1.0), bad: 1.0}], f'# {bad}\n', log)
    parts = Parts(report(work_dir, tmp_path / 'page.html').read_text())
    assert 'img' not in parts.tags
    assert parts.text.count(bad) >= 2


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    write_start(tmp_path / 'run', START, [trained(10, 1.0)])
    monkeypatch.chdir(tmp_path)
    assert main(['report', 'run']) == 0
    assert capsys.readouterr().out == 'Wrote report.html\n'
    assert re.search('<title>run</title>', Path('report.html').read_text())


@pytest.mark.parametrize('folder', ['nowhere', 'empty'])
def test_no_run_is_a_mistake(folder: str, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / 'empty').mkdir()
    assert main(['report', str(tmp_path / folder), '--out', str(tmp_path / 'page.html')]) == 2
    assert 'No run has written scalars here' in capsys.readouterr().err
    assert not (tmp_path / 'page.html').exists()


def test_without_plotly(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    write_start(tmp_path / 'run', START, [trained(10, 1.0)])
    monkeypatch.setitem(sys.modules, 'plotly', None)
    assert main(['report', str(tmp_path / 'run'), '--out', str(tmp_path / 'page.html')]) == 2
    assert "pip install 'mmengine[report]'" in capsys.readouterr().err
