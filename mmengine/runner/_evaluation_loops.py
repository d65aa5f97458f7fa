"""The val and test loops: predictions to the evaluator, and losses on the way if asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.utils.data import DataLoader

from mmengine._checkpoint.unwrap import unwrap_model
from mmengine._strategy._seed import rng_state, set_rng_state
from mmengine.device import autocast
from mmengine.dist import all_reduce, get_world_size
from mmengine.evaluator import Evaluator
from mmengine.logging import HistoryBuffer, print_log
from mmengine.registry import LOOPS
from mmengine.runner.base_loop import BaseLoop
from mmengine.structures import BaseDataElement

if TYPE_CHECKING:
    from mmengine.runner.runner import Runner

EvaluatorConfig = Evaluator | dict[str, Any] | list[Any]
_NO_CONTEXT = nullcontext()


class _EvaluationLoop(BaseLoop):
    """One pass over a dataloader::

        before_val   before_val_epoch
        for batch:   before_val_iter   model.val_step(batch)   evaluator.process   after_val_iter
        metrics = evaluator.evaluate
        after_val_epoch(metrics)   after_val

    (``test`` in place of ``val`` for the test loop.)

    Args:
        runner: The run this loop belongs to.
        dataloader: A dataloader or its config.
        evaluator: An evaluator, or the config of one or several metrics.
        fp16: Predict under autocast.
        compute_loss: Also run the model in its ``loss`` mode and report the mean of each loss,
            weighted by samples.
    """

    stage: ClassVar[str]
    """'val' or 'test': the part of the hook points' names."""

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader[Any] | dict[str, Any],
        evaluator: EvaluatorConfig,
        fp16: bool = False,
        compute_loss: bool = False,
    ) -> None:
        super().__init__(runner, dataloader)
        self.evaluator = (
            evaluator if isinstance(evaluator, Evaluator) else runner.build_evaluator(evaluator)
        )
        self.fp16 = fp16
        self.compute_loss = compute_loss
        self.losses: dict[str, HistoryBuffer] = {}
        self._points = {
            name: name.format(self.stage)
            for name in (
                'before_{}', 'before_{}_epoch', 'before_{}_iter',
                'after_{}_iter', 'after_{}_epoch', 'after_{}',
            )
        }  # fmt: skip
        self._before_iter = self._points['before_{}_iter']
        self._after_iter = self._points['after_{}_iter']
        self._share_metainfo()

    def run(self) -> dict[str, float]:
        """Go through the data once; returns the metrics, the same on every rank."""
        self._call('before_{}')
        self._call('before_{}_epoch')
        self._runner.model.eval()
        with _untouched_rng():
            metrics = self._evaluate()
        self._call('after_{}_epoch', metrics=metrics)
        self._call('after_{}')
        return metrics

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """One batch: the hooks before, the prediction, the evaluator, the hooks after."""
        runner = self._runner
        # A pass has switched gradients off for all of its batches; a batch alone does so here.
        with torch.no_grad() if torch.is_grad_enabled() else _NO_CONTEXT:
            runner.call_hook(self._before_iter, batch_idx=idx, data_batch=data_batch)
            with autocast(enabled=True) if self.fp16 else _NO_CONTEXT:
                if self.compute_loss:
                    self._add_losses(data_batch)
                outputs = self._predict(data_batch)
            outputs, self.losses = _update_losses(outputs, self.losses)
            self.evaluator.process(data_samples=outputs, data_batch=data_batch)
            runner.call_hook(
                self._after_iter, batch_idx=idx, data_batch=data_batch, outputs=outputs
            )

    def _predict(self, data_batch: Any) -> Any:
        raise NotImplementedError

    def _evaluate(self) -> dict[str, float]:
        self.losses.clear()
        with torch.no_grad():
            for idx, data_batch in enumerate(self.dataloader):
                self.run_iter(idx, data_batch)
        metrics = self.evaluator.evaluate(_length(self.dataloader.dataset))
        if self.losses:
            metrics.update(_parse_losses(self.losses, self.stage))
        return metrics

    def _add_losses(self, data_batch: Any) -> None:
        model: Any = unwrap_model(self._runner.model)
        if not hasattr(model, '_run_forward'):
            raise TypeError(
                f'compute_loss=True asks a BaseModel for its losses, but {type(model).__name__} '
                'is none.'
            )
        data = model.data_preprocessor(data_batch, False)
        losses = model._run_forward(data, mode='loss')
        _record(losses, self.losses, _num_samples(data_batch))

    def _call(self, point: str, **kwargs: Any) -> None:
        self._runner.call_hook(self._points[point], **kwargs)

    def _share_metainfo(self) -> None:
        dataset: Any = getattr(self.dataloader, 'dataset', None)
        if hasattr(dataset, 'metainfo'):
            self.evaluator.dataset_meta = dataset.metainfo
            self._runner.visualizer.dataset_meta = dataset.metainfo
        else:
            print_log(
                f'{type(dataset).__name__} has no metainfo, so metrics and pictures know no class '
                'names.',
                logger='current',
                level=logging.DEBUG,
            )


