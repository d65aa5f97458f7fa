"""DeepSpeedStrategy with the real package, against one process on the joined batch."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from fsdp_toy import (
    ITERS,
    Mean,
    by_hand,
    compare,
    config,
    loader,
    seeded_net,
    trained,
)

from mmengine._checkpoint.files import check_is_there
from mmengine._checkpoint.state_dict import weights_to_cpu
from mmengine.dataset import default_collate
from mmengine.dataset._batch_parts import CollateInParts
from mmengine.hooks import Hook
from mmengine.runner import FlexibleRunner, Runner
from mmengine.strategy.deepspeed import DeepSpeedOptimWrapper
from mmengine.testing._internal.distributed import run_distributed

# Not by importorskip, because the import takes seconds, and the ranks import this file.
needs_deepspeed = pytest.mark.skipif(find_spec('deepspeed') is None, reason='needs deepspeed')
pytestmark = [pytest.mark.distributed, needs_deepspeed]

SGD = {'type': 'SGD', 'lr': 0.01, 'momentum': 0.9}
ADAMW = {'type': 'AdamW', 'lr': 0.001}
STAGES = (0, 1, 2, 3)
EMA = 0.25
# 20 iterations in windows of 3: the last window has 2.
CASES: dict[str, dict[str, Any]] = {
    'sgd': {'optimizer': SGD, 'accumulative_counts': 3},
    'adamw_clip': {'optimizer': ADAMW, 'clip_grad': {'max_norm': 0.05}},
}
# Iterations 5 and 10 are inside of windows.
WINDOW = {'optimizer': ADAMW, 'accumulative_counts': 3}
AMP = {'type': 'AmpOptimWrapper', 'dtype': 'bfloat16', 'optimizer': SGD}
VALIDATION = {'val_dataloader': loader(4), 'val_cfg': {}, 'val_evaluator': Mean()}
SAVING = {'checkpoint': {'type': 'CheckpointHook', 'by_epoch': False, 'interval': 5}}
# Iteration 5 is resumed: who resumes, and which stage has saved.
RESUMES = [('ddp', '1'), ('0', '3'), ('1', '2'), ('2', 'ddp'), ('3', '0'), ('3', '3')]
SCHEDULE = {'type': 'LinearLR', 'start_factor': 0.1, 'by_epoch': False, 'end': 10}


class NotFinite(Hook):
    """Makes the loss of rank 0 in one iteration infinite."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if batch_idx == self.iteration and runner.strategy.rank == 0:
            data_batch['y'].fill_(float('inf'))


class StopAfter(Hook):
    def __init__(self, iterations: int) -> None:
        self.iterations = iterations

    def after_train_iter(self, runner: Any, batch_idx: int, *args: Any, **kwargs: Any) -> None:
        if batch_idx + 1 == self.iterations:
            runner.train_loop.stop_training = True


class Rates(Hook):
    """The learning rates of the engine's optimizer in each step."""

    def before_run(self, runner: Any) -> None:
        self.seen: list[list[float]] = []

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        groups = runner.strategy.engine.optimizer.param_groups
        self.seen.append([group['lr'] for group in groups])


def _zero(stage: int, **more: Any) -> dict[str, Any]:
    return {'type': 'DeepSpeedStrategy', 'zero_optimization': {'stage': stage}, **more}


def _runner(folder: str, wrapper: Any, strategy: Any, **more: Any) -> Runner:
    return Runner(**config(folder, wrapper, **more), cfg={'strategy': strategy})


def _error(call: Any) -> str:
    try:
        call()
    except Exception as error:
        return f'{type(error).__name__}: {error}'
    return ''


