"""Names that both engines have, and that take or mean something else."""

import pytest

pytest.importorskip('libcst')
from mmengine.migrate import LegacyEMAHook
from mmengine.migrate._code import convert


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
