"""Loggers: lines, levels, ranks, files."""

import copy
import gc
import io
import logging
import pickle
import re
import sys
import unittest

import pytest
import torch

from mmengine.logging import MMLogger, print_log
from mmengine.logging.logger import FilterDuplicateWarning, MMFormatter, _get_device_id
from mmengine.testing._internal.distributed import run_distributed

CONSOLE = r'\d\d/\d\d \d\d:\d\d:\d\d - mmengine - '
FILE = r'\d{4}/\d\d/\d\d \d\d:\d\d:\d\d - mmengine - '


@pytest.fixture(autouse=True)
def no_loggers(monkeypatch):
    """Each test has a registry of loggers of its own."""
    monkeypatch.setattr(MMLogger, '_instance_dict', {})
    monkeypatch.delenv('FORCE_COLOR', raising=False)


def _record(level, message='msg', **kwargs):
    return logging.LogRecord('mmengine', level, '/p/f.py', 3, message, (), None, **kwargs)


def test_console_and_file_lines_differ_in_their_time_only(tmp_path, capsys):
    logger = MMLogger.get_instance('a', log_file=str(tmp_path / 'run.log'))
    logger.info('iteration %d', 3)
    logger.warning('careful')
    assert re.fullmatch(
        f'{CONSOLE}INFO - iteration 3\n{CONSOLE}WARNING - careful\n', capsys.readouterr().out
    )
    text = (tmp_path / 'run.log').read_text()
    assert re.fullmatch(f'{FILE}INFO - iteration 3\n{FILE}WARNING - careful\n', text)


def test_an_error_tells_its_place_and_its_traceback(capsys):
    logger = MMLogger('a')
    try:
        raise ValueError('boom')
    except ValueError:
        logger.exception('failed')
    head, *traceback = capsys.readouterr().out.splitlines()
    place = rf'{re.escape(__file__)} - {test_an_error_tells_its_place_and_its_traceback.__name__}'
    assert re.fullmatch(rf'{CONSOLE}ERROR - {place} - \d+ - failed', head)
    assert traceback[0] == 'Traceback (most recent call last):'
    assert traceback[-1] == 'ValueError: boom'


