"""Test cases of several processes, run as a test runner would run them."""

import os
import time
import unittest
from pathlib import Path

import pytest
import torch
import torch.distributed as torch_dist

from mmengine.testing._internal import MultiProcessTestCase
from mmengine.testing._internal.distributed import TestSkip as Skip

pytestmark = pytest.mark.distributed


class Reducing(MultiProcessTestCase):
    """The processes of these tests are started before they are waited for."""

    __test__ = False

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def prepare_subprocess(self):
        torch_dist.init_process_group(
            'gloo', f'file://{self.file_name}', rank=self.rank, world_size=self.world_size
        )

    def test_sum(self):
        value = torch.tensor(self.rank + 1)
        torch_dist.all_reduce(value)
        assert value == 3
        assert self.is_master == (self.rank == 0)
        torch_dist.destroy_process_group()


class Going(MultiProcessTestCase):
    """The processes of these tests are started when they are waited for."""

    __test__ = False

    def test_failure(self):
        if self.rank == 1:
            raise ValueError(f'of rank {self.rank}')

    def test_skip(self):
        raise unittest.SkipTest('for no reason')

    def test_exit(self):
        os._exit(7)


class Hanging(MultiProcessTestCase):
    __test__ = False

    @property
    def world_size(self):
        return 1

    @property
    def timeout(self):
        # Counted from the hang on, however long the start takes.
        deadline = time.monotonic() + 120
        while not os.path.exists(self.file_name):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return 1

    def test_hang(self):
        Path(self.file_name).touch()
        while True:
            time.sleep(0.1)


def run(cls, name) -> unittest.TestResult:
    result = unittest.TestResult()
    case = cls(name)
    case.run(result)
    assert case._children == []
    return result


def test_a_test_runs_in_all_processes():
    result = run(Reducing, 'test_sum')
    assert result.wasSuccessful(), result.errors


def test_the_traceback_of_a_process_that_fails_is_raised():
    [(_, text)] = run(Going, 'test_failure').errors
    assert 'Rank 1 failed.' in text
    assert 'ValueError: of rank 1' in text
    assert 'in test_failure' in text


def test_a_test_is_skipped_if_its_processes_skip_it():
    [(_, reason)] = run(Going, 'test_skip').skipped
    assert reason == 'for no reason'


def test_a_process_that_dies_is_told():
    [(_, text)] = run(Going, 'test_exit').errors
    assert 'exit code 7' in text


def test_a_process_that_hangs_tells_where():
    [(_, text)] = run(Hanging, 'test_hang').errors
    assert 'Ranks [0] were not done after 1 s' in text
    assert 'in test_hang' in text


def test_defaults():
    case = MultiProcessTestCase()
    assert (case.world_size, case.timeout, case.rank) == (2, 1000, -1)
    assert case.rank == case.MAIN_PROCESS_RANK
    assert not case.is_master
    assert case.TEST_ERROR_EXIT_CODE == 10
    assert case.Event.GET_TRACEBACK.value == 1
    assert Skip(1, 'a').message == 'a'
    assert (Skip(1, 'a').exit_code, len(Skip(1, 'a'))) == (1, 2)
