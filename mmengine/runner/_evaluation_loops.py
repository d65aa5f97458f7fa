"""The val and test loops: predictions to the evaluators, and losses on the way if asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.utils.data import DataLoader

from mmengine._checkpoint.unwrap import unwrap_model
from mmengine.dataset._sample_order import TEST, VAL, begin_pass
from mmengine.device.autocast import autocast
from mmengine.dist import all_gather_object
from mmengine.evaluator import Evaluator
from mmengine.logging import HistoryBuffer, print_log
from mmengine.process.seed import rng_state, set_rng_state
from mmengine.registry import LOOPS
from mmengine.runner._build import named_parts
from mmengine.runner.base_loop import BaseLoop, dataloader_of
from mmengine.structures import BaseDataElement

if TYPE_CHECKING:
    from mmengine.runner.runner import Runner

EvaluatorConfig = Evaluator | Mapping[str, Any] | Sequence[Any]
Loader = DataLoader[Any] | dict[str, Any]
Loaders = Loader | Sequence[Loader] | Mapping[str, Loader]
_NO_CONTEXT = nullcontext()


@dataclass
class EvaluationPart:
    """One dataset of an evaluation: its data, its metrics and its description of itself.

    Attributes:
        name: Put before the names of its metrics, as in ``name/accuracy``; None for a single
            dataset, whose metrics keep their names.
        dataloader: Where its batches come from.
        evaluator: Its metrics.
        metainfo: Facts about the dataset such as its class names; None if it has none.
    """

    name: str | None = None
    dataloader: Any = None
    evaluator: Any = None
    metainfo: Any = None

    def share_metainfo(self) -> None:
        """Read the metainfo of the dataset and pass it to the evaluator, if there are both."""
        self.metainfo = _metainfo_of(self.dataloader)
        if self.metainfo is not None and self.evaluator is not None:
            self.evaluator.dataset_meta = self.metainfo


class _EvaluationLoop(BaseLoop):
    """One pass over each dataset::

        before_val   before_val_epoch
        for part:
            for batch:
                before_val_iter   model.val_step(batch)   evaluator.process   after_val_iter
            metrics[part] = evaluator.evaluate
        after_val_epoch(metrics)   after_val

    (``test`` in place of ``val`` for the test loop.) The hooks see one evaluation, however many
    parts it has. While a part runs, ``dataloader`` and ``evaluator`` are those of the part and the
    visualizer has its class names; before and after, they are those of the first part. Assigning
    ``dataloader`` or ``evaluator`` changes that part.
    """

    stage: ClassVar[str]
    """'val' or 'test': the part of the hook points' names."""
    _before_iter: ClassVar[str]
    _after_iter: ClassVar[str]

    # Subclasses of the API may call the constructor of BaseLoop alone, and set these by themselves.
    fp16: bool = False
    compute_loss: bool = False
    losses: dict[str, HistoryBuffer]
    parts: list[EvaluationPart]
    """The datasets in the order in which they are evaluated; one where there is one dataloader."""
    _part: EvaluationPart

    def _set_up(
        self,
        runner: Runner,
        dataloader: Loaders,
        evaluator: EvaluatorConfig,
        fp16: bool,
        compute_loss: bool,
    ) -> None:
        self.fp16 = fp16
        self.compute_loss = compute_loss
        loaders: Mapping[Any, Any] = {None: dataloader}
        evaluators: Mapping[Any, Any] = {None: evaluator}
        several = named_parts(dataloader, evaluator, self.stage)
        if several is not None:
            loaders, evaluators = several
            self._warn_of_own_run()
        parts = []
        for name, loader in loaders.items():
            metrics = evaluators[name]
            if not isinstance(metrics, Evaluator):
                metrics = runner.build_evaluator(metrics)
            parts.append(EvaluationPart(name, dataloader_of(runner, loader), metrics))
        BaseLoop.__init__(self, runner, parts[0].dataloader)
        for part in parts:
            part.share_metainfo()
        self.parts = parts
        self._select(parts[0])

    def run(self) -> dict[str, float]:
        """Go through the data once; returns the metrics, the same on every rank."""
        self._select(self.parts[0])
        self._runner.call_hook(f'before_{self.stage}')
        self._runner.call_hook(f'before_{self.stage}_epoch')
        self._runner.model.eval()
        with _untouched_rng():
            metrics = self._evaluate()
        self._runner.call_hook(f'after_{self.stage}_epoch', metrics=metrics)
        self._runner.call_hook(f'after_{self.stage}')
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

    def _set_dataloader(self, dataloader: Any) -> None:
        part = self._own_part()
        part.dataloader = dataloader
        part.share_metainfo()

    def _set_evaluator(self, evaluator: Any) -> None:
        part = self._own_part()
        part.evaluator = evaluator
        if part.metainfo is not None and getattr(evaluator, 'dataset_meta', part) is None:
            evaluator.dataset_meta = part.metainfo

    # Read for every batch: attrgetter costs no Python frame.
    dataloader = property(
        attrgetter('_part.dataloader'), _set_dataloader, doc='Of the part that runs.'
    )
    evaluator = property(
        attrgetter('_part.evaluator'), _set_evaluator, doc='Of the part that runs.'
    )

    def _own_part(self) -> EvaluationPart:
        """The part that runs, made here if the constructor of BaseLoop alone was called."""
        if not hasattr(self, '_part'):
            self._part = EvaluationPart()
            self.parts = [self._part]
            self.losses = {}
        return self._part

    def _select(self, part: EvaluationPart) -> None:
        self._part = part
        # With several datasets, one without class names must not show those of another.
        if part.metainfo is not None or len(self.parts) > 1:
            self._runner.visualizer.dataset_meta = part.metainfo

    def _evaluate(self) -> dict[str, float]:
        metrics: dict[str, float] = {}
        try:
            for part in self.parts:
                self._select(part)
                found = self._evaluate_part()
                prefix = '' if part.name is None else f'{part.name}/'
                metrics.update({f'{prefix}{name}': value for name, value in found.items()})
        finally:
            self._select(self.parts[0])
        return metrics

    def _evaluate_part(self) -> dict[str, float]:
        self.losses.clear()
        # Every evaluation draws the same augmentation, so that two of them can be compared.
        begin_pass(self.dataloader, 0, TEST if self.stage == 'test' else VAL)
        with torch.no_grad():
            for idx, data_batch in enumerate(self.dataloader):
                self.run_iter(idx, data_batch)
        metrics: dict[str, float] = self.evaluator.evaluate(_length(self.dataloader.dataset))
        metrics.update(_parse_losses(self.losses, self.stage))
        return metrics

    def _predict(self, data_batch: Any) -> Any:
        raise NotImplementedError

    def _add_losses(self, data_batch: Any) -> None:
        model: Any = unwrap_model(self._runner.model)
        if not hasattr(model, '_run_forward'):
            raise TypeError(
                'compute_loss=True takes the losses of a BaseModel, but the model is a '
                f'{type(model).__name__}.'
            )
        data = model.data_preprocessor(data_batch, False)
        losses = model._run_forward(data, mode='loss')
        _record(losses, self.losses, _num_samples(data_batch))

    def _warn_of_own_run(self) -> None:
        if type(self).run is not _EvaluationLoop.run:
            print_log(
                f'{type(self).__name__} overrides run() and is given several dataloaders. Its '
                'dataloader and evaluator are those of the first; go over self.parts to evaluate '
                'all of them.',
                logger='current',
                level=logging.WARNING,
            )


