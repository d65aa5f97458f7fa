"""One or several datasets of an evaluation, their class names, and loops of projects over them."""

from typing import Any

import pytest
from runner_toy import Error, Line, toy_runner
from torch.utils.data import DataLoader

from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop, TestLoop, ValLoop
from mmengine.runner._evaluation_loops import EvaluationPart


class Named(Line):
    def __init__(self, name: str, length: int = 8) -> None:
        super().__init__(length)
        self.metainfo = {'classes': (name,)}


class Nameless(Line):
    metainfo = property()


def _loader(dataset: Any, batch_size: int = 4) -> dict[str, Any]:
    sampler = {'type': 'DefaultSampler', 'shuffle': False}
    return {'dataset': dataset, 'batch_size': batch_size, 'sampler': sampler}


def _pair(kind: type = dict) -> dict[str, Any]:
    loaders = {'cats': _loader(Named('cat', 4)), 'dogs': _loader(Named('dog', 8))}
    evaluators = {'cats': {'type': 'ToyError'}, 'dogs': {'type': 'ToyError'}}
    if kind is list:
        return {'dataloader': list(loaders.values()), 'evaluator': list(evaluators.values())}
    return {'dataloader': loaders, 'evaluator': evaluators}


def _classes(meta: Any) -> str:
    return 'none' if meta is None else meta['classes'][0]


