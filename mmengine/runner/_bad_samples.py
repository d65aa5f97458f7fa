"""Tells of the samples that could not be loaded: in the log, and in a file after each epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.dataset._bad_samples import BadSample, BadSamplePolicy
from mmengine.dataset._sample_order import bad_samples_of
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.dist._data_parallel import of_data_ranks
from mmengine.hooks import Hook
from mmengine.runner._batch_position import batch_number
from mmengine.runner._data_position import _samples_before
from mmengine.utils._quantities import counted

if TYPE_CHECKING:
    from mmengine.runner.runner import Runner

FILE = 'bad_samples.jsonl'
_MAX_LINES = 20
_STAGES = ('training', 'validation', 'test')


def skips_bad_samples(dataloader: Any) -> bool:
    """Whether ``dataloader``, a config or several of them, has ``on_bad_sample='skip'``."""
    if isinstance(dataloader, Mapping) and 'dataset' in dataloader:
        return BadSamplePolicy.of(dataloader.get('on_bad_sample', 'raise')).policy == 'skip'
    if isinstance(dataloader, Mapping):
        return any(map(skips_bad_samples, dataloader.values()))
    if isinstance(dataloader, (list, tuple)):
        return any(map(skips_bad_samples, dataloader))
    return bad_samples_of(dataloader) is not None


def report_bad_samples(runner: Runner, *dataloaders: Any) -> None:
    """Let ``runner`` tell of bad samples, if one of ``dataloaders`` skips them."""
    if any(map(skips_bad_samples, dataloaders)):
        runner.register_hook(BadSamplesReport())


class BadSamplesReport(Hook):
    """Warns of each bad sample, and lists them in ``<timestamp>/bad_samples.jsonl``.

    Workers load ahead. A sample counts when its batch was trained on, so that a run which is
    stopped and resumed lists each one once.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._waiting: list[BadSample] = []
        self._told: list[BadSample] = []
        self._count = 0

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Warn of the bad samples of this batch."""
        if self._take(runner):
            self._tell_consumed(runner, ahead=1)

    def after_train_epoch(self, runner: Any) -> None:
        """List the bad samples of the epoch."""
        self._take(runner)
        self._tell_consumed(runner, ahead=0)
        self._list(runner, 'training')

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """List the bad samples of the validation."""
        self._list_evaluation(runner, runner.val_loop, 'validation')

    def after_test_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """List the bad samples of the test."""
        self._list_evaluation(runner, runner.test_loop, 'test')

    def after_run(self, runner: Any) -> None:
        """List the bad samples of an epoch that did not end."""
        if runner.state.stage != 'train':
            return
        if runner.state.error is None:
            self._take(runner)
            self._tell_consumed(runner, ahead=0)
            self._list(runner, 'training')
            return
        # Other ranks may be gone: each one lists its own.
        self._waiting += self._new(runner)
        self._told += self._waiting
        self._waiting = []
        if self._told:
            name = FILE if get_world_size() == 1 else f'bad_samples_rank{get_rank()}.jsonl'
            self._write(runner, name, [{'rank': get_rank(), **asdict(one)} for one in self._told])
            self._told = []

    def _new(self, runner: Runner) -> list[BadSample]:
        bad = bad_samples_of(getattr(runner._train_loop, 'dataloader', None))
        return [] if bad is None else bad.take()

    def _take(self, runner: Runner) -> bool:
        self._waiting += self._new(runner)
        return bool(self._waiting)

    def _tell_consumed(self, runner: Runner, ahead: int) -> None:
        loop: Any = runner.train_loop
        before: int | None = None
        number = 0
        if hasattr(loop, '_start_after'):  # else a custom loop, whose place in the data is unknown
            data = loop._start_after(ahead)
            number, batches = data.number, batch_number(loop.dataloader, data.start)
            before = _samples_before(loop.dataloader, data, batches)
        known, later = self._waiting, []
        if before is not None:
            known = [one for one in self._waiting if (one.number, one.position) < (number, before)]
            later = [one for one in self._waiting if (one.number, one.position) >= (number, before)]
        self._waiting = later
        for one in known:
            self._told.append(one)
            if len(self._told) <= _MAX_LINES:
                runner.logger.warning(_line(one, 'training'))

    def _list_evaluation(self, runner: Runner, loop: Any, stage: str) -> None:
        if not hasattr(loop, 'parts'):
            loaders = [loop.dataloader]
        else:
            loaders = [part.dataloader for part in loop.parts]
        kept, self._told = self._told, []
        for loader in loaders:
            bad = bad_samples_of(loader)
            self._told += [] if bad is None else bad.take()
        for one in self._told[:_MAX_LINES]:
            runner.logger.warning(_line(one, stage))
        self._list(runner, stage)
        self._told = kept

    def _list(self, runner: Runner, stage: str) -> None:
        """Write the bad samples of all ranks; all ranks call it."""
        own, self._told = [asdict(one) for one in self._told], []
        rows = [
            {'rank': rank, **row}
            for rank, of_rank in of_data_ranks(list(enumerate(all_gather_object(own))))
            for row in of_rank
        ]
        if not rows:
            return
        self._count += len(rows)
        if get_rank() == 0:
            file = self._write(runner, FILE, rows)
            note = '' if stage == 'training' else ' The metrics count the samples in their place.'
            runner.logger.warning(
                f'{counted(len(rows), "sample")} of this {stage} could not be loaded, and others '
                f'took their place ({self._count} since the run was started). They are listed in '
                f'{file}.{note}'
            )

    def _write(self, runner: Runner, name: str, rows: list[dict[str, Any]]) -> Path:
        file = Path(runner.log_dir, name)
        rows.sort(key=lambda row: (row['number'], row['position']))
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open('a', encoding='utf-8') as lines:
            for row in rows:
                named = {'stage': _STAGES[row.pop('stream')], 'pass': row.pop('number')}
                lines.write(json.dumps({**named, **row}) + '\n')
        return file


def _line(one: BadSample, stage: str) -> str:
    instead = (
        'No other sample could take its place.'
        if one.replaced_by is None
        else f'The sample with index {one.replaced_by} takes its place.'
    )
    return f'A sample of the {stage} could not be loaded: {one}. {instead}'
