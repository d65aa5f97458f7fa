"""The runner by other names, and the methods of a hook by other means than a plain definition."""

from textwrap import dedent, indent

import pytest

from mmengine.migrate._hook_facts import HookFacts

convert = pytest.importorskip('mmengine.migrate._code.convert')
MARK = '# TODO(mmengine migrate): '
AFTER = 'batch_idx, data_batch=data_batch, outputs=outputs'


def migrated(body, head='from mmcv.runner import Hook\n\n\nclass Own(Hook):\n'):
    new = convert.convert_source(head + indent(dedent(body), '    ')).new
    compile(new, '<converted>', 'exec')
    assert convert.convert_source(new).new == new
    return new


def marks(text):
    return [line.split(MARK)[1] for line in text.splitlines() if MARK in line]


ALIASES = {
    'local name': ('trainer = runner\nprint(trainer.current_lr())', "get_lr()['lr']"),
    'local outputs': ("out = runner.outputs\nprint(out['log_vars']['ce'])", "print(outputs['ce'])"),
    'local outputs of the log': (
        "out = runner.outputs\nprint(out['log_vars']['acc'])", "print(outputs['acc'])"),
    'name of a name': (
        "a = runner\nout = a.outputs\nprint(out['log_vars']['ce'])", "print(outputs['ce'])"),
    'log buffer': (
        "log = runner.log_buffer\nlog.output['x'] = 1",
        "runner.message_hub.update_scalar('train/x', 1)"),
    'kept in self': (
        'self.own = runner\nself.own.log_buffer.output["x"] = 1',
        "runner.message_hub.update_scalar('train/x', 1)"),
}  # fmt: skip


@pytest.mark.parametrize('name', ALIASES)
def test_another_name_of_the_runner_is_the_runner(name):
    text, expected = ALIASES[name]
    new = migrated('def after_train_iter(self, runner):\n' + indent(text, '    '))
    assert expected in new
    assert marks(new) == []


def test_a_name_that_is_set_twice_is_left_alone():
    new = migrated("""\
        def before_run(self, runner):
            part = runner
            part = self.count
            print(part)
        """)
    assert 'part = runner\n        part = self.count\n        print(part)' in new


@pytest.mark.parametrize('params', ['self, trainer', 'self, value, trainer'])
def test_a_helper_that_is_passed_the_runner_is_converted(params):
    arguments = 'runner' if params == 'self, trainer' else '3, runner'
    new = migrated(f"""\
        def before_run(self, runner):
            self.tell({arguments})

        def tell({params}):
            print(trainer.optimizer, trainer._epoch)
        """)
    assert 'print(runner.optim_wrapper.optimizer, runner.epoch)' in new
    assert params.replace('trainer', 'runner') in new


def test_a_function_that_is_passed_the_runner_is_converted():
    head = 'from mmcv.runner import Hook\n\n\ndef tell(runner, value):\n'
    new = migrated('runner.log_buffer.output["x"] = value\nreturn runner.current_lr()', head)
    assert "runner.message_hub.update_scalar('train/x', value)" in new
    assert "return runner.optim_wrapper.get_lr()['lr']" in new


CALLS = {
    'self': ('self.after_iter(runner)', f'self._after_iter(runner, {AFTER})'),
    'super': ('super().after_iter(runner)', f'super()._after_iter(runner, {AFTER})'),
    'class': (
        'Hook.after_train_iter(self, runner)', f'Hook.after_train_iter(self, runner, {AFTER})'),
    'epoch': ('self.before_epoch(runner)', 'self._before_epoch(runner)'),
    'question': ('super().every_n_iters(runner, 3)', 'super().every_n_train_iters(runner, 3)'),
    'explicit question': (
        'Hook.every_n_inner_iters(self, runner, 3)',
        'Hook.every_n_inner_iters(self, batch_idx, 3)'),
}  # fmt: skip


@pytest.mark.parametrize('name', CALLS)
def test_a_call_of_a_method_of_hooks_has_its_name_and_arguments(name):
    old, expected = CALLS[name]
    new = migrated(f'def after_train_iter(self, runner):\n    {old}\n')
    assert expected in new
    assert marks(new) == []


def test_a_call_that_needs_a_batch_where_there_is_none_is_marked():
    new = migrated('def before_run(self, runner):\n    self.after_iter(runner)\n')
    assert marks(new) == [
        'after_iter needs the index of the batch, which methods of an iteration get'
    ]


@pytest.mark.parametrize(
    'text',
    [
        'def before_epoch(self, runner):\n    pass\n\nafter_train_epoch = before_epoch\n',
        'after_iter = lambda self, runner: print(runner.iter)\n',
        'after_iter = log_it\n',
    ],
)
def test_a_method_by_assignment_is_marked(text):
    assert any('define it with def' in one for one in marks(migrated(text)))


SILENT = [
    "runner.outputs.get('num_samples', 1)", "'num_samples' in runner.outputs",
    "setattr(runner, '_epoch', 3)", "getattr(runner, 'optimizer')", "hasattr(runner, 'log_buffer')",
    'runner.train(runner.data_loader)',
]  # fmt: skip


@pytest.mark.parametrize('text', SILENT)
def test_what_runner_does_not_have_is_marked_however_it_is_asked_for(text):
    assert len(marks(migrated(f'def after_train_iter(self, runner):\n    {text}\n'))) == 1


@pytest.mark.parametrize('text', ["runner.outputs.get('log_vars')", "setattr(runner, 'mine', 3)"])
def test_what_is_as_it_was_is_not_marked(text):
    assert marks(migrated(f'def after_train_iter(self, runner):\n    {text}\n')) == []


def test_a_model_that_a_hook_keeps_counts_as_the_runners():
    import ast

    tree = ast.parse(dedent("""\
        class Own(Hook):
            def before_run(self, runner):
                self.net = runner.model.module

            def after_train_iter(self, runner):
                self.net.weight.data.mul_(0.5)
        """))  # fmt: skip
    facts = HookFacts.of(tree.body[0])
    assert facts.needs_legacy_step(40)
    assert facts.changes_saved_model(50)


@pytest.mark.parametrize(
    ('base', 'call', 'expected'),
    [
        ('GradientCumulativeOptimizerHook', 'count',
         'accumulative_counts=count, clip_grad=clip_grad'),
        ('GradientCumulativeFp16OptimizerHook', 'count, loss_scale=8.',
         'accumulative_counts=count, clip_grad=clip_grad, loss_scale=8.'),
        ('OptimizerHook', 'count', 'accumulative_counts=accumulative_counts, clip_grad=count'),
        ('Fp16OptimizerHook', 'None, True, -1, count',
         'accumulative_counts=accumulative_counts, clip_grad=None, loss_scale=count'),
    ],
)  # fmt: skip
def test_arguments_by_position_are_those_of_the_hook_above(base, call, expected):
    head = f'from mmcv.runner import {base}\n\n\nclass Own({base}):\n'
    new = migrated(f'def __init__(self, count):\n    super().__init__({call})\n', head)
    assert expected in new
