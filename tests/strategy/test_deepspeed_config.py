"""The config of DeepSpeed: what is carried over, what conflicts, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.strategy._deepspeed_config import merged_config, read_config
from mmengine.strategy._deepspeed_engine import check_wrapper
from mmengine.utils.errors import ArgumentError


def _wrapper(kind: type[OptimWrapper] = OptimWrapper, **more: Any) -> OptimWrapper:
    return kind(optimizer=torch.optim.SGD(nn.Linear(2, 1).parameters(), lr=0.1), **more)


def _merged(settings: dict[str, Any], wrapper: OptimWrapper, batch_size: int | None = 8) -> Any:
    return merged_config(read_config(settings, {}), wrapper, batch_size)


def test_what_the_optimizer_wrapper_says_is_carried_over() -> None:
    wrapper = _wrapper(accumulative_counts=4, clip_grad={'max_norm': 0.5})
    config, window, clip_grad = _merged({'zero_optimization': {'stage': 2}}, wrapper)
    assert config['gradient_accumulation_steps'] == window == 4
    assert config['gradient_clipping'] == 0.5
    assert clip_grad == {'max_norm': 0.5}
    assert config['train_micro_batch_size_per_gpu'] == 8
    assert config['zero_optimization'] == {'stage': 2}


def test_what_it_does_not_say_is_taken_from_the_config() -> None:
    settings = {
        'gradient_accumulation_steps': 3,
        'gradient_clipping': 1,
        'train_micro_batch_size_per_gpu': 2,
        'train_batch_size': 'auto',
    }
    config, window, clip_grad = _merged(settings, _wrapper(), None)
    assert (window, clip_grad) == (3, {'max_norm': 1.0})
    assert config['train_micro_batch_size_per_gpu'] == 2
    assert 'train_batch_size' not in config


def test_autocast_is_carried_over() -> None:
    config = _merged({}, _wrapper(AmpOptimWrapper, dtype='bfloat16'))[0]
    assert config['torch_autocast'] == {'enabled': True, 'dtype': 'bfloat16'}
    config = _merged({}, _wrapper(AmpOptimWrapper, dtype='float32'))[0]
    assert 'torch_autocast' not in config
    same = {'bf16': {'enabled': True}, 'zero_optimization': {'stage': 1}}
    config = _merged(same, _wrapper(AmpOptimWrapper, dtype='bfloat16'))[0]
    assert 'torch_autocast' not in config
    assert config['bf16'] == {'enabled': True}


@pytest.mark.shows('DeepSpeed', 'AMP in float16', 'refused in stages 1 to 3')
@pytest.mark.parametrize(
    ('settings', 'wrapper', 'words'),
    [
        (
            {'gradient_accumulation_steps': 2},
            {'accumulative_counts': 4},
            'is 4 in optim_wrapper.accumulative_counts, but 2 in gradient_accumulation_steps',
        ),
        (
            {'gradient_clipping': 2.0},
            {'clip_grad': {'max_norm': 1.0}},
            'is 1.0 in optim_wrapper.clip_grad, but 2.0 in gradient_clipping',
        ),
        ({'train_micro_batch_size_per_gpu': 4}, {}, 'is 8 in train_dataloader.batch_size, but 4'),
        (
            {'fp16': {'enabled': True}, 'zero_optimization': {'stage': 1}},
            {'kind': AmpOptimWrapper, 'dtype': 'bfloat16'},
            "compute in bfloat16, but the entry 'fp16' of DeepSpeed says float16",
        ),
        (
            {'torch_autocast': {'enabled': True, 'dtype': 'float16'}},
            {'kind': AmpOptimWrapper, 'dtype': 'bfloat16'},
            "compute in bfloat16, but the entry 'torch_autocast' of DeepSpeed says float16",
        ),
        ({}, {'clip_grad': {'type': 'value', 'clip_value': 1.0}}, 'clips by the 2-norm'),
        ({}, {'clip_grad': {'max_norm': 1.0, 'norm_type': 1}}, 'clips by the 2-norm'),
        (
            {'zero_optimization': {'stage': 1}},
            {'kind': AmpOptimWrapper, 'dtype': 'float16'},
            'cannot skip a step on all ranks after an overflow',
        ),
        (
            {},
            {'kind': AmpOptimWrapper, 'dtype': 'float16', 'loss_scale': 128.0},
            'remove loss_scale',
        ),
        ({'bf16': {'enabled': True}}, {}, 'need stage 1, 2 or 3'),
        (
            {
                'bf16': {'enabled': True},
                'zero_optimization': {'stage': 1},
                'data_types': {'grad_accum_dtype': 'fp32'},
            },
            {},
            'needs stage 2 or 3',
        ),
    ],
    ids=['window', 'bound', 'batch', 'fp16', 'autocast', 'value', 'norm_type', 'overflow', 'scale',
         'stage_0', 'accumulation'],
)  # fmt: skip
def test_a_conflict_is_explained(
    settings: dict[str, Any], wrapper: dict[str, Any], words: str
) -> None:
    with pytest.raises(ArgumentError) as caught:
        _merged(settings, _wrapper(**wrapper))
    assert words in str(caught.value)


def test_its_entries_are_given_once(tmp_path: Path) -> None:
    file = tmp_path / 'config.json'
    file.write_text(json.dumps({'zero_optimization': {'stage': 3}}))
    assert read_config(file, {'bf16': None}) == {'zero_optimization': {'stage': 3}}
    same = {'zero_optimization': {'stage': 3}, 'gradient_clipping': 1.0}
    assert read_config(file, same) == same
    with pytest.raises(ArgumentError, match='zero_optimization twice'):
        read_config(file, {'zero_optimization': {'stage': 1}})


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'optimizer': {'type': 'Adam'}}, 'optim_wrapper of the run decides'),
        ({'scheduler': {'type': 'WarmupLR'}}, 'param_scheduler of the run decides'),
        ({'zero_optimization': {'stage': 4}}, 'got 4'),
        ([], 'got list'),
    ],
    ids=['optimizer', 'scheduler', 'stage', 'type'],
)
def test_what_belongs_to_the_run_is_refused(settings: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        read_config(settings, {})


def test_a_file_that_is_not_json_is_named(tmp_path: Path) -> None:
    file = tmp_path / 'config.json'
    file.write_text('{')
    with pytest.raises(ArgumentError, match=r'config\.json is not JSON'):
        read_config(str(file), {})


def test_another_optimizer_wrapper_is_refused() -> None:
    class Own(OptimWrapper):
        pass

    with pytest.raises(ArgumentError, match='got Own'):
        check_wrapper(_wrapper(Own))
