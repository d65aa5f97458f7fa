"""What of ``evaluation`` no evaluator got."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.migrate._config.context import Context
from mmengine.migrate._config.topics.by_rule import leaves
from mmengine.migrate._config.trace import plain


def note_unused_metrics(ctx: Context, asked: Mapping[str, Any], evaluators: Sequence[Any]) -> None:
    """Note the arguments of metrics that are in none of the evaluators.

    Args:
        ctx: The conversion.
        asked: The entries of ``evaluation`` that a rule makes a metric of.
        evaluators: The evaluators that were made.
    """
    made = [one for one in evaluators if one]
    if not made:
        for key, value in asked.items():
            ctx.notes.todo(
                f'evaluation.{key}',
                f'no evaluator has it, since no rule made one (is there a data.val?); it was '
                f'{plain(value)!r}. Give it to a metric of val_evaluator.',
            )
        return
    there = {repr(leaf) for leaf in leaves(made)}
    for path, value in _numbers(asked, 'evaluation'):
        if repr(value) not in there:
            ctx.notes.info(path, f'no metric of the evaluators has it; it was {value!r}.')


def _numbers(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The dotted keys of all numbers inside; names of metrics have other names now."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _numbers(one, f'{path}.{key}')
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _numbers(one, path)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, plain(value)
