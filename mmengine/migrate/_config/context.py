"""What the conversions of one config share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mmengine.migrate._config.notes import Notes
from mmengine.migrate._config.rules import Rules

if TYPE_CHECKING:
    from mmengine.migrate._config.schedules.conversion import Length

Config = dict[str, Any]


@dataclass
class Context:
    """One legacy config on its way.

    Args:
        legacy: The resolved legacy config; never changed.
        rules: The projects' vocabularies.
        notes: Gets what there is to tell.
        length: How long the run is; None for a part of a config that does not tell.
    """

    legacy: Mapping[str, Any]
    rules: Rules
    notes: Notes
    length: Length | None = None
    leftover: Config = field(default_factory=dict)
    """Legacy keys, whole or in part, whose meaning is in no rule."""

    updater_hooks: list[Config] = field(default_factory=list)
    """Hooks of the project's own that set learning rates, for ``custom_hooks``."""

    def leave(self, key: str, rest: Mapping[str, Any], why: str = '') -> None:
        """Keep ``rest`` of the legacy ``key`` in place, and say so."""
        if not rest:
            return
        self.leftover[key] = dict(rest)
        for name in rest:
            self.notes.todo(
                f'{key}.{name}', why or 'nothing here is known to stand for it; left in place.'
            )

    def leave_more(self, key: str, rest: Mapping[str, Any]) -> None:
        """:meth:`leave`, beside what of ``key`` is left already."""
        before = self.leftover.get(key, {})
        self.leave(key, rest)
        if before or rest:
            self.leftover[key] = {**rest, **before}

    def rules_metric_name(self, name: Any, key: str = 'evaluation.save_best') -> Any:
        """The name that a metric's value has now, as far as the rules tell; 'auto' stays.

        Args:
            name: Its name so far.
            key: The key that names it.
        """
        if not isinstance(name, str) or name == 'auto':
            return name
        rule = self.metric_rule()
        if rule is None:
            self.notes.todo(
                key, f'check the name {name!r}: metrics are now reported as <prefix>/<name>.'
            )
            return name
        names = rule.get('names', {})
        named = names(name, *self.validation()) if callable(names) else names.get(name)
        if named is not None:
            return named
        prefix = rule.get('prefix')
        return name if prefix is None else f'{prefix}/{name}'

    def metric_rule(self) -> Config | None:
        """The rule for the metrics of the dataset that is validated on."""
        kind = str(self.validation()[1].get('type'))
        known = self.rules.metrics
        found: Config | None = known[kind] if kind in known else known.get('*')
        return found

    def validation(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """``evaluation``, and the first dataset that is validated on; empty where there is none."""
        data, evaluation = self.legacy.get('data'), self.legacy.get('evaluation')
        val = data.get('val') if isinstance(data, Mapping) else None
        asked = evaluation if isinstance(evaluation, Mapping) else {}
        return asked, next(inner_datasets(val), {})


def inner_datasets(dataset: Any) -> Iterator[Mapping[str, Any]]:
    """The datasets inside all wrappers and lists of a legacy config."""
    if isinstance(dataset, (list, tuple)):
        for one in dataset:
            yield from inner_datasets(one)
    elif isinstance(dataset, Mapping):
        inside = dataset.get('dataset', dataset.get('datasets'))
        if isinstance(inside, (Mapping, list, tuple)):
            yield from inner_datasets(inside)
        else:
            yield dataset
