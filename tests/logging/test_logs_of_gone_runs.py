"""A run that has ended holds no file; a run that is gone is forgotten."""

from __future__ import annotations

import gc
import logging
import os
import weakref
from pathlib import Path

import pytest

from mmengine.logging import MessageHub, MMLogger
from mmengine.utils.manager import ManagerMixin, release_instances_of_run


def _open_files(path: Path) -> int:
    links = [Path('/proc/self/fd', name) for name in os.listdir('/proc/self/fd')]
    return sum(link.exists() and link.resolve() == path.resolve() for link in links)


@pytest.mark.skipif(not Path('/proc/self/fd').is_dir(), reason='lists open files on Linux')
@pytest.mark.parametrize('mode', ['a', 'w'])
@pytest.mark.parametrize('kind', ['FileHandler', 'RotatingFileHandler', 'WatchedFileHandler'])
def test_a_logger_without_its_file_appends_and_lets_go_again(tmp_path, mode, kind):
    path = tmp_path / 'run.log'
    logger = MMLogger('held', log_file=str(path), file_mode=mode, file_handler_cfg={'type': kind})
    logger.info('one')
    assert _open_files(path) == 1
    logger.hold_files(False)
    assert _open_files(path) == 0
    logger.info('two')
    logger.info('three')
    assert _open_files(path) == 0
    logger.hold_files(True)
    logger.info('four')
    assert _open_files(path) == 1
    assert [line.split(' - ')[-1] for line in path.read_text().splitlines()] == [
        'one', 'two', 'three', 'four',
    ]  # fmt: skip
    logger.close()


def test_instances_of_a_gone_run_are_forgotten_but_for_the_newest():
    hubs = {name: MessageHub.get_instance(name) for name in ('first', 'second', 'third')}
    gone = {name: weakref.ref(hub) for name, hub in hubs.items()}
    hubs.clear()
    release_instances_of_run('first')
    release_instances_of_run('third')
    gc.collect()
    assert gone['first']() is None
    assert MessageHub.get_current_instance() is gone['third']()
    MessageHub.get_instance('fourth')
    gc.collect()
    assert gone['third']() is None
    assert gone['second']() is MessageHub.get_instance('second')


def test_who_still_holds_a_logger_gets_it_by_its_name():
    held = MMLogger.get_instance('held')
    MMLogger.get_instance('newer')
    release_instances_of_run('held')
    assert MMLogger.get_instance('held') is held
    assert MMLogger.get_current_instance().instance_name == 'newer'


def test_instances_of_other_classes_stay():
    class Counter(ManagerMixin):
        def __init__(self, name: str) -> None:
            super().__init__(name)

    counter = Counter.get_instance('run')
    Counter.get_instance('newer')
    release_instances_of_run('run')
    assert Counter.get_instance('run') is counter
    assert Counter.check_instance_created('run')
    assert logging.getLogger('mmengine').handlers == []
