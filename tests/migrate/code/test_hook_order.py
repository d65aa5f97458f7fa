"""What hooks saw and did under MMCV because of when they ran: kept, or marked."""

import ast
from dataclasses import replace

import pytest

from mmengine.migrate._hook_facts import HookFacts, Registration, differences, priority_of

convert = pytest.importorskip('mmengine.migrate._code.convert')
SCRIPT = """\
from mmcv.runner import EpochBasedRunner, Hook, IterBasedRunner, build_optimizer


class Looks(Hook):
    def {method}(self, runner):
        {line}


def main(model, loader):
    optimizer = build_optimizer(model, dict(type='SGD', lr=0.1))
    runner = {runner}(model, optimizer=optimizer, work_dir='w', {length})
    runner.register_training_hooks({configs})
    runner.register_hook(Looks(), {priority!r})
    runner.run([loader], [('train', 1)])
"""
STEP = "dict(policy='step', step=[1])"


def converted(line, method='after_train_iter', priority='NORMAL', **more):
    options = dict(
        runner='EpochBasedRunner', length='max_epochs=2', configs=f'{STEP}, dict(grad_clip=None)'
    )
    text = SCRIPT.format(line=line, method=method, priority=priority, **{**options, **more})
    return convert.convert_source(text)


@pytest.mark.parametrize(
    ('method', 'priority'),
    [('after_train_epoch', 'NORMAL'), ('before_train_epoch', 'NORMAL'), ('after_run', 'NORMAL'),
     ('after_train_iter', 'LOW')],
)  # fmt: skip
def test_a_hook_that_reads_learning_rates_late_gets_schedulers_that_step_late(method, priority):
    new = converted('print(runner.current_lr())', method, priority)
    assert new.todo == []
    assert "param_scheduler=dict(type='LegacyParamSchedulerHook')" in new.new


def test_a_hook_that_reads_learning_rates_of_an_iteration_changes_nothing():
    assert 'LegacyParamSchedulerHook' not in converted('print(runner.current_lr())').new


def test_a_checkpoint_is_saved_before_a_hook_that_changes_the_model():
    saving = f'{STEP}, dict(grad_clip=None), dict(interval=1)'
    new = converted('runner.model.shift.data += 1', 'after_train_epoch', configs=saving)
    assert "type='CheckpointHook', priority='NORMAL'" in new.new
    assert new.todo == []


WARM = "dict(policy='fixed', warmup='linear', warmup_iters=3), dict()"


@pytest.mark.parametrize(
    ('words', 'line', 'options'),
    [
        ("custom_hooks=[dict(type='LegacyOptimizerStepHook')]", 'runner.model.shift.data += 1',
         dict(priority='HIGH')),
        ("type='LegacyLRScheduler', policy='Step'", "runner.optimizer.param_groups[0]['lr'] = 1",
         {}),
        ('class Looks(LegacyHook):', 'pass', dict(
            method='before_train_epoch', runner='IterBasedRunner', length='max_iters=2')),
        ('if self.counts_iterations(runner):', 'pass', dict(
            method='before_train_epoch', runner='IterBasedRunner', length='max_iters=2')),
        ('print(self.inner_iter_of(runner, batch_idx))', 'print(runner.inner_iter)', dict(
            runner='IterBasedRunner', length='max_iters=2')),
        ('starts_late=True', 'print(runner.current_lr())', dict(
            method='before_epoch', configs=WARM)),
    ],
)  # fmt: skip
def test_hooks_see_and_do_what_they_did(words, line, options):
    new = converted(line, **options)
    assert words in new.new
    assert new.todo == []


def test_a_hook_alone_that_reads_gradients_is_marked():
    todo = converted('print(runner.model.shift.grad)').todo
    assert len([why for _, why in todo if 'reads gradients' in why]) == 1


@pytest.mark.parametrize(
    ('words', 'facts'),
    [
        ('sets a learning rate', HookFacts(sets_learning_rate=True)),
        ('has its warm-up', HookFacts(reads_learning_rate=frozenset(['before_epoch']))),
    ],
)
def test_times_of_a_schedule_that_follows_a_metric_are_marked(words, facts):
    hook = Registration('Looks', 50, by_epoch=True, follows_metric=True)
    assert [words in text for text in differences(hook, facts)] == [True]


def test_counts_of_epochs_are_marked_where_the_hook_stays_as_it_is():
    hook = Registration('Looks', 50, by_epoch=False)
    facts = HookFacts(counts_epochs=True, of_train_epochs=frozenset(['before_train_epoch']))
    assert len(list(differences(hook, facts))) == 2
    assert list(differences(hook, replace(facts, is_counted_as_before=True))) == []


