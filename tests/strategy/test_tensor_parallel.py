"""Tensor parallel of FSDPStrategy with four ranks, against one process on the joined batch."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from fsdp_toy import compare, whole_state
from torch.utils.data import Dataset
from tp_toy import (
    BATCH,
    ITERS,
    PLAN,
    SEQUENCE_PLAN,
    Former,
    by_hand,
    config,
    former,
    loader,
    samples,
)

from mmengine.evaluator import BaseMetric
from mmengine.process.failure import RankFailedError
from mmengine.registry import MODELS
from mmengine.runner import FlexibleRunner, Runner
from mmengine.runner._rank_means import RankMeans
from mmengine.testing._internal.distributed import run_distributed

pytestmark = pytest.mark.distributed

SGD = {'type': 'SGD', 'lr': 0.02, 'momentum': 0.9}
# The gradient of the bias of the keys is zero but for rounding, which a small eps would blow up.
ADAMW = {'type': 'AdamW', 'lr': 0.01, 'eps': 1e-2}
# Iteration 5 is inside the second window of 3; the last window has one batch.
WINDOWS = {'optimizer': ADAMW, 'accumulative_counts': 3, 'clip_grad': {'max_norm': 0.05}}
EMA = [{'type': 'EMAHook', 'momentum': 0.25}]
# Samples of all ranks: a file in the middle of the training.
SAVING = {'checkpoint': {'type': 'CheckpointHook', 'unit': 'sample', 'interval': 5 * BATCH}}


SHORT = {'train_cfg': {'by_epoch': False, 'max_iters': 3}}


def tensor(mesh: dict[str, int], plan: Any = PLAN, **more: Any) -> dict[str, Any]:
    return {'type': 'FSDPStrategy', 'mesh': mesh, 'tp_plan': plan, **more}


FLAT = tensor({'shard': 2, 'tensor': 2}, blocks=['Layer'])
PURE = tensor({'tensor': 4})


class Seen(BaseMetric):
    """All predictions, so that a sample that is counted twice shows."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += [float(value) for value in data_samples]

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        return {'mean': sum(results) / len(results), 'count': len(results)}


class Noisy(Dataset[Any]):
    """Samples with random numbers of the process."""

    def __len__(self) -> int:
        return BATCH * ITERS

    def __getitem__(self, index: int) -> Any:
        sample = samples()[index]
        return {**sample, 'x': sample['x'] + torch.randn(4, 3)}


def _trained(runner: Runner) -> dict[str, Any]:
    runner.train()
    return {**whole_state(runner), 'losses': _model_of(runner).losses, 'iter': runner.iter}


def _model_of(runner: Runner) -> Any:
    return getattr(runner.model, 'module', runner.model)


def _runner(folder: str, strategy: Any, wrapper: Any, data_ranks: int, **more: Any) -> Runner:
    return Runner(**config(folder, wrapper, data_ranks, **more), cfg={'strategy': strategy})


def _train(folder: str) -> dict[str, Any]:
    validation = {
        'val_dataloader': {**loader(2), 'dataset': samples(11)},
        'val_cfg': {},
        'val_evaluator': Seen(),
    }
    cases: dict[str, tuple[Any, Any, int]] = {
        'flat': (FLAT, {'optimizer': SGD}, 2),
        'pure': (PURE, WINDOWS, 1),
        'sequence': (tensor({'tensor': 2}, SEQUENCE_PLAN), WINDOWS, 2),
        'replicas': (tensor({'replicate': 2, 'tensor': 2}), {'optimizer': SGD}, 2),
        'bfloat16': (FLAT, {'type': 'AmpOptimWrapper', 'dtype': 'bfloat16', 'optimizer': SGD}, 2),
    }
    found = {}
    for name, (strategy, wrapper, data_ranks) in cases.items():
        more = {'flat': validation, 'bfloat16': SHORT}.get(name, {})
        runner = _runner(f'{folder}/{name}', strategy, wrapper, data_ranks, **more)
        found[name] = _trained(runner)
        if name == 'flat':
            found['metrics'] = runner.val()
            rank = float(runner.strategy.rank)
            found['means'] = RankMeans().reduce({'mean': rank, 'top': rank}, {'top': 'max'})
            found['local'] = sum(param.to_local().numel() for param in runner.model.parameters())
    return found


def _draw(folder: str) -> list[float]:
    """What a rank sees of data with random numbers."""
    more = {
        'train_dataloader': {**loader(2), 'dataset': Noisy()},
        **SHORT,
        'randomness': {'seed': 1, 'diff_rank_seed': True, 'per_sample': False},
    }
    runner = _runner(folder, FLAT, {'optimizer': SGD}, 2, **more)
    runner.train()
    seen: list[float] = _model_of(runner).seen
    return seen


