"""``runner.outputs`` and learning rates in hooks: what MMCV gave them, or a mark."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner

convert = pytest.importorskip('mmengine.migrate._code.convert')
MODEL = """\
from torch import nn
from mmcv.runner import Hook


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 1)

    def train_step(self, data, optimizer, **kw):
        loss = self.fc(data).pow(2).mean()
        return {returned}
"""
HOOK = """

class Tell(Hook):
    def after_train_iter(self, runner):
        {line}
"""
IMPORT = 'from mmcv.runner import Hook\n'


def marks(text):
    return [why for _, why in convert.convert_source(text).todo if 'return what mode' not in why]


RETURNED = [
    'dict(loss=loss, log_vars=dict(ce=loss.item()), num_samples=len(data))',
    'dict(loss=loss, log_vars=dict(loss=loss.item()), num_samples=len(data))',
    "{'loss': loss, 'log_vars': {'ce': loss.item()}, 'num_samples': len(data)}",
    'dict(loss=loss * 1, num_samples=len(data))',
]
LINES = [
    "seen.append(runner.outputs['loss'].item())",
    'seen.append(float(runner.outputs["loss"]))',
    "seen.append(runner.outputs.get('loss').item())",
    "out = runner.outputs; seen.append(out['loss'].item())",
    """seen.append(float(f'{runner.outputs["loss"].item():.9f}'))""",
]


@pytest.mark.parametrize(
    ('returned', 'line'),
    [*((one, LINES[0]) for one in RETURNED), *((RETURNED[0], one) for one in LINES[1:])],
)
def test_a_hook_reads_the_loss_of_the_step(returned, line, tmp_path):
    text = MODEL.format(returned=returned) + HOOK.format(line=line.replace('; ', '\n        '))
    assert marks(text) == []
    space = {'seen': [], '__name__': 'told'}
    exec(convert.convert_source(text).new, space)
    net = space['Net']()
    nn.init.constant_(net.fc.weight, 1.0)
    nn.init.constant_(net.fc.bias, 0.0)
    Runner(
        net,
        str(tmp_path),
        train_dataloader=DataLoader(torch.ones(2, 2), 2),
        train_cfg={'by_epoch': True, 'max_epochs': 1},
        optim_wrapper=OptimWrapper(torch.optim.SGD(net.parameters(), lr=0.1)),
        default_hooks={'checkpoint': None},
        custom_hooks=[space['Tell']()],
        log_level='ERROR',
    ).train()
    assert space['seen'] == [pytest.approx(4.0)]  # (1 + 1)^2 of each sample


def test_log_variables_of_the_loss_are_numbers_still():
    returned = 'dict(loss=loss, log_vars=dict(loss=loss.item()))'
    line = "print(runner.outputs['loss'].mean(), runner.outputs['log_vars']['loss'])"
    new = convert.convert_source(MODEL.format(returned=returned) + HOOK.format(line=line)).new
    assert "print(outputs['loss'].mean(), float(outputs['loss']))" in new
    assert 'return dict(loss=loss.detach())' in new


def test_a_model_whose_loss_no_hook_reads_returns_what_it_logs():
    returned = 'dict(loss=loss, log_vars=dict(ce=loss.item()))'
    line = "print(runner.outputs['log_vars']['ce'])"
    new = convert.convert_source(MODEL.format(returned=returned) + HOOK.format(line=line)).new
    assert 'return dict(ce=loss.item())' in new


@pytest.mark.parametrize(
    ('line', 'told'),
    [
        ("print(runner.outputs['loss'].item())", "outputs['loss']: outputs holds"),
        ("print(runner.outputs.get('loss'))", "'loss': outputs holds"),
        ('print(runner.outputs.keys())', 'as a whole'),
        ('print(list(runner.outputs))', 'as a whole'),
        ('print(runner.outputs[self.key])', 'log variables'),
        ('print(runner.outputs["results"])', 'log variables'),
    ],
)
def test_what_may_not_be_among_the_outputs_is_marked(line, told):
    found = marks(IMPORT + HOOK.format(line=line))
    assert len(found) == 1
    assert told in found[0]


@pytest.mark.parametrize('line', ["runner.outputs['loss'].backward()",
                                  "(2 * runner.outputs['loss']).backward()"])  # fmt: skip
def test_a_backward_pass_in_a_hook_is_marked(line):
    returned = 'dict(loss=loss, log_vars=dict())'
    found = marks(MODEL.format(returned=returned) + HOOK.format(line=line))
    assert [one.partition(':')[0] for one in found] == ['backward() in a hook']


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        ("""f'{runner.outputs["log_vars"]["ce"]:.3f}'""", """f'{outputs["ce"]:.3f}'"""),
        ("""f"{runner.outputs['log_vars']['ce']}\"""", """f"{outputs['ce']}\""""),
        ("""runner.outputs["log_vars"]["ce"]""", """outputs["ce"]"""),
        ("""f'{runner.current_lr()[0] + self.d["a"]}'""",
         """f'{runner.optim_wrapper.get_lr()["lr"][0] + self.d["a"]}'"""),
        ("""f"{f'{runner.current_lr()[0]}'}\"""",
         '''f\"\"\"{f'{runner.optim_wrapper.get_lr()["lr"][0]}'}\"\"\"'''),
        ("""f'''{runner.current_lr()[0]}'''""",
         """f'''{runner.optim_wrapper.get_lr()['lr'][0]}'''"""),
        ("""f'{runner.current_lr()["gen"][0]}'""",
         """f'{runner.optim_wrapper["gen"].get_lr()["lr"][0]}'"""),
        ("""f'{runner.log_buffer.output["ce"]}'""",
         """f'{runner.message_hub.get_scalar("train/ce").current()}'"""),
    ],
)  # fmt: skip
def test_expressions_in_f_strings_are_converted_whatever_their_quotes(old, new):
    result = convert.convert_source(IMPORT + HOOK.format(line=f'print({old})'))
    assert f'print({new})' in result.new
    assert result.todo == []