def test_without_a_schedule_a_hook_may_set_learning_rates():
    line = "runner.optimizer.param_groups[0]['lr'] = 1"
    assert converted(line, configs='None, dict(grad_clip=None)').todo == []


def test_facts_follow_helpers_and_bases():
    text = """
class Looks:
    def _rate(self, runner):
        return runner.current_lr()

    def after_run(self, runner):
        print(self._rate(runner))
"""
    facts = HookFacts.of(ast.parse(text).body[0])
    assert 'after_run' in facts.reads_learning_rate
    assert facts.reads_between(50)
    assert HookFacts.joined([facts, HookFacts()]) == facts


def test_priorities_by_name_and_number():
    given = [None, 'LOW', "'lowest'", '35', 35]
    assert [priority_of(one) for one in given] == [50, 70, 100, 35, 35]


def test_a_hook_without_surprises_has_no_differences():
    hook = Registration('Looks', 50, by_epoch=True, follows_metric=True)
    assert list(differences(hook, HookFacts())) == []


SEVERAL = """\
from mmcv.runner import EpochBasedRunner, build_optimizer


def main(model, loader):
    optimizer = {optimizer}
    runner = EpochBasedRunner(model, optimizer=optimizer, work_dir='w', max_epochs=2)
    runner.register_training_hooks(None)
    runner.run([loader], [('train', 1)])
"""


@pytest.mark.parametrize(
    ('optimizer', 'expected'),
    [
        ("dict(gen=build_optimizer(model.gen, dict(type='SGD', lr=1)))",
         'OptimWrapperDict(**dict(gen=build_optim_wrapper(model.gen, '
         "dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1)))))"),
        ('{name: build_optimizer(getattr(model, name), one) for name, one in CONFIGS.items()}',
         'OptimWrapperDict(**{name: build_optim_wrapper(getattr(model, name), '
         "dict(type='OptimWrapper', paramwise_cfg=one.pop('paramwise_cfg', None), optimizer=one)) "
         'for name, one in CONFIGS.items()})'),
    ],
)  # fmt: skip
def test_several_optimizers_are_built_as_wrappers(optimizer, expected):
    new = convert.convert_source(SEVERAL.format(optimizer=optimizer))
    assert new.todo == []
    assert f'optim_wrapper={expected},' in new.new
    assert 'mmcv' not in new.new


def test_groups_of_parameters_stand_beside_the_optimizer():
    config = "dict(type='SGD', lr=1, paramwise_cfg=dict(bias_lr_mult=2))"
    new = convert.convert_source(SEVERAL.format(optimizer=f'build_optimizer(model, {config})'))
    assert (
        "optim_wrapper=dict(optimizer=dict(type='SGD', lr=1), "
        'paramwise_cfg=dict(bias_lr_mult=2)),' in new.new
    )


def test_hooks_of_one_priority_stay_in_the_order_of_their_registration():
    text = SCRIPT.format(
        line='pass', method='after_iter', runner='EpochBasedRunner', length='max_epochs=2',
        configs='None', priority='NORMAL',
    )  # fmt: skip
    registered = "    runner.register_hook(Looks(), 'NORMAL')\n"
    for added, expected in (
        (f'    runner.register_hook(First())\n{registered}', ['custom_hooks=[First()]']),
        (f'{registered}    runner.register_hook(Last())\n', ['runner.register_hook(Last())']),
    ):
        new = convert.convert_source(text.replace(registered, added)).new
        assert all(one in new for one in expected)
        assert registered in new
    assert new.index(registered) < new.index(expected[0])


def test_a_hook_whose_runner_only_a_config_names_counts_as_before_in_both():
    text = SCRIPT.format(
        line='print(runner.epoch)', method='after_iter', runner='build_runner', length='meta=cfg',
        configs='None', priority='NORMAL',
    ).replace('IterBasedRunner', 'build_runner')  # fmt: skip
    new = convert.convert_source(text).new
    assert 'class Looks(LegacyHook):' in new
    assert 'print(self.epoch_of(runner))' in new


def test_a_step_that_only_a_config_tells_of_is_marked():
    configs = 'None, cfg.optimizer_config'
    new = converted('runner.model.shift.data += 1', priority='HIGH', configs=configs)
    assert len([why for _, why in new.todo if 'LegacyOptimizerStepHook' in why]) == 1
    assert 'custom_hooks=' not in new.new