def _save_and_resume(folder: str) -> dict[str, Any]:
    more = {'default_hooks': SAVING, 'custom_hooks': EMA}
    found = {
        'saved': _trained(_runner(f'{folder}/saved', FLAT, WINDOWS, 2, **more)),
        'by_ddp': _trained(_runner(f'{folder}/by_ddp', 'ddp', WINDOWS, 4, **more)),
    }
    for name, strategy, data_ranks, source in (
        ('flat', FLAT, 2, 'by_ddp'),
        ('fsdp', {'type': 'FSDPStrategy', 'blocks': ['Layer']}, 4, 'saved'),
        ('ddp', 'ddp', 4, 'saved'),
    ):
        path = {'load_from': f'{folder}/{source}/sample_20.pth', 'resume': True}
        runner = _runner(f'{folder}/{name}', strategy, WINDOWS, data_ranks, **path, **more)
        found[f'resumed_{name}'] = _trained(runner)
    return found


def _refused(folder: str) -> dict[str, str]:
    """Errors that only a training can find."""
    found = {}
    rest = {name: layer for name, layer in SEQUENCE_PLAN.items() if name != 'norm'}
    for name, plan, length in (
        ('part', {**rest, 'head': {'style': 'rowwise', 'input': 'replicate'}}, 4),
        ('length', SEQUENCE_PLAN, 3),
    ):
        short = [{**one, 'x': one['x'][:length]} for one in samples()]
        more = {'train_dataloader': {**loader(2), 'dataset': short}}
        runner = _runner(f'{folder}/{name}', tensor({'tensor': 2}, plan), WINDOWS, 2, **more)
        try:
            runner.train()
        except (ValueError, RankFailedError) as error:
            found[name] = str(error)
    return found


def _meta(folder: str) -> dict[str, Any]:
    MODELS.register_module(module=Former, force=True)
    arguments = config(f'{folder}/meta', {'optimizer': SGD}, 2, **SHORT)
    runner = FlexibleRunner(
        **{**arguments, 'model': {'type': 'Former'}}, strategy={**FLAT, 'meta_init': True}
    )
    runner.strategy.prepare(runner.model)
    torch.manual_seed(5)  # that of the model by hand
    runner.strategy.init_weights()
    runner.state.has_weights = True
    return {'meta': dict(runner.strategy.model_state_dict()), 'meta_trained': _trained(runner)}


def _all(rank: int, world_size: int, folder: str) -> dict[str, Any]:
    found = {**_train(folder), **_save_and_resume(folder), **_meta(folder)}
    found['seen'] = _draw(f'{folder}/noisy')
    return {**found, 'refused': _refused(folder)}


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('tensor')


@pytest.fixture(scope='module')
def ranks(folder: Path) -> list[dict[str, Any]]:
    return run_distributed(_all, 4, str(folder))


@cache
def truth(name: str) -> dict[str, Any]:
    if name == 'windows':
        return by_hand(ADAMW, 3, 0.05, momentum=0.25)
    return by_hand(SGD, iters=3 if name == 'short' else ITERS)


