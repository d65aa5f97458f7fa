"""Samples in a second and the share of the wait."""

from types import SimpleNamespace
from typing import Any

import pytest
from torch.utils.data import DataLoader

from mmengine.runner import _pace as module
from mmengine.runner._pace import pace_of, pace_text

TIMES = ['time', 'data_time']
VALUES = {'time': 0.5, 'data_time': 0.125}
NAMES = {'samples_per_s': 'samples_per_s', 'data_wait': 'data_wait'}


def test_it_counts_the_batches_of_all_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    loader: Any = DataLoader([1, 2, 3], batch_size=2)  # type: ignore[arg-type]
    assert pace_of(loader, VALUES, TIMES) == {'samples_per_s': 4.0, 'data_wait': 0.25}
    monkeypatch.setattr(module, 'get_data_parallel_info', lambda: (0, 3))
    assert pace_of(loader, VALUES, TIMES)['samples_per_s'] == 12.0


@pytest.mark.parametrize(
    ('loader', 'values'),
    [
        (range(3), VALUES),
        (SimpleNamespace(batch_size=2), {'time': 0.5}),
        (SimpleNamespace(batch_size=2), {'time': 0.0, 'data_time': 0.0}),
    ],
    ids=['no batch size', 'no times', 'no time'],
)
def test_what_is_not_known_is_not_shown(loader: Any, values: dict[str, float]) -> None:
    assert pace_of(loader, values, TIMES) == {}
    assert pace_text({}, {}) == ''


@pytest.mark.parametrize(
    ('samples', 'shown'), [(12345.6, '12346'), (99.99, '100'), (12.345, '12.3'), (0.5, '0.5')]
)
def test_the_text_is_short(samples: float, shown: str) -> None:
    text = pace_text({'samples_per_s': samples, 'data_wait': 0.256}, NAMES)
    assert text == f'samples_per_s: {shown}  data_wait: 26%  '
    clash = {'samples_per_s': 'engine_samples_per_s', 'data_wait': 'data_wait'}
    assert pace_text({'samples_per_s': 1.0, 'data_wait': 0.0}, clash).startswith('engine_samples')
