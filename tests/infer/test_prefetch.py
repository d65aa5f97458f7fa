"""Order, errors and the end of what a thread prepares."""

import threading

import pytest

from mmengine.infer._prefetch import prefetched


def prefetch_threads():
    return [thread for thread in threading.enumerate() if thread.name == 'prefetch']


def test_items_come_in_their_order():
    assert list(prefetched(range(100))) == list(range(100))
    assert list(prefetched([])) == []


def test_items_are_made_ahead_by_another_thread():
    made = []
    third = threading.Event()

    def items():
        for number in range(3):
            made.append(threading.current_thread().name)
            if number == 2:
                third.set()
            yield number

    iterator = prefetched(items(), depth=2)
    assert next(iterator) == 0
    assert third.wait(10)  # though only the first was asked for
    assert list(iterator) == [1, 2]
    assert set(made) == {'prefetch'}


def test_an_error_is_raised_when_its_turn_comes():
    def items():
        yield 1
        raise KeyError('broken')

    iterator = prefetched(items())
    assert next(iterator) == 1
    with pytest.raises(KeyError, match='broken'):
        next(iterator)
    assert prefetch_threads() == []


def test_the_thread_ends_when_the_caller_stops():
    iterator = prefetched(iter(int, 1))  # zeros for ever
    next(iterator)
    assert prefetch_threads()
    iterator.close()
    assert prefetch_threads() == []