@LOOPS.register_module()
class ValLoop(_EvaluationLoop):
    """Validation during and after training; see the base for the order of calls.

    A subclass that overrides :meth:`run` goes over ``parts`` to evaluate several datasets.

    Args:
        runner: The run this loop belongs to.
        dataloader: A dataloader or its config; or several of them, in a list or by name.
        evaluator: An evaluator, or the config of one or several metrics; one for each dataloader
            where there are several, in a list or by the same names.
        fp16: Predict under autocast.
        compute_loss: Also run the model in its ``loss`` mode and report the mean of each loss,
            weighted by samples.

    Raises:
        ArgumentError: If several dataloaders and their evaluators do not match one to one.
    """

    stage = 'val'
    _before_iter = 'before_val_iter'
    _after_iter = 'after_val_iter'

    # Not in the base: super(ValLoop, self).__init__ is the constructor of BaseLoop in the API.
    def __init__(
        self,
        runner: Runner,
        dataloader: Loaders,
        evaluator: EvaluatorConfig,
        fp16: bool = False,
        compute_loss: bool = False,
    ) -> None:
        self._set_up(runner, dataloader, evaluator, fp16, compute_loss)

    def _predict(self, data_batch: Any) -> Any:
        model: Any = self._runner.model
        return model.val_step(data_batch)


@LOOPS.register_module()
class TestLoop(_EvaluationLoop):
    """The test of a trained model; see :class:`ValLoop` for the arguments."""

    __test__ = False  # pytest collects classes by this name otherwise
    stage = 'test'
    _before_iter = 'before_test_iter'
    _after_iter = 'after_test_iter'

    def __init__(
        self,
        runner: Runner,
        dataloader: Loaders,
        evaluator: EvaluatorConfig,
        fp16: bool = False,
        compute_loss: bool = False,
    ) -> None:
        self._set_up(runner, dataloader, evaluator, fp16, compute_loss)

    def _predict(self, data_batch: Any) -> Any:
        model: Any = self._runner.model
        return model.test_step(data_batch)


def _metainfo_of(dataloader: Any) -> Any:
    dataset: Any = getattr(dataloader, 'dataset', None)
    if not hasattr(dataset, 'metainfo'):
        print_log(
            f'{type(dataset).__name__} has no metainfo, so metrics and pictures have no class '
            'names.',
            logger='current',
            level=logging.DEBUG,
        )
        return None
    return dataset.metainfo


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
    """The mean of each loss over the samples of all ranks, and as ``<stage>_loss`` the sum of those
    named so; empty if no rank has a loss.

    All ranks call it, also those without a loss: ranks may have no batches, or other names.
    """
    own = {}
    for name, buffer in losses.items():
        values, counts = buffer.data
        own[name] = (float((values * counts).sum()), float(counts.sum()))
    totals: dict[str, tuple[float, float]] = {}
    for of_one_rank in all_gather_object(own):
        for name, (value, count) in of_one_rank.items():
            known_value, known_count = totals.get(name, (0.0, 0.0))
            totals[name] = (known_value + value, known_count + count)
    if not totals:
        return {}
    means = {name: value / count for name, (value, count) in totals.items()}
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
