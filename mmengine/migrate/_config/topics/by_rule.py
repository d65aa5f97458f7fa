"""Apply a rule, and note what of the source it lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.migrate._config.context import Context
from mmengine.migrate._config.rules import (
    Rule,
    apply_rule,
    dropped_by,
    gone_by,
    moved_by,
    note_of,
)
from mmengine.migrate._config.rules.shared import META_KEYS
from mmengine.migrate._config.trace import plain

_LISTS_OF_NAMES = ('key', 'keys', 'images')
# What a batch has is up to the packing of today.
_OF_PACKING = ('keys', 'meta_name')


def convert_by_rule(
    ctx: Context, key: str, rule: Rule, config: Mapping[str, Any], place: Any = None
) -> Any:
    """What ``config`` becomes by ``rule``; what is to be done by hand, or was lost, is noted.

    Args:
        ctx: The conversion.
        key: The dotted key of ``config``.
        rule: What the vocabulary says.
        config: A transform, dataset, hook or sampler.
        place: What else a function gets; see :func:`apply_rule`.
    """
    if text := note_of(rule, config, ctx.legacy):
        ctx.notes.todo(f'{key}.type', f'{config.get("type")}: {text}')
    read: set[str] = set()
    changed = apply_rule(rule, config, place, ctx.legacy, read)
    known = read | set(moved_by(rule)) | {'type'}
    if rule is None:
        known |= set(_LISTS_OF_NAMES)
    for name in _lost(config, changed, known):
        was = f'it was {plain(config[name])!r}.'
        # Own meta keys are to be looked at even where the rule drops the argument.
        if rule is None or (name in dropped_by(rule) and name != 'meta_keys'):
            ctx.notes.info(
                f'{key}.{name}', f'the rule for {config.get("type")} leaves it out; {was}'
            )
            continue
        # An option that is off, or has no counterpart, leaves nothing to do.
        is_off = config[name] is False and _without(changed, name)
        note = ctx.notes.info if is_off or name in gone_by(rule) else ctx.notes.todo
        note(f'{key}.{name}', f'nothing is known to stand for it in {_names(changed)}; {was}')
    return changed


def _lost(config: Mapping[str, Any], changed: Any, known: set[str]) -> Iterator[str]:
    """The arguments whose values are nowhere in what a rule made, and that it did not look at."""
    values = {repr(value) for value in leaves(changed)}
    packs = str(config.get('type')).startswith('Collect')
    for name, value in config.items():
        if packs and name == 'meta_keys':
            value = [one for one in value if one not in META_KEYS] if value else None
        if name in known or value is None or (packs and name in _OF_PACKING):
            continue
        if name in _LISTS_OF_NAMES and not _without(changed, name):
            continue  # names of images, which a rule has new ones for
        is_elsewhere = all(repr(leaf) in values or _is_below(leaf, changed)
                           for leaf in leaves(value))  # fmt: skip
        is_off_no_more = value is False and isinstance(changed, Mapping) and changed.get(name)
        if not is_elsewhere or is_off_no_more:
            yield name


def _without(changed: Any, name: str) -> bool:
    """Whether nothing that a rule made has an argument of this name."""
    parts = changed if isinstance(changed, (list, tuple)) else [changed]
    return not any(isinstance(one, Mapping) and name in one for one in parts)


def _is_below(leaf: Any, changed: Any) -> bool:
    """Whether a path is in ``changed`` without the root that it began with."""
    return isinstance(leaf, str) and any(
        isinstance(one, str) and one and leaf.endswith(f'/{one}') for one in leaves(changed)
    )


def leaves(value: Any) -> Iterator[Any]:
    """The values inside dicts and lists."""
    if isinstance(value, Mapping):
        for one in value.values():
            yield from leaves(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from leaves(one)
    else:
        yield plain(value)


def _names(changed: Any) -> str:
    parts = changed if isinstance(changed, (list, tuple)) else [changed]
    kinds = [str(one['type']) for one in parts if isinstance(one, Mapping) and 'type' in one]
    return ', '.join(kinds) or 'what came of it'
