"""The val and test loops: precision, losses, several dataloaders, loops of the user's own."""

from typing import Any

import numpy as np
import pytest
import torch
from runner_toy import Error, Line, Net, toy_config, toy_runner, trained_by_hand
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.registry import LOOPS, MODELS
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, IterBasedTrainLoop, TestLoop, ValLoop
from mmengine.runner.loops import _parse_losses, _update_losses
from mmengine.structures import BaseDataElement


@MODELS.register_module(name='ToyTwoLosses')
class TwoLosses(Net):
    """Several losses, one of them a list, and an accuracy; all of them means over samples."""

    def forward(self, x: Any, y: Any, mode: str) -> Any:
        x, y = torch.stack(list(x)), torch.stack(list(y))
        if mode == 'predict':
            return list(self.linear(x))
        error = self.linear(x) - y
        return {
            'loss_square': error.square().mean(),
            'loss_levels': [error.abs().mean(), 2 * error.abs().mean()],
            'accuracy': (error.abs() < 1.2).float().mean(),
        }


def _errors(indices: range) -> np.ndarray:
    x = np.arange(10)[indices.start : indices.stop] / 10
    return 0.5 * x - (2 * x + 1)


class TestLossesOfAValidation:
    def test_they_are_means_over_samples_not_batches(self, tmp_path):
        # Seven samples in batches of 3, 3 and 1.
        loader = {**toy_config(tmp_path)['val_dataloader'], 'batch_size': 3}
        loader['dataset'] = {'type': 'ToyLine', 'length': 7}
        runner = toy_runner(
            tmp_path,
            model={'type': 'ToyTwoLosses'},
            val_dataloader=loader,
            val_cfg={'compute_loss': True},
        )
        metrics = runner.val()
        errors = _errors(range(7))
        square, levels = (errors**2).mean(), 3 * np.abs(errors).mean()
        assert metrics == {
            'toy/error': pytest.approx(np.abs(errors).mean()),
            'loss_square': pytest.approx(square),
            'loss_levels': pytest.approx(levels),
            'accuracy': pytest.approx((np.abs(errors) < 1.2).mean()),
            'val_loss': pytest.approx(square + levels),
        }

    def test_they_start_anew_in_each_validation(self, tmp_path):
        runner = toy_runner(tmp_path, val_cfg={'compute_loss': True})
        assert runner.val() == runner.val()

    def test_a_validation_changes_neither_gradients_nor_statistics(self, tmp_path):
        class Normed(Net):
            def __init__(self):
                super().__init__()
                self.norm = nn.BatchNorm1d(1)

            def forward(self, x, y, mode):
                return super().forward(self.norm(torch.stack(list(x))), y, mode)

        runner = toy_runner(tmp_path, model=Normed(), val_cfg={'compute_loss': True})
        runner.val()
        assert runner.model.norm.num_batches_tracked == 0
        assert all(parameter.grad is None for parameter in runner.model.parameters())

    @pytest.mark.parametrize('stage', ['val', 'test'])
    def test_a_model_may_hand_them_over_as_its_last_prediction(self, tmp_path, stage):
        class Handing(Net):
            def forward(self, x, y, mode):
                predictions = super().forward(x, y, mode)
                if mode == 'loss':
                    return predictions
                return [*predictions, BaseDataElement(loss=super().forward(x, y, 'loss'))]

        metrics = getattr(toy_runner(tmp_path, model=Handing()), stage)()
        loss = (_errors(range(8)) ** 2).mean()
        assert metrics['loss'] == metrics[f'{stage}_loss'] == pytest.approx(loss)
        assert metrics['toy/error'] == pytest.approx(1.525)

    def test_predictions_without_losses_are_left_alone(self):
        element = BaseDataElement(loss=torch.zeros(1), label=1)
        for outputs in ([], [1, 2], [element], torch.ones(2), None):
            losses: dict[str, HistoryBuffer] = {}
            kept, losses = _update_losses(outputs, losses)
            assert kept is outputs
            assert losses == {}

    def test_their_sum_has_those_whose_name_says_loss(self):
        losses = {'loss_a': HistoryBuffer([1.0, 3.0], [1, 3]), 'acc': HistoryBuffer([5.0], [1])}
        assert _parse_losses(losses, 'val') == {'loss_a': 2.5, 'acc': 5.0, 'val_loss': 2.5}