class _Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ('stream', 'env', 'colored'),
    [
        (_Terminal(), {}, True),
        (_Terminal(), {'NO_COLOR': '1'}, False),
        (io.StringIO(), {}, False),
        (io.StringIO(), {'FORCE_COLOR': '1'}, True),
    ],
    ids=['terminal', 'terminal without color', 'pipe', 'pipe with forced color'],
)
def test_only_a_terminal_gets_color_and_a_file_never(stream, env, colored, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, 'stdout', stream)
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.delenv('NO_COLOR', raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    MMLogger('a', log_file=tmp_path / 'run.log').warning('w')
    assert ('\x1b[' in stream.getvalue()) == colored
    assert 'WARNING' in stream.getvalue()
    assert '\x1b[' not in (tmp_path / 'run.log').read_text()


def test_formatter_options_are_those_of_logging():
    text = MMFormatter(color=False, datefmt='%Y').format(_record(logging.CRITICAL, func='main'))
    assert re.fullmatch(r'\d{4} - mmengine - CRITICAL - /p/f.py - main - 3 - msg', text)


@pytest.mark.parametrize('level', ['WARNING', 'warning', logging.WARNING])
def test_the_level_is_a_name_or_a_number(level, capsys):
    logger = MMLogger('a', log_level=level)
    logger.info('hidden')
    logger.warning('shown')
    assert re.fullmatch(f'{CONSOLE}WARNING - shown\n', capsys.readouterr().out)


def test_an_unknown_level_names_the_near_one():
    with pytest.raises(ValueError, match="Did you mean 'WARNING'"):
        MMLogger('a', log_level='WARNIN')
    with pytest.raises(ValueError, match='not a log level'):
        MMLogger('b').setLevel('NOPE')


def test_set_level_moves_console_and_file(tmp_path, capsys):
    logger = MMLogger('a', log_file=tmp_path / 'run.log')
    logger.debug('one')
    logger.setLevel('DEBUG')
    logger.debug('two')
    logger.setLevel(logging.ERROR)
    logger.warning('three')
    assert re.fullmatch(f'{CONSOLE}DEBUG - two\n', capsys.readouterr().out)
    assert re.fullmatch(f'{FILE}DEBUG - two\n', (tmp_path / 'run.log').read_text())


def test_logging_disable_is_obeyed(capsys):
    logger = MMLogger('a')
    logger.info('one')
    logging.disable(logging.INFO)
    try:
        logger.info('two')
    finally:
        logging.disable(logging.NOTSET)
    logger.info('three')
    assert re.findall(r'INFO - (\w+)', capsys.readouterr().out) == ['one', 'three']


def test_lines_do_not_reach_the_root_logger(capsys):
    seen = []
    handler = logging.Handler()
    handler.emit = seen.append
    logging.getLogger().addHandler(handler)
    try:
        MMLogger('a').warning('once')
    finally:
        logging.getLogger().removeHandler(handler)
    assert seen == []
    assert capsys.readouterr().out.count('once') == 1


def test_the_same_name_gives_the_same_logger_with_one_console():
    logger = MMLogger.get_instance('a')
    assert MMLogger.get_instance('a', log_level='ERROR') is logger
    assert len(logger.handlers) == 1


def test_the_console_follows_a_replaced_stdout(monkeypatch):
    logger = MMLogger('a')
    replaced = io.StringIO()
    monkeypatch.setattr(sys, 'stdout', replaced)
    logger.info('here')
    assert 'here' in replaced.getvalue()


def test_a_warning_of_the_same_text_comes_once(capsys):
    logger = MMLogger('a')
    for step in (1, 1, 2):
        logger.warning('step %d', step)
        logger.info('info')
    out = capsys.readouterr().out
    assert re.findall(r'WARNING - (.*)', out) == ['step 1', 'step 2']
    assert out.count('info') == 3


def test_remembered_warnings_are_bounded(monkeypatch):
    monkeypatch.setattr('mmengine.logging.logger._MAX_REMEMBERED_WARNINGS', 3)
    once = FilterDuplicateWarning()
    texts = ['a', 'b', 'c', 'd', 'd', 'a']
    passed = [once.filter(_record(logging.WARNING, text)) for text in texts]
    # Remembering 'd' forgot 'a'.
    assert passed == [True, True, True, True, False, True]
    assert len(once._seen) == 3


@pytest.mark.parametrize(('mode', 'expected'), [('w', ['two']), ('a', ['one', 'two'])])
def test_the_file_mode_is_obeyed(tmp_path, mode, expected):
    path = tmp_path / 'logs' / 'run.log'
    MMLogger('first', log_file=path).info('one')
    MMLogger('second', log_file=path, file_mode=mode).info('two')
    assert re.findall(r'INFO - (\w+)', path.read_text()) == expected


def test_the_file_handler_can_be_chosen(tmp_path):
    cfg = {'type': 'RotatingFileHandler', 'maxBytes': 100, 'backupCount': 1}
    logger = MMLogger('a', log_file=tmp_path / 'run.log', file_handler_cfg=cfg)
    for step in range(10):
        logger.info('line %d', step)
    assert sorted(file.name for file in tmp_path.iterdir()) == ['run.log', 'run.log.1']
    assert cfg['type'] == 'RotatingFileHandler'


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        ({'maxBytes': 1}, "needs a 'type'"),
        ({'type': 'RotatingFileHandle'}, "Did you mean 'RotatingFileHandler'"),
        ({'type': 'SMTPHandler'}, "needs a 'type' among"),
    ],
)
def test_an_unknown_file_handler_is_rejected(tmp_path, cfg, message):
    with pytest.raises(ValueError, match=message):
        MMLogger('a', log_file=tmp_path / 'run.log', file_handler_cfg=cfg)


def test_the_file_is_closed_with_the_logger(tmp_path):
    logger = MMLogger('a', log_file=tmp_path / 'run.log')
    handler = logger.handlers[1]
    del logger
    gc.collect()
    assert handler.stream is None


def test_close_ends_logging(tmp_path, capsys):
    logger = MMLogger('a', log_file=tmp_path / 'run.log')
    logger.close()
    logger.info('late')
    assert (tmp_path / 'run.log').read_text() == ''
    assert capsys.readouterr().out == ''


def test_copies_are_the_logger_itself():
    logger = MMLogger.get_instance('a')
    assert copy.deepcopy({'logger': logger})['logger'] is logger
    assert pickle.loads(pickle.dumps(logger)) is logger


def test_print_log_prints_without_a_logger(capsys):
    print_log('plain')
    print_log('dropped', logger='silent')
    assert capsys.readouterr().out == 'plain\n'


@pytest.mark.parametrize('logger', ['current', 'named', 'object'])
def test_print_log_finds_the_logger(logger, capsys):
    named = MMLogger.get_instance('named')
    print_log('found', named if logger == 'object' else logger, logging.WARNING)
    assert re.fullmatch(f'{CONSOLE}WARNING - found\n', capsys.readouterr().out)


def test_print_log_of_an_error_tells_the_place_of_its_caller(capsys):
    MMLogger.get_instance('named')
    print_log('bad', 'current', logging.ERROR)
    assert f'{__file__} - test_print_log_of' in capsys.readouterr().out


