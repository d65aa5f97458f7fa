"""CheckpointHook: saves checkpoints at an interval, at the end, and for the best metrics."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine._checkpoint.validation_record import hyperparameters_of, make_record
from mmengine.dist import barrier, is_main_process
from mmengine.fileio import get_file_backend
from mmengine.hooks._best import IS_BETTER, WORST, check_rule, infer_rule
from mmengine.hooks._publish import publish
from mmengine.hooks._states import hooks_state
from mmengine.hooks.hook import DataBatch, Hook
from mmengine.hooks.run import evaluates_alone
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.utils.errors import ArgumentError, ArgumentTypeError, did_you_mean

if TYPE_CHECKING:
    from mmengine.hooks.run import Run

Outputs = dict[str, Any] | None


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Decides when a checkpoint is saved and which ones are kept.

    Args:
        interval: Epochs or iterations between two saves; -1 saves at no interval.
        by_epoch: Whether ``interval`` counts epochs.
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

    Raises:
        ArgumentError: If a value is wrong: an interval of 0, a metric that is given twice, 'auto'
            together with other metrics.
        TypeError: If an argument is unknown, or ``save_best`` or ``published_keys`` is not a string
            or a list of strings.
    """

    priority = 'VERY_LOW'
    rule_map = IS_BETTER
    init_value_map = WORST

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
        **kwargs: Any,
    ) -> None:
        for name in kwargs:
            known = CheckpointHook.__init__.__annotations__
            raise TypeError(f'CheckpointHook has no argument {name!r}.{did_you_mean(name, known)}')
        if (
            isinstance(interval, bool)
            or not isinstance(interval, int)
            or interval == 0
            or interval < -1
        ):
            raise ArgumentError(
                f'interval must be a positive integer, or -1 for no interval; got {interval!r}.'
            )
        if save_begin < 0:
            raise ArgumentError(f'save_begin must be 0 or more, got {save_begin}.')
        if max_keep_ckpts == 0 or max_keep_ckpts < -1:
            raise ArgumentError(
                f'max_keep_ckpts must be positive, or -1 for all; got {max_keep_ckpts}.'
            )
        if file_client_args is not None and backend_args is not None:
            raise ValueError('Pass backend_args only: file_client_args is its old name.')
        self.interval = interval
        self.by_epoch = by_epoch
        self.save_optimizer = save_optimizer
        self.save_param_scheduler = save_param_scheduler
        self.out_dir = out_dir
        self.max_keep_ckpts = max_keep_ckpts
        self.save_last = save_last
        self.save_begin = save_begin
        self.backend_args = backend_args or file_client_args
        self.filename_tmpl = filename_tmpl or ('epoch_{}.pth' if by_epoch else 'iter_{}.pth')
        self.published_keys = None if published_keys is None else _texts(published_keys)
        self.greater_keys = _as_list(greater_keys)
        self.less_keys = _as_list(less_keys)
        self.last_ckpt: str | None = None
        self._kept: list[int] = []
        self._saved_at: tuple[int, int] | None = None
        # Checkpoints saved at the iteration `_moment`, after which a validation may run.
        self._moment = -1
        self._unvalidated: dict[str, str | None] = {}
        self._metrics: dict[str, float] = {}
        self._is_training = False
        self._init_best(save_best, rule)

    # -- points -----------------------------------------------------------------------------------

    def get_triggered_stages(self) -> list[str]:
        """Skip the iterations if the hook counts epochs, unless a subclass overrides them."""
        stages = super().get_triggered_stages()
        if self.by_epoch and type(self).after_train_iter is CheckpointHook.after_train_iter:
            stages.remove('after_train_iter')
        return stages

    def before_train(self, runner: Run) -> None:
        """Set the output folder, and restore the list of checkpoints of a resumed run."""
        self._backend = get_file_backend(
            self.out_dir or runner.work_dir, backend_args=self.backend_args
        )
        if self.out_dir is None:
            self.out_dir = runner.work_dir
        elif str(self.out_dir) != runner.work_dir and not hasattr(self, '_settled_dir'):
            name = os.path.basename(runner.work_dir.rstrip(os.sep))
            self.out_dir = self._backend.join_path(self.out_dir, name)
        self._settled_dir = str(self.out_dir)
        runner.logger.info(f'Checkpoints will be saved to {self.out_dir}.')
        self._is_training = True
        self._recall(runner)

    def after_train_epoch(self, runner: Run) -> None:
        """Save a checkpoint if one is due after this epoch."""
        if not self.by_epoch:
            return
        due = self.every_n_epochs(runner, self.interval, self.save_begin)
        if due or (self.save_last and self.is_last_train_epoch(runner)):
            done = runner.epoch + 1
            runner.logger.info(f'Saving checkpoint at {done} epochs')
            self._save(runner, done, {'epoch': done, 'iter': runner.iter})

    def after_train_iter(
        self,
        runner: Run,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: Outputs = None,
    ) -> None:
        """Save a checkpoint if one is due after this iteration."""
        if self.by_epoch:
            return
        due = self.every_n_train_iters(runner, self.interval, self.save_begin)
        if due or (self.save_last and self.is_last_train_iter(runner)):
            done = runner.iter + 1
            runner.logger.info(f'Saving checkpoint at {done} iterations')
            self._save(runner, done, {'epoch': runner.epoch, 'iter': done})

    def after_val_epoch(  # type: ignore[override]  # known without a default
        self, runner: Run, metrics: dict[str, float]
    ) -> None:
        """Save a checkpoint if a watched metric has a new best value."""
        if not self._trains(runner) or runner.iter == 0:
            return  # A validation without training has nothing to save.
        self._metrics = {
            key: float(value)
            for key, value in (metrics or {}).items()
            if isinstance(value, (int, float))
        }
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
        if not self._trains(runner) or not self._of_this_moment(runner):
            return
        record = make_record(
            meta={'validation_due': False, 'metrics': self._metrics},
            param_schedulers=runner.strategy.scheduler_state_dict(),
            optimizer=hyperparameters_of(runner.optim_wrapper),
            hooks=hooks_state(runner),
            message_hub=runner.message_hub.state_dict(),
        )
        if is_main_process():
            for path, save_id in self._unvalidated.items():
                if save_id is None:
                    continue  # Something of the user wrote it: a record would belong to no file.
                record['save_id'] = save_id
                runner.strategy.io.write_record(record, path, self.backend_args)
        self._unvalidated.clear()
        barrier()

    def on_exception(self, runner: Run, error: BaseException) -> None:
        """No training runs any more."""
        self._is_training = False

    def after_train(self, runner: Run) -> None:
        """Save the last checkpoint if training ended early, and write the published copies."""
        if self.save_last and self._is_training and runner.iter and not self._holds_end(runner):
            done = runner.epoch if self.by_epoch else runner.iter
            runner.logger.info(f'Saving checkpoint at {done} {self._unit}s')
            self._save(runner, done, {**self._finished(runner), 'validation_due': False})
        self._is_training = False
        if self.published_keys is None:
            return
        if is_main_process():
            paths = [self.last_ckpt, *self.best_ckpt_path_dict.values()]
            for path in dict.fromkeys(path for path in paths if path is not None):
                publish(path, self.published_keys, self._backend, self.backend_args, runner.logger)
        barrier()

    # -- saving -----------------------------------------------------------------------------------

    def _save(self, runner: Run, done: int, meta: dict[str, Any]) -> None:
        filename = self.filename_tmpl.format(done)
        self.last_ckpt = self._path(filename)
        hub = runner.message_hub
        dropped: list[int] = []
        if self.max_keep_ckpts > 0:
            dropped = self._drop_from_kept(done)
            hub.update_info('keep_ckpt_ids', list(self._kept))
        hub.update_info('last_ckpt', self.last_ckpt)
        self._unvalidated.clear()
        self._write(runner, filename, meta)
        self._saved_at = runner.state.moment(meta['iter'])
        # Remove only after writing: a crash must not leave the run without any checkpoint.
        if is_main_process():
            runner.strategy.io.mark_newest(runner.work_dir, self.last_ckpt)
        for number in dropped:
            self._remove(runner, self._path(self.filename_tmpl.format(number)))

    def _drop_from_kept(self, done: int) -> list[int]:
        """Add ``done`` to the kept checkpoints; returns the numbers of the ones to remove."""
        self._kept = [number for number in self._kept if number != done] + [done]
        dropped = self._kept[: -self.max_keep_ckpts]
        self._kept = self._kept[-self.max_keep_ckpts :]
        return dropped

    def _write(self, runner: Run, filename: str, meta: dict[str, Any]) -> None:
        runner.state.save_id = None
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
        self._moment = meta['iter']

    def _trains(self, runner: Run) -> bool:
        """Whether the present validation belongs to a training."""
        return self._is_training and not evaluates_alone(runner)

    def _of_this_moment(self, runner: Run) -> dict[str, str | None]:
        """Paths of the checkpoints with the present state of training, and their ``save_id``."""
        if self._moment != runner.iter:
            self._unvalidated.clear()
        return self._unvalidated

    def _holds_end(self, runner: Run) -> bool:
        """Whether the last checkpoint holds the present state of training."""
        return self._saved_at == runner.state.moment(runner.iter)

    def _path(self, filename: str) -> str:
        return str(self._backend.join_path(str(self.out_dir), filename))

    def _remove(self, runner: Run, path: str) -> None:
        if is_main_process():
            runner.strategy.io.remove(path, self.backend_args)

    @property
    def _unit(self) -> str:
        return 'epoch' if self.by_epoch else 'iteration'

    @staticmethod
    def _finished(runner: Run) -> dict[str, int]:
        """Counts of finished epochs and iterations, which the loop updates before a validation."""
        return {'epoch': runner.epoch, 'iter': runner.iter}

    # -- the best ---------------------------------------------------------------------------------

    def _init_best(self, save_best: str | list[str] | None, rule: str | list[str] | None) -> None:
        self.save_best = save_best
        self.best_ckpt_path_dict: dict[str, str | None] = {}
        self._best_scores: dict[str, float] = {}
        self._rules: dict[str, str] = {}
        self._given_rules: list[str] = []
        self._is_auto = save_best in ('auto', ['auto'])
        self.key_indicators: list[str] = []
        if save_best is None:
            if rule is not None:
                print_log(
                    'CheckpointHook ignores rule: it defines the best value, but save_best has no '
                    'metric.',
                    logger='current',
                    level=logging.WARNING,
                )
            return
        keys = _texts(save_best)
        if len(keys) != len(set(keys)):
            raise ArgumentError(f'save_best contains a metric twice: {keys}.')
        if 'auto' in keys and len(keys) > 1:
            raise ArgumentError(
                "save_best='auto' cannot be combined with other metrics: it uses the first "
                'metric that is reported.'
            )
        rules = [check_rule(one) for one in _as_list(rule)]
        if len(rules) not in (0, 1, len(keys)):
            raise ArgumentError(
                f'save_best has {len(keys)} metrics and rule has {len(rules)} entries; pass one '
                'rule, or one for each metric.'
            )
        self._given_rules = rules * len(keys) if len(rules) == 1 else rules
        if not self._is_auto:
            self._watch(keys)

    def _watch(self, keys: list[str]) -> None:
        self.key_indicators = keys
        self.best_ckpt_path_dict = dict.fromkeys(keys)
        rules = self._given_rules or [
            infer_rule(key, self.greater_keys, self.less_keys) for key in keys
        ]
        self._rules = dict(zip(keys, rules, strict=True))

    def _settle_keys(self, runner: Run, metrics: dict[str, float]) -> None:
        """Replace 'auto' by the first metric that is reported."""
        if not self.key_indicators:
            self._watch([next(iter(metrics))])
            self._recall(runner)

    def _save_if_best(self, runner: Run, key: str, metrics: dict[str, float]) -> None:
        if key not in metrics:
            runner.logger.warning(
                f'save_best watches {key!r}, which is not among the metrics '
                f'({", ".join(metrics)}).{did_you_mean(key, metrics)}'
            )
            return
        score, rule = metrics[key], self._rules[key]
        if not self.rule_map[rule](score, self._best_scores.get(key, self.init_value_map[rule])):
            return
        hub = runner.message_hub
        score_name, path_name = self._info_names(key)
        done, unit = (runner.epoch, 'epoch') if self.by_epoch else (runner.iter, 'iter')
        filename = f'{_best_prefix(key)}{unit}_{done}.pth'
        older, path = self.best_ckpt_path_dict.get(key), self._path(filename)
        hub.update_info(score_name, score)
        hub.update_info(path_name, path)
        self.best_ckpt_path_dict[key] = path
        self._best_scores[key] = score
        self._write_best(runner, filename)
        if older is not None and older != path:
            self._remove(runner, older)
        runner.logger.info(
            f'The best checkpoint with {score:0.4f} {key} at {done} {unit} is saved to {filename}.'
        )

    def _write_best(self, runner: Run, filename: str) -> None:
        """Link the checkpoint of this iteration to ``filename``, or write it if there is none."""
        path = self._path(filename)
        present = self._of_this_moment(runner)
        if self.last_ckpt is not None and self.last_ckpt in present:
            if is_main_process():
                runner.strategy.io.link(self.last_ckpt, path, self.backend_args)
            barrier()
            present[path] = present[self.last_ckpt]
            return
        # The remaining changes of this validation are written at its end, in a record.
        self._write(runner, filename, {**self._finished(runner), 'validation_due': True})

    def _info_names(self, key: str) -> tuple[str, str]:
        """Names in the message hub; they contain ``key`` only if several metrics are watched."""
        suffix = f'_{key}' if len(self.key_indicators) > 1 else ''
        return f'best_score{suffix}', f'best_ckpt{suffix}'

    def _recall(self, runner: Run) -> None:
        """Read the saved checkpoints of a resumed run from its message hub."""
        hub = runner.message_hub
        if runner.iter == 0:
            return
        if self._saved_at is None:
            self._saved_at = runner.state.resumed_at
        self.last_ckpt = self.last_ckpt or hub.get_info('last_ckpt')
        self._kept = self._kept or list(hub.get_info('keep_ckpt_ids') or [])
        for key in self.key_indicators:
            score_name, path_name = self._info_names(key)
            score, path = hub.get_info(score_name), hub.get_info(path_name)
            if score is None or path is None or _best_prefix(key) not in path:
                continue  # The best value belongs to another metric, which the saved run watched.
            self._best_scores[key] = score
            if self._backend.exists(path):
                self.best_ckpt_path_dict[key] = path
                continue
            runner.logger.warning(
                f'The best checkpoint of the resumed run, {path}, does not exist any more.'
            )

    @property
    def rules(self) -> list[str]:
        """'greater' or 'less' for each watched metric."""
        return [self._rules[key] for key in self.key_indicators]

    @property
    def best_ckpt_path(self) -> str | None:
        """Path of the best checkpoint, if one metric is watched."""
        paths = list(self.best_ckpt_path_dict.values())
        return paths[0] if len(paths) == 1 else None


def _best_prefix(key: str) -> str:
    """Prefix of the file names of the best checkpoints for a metric."""
    return f'best_{key.replace("/", "_")}_'


def _texts(value: Any) -> list[str]:
    texts = _as_list(value)
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ArgumentTypeError(f'Expected a name or a list of names, got {value!r}.')
    return texts


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
