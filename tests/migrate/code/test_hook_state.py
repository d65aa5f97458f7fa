"""What hooks keep in ``runner.meta``, and clipping and counts of samples of a project's own."""

import pytest

convert = pytest.importorskip('mmengine.migrate._code.convert')
HOOK = """\
from mmcv.runner import Hook


class Keeps(Hook):
    def after_train_iter(self, runner):
        {lines}
"""


def converted(*lines):
    return convert.convert_source(HOOK.format(lines='\n        '.join(lines)))


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        ("runner.meta['best'] = runner.iter",
         "runner.message_hub.update_info('best', runner.iter)"),
        ("runner.meta['best'] += 2 * 3",
         "runner.message_hub.update_info('best', runner.message_hub.get_info('best') + (2 * 3))"),
        ("print(runner.meta['best'])", "print(runner.message_hub.get_info('best'))"),
        ("print(runner.meta.get('best', 0))", "print(runner.message_hub.get_info('best', 0))"),
    ],
)  # fmt: skip
def test_a_value_of_a_hook_is_in_the_message_hub(old, new):
    result = converted("runner.meta['best'] = 0", old)
    assert f'        {new}\n' in result.new
    assert result.todo == []
    assert convert.convert_source(result.new).new == result.new


@pytest.mark.parametrize(
    'line',
    [
        "print(runner.meta['seed'])",  # set by a script or a runner
        "runner.meta['epoch'] = 1",  # the hub has it
        "print('best' in runner.meta)",
        'runner.meta.clear()',
        "if runner.meta: print('there')",
    ],
)
def test_another_use_of_meta_is_marked(line):
    assert len([why for _, why in converted(line).todo if 'runner.meta' in why]) == 1


CLIPS = """\
from mmcv.runner import OptimizerHook
from torch.nn.utils import clip_grad


class Values(OptimizerHook):
    def clip_grads(self, params):
        {line}
"""


def test_own_clipping_is_what_the_step_does():
    result = convert.convert_source(
        CLIPS.format(line='return clip_grad.clip_grad_value_(list(params), 0.1)')
    )
    assert result.todo == []
    space = {}
    exec(result.new, space)
    import torch

    weight = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    wrapper = space['Values'](optimizer, clip_grad=dict(max_norm=9))
    wrapper.update_params((weight * torch.tensor([3.0, -0.05])).sum())
    # The gradients are 3 and -0.05, clipped to 0.1 and -0.05.
    assert weight.tolist() == pytest.approx([-0.1, 0.05])
    plain = space['Values'](torch.optim.SGD([weight], lr=1.0))
    plain.update_params(weight.sum())
    assert weight.tolist() == pytest.approx([-1.1, -0.95])


def test_clipping_that_asks_the_hook_is_marked():
    line = 'return super().clip_grads(params)'
    assert len(convert.convert_source(CLIPS.format(line=line)).todo) == 1


MODEL = """\
from mmcv.runner import Hook
from torch import nn


class Line(nn.Module):
    def train_step(self, data, optimizer):
        x, y = data['x'], data['y']
        {line}
        return dict(loss=self(x).mean(), num_samples=len(x))


class Sees(Hook):
    def after_train_iter(self, runner):
        print(runner.outputs['num_samples'])
"""


def test_samples_are_counted_through_names_of_parts_of_the_batch():
    result = convert.convert_source(MODEL.format(line='pass'))
    assert "print(len(data_batch['x']))" in result.new


@pytest.mark.parametrize('line', ['x = x[:1]', 'for x in (x, y): pass'])
def test_a_name_that_is_set_again_is_no_part_of_the_batch(line):
    result = convert.convert_source(MODEL.format(line=line))
    assert any('num_samples is not in outputs' in why for _, why in result.todo)


@pytest.mark.parametrize(
    'guard',
    [
        'if runner.meta is None:\n            runner.meta = dict()',
        'if not runner.meta: runner.meta = {}',
    ],
)
def test_a_guard_for_a_runner_without_meta_goes(guard):
    result = converted(guard, "runner.meta['best'] = 3")
    assert 'runner.meta' not in result.new
    assert "runner.message_hub.update_info('best', 3)" in result.new
    assert result.todo == []


def test_a_guard_alone_leaves_a_method_that_parses():
    result = converted('pass', 'if runner.meta is None: runner.meta = dict()')
    compile(result.new, '<converted>', 'exec')
    assert 'runner.meta' not in result.new


@pytest.mark.parametrize(
    'line',
    [
        "print(runner.meta['hook_msgs'].get('best_score', 0))",
        "runner.meta.setdefault('hook_msgs', dict())",
        'runner.meta = dict(a=1)',
        'print(runner.meta)',
    ],
)
def test_meta_is_marked_beside_a_guard_as_well(line):
    result = converted('if runner.meta is None: runner.meta = dict()', line)
    assert len([why for _, why in result.todo if 'runner.meta' in why]) == 1


SETS = """\
from mmcv.runner import Hook, build_runner, IterBasedRunner


class Values(Hook):
    def after_train_epoch(self, runner):
        print(runner.epoch)

    def after_train_iter(self, runner):
        {line}


runner = build_runner(cfg.runner, default_args=dict(model=model))
"""


@pytest.mark.parametrize(
    'line',
    [
        'runner._max_epochs = 0',
        'runner._epoch += 1',
        'runner._epoch, runner._max_epochs = 1, 2',
        '[runner._epoch, *rest] = 1, 2',
        'for runner._epoch in (1, 2): pass',
        'del runner._epoch',
        'with one() as runner._epoch: pass',
        'runner._inner_iter = 3',
        'runner.model.module = 3',
        'runner.data_loader = 3',
    ],
)
def test_what_a_hook_sets_is_a_name_still_and_marked(line):
    result = convert.convert_source(SETS.format(line=line))
    compile(result.new, '<converted>', 'exec')
    assert 'self.epoch_of(runner)' in result.new or 'print(runner.epoch)' in result.new
    assert any('set' in why for _, why in result.todo)
    assert not any('could not be converted' in why for _, why in result.todo)
    assert convert.convert_source(result.new).new == result.new