def wrappers():
    weights = {name: nn.Parameter(torch.ones(1)) for name in ('gen', 'critic')}
    rates = {'gen': 0.1, 'critic': 0.3}
    return OptimWrapperDict(**{
        name: OptimWrapper(torch.optim.SGD([weight], lr=rates[name], momentum=rates[name] / 2))
        for name, weight in weights.items()
    })  # fmt: skip


SEVERAL = """
class Pair:
    def train_step(self, data, optimizer):
        optimizer['gen'].step()
"""


@pytest.mark.parametrize('what', ['lr', 'momentum'])
@pytest.mark.parametrize(
    ('line', 'head'),
    [
        ('self.got = {k: v[0] for k, v in runner.current_lr().items()}', ''),
        ("self.got = dict(zip(('gen', 'critic'), [v[0] for v in runner.current_lr().values()]))",
         ''),
        ('lrs = runner.current_lr(); self.got = {k: v[0] for k, v in lrs.items()}', ''),
        ("lrs = runner.current_lr(); self.got = {k: lrs[k][0] for k in ('gen', 'critic')}",
         SEVERAL),
        ("self.got = {k: runner.current_lr()[k][0] for k in ('gen', 'critic')}", SEVERAL),
    ],
)  # fmt: skip
def test_learning_rates_of_several_optimizers_are_a_dict(what, line, head):
    line = line.replace('current_lr', f'current_{what}').replace('; ', '\n        ')
    result = convert.convert_source(IMPORT + head + HOOK.format(line=line))
    space = {'__name__': 'told'}
    exec(result.new, space)
    hook = space['Tell']()
    hook.after_train_iter(SimpleNamespace(optim_wrapper=wrappers()), 0)
    expected = {'gen': 0.1, 'critic': 0.3} if what == 'lr' else {'gen': 0.05, 'critic': 0.15}
    assert hook.got == pytest.approx(expected)


def test_a_hook_for_one_optimizer_or_several_is_marked():
    line = 'lrs = runner.current_lr()\n        print(lrs if isinstance(lrs, dict) else lrs[0])'
    found = marks(IMPORT + HOOK.format(line=line))
    assert len(found) == 1
    assert 'for several optimizers' in found[0]