@LOOPS.register_module()
class ValLoop(_EvaluationLoop):
    """Validation during and after training; see the base for the order of calls."""

    stage = 'val'

    def _predict(self, data_batch: Any) -> Any:
        return self._runner.model.val_step(data_batch)


@LOOPS.register_module()
class TestLoop(_EvaluationLoop):
    """The test of a trained model; see the base for the order of calls."""

    __test__ = False  # pytest collects classes by this name otherwise
    stage = 'test'

    def _predict(self, data_batch: Any) -> Any:
        return self._runner.model.test_step(data_batch)


class _ManyLoaders:
    """Evaluates several dataloaders in one go, each with its own evaluator.

    The hooks see one validation; a metric is reported as ``<name>/<metric>``. While a part runs,
    ``dataloader`` and ``evaluator`` are that part's.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: Mapping[str, Any],
        evaluator: Mapping[str, Any],
        **kwargs: Any,
    ) -> None:
        names = list(dataloader)
        self.parts: dict[str, Any] = {}
        for name in names:
            super().__init__(runner, dataloader[name], evaluator[name], **kwargs)  # type: ignore[call-arg]  # the loop it is mixed into
            self.parts[name] = (self.dataloader, self.evaluator)
        self._select(names[0])

    def _evaluate(self) -> dict[str, float]:
        metrics: dict[str, float] = {}
        for name in self.parts:
            self._select(name)
            found: dict[str, float] = super()._evaluate()  # type: ignore[misc]  # the loop it is mixed into
            metrics.update({f'{name}/{key}': value for key, value in found.items()})
        return metrics

    def _select(self, name: str) -> None:
        self.dataloader, self.evaluator = self.parts[name]


@LOOPS.register_module()
class MultiValLoop(_ManyLoaders, ValLoop):
    """:class:`ValLoop` over several dataloaders and evaluators, by name or in lists."""


@LOOPS.register_module()
class MultiTestLoop(_ManyLoaders, TestLoop):
    """:class:`TestLoop` over several dataloaders and evaluators, by name or in lists."""

    __test__ = False


def _length(dataset: Any) -> int:
    try:
        return len(dataset)
    except TypeError:
        raise TypeError(
            f'{type(dataset).__name__} has no length. Metrics need it to tell the samples from '
            'those that were repeated to give every rank equally many.'
        ) from None


@contextmanager
def _untouched_rng() -> Iterator[None]:
    """Put random numbers back as they were: validating never changes the training after it."""
    state = rng_state()
    try:
        yield
    finally:
        set_rng_state(state)


def _update_losses(
    outputs: Any, losses: dict[str, HistoryBuffer]
) -> tuple[Any, dict[str, HistoryBuffer]]:
    """Take the losses out of a model's predictions, when their last element holds nothing but
    ``loss``.

    Args:
        outputs: What ``val_step`` returned.
        losses: By name; added to in place.

    Returns:
        The predictions without that element, and ``losses``.
    """
    if not isinstance(outputs, list) or not outputs:
        return outputs, losses
    last = outputs[-1]
    if not isinstance(last, BaseDataElement) or last.keys() != ['loss']:
        return outputs, losses
    found: Any = last.get('loss')
    _record(found if isinstance(found, Mapping) else {'loss': found}, losses, count=1)
    return outputs[:-1], losses


def _parse_losses(losses: dict[str, HistoryBuffer], stage: str) -> dict[str, float]:
    """The mean of each loss over all ranks, and as ``<stage>_loss`` the sum of those named so."""
    means = {}
    for name, buffer in losses.items():
        values, counts = buffer.data
        totals = torch.tensor(
            [float((values * counts).sum()), float(counts.sum())], dtype=torch.float64
        )
        if get_world_size() > 1:
            all_reduce(totals)
        means[name] = float(totals[0] / totals[1])
    total = sum(mean for name, mean in means.items() if 'loss' in name)
    return {**means, f'{stage}_loss': total}


def _record(found: Mapping[str, Any], losses: dict[str, HistoryBuffer], count: int) -> None:
    for name, value in found.items():
        if isinstance(value, torch.Tensor):
            mean = value.mean()
        elif isinstance(value, (list, tuple)) and value:
            mean = torch.stack([part.mean() for part in value]).sum()
        else:
            raise TypeError(
                f'The loss {name!r} is a tensor or a list of tensors, got {type(value).__name__}.'
            )
        losses.setdefault(name, HistoryBuffer()).update(mean, count)


def _num_samples(data_batch: Any) -> int:
    """How many samples a batch holds, by its first list or tensor that has a length."""
    if isinstance(data_batch, Mapping):
        parts: list[Any] = list(data_batch.values())
    elif isinstance(data_batch, (list, tuple)):
        parts = list(data_batch)
    else:
        parts = [data_batch]
    for part in parts:
        if isinstance(part, (list, tuple)) or (hasattr(part, 'shape') and len(part.shape)):
            return len(part)
    return 1