class TestPrecision:
    @pytest.mark.parametrize('stage', ['val', 'test'])
    @pytest.mark.parametrize('fp16', [True, False])
    def test_fp16_predicts_under_autocast(self, tmp_path, stage, fp16):
        dtypes = []

        class Noting(Net):
            def forward(self, x, y, mode):
                predictions = super().forward(x, y, mode)
                dtypes.append((predictions[0].dtype, torch.is_grad_enabled()))
                return predictions

        runner = toy_runner(tmp_path, model=Noting(), **{f'{stage}_cfg': {'fp16': fp16}})
        metrics = getattr(runner, stage)()
        assert set(dtypes) == {(torch.bfloat16 if fp16 else torch.float32, False)}
        assert metrics['toy/error'] == pytest.approx(1.525, abs=0.01)
        assert runner.model.linear.weight.dtype == torch.float32


def _several(kind: str) -> tuple[Any, Any]:
    def loader(length):
        return {
            'dataset': {'type': 'ToyLine', 'length': length},
            'batch_size': 2,
            'sampler': {'type': 'DefaultSampler', 'shuffle': False},
        }

    loaders = {'short': loader(3), 'long': DataLoader(Line(8), batch_size=4)}
    evaluators = {'short': {'type': 'ToyError'}, 'long': Evaluator([Error(), Error(prefix='b')])}
    if kind == 'list':
        return list(loaders.values()), list(evaluators.values())
    return loaders, evaluators


class TestSeveralDataloaders:
    @pytest.mark.parametrize('stage', ['val', 'test'])
    @pytest.mark.parametrize(('kind', 'one', 'two'), [('dict', 'short', 'long'), ('list', 0, 1)])
    def test_each_has_its_metrics_under_its_name(self, tmp_path, stage, kind, one, two):
        loaders, evaluators = _several(kind)
        runner = toy_runner(
            tmp_path, **{f'{stage}_dataloader': loaders, f'{stage}_evaluator': evaluators}
        )
        assert getattr(runner, stage)() == {
            f'{one}/toy/error': pytest.approx(np.abs(_errors(range(3))).mean()),
            f'{two}/toy/error': pytest.approx(1.525),
            f'{two}/b/error': pytest.approx(1.525),
        }

    def test_hooks_see_one_validation_and_the_part_that_runs(self, tmp_path):
        seen = []

        class Watch(Hook):
            def before_val_epoch(self, runner):
                seen.append('epoch')

            def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
                seen.append((batch_idx, len(runner.val_dataloader)))

            def after_val_epoch(self, runner, metrics=None):
                seen.append(sorted(metrics))

        loaders, evaluators = _several('dict')
        toy_runner(
            tmp_path,
            val_dataloader=loaders,
            val_evaluator=evaluators,
            custom_hooks=[Watch()],
        ).val()
        names = ['long/b/error', 'long/toy/error', 'short/toy/error']
        assert seen == ['epoch', (0, 2), (1, 2), (0, 2), (1, 2), names]

    def test_losses_are_those_of_each_part(self, tmp_path):
        loaders, evaluators = _several('dict')
        metrics = toy_runner(
            tmp_path,
            val_dataloader=loaders,
            val_evaluator=evaluators,
            val_cfg={'compute_loss': True},
        ).val()
        assert metrics['short/val_loss'] == pytest.approx((_errors(range(3)) ** 2).mean())
        assert metrics['long/val_loss'] == pytest.approx((_errors(range(8)) ** 2).mean())

    def test_they_run_in_training_and_best_checkpoints_go_by_their_names(self, tmp_path):
        loaders, evaluators = _several('dict')
        runner = toy_runner(
            tmp_path,
            val_dataloader=loaders,
            val_evaluator=evaluators,
            default_hooks={
                'checkpoint': {
                    'type': 'CheckpointHook', 'save_best': 'long/toy/error', 'rule': 'less',
                },
            },
        )  # fmt: skip
        runner.train()
        assert (tmp_path / 'best_long_toy_error_epoch_2.pth').is_file()

    @pytest.mark.parametrize(
        ('change', 'message'),
        [
            (
                {'val_evaluator': {'type': 'ToyError'}},
                r"has the names \['long', 'short'\].*\['type'",
            ),
            ({'val_evaluator': {'short': {'type': 'ToyError'}}}, r"same; got \['short'\]"),
            ({'val_evaluator': Evaluator(Error())}, 'same; got Evaluator'),
        ],
    )
    def test_evaluators_that_do_not_match_are_refused(self, tmp_path, change, message):
        loaders, _ = _several('dict')
        with pytest.raises(ValueError, match=message):
            toy_runner(tmp_path, val_dataloader=loaders, **change).val()

    def test_a_list_needs_an_evaluator_for_each(self, tmp_path):
        loaders, evaluators = _several('list')
        with pytest.raises(ValueError, match='a list of 2, so val_evaluator is a list of as many'):
            toy_runner(tmp_path, val_dataloader=loaders, val_evaluator=evaluators[:1]).val()


