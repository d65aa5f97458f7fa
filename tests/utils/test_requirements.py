import sys

import pytest

from mmengine.utils import check_prerequisites, requires_executable, requires_package


def test_a_function_whose_packages_are_there_runs() -> None:
    @requires_package(['json', 'os.path'])
    def run() -> int:
        return 3

    assert run() == 3


@pytest.mark.parametrize('name', ['no_such_package', 'no_such_package.module'])
def test_a_missing_package_is_named_when_the_function_is_called(name: str) -> None:
    @requires_package(['json', name])
    def run() -> None: ...

    with pytest.raises(RuntimeError, match=f'"{name}" are required in method "run"'):
        run()


def test_checking_a_package_does_not_import_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, 'antigravity', raising=False)
    requires_package('antigravity')(lambda: None)()
    assert 'antigravity' not in sys.modules


def test_requires_executable() -> None:
    assert requires_executable(sys.executable)(lambda: 3)() == 3
    with pytest.raises(RuntimeError, match='no-such-program'):
        requires_executable('no-such-program')(lambda: None)()


def test_the_check_is_made_at_each_call() -> None:
    present: set[str] = set()

    @check_prerequisites('thing', present.__contains__, msg_tmpl='{} for {}')
    def run() -> str:
        return 'ran'

    with pytest.raises(RuntimeError, match='thing for run'):
        run()
    present.add('thing')
    assert run() == 'ran'
