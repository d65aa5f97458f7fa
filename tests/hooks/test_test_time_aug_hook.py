"""A test with views that are merged, and the model that comes back afterwards."""

from typing import Any

import pytest
import torch
from torch import nn

from mmengine.config import Config
from mmengine.hooks.test_time_aug_hook import build_runner_with_tta
from mmengine.model import BaseModel, BaseTTAModel
from mmengine.registry import DATASETS, METRICS, MODELS


class Double(BaseModel):
    """Predicts twice its input."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Any, mode: str) -> Any:
        return [self.factor * value for value in x]


class Mean(BaseTTAModel):
    def merge_preds(self, data_samples_list: list[Any]) -> list[Any]:
        return [torch.stack(list(views)).mean() for views in data_samples_list]


class Views(torch.utils.data.Dataset):
    """Sample i, once for each number that the pipeline adds."""

    def __init__(self, pipeline: list[float] | None = None) -> None:
        self.pipeline = pipeline or [0.0]

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {'x': [torch.tensor(index + change) for change in self.pipeline]}


class Wrapper(torch.utils.data.Dataset):
    def __init__(self, dataset: dict[str, Any]) -> None:
        self.dataset = DATASETS.build(dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]


def _collate(samples: list[Any]) -> dict[str, Any]:
    """By view, then by sample."""
    return {'x': [list(view) for view in zip(*(sample['x'] for sample in samples), strict=True)]}


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    from mmengine.evaluator import BaseMetric

    class Sum(BaseMetric):
        def process(self, data_batch: Any, data_samples: Any) -> None:
            self.results.extend(float(sample) for sample in data_samples)

        def compute_metrics(self, results: list[float]) -> dict[str, float]:
            return {'sum': sum(results)}

    for registry, classes in (
        (MODELS, (Double, Mean)),
        (DATASETS, (Views, Wrapper)),
        (METRICS, (Sum,)),
    ):
        for cls in classes:
            monkeypatch.setitem(registry._module_dict, f'Tta{cls.__name__}', cls)


def _config(tmp_path: Any, **changes: Any) -> Config:
    config = {
        'model': {'type': 'TtaDouble'},
        'work_dir': str(tmp_path),
        'test_dataloader': {
            'dataset': {'type': 'TtaViews'}, 'batch_size': 2, 'collate_fn': _collate,
        },
        'test_cfg': {},
        'test_evaluator': [{'type': 'TtaSum'}],
        'tta_model': {'type': 'TtaMean'},
        'tta_pipeline': [1.0, 3.0],
        'log_level': 'ERROR',
        **changes,
    }  # fmt: skip
    return Config({key: value for key, value in config.items() if value is not None})


def test_predictions_of_the_views_are_merged(tmp_path):
    config = _config(tmp_path)
    runner = build_runner_with_tta(config)
    # Samples 0 and 1, each plus 1 and plus 3, doubled: means 4 and 6.
    assert runner.test() == {'sum': 10.0}
    assert isinstance(runner.model, Double)
    assert runner.test() == {'sum': 10.0}


def test_the_config_is_left_as_it_was(tmp_path):
    config = _config(tmp_path)
    build_runner_with_tta(config)
    assert 'pipeline' not in config.test_dataloader.dataset
    assert 'custom_hooks' not in config


def test_the_pipeline_reaches_the_dataset_inside_wrappers(tmp_path):
    dataset = {'type': 'TtaWrapper', 'dataset': {'type': 'TtaViews'}}
    loader = {'dataset': dataset, 'batch_size': 2, 'collate_fn': _collate}
    runner = build_runner_with_tta(_config(tmp_path, test_dataloader=loader))
    assert runner.test() == {'sum': 10.0}


def test_a_test_that_failed_can_be_repeated(tmp_path, monkeypatch):
    runner = build_runner_with_tta(_config(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(Mean, 'merge_preds', lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            runner.test()
    assert runner.test() == {'sum': 10.0}


def test_other_runners_and_hooks_of_the_config_are_kept(tmp_path):
    runner = build_runner_with_tta(
        _config(tmp_path, custom_hooks=[{'type': 'EmptyCacheHook'}], runner_type='FlexibleRunner')
    )
    names = [type(hook).__name__ for hook in runner.hooks]
    assert type(runner).__name__ == 'FlexibleRunner'
    assert {'EmptyCacheHook', 'PrepareTTAHook'} <= set(names)


@pytest.mark.parametrize('missing', ['tta_model', 'tta_pipeline'])
def test_what_is_missing_is_named(tmp_path, missing):
    with pytest.raises(AssertionError, match=missing):
        build_runner_with_tta(_config(tmp_path, **{missing: None}))


def test_a_config_without_test_data_is_refused(tmp_path):
    with pytest.raises(KeyError, match='test_dataloader'):
        build_runner_with_tta(_config(tmp_path, test_dataloader=None))