class TestOwnLoops:
    def test_a_val_loop_of_ones_own_is_named_in_val_cfg(self, tmp_path):
        @LOOPS.register_module(force=True)
        class ToyTwiceLoop(ValLoop):
            """Validates twice, as with and without some augmentation."""

            def __init__(self, runner, dataloader, evaluator, times, fp16=False):
                super().__init__(runner, dataloader, evaluator, fp16)
                self.times = times

            def run(self):
                metrics = {}
                for number in range(self.times):
                    self.runner.call_hook('before_val')
                    self.runner.call_hook('before_val_epoch')
                    self.runner.model.eval()
                    for index, batch in enumerate(self.dataloader):
                        self.run_iter(index, batch)
                    found = self.evaluator.evaluate(len(self.dataloader.dataset))
                    metrics.update({f'{key}_{number}': value for key, value in found.items()})
                self.runner.call_hook('after_val_epoch', metrics=metrics)
                self.runner.call_hook('after_val')
                return metrics

        runner = toy_runner(tmp_path, val_cfg={'type': 'ToyTwiceLoop', 'times': 2})
        runner.train()
        assert sorted(runner.val()) == ['toy/error_0', 'toy/error_1']
        assert isinstance(runner.val_loop, ToyTwiceLoop)

    def test_a_test_loop_of_ones_own(self, tmp_path):
        @LOOPS.register_module(force=True)
        class ToyQuietLoop(TestLoop):
            def run_iter(self, idx, data_batch):
                self.evaluator.process(
                    data_samples=self.runner.model.test_step(data_batch), data_batch=data_batch
                )

        runner = toy_runner(tmp_path, test_cfg={'type': 'ToyQuietLoop'})
        with torch.no_grad():
            assert runner.test() == {'toy/error': pytest.approx(1.525)}

    def test_a_train_loop_of_ones_own_that_only_knows_the_base(self, tmp_path):
        @LOOPS.register_module(force=True)
        class ToyBareLoop(BaseLoop):
            """Counts as the stock ones do, and has nothing else of theirs."""

            def __init__(self, runner, dataloader, max_iters):
                super().__init__(runner, dataloader)
                self._epoch = self._iter = 0
                self.max_iters, self.max_epochs = max_iters, 1

            @property
            def epoch(self):
                return self._epoch

            @property
            def iter(self):
                return self._iter

            def run(self):
                self.runner.call_hook('before_train')
                self.runner.model.train()
                for batch in self.dataloader:
                    if self._iter == self.max_iters:
                        break
                    self.runner.model.train_step(batch, self.runner.optim_wrapper)
                    self._iter += 1
                self.runner.call_hook('after_train')
                return self.runner.model

        runner = toy_runner(tmp_path, train_cfg={'type': 'ToyBareLoop', 'max_iters': 3})
        model = runner.train()
        expected = trained_by_hand([(0, 1), (2, 3), (4, 5)])
        assert (model.linear.weight.item(), model.linear.bias.item()) == pytest.approx(expected)
        assert (runner.iter, runner.max_iters, runner.max_epochs) == (3, 3, 1)

    @pytest.mark.parametrize('base', [EpochBasedTrainLoop, IterBasedTrainLoop])
    def test_a_subclass_may_take_over_the_iteration(self, tmp_path, base):
        batches = []

        class Mine(base):
            def run_iter(self, *args):
                batches.append(len(args[-1]['x']))
                super().run_iter(*args)

        LOOPS.register_module(name='ToyMine', module=Mine, force=True)
        length = {'max_epochs': 1} if base is EpochBasedTrainLoop else {'max_iters': 4}
        toy_runner(tmp_path, train_cfg={'type': 'ToyMine', **length}).train()
        assert batches == [2, 2, 2, 2]

    def test_a_finished_loop_may_be_given(self, tmp_path):
        runner = toy_runner(tmp_path)
        loop = ValLoop(runner, DataLoader(Line(3), batch_size=2), Evaluator(Error()))
        assert runner.build_val_loop(loop) is loop
        assert loop.run() == {'toy/error': pytest.approx(np.abs(_errors(range(3))).mean())}

    def test_what_a_config_builds_must_be_a_loop(self, tmp_path):
        @LOOPS.register_module(force=True)
        class ToyNoLoop:
            def __init__(self, **kwargs):
                pass

        with pytest.raises(TypeError, match='ToyNoLoop is not a loop'):
            toy_runner(tmp_path, val_cfg={'type': 'ToyNoLoop'}).val()


