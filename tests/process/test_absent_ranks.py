"""Which collective waits for which ranks, and what is known of a process that does not answer."""

import os
import sys

import pytest

from mmengine.process._absent_ranks import LastSeen, who_is_missing

REDUCE = 'waits for other ranks in all_reduce, called by meet (a/run.py:3)'
BARRIER = 'waits for other ranks in barrier, called by save (a/run.py:9)'
BACKWARD = (
    'is in a backward pass, in which gradients are averaged over the ranks, called by backward '
    '(a/wrapper.py:7)'
)
WORK = 'is at work in read (a/disk.py:5), called by train (a/run.py:1)'


@pytest.mark.parametrize(
    ('rows', 'expected'),
    [
        ([REDUCE, WORK], 'all_reduce, called by meet (a/run.py:3), waits for rank 1, which did'),
        ([WORK, BACKWARD, WORK, BACKWARD],
         'a backward pass, called by backward (a/wrapper.py:7), waits for ranks 0, 2, which did'),
        ([REDUCE, BARRIER],
         'different collectives: rank 0 in all_reduce, called by meet (a/run.py:3); rank 1 in '
         'barrier, called by save (a/run.py:9).'),
        ([REDUCE, BARRIER, WORK], '(a/run.py:9). Rank 2 came to none.'),
    ],
    ids=['one', 'backward', 'different', 'different_and_none'],
)  # fmt: skip
def test_who_is_missing(rows: list[str], expected: str) -> None:
    named = [f'rank {rank}, train after 4 iterations: {row}' for rank, row in enumerate(rows)]
    assert expected in (who_is_missing(named) or '')


def test_nobody_is_named_without_a_reason() -> None:
    assert who_is_missing([f'rank 0, train: {REDUCE}', f'rank 1, train: {REDUCE}']) is None
    assert who_is_missing([f'rank 0, train: {WORK}', f'rank 1, train: {WORK}']) is None
    # What is not known is not said.
    assert who_is_missing([f'rank 0, train: {REDUCE}', 'rank 1 cannot be reached']) is None


def test_a_rank_that_does_not_answer_is_missing_wherever_it_was() -> None:
    seen = LastSeen.of(f'train after 3 iterations: {REDUCE}', sys._getframe())
    row = LastSeen.parse(seen.text()).row(1)
    assert f'rank 1 does not answer: process {os.getpid()} on ' in row
    assert 'waits for rank 1, which' in (who_is_missing([f'rank 0, train: {REDUCE}', row]) or '')
    assert 'in test_a_rank_that_does_not_answer_is_missing_wherever_it_was' in seen.stack


def test_the_process_of_another_machine_and_one_that_has_ended() -> None:
    seen = LastSeen.of('train', None)
    other = LastSeen(**{**seen.__dict__, 'host': 'elsewhere'})
    assert other.state() == f'process {seen.pid} on elsewhere'
    if os.path.exists('/proc/self/stat'):
        gone = LastSeen(**{**seen.__dict__, 'pid': 2**22 + 1})  # above the largest number
        assert gone.state().endswith('has ended')
