import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from mmengine.utils import ArgumentError, ManagerMixin


class Counter(ManagerMixin):
    def __init__(self, name: str, start: int = 0) -> None:
        super().__init__(name)
        self.start = start


class Timer(Counter):
    pass


@pytest.fixture(autouse=True)
def _no_instances() -> Iterator[None]:
    yield
    Counter._instance_dict.clear()
    Timer._instance_dict.clear()


def test_same_name_gives_the_same_instance() -> None:
    first = Counter.get_instance('a', start=3)
    assert Counter.get_instance('a', start=9) is first
    assert first.start == 3
    assert first.instance_name == 'a'


def test_current_instance_is_the_one_made_last_not_the_one_asked_for_last() -> None:
    Counter.get_instance('a')
    newest = Counter.get_instance('b')
    Counter.get_instance('a')
    assert Counter.get_current_instance() is newest


def test_each_class_keeps_its_own_instances() -> None:
    Counter.get_instance('a')
    assert not Timer.check_instance_created('a')
    assert Counter.check_instance_created('a')
    assert type(Timer.get_instance('a')) is Timer


def test_an_object_made_directly_is_not_registered() -> None:
    assert Counter('x').instance_name == 'x'
    assert not Counter.check_instance_created('x')


def test_current_instance_before_the_first_says_what_to_call() -> None:
    with pytest.raises(RuntimeError, match=r'Counter\.get_instance\(name=\.\.\.\)'):
        Counter.get_current_instance()


@pytest.mark.parametrize('name', ['', 3, None])
def test_a_name_is_a_non_empty_string(name: object) -> None:
    with pytest.raises(ArgumentError):
        Counter(name)  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        Counter.get_instance(name)  # type: ignore[arg-type]


def test_a_class_whose_constructor_takes_no_name_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r'Nameless\.__init__ must have a parameter `name`'):

        class Nameless(ManagerMixin):
            def __init__(self) -> None:
                pass


def test_threads_that_ask_at_once_get_one_instance() -> None:
    barrier = threading.Barrier(8)
    found: list[Counter] = []

    def ask() -> None:
        barrier.wait()
        found.append(Counter.get_instance('shared'))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(instance) for instance in found}) == 1


FORK_UNDER_LOCK = """
import os, threading
from mmengine.utils import ManagerMixin
from mmengine.utils.manager import _accquire_lock

class Named(ManagerMixin):
    def __init__(self, name):
        super().__init__(name)

holder = threading.Thread(target=_accquire_lock)
holder.start()
holder.join()
child = os.fork()
if child == 0:
    os._exit(0 if Named.get_instance('a').instance_name == 'a' else 1)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_a_process_forked_while_the_lock_is_held_can_still_ask() -> None:
    subprocess.run([sys.executable, '-c', FORK_UNDER_LOCK], check=True, timeout=300)