class Look(Hook):
    """Notes whose class names are shown, at each point."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str, int]] = []

    def _note(self, point: str, runner: Any, stage: str) -> None:
        loop = getattr(runner, f'{stage}_loop')
        self.seen.append(
            (
                point,
                _classes(runner.visualizer.dataset_meta),
                _classes(loop.evaluator.metrics[0].dataset_meta),
                len(loop.dataloader.dataset),
            )
        )

    def before_val(self, runner: Any) -> None:
        self._note('before', runner, 'val')

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self._note('iter', runner, 'val')

    def after_val(self, runner: Any) -> None:
        self._note('after', runner, 'val')

    def before_test(self, runner: Any) -> None:
        self._note('before', runner, 'test')

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self._note('iter', runner, 'test')

    def after_test(self, runner: Any) -> None:
        self._note('after', runner, 'test')


@pytest.mark.parametrize('stage', ['val', 'test'])
@pytest.mark.parametrize('kind', [dict, list])
def test_each_part_runs_with_its_own_data_metrics_and_class_names(tmp_path, stage, kind):
    look = Look()
    parts = {f'{stage}_{name}': value for name, value in _pair(kind).items()}
    runner = toy_runner(tmp_path, custom_hooks=[look], **parts)
    for _ in range(2):  # a second evaluation starts with the first part again
        look.seen.clear()
        getattr(runner, stage)()
        assert look.seen == [
            ('before', 'cat', 'cat', 4),
            ('iter', 'cat', 'cat', 4),
            ('iter', 'dog', 'dog', 8),
            ('iter', 'dog', 'dog', 8),
            ('after', 'cat', 'cat', 4),
        ]


def test_a_dataset_without_class_names_does_not_show_those_of_another(tmp_path):
    pair = _pair()
    pair['dataloader']['dogs'] = _loader(Nameless())
    look = Look()
    toy_runner(
        tmp_path,
        custom_hooks=[look],
        val_dataloader=pair['dataloader'],
        val_evaluator=pair['evaluator'],
    ).val()
    assert [names[1:3] for names in look.seen if names[0] == 'iter'] == [
        ('cat', 'cat'), ('none', 'none'), ('none', 'none'),
    ]  # fmt: skip


def test_a_validation_after_a_test_shows_its_own_class_names(tmp_path):
    look = Look()
    runner = toy_runner(
        tmp_path,
        custom_hooks=[look],
        val_dataloader=_loader(Named('cat')),
        test_dataloader=_loader(Named('dog')),
    )
    runner.val()
    runner.test()
    runner.val()
    assert [names[1] for names in look.seen if names[0] == 'iter'] == [
        'cat', 'cat', 'dog', 'dog', 'cat', 'cat',
    ]  # fmt: skip


def test_the_first_part_is_back_after_an_evaluation_that_failed(tmp_path):
    class Failing(Error):
        def compute_metrics(self, results):
            raise ArithmeticError('no metric')

    pair = _pair()
    pair['evaluator']['dogs'] = Evaluator(Failing())
    runner = toy_runner(
        tmp_path, val_dataloader=pair['dataloader'], val_evaluator=pair['evaluator']
    )
    with pytest.raises(ArithmeticError, match='no metric'):
        runner.val()
    assert len(runner.val_dataloader.dataset) == 4
    assert runner.visualizer.dataset_meta == {'classes': ('cat',)}


def test_the_parts_of_a_loop_are_a_list(tmp_path):
    runner = toy_runner(tmp_path)
    one = ValLoop(runner, DataLoader(Named('cat'), 2), Evaluator(Error()))
    assert one.parts == [EvaluationPart(None, one.dataloader, one.evaluator, {'classes': ('cat',)})]
    two = TestLoop(runner, **_pair())
    assert [part.name for part in two.parts] == ['cats', 'dogs']
    assert two.dataloader is two.parts[0].dataloader
    assert two.evaluator is two.parts[0].evaluator
    assert sorted(two.run()) == ['cats/toy/error', 'dogs/toy/error']
    named = ValLoop(runner, [DataLoader(Line(), 2)], [Evaluator(Error())])
    assert list(named.run()) == ['0/toy/error']


def test_an_empty_list_of_dataloaders_is_refused(tmp_path):
    with pytest.raises(ValueError, match='val_dataloader is an empty list'):
        toy_runner(tmp_path, val_dataloader=[], val_evaluator=[]).val()


def test_assigned_data_and_metrics_are_evaluated(tmp_path):
    runner = toy_runner(tmp_path)
    runner.val()
    loop = runner.val_loop
    loop.dataloader = DataLoader(Named('cat', 3), 2)
    loop.evaluator = Evaluator(Error(prefix='mine'))
    # Errors of 0.5 x against 2 x + 1 at 0, 0.1 and 0.2: 1, 1.15 and 1.3.
    assert runner.val() == {'mine/error': pytest.approx(1.15)}
    assert loop.evaluator.dataset_meta == runner.visualizer.dataset_meta == {'classes': ('cat',)}


class TestLoopsOfProjects:
    """Signatures are the API's: (runner, dataloader, evaluator, fp16)."""

    def test_one_that_takes_over_the_iteration_goes_over_all_parts(self, tmp_path):
        seen = []

        @LOOPS.register_module(name='ToyOwnIteration', force=True)
        class OwnIteration(ValLoop):
            def __init__(self, runner, dataloader, evaluator, fp16=False, extra=0):
                super().__init__(runner, dataloader, evaluator, fp16)
                self.extra = extra

            def run_iter(self, idx, data_batch):
                seen.append((len(self.dataloader.dataset), idx, self.extra))
                outputs = self.runner.model.val_step(data_batch)
                self.evaluator.process(data_samples=outputs, data_batch=data_batch)

        pair = _pair()
        metrics = toy_runner(
            tmp_path,
            val_dataloader=pair['dataloader'],
            val_evaluator=pair['evaluator'],
            val_cfg={'type': 'ToyOwnIteration', 'extra': 7},
        ).val()
        assert seen == [(4, 0, 7), (8, 0, 7), (8, 1, 7)]
        assert sorted(metrics) == ['cats/toy/error', 'dogs/toy/error']

    @pytest.mark.parametrize('number', ['one', 'several'])
    def test_one_that_takes_over_the_pass_is_told_of_parts(self, tmp_path, capsys, number):
        @LOOPS.register_module(name='ToyOwnPass', force=True)
        class OwnPass(ValLoop):
            def run(self):
                self.runner.model.eval()
                for idx, data_batch in enumerate(self.dataloader):
                    self.run_iter(idx, data_batch)
                return self.evaluator.evaluate(len(self.dataloader.dataset))

        changes = {}
        if number == 'several':
            pair = _pair()
            changes = {'val_dataloader': pair['dataloader'], 'val_evaluator': pair['evaluator']}
        runner = toy_runner(
            tmp_path, val_cfg={'type': 'ToyOwnPass'}, log_level='WARNING', **changes
        )
        assert list(runner.val()) == ['toy/error']
        text = capsys.readouterr().out
        assert ('OwnPass overrides run() and has several' in text) == (number == 'several')

    def test_one_that_calls_the_constructor_of_the_base_alone(self, tmp_path):
        @LOOPS.register_module(name='ToyOwnParts', force=True)
        class OwnParts(ValLoop):
            def __init__(self, runner, dataloader, evaluator, fp16=False):
                super(ValLoop, self).__init__(runner, dataloader)
                self.evaluator = runner.build_evaluator(evaluator)
                self.fp16 = fp16

        runner = toy_runner(tmp_path, val_cfg={'type': 'ToyOwnParts'})
        assert runner.val() == {'toy/error': pytest.approx(1.525)}
        assert runner.val_evaluator.dataset_meta == {'classes': ('line',)}

    def test_one_that_sets_its_dataloader_itself(self, tmp_path):
        @LOOPS.register_module(name='ToyOwnData', force=True)
        class OwnData(TestLoop):
            def __init__(self, runner, dataloader, evaluator, fp16=False):
                super().__init__(runner, dataloader, evaluator, fp16)
                self.dataloader = DataLoader(Named('cat', 3), 2)

        runner = toy_runner(tmp_path, test_cfg={'type': 'ToyOwnData'})
        assert runner.test() == {'toy/error': pytest.approx(1.15)}
        assert runner.visualizer.dataset_meta == {'classes': ('cat',)}

    def test_one_that_derives_from_the_base_and_takes_what_it_is_given(self, tmp_path):
        @LOOPS.register_module(name='ToyBaseOnly', force=True)
        class BaseOnly(BaseLoop):
            def __init__(self, runner, dataloader, evaluator):
                super().__init__(runner, dataloader)
                self.evaluator = runner.build_evaluator(evaluator)

            def run(self):
                return {'batches': len(self.dataloader)}

        assert toy_runner(tmp_path, val_cfg={'type': 'ToyBaseOnly'}).val() == {'batches': 4}
