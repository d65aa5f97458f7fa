"""CheckpointHook: saves checkpoints at an interval, at the end, and for the best metrics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine._checkpoint.files import one_of
from mmengine._checkpoint.validation_record import end_record
from mmengine.dist import is_main_process
from mmengine.fileio._atomic import remove_temporaries
from mmengine.hooks import _units
from mmengine.hooks._best import IS_BETTER, WORST
from mmengine.hooks._best_checkpoints import (
    BestCheckpoints,
    as_list,
    best_prefix,
    check_counts,
    check_policy,
    checked_name,
    is_missing,
    parse_save_best,
    refuse_unknown,
    rules_of,
    texts,
)
from mmengine.hooks._checkpoint_folder import settle_folder
from mmengine.hooks._checkpoint_memory import Memory, publish_best, recall, remember
from mmengine.hooks._checkpoint_names import NamesOfSubclasses
from mmengine.hooks._end import meta_of_end, record_end, stopped_within_epoch
from mmengine.hooks._leftovers import BEST, INTERIM, INTERVAL
from mmengine.hooks._publish import publish_all
from mmengine.hooks._save_queue import SaveQueue
from mmengine.hooks._settling import remove_leftovers, settle, settle_unless_async
from mmengine.hooks._states import plain_numbers, validation_record
from mmengine.hooks.hook import DataBatch, Hook
from mmengine.hooks.run import evaluates_alone
from mmengine.logging._numbers import float_of
from mmengine.registry import HOOKS
from mmengine.utils._given import follow, is_given, notes_given

if TYPE_CHECKING:
    from mmengine.hooks.run import Run

Outputs = dict[str, Any] | None


@HOOKS.register_module()
class CheckpointHook(NamesOfSubclasses, Hook):
    """Decides when a checkpoint is saved and which ones are kept.

    Args:
        interval: Epochs or iterations between two saves; -1 saves at no interval.
        by_epoch: Whether ``interval`` counts epochs. If not given, what the train loop counts.
        save_optimizer: Include the optimizers' state.
        save_param_scheduler: Include the schedulers' state.
        out_dir: Folder or URL to save to instead of the work dir. The hook creates a folder in it
            with the name of the work dir.
        max_keep_ckpts: Number of interval checkpoints to keep; -1 keeps all.
        save_last: Also save after the last epoch or iteration.
        save_best: Keep the checkpoint with the best value of this metric. One metric, several
            metrics, or 'auto' for the first metric that is reported.
        rule: 'greater' or 'less', or one of them for each metric; None infers it from the name of
            the metric.
        greater_keys: Additional names of metrics whose greater values are better.
        less_keys: Additional names of metrics whose smaller values are better.
        file_client_args: The old name of ``backend_args``.
        filename_tmpl: Name of a checkpoint with ``{}`` for the number; 'epoch_{}.pth' or
            'iter_{}.pth' by default.
        backend_args: Arguments of the file backend for ``out_dir``.
        published_keys: After training, write copies of the last and best checkpoints that contain
            only these top-level keys; a part of the SHA-256 is in their names.
        save_begin: First epoch or iteration after which to save; the interval counts from there.
        unit: 'step' or 'sample': ``interval`` and ``save_begin`` count optimizer steps or samples
            instead, and file names have that count, as in 'step_1000.pth'.
        keep_best: Number of best checkpoints to keep for each metric.
        on_save_error: 'raise' ends the run if a checkpoint cannot be written (a full disk, for
            example); 'warn' goes on with the earlier checkpoints, which are whole.
        async_save: Copy the checkpoint to host memory and let a thread write it. One checkpoint is
            in flight: the next save waits for it, as does the end of the run. Its errors are raised
            after the next iteration, at the next save or at the end of the training. Its default is
            ``async_save`` of the config key ``checkpoint``.

    Raises:
        ArgumentError: If a value is wrong: an interval of 0, a metric that is given twice, 'auto'
            together with other metrics.
        TypeError: If an argument is unknown, or ``save_best`` or ``published_keys`` is not a string
            or a list of strings.
    """

    priority = 'VERY_LOW'
    rule_map = IS_BETTER
    init_value_map = WORST
    _settled_dir: str | None = None

    @notes_given
    def __init__(
        self,
        interval: int = -1,
        by_epoch: bool = True,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        out_dir: str | Path | None = None,
        max_keep_ckpts: int = -1,
        save_last: bool = True,
        save_best: str | list[str] | None = None,
        rule: str | list[str] | None = None,
        greater_keys: Sequence[str] | None = None,
        less_keys: Sequence[str] | None = None,
        file_client_args: dict[str, Any] | None = None,
        filename_tmpl: str | None = None,
        backend_args: dict[str, Any] | None = None,
        published_keys: str | list[str] | None = None,
        save_begin: int = 0,
        *,
        unit: str | None = None,
        keep_best: int = 1,
        on_save_error: str = 'raise',
        async_save: bool = False,
        **kwargs: Any,
    ) -> None:
        refuse_unknown(kwargs, CheckpointHook.__init__.__annotations__)
        check_counts(interval, save_begin, max_keep_ckpts, keep_best)
        check_policy(on_save_error)
        _units.check_unit(self, unit, is_by_epoch=by_epoch and is_given(self, 'by_epoch'))
        self.interval = interval
        self.unit = unit
        self.by_epoch = by_epoch and unit is None
        self.save_optimizer = save_optimizer
        self.save_param_scheduler = save_param_scheduler
        self.out_dir = out_dir
        self.max_keep_ckpts = max_keep_ckpts
        self.save_last = save_last
        self.save_begin = save_begin
        self.keep_best = keep_best
        self.on_save_error = on_save_error
        self.async_save = async_save
        self._queue = SaveQueue(in_background=async_save)
        self._before: Memory | None = None
        self.backend_args = one_of(backend_args, file_client_args)
        self.file_client_args = file_client_args
        self.filename_tmpl = checked_name(filename_tmpl or f'{self._counted}_{{}}.pth')
        self.published_keys = None if published_keys is None else texts(published_keys)
        self.greater_keys = as_list(greater_keys)
        self.less_keys = as_list(less_keys)
        self.last_ckpt: str | None = None
        self._kept: list[int] = []
        self._saved_at: tuple[int, int] | None = None
        self._resumed_at: tuple[int, int] | None = None
        # Checkpoints of the state at `_moment`, after which a validation may run.
        self._moment: tuple[int, int] | None = None
        self._unvalidated: dict[str, str | None] = {}
        self._metrics: dict[str, float] = {}
        # What is written next to the last checkpoint, or may be.
        self._record: dict[str, Any] | None = None
        self._is_training = False
        self._init_best(save_best, rule)

    # -- points -----------------------------------------------------------------------------------

    def follow_loop(self, by_epoch: bool) -> None:
        """Count what the train loop counts, unless ``by_epoch`` was given."""
        is_default = self.filename_tmpl == f'{self._counted}_{{}}.pth'
        if self.unit is None and follow(self, 'by_epoch', by_epoch) and is_default:
            self.filename_tmpl = f'{self._counted}_{{}}.pth'

    def follow_checkpoint(self, async_save: bool) -> None:
        """Save as the config key ``checkpoint`` of the run says, unless that was given."""
        if not is_given(self, 'async_save') and async_save and not self.async_save:
            self.async_save = async_save
            self._queue = SaveQueue(in_background=async_save)

    def _acts_at(self, stage: str) -> bool:
        """Skip the iterations if the hook counts epochs, unless a subclass overrides them."""
        is_stock = type(self).after_train_iter is CheckpointHook.after_train_iter
        if stage == 'after_train_iter' and self.by_epoch and is_stock and not self.async_save:
            return False
        return super()._acts_at(stage)

    def before_train(self, runner: Run) -> None:
        """Set the output folder, and restore the list of checkpoints of a resumed run."""
        self._io = runner.strategy.io
        settle_folder(self, runner)
        self._is_training = True
        if self.unit is not None:
            self._turns = _units.Interval(self.interval, self.save_begin)
            self._turns.begin(runner.state.finished(self.unit))
        recall(self, runner)
        if is_main_process():
            remove_temporaries(str(self.out_dir))
        remove_leftovers(self, runner)

    def after_train_epoch(self, runner: Run) -> None:
        """Save a checkpoint if one is due after this epoch."""
        if not self.by_epoch:
            return
        done, due = runner.epoch + 1, self.every_n_epochs(runner, self.interval, self.save_begin)
        if due or (self.save_last and self.is_last_train_epoch(runner)):
            self._save(runner, done, {'epoch': done, 'iter': runner.iter})

    def after_train_iter(
        self,
        runner: Run,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: Outputs = None,
    ) -> None:
        """Save a checkpoint if one is due after this iteration."""
        if self._queue.has_failed and self.on_save_error == 'raise':
            settle(self, runner, alone=True)
        if self.by_epoch:
            return
        if self.unit is None:
            done = runner.iter + 1
            due = self.every_n_train_iters(runner, self.interval, self.save_begin)
        else:
            done = runner.state.finished(self.unit)
            due = self._turns.reaches(done)
        if due or (self.save_last and self.is_last_train_iter(runner)):
            self._save(runner, done, {'epoch': runner.epoch, 'iter': runner.iter + 1})

    def after_val_epoch(  # type: ignore[override]  # known without a default
        self, runner: Run, metrics: dict[str, float]
    ) -> None:
        """Save a checkpoint if a watched metric has a new best value."""
        if not self._trains(runner) or runner.iter == 0:
            return  # A validation without training has nothing to save.
        self._metrics = plain_numbers(metrics or {})
        if self.save_best is None:
            return
        if not metrics:
            runner.logger.warning(
                'The validation returned no metrics: cannot save a best checkpoint.'
            )
            return
        self._settle_keys(runner, metrics)
        for key in self.key_indicators:
            self._save_if_best(runner, key, metrics)

    def after_val(self, runner: Run) -> None:
        """Write the changes of the validation next to the checkpoints of this iteration."""
        if not self._trains(runner):
            return
        if self.last_ckpt not in (present := self._of_this_moment(runner)):
            self._saved_at = None  # The resumed checkpoint still says that this validation is due.
        if not present:
            return
        record = validation_record(runner, self._metrics)
        for path, save_id in self._unvalidated.items():
            if save_id is None:
                continue  # Something of the user wrote it: a record would belong to no file.
            record['save_id'] = save_id
            self._queue.write_record(record, path, self.backend_args)
        self._record = record
        self._unvalidated.clear()
        settle_unless_async(self, runner)

    def on_exception(self, runner: Run, error: BaseException) -> None:
        """No training runs any more; what is being written becomes whole."""
        self._is_training = False
        failure = self._queue.own_outcome()
        if failure is not None:
            runner.logger.error(f'The last checkpoint was not written. {failure}')

    def after_train(self, runner: Run) -> None:
        """Save the last checkpoint if training ended early, and write the published copies."""
        if self.save_last and self._is_training and runner.iter:
            self._save_end(runner)
        settle(self, runner)
        if self._is_training:
            remove_leftovers(self, runner)
        self._is_training = False
        if self.published_keys is not None and not runner.state.stops.interrupts:
            paths = [self.last_ckpt, *self.best_ckpt_path_dict.values()]
            publish_all(paths, self.published_keys, self._backend, runner.logger)

    # -- saving -----------------------------------------------------------------------------------

    def _save_end(self, runner: Run) -> None:
        """Let a checkpoint hold the state at the end, and that it is the end."""
        settle(self, runner)
        if self._saved_at == runner.state.moment(runner.iter):
            with self._queue.used_by(runner.strategy):
                if record_end(runner, self._record, self.last_ckpt, self.backend_args):
                    return
        is_within = self.by_epoch and stopped_within_epoch(runner)
        done = runner.iter if is_within else _units.done_in(runner, self._counted)
        self._save(runner, done, meta_of_end(runner), f'iter_{done}.pth' if is_within else None)

    def _save(
        self, runner: Run, done: int, meta: dict[str, Any], interim: str | None = None
    ) -> None:
        """Save a checkpoint after ``done`` counted units, or as the file ``interim``."""
        settle(self, runner)
        self._before = remember(self, runner)
        place = 'iterations, within an epoch' if interim else _units.NAMES[self._counted]
        runner.logger.info(f'Saving checkpoint at {done} {place}')
        filename = interim or self.filename_tmpl.format(done)
        self.last_ckpt = self._path(filename)
        hub = runner.message_hub
        dropped: list[int] = []
        older_interim = hub.pop_info('interim_ckpt')
        if interim is not None:
            hub.update_info('interim_ckpt', interim)
        elif self.max_keep_ckpts > 0:
            self._kept = [number for number in self._kept if number != done] + [done]
            dropped = self._kept[: -self.max_keep_ckpts]
            self._kept = self._kept[-self.max_keep_ckpts :]
            hub.update_info('keep_ckpt_ids', list(self._kept))
        hub.update_info('last_ckpt', self.last_ckpt)
        self._unvalidated.clear()
        if self.max_keep_ckpts > 0:
            meta = {**meta, 'rotation': INTERVAL if interim is None else INTERIM}
        self._write(runner, filename, meta)
        self._saved_at = runner.state.moment(meta['iter'])
        # Remove only after writing: a crash must not leave the run without any checkpoint.
        self._queue.mark_newest(runner.work_dir, self.last_ckpt)
        # Without a number in their names, checkpoints replace each other.
        for path in {self._path(self.filename_tmpl.format(number)) for number in dropped}:
            if path != self.last_ckpt:
                self._remove(path)
        if older_interim not in (None, filename) and self.max_keep_ckpts > 0:
            self._remove(self._path(older_interim))
        settle_unless_async(self, runner)

    def _write(self, runner: Run, filename: str, meta: dict[str, Any]) -> None:
        runner.state.save_id = None
        with self._queue.used_by(runner.strategy):
            runner.save_checkpoint(
                str(self.out_dir),
                filename,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=dict(meta),
                by_epoch=self.by_epoch,
                backend_args=self.backend_args,
            )
        self._unvalidated[self._path(filename)] = runner.state.save_id
        self._record = None if runner.state.save_id is None else end_record(runner.state.save_id)
        self._moment = runner.state.moment(meta['iter'])

    def _trains(self, runner: Run) -> bool:
        """Whether the present validation belongs to a training."""
        return self._is_training and not evaluates_alone(runner)

    def _of_this_moment(self, runner: Run) -> dict[str, str | None]:
        """Paths of the checkpoints with the present state of training, and their ``save_id``."""
        if self._moment != runner.state.moment(runner.iter):
            self._unvalidated.clear()
        return self._unvalidated

    def _path(self, filename: str) -> str:
        return str(self._backend.join_path(str(self.out_dir), filename))

    def _has(self, filename: str) -> bool:
        return bool(self._io.exists(self._path(filename), self.backend_args))

    def _remove(self, path: str) -> None:
        self._queue.remove(path, self.backend_args)

    _counted = property(lambda self: self.unit or ('epoch' if self.by_epoch else 'iter'))

    # -- the best ---------------------------------------------------------------------------------

    def _init_best(self, save_best: str | list[str] | None, rule: str | list[str] | None) -> None:
        self.save_best = save_best
        self.best_ckpt_path_dict: dict[str, str | None] = {}
        self._best: dict[str, BestCheckpoints] = {}
        self._resumed: dict[str, Any] = {}
        self.key_indicators: list[str] = []
        keys, self._given_rules = parse_save_best(save_best, rule)
        if keys and keys != ['auto']:
            self._watch(keys)

    def _watch(self, keys: list[str]) -> None:
        self.key_indicators = keys
        self.best_ckpt_path_dict = dict.fromkeys(keys)
        rules = self._given_rules or rules_of(keys, self.greater_keys, self.less_keys)
        self._best = {
            key: BestCheckpoints(key, rule, self.keep_best)
            for key, rule in zip(keys, rules, strict=True)
        }

    def _settle_keys(self, runner: Run, metrics: dict[str, float]) -> None:
        """Replace 'auto' by the first metric that is reported."""
        if not self.key_indicators:
            self._watch([next(iter(metrics))])
            recall(self, runner)

    def _save_if_best(self, runner: Run, key: str, metrics: dict[str, float]) -> None:
        if is_missing(runner, key, metrics, self._best[key]):
            return
        score, best = float_of(metrics[key]), self._best[key]
        if not best.accepts(score):
            return
        unit = _units.unit_of_validations(runner) or self._counted
        done = _units.done_in(runner, unit)
        tmpl = self.filename_tmpl if unit == self._counted else f'{unit}_{{}}.pth'
        filename = best_prefix(key) + tmpl.format(done)
        if self._moment != runner.state.moment(runner.iter):
            # Otherwise it belongs to the save at this moment.
            settle(self, runner)
        if self._before is None:
            self._before = remember(self, runner)
        dropped = best.add(score, filename)
        publish_best(self, runner, key)
        self._write_best(runner, filename)
        for name in dropped:
            self._remove(self._path(name))
        if settle_unless_async(self, runner):
            runner.logger.info(best.told(score, f'{done} {unit}', filename))

    def _write_best(self, runner: Run, filename: str) -> None:
        """Link the checkpoint of this iteration to ``filename``, or write it if there is none."""
        path = self._path(filename)
        present = self._of_this_moment(runner)
        if self.last_ckpt is not None and self.last_ckpt in present:
            self._queue.link(self.last_ckpt, path, self.backend_args)
            present[path] = present[self.last_ckpt]
            return
        # The remaining changes of this validation are written at its end, in a record.
        meta = {'epoch': runner.epoch, 'iter': runner.iter, 'validation_due': True}
        self._write(runner, filename, {**meta, 'rotation': BEST})

    def state_dict(self) -> dict[str, Any]:
        """Names and scores of the best checkpoints, without the folder, which may be moved."""
        return {'best': {key: best.state_dict() for key, best in self._best.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember the best checkpoints of the saved run; training takes those that exist."""
        self._resumed = dict(state_dict.get('best', {}))

    @property
    def rules(self) -> list[str]:
        """'greater' or 'less' for each watched metric."""
        return [self._best[key].rule for key in self.key_indicators]

    @property
    def best_ckpt_path(self) -> str | None:
        """Path of the best checkpoint, if one metric is watched."""
        paths = self.best_ckpt_path_dict
        return next(iter(paths.values())) if len(paths) == 1 else None
