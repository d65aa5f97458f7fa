import multiprocessing
import os
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import pytest

from mmengine.utils.dl_utils import set_multi_processing

pytestmark = pytest.mark.skipif(sys.platform == 'win32', reason='Windows only spawns')


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    method = multiprocessing.get_start_method(allow_none=True)
    # Setting first makes monkeypatch put back what the function under test sets.
    for variable in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
        monkeypatch.setenv(variable, '')
        monkeypatch.delenv(variable)
    yield
    multiprocessing.set_start_method(method, force=True)


def test_the_start_method_is_set_and_a_change_warns() -> None:
    multiprocessing.set_start_method(None, force=True)
    set_multi_processing('spawn')
    assert multiprocessing.get_start_method() == 'spawn'
    with pytest.warns(UserWarning, match="'spawn' and is now 'fork'"):
        set_multi_processing('fork')
    assert multiprocessing.get_start_method() == 'fork'


def test_processes_that_share_a_machine_get_one_thread_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    multiprocessing.set_start_method(None, force=True)
    monkeypatch.setenv('MKL_NUM_THREADS', '4')
    set_multi_processing(distributed=True)
    assert os.environ['OMP_NUM_THREADS'] == '1'
    assert os.environ['MKL_NUM_THREADS'] == '4'


def test_a_single_process_keeps_its_threads() -> None:
    multiprocessing.set_start_method(None, force=True)
    set_multi_processing()
    assert 'OMP_NUM_THREADS' not in os.environ


def test_opencv_gets_its_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    multiprocessing.set_start_method(None, force=True)
    asked: list[int] = []
    fake = ModuleType('cv2')
    fake.setNumThreads = asked.append  # type: ignore[attr-defined]
    fake.__spec__ = SimpleNamespace(name='cv2')  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, 'cv2', fake)
    set_multi_processing(opencv_num_threads=2)
    assert asked == [2]
