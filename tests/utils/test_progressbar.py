import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout

import pytest

from mmengine import utils
from mmengine.utils import ArgumentError, ProgressBar
from mmengine.utils.progressbar_rich import _SkipFirstTimeRemainingColumn


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def square(number: int) -> int:
    return number * number


def add(left: int, right: int = 0) -> int:
    return left + right


def one() -> int:
    return 1


OFFSET = 0


def set_offset(value: int) -> None:
    global OFFSET
    OFFSET = value


def add_offset(number: int) -> int:
    return number + OFFSET


def test_a_log_file_gets_a_line_at_each_tenth() -> None:
    file = io.StringIO()
    bar = ProgressBar(1000, file=file)
    for _ in range(1000):
        bar.update()
    lines = file.getvalue().splitlines()
    assert len(lines) == 11
    assert '0/1000' in lines[0]
    assert [line.split('] ')[1].split(',')[0] for line in lines[1:]] == [
        f'{done}/1000' for done in range(100, 1001, 100)
    ]


def test_a_terminal_line_is_drawn_over_and_ended_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('TERM', 'xterm')
    file = Terminal()
    bar = ProgressBar(3, file=file)
    bar.update(3)
    text = file.getvalue()
    assert text.count('\n') == 1
    assert text.endswith('\n')
    assert text.count('\r') == 2
    assert bar.completed == 3


def test_a_terminal_that_cannot_redraw_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('TERM', 'dumb')
    file = Terminal()
    ProgressBar(2, file=file).update(2)
    assert '\r' not in file.getvalue()
    assert '\x1b' not in file.getvalue()
    assert len(file.getvalue().splitlines()) == 2


@pytest.mark.parametrize('width', [20, 60])
def test_a_redrawn_line_fits_into_the_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setenv('COLUMNS', str(width))
    file = Terminal()
    ProgressBar(100_000, file=file).update(12_345)
    for line in file.getvalue().split('\r')[1:]:
        assert len(line.removesuffix('\x1b[K')) < width


def test_the_bar_is_filled_by_the_share_that_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('COLUMNS', '200')
    file = io.StringIO()
    bar = ProgressBar(4, bar_width=8, file=file)
    assert bar.terminal_width == 200
    bar.update()
    assert file.getvalue().splitlines()[-1].startswith('[>>      ] 1/4, ')


def test_a_narrow_terminal_gets_a_short_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('COLUMNS', '10')
    file = io.StringIO()
    ProgressBar(2, file=file).update(2)
    assert file.getvalue().splitlines()[-1].startswith('[>>] 2/2')


def test_an_unknown_number_of_tasks_is_counted() -> None:
    file = io.StringIO()
    ProgressBar(file=file)
    assert file.getvalue().startswith('0 done')


def test_update_wants_at_least_one_task() -> None:
    with pytest.raises(ArgumentError, match='got 0'):
        ProgressBar(2, file=io.StringIO()).update(0)


def test_the_default_file_is_standard_output_as_it_is_now() -> None:
    file = io.StringIO()
    with redirect_stdout(file):
        ProgressBar(1)
    assert '0/1' in file.getvalue()


def test_track_progress_gives_the_results_in_order() -> None:
    file = io.StringIO()
    assert utils.track_progress(add, [1, 2, 3], file=file, right=10) == [11, 12, 13]
    assert '3/3' in file.getvalue()


def test_track_progress_takes_an_iterator_with_its_length() -> None:
    def numbers() -> Iterator[int]:
        yield from range(3)

    assert utils.track_progress(square, (numbers(), 3), file=io.StringIO()) == [0, 1, 4]
    with pytest.raises(TypeError, match='has no length'):
        utils.track_progress(square, numbers(), file=io.StringIO())
    with pytest.raises(TypeError, match='got int'):
        utils.track_progress(square, 3, file=io.StringIO())


def test_track_iter_progress_yields_the_tasks() -> None:
    file = io.StringIO()
    assert list(utils.track_iter_progress(['a', 'b'], file=file)) == ['a', 'b']
    assert '2/2' in file.getvalue()


@pytest.mark.parametrize('skip_first', [False, True])
@pytest.mark.parametrize('keep_order', [False, True])
def test_track_parallel_progress(skip_first: bool, keep_order: bool) -> None:
    file = io.StringIO()
    results = utils.track_parallel_progress(
        add_offset,
        list(range(6)),
        nproc=2,
        initializer=set_offset,
        initargs=(100,),
        skip_first=skip_first,
        keep_order=keep_order,
        file=file,
    )
    expected = [100, 101, 102, 103, 104, 105]
    assert (results if keep_order else sorted(results)) == expected
    assert ('4/4' if skip_first else '6/6') in file.getvalue()


@pytest.mark.parametrize('nproc', [1, 2])
def test_track_progress_rich_spreads_tuples_and_dicts(
    nproc: int, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = [1, (2, 20), {'left': 3, 'right': 30}]
    assert utils.track_progress_rich(add, tasks, nproc=nproc) == [1, 22, 33]
    assert '3/3' in capsys.readouterr().out


def test_track_progress_rich_calls_without_arguments_when_there_are_no_tasks() -> None:
    assert utils.track_progress_rich(one, task_num=3) == [1, 1, 1]


def test_track_progress_rich_takes_an_iterator_of_unknown_length() -> None:
    assert utils.track_progress_rich(square, iter([2, 3])) == [4, 9]


@pytest.mark.parametrize(
    ('arguments', 'error'),
    [
        ({'tasks': 3}, TypeError),
        ({'tasks': [1], 'nproc': 0}, ValueError),
        ({'tasks': [1], 'task_num': 2}, ValueError),
        ({}, ValueError),
    ],
)
def test_track_progress_rich_refuses(arguments: dict[str, int], error: type[Exception]) -> None:
    with pytest.raises(error):
        utils.track_progress_rich(square, **arguments)  # type: ignore[arg-type]


def test_remaining_time_stays_hidden_until_the_first_tasks_are_done() -> None:
    from rich.progress import Progress

    column = _SkipFirstTimeRemainingColumn(skip_times=2)
    progress = Progress(column)
    task = progress.add_task('x', total=4)
    assert column.render(progress.tasks[0]).plain == 'warming up'
    progress.update(task, completed=4)
    assert column.render(progress.tasks[0]).plain == '0:00:00'


def test_importing_utils_leaves_rich_alone() -> None:
    script = "import mmengine.utils, sys; assert 'rich' not in sys.modules"
    subprocess.run([sys.executable, '-c', script], check=True)