class TestModelsWithTheirOwnSteps:
    def test_a_train_step_of_ones_own_is_called_with_the_optimizer(self, tmp_path):
        class Own(BaseModel):
            def __init__(self):
                super().__init__()
                self.linear = nn.Linear(1, 1)
                nn.init.zeros_(self.linear.weight)
                nn.init.zeros_(self.linear.bias)

            def train_step(self, data, optim_wrapper):
                """Twice, with and without an offset."""
                losses = {}
                for number, offset in enumerate((0.0, 1.0)):
                    with optim_wrapper.optim_context(self):
                        data_ = self.data_preprocessor(data, training=True)
                        x, y = torch.stack(data_['x']), torch.stack(data_['y'])
                        loss = (self.linear(x + offset) - y).mean()
                    optim_wrapper.update_params(loss)
                    losses[f'loss_{number}'] = loss
                return losses

            def forward(self, x, y, mode):
                return list(self.linear(torch.stack(x)))

        runner = toy_runner(tmp_path, model=Own(), train_cfg={'by_epoch': True, 'max_epochs': 1})
        runner.train()
        # The gradient of the bias is 1 in each of the 8 steps at rate 0.1.
        assert runner.model.linear.bias.item() == pytest.approx(-0.8)
        assert len(runner.message_hub.get_scalar('train/loss_1').data[0]) == 4

    def test_a_plain_module_with_steps_is_enough(self, tmp_path):
        class Plain(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = nn.Parameter(torch.zeros(1))

            def train_step(self, data, optim_wrapper):
                loss = (self.weight * torch.stack(data['x'])).sum()
                optim_wrapper.update_params(loss)
                return {'loss': loss.detach()}

            def val_step(self, data):
                return [self.weight for _ in data['x']]

        runner = toy_runner(tmp_path, model=Plain(), train_cfg={'by_epoch': True, 'max_epochs': 1})
        runner.train()
        # The x of an epoch add up to 2.8.
        assert runner.model.weight.item() == pytest.approx(-0.28)
        assert runner.val() == {'toy/error': pytest.approx(0.28 + 1.7)}


def test_metrics_and_pictures_learn_the_dataset_they_belong_to(tmp_path):
    runner = toy_runner(tmp_path)
    runner.val()
    assert runner.val_evaluator.dataset_meta == {'classes': ('line',)}
    assert runner.visualizer.dataset_meta == {'classes': ('line',)}


def test_validation_draws_no_random_numbers_from_the_training(tmp_path):
    class Drawing(BaseMetric):
        def process(self, data_batch, data_samples):
            self.results.append(torch.rand(1))

        def compute_metrics(self, results):
            return {'n': len(results)}

    runner = toy_runner(tmp_path, val_evaluator=Drawing())
    torch.manual_seed(3)
    runner.val()
    after = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), after)


def test_metrics_without_a_dataset_description_still_work(tmp_path):
    class Bare(Line):
        metainfo = property()

    loader = DataLoader([{'x': torch.ones(1), 'y': torch.ones(1)}], batch_size=1)
    assert toy_runner(tmp_path, val_dataloader=loader).val() == {'toy/error': pytest.approx(0.5)}


class Stream(IterableDataset):
    """Three samples, and no length."""

    def __iter__(self):
        for error in (0.5, 1.0, 3.0):
            yield {'x': torch.ones(1), 'y': torch.full((1,), 0.5 - error)}


def test_every_sample_of_a_stream_counts(tmp_path):
    # The model predicts 0.5, so the errors are those of the stream: 4.5 / 3 in the mean.
    runner = toy_runner(tmp_path, val_dataloader={'dataset': Stream(), 'batch_size': 2})
    for _ in range(2):
        assert runner.val() == {'toy/error': pytest.approx(1.5)}


def test_an_evaluator_that_counts_no_samples_cannot_evaluate_a_stream(tmp_path):
    class ByItsMethods:
        def process(self, data_samples, data_batch):
            pass

        def evaluate(self, size):
            return {}

    loader = {'dataset': Stream(), 'batch_size': 1}
    runner = toy_runner(tmp_path, val_dataloader=loader)
    runner.val_loop.evaluator = ByItsMethods()
    with pytest.raises(TypeError, match='Stream has no length, and ByItsMethods does not count'):
        runner.val()
