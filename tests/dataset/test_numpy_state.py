"""The state of numpy's global generator comes back to the bit, however it was kept."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mmengine.dataset import _numpy_state
from mmengine.dataset._numpy_state import put_numpy_state, take_numpy_state


@pytest.fixture(autouse=True, params=['copied words', 'by numpy'])
def way(request: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == 'by numpy':
        monkeypatch.setattr(_numpy_state, '_get_bit_generator', lambda: None)
    else:
        assert _numpy_state._address_of_words() is not None  # else the fast way is not tested
    kept = np.random.get_state()
    yield request.param
    np.random.set_state(kept)


def _draws() -> list[float]:
    return [np.random.randn(), np.random.randn(), np.random.rand(), np.random.randn()]


@pytest.mark.parametrize('number_of_normals', [0, 1, 2, 3])
@pytest.mark.parametrize('number_of_integers', [0, 1, 700])
@pytest.mark.parametrize('meanwhile', [0, 1, 2])
def test_a_state_comes_back_with_the_normal_number_that_waits(
    number_of_normals, number_of_integers, meanwhile
):
    np.random.seed(4)
    np.random.randint(2**31, size=number_of_integers)
    np.random.randn(number_of_normals)
    before = np.random.get_state(legacy=False)
    expected = _draws()
    np.random.set_state(before)

    state = take_numpy_state()
    np.random.seed(9)
    np.random.randn(meanwhile)
    put_numpy_state(state)

    after = np.random.get_state(legacy=False)
    assert after['has_gauss'] == before['has_gauss'] == number_of_normals % 2
    assert np.array_equal(after['state']['key'], before['state']['key'])
    assert after['state']['pos'] == before['state']['pos']
    assert _draws() == expected


def test_draws_after_a_seed_are_those_without_a_kept_state():
    np.random.seed(9)
    expected = _draws()
    np.random.seed(1)
    np.random.randn()
    take_numpy_state()
    np.random.seed(9)
    assert _draws() == expected


def test_words_that_lie_elsewhere_are_copied_by_numpy(monkeypatch):
    """As in another version of numpy, whose words are in another order."""
    read = _numpy_state.ctypes.string_at
    monkeypatch.setattr(_numpy_state.ctypes, 'string_at', lambda *where: read(*where)[::-1])
    _numpy_state._address_in.cache_clear()
    assert _numpy_state._address_of_words() is None
    np.random.seed(3)
    expected = _draws()
    np.random.seed(3)
    state = take_numpy_state()
    np.random.seed(4)
    put_numpy_state(state)
    assert _draws() == expected
    _numpy_state._address_in.cache_clear()