def _check(ranks: Any, name: str, expected: dict[str, Any], data_ranks: int) -> None:
    for found in ranks:
        compare(found[name], expected)
    firsts = ranks[:: 4 // data_ranks]
    means = torch.tensor([found[name]['losses'] for found in firsts]).mean(0)
    torch.testing.assert_close(means, torch.tensor(expected['losses']), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ('name', 'data_ranks'), [('flat', 2), ('replicas', 2)], ids=['shard', 'replicate']
)
def test_it_trains_as_one_process_on_the_joined_batch(
    name: str, data_ranks: int, ranks: Any
) -> None:
    _check(ranks, name, truth('sgd'), data_ranks)


@pytest.mark.shows('tensor parallel', ['accumulation', 'clipping'], 'works')
@pytest.mark.parametrize(
    ('name', 'data_ranks'), [('pure', 1), ('sequence', 2)], ids=['pure', 'sequence']
)
def test_windows_and_clipping_are_those_of_one_process(
    name: str, data_ranks: int, ranks: Any
) -> None:
    _check(ranks, name, truth('windows'), data_ranks)


@pytest.mark.shows('tensor parallel', 'AMP in bfloat16', 'works')
def test_bfloat16_stays_near_to_float32(ranks: Any) -> None:
    for found in ranks:
        compare(found['bfloat16'], truth('short'), atol=5e-2, rtol=5e-2)


def test_a_rank_holds_its_part_of_the_layers_and_shards(ranks: Any) -> None:
    total = sum(param.numel() for param in former().parameters())
    split = sum(
        param.numel()
        for name, param in former().named_parameters()
        if 'norm' not in name and 'embed' not in name and 'head' not in name
    )
    rowwise_bias = 2 * (8 + 8)  # each rank of a group has it whole
    expected = (split - rowwise_bias) / 4 + (total - split + rowwise_bias) / 2
    assert sum(found['local'] for found in ranks) == 4 * expected


def test_a_sample_is_counted_once(ranks: Any) -> None:
    model = former()
    model.load_state_dict(truth('sgd')['model'])
    with torch.no_grad():
        mean = float(model(torch.stack([one['x'] for one in samples(11)])).mean())
    for found in ranks:
        assert found['metrics']['count'] == 11
        assert found['metrics']['mean'] == pytest.approx(mean, abs=1e-6)


def test_log_values_are_means_over_ranks_with_other_data(ranks: Any) -> None:
    # Ranks 0 and 2 are the first of their batches.
    assert [found['means'] for found in ranks] == 4 * [{'mean': 1.0, 'top': 2.0}]


def test_ranks_of_a_batch_draw_the_same_random_numbers(ranks: Any) -> None:
    assert ranks[0]['seen'] == ranks[1]['seen']
    assert ranks[2]['seen'] == ranks[3]['seen']
    assert not set(ranks[0]['seen']) & set(ranks[2]['seen'])


@pytest.mark.shows('tensor parallel', 'resume', 'works')
@pytest.mark.parametrize('name', ['saved', 'resumed_flat', 'resumed_fsdp', 'resumed_ddp'])
def test_its_file_is_resumed_by_any_strategy(name: str, ranks: Any) -> None:
    for found in ranks:
        compare(found[name], truth('windows'))
        assert found[name]['iter'] == ITERS


@pytest.mark.shows('tensor parallel', 'EMA', 'works')
def test_its_file_holds_whole_tensors_and_the_average(ranks: Any, folder: Path) -> None:
    file = torch.load(folder / 'saved' / 'sample_40.pth', weights_only=True)
    for name, value in truth('windows')['average'].items():
        torch.testing.assert_close(file['state_dict'][name], value, atol=1e-6, rtol=1e-6)


@pytest.mark.shows('tensor parallel', 'another number of ranks', 'works')
def test_its_file_is_resumed_by_one_process(ranks: Any, folder: Path) -> None:
    more = {'custom_hooks': EMA, 'launcher': 'none', 'resume': True}
    path = str(folder / 'saved' / 'sample_20.pth')
    runner = _runner(str(folder / 'alone'), 'single', WINDOWS, 1, load_from=path, **more)
    compare(_trained(runner), truth('windows'))
    assert runner.iter == ITERS


def test_a_meta_model_has_the_values_of_one_process(ranks: Any) -> None:
    for found in ranks:
        for name, value in former().state_dict().items():
            assert torch.equal(found['meta'][name], value), name
        compare(found['meta_trained'], truth('short'))


def test_a_layer_with_a_part_of_the_sequence_that_is_not_in_the_plan_is_named(ranks: Any) -> None:
    for found in ranks:
        message = found['refused']['part']
        assert 'have other gradients of norm.weight' in message
        assert "with the style 'sequence'" in message


def test_a_sequence_that_does_not_divide_is_named(ranks: Any) -> None:
    for found in ranks:
        message = found['refused']['length']
        assert 'The output of embed has 3 entries in dimension 1, which 2 ranks' in message


def _on_three_axes(rank: int, world_size: int, folder: str) -> dict[str, Any]:
    mesh = {'replicate': 2, 'shard': 2, 'tensor': 2}
    cube = tensor(mesh, blocks=['Layer'], activation_checkpointing=True)
    return _trained(_runner(folder, cube, WINDOWS, 4))


@pytest.mark.shows('tensor parallel', 'activation checkpointing', 'works')
def test_eight_ranks_replicate_shard_and_split(tmp_path: Path) -> None:
    """Each pair of ranks has one of the four samples of a step; of a pair the losses are equal."""
    truth = by_hand(ADAMW, 3, 0.05)
    ranks = run_distributed(_on_three_axes, 8, str(tmp_path))
    for found in ranks:
        compare(found, truth)
    assert [found['losses'] for found in ranks[::2]] == [found['losses'] for found in ranks[1::2]]
    of_pairs = torch.tensor([found['losses'] for found in ranks[::2]])
    torch.testing.assert_close(of_pairs.mean(0), torch.tensor(truth['losses']))


def _on_one_axis(rank: int, world_size: int, folder: str) -> dict[str, Any]:
    pair = tensor({'tensor': 2}, blocks=['Layer'])
    scale = {'loss_scale': {'init_scale': 2.0**40}}
    fp16 = {'type': 'AmpOptimWrapper', 'dtype': 'float16', 'optimizer': SGD, **scale}
    runner = _runner(f'{folder}/fp16', pair, fp16, 1)
    overflow = _trained(runner)['model'], runner.optim_wrapper.loss_scaler.get_scale()
    graphs: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph

    runner = FlexibleRunner(
        **config(f'{folder}/compiled', {'optimizer': SGD}, 1),
        strategy=pair,
        compile={'backend': backend},
    )
    return {'overflow': overflow, 'compiled': _trained(runner), 'graphs': len(graphs)}


@pytest.mark.shows('tensor parallel', ['AMP in float16', 'compile'], 'works')
def test_an_overflow_skips_the_step_and_layers_are_compiled(tmp_path: Path) -> None:
    for found in run_distributed(_on_one_axis, 2, str(tmp_path)):
        weights, scale = found['overflow']
        assert scale == 2.0 ** (40 - ITERS)  # halved in each step, and still too large
        for name, value in former().state_dict().items():
            assert torch.equal(weights[name], value)
        assert found['graphs'] >= 1
        compare(found['compiled'], by_hand(SGD))
