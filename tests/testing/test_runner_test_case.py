"""A test case made of RunnerTestCase, run as a test runner would run it."""

import os
import unittest
from pathlib import Path

import pytest
import torch

from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS, METRICS, MODELS
from mmengine.runner import Runner
from mmengine.testing import RunnerTestCase
from mmengine.testing.runner_test_case import ToyDataset, ToyMetric, ToyModel


def run(test) -> RunnerTestCase:
    """Run a function as the test of a RunnerTestCase, which is returned."""
    case = type('Case', (RunnerTestCase,), {'test': test})('test')
    result = unittest.TestResult()
    case.run(result)
    problems = [text for _, text in [*result.errors, *result.failures]]
    assert not problems, problems[0]
    return case


def test_the_epoch_based_config_trains_and_validates():
    seen = {}

    def test(case):
        runner = case.build_runner(case.epoch_based_cfg)
        runner.train()
        seen.update(epoch=runner.epoch, files=os.listdir(case.temp_dir.name))
        seen['acc'] = runner.message_hub.get_scalar('val/acc').current()

    run(test)
    assert seen['epoch'] == 2
    assert {'epoch_1.pth', 'epoch_2.pth'} <= set(seen['files'])
    assert seen['acc'] == 1


def test_the_iter_based_config_trains_and_tests():
    seen = {}

    def test(case):
        runner = case.build_runner(case.iter_based_cfg)
        runner.train()
        seen.update(iter=runner.iter, files=os.listdir(case.temp_dir.name), test=runner.test())

    run(test)
    assert seen['iter'] == 12
    assert 'iter_12.pth' in seen['files']
    assert seen['test'] == {'acc': 1}


def test_nothing_is_left_behind():
    environment = dict(os.environ)
    folder = []

    def test(case):
        folder.append(case.temp_dir.name)
        os.environ['OF_THE_TEST'] = '1'
        assert MODELS.get('ToyModel') is ToyModel
        case.build_runner(case.epoch_based_cfg).train()

    run(test)
    assert not Path(folder[0]).exists()
    assert dict(os.environ) == environment
    assert MMLogger._instance_dict == {}
    for registry, name in [(MODELS, 'ToyModel'), (DATASETS, 'ToyDataset'), (METRICS, 'ToyMetric')]:
        assert name not in registry.module_dict


def test_a_toy_of_the_projects_own_comes_back():
    class ToyModel(torch.nn.Module):
        pass

    MODELS.register_module(module=ToyModel)
    try:
        run(lambda case: None)
        assert MODELS.get('ToyModel') is ToyModel
    finally:
        del MODELS.module_dict['ToyModel']


def test_each_runner_has_a_name_of_its_own():
    def test(case):
        names = {case.experiment_name for _ in range(3)}
        assert len(names) == 3
        assert all(name.startswith('test_') for name in names)
        runner = case.build_runner(case.epoch_based_cfg)
        assert isinstance(runner, Runner)
        assert runner.experiment_name.startswith('test_')

    case = type('Case', (RunnerTestCase,), {'test_names': test})('test_names')
    result = unittest.TestResult()
    case.run(result)
    assert result.wasSuccessful(), result.errors


def test_the_work_dir_is_emptied_and_stays():
    def test(case):
        case.build_runner(case.epoch_based_cfg).train()
        assert os.listdir(case.temp_dir.name)
        case.clear_work_dir()
        assert os.listdir(case.temp_dir.name) == []

    run(test)


def test_a_process_group_of_one_is_set_up_and_taken_down():
    def test(case):
        case.setup_dist_env()
        assert os.environ['RANK'] == os.environ['LOCAL_RANK'] == '0'
        assert os.environ['WORLD_SIZE'] == '1'
        torch.distributed.init_process_group('gloo')  # takes the rest from the environment
        assert torch.distributed.get_world_size() == 1

    run(test)
    assert not torch.distributed.is_initialized()


# The toys


def test_toy_dataset_has_twelve_points_of_label_one():
    dataset = ToyDataset()
    assert len(dataset) == 12
    assert dataset[3]['inputs'].shape == (2,)
    assert dataset[3]['data_samples'] == 1
    assert dataset.metainfo == {}


def test_toy_model_loses_by_its_squared_error():
    model = ToyModel()
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, 0.5)
    # hidden units 0.5 * (1 + 2) + 0.5 = 2; output 0.5 * (2 + 2) + 0.5 = 2.5
    points = [torch.tensor([1.0, 2.0])] * 3
    assert model(points).tolist() == [[2.5]] * 3
    assert model(torch.stack(points), mode='predict').tolist() == [[2.5]] * 3
    labels = [torch.tensor(1.0)] * 3
    assert model(points, labels, mode='loss')['loss'] == 1.5**2
    with pytest.raises(ValueError, match="got 'other'"):
        model(points, labels, mode='other')


def test_toy_metric_finds_what_it_is_told_to():
    metric = ToyMetric()
    assert isinstance(metric, BaseMetric)
    metric.process({}, [1, 2])
    assert metric.results == [{'acc': 1}]
    assert metric.compute_metrics(metric.results) == {'acc': 1}
    assert ToyMetric(dummy_metrics={'x': 3}).compute_metrics([]) == {'x': 3}
