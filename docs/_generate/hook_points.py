"""The page of hook points: the order of calls, as small trainings here make them."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partialmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from _generate.docstrings import markdown
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.runner.priority import Priority, get_priority

POINTS = (*Hook.stages, 'on_exception')
STEPS = ('model.train_step', 'model.val_step', 'model.test_step', 'evaluator.evaluate')


@dataclass(frozen=True)
class Loop:
    """Calls that were made several times, one round after the other."""

    calls: tuple[Any, ...]


def fold(calls: list[Any]) -> list[Any]:
    """``calls`` with neighbouring equal rounds as one :class:`Loop`, the shortest rounds first."""
    for size in range(1, len(calls) // 2 + 1):
        for start in range(len(calls) - 2 * size + 1):
            block, end = calls[start : start + size], start + size
            while calls[end : end + size] == block:
                end += size
            if end > start + size:
                return fold([*calls[:start], Loop(tuple(block)), *calls[end:]])
    return calls


def drawn(calls: Sequence[Any], indent: str = '') -> str:
    """The folded calls as indented lines; what the run itself does between hooks has a dot."""
    text = ''
    for call in calls:
        if isinstance(call, Loop):
            text += f'{indent}for each {_round(call.calls)}:\n{drawn(call.calls, indent + "    ")}'
        else:
            text += f'{indent}. {call}\n' if call in STEPS else f'{indent}{call}\n'
    return text


def _round(calls: Sequence[Any]) -> str:
    if 'before_train_epoch' in calls:
        return 'epoch'
    return 'val_interval' if any(isinstance(call, Loop) for call in calls) else 'batch'


class _Recorder(Hook):
    """Writes down every point, before the other hooks act there."""

    priority = 0  # type: ignore[assignment]  # numbers are priorities too

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls


def _record(self: _Recorder, point: str, *args: Any, **kwargs: Any) -> None:
    self.calls.append(point)


for _point in POINTS:
    setattr(_Recorder, _point, partialmethod(_record, _point))


class _Toy(BaseModel):
    def __init__(self, calls: list[str], fails: bool = False) -> None:
        super().__init__()
        self.linear, self.calls, self.fails = nn.Linear(1, 1), calls, fails

    def forward(self, inputs: Tensor, mode: str = 'tensor') -> Any:
        if self.fails:
            raise ValueError('on purpose')
        predicted = self.linear(inputs)
        return {'loss': predicted.square().mean()} if mode == 'loss' else list(predicted)

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, Tensor]:
        self.calls.append('model.train_step')
        return super().train_step(data, optim_wrapper)

    def val_step(self, data: Any) -> list[Any]:
        self.calls.append('model.val_step')
        return super().val_step(data)

    def test_step(self, data: Any) -> list[Any]:
        self.calls.append('model.test_step')
        return super().test_step(data)


class _Mean(BaseMetric):
    def __init__(self, calls: list[str]) -> None:
        super().__init__()
        self.calls = calls

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += data_samples

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        self.calls.append('evaluator.evaluate')
        return {'mean': float(torch.stack(results).mean())}


def _runner(folder: str, calls: list[str], train_cfg: dict[str, Any], **more: Any) -> Runner:
    data = [{'inputs': torch.ones(1)} for _ in range(4)]
    loader = dict(dataset=data, batch_size=2, collate_fn='default_collate')
    metric = _Mean(calls)
    return Runner(
        model=_Toy(calls, more.pop('fails', False)),
        work_dir=folder,
        train_dataloader=loader,
        train_cfg=train_cfg,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        val_dataloader=loader,
        val_cfg={},
        val_evaluator=[metric],
        test_dataloader=loader,
        test_cfg={},
        test_evaluator=[metric],
        custom_hooks=[_Recorder(calls)],
        log_level='ERROR',
        experiment_name=f'hook_points_{id(calls)}',
        **more,
    )


@contextlib.contextmanager
def _quiet() -> Iterator[str]:
    """A folder for runs that print nothing."""
    seed = torch.random.get_rng_state()
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        logging.disable(logging.CRITICAL)
        try:
            yield folder
        finally:
            logging.disable(logging.NOTSET)
            torch.random.set_rng_state(seed)


def recorded() -> dict[str, list[str]]:
    """The calls of a training of each kind, of a test, of a resumed run and of one that fails."""
    runs: dict[str, list[str]] = {
        name: [] for name in ('epochs', 'iterations', 'test', 'resumed', 'failed')
    }
    with _quiet() as folder:
        epochs = dict(by_epoch=True, max_epochs=2)
        _runner(f'{folder}/a', runs['epochs'], epochs).train()
        _runner(f'{folder}/a', runs['test'], epochs).test()
        _runner(f'{folder}/a', runs['resumed'], {**epochs, 'max_epochs': 4}, resume=True).train()
        iterations = dict(by_epoch=False, max_iters=4, val_interval=2)
        _runner(f'{folder}/b', runs['iterations'], iterations).train()
        with contextlib.suppress(ValueError):
            _runner(f'{folder}/c', runs['failed'], epochs, fails=True).train()
    return runs


def acting() -> dict[str, list[str]]:
    """By point, the default hooks that act there, in the order of their calls."""
    with _quiet() as folder:
        runner = _runner(folder, [], dict(by_epoch=True, max_epochs=1))
    hooks = [hook for hook in runner.hooks if not isinstance(hook, _Recorder)]
    return {
        point: [
            type(hook).__name__
            for hook in hooks
            if point in hook.get_triggered_stages()
            or (point == 'on_exception' and hook._overrides(point))
        ]
        for point in POINTS
    }


def _priorities() -> str:
    with _quiet() as folder:
        runner = _runner(folder, [], dict(by_epoch=True, max_epochs=1))
    rows = ''
    for hook in runner.hooks:
        if isinstance(hook, _Recorder):
            continue
        number = get_priority(hook.priority)
        rows += f'| `{type(hook).__name__}` | {number} (`{Priority(number).name}`) |\n'
    return f'| hook | priority |\n|---|---|\n{rows}\n'


def page() -> str:
    """The page as Markdown."""
    runs = recorded()

    def of(name: str) -> str:
        return f'```text\n{drawn(fold(runs[name]))}```\n\n'

    text = (
        '# Hook points\n\n'
        'A hook is an object with a method for each point at which it acts. The orders below are '
        'recorded: a hook at every point writes down when it is called, in trainings with two '
        'batches, a validation and a checkpoint. Lines with a dot are what the run does between '
        'the hooks. `before_save_checkpoint` is called by `CheckpointHook`, from the point above '
        'it.\n\n'
        '## A training in epochs\n\n' + of('epochs') + '## A training in iterations\n\n'
        'The run counts as one long epoch.\n\n' + of('iterations') + '## A test\n\n'
        'Without a checkpoint to load.\n\n' + of('test') + '## A resumed training\n\n'
        '`after_load_checkpoint` may change what was read before it is used.\n\n'
        + of('resumed') + '## A training that fails\n\n' + of('failed')
        + '## Order of the hooks\n\n'
        'At each point, hooks with a smaller number come first; hooks with the same number in the '
        'order in which they were registered. `priority` is an attribute of the class, a key of a '
        "hook's config, and an argument of `register_hook`.\n\n"
        + _priorities()
        + '## All points\n\n'
        'The default hooks that act at a point are listed in the order of their calls. To do the '
        'same in training, validation and test, override `_before_epoch`, `_after_epoch`, '
        '`_before_iter` or `_after_iter`.\n\n'
        '| point | when | default hooks |\n|---|---|---|\n'
    )  # fmt: skip
    at = acting()
    for point in POINTS:
        when = markdown((getattr(Hook, point).__doc__ or '').split('\n\n')[0].replace('\n', ' '))
        names = ', '.join(f'`{name}`' for name in at[point])
        text += f'| `{point}` | {" ".join(when.split())} | {names} |\n'
    return text


def write(folder: Path) -> None:
    """Write ``hook_points.md``."""
    (folder / 'hook_points.md').write_text(page(), encoding='utf-8')
