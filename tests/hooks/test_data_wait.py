"""Log lines have the pace, and a training that waits for data is told which stage is slow."""

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from mmengine.dataset import Compose
from mmengine.dataset._loading_record import LoadingRecord
from mmengine.dataset._sample_order import begin_pass, loading_record_of, number_samples
from mmengine.dataset._stage_times import StageTimes
from mmengine.dataset._transform_places import transform_places
from mmengine.hooks import _data_wait as module
from mmengine.hooks._data_wait import DataWait, bottleneck_text
from mmengine.logging import HistoryBuffer


class Resize:
    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        return {**sample, 'size': torch.rand(1)}


class Flip(Resize):
    pass


class Photos(Dataset[Any]):
    """Has transforms in a pipeline, as datasets of this package have."""

    def __init__(self) -> None:
        self.pipeline = Compose([Resize(), Compose([Flip()]), Resize()])

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        return self.pipeline({'x': torch.ones(1)})


class OneTransform(Photos):
    """Has one transform as an attribute, as datasets of torchvision have."""

    def __init__(self) -> None:
        self.transform = Flip()

    def __getitem__(self, index: int) -> Any:
        return self.transform({'x': torch.ones(1)})


def test_lines_and_records_of_a_run_have_the_pace(make_run: Any) -> None:
    runner = make_run(
        scores=[{'acc': 1.0}], log_level='INFO', default_hooks={'logger': {'interval': 1}}
    )
    runner.train()
    log = next(Path(runner.log_dir).glob('*.log')).read_text()
    for mode in ('train', 'val'):
        lines = [line for line in log.splitlines() if f'Epoch({mode})' in line]
        assert lines
        assert all('samples_per_s: ' in line and 'data_wait: ' in line for line in lines)
    records = (Path(runner.log_dir) / 'vis_data' / 'scalars.json').read_text().splitlines()
    first = json.loads(records[0])
    assert first['samples_per_s'] > 0
    assert 0 <= first['data_wait'] <= 1


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize(
    ('dataset', 'names'),
    [
        (Photos(), {'Resize', 'Flip', 'reading in Photos'}),
        (OneTransform(), {'Flip', 'reading in OneTransform'}),
    ],
    ids=['pipeline', 'transform'],
)
def test_stages_are_measured_only_when_asked(dataset: Any, names: set[str], workers: int) -> None:
    loader = DataLoader(dataset, batch_size=2, num_workers=workers, persistent_workers=workers > 0)
    number_samples(loader, 0)
    begin_pass(loader, 0, 0)
    plain = [batch['size'] for batch in loader]
    record = loading_record_of(loader)
    assert record is not None
    assert StageTimes.of(record) is None
    record.measure(True)
    begin_pass(loader, 0, 0)
    measured = [batch['size'] for batch in loader]
    assert all(map(torch.equal, plain, measured))  # the same random numbers
    times = StageTimes.of(record)
    assert times is not None
    assert times.num_samples == 6
    assert set(times.stages) == names
    assert sum(times.stages.values()) == pytest.approx(times.sample_s)
    assert times.sample_s > 0
    assert times.collate_s > 0
    kinds = {type(place.get()) for place in transform_places(dataset)}
    assert kinds <= {Resize, Flip}  # they are what they were


def test_a_warning_comes_once_after_long_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(module, 'print_log', lambda text, logger, level: told.append(text) or level)
    loader = DataLoader(Photos(), batch_size=2)
    number_samples(loader, 0)
    hub: Any = SimpleNamespace(
        engine_keys={}, log_scalars={n: HistoryBuffer() for n in ('train/time', 'train/data_time')}
    )
    run: Any = SimpleNamespace(message_hub=hub, train_loop=SimpleNamespace(dataloader=loader))
    wait = DataWait()

    def look(time_s: float, wait_s: float, count: int = 10) -> None:
        for _ in range(count):
            hub.log_scalars['train/time'].update(time_s)
            hub.log_scalars['train/data_time'].update(wait_s)
        list(loader)
        wait.look(run, count)

    look(1.0, 0.4)  # less than half
    record = loading_record_of(loader)
    assert record is not None
    look(0.5, 0.4)  # 4 s of waiting
    assert not record.is_measured
    look(0.5, 0.4)  # 8 s
    assert record.is_measured
    assert told == []
    look(0.5, 0.4)
    look(0.5, 0.4)
    assert not record.is_measured
    (text,) = told
    assert text.startswith('Training waits for data in 80% of the time.')


def test_waiting_that_ends_is_forgotten() -> None:
    times = {'train/time': 1.0, 'train/data_time': 0.1}
    record = LoadingRecord(Photos(), 0)
    wait = DataWait()
    wait._record, wait._waited_s = record, 9.0
    record.measure(True)
    scalars = {name: HistoryBuffer([value], [1]) for name, value in times.items()}
    wait.look(SimpleNamespace(message_hub=SimpleNamespace(engine_keys={}, log_scalars=scalars)), 1)  # type: ignore[arg-type]  # what is read of a run
    assert not record.is_measured
    assert wait._waited_s == 0.0


@pytest.mark.parametrize(
    ('stages', 'collate_s', 'workers', 'cpus', 'slowest', 'advice'),
    [
        # A step without data takes 10 ms; a batch of 4 takes 40 ms: four workers.
        ({'Resize': 8e-3, 'reading in Photos': 2e-3}, 0.0, 1, 8, 'Resize', '4 workers would keep'),
        ({'Resize': 8e-3, 'reading in Photos': 2e-3}, 0.0, 1, 2, 'Resize', 'even the 2 CPUs would'),
        ({'Resize': 8e-3, 'reading in Photos': 2e-3}, 0.0, 2, 2, 'Resize', 'More workers do not'),
        ({'reading in Photos': 1e-3}, 6e-3, 0, 8, 'collate', 'One worker would load'),
        ({'Resize': 1e-3, 'reading in Photos': 9e-3}, 0.0, 0, 8, 'reading', 'num_workers is 0'),
    ],
    ids=['few workers', 'few CPUs', 'all CPUs', 'collate', 'reading'],
)
def test_the_slowest_stage_and_what_helps_are_named(
    monkeypatch: pytest.MonkeyPatch,
    stages: dict[str, float],
    collate_s: float,
    workers: int,
    cpus: int,
    slowest: str,
    advice: str,
) -> None:
    monkeypatch.setattr(module, 'usable_cores', lambda: cpus)
    times = StageTimes(10, sum(stages.values()), collate_s, stages)
    loader = SimpleNamespace(batch_size=4, num_workers=workers)
    text = bottleneck_text(times, loader, 0.03, 0.04)
    assert f'The slowest stage is {slowest}' in text
    assert advice in text


def test_look_ups_are_measured_here(caplog: pytest.LogCaptureFixture) -> None:
    loader = DataLoader([{'x': torch.ones(1)}] * 4, batch_size=2)  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING):
        times = DataWait()._measured(loader)
    assert times is not None
    assert list(times.stages) == ['reading in list']
    assert times.collate_s > 0
