"""ValLoop and TestLoop: pass predictions to the evaluators, and optionally compute losses."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from operator import attrgetter
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.utils.data import DataLoader

from mmengine.dataset._direct_batches import direct_batches
from mmengine.dataset._limited import is_limited
from mmengine.dataset._sample_order import TEST, VAL, begin_pass
from mmengine.dataset._shared_stream import SharedStream
from mmengine.dataset._worker_process import ended_by_a_request
from mmengine.device import autocast
from mmengine.dist import all_gather_object
from mmengine.evaluator import Evaluator
from mmengine.logging import HistoryBuffer, print_log
from mmengine.process._stop_requests import EvaluationCut, StopRequests
from mmengine.process.seed import untouched_rng
from mmengine.registry import LOOPS
from mmengine.runner._build import named_parts
from mmengine.runner._evaluation_losses import (
    _parse_losses,
    _update_losses,
    model_with_losses,
    record,
)
from mmengine.runner._evaluation_notes import (
    warn_of_missing_predictions,
    warn_of_no_samples,
    warn_of_no_values,
)
from mmengine.runner._even_batches import Repeated, joined_batches
from mmengine.runner._sample_count import num_samples_of
from mmengine.runner._shown_losses import with_losses
from mmengine.runner._split_data import reads_whole_dataset
from mmengine.runner._stopping import NO_REQUESTS
from mmengine.runner._unsuited import check_has_step
from mmengine.runner._within_training import unchanged_training
from mmengine.runner.base_loop import BaseLoop, dataloader_of, number_samples_of

if TYPE_CHECKING:
    from mmengine.runner.runner import Runner

EvaluatorConfig = Evaluator | Mapping[str, Any] | Sequence[Any]
Loader = DataLoader[Any] | dict[str, Any]
Loaders = Loader | Sequence[Loader] | Mapping[str, Loader]
_NO_CONTEXT = nullcontext()


@dataclass
class EvaluationPart:
    """One dataset of an evaluation: its dataloader, its evaluator and its metainfo.

    Attributes:
        name: Prefix of the metric names, as in ``name/accuracy``; None for a single dataset, whose
            metrics have no prefix.
        dataloader: The dataloader of the dataset.
        evaluator: The evaluator, which computes the metrics.
        metainfo: Information about the dataset, such as class names; None if the dataset has no
            metainfo.
    """

    name: str | None = None
    dataloader: Any = None
    evaluator: Any = None
    metainfo: Any = None

    def share_metainfo(self) -> None:
        """Read the metainfo of the dataset and pass it to the evaluator, if both exist."""
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

    (The test loop uses ``test`` instead of ``val``.) The hooks are called for one evaluation, for
    any number of parts. ``dataloader`` and ``evaluator`` belong to the part that is running; before
    and after the run they belong to the first part. Assigning them changes that part. While a part
    runs, the visualizer has its class names.
    """

    stage: ClassVar[str]
    """'val' or 'test', as in the names of the hook points."""
    _before_iter: ClassVar[str]
    _after_iter: ClassVar[str]

    # Subclasses may call only the constructor of BaseLoop, and set these attributes themselves.
    fp16: bool = False
    compute_loss: bool = False
    losses: dict[str, HistoryBuffer]
    parts: list[EvaluationPart]
    """The datasets in the order of evaluation; one part if there is one dataloader."""
    _part: EvaluationPart
    _stops: StopRequests = NO_REQUESTS

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
        self._check_model(runner)
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
            warn_of_no_samples(self, self.stage, part.dataloader)
        self.parts = parts
        self._select(parts[0])

    def _check_model(self, runner: Runner) -> None:
        """Refuse now a model that the first batch would refuse: it comes after hours of training.

        A hook may exchange the model for a test.
        """
        if self.compute_loss:
            model_with_losses(runner)
        is_stock = type(self).run_iter is _EvaluationLoop.run_iter
        if self.stage == 'val' and is_stock and type(self)._predict is ValLoop._predict:
            check_has_step(runner.model, 'val')

    @property
    def is_cuttable(self) -> bool:
        """Whether the loop looks for requests to stop after each batch."""
        return type(self).run is _EvaluationLoop.run

    def run(self) -> dict[str, float]:
        """Evaluate all parts once; returns the metrics, which are the same on every rank."""
        with unchanged_training(self):
            self._select(self.parts[0])
            self._runner.call_hook(f'before_{self.stage}')
            self._runner.call_hook(f'before_{self.stage}_epoch')
            self._runner.model.eval()
            # A validation never changes the training.
            restores = self._runner.strategy.randomness.get('restore_after_val', True)
            with untouched_rng() if restores else nullcontext():
                metrics = self._evaluate()
            self._runner.call_hook(f'after_{self.stage}_epoch', metrics=metrics)
            self._runner.call_hook(f'after_{self.stage}')
        return metrics

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Process one batch: hooks before, prediction, evaluator, hooks after."""
        runner = self._runner
        # `run` disables gradients for all batches; a separate call of `run_iter` does so here.
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

    # These are read for every batch: `attrgetter` needs no Python frame.
    dataloader = property(
        attrgetter('_part.dataloader'), _set_dataloader, doc='Dataloader of the running part.'
    )
    evaluator = property(
        attrgetter('_part.evaluator'), _set_evaluator, doc='Evaluator of the running part.'
    )

    def _own_part(self) -> EvaluationPart:
        """The running part; created here if only the constructor of BaseLoop was called."""
        if not hasattr(self, '_part'):
            self._part = EvaluationPart()
            self.parts = [self._part]
            self.losses = {}
        return self._part

    def _select(self, part: EvaluationPart) -> None:
        self._part = part
        # A dataset without class names must not show the class names of another dataset.
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
        stops = self._stops
        # Every evaluation draws the same augmentation, so that two of them can be compared.
        number_samples_of(self._runner, self.dataloader)
        begin_pass(self.dataloader, 0, TEST if self.stage == 'test' else VAL)
        try:
            with torch.no_grad():
                batches = direct_batches(iter(self.dataloader))
                if self._runner.strategy.needs_all_ranks:
                    batches = joined_batches(self.dataloader, batches)
                for idx, data_batch in enumerate(batches, start=1):
                    if type(data_batch) is Repeated:
                        self._take_part(data_batch.batch)
                    else:
                        self.run_iter(idx - 1, data_batch)
                    stops.batch = idx
                    if monotonic() >= stops.look_at and stops.reached(idx):
                        raise EvaluationCut
            stops.end_evaluation_batches()
        except BaseException as error:
            if isinstance(self.evaluator, Evaluator):
                self.evaluator.drop_results()
            if ended_by_a_request(error, stops) and stops.reached(stops.batch):
                raise EvaluationCut from error
            raise
        size = _size_of(self.dataloader, self.evaluator)
        num_processed = getattr(self.evaluator, 'num_processed', 0)
        metrics: dict[str, float] = self.evaluator.evaluate(size)
        warn_of_missing_predictions(self, self.stage, num_processed)
        warn_of_no_values(self, self.stage, metrics)
        return with_losses(metrics, _parse_losses(self.losses, self.stage), self.stage)

    def _take_part(self, data_batch: Any) -> None:
        """Run the forward passes that other ranks run for a batch; nothing is counted."""
        with autocast(enabled=True) if self.fp16 else _NO_CONTEXT:
            if self.compute_loss:
                self._losses_of(data_batch)
            self._predict(data_batch)

    def _predict(self, data_batch: Any) -> Any:
        raise NotImplementedError

    def _add_losses(self, data_batch: Any) -> None:
        record(self._losses_of(data_batch), self.losses, num_samples_of(data_batch))

    def _losses_of(self, data_batch: Any) -> Any:
        model = model_with_losses(self._runner)
        data = model.data_preprocessor(data_batch, False)
        return model._run_forward(data, mode='loss')

    def _warn_of_own_run(self) -> None:
        if type(self).run is not _EvaluationLoop.run:
            print_log(
                f'{type(self).__name__} overrides run() and has several dataloaders. Its '
                'dataloader and evaluator belong to the first part; iterate over self.parts to '
                'evaluate all parts.',
                logger='current',
                level=logging.WARNING,
            )


@LOOPS.register_module()
class ValLoop(_EvaluationLoop):
    """Validation during and after training; see the base for the order of calls.

    A subclass that overrides :meth:`run` iterates over ``parts`` to evaluate several datasets.

    Args:
        runner: The run to which the loop belongs.
        dataloader: A dataloader or its config; or several dataloaders in a list or by name.
        evaluator: An evaluator, or the config of one or several metrics; with several dataloaders,
            one for each dataloader in a list or by the same names.
        fp16: Predict under autocast.
        compute_loss: Also run the model in ``loss`` mode and report the mean of each loss, weighted
            by the number of samples.

    Raises:
        ArgumentError: If the evaluators do not match the dataloaders one to one.
    """

    stage = 'val'
    _before_iter = 'before_val_iter'
    _after_iter = 'after_val_iter'

    # Not in the base class: in the API super(ValLoop, self).__init__ is BaseLoop.__init__.
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
            f'{type(dataset).__name__} has no metainfo, so metrics and images have no class names.',
            logger='current',
            level=logging.DEBUG,
        )
        return None
    return dataset.metainfo


def _size_of(dataloader: Any, evaluator: Any) -> int:
    """Samples of the dataset, or a bound that lets every sample count where none is repeated.

    None is in a stream, nor where each rank has read its own dataset to the end. Of a pass that
    ends before the dataset does, not more than came.
    """
    dataset = dataloader.dataset
    counts = hasattr(evaluator, 'num_processed')
    size: int | None
    try:
        if isinstance(dataset, SharedStream):
            raise TypeError  # ranks that have one sample less repeat none
        size = len(dataset)
    except TypeError:
        if not counts:
            raise TypeError(
                f'{type(dataset).__name__} has no length, and {type(evaluator).__name__} does not '
                'count its samples (num_processed). Metrics need to tell the samples from those '
                'that were repeated to give every rank equally many.'
            ) from None
        size = None
    has_parts = reads_whole_dataset(dataloader)
    if size is not None and not (counts and (has_parts or is_limited(dataloader))):
        return size
    own = evaluator.num_processed
    of_ranks = all_gather_object((own, size is None or (has_parts and own >= size)))
    came: int = max(count for count, _ in of_ranks) * len(of_ranks)
    is_whole = all(whole for _, whole in of_ranks)
    return came if size is None or is_whole else min(size, came)
