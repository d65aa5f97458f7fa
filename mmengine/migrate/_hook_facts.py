"""What a legacy hook does that depends on when it runs, and where ``Runner`` differs from MMCV."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

# Priorities of MMCV 1.x by name; here they have the same numbers.
PRIORITIES = {
    'HIGHEST': 0, 'VERY_HIGH': 10, 'HIGH': 30, 'ABOVE_NORMAL': 40, 'NORMAL': 50,
    'BELOW_NORMAL': 60, 'LOW': 70, 'VERY_LOW': 90, 'LOWEST': 100,
}  # fmt: skip
_LEARNING_RATES, _STEP, _SAVING, _LOW = 10, 40, 50, 70
_AFTER_STEP = ('after_train_iter', 'after_iter')
_AFTER = (*_AFTER_STEP, 'after_train_epoch', 'after_epoch')
_BEFORE_ITERATION = ('before_train_iter', 'before_iter')
_BEFORE_EPOCH = ('before_train_epoch', 'before_epoch')
_OF_TRAIN_EPOCHS = ('before_train_epoch', 'after_train_epoch')
_COUNTS_EPOCHS = (
    r'(?<!\bself)\._?(epoch|max_epochs|inner_iter)\b'
    r'|\b(is_last_epoch|every_n_epochs|every_n_inner_iters|end_of_epoch)\('
)
_USES_MODEL = r'\.(model|optimizer)\b'
# What a hook keeps of its runner: self.net = runner.model.module
_KEEPS_MODEL = r'\bself\.(\w+) = .*\.(?:model|optimizer)\b'
_CHANGES = r'\.data\b|\.\w+_\(|load_state_dict\(|no_grad\(|\b_?set_\w+\(|swap'
_READS_LEARNING_RATE = (
    r'\bcurrent_(lr|momentum)\(|\[[\'"](lr|momentum|betas)[\'"]\]|\bget_lr\(|\bparam_groups\b'
)


READS_GRADIENTS = r'\.grad\b(?!\s*=[^=])'
_SETS_LEARNING_RATE = (
    r'\[[\'"](lr|momentum|betas|initial_lr)[\'"]\](\[[^]]*\])?\s*([-+*/]|\*\*|//)?=(?!=)'
)


@dataclass(frozen=True)
class HookFacts:
    """What the methods of one hook do.

    Args:
        counts_epochs: Whether one of them asks for an epoch or for the place in it.
        of_train_epochs: Its methods that a runner of iterations never called.
        uses_model: Its methods that use the model or the optimizer.
        changes_model: Its methods that use the model, if one of them changes it.
        reads_learning_rate: Its methods that read a learning rate or a momentum.
        sets_learning_rate: Whether it sets a learning rate or a momentum.
        outputs: The keys of a runner's outputs that it reads; '*' for outputs as a whole.
        reads_gradients: Whether it reads gradients.
        is_counted_as_before: Whether it is converted to count epochs as MMCV did.
    """

    counts_epochs: bool = False
    of_train_epochs: frozenset[str] = frozenset()
    uses_model: frozenset[str] = frozenset()
    changes_model: frozenset[str] = frozenset()
    reads_learning_rate: frozenset[str] = frozenset()
    sets_learning_rate: bool = False
    outputs: frozenset[str] = frozenset()
    reads_gradients: bool = False
    is_counted_as_before: bool = False

    @classmethod
    def of(cls, node: ast.ClassDef) -> HookFacts:
        """Read the facts off the text of a class."""
        methods = [one for one in node.body if isinstance(one, ast.FunctionDef)]
        texts = {one.name: ast.unparse(one) for one in methods}
        kept = re.findall(_KEEPS_MODEL, ast.unparse(node))
        uses = _methods_with('|'.join([_USES_MODEL, *(rf'\bself\.{one}\b' for one in kept)]), texts)
        return cls(
            re.search(_COUNTS_EPOCHS, ast.unparse(node)) is not None,
            frozenset(_OF_TRAIN_EPOCHS) & texts.keys(),
            uses,
            uses if any(re.search(_CHANGES, texts[name]) for name in uses) else frozenset(),
            _methods_with(_READS_LEARNING_RATE, texts),
            re.search(_SETS_LEARNING_RATE, ast.unparse(node)) is not None,
            _outputs_in(ast.unparse(node)),
            re.search(READS_GRADIENTS, ast.unparse(node)) is not None,
        )

    @classmethod
    def joined(cls, facts: Iterable[HookFacts]) -> HookFacts:
        """The facts of a class and of those above it."""
        known = [cls(), *facts]
        return cls(
            any(one.counts_epochs for one in known),
            frozenset().union(*(one.of_train_epochs for one in known)),
            frozenset().union(*(one.uses_model for one in known)),
            frozenset().union(*(one.changes_model for one in known)),
            frozenset().union(*(one.reads_learning_rate for one in known)),
            any(one.sets_learning_rate for one in known),
            frozenset().union(*(one.outputs for one in known)),
            any(one.reads_gradients for one in known),
        )

    def reads_between(self, priority: int) -> bool:
        """Whether it reads learning rates where a scheduler here has set the next one already.

        Args:
            priority: Its priority; a low one runs behind the hook of the schedulers.
        """
        safe = _BEFORE_ITERATION if priority >= _LOW else (*_BEFORE_ITERATION, *_AFTER_STEP)
        return not self.reads_learning_rate <= {'__init__', *safe}

    def needs_legacy_times(self, priority: int) -> bool:
        """Whether it sees when MMCV set learning rates and momenta, or sets them itself.

        Args:
            priority: Its priority; a very high one came before they were set.
        """
        reads = self.reads_learning_rate
        is_first = priority < _LEARNING_RATES and not reads.isdisjoint(
            (*_BEFORE_ITERATION, *_BEFORE_EPOCH)
        )
        is_early = not reads.isdisjoint(('before_run', *_BEFORE_EPOCH))
        return self.sets_learning_rate or is_early or is_first

    def needs_legacy_step(self, priority: int) -> bool:
        """Whether it sees weights from before the optimizer step, or the gradients of the step.

        Args:
            priority: Its priority; a high one came before the step.
        """
        is_before = priority <= _STEP and not self.uses_model.isdisjoint(_AFTER_STEP)
        return is_before or self.reads_gradients

    def changes_saved_model(self, priority: int) -> bool:
        """Whether it changes the model when MMCV had saved the checkpoint already."""
        return priority >= _SAVING and not self.changes_model.isdisjoint(_AFTER)


def _outputs_in(text: str) -> frozenset[str]:
    alias = r'(?m)^\s*(\w+) = [\w.]+\.outputs$'
    names = [r'\.outputs\b', *(rf'(?<!\.)\b{one}\b' for one in re.findall(alias, text))]
    key = r'[\'"](\w+)[\'"]'
    part = rf'(?:{"|".join(names)})(?:\[{key}\]|\.(?:get|pop)\({key})?'
    found = re.findall(part, re.sub(alias, '', text))
    return frozenset(first or second or '*' for first, second in found)


def _methods_with(pattern: str, texts: dict[str, str]) -> frozenset[str]:
    """The methods that have a pattern, and those that call such a method."""
    found = {name for name, text in texts.items() if re.search(pattern, text)}
    for _ in texts:
        callers = {
            name
            for name, text in texts.items()
            if any(re.search(rf'\bself\.{called}\(', text) for called in found)
        }
        if callers <= found:
            break
        found |= callers
    return frozenset(found)


@dataclass(frozen=True)
class Registration:
    """How a hook is registered, and with which run.

    Args:
        name: Its class.
        priority: Its priority as a number.
        by_epoch: Whether the run counts epochs; None if that is not known.
        follows_metric: Whether learning rates or momenta follow a metric, as no legacy scheduler
            does.
    """

    name: str
    priority: int
    by_epoch: bool | None
    follows_metric: bool = False


def differences(hook: Registration, facts: HookFacts) -> Iterator[str]:
    """Where a hook does something else here than under MMCV, each with what to do."""
    name = hook.name
    if hook.by_epoch is False and not facts.is_counted_as_before:
        if facts.counts_epochs:
            yield (
                f'{name} counts epochs or iterations within one, in a run of iterations: MMCV '
                'counted passes over the data, and Runner takes the whole run for one epoch. Take '
                'runner.iter // len(runner.train_dataloader), or % of it'
            )
        if facts.of_train_epochs:
            methods = ' and '.join(sorted(facts.of_train_epochs))
            yield (
                f'{name}.{methods}: a runner of iterations under MMCV never called it; Runner '
                'calls it once. Delete the method to keep the numbers'
            )
    if not hook.follows_metric:
        return
    if facts.sets_learning_rate:
        yield (
            f'{name} sets a learning rate or momentum: MMCV set them anew at each iteration or '
            'epoch, and a scheduler here multiplies what it finds. Write a scheduler instead'
        )
    early = facts.reads_learning_rate.intersection(('before_run', *_BEFORE_EPOCH))
    if early:
        yield (
            f'{name}.{" and ".join(sorted(early))}: the learning rate or momentum has its warm-up '
            'or first value of the schedule here, and had not under MMCV. Read it in '
            'before_train_iter'
        )
    is_first = hook.priority < _LEARNING_RATES
    if is_first and not facts.reads_learning_rate.isdisjoint((*_BEFORE_ITERATION, *_BEFORE_EPOCH)):
        yield (
            f'{name} of priority {hook.priority} read the learning rate under MMCV before it was '
            'set anew, and reads it after that here: keep the value of after_train_iter'
        )


def priority_of(value: object) -> int:
    """The number of a priority: a number, a name, or None for the default."""
    if isinstance(value, int):
        return value
    text = str(value).strip('\'"').upper()
    return int(text) if text.isdigit() else PRIORITIES.get(text, PRIORITIES['NORMAL'])


def follows_metric(schedule: object) -> bool:
    """Whether a schedule follows a metric."""
    return isinstance(schedule, Mapping) and str(schedule.get('policy')) == 'Reduce'
