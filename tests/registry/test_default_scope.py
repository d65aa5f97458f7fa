"""The current scope, its nesting, and what sets it."""

import threading

import pytest

from mmengine.registry import DefaultScope, init_default_scope
from mmengine.registry import utils as registry_utils
from mmengine.utils.errors import ArgumentError


def current() -> str | None:
    scope = DefaultScope.get_current_instance()
    return None if scope is None else scope.scope_name


def test_there_is_no_scope_at_first() -> None:
    assert DefaultScope.get_current_instance() is None


def test_the_scope_made_last_is_current() -> None:
    DefaultScope.get_instance('first', scope_name='one')
    DefaultScope.get_instance('second', scope_name='two')
    DefaultScope.get_instance('first')
    assert current() == 'two'
    assert DefaultScope.check_instance_created('first')


def test_a_scope_has_a_name() -> None:
    with pytest.raises(ArgumentError, match='named by a string'):
        DefaultScope('x', 3)
    with pytest.raises(TypeError):
        DefaultScope('x')


def test_overwriting_nests_and_ends_with_its_block() -> None:
    init_default_scope('outer')
    with DefaultScope.overwrite_default_scope('middle'):
        with DefaultScope.overwrite_default_scope('inner'):
            assert current() == 'inner'
        assert current() == 'middle'
        with DefaultScope.overwrite_default_scope(None):
            assert current() == 'middle'
    assert current() == 'outer'


def test_overwriting_ends_when_the_block_fails() -> None:
    with pytest.raises(ValueError, match='boom'):
        with DefaultScope.overwrite_default_scope('inner'):
            raise ValueError('boom')
    assert DefaultScope.get_current_instance() is None


def test_blocks_entered_at_the_same_moment_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('time.time', lambda: 12.0)
    with DefaultScope.overwrite_default_scope('outer'):
        with DefaultScope.overwrite_default_scope('inner'):
            assert current() == 'inner'
        assert current() == 'outer'


def test_threads_that_overwrite_do_not_break_each_other() -> None:
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for _ in range(500):
                with DefaultScope.overwrite_default_scope(name):
                    current()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(f'scope{i}',)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert DefaultScope.get_current_instance() is None


def test_init_default_scope_sets_the_current_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(registry_utils, 'print_log', lambda text, **kwargs: said.append(text))
    init_default_scope('one')
    init_default_scope('one')
    assert current() == 'one'
    assert said == []
    init_default_scope('two')
    assert current() == 'two'
    init_default_scope('one')  # its instance is older than that of 'two'
    assert current() == 'one'
    assert len(said) == 2
    assert "'two'" in said[0]
