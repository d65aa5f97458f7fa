"""Names that both engines have, and that take or mean something else."""

from textwrap import dedent

import pytest

pytest.importorskip('libcst')
from mmengine.migrate import LegacyEMAHook
from mmengine.migrate._code import convert


def converted(text):
    new = convert.convert_source(dedent(text)).new
    assert convert.convert_source(new).new == new
    return new


def marks(text):
    return [why for _, why in convert.convert_source(text).todo]


def test_a_model_given_to_save_checkpoint_is_marked():
    # Here it would be stored whole, without a word.
    text = 'from mmcv.runner import save_checkpoint\n\nsave_checkpoint(model, "a.pth")\n'
    assert any('save_checkpoint takes what is to be stored' in why for why in marks(text))
    text = 'import mmcv\n\nmmcv.runner.save_checkpoint(model, "a.pth", optimizer=o)\n'
    assert any('save_checkpoint takes what is to be stored' in why for why in marks(text))


@pytest.mark.parametrize(
    'text',
    ['from mmengine.runner import save_checkpoint\n\nsave_checkpoint(dict(a=1), "a.pth")\n',
     'def save_checkpoint(model):\n    pass\n\n\nsave_checkpoint(model)\n'],
    ids=['of this engine', 'own'],
)  # fmt: skip
def test_another_function_of_that_name_is_not(text):
    assert marks(text) == []


def test_a_shift_of_seeds_by_its_new_name():
    text = 'from mmcv.runner import set_random_seed\n\nset_random_seed(3, use_rank_shift=True)\n'
    new = convert.convert_source(text).new
    assert new.endswith('set_random_seed(3, diff_rank_seed=True)\n')
    assert 'from mmengine.runner import set_random_seed' in new


def test_a_logger_whose_log_nothing_calls_is_marked():
    text = (
        'from mmcv.runner import HOOKS, LoggerHook\n\n\n@HOOKS.register_module()\n'
        'class Mine(LoggerHook):\n    def log(self, runner):\n        print(runner.iter)\n'
    )
    assert any('LoggerHook calls no log(runner)' in why for why in marks(text))


def test_an_average_of_the_project_is_that_of_mmcv():
    text = (
        'from mmcv.runner import EMAHook\n\n\nclass Mine(EMAHook):\n'
        '    def __init__(self, **kwargs):\n        super().__init__(warm_up=3, **kwargs)\n'
    )
    space = {'__name__': 'averages'}
    exec(convert.convert_source(text).new, space)
    # Its share of the new weights rises slowly; tests/migrate/test_legacy_ema.py has the numbers.
    assert issubclass(space['Mine'], LegacyEMAHook)
    assert space['Mine'](momentum=0.5)


PROFILED = """
    from mmcv.runner import EpochBasedRunner, OptimizerHook, ProfilerHook

    class Own(OptimizerHook):
        def after_train_iter(self, runner):
            runner.optimizer.zero_grad()
            runner.outputs['loss'].backward()
            runner.optimizer.step()

    def main(model, sgd, loader, names):
        runner = EpochBasedRunner(model, optimizer=sgd, work_dir='w', max_epochs=3)
        runner.register_training_hooks(dict(policy='fixed'), None)
        runner.register_hook({hook})
        runner.run([loader], [('train', 1)])
"""


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        ("ProfilerHook(profile_iters=3, activities=['cpu', 'cuda'])",
         'ProfilerHook(profile_times=3, activity_with_cpu=True, activity_with_cuda=True)'),
        ("ProfilerHook(False, 3, ['cpu'])",
         'ProfilerHook(by_epoch=False, profile_times=3, activity_with_cpu=True, '
         'activity_with_cuda=False)'),
        ('ProfilerHook(activities=names)',
         "ProfilerHook(activity_with_cpu='cpu' in names, activity_with_cuda='cuda' in names)"),
        ("dict(type='ProfilerHook', profile_iters=3)",
         "dict(type='ProfilerHook', profile_times=3)"),
    ],
)  # fmt: skip
def test_a_profiler_has_the_names_of_its_arguments_here(old, new):
    result = converted(PROFILED.format(hook=old))
    assert f'custom_hooks=[{new}]' in result
    assert 'TODO' not in result


def test_an_optimizer_hook_that_is_registered_is_the_wrapper():
    result = converted(PROFILED.format(hook='Own(grad_clip=dict(max_norm=1))'))
    assert 'optim_wrapper=Own(sgd, clip_grad=dict(max_norm=1))' in result
    assert 'custom_hooks' not in result


@pytest.mark.parametrize('line', ["custom_hooks = [dict(type='Own')]",
                                  "cfg.custom_hooks.append(dict(type='Own'))",
                                  "custom_hooks = [{'type': 'Fp16OptimizerHook'}]"])  # fmt: skip
def test_an_optimizer_hook_among_hooks_is_marked(line):
    text = PROFILED.format(hook='Mine()') + f'    {line}\n'
    assert converted(text).count('is an optimizer wrapper here') == 1
