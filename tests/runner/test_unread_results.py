"""What acts on the results of validations is told before the first step if none comes."""

from pathlib import Path
from typing import Any

import pytest
from runner_toy import NO_VALIDATION, toy_config, toy_runner

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, check_config

READERS: dict[str, dict[str, Any]] = {
    'save_best': {'default_hooks': {'checkpoint': {'save_best': 'toy/error', 'rule': 'less'}}},
    'EarlyStoppingHook': {
        'custom_hooks': [{'type': 'EarlyStoppingHook', 'monitor': 'toy/error', 'rule': 'less'}]
    },
    'ReduceOnPlateauLR': {'param_scheduler': {'type': 'ReduceOnPlateauLR', 'monitor': 'toy/error'}},
    'ReduceLROnPlateau': {
        'param_scheduler': [
            {'type': 'torch.optim.lr_scheduler.ReduceLROnPlateau', 'monitor': 'toy/error'}
        ]
    },
}
LATE = {'train_cfg': {'max_epochs': 2, 'val_begin': 3}}


class Learning(Hook):
    """A hook of a project that says that it acts on metrics."""

    need_val_args = True


class OwnLoop(EpochBasedTrainLoop):
    """May validate in its own way."""

    def run(self) -> Any:
        return super().run()


def told(config: dict[str, Any], is_certain: bool = True) -> list[str]:
    return [str(each) for each in check_config(Config(config)) if each.is_certain == is_certain]


def warnings_in(work_dir: Path) -> list[str]:
    (log,) = work_dir.glob('*/*.log')
    return [line for line in log.read_text().splitlines() if 'acts on the results' in line]


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize(
    ('without', 'why'),
    [
        (NO_VALIDATION, 'there is no validation (val_dataloader, val_cfg and val_evaluator)'),
        (LATE, 'the first validation is after epoch 3 (val_begin), and the last is 2'),
        ({'train_cfg': {'max_iters': 5, 'val_begin': 9}}, 'after iteration 9 (val_begin)'),
    ],
    ids=['no validation', 'val_begin in epochs', 'val_begin in iterations'],
)
def test_a_part_that_never_acts_is_a_mistake_of_the_config(
    tmp_path: Path, reader: str, without: dict[str, Any], why: str
) -> None:
    found = told(toy_config(tmp_path, **without, **READERS[reader]))
    assert len(found) == 1, found
    assert reader in found[0]
    assert why in found[0]
    assert told(toy_config(tmp_path, **READERS[reader])) == []


@pytest.mark.parametrize('reader', [*READERS, 'Learning'])
def test_a_runner_warns_of_it_before_the_first_step(
    tmp_path: Path, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = READERS.get(reader, {'custom_hooks': [Learning()]})
    runner = toy_runner(tmp_path, **NO_VALIDATION, **{'log_level': 'WARNING', **changes})
    seen: list[list[str]] = []
    update = OptimWrapper.update_params

    def noting(*args: Any, **kwargs: Any) -> None:
        seen.append(warnings_in(tmp_path))
        update(*args, **kwargs)

    monkeypatch.setattr(OptimWrapper, 'update_params', noting)
    runner.train()
    assert len(seen[0]) == 1
    assert reader in seen[0][0]
    assert seen[-1] == seen[0], 'it is told once'


def test_a_custom_loop_may_validate_in_its_own_way(tmp_path: Path) -> None:
    changes = {**READERS['EarlyStoppingHook'], **NO_VALIDATION}
    changes['train_cfg'] = {'type': OwnLoop, 'max_epochs': 1}
    assert told(toy_config(tmp_path, **changes)) == []
    toy_runner(tmp_path, log_level='WARNING', **changes).train()
    assert warnings_in(tmp_path) == []


def test_a_validation_that_never_comes_is_a_remark_if_nothing_reads_it(tmp_path: Path) -> None:
    config = toy_config(tmp_path, **LATE)
    assert told(config) == []
    assert any('after epoch 3 (val_begin)' in text for text in told(config, is_certain=False))


def test_an_interval_longer_than_the_run_validates_at_its_end(tmp_path: Path) -> None:
    late = {'train_cfg': {'max_epochs': 2, 'val_interval': 10}}
    assert told(toy_config(tmp_path, **late, **READERS['save_best'])) == []
    runner = toy_runner(tmp_path, **late, **READERS['save_best'])
    runner.train()
    assert (tmp_path / 'best_toy_error_epoch_2.pth').exists()


@pytest.mark.parametrize(
    ('changes', 'error'),
    [
        ({'default_hooks': {'checkpoint': {'save_best': 'val/error', 'rule': 'less'}}}, KeyError),
        ({'param_scheduler': {'type': 'ReduceOnPlateauLR', 'monitor': 'val/error'}}, KeyError),
        ({'param_scheduler': {'type': 'torch.optim.lr_scheduler.ReduceLROnPlateau',
                              'monitor': 'val/error'}}, KeyError),
        ({'custom_hooks': [{'type': 'EarlyStoppingHook', 'monitor': 'val/error', 'rule': 'less',
                            'strict': True}]}, RuntimeError),
    ],
    ids=READERS,
)  # fmt: skip
def test_an_unknown_metric_is_told_with_the_known_ones(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error) as raised:
        toy_runner(tmp_path, **changes).train()
    text = str(raised.value)
    assert "'val/error'" in text
    assert "Did you mean 'toy/error'?" in text
