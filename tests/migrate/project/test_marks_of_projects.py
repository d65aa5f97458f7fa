"""Of a project that is seen whole, marks are about what it uses, and steps keep what hooks read."""

import pytest

pytest.importorskip('libcst')
from mmengine.migrate._project.migrate import migrate_project

MODEL = """\
from torch import nn


class Pair(nn.Module):
    def forward(self, x, return_loss=True):
        return dict(loss=x.mean(), log_vars={{}}, num_samples=1)

    def train_step(self, data, optimizer):
        {step}
        return dict(log_vars={{}}, num_samples=1)
"""
TWO_LOSSES = """
        loss, penalty = self.both(data)
        optimizer['a'].zero_grad()
        loss.backward(retain_graph=True)
        penalty.backward()
        optimizer['a'].step()
"""
ONE_LOSS = """
        loss = self(**data)['loss']
        optimizer['a'].zero_grad()
        loss.backward()
        optimizer['a'].step()
"""
LAST = """
        loss = self(**data)['loss']
        loss.backward()
        optimizer['a'].step()
        optimizer['a'].zero_grad()
"""
HOOK = """\
from mmcv.runner import Hook


class Sees(Hook):
    def after_train_iter(self, runner):
        print(runner.model.weight.grad)
"""

USES = "custom_hooks = [dict(type='Sees')]\n"


def migrated(folder, step, **others):
    """The model's text after a migration, and the marks of all files."""
    source = folder / 'source'
    source.mkdir()
    (source / 'models.py').write_text(MODEL.format(step=step.strip()))
    for name, text in others.items():
        (source / f'{name}.py').write_text(text)
    migration = migrate_project(source, folder / 'target')
    marks = [why for one in migration.code for _, why in one.todo]
    return (folder / 'target' / 'models.py').read_text(), marks


def test_a_forward_needs_no_mode_where_nothing_is_validated(tmp_path):
    _, marks = migrated(tmp_path, ONE_LOSS)
    assert marks == []


@pytest.mark.parametrize(
    'text',
    [
        'evaluation = dict(interval=1)\n',
        "workflow = [('train', 1), ('val', 1)]\n",
        'from mmcv.runner import EvalHook\n',
        "data = dict(test=dict(type='Points'))\n",
        'model.eval()\n',
    ],
)
def test_a_forward_that_may_validate_is_marked(tmp_path, text):
    _, marks = migrated(tmp_path, ONE_LOSS, other=text)
    assert len([why for why in marks if 'did not look at return_loss' in why]) == 1


def test_several_losses_add_up_where_nothing_scales_them(tmp_path):
    text, marks = migrated(tmp_path, TWO_LOSSES)
    assert marks == []
    lines = [line.strip() for line in text.splitlines()]
    start = lines.index("optim_wrapper['a'].zero_grad()")
    assert lines[start : start + 4] == [
        "optim_wrapper['a'].zero_grad()",
        "optim_wrapper['a'].backward(loss, retain_graph=True)",
        "optim_wrapper['a'].backward(penalty)",
        "optim_wrapper['a'].step()",
    ]


@pytest.mark.parametrize('text', ['fp16 = dict(loss_scale=512.)\n', 'cumulative_iters = 2\n'])
def test_several_losses_are_marked_where_something_may_scale_them(tmp_path, text):
    _, marks = migrated(tmp_path, TWO_LOSSES, other=text)
    assert len([why for why in marks if 'several backward()' in why]) == 1


@pytest.mark.parametrize('step', [ONE_LOSS, LAST])
def test_gradients_that_a_hook_reads_are_dropped_where_they_were(tmp_path, step):
    text, marks = migrated(tmp_path, step, hooks=HOOK, config=USES)
    assert marks == []
    calls = [line.strip() for line in text.splitlines() if "optim_wrapper['a']." in line]
    expected = ["optim_wrapper['a'].zero_grad()"] * (step is ONE_LOSS)
    expected += ["optim_wrapper['a'].backward(loss)", "optim_wrapper['a'].step()"]
    assert calls == expected + ["optim_wrapper['a'].zero_grad()"] * (step is LAST)


def test_a_hook_that_reads_gradients_and_is_registered_nowhere_is_marked(tmp_path):
    _, marks = migrated(tmp_path, ONE_LOSS, hooks=HOOK)
    assert [why.partition(',')[0] for why in marks] == ['after_train_iter reads gradients']