def _train_all(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for stage in STAGES:
        for name, wrapper in CASES.items():
            runner = _runner(f'{folder}/{name}_{stage}', wrapper, _zero(stage), **VALIDATION)
            found[f'before_{name}_{stage}'] = runner.val()['mean']
            found[f'{name}_{stage}'] = trained(runner)
            found[f'after_{name}_{stage}'] = runner.val()['mean']
        norm = runner.optim_wrapper.last_grad_norm
        found[f'norm_{stage}'] = float(norm)
    for stage in (0, 3):
        # As after a start with half as many ranks.
        in_parts = {**loader(), 'collate_fn': CollateInParts(default_collate, 2, is_shared=True)}
        window, more = CASES['sgd'], {'train_dataloader': in_parts}
        runner = _runner(f'{folder}/in_parts_{stage}', window, _zero(stage), **more)
        found[f'in_parts_{stage}'] = trained(runner)
        runner = _runner(f'{folder}/amp_{stage}', AMP, _zero(stage))
        found[f'amp_{stage}'] = trained(runner)
    for stage in (1, 3):
        half = _zero(stage, bf16={'enabled': True}, inputs_to_half=['x'])
        runner = _runner(f'{folder}/bf16_{stage}', {'optimizer': SGD}, half, **VALIDATION)
        found[f'bf16_{stage}'] = trained(runner)
        found[f'bf16_mean_{stage}'] = runner.val()['mean']
        found[f'bf16_dtype_{stage}'] = str(next(runner.model.parameters()).dtype)
        average = [{'type': 'EMAHook'}]
        runner = _runner(f'{folder}/no_{stage}', {'optimizer': SGD}, half, custom_hooks=average)
        found[f'no_average_{stage}'] = _error(runner.train)
    return found


def _use_all(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    plain = {'optimizer': SGD}
    averaged = [{'type': 'EMAHook', 'momentum': EMA}]
    runner = _runner(f'{folder}/ema', plain, _zero(2), custom_hooks=averaged, **VALIDATION)
    found['ema'] = trained(runner)
    ema = next(hook for hook in runner.hooks if type(hook).__name__ == 'EMAHook')
    found['average'] = dict(weights_to_cpu(ema.ema_model.module.state_dict()))
    found['hooks'] = len(ema.ema_model.module._forward_hooks)
    found['validated'] = float(runner.message_hub.get_scalar('val/mean').current())

    by_group = {**plain, 'paramwise_cfg': {'custom_keys': {'blocks': {'lr_mult': 0.5}}}}
    for name, strategy in (('ddp', 'ddp'), ('1', _zero(1))):
        rates = Rates()
        more = {'param_scheduler': SCHEDULE, 'custom_hooks': [] if name == 'ddp' else [rates]}
        runner = _runner(f'{folder}/schedule_{name}', by_group, strategy, **more)
        found[f'schedule_{name}'] = trained(runner)
        found[f'rates_{name}'] = [] if name == 'ddp' else rates.seen

    window = {'optimizer': SGD, 'accumulative_counts': 4}
    for stage in (0, 1, 3):
        stopped = {
            'custom_hooks': [StopAfter(10)],
            'train_cfg': {'by_epoch': False, 'max_iters': ITERS},
        }
        clipped = {**window, 'clip_grad': {'max_norm': 0.05}}
        runner = _runner(f'{folder}/stop_{stage}', clipped, _zero(stage), **stopped)
        found[f'stopped_{stage}'] = trained(runner)
    more = {
        'custom_hooks': [NotFinite(7)],
        'default_hooks': {'checkpoint': None, 'non_finite_loss': None},
    }
    skips = {**window, 'skip_non_finite': True}
    found['skip'] = trained(_runner(f'{folder}/skip', skips, _zero(2), **more))

    more['default_hooks'] = {'checkpoint': None, 'non_finite_loss': {'policy': 'rollback'}}
    runner = _runner(f'{folder}/rollback', plain, _zero(0), **more)
    found['rollback'] = _error(runner.train), runner.iter

    for stage in (1, 3):
        frozen = seeded_net()
        frozen.embed.requires_grad_(False)
        frozen.blocks[0].norm.requires_grad_(False)
        saving = {'type': 'CheckpointHook', 'interval': 1, 'async_save': True}
        arguments = config(f'{folder}/frozen_{stage}', window, default_hooks={'checkpoint': saving})
        strategy = {'strategy': _zero(stage), 'activation_checkpointing': ['blocks.1']}
        runner = Runner(**{**arguments, 'model': frozen}, cfg=strategy)
        found[f'frozen_{stage}'] = trained(runner)
        found[f'calls_{stage}'] = [block.calls for block in frozen.blocks]

    graphs: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph

    for stage in (3, 1):
        compiled = FlexibleRunner(
            **config(f'{folder}/compile_{stage}', plain),
            strategy=_zero(stage),
            compile={'backend': backend},
        )
        if stage == 3:
            found['compile_refused'] = _error(compiled.train)
        else:
            found['compile'] = trained(compiled)
            found['graphs'] = len(graphs)

    runner = FlexibleRunner(**config(f'{folder}/name', plain), strategy='deepspeed')
    found['by_name'] = trained(runner)
    found['stage_by_name'] = int(runner.strategy.engine.zero_optimization_stage())

    file = Path(folder, f'config_{runner.strategy.rank}.json')
    settings = {
        'zero_optimization': {'stage': 2},
        'gradient_accumulation_steps': 3,
        'gradient_clipping': 0.05,
        'train_micro_batch_size_per_gpu': 'auto',
    }
    file.write_text(json.dumps(settings))
    wrapper = {'type': 'DeepSpeedOptimWrapper', 'optimizer': SGD}
    runner = FlexibleRunner(
        **config(f'{folder}/json', wrapper),
        strategy={'type': 'DeepSpeedStrategy', 'config': str(file)},
    )
    found['json'] = trained(runner)
    found['wrapper'] = type(runner.optim_wrapper) is DeepSpeedOptimWrapper
    found['steps'] = runner.optim_wrapper.num_steps
    return found


def _save_and_resume(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    ema = [{'type': 'EMAHook', 'momentum': EMA}]
    for stage in STAGES:
        more = {'custom_hooks': ema if stage == 1 else None, 'default_hooks': SAVING}
        runner = _runner(f'{folder}/saved_{stage}', WINDOW, _zero(stage), **more)
        found[f'saved_{stage}'] = trained(runner)
    _runner(f'{folder}/saved_ddp', WINDOW, 'ddp', default_hooks=SAVING).train()
    for new, old in RESUMES:
        source = {'load_from': f'{folder}/saved_{old}/iter_5.pth', 'resume': True}
        strategy = new if new == 'ddp' else _zero(int(new))
        runner = _runner(f'{folder}/{new}_from_{old}', WINDOW, strategy, **source)
        found[f'{new}_from_{old}'] = trained(runner)

    kept = {'type': 'CheckpointHook', 'by_epoch': False, 'interval': 5, 'max_keep_ckpts': 2}
    saving = {'default_hooks': {'checkpoint': kept}}
    for stage in STAGES:
        strategy = _zero(stage, checkpoint_format='folder')
        where = f'{folder}/parts_{stage}'
        length = {'train_cfg': {'by_epoch': False, 'max_iters': 15}}
        _runner(where, WINDOW, strategy, **length, **saving).train()
        found[f'folders_{stage}'] = sorted(path.name for path in Path(where).glob('*.pth*'))
        length = {'train_cfg': {'by_epoch': False, 'max_iters': ITERS}}
        source = {'load_from': f'{where}/iter_10.pth', 'resume': True}
        if stage == 3:
            runner = _runner(f'{folder}/of_parts_{stage}', WINDOW, strategy, **length, **source)
            found[f'of_parts_{stage}'] = trained(runner)
        runner = _runner(where, WINDOW, strategy, **length, **saving, resume=True)
        found[f'parts_{stage}'] = trained(runner)
        source = {'load_from': f'{where}/iter_20.pth'}
        runner = _runner(f'{folder}/weights_{stage}', WINDOW, 'deepspeed', **source, **VALIDATION)
        found[f'weights_{stage}'] = runner.val()['mean']
    runner = _runner(f'{folder}/other', WINDOW, _zero(1), resume=True, **source)
    found['other_stage'] = _error(runner.train)
    for strategy in ('ddp', 'fsdp'):
        runner = _runner(f'{folder}/by_{strategy}', WINDOW, strategy, **source)
        found[f'by_{strategy}'] = _error(runner.train)
    folders = _zero(1, checkpoint_format='folder')
    publishing = {'checkpoint': {**SAVING['checkpoint'], 'published_keys': 'state_dict'}}
    remote = {'checkpoint': {**SAVING['checkpoint'], 'out_dir': 'memory://bucket/run'}}
    sharded = {'checkpoint': {'format': 'sharded'}}
    for name, strategy, more in (
        ('ema', folders, {'default_hooks': SAVING, 'custom_hooks': ema}),
        ('ema, sharded', _zero(1), {'default_hooks': SAVING, 'custom_hooks': ema, **sharded}),
        ('published', folders, {'default_hooks': publishing}),
        ('remote', _zero(1), {'default_hooks': remote, **sharded}),
    ):
        runner = _runner(f'{folder}/refused_{name}', WINDOW, strategy, **more)
        found[f'refused_{name}'] = _error(runner.train), runner.iter
    return found


def _all(rank: int, world_size: int, folder: str) -> dict[str, Any]:
    return {**_train_all(folder), **_use_all(folder), **_save_and_resume(folder)}


def _alone(rank: int, world_size: int, folder: str) -> dict[str, Any]:
    """One process without a launcher, with the joined batch."""
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'LOCAL_WORLD_SIZE'):
        os.environ.pop(name, None)
    found = {}
    for old in ('0', '3'):
        source = {'load_from': f'{folder}/saved_{old}/iter_5.pth', 'resume': True}
        more = {'launcher': 'none', 'train_dataloader': loader(4), **source}
        runner = _runner(f'{folder}/alone_{old}', WINDOW, _zero(2), **more)
        found[old] = trained(runner)
    return found


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('deepspeed')


@pytest.fixture(scope='module')
def ranks(folder: Path) -> list[dict[str, Any]]:
    return run_distributed(_all, 2, str(folder), timeout_s=540)


@pytest.mark.shows('DeepSpeed', ['accumulation', 'clipping'], 'works')
@pytest.mark.parametrize('stage', STAGES)
@pytest.mark.parametrize('name', CASES)
def test_it_trains_as_one_process_on_the_joined_batch(name: str, stage: int, ranks: Any) -> None:
    case = CASES[name]
    windows, bound = case.get('accumulative_counts', 1), case.get('clip_grad', {}).get('max_norm')
    truth = by_hand(case['optimizer'], windows, bound)
    before = by_hand(case['optimizer'], iters=0)
    for found in ranks:
        compare(found[f'{name}_{stage}'], truth)
        assert found[f'before_{name}_{stage}'] == pytest.approx(before['mean'], abs=1e-6)
        assert found[f'after_{name}_{stage}'] == pytest.approx(truth['mean'], abs=1e-6)


def test_the_norm_before_clipping_is_that_of_all_gradients(ranks: Any) -> None:
    for found in ranks:
        for stage in STAGES[1:]:
            # Stage 0 clips by torch.
            assert found[f'norm_{stage}'] == pytest.approx(found['norm_0'], rel=1e-5)


@pytest.mark.parametrize('stage', [0, 3])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(stage: int, ranks: Any) -> None:
    for found in ranks:
        compare(found[f'in_parts_{stage}'], by_hand(SGD, 3))


@pytest.mark.shows('DeepSpeed', 'AMP in bfloat16', 'works')
@pytest.mark.parametrize('name', ['amp_0', 'amp_3', 'bf16_1', 'bf16_3'])
def test_bfloat16_stays_near_float32(name: str, ranks: Any) -> None:
    truth = by_hand(SGD)
    for found in ranks:
        # Eight bits of mantissa: one part in 256 for a number, more after 20 steps.
        compare(found[name], truth, atol=5e-2, rtol=5e-2)
        assert any(
            not torch.equal(found[name]['model'][key], value)
            for key, value in truth['model'].items()
        )
        # The model computes in bfloat16, and the state has the float32 copies.
        assert found[name]['model']['embed.weight'].dtype == torch.float32


@pytest.mark.shows('DeepSpeed', 'EMA', 'refused in stage 3')
@pytest.mark.parametrize('stage', [1, 3])
def test_parameters_in_bfloat16_are_validated_and_not_averaged(stage: int, ranks: Any) -> None:
    for found in ranks:
        assert found[f'bf16_dtype_{stage}'] == 'torch.bfloat16'
        assert found[f'bf16_mean_{stage}'] == pytest.approx(by_hand(SGD)['mean'], abs=5e-2)
        what = 'split by stage 3 of ZeRO' if stage == 3 else 'in torch.bfloat16'
        assert what in found[f'no_average_{stage}']
        assert 'stage 0, 1 or 2' in found[f'no_average_{stage}']


@pytest.mark.shows('DeepSpeed', 'EMA', 'works in stages 0 to 2')
def test_the_average_is_validated(ranks: Any) -> None:
    truth = by_hand(SGD, momentum_of_average=EMA)
    for found in ranks:
        compare(found['ema'], truth)
        for name, value in truth['average'].items():
            torch.testing.assert_close(found['average'][name], value, atol=1e-6, rtol=1e-6)
        assert found['validated'] == pytest.approx(truth['mean_of_average'], abs=1e-6)
        assert found['hooks'] == 0  # the hooks of the engine stay with it


def test_schedules_change_the_groups_of_the_engine(ranks: Any) -> None:
    for found in ranks:
        compare(found['schedule_1'], found['schedule_ddp'])
        # From a tenth of 0.01 in equal steps to 0.01, which iteration 10 has; blocks have half.
        expected = [0.01 * min(0.1 + 0.1 * step, 1.0) for step in range(ITERS)]
        seen = found['rates_1']
        assert [max(rates) for rates in seen] == pytest.approx(expected)
        assert [min(rates) for rates in seen] == pytest.approx([rate / 2 for rate in expected])


@pytest.mark.parametrize('stage', [0, 1, 3])
def test_a_stop_inside_a_window_steps_with_its_mean(stage: int, ranks: Any) -> None:
    for found in ranks:
        compare(found[f'stopped_{stage}'], by_hand(SGD, 4, 0.05, iters=10))


def test_a_return_to_earlier_weights_is_refused_before_the_first_step(ranks: Any) -> None:
    for found in ranks:
        text, iterations = found['rollback']
        assert iterations == 0
        assert "Use policy='skip'" in text


def test_a_batch_that_is_not_finite_is_skipped_on_all_ranks(ranks: Any) -> None:
    for found in ranks:
        compare(found['skip'], by_hand(SGD, 4, without_batch=7))


@pytest.mark.shows('DeepSpeed', 'activation checkpointing', 'works')
@pytest.mark.parametrize('stage', [1, 3])
def test_frozen_parameters_recomputed_blocks_and_a_thread_that_saves(
    stage: int, ranks: Any, folder: Path
) -> None:
    model = seeded_net()
    model.embed.requires_grad_(False)
    model.blocks[0].norm.requires_grad_(False)
    truth = by_hand(SGD, 4, model=model)
    for found in ranks:
        compare(found[f'frozen_{stage}'], truth)
        assert found[f'calls_{stage}'] == [ITERS, 2 * ITERS]
    file = torch.load(folder / f'frozen_{stage}' / 'epoch_1.pth', weights_only=True)
    for name, value in found[f'frozen_{stage}']['model'].items():
        assert torch.equal(file['state_dict'][name], value)


@pytest.mark.shows('DeepSpeed', 'compile', 'works in stages 0 to 2')
@pytest.mark.shows('DeepSpeed', 'compile', 'refused in stage 3')
def test_the_model_is_compiled_below_stage_3(ranks: Any) -> None:
    for found in ranks:
        assert found['graphs'] >= 1
        compare(found['compile'], by_hand(SGD))
        assert 'compile does not work with stage 3 of ZeRO' in found['compile_refused']


def test_its_name_is_enough(ranks: Any) -> None:
    for found in ranks:
        assert found['stage_by_name'] == 0
        compare(found['by_name'], by_hand(SGD))


def test_its_json_file_decides_where_the_run_does_not(ranks: Any) -> None:
    for found in ranks:
        compare(found['json'], by_hand(SGD, 3, 0.05))
        assert found['wrapper']
        assert found['steps'] == 7  # 20 batches in windows of 3


@pytest.mark.parametrize('stage', STAGES)
def test_its_file_is_whole(stage: int, ranks: Any, folder: Path) -> None:
    truth = by_hand(ADAMW, 3, momentum_of_average=EMA)
    for found in ranks:
        compare(found[f'saved_{stage}'], truth)
    file = torch.load(folder / f'saved_{stage}' / 'iter_20.pth', weights_only=True)
    weights = truth['average' if stage == 1 else 'model']
    for name, value in weights.items():
        torch.testing.assert_close(file['state_dict'][name], value, atol=1e-6, rtol=1e-6)
    assert file['optimizer']['state'].keys() == truth['optimizer'].keys()


@pytest.mark.shows('DeepSpeed', 'resume', 'works')
@pytest.mark.parametrize(('new', 'old'), RESUMES)
def test_its_file_is_resumed_by_other_strategies_and_stages(new: str, old: str, ranks: Any) -> None:
    for found in ranks:
        compare(found[f'{new}_from_{old}'], by_hand(ADAMW, 3))


@pytest.mark.shows('DeepSpeed', 'another number of ranks', 'works')
def test_its_file_is_resumed_by_one_process_without_a_launcher(ranks: Any, folder: Path) -> None:
    (found,) = run_distributed(_alone, 1, str(folder), backend=None)
    for old in ('0', '3'):
        compare(found[old], by_hand(ADAMW, 3))


@pytest.mark.parametrize('stage', STAGES)
def test_each_rank_writes_its_part_to_a_folder(stage: int, ranks: Any, folder: Path) -> None:
    truth = by_hand(ADAMW, 3)
    for found in ranks:
        assert found[f'folders_{stage}'] == ['iter_10.pth', 'iter_15.pth']
        compare(found[f'parts_{stage}'], truth)
        if stage == 3:
            compare(found[f'of_parts_{stage}'], truth)
        assert found[f'weights_{stage}'] == pytest.approx(truth['mean'], abs=1e-6)
    written = list((folder / f'parts_{stage}' / 'iter_20.pth').rglob('*optim_states.pt'))
    assert len(written) == (2 if stage else 0)


def test_a_folder_is_refused_by_another_stage(ranks: Any) -> None:
    for found in ranks:
        assert 'was written by 2 ranks with stage 3 of ZeRO' in found['other_stage']
        assert "checkpoint=dict(format='file')" in found['other_stage']


def test_a_folder_is_there_for_a_check_and_other_strategies_say_who_reads_it(
    ranks: Any, folder: Path
) -> None:
    check_is_there(str(folder / 'parts_1' / 'iter_20.pth'))
    with pytest.raises(FileNotFoundError, match='There is no checkpoint at'):
        check_is_there(str(folder / 'parts_1'))
    for found in ranks:
        for strategy in ('ddp', 'fsdp'):
            text = found[f'by_{strategy}']
            assert 'iter_20.pth has the form of DeepSpeedStrategy, and no other' in text
            assert "checkpoint=dict(format='file')" in text


@pytest.mark.parametrize(
    ('name', 'words', 'setting'),
    [
        ('ema', 'EMAHook needs whole weights', "checkpoint_format='folder'"),
        ('ema, sharded', 'EMAHook needs whole weights', "checkpoint=dict(format='sharded')"),
        ('published', 'published_keys of CheckpointHook needs', "checkpoint_format='folder'"),
        ('remote', 'memory://bucket/run', "checkpoint=dict(format='sharded')"),
    ],
)
def test_folders_are_refused_before_the_first_step(
    name: str, words: str, setting: str, ranks: Any
) -> None:
    for found in ranks:
        text, iterations = found[f'refused_{name}']
        assert iterations == 0
        assert words in text
        assert f'with {setting}' in text
        assert "Use checkpoint=dict(format='file')" in text
