"""Plans without other processes: counts by hand, errors, and the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from plan_toy import BATCH, LENGTH, VOCABULARY, WIDTH, Words, config
from torch import nn

from mmengine.cli.__main__ import main
from mmengine.model import BaseModel
from mmengine.plan import Plan, plan_run
from mmengine.plan._model import without_numbers
from mmengine.plan._schedule import draw_schedule
from mmengine.plan._text import plan_text
from mmengine.runner import Runner
from mmengine.strategy.deepspeed import DeepSpeedStrategy
from mmengine.utils._quantities import parse_quantity
from mmengine.utils.errors import ArgumentError

# attention: 4 W^2 + 4 W; norm 2 W; two linear layers 8 W^2 + 5 W
OF_BLOCK = 12 * WIDTH**2 + 11 * WIDTH
PARAMETERS = VOCABULARY * WIDTH + 2 * OF_BLOCK


class Tiny(BaseModel):
    """Two layers, the second of which has no gradient."""

    def __init__(self, needs: str = '') -> None:
        super().__init__()
        self.used = nn.Linear(8, 8, bias=False)
        self.unused = nn.Linear(8, 8, bias=False)
        self.needs = needs
        if needs == 'to build':
            float(self.used.weight.sum())

    def forward(self, x: Any, mode: str = 'tensor') -> Any:  # type: ignore[override]
        out = self.used(x)
        if self.needs == 'to step' and float(out.mean()) > 1e9:
            out = out * 2
        return {'loss': out.mean()}


class Absent(torch.utils.data.Dataset[Any]):
    def __init__(self) -> None:
        raise FileNotFoundError(2, 'No such file or directory', '/data/annotations.json')


def tiny(needs: str = '', **more: Any) -> dict[str, Any]:
    settings = config('single', **more)
    settings['model'] = {'type': Tiny, 'needs': needs}
    settings['train_dataloader']['dataset'] = [{'x': torch.ones(8)} for _ in range(10)]
    settings['optim_wrapper'] = {'optimizer': {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9}}
    return settings


@pytest.fixture(scope='module')
def plan() -> Plan:
    scheduler = {'type': 'StepLR', 'step_size': 1, 'gamma': 0.5, 'by_epoch': True}
    hooks = {'checkpoint': {'type': 'CheckpointHook', 'interval': 1, 'max_keep_ckpts': 1}}
    settings = config('ddp', 3, param_scheduler=scheduler, default_hooks=hooks)
    settings['optim_wrapper']['paramwise_cfg'] = {'norm_decay_mult': 0.0}
    settings['custom_hooks'] = [{'type': 'EMAHook'}]
    return plan_run(
        settings, world_size=4, ranks_per_node=2, flops='1G', bandwidth='1MB', memory='1MB'
    )


def test_parameters_are_counted_once(plan: Plan) -> None:
    rows = {row.name: row for row in plan.modules}
    assert rows[''].parameters == rows[''].trained == PARAMETERS
    assert rows['blocks'].parameters == 2 * OF_BLOCK
    assert rows['head'].parameters == VOCABULARY * WIDTH  # shared with the embedding
    assert sum(row.parameters for row in plan.groups) == PARAMETERS
    by_decay = {row.settings['weight_decay']: row.parameters for row in plan.groups}
    assert by_decay[0.0] == 2 * 2 * WIDTH


def test_the_length_is_that_of_the_run(plan: Plan) -> None:
    # 64 samples on 4 ranks are 4 batches of 4, in 2 epochs; a step has 3 batches, the last one 2.
    length = plan.length
    assert (length.epochs, length.iterations, length.steps) == (2, 8, 3)
    assert (length.samples, length.samples_of_step) == (128, 4 * 3 * BATCH)


def test_a_pass_may_be_shorter_than_a_batch_and_a_run_than_a_window() -> None:
    settings = tiny()
    settings['train_dataloader'].update(
        dataset=[{'x': torch.ones(8)} for _ in range(3)], batch_size=4
    )
    settings['optim_wrapper']['accumulative_counts'] = 5
    settings['strategy'] = 'ddp'
    planned = plan_run(settings, world_size=4)
    # The sampler gives each of 4 ranks one of 3 samples: a batch of one in each of 2 epochs.
    length = planned.length
    assert (length.iterations, length.steps, length.samples) == (2, 1, 8)
    assert (planned.batches_of_step, length.batch_size, length.samples_of_step) == (2, 1, 8)
    assert planned.memory['batch'] == 4 * 8  # one sample of 8 numbers
    text = plan_text(planned)
    assert '2 epochs, 2 iterations, 1 optimizer step, 8 samples' in text
    assert 'a step has 2 batches of 1 sample on each rank: 8 samples of all ranks' in text


class Endless(torch.utils.data.IterableDataset[Any]):
    def __iter__(self) -> Any:
        while True:
            yield {'x': torch.ones(8)}


def test_lengths_that_are_not_known_are_left_out() -> None:
    settings = tiny()
    settings['train_dataloader'] = {
        'dataset': Endless(), 'batch_size': 4, 'collate_fn': 'default_collate',
    }  # fmt: skip
    settings['train_cfg'] = {'by_epoch': False, 'max_iters': 1}
    text = plan_text(plan_run(settings))
    assert '  1 iteration, 1 optimizer step\n' in text
    assert '  a step has 1 batch of 4 samples on each rank\n' in text

    settings['train_dataloader'] = {
        'dataset': [{'x': torch.ones(8)} for _ in range(5)],
        'batch_sampler': [[0, 1], [2, 3, 4]],
        'collate_fn': 'default_collate',
    }
    assert '  a step has 1 batch on each rank\n' in plan_text(plan_run(settings))


def test_checkpoints_and_the_average(plan: Plan, tmp_path: Path) -> None:
    assert (plan.checkpoints.written, plan.checkpoints.kept) == (2, 1)
    # Weights and average, two moments; 8 bytes for each position, and a step for each parameter.
    buffers, tensors = 8 * LENGTH, 1 + 2 * 10
    expected = 4 * 4 * PARAMETERS + 2 * buffers + 4 * tensors
    assert plan.checkpoints.bytes == expected
    assert plan.memory['averaged weights'] == 4 * PARAMETERS + buffers


def test_the_size_of_a_checkpoint_is_that_of_the_file(tmp_path: Path) -> None:
    settings = config('single', work_dir=str(tmp_path), log_level='ERROR')
    settings['train_cfg'] = {'by_epoch': True, 'max_epochs': 1}
    settings['train_dataloader']['dataset'] = settings['train_dataloader']['dataset'][:BATCH]
    planned = plan_run(settings).checkpoints
    runner = Runner.from_cfg(settings)
    runner.train()
    file = tmp_path / 'epoch_1.pth'
    assert planned.bytes == pytest.approx(file.stat().st_size, rel=0.1)
    assert planned.written == len(list(tmp_path.glob('*.pth'))) == 1


def test_the_schedule_steps_as_in_the_run(plan: Plan) -> None:
    assert plan.schedule.iterations == list(range(8))
    assert plan.schedule.values['lr'] == pytest.approx([0.001] * 4 + [0.0005] * 4)


def test_gradients_are_exchanged_once_a_step_and_cross_machines(plan: Plan) -> None:
    (row,) = plan.sent
    assert (row.kind, row.count, row.ranks, row.is_in_node) == ('all_reduce', 1, 4, False)
    assert row.payload == 4 * PARAMETERS
    assert row.sent == 2 * 3 / 4 * row.payload


def test_times_follow_from_the_speeds(plan: Plan) -> None:
    compute, send = plan.flops_of_step / 1e9, plan.sent[0].sent / 1e6
    assert plan.times.compute == pytest.approx(compute)
    assert plan.times.step == pytest.approx((max(compute, send), compute + send))
    assert plan.times.run == pytest.approx(tuple(3 * step for step in plan.times.step or ()))


def test_products_are_counted_forward_and_backward(plan: Plan) -> None:
    tokens = BATCH * LENGTH
    products = 2 * tokens * (2 * 12 * WIDTH**2 + VOCABULARY * WIDTH)
    attention = 2 * 2 * 2 * BATCH * LENGTH**2 * WIDTH  # query x key, and times value
    # A product has two in its backward pass; the attention of torch computes one again.
    assert plan.flops_of_step == 3 * (3 * products + attention * 7 // 2)


def test_what_does_not_fit_is_said(plan: Plan) -> None:
    assert plan.fits is False
    assert plan_run(tiny(), memory='1MB').fits
    assert plan_run(tiny()).fits is None


def test_numbers_that_a_model_needs_are_explained_and_can_be_had() -> None:
    for needs in ('to build', 'to step'):
        with pytest.raises(ArgumentError, match=r'test_plan_run.py:\d+.*real=True'):
            plan_run(tiny(needs))
        assert plan_run(tiny(needs), real=True).modules[0].parameters == 128


def test_parameters_without_a_gradient_are_named() -> None:
    settings = tiny()
    settings['strategy'] = 'ddp'
    notes = ' '.join(plan_run(settings, world_size=2).notes)
    assert 'no gradient to unused.weight' in notes
    assert 'find_unused_parameters=True' in notes
    searching = plan_run({**settings, 'find_unused_parameters': True}, world_size=2)
    # The bucket, and an int32 for each of the two parameters.
    assert [(row.count, row.payload) for row in searching.sent] == [(2, 4 * 128 + 4 * 2)]


def test_real_numbers_and_fake_ones_give_one_plan() -> None:
    settings = config('ddp', 2)
    fake, real = (plan_run(settings, world_size=2, real=real) for real in (False, True))
    assert fake.sent == real.sent
    assert fake.memory == real.memory


def test_data_that_is_not_here_can_be_described() -> None:
    settings = tiny()
    settings['train_dataloader']['dataset'] = {'type': Absent}
    with pytest.raises(ArgumentError, match=r'annotations.json.*--shape'):
        plan_run(settings)
    with pytest.raises(ArgumentError, match='--num-samples'):
        plan_run(settings, shapes={'x': (8,)})
    planned = plan_run(settings, shapes={'x': '8'}, num_samples=1000)
    assert planned.length.samples == 2000
    settings['train_cfg'] = {'by_epoch': False, 'max_iters': 7}
    assert plan_run(settings, shapes={'x': 8}).length.samples == 7 * BATCH


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        ({'memory': '24 apples'}, '24 apples'),
        ({'world_size': 0}, 'world_size'),
        ({'mesh': {'shard': 3}, 'world_size': 4}, 'mesh'),
        ({'shapes': {'x': '8;8'}}, 'shape of x'),
    ],
)
def test_wrong_arguments_are_explained(arguments: dict[str, Any], text: str) -> None:
    settings = tiny()
    settings['strategy'] = 'fsdp'
    with pytest.raises(ArgumentError, match=text):
        plan_run(settings, **arguments)


def test_quantities() -> None:
    assert parse_quantity('memory', '80GiB') == 80 * 2**30
    assert parse_quantity('flops', '1.5P') == 1.5e15
    assert parse_quantity('bandwidth', 2.5e9) == 2.5e9


def test_a_thousand_ranks_take_no_longer_than_their_tensors() -> None:
    strategy = {'type': 'FSDPStrategy', 'blocks': ['Block']}
    for chosen, kind in (('ddp', 'all_reduce'), (strategy, 'reduce_scatter')):
        planned = plan_run(
            {**config(chosen), 'model': {'type': Words, 'depth': 1}}, world_size=1024
        )
        # Rows are split over the ranks: the largest tensor has 4 W of them.
        assert planned.memory['parameters'] <= 4 * (PARAMETERS if chosen == 'ddp' else 2000)
        rows = {row.kind: row for row in planned.sent}
        assert rows[kind].ranks == 1024
        assert rows[kind].payload >= 4 * (VOCABULARY * WIDTH + OF_BLOCK)


def test_the_command_prints_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path('toy.py').write_text(
        'train_dataloader = dict(batch_size=2, dataset=dict(type="Absent"))\n'
        'train_cfg = dict(max_epochs=3)\n'
        'model = dict(type="AdaptedModel", target="labels", module=dict(type="torch.nn.Linear", '
        'in_features=3, out_features=2), loss=dict(type="torch.nn.CrossEntropyLoss"))\n'
        'optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.1))\n'
    )
    words = ['plan', 'toy.py', '--shape', 'input=3', 'labels=:int64', '--num-samples', '10']
    assert main([*words, '--picture', 'schedule.png', '--memory', '1MB']) == 0
    text = capsys.readouterr().out
    assert '15 iterations' in text
    assert 'It fits' in text
    assert Path('schedule.png').stat().st_size > 1000
    assert main([*words, '--json', '--memory', '10B']) == 1
    assert json.loads(capsys.readouterr().out)['length']['epochs'] == 3
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_a_picture_needs_a_known_suffix(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match='png'):
        draw_schedule(plan.schedule, str(tmp_path / 'schedule.docx'))


def test_deepspeed_is_refused() -> None:
    strategy = object.__new__(DeepSpeedStrategy)  # whose constructor imports the package
    with pytest.raises(ArgumentError, match='strategy="fsdp" has the memory of ZeRO 3'):
        without_numbers(strategy, None)
