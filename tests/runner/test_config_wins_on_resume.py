"""On resume the checkpoint has the progress, and the config has the intent."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from runner_toy import NO_TEST, NO_VALIDATION, Net, toy_config, toy_runner
from torch import nn

from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.registry import MODELS
from mmengine.runner import FlexibleRunner, Runner

SAVE = {'checkpoint': {'type': 'CheckpointHook', 'interval': 1}, 'logger': None}


def _run(folder: Any, epochs: int, **changes: Any) -> Runner:
    arguments: dict[str, Any] = {
        'train_cfg': {'by_epoch': True, 'max_epochs': epochs},
        'default_hooks': dict(SAVE),
        **NO_VALIDATION,
        **NO_TEST,
        **changes,
    }
    runner = toy_runner(folder, **arguments)
    runner.train()
    return runner


def _resumed(folder: Any, epochs: int = 3, **changes: Any) -> Runner:
    return _run(folder, epochs, **{'resume': True, **changes})


def _sgd(**options: Any) -> dict[str, Any]:
    return {'optimizer': {'type': 'SGD', 'lr': 0.1, **options}}


def _group(runner: Runner, number: int = 0) -> dict[str, Any]:
    group: dict[str, Any] = runner.optim_wrapper.optimizer.param_groups[number]
    return group


def _changes(runner: Runner) -> dict[str, dict[str, Any]]:
    path = Path(runner.log_dir, 'resume_changes.json')
    if not path.exists():
        return {}
    return {row['key']: row for row in json.loads(path.read_text())['changes']}


class TestOptionsOfGroups:
    @pytest.mark.parametrize(
        ('then', 'now', 'expected'),
        [
            ({}, {'lr': 0.01}, {'lr': 0.01}),
            ({'weight_decay': 0.1}, {'weight_decay': 0.2}, {'weight_decay': 0.2}),
            ({'weight_decay': 0.1}, {}, {'weight_decay': 0}),
            ({'momentum': 0.9}, {'momentum': 0.5, 'nesterov': True},
             {'momentum': 0.5, 'nesterov': True}),
        ],
    )  # fmt: skip
    def test_a_changed_option_follows_the_config(self, tmp_path, then, now, expected):
        _run(tmp_path, 2, optim_wrapper=_sgd(**then))
        group = _group(_resumed(tmp_path, optim_wrapper=_sgd(**now)))
        assert {key: group[key] for key in expected} == expected

    def test_betas_follow_the_config(self, tmp_path):
        def adam(*betas: float) -> dict[str, Any]:
            return {'optimizer': {'type': 'AdamW', 'lr': 0.1, 'betas': betas}}

        _run(tmp_path, 2, optim_wrapper=adam(0.9, 0.99))
        runner = _resumed(tmp_path, optim_wrapper=adam(0.5, 0.95))
        assert _group(runner)['betas'] == (0.5, 0.95)
        state = runner.optim_wrapper.optimizer.state[runner.model.linear.weight]
        assert state['step'] == 12  # its state went on: three epochs of four batches

    def test_options_by_parameter_follow_the_config(self, tmp_path):
        def by_name(factor: float) -> dict[str, Any]:
            keys = {'bias': {'lr_mult': factor, 'decay_mult': 0.0}}
            return {**_sgd(weight_decay=0.1), 'paramwise_cfg': {'custom_keys': keys}}

        _run(tmp_path, 2, optim_wrapper=by_name(1.0))
        runner = _resumed(tmp_path, optim_wrapper=by_name(0.25))
        groups = runner.optim_wrapper.optimizer.param_groups
        assert sorted(group['lr'] for group in groups) == [0.025, 0.1]

    def test_an_option_that_was_changed_by_hand_stays_where_the_config_did_not_change(
        self, tmp_path
    ):
        runner = _run(tmp_path, 2, optim_wrapper=_sgd(weight_decay=0.1, momentum=0.9))
        _group(runner).update(lr=0.03, weight_decay=0.5)
        runner.save_checkpoint(str(tmp_path), 'by_hand.pth')
        path, changed = str(tmp_path / 'by_hand.pth'), _sgd(weight_decay=0.1, momentum=0.5)
        group = _group(_resumed(tmp_path / 'a', resume=path, optim_wrapper=changed))
        assert (group['lr'], group['weight_decay'], group['momentum']) == (0.03, 0.5, 0.5)
        request = {'path': path, 'optimizer': 'config'}
        group = _group(_resumed(tmp_path / 'b', resume=request, optim_wrapper=changed))
        assert (group['lr'], group['weight_decay'], group['momentum']) == (0.1, 0.1, 0.5)
        request = {'path': path, 'optimizer': 'checkpoint'}
        group = _group(_resumed(tmp_path / 'c', resume=request, optim_wrapper=changed))
        assert (group['lr'], group['weight_decay'], group['momentum']) == (0.03, 0.5, 0.9)

    def test_an_optimizer_object_counts_as_a_config(self, tmp_path):
        def with_object(lr: float) -> Runner:
            model = Net()
            optimizer = torch.optim.SGD(model.parameters(), lr=lr)
            return _resumed(tmp_path, model=model, optim_wrapper={'optimizer': optimizer})

        with_object(0.1)
        runner = with_object(0.01)
        assert _group(runner)['lr'] == 0.01
        row = _changes(runner)['optim_wrapper.param_groups.lr']
        assert (row['then'], row['now'], row['used']) == ('0.1', '0.01', 'config')

    def test_a_scaled_learning_rate_follows_the_batch_size(self, tmp_path):
        def scaled(batch_size: int, **changes: Any) -> Runner:
            loader = {**toy_config(tmp_path)['train_dataloader'], 'batch_size': batch_size}
            scale = {'enable': True, 'base_batch_size': 2}
            return _resumed(tmp_path, train_dataloader=loader, auto_scale_lr=scale, **changes)

        assert _group(scaled(2, resume=False))['lr'] == 0.1
        assert _group(scaled(4))['lr'] == 0.2

    def test_a_second_resume_keeps_what_the_first_has_decided(self, tmp_path):
        _run(tmp_path, 2)
        changed = _sgd(lr=0.01)
        _resumed(tmp_path, 3, optim_wrapper=changed, resume={'optimizer': 'checkpoint'})
        assert _group(_resumed(tmp_path, 4, optim_wrapper=changed))['lr'] == 0.1
        assert _group(_resumed(tmp_path, 5, optim_wrapper=_sgd(lr=0.02)))['lr'] == 0.02

    def test_several_optimizers_follow_the_config_each(self, tmp_path):
        @MODELS.register_module(name='ToyTwoParts', force=True)
        class Two(Net):
            def __init__(self) -> None:
                super().__init__()
                self.more = nn.Linear(1, 1)

            def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, torch.Tensor]:
                for name in optim_wrapper:
                    loss = self(**self.data_preprocessor(data, True), mode='loss')['loss']
                    loss = loss + self.more.weight.square().sum()
                    optim_wrapper[name].update_params(loss)
                return {'loss': loss}

        def wrappers(one: float, two: float) -> dict[str, Any]:
            return {
                'constructor': 'ToyTwoWrappers',
                'one': _sgd(lr=one),
                'two': _sgd(lr=two, momentum=0.9),
            }

        from mmengine.optim import OptimWrapperDict, build_optim_wrapper
        from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS

        @OPTIM_WRAPPER_CONSTRUCTORS.register_module(name='ToyTwoWrappers', force=True)
        class Constructor:
            def __init__(self, optim_wrapper_cfg: Any, paramwise_cfg: Any = None) -> None:
                self.cfg = optim_wrapper_cfg

            def __call__(self, model: Any) -> OptimWrapperDict:
                one = build_optim_wrapper(model.linear, self.cfg['one'])
                two = build_optim_wrapper(model.more, self.cfg['two'])
                return OptimWrapperDict(one=one, two=two)

        common = {'model': {'type': 'ToyTwoParts'}}
        _run(tmp_path, 2, optim_wrapper=wrappers(0.1, 0.2), **common)
        runner = _resumed(tmp_path, optim_wrapper=wrappers(0.1, 0.05), **common)
        assert runner.optim_wrapper.get_lr() == {'one.lr': [0.1], 'two.lr': [0.05]}
        with pytest.raises(
            ValueError, match=r"optimizers: \['one', 'two'\] in the checkpoint, one"
        ):
            _resumed(tmp_path, 4, **common)


class TestOlderCheckpoints:
    """Files without the options of the optimizer: the config tells, or else the groups."""

    def _older(self, folder: Path, **changes: Any) -> str:
        path = folder / 'epoch_2.pth'
        checkpoint = torch.load(path, weights_only=True)
        del checkpoint['meta']['optimizer_options'], checkpoint['meta']['arguments']
        checkpoint['meta'].update(changes)
        torch.save(checkpoint, path)
        return str(path)

    def _cfg(self, lr: float, **more: Any) -> dict[str, Any]:
        return {'cfg': {'optim_wrapper': _sgd(lr=lr, **more)}, 'optim_wrapper': _sgd(lr=lr, **more)}

    def test_an_option_follows_the_config_where_the_configs_differ(self, tmp_path):
        runner = _run(tmp_path, 2, **self._cfg(0.1, momentum=0.9))
        _group(runner)['lr'] = 0.07
        runner.save_checkpoint(str(tmp_path), 'epoch_2.pth')
        path = self._older(tmp_path)
        group = _group(_resumed(tmp_path, resume=path, **self._cfg(0.1, momentum=0.5)))
        assert (group['lr'], group['momentum']) == (0.07, 0.5)
        group = _group(_resumed(tmp_path, resume=path, **self._cfg(0.01, momentum=0.9)))
        assert (group['lr'], group['momentum']) == (0.01, 0.9)

    def test_without_a_config_a_different_option_follows_this_run(self, tmp_path, capsys):
        _run(tmp_path, 2)
        path = self._older(tmp_path, cfg='')
        changed = {'optim_wrapper': _sgd(lr=0.01), 'log_level': 'WARNING'}
        assert _group(_resumed(tmp_path, resume=path, **changed))['lr'] == 0.01
        text = capsys.readouterr().out
        assert 'cannot be compared with the one of the checkpoint: the checkpoint has no' in text
        assert 'optim_wrapper.param_groups.lr  0.1   0.01' in text

    @pytest.mark.parametrize(
        ('cfg', 'reason'),
        [('a = (', 'not a Python config'), ({'a': 1}, 'not text'), ('data = 1', 'not a config of')],
    )
    def test_a_config_that_cannot_be_read_is_told(self, tmp_path, capsys, cfg, reason):
        _run(tmp_path, 2)
        path = self._older(tmp_path, cfg=cfg)
        _resumed(tmp_path, resume=path, log_level='WARNING')
        assert reason in capsys.readouterr().out


class TestWhatDoesNotFit:
    @pytest.mark.parametrize(
        ('now', 'message'),
        [
            ({'optimizer': {'type': 'AdamW', 'lr': 0.1}}, 'class: SGD in the checkpoint, AdamW in'),
            ({**_sgd(), 'paramwise_cfg': {'custom_keys': {'bias': {'lr_mult': 2}}}},
             'number of parameter groups: 1 in the checkpoint, 2 in'),
        ],
    )  # fmt: skip
    def test_the_error_says_which_part_and_the_ways_out(self, tmp_path, now, message):
        _run(tmp_path, 2)
        with pytest.raises(ValueError, match=rf'{message} this run\. .*load_from.*optimizer=') as e:
            _resumed(tmp_path, optim_wrapper=now)
        assert 'KeyError' not in str(e.value)
        runner = _resumed(tmp_path, optim_wrapper=now, resume={'optimizer': 'config'})
        assert (runner.epoch, runner.iter) == (3, 12)
        assert any('begins anew' in row['used'] for row in _changes(runner).values())

    def test_a_class_is_told_by_its_options_where_nothing_else_tells_it(self, tmp_path):
        runner = _run(tmp_path, 2)
        path = tmp_path / 'epoch_2.pth'
        checkpoint = torch.load(path, weights_only=True)
        del checkpoint['meta']['optimizer_options'], checkpoint['meta']['arguments']
        torch.save(checkpoint, path)
        assert runner.epoch == 2
        with pytest.raises(ValueError, match=r'options: dampening, .* in the checkpoint, AdamW in'):
            _resumed(tmp_path, optim_wrapper={'optimizer': {'type': 'AdamW', 'lr': 0.1}})

    def test_another_number_of_parameters(self, tmp_path):
        class More(Net):
            def __init__(self) -> None:
                super().__init__()
                self.scale = nn.Parameter(torch.ones(1))

        _run(tmp_path, 2, model=Net())
        with pytest.raises(ValueError, match=r'parameters in group 0: 2 in the checkpoint, 3 in'):
            _resumed(tmp_path, model=More())

    def test_a_model_of_another_width(self, tmp_path):
        class Scaled(Net):
            def __init__(self, width: int) -> None:
                super().__init__()
                self.linear = nn.Linear(1, width)
                self.scale = nn.Parameter(torch.ones(1))

        _run(tmp_path, 2, model=Scaled(1))
        with pytest.raises(
            ValueError, match=r'(?s)linear.weight: \[1, 1\] in the file, \[3, 1\] in.*load_from'
        ):
            _resumed(tmp_path, model=Scaled(3))
        # The way out: a new run from the weights that fit.
        wide = _run(tmp_path / 'new', 1, model=Scaled(3), load_from=str(tmp_path / 'epoch_2.pth'))
        assert wide.epoch == 1


class TestPrecision:
    FP16: dict[str, Any] = {'type': 'AmpOptimWrapper', 'dtype': 'float16', **_sgd(lr=0.01)}

    def _scaler(self, runner: Runner) -> Any:
        return runner.optim_wrapper.loss_scaler

    def test_the_scale_goes_on_and_its_settings_follow_the_config(self, tmp_path):
        then = {**self.FP16, 'loss_scale': {'init_scale': 64.0, 'growth_interval': 5}}
        _run(tmp_path, 2, optim_wrapper=then)  # 8 steps: grown once
        now = {**then, 'loss_scale': {'init_scale': 64.0, 'growth_interval': 100}}
        scaler = self._scaler(_resumed(tmp_path, optim_wrapper=now))
        assert (scaler.get_scale(), scaler.get_growth_interval()) == (128.0, 100)

    def test_a_changed_scale_follows_the_config(self, tmp_path):
        then = {**self.FP16, 'loss_scale': {'init_scale': 64.0}}
        _run(tmp_path, 2, optim_wrapper=then)
        now = {**then, 'loss_scale': {'init_scale': 16.0}}
        assert self._scaler(_resumed(tmp_path, optim_wrapper=now)).get_scale() == 16.0
        request = {'optimizer': 'checkpoint', 'path': str(tmp_path / 'epoch_2.pth')}
        runner = _resumed(tmp_path, optim_wrapper=now, resume=request)
        assert self._scaler(runner).get_scale() == 64.0

    def test_a_scaler_may_come_and_go(self, tmp_path):
        _run(tmp_path, 2, optim_wrapper=_sgd(lr=0.01))
        with_scale = {**self.FP16, 'loss_scale': 64.0}
        runner = _resumed(tmp_path, 3, optim_wrapper=with_scale)
        assert self._scaler(runner).get_scale() == 64.0
        row = _changes(runner)['optim_wrapper.loss_scaler']
        assert (row['then'], row['now']) == ('no loss scale', 'a loss scale')
        runner = _resumed(tmp_path, 4, optim_wrapper=_sgd(lr=0.01))
        assert _changes(runner)['optim_wrapper.dtype']['used'] == 'config'
        row = _changes(runner)['optim_wrapper.loss_scaler']
        assert (row['then'], row['now']) == ('a loss scale', 'no loss scale')


class TestAverage:
    EMA: dict[str, Any] = {'type': 'EMAHook', 'momentum': 0.5}

    def _average(self, runner: Runner) -> EMAHook:
        return next(hook for hook in runner.hooks if isinstance(hook, EMAHook))

    def test_its_momentum_follows_the_config(self, tmp_path):
        _run(tmp_path, 2, custom_hooks=[self.EMA])
        runner = _resumed(tmp_path, custom_hooks=[{**self.EMA, 'momentum': 0.125}])
        assert self._average(runner).ema_model.momentum == 0.125
        assert int(self._average(runner).ema_model.steps) == 12
        assert _changes(runner)['custom_hooks.0.momentum']['used'] == 'config'

    def test_without_its_hook_the_raw_weights_train_on(self, tmp_path):
        whole = _run(tmp_path / 'plain', 3)
        _run(tmp_path / 'average', 2, custom_hooks=[self.EMA])
        runner = _resumed(tmp_path / 'average')
        assert torch.equal(runner.model.linear.weight, whole.model.linear.weight)
        row = _changes(runner)['averaged weights']
        assert (row['then'], row['now']) == ('an average of 8 steps', 'no EMAHook')

    def test_a_new_hook_begins_with_the_weights(self, tmp_path, caplog):
        _run(tmp_path, 2)
        runner = _resumed(tmp_path, custom_hooks=[self.EMA], log_level='WARNING')
        assert int(self._average(runner).ema_model.steps) == 4


class TestTheTable:
    def test_nothing_is_told_where_nothing_differs(self, tmp_path, capsys):
        _run(tmp_path / 'a', 2)
        runner = _resumed(
            tmp_path / 'b', 2, resume=str(tmp_path / 'a' / 'epoch_1.pth'), log_level='WARNING',
            experiment_name='other',
        )  # fmt: skip
        assert _changes(runner) == {}
        assert 'differs from' not in capsys.readouterr().out

    def test_it_is_logged_once_with_the_lines_of_the_config(self, tmp_path, capsys):
        text = '\n'.join(f'{key} = {value!r}' for key, value in toy_config(tmp_path / 'w').items())
        text = text.replace("default_hooks = {'checkpoint': None, 'logger': None}", '')
        text = text.replace("log_level = 'ERROR'", "log_level = 'WARNING'")
        file = tmp_path / 'toy.py'
        file.write_text(text)
        Runner.from_cfg(Config.fromfile(file)).train()
        changed = text.replace("'max_epochs': 2", "'max_epochs': 3").replace("'lr': 0.1", "'lr': 1")
        file.write_text(f'resume = True\n{changed}')
        runner = Runner.from_cfg(Config.fromfile(file))
        runner.train()
        out = capsys.readouterr().out
        assert out.count('The run differs from the checkpoint') == 1
        lines = {line.split()[0]: line.split() for line in out.splitlines() if '.' in line}
        number = 1 + changed.splitlines().index(
            next(line for line in changed.splitlines() if line.startswith('optim_wrapper'))
        )
        row = lines['optim_wrapper.optimizer.lr']
        assert row[1:] == ['0.1', '1', 'config', f'{file}:{number + 1}']
        assert lines['train_cfg.max_epochs'][1:4] == ['2', '3', 'config']
        assert set(_changes(runner)) == {'train_cfg.max_epochs', 'optim_wrapper.optimizer.lr'}
        assert out.count(Path(runner.log_dir, 'resume_changes.txt').read_text().strip()) == 1

    def test_a_progress_display_and_places_are_not_differences(self, tmp_path):
        _run(tmp_path, 2, cfg={'note': object()})
        changes = {
            'custom_hooks': [{'type': 'ProgressHook'}],
            'experiment_name': 'again',
            'cfg': {'note': object()},
        }
        assert _changes(_resumed(tmp_path, 2, **changes)) == {}

    def test_a_long_argument_is_compared_by_its_digest(self, tmp_path):
        def extra(last: int) -> dict[str, Any]:
            loader = toy_config(tmp_path)['train_dataloader']
            numbers = [*range(40_000), last]
            return {'train_dataloader': {**loader, 'worker_init_fn': {'type': len, 'of': numbers}}}

        runner = toy_runner(tmp_path, **extra(1))
        assert len(runner._arguments_text) < 3000
        assert runner._arguments_text == toy_runner(tmp_path, **extra(1))._arguments_text
        assert runner._arguments_text != toy_runner(tmp_path, **extra(2))._arguments_text

    def test_an_end_that_follows_the_length_is_in_it(self, tmp_path):
        schedule = {'type': 'CosineAnnealingLR'}
        _run(tmp_path, 2, param_scheduler=schedule)
        rows = _changes(_resumed(tmp_path, param_scheduler=schedule))
        assert (rows['train_cfg.max_epochs']['then'], rows['train_cfg.max_epochs']['now']) == (2, 3)
        end = rows['CosineAnnealingLR of lr: end']
        assert (end['then'], end['now'], end['used']) == (2, 3, 'config')

    def test_what_the_checkpoint_wins_is_said(self, tmp_path):
        steps = {'type': 'StepLR', 'step_size': 1, 'gamma': 0.5}
        _run(tmp_path, 2, param_scheduler=steps)
        changed = {
            'param_scheduler': [{**steps, 'gamma': 0.1}],
            'optim_wrapper': _sgd(lr=1.0, weight_decay=0.1),
        }
        rows = _changes(_resumed(tmp_path, resume={'schedule': 'checkpoint'}, **changed))
        assert rows['param_scheduler.0.gamma']['used'] == 'checkpoint'
        assert rows['optim_wrapper.optimizer.lr']['used'] == 'checkpoint'
        assert rows['optim_wrapper.optimizer.weight_decay']['used'] == 'config'

    def test_differences_may_be_refused(self, tmp_path):
        _run(tmp_path, 2)
        request = {'on_change': 'error'}
        with pytest.raises(ValueError, match=r"(?s)on_change='error'.*optimizer.lr +0.1 +0.2"):
            _resumed(tmp_path, 2, resume=request, optim_wrapper=_sgd(lr=0.2))
        assert _resumed(tmp_path, 2, resume=request).epoch == 2

    def test_a_flexible_runner_tells_too(self, tmp_path):
        _run(tmp_path, 2)
        config = toy_config(
            tmp_path, resume={'path': 'auto'}, train_cfg={'by_epoch': True, 'max_epochs': 3},
            optim_wrapper=_sgd(lr=0.5), **NO_VALIDATION, **NO_TEST,
        )  # fmt: skip
        runner = FlexibleRunner(**config)
        runner.train()
        assert _group(runner)['lr'] == 0.5
        assert 'optim_wrapper.optimizer.lr' in _changes(runner)


class TestTheRest:
    def test_clipping_accumulation_and_batch_size_follow_the_config(self, tmp_path):
        _run(tmp_path, 2, optim_wrapper={**_sgd(), 'clip_grad': {'max_norm': 1.0}})
        loader = {**toy_config(tmp_path)['train_dataloader'], 'batch_size': 4}
        now = {**_sgd(), 'clip_grad': {'max_norm': 0.5}, 'accumulative_counts': 2}
        runner = _resumed(tmp_path, train_dataloader=loader, optim_wrapper=now)
        wrapper = runner.optim_wrapper
        assert (wrapper.clip_grad_kwargs, wrapper._accumulative_counts) == ({'max_norm': 0.5}, 2)
        assert (runner.epoch, runner.iter) == (3, 10)  # two batches of four in the third epoch
        rows = _changes(runner)
        for key in (
            'optim_wrapper.clip_grad.max_norm', 'optim_wrapper.accumulative_counts',
            'train_dataloader.batch_size',
        ):  # fmt: skip
            assert rows[key]['used'] == 'config'

    def test_patience_of_an_early_stop_follows_the_config(self, tmp_path):
        loader = toy_config(tmp_path)
        validation = {key: loader[key] for key in ('val_dataloader', 'val_cfg', 'val_evaluator')}

        def stopping(patience: int) -> dict[str, Any]:
            kind = {'type': 'EarlyStoppingHook', 'monitor': 'toy/error', 'rule': 'less'}
            return {'custom_hooks': [{**kind, 'patience': patience}], **validation}

        _run(tmp_path, 2, **stopping(5))
        runner = _resumed(tmp_path, **stopping(9))
        hook = next(each for each in runner.hooks if hasattr(each, 'patience'))
        assert hook.patience == 9
        assert _changes(runner)['custom_hooks.0.patience']['used'] == 'config'