def test_print_log_rejects_unknown_loggers():
    MMLogger.get_instance('trainer')
    with pytest.raises(ValueError, match="Did you mean 'trainer'"):
        print_log('x', 'traner')
    with pytest.raises(TypeError, match='got int'):
        print_log('x', 3)


def _log_on_each_rank(rank, world_size, folder, distributed):
    out = sys.stdout = io.StringIO()
    logger = MMLogger('a', log_file=f'{folder}/run.log', distributed=distributed)
    logger.info('info of %d', rank)
    logger.error('error of %d', rank)
    return out.getvalue(), logger.log_file


@pytest.mark.distributed
def test_other_ranks_print_errors_only_and_write_no_file(tmp_path):
    (out_0, file_0), (out_1, file_1) = run_distributed(_log_on_each_rank, 2, str(tmp_path), False)
    assert 'info of 0' in out_0
    assert 'error of 0' in out_0
    assert 'info' not in out_1
    assert 'error of 1' in out_1
    assert file_0 == str(tmp_path / 'run.log')
    assert file_1 is None
    assert [file.name for file in tmp_path.iterdir()] == ['run.log']


@pytest.mark.distributed
def test_with_distributed_each_rank_writes_all_to_a_file_of_its_own(tmp_path):
    run_distributed(_log_on_each_rank, 2, str(tmp_path), True)
    files = sorted(tmp_path.iterdir(), key=lambda file: file.name[-9:])
    for rank, file in enumerate(files):
        # The name that MMEngine gives: <stem>_<user>@<host>_device<local rank>_rank<rank>.
        assert re.fullmatch(rf'run_.*@.*_device{rank}_rank{rank}\.log', file.name)
        assert re.findall(r'(\w+) of (\d)', file.read_text()) == [
            ('info', str(rank)),
            ('error', str(rank)),
        ]
    assert len(files) == 2


class Keep(logging.Handler):
    """Keeps what it gets."""

    def __init__(self):
        super().__init__()
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


def test_a_handler_of_somebody_else_gets_every_record(capsys):
    logger = MMLogger.get_instance('keep', log_level='INFO')
    logger.warning('same')
    keep = Keep()
    logger.addHandler(keep)
    logger.warning('same')
    logger.debug('detail')
    assert keep.texts == ['same', 'detail']
    assert capsys.readouterr().out.count('same') == 1


def test_every_own_handler_shows_a_warning_once(tmp_path, capsys):
    logger = MMLogger.get_instance('once', log_file=str(tmp_path / 'a.log'))
    for _ in range(2):
        logger.warning('same')
    assert capsys.readouterr().out.count('same') == 1
    assert (tmp_path / 'a.log').read_text().count('same') == 1


def test_asserting_logs_leaves_the_handlers_as_they_were(tmp_path):
    logger = MMLogger.get_instance('levels', log_file=str(tmp_path / 'a.log'))
    logger.handlers[1].setLevel('ERROR')
    with unittest.TestCase().assertLogs(logger, 'DEBUG') as seen:
        logger.debug('inside')
    assert seen.output == ['DEBUG:mmengine:inside']
    assert [handler.level for handler in logger.handlers] == [logging.INFO, logging.ERROR]


@pytest.mark.parametrize('between', ['DEBUG', 'WARNING'])
def test_a_level_set_and_set_back_changes_nothing(between, capsys):
    logger = MMLogger.get_instance('back', log_level='INFO')
    before = logger.level
    logger.setLevel(between)
    logger.setLevel(before)
    logger.debug('detail')
    logger.info('fact')
    assert 'detail' not in capsys.readouterr().out
    assert [handler.level for handler in logger.handlers] == [logging.INFO]


@pytest.mark.parametrize('error', [KeyError, TypeError, AssertionError, ValueError])
def test_an_unknown_level_is_caught_as_the_api_raised_it(error):
    with pytest.raises(error, match="'LOUD' is not a log level"):
        MMLogger.get_instance('level', log_level='LOUD')


@pytest.mark.parametrize(
    ('visible', 'local_rank', 'expected'),
    [
        # Recorded from mmengine 0.10.7.
        (None, '3', 3),
        ('3,5,6,7', '3', '7'),
        ('7', '0', '7'),
        ('GPU-abc,GPU-d', '0', 'GPU-abc'),
        # More ranks than visible devices: the rank, and no '/' in the name of a file.
        ('7', '1', 1),
        ('MIG-GPU-a/1/0', '0', 'MIG-GPU-a-1-0'),
    ],
)
def test_the_device_in_the_name_of_a_log_file(visible, local_rank, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setenv('LOCAL_RANK', local_rank)
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    if visible is not None:
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
    assert _get_device_id() == expected
