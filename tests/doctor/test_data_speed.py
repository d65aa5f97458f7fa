"""The stages of the loading of a sample, and the speed by number of workers."""

from collections import deque
from typing import Any

import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset

from mmengine.dataset import BaseDataset, Compose
from mmengine.doctor import _doctor, _stages, doctor
from mmengine.doctor._data import (
    check_data,
    numbers_of_workers,
    samples_per_second,
    stages_finding,
    workers_finding,
)
from mmengine.doctor._stages import COLLATE, READ, SEND, stages_of


class Clock:
    """Time that goes on only when a stage says how long it takes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(_stages.time, 'perf_counter', lambda: self.now)
        monkeypatch.setattr(_stages, '_sending', lambda batch, budget_s: self.sending)
        self.sending = 0.5

    def takes(self, seconds: float, value: Any = None) -> Any:
        self.now += seconds
        return value


class Read(Dataset[Any]):
    def __init__(self, clock: Clock, transform: Any = None) -> None:
        self.clock, self.transform = clock, transform

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        sample = self.clock.takes(1.0, torch.tensor(index))
        return sample if self.transform is None else self.transform(sample)


class Resize:
    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds = clock, seconds

    def __call__(self, sample: Any) -> Any:
        return self.clock.takes(self.seconds, sample)


def test_each_transform_has_its_time_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    def flip(sample: Any) -> Any:
        return clock.takes(0.25, sample)

    pipeline = Compose([Resize(clock, 2.0), flip, Compose([Resize(clock, 3.0)])])
    before = list(pipeline.transforms)
    dataset = Subset(ConcatDataset([Read(clock, pipeline)]), range(4))
    options: dict[str, Any] = {
        'batch_size': 2,
        'collate_fn': lambda samples: clock.takes(4.0, torch.stack(samples)),
    }
    alone = {
        READ: 1.0,
        'transform Resize': 2.0,
        'transform flip': 0.25,
        'transform Resize (2)': 3.0,
        COLLATE: 2.0,  # 4 s for a batch of two
    }
    # Without workers nothing is sent; with them 0.5 s for a batch of two.
    assert stages_of(DataLoader(dataset, **options), budget_s=100) == alone
    with_workers = stages_of(DataLoader(dataset, num_workers=1, **options), budget_s=100)
    assert with_workers == {**alone, SEND: 0.25}
    assert pipeline.transforms == before


def test_a_transform_without_a_chain_is_timed_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    resize = Resize(clock, 2.0)
    dataset = Read(clock, resize)
    stages = stages_of(DataLoader(dataset, batch_size=3), budget_s=100)
    assert stages['transform Resize'] == 2.0
    assert dataset.transform is resize


def test_measuring_ends_when_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    stages_of(DataLoader(Read(clock), batch_size=1), budget_s=2.5)
    assert clock.now == 3.0  # three of six samples


def test_the_pipeline_of_a_base_dataset_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    class Records(BaseDataset):
        def load_data_list(self) -> list[dict[str, Any]]:
            return [{'x': index} for index in range(4)]

        def get_data_info(self, idx: int) -> Any:
            return clock.takes(0.5, super().get_data_info(idx))

    dataset = Records(pipeline=[Resize(clock, 2.0)])
    stages = stages_of(DataLoader(dataset, batch_size=2, collate_fn=list), budget_s=100)
    assert (stages[READ], stages['transform Resize']) == (0.5, 2.0)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter([torch.tensor(float(index)) for index in range(10)])


def test_a_stream_and_single_samples_are_measured() -> None:
    assert set(stages_of(DataLoader(Stream(), batch_size=4), 0.01)) == {READ, COLLATE}
    single = DataLoader([torch.zeros(1)] * 4, batch_size=None, num_workers=1)  # type: ignore[arg-type]  # as users do
    assert set(stages_of(single, 0.01)) == {READ, COLLATE, SEND}


def test_a_dataset_without_samples_is_an_error() -> None:
    loader: Any = DataLoader(torch.utils.data.TensorDataset(torch.zeros(0)))
    with pytest.raises(ValueError, match='TensorDataset has no samples'):
        stages_of(loader, 0.01)


@pytest.mark.parametrize('num_workers', [0, 1])
@pytest.mark.parametrize('kind', ['batches', 'single', 'stream'])
def test_the_speed_with_workers_is_a_number(kind: str, num_workers: int) -> None:
    loader: Any = {
        'batches': DataLoader([1, 2, 3], batch_size=2),
        'single': DataLoader([1, 2, 3], batch_size=None),
        'stream': DataLoader(Stream(), batch_size=2),
    }[kind]
    assert samples_per_second(loader, num_workers, 0.02) > 0 or kind == 'stream'


def test_few_samples_come_again_and_again() -> None:
    from mmengine.doctor._data import _Again

    sizes: deque[int] = deque()
    drawn = iter(_Again([[0, 1], [2]], sizes))
    assert [next(drawn) for _ in range(5)] == [[0, 1], [2], [0, 1], [2], [0, 1]]
    assert list(sizes) == [2, 1, 2, 1, 2]


def test_the_slowest_stage_is_named_first() -> None:
    found = stages_finding('train_dataloader', {READ: 0.001, 'transform Resize': 0.003, SEND: 1e-6})
    assert found.found == '4 ms a sample: transform Resize 75%, read 25%'
    assert found.advice == 'The slowest stage is "transform Resize", 3 ms a sample.'


def test_too_few_workers_are_a_warning_with_the_right_number() -> None:
    speeds = {0: 100.0, 1: 110.0, 2: 205.0, 4: 400.0, 8: 410.0}
    found = workers_finding('train_dataloader', speeds, chosen=1)
    assert found.status == 'warn'
    # 400 / 110: of the number that is named.
    assert found.advice == ('Set train_dataloader.num_workers=4, which is 3.6 times as fast here.')
    assert workers_finding('train_dataloader', {0: 100.0, 1: 90.0}, chosen=0).status == 'ok'


def test_numbers_of_workers_go_up_to_the_cores() -> None:
    assert numbers_of_workers(8, 0) == [0, 1, 2, 4, 8]
    assert numbers_of_workers(2, 6) == [0, 1, 2, 6]


def test_the_data_of_a_config_are_measured() -> None:
    loader = {'dataset': list(range(8)), 'batch_size': 2}
    found = list(check_data({'val_dataloader': {'a': loader}}, budget_s=0.02))
    assert [each.name for each in found] == ['val_dataloader.a', 'workers']
    assert next(check_data({'model': None})).status == 'warn'


def test_data_that_cannot_be_loaded_are_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('software', 'devices', 'collectives', 'limits'):
        monkeypatch.setattr(_doctor, f'check_{name}', lambda: iter([]))
    monkeypatch.setattr(_doctor, 'check_disk', lambda _: iter([]))
    found = doctor({'train_dataloader': {'dataset': {'type': 'NoSuchSet'}, 'batch_size': 1}})
    assert [each.status for each in found] == ['fail']
    assert 'NoSuchSet' in found[0].found
    assert found[0].advice.startswith('Building the dataloader fails there')


class Broken(torch.utils.data.Dataset[int]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        return [1, 2][index]


def broken_collate(samples: Any) -> Any:
    raise ZeroDivisionError('here')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'dataset': Broken()}, 'IndexError: list index out of range'),
        ({'dataset': [1, 2], 'collate_fn': broken_collate}, 'ZeroDivisionError: here'),
    ],
    ids=['dataset', 'collate'],
)
def test_samples_that_cannot_be_loaded_are_a_failure_with_its_line(
    options: Any, message: str
) -> None:
    """A config without a mistake, whose data fail when they are loaded."""
    (found,) = check_data({'train_dataloader': {'batch_size': 2, **options}}, budget_s=0.02)
    assert (found.name, found.status) == ('train_dataloader', 'fail')
    assert found.found.startswith(f'{message} ({__file__}:')
    assert found.advice.startswith('Loading the first samples in this process fails there')
