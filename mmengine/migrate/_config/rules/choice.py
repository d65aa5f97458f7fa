"""Which vocabulary a config is written in: by its scope, its names, and the packages near it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.migrate._config.rules import BUILT_IN, Rules, load_rules, rules_for_own
from mmengine.migrate._hook_facts import HookFacts

AUTO = 'auto'
# A name that one vocabulary alone has tells most.
_DATASET, _MODEL, _TRANSFORM, _HOOK = 6, 6, 2, 2
_SCOPE, _PACKAGE, _IMPORT = 100, 1, 30
_OLDER_SCOPES = {
    'mmcls': 'mmcls', 'mmpretrain': 'mmcls', 'mmselfsup': 'mmselfsup', 'mmaction': 'mmaction',
    'mmagic': 'mmedit', 'mmedit': 'mmedit', 'mmgen': 'mmgen',
}  # fmt: skip


@dataclass
class RuleBook:
    """The vocabularies of one conversion.

    Args:
        names: The names that were given; ``'auto'`` among them chooses one for each config, and
            custom files lie over it.
        packages: Built-in vocabularies whose packages lie beside the configs.
        own: Rules for classes of the project, over which all others lie.
    """

    names: tuple[str, ...] = ()
    packages: frozenset[str] = frozenset()
    own: Rules = field(default_factory=Rules)
    _known: dict[tuple[str, ...], Rules] = field(default_factory=dict)
    _words: dict[str, _Words] = field(default_factory=dict)

    def rules_for(self, *configs: Mapping[str, Any]) -> Rules:
        """The rules for a file that the ``configs`` use."""
        if AUTO not in self.names:
            return self._load(self.names).over(self.own)
        chosen = Counter(name for config in configs if (name := self.choose(config)))
        found = [chosen.most_common(1)[0][0]] if chosen else []
        index = self.names.index(AUTO)
        names = (*self.names[:index], *found, *self.names[index + 1 :])
        return self._load(names).over(self.own)

    def choose(self, config: Mapping[str, Any]) -> str:
        """The vocabulary that a legacy config is written in; empty where nothing tells."""
        scope = config.get('default_scope')
        if isinstance(scope, str) and (name := _by_scope(scope)):
            return name
        scores = Counter({name: self._words_of(name).score(config) for name in BUILT_IN})
        for name in self.packages:
            scores[name] += _PACKAGE if scores[name] else 0
        imports = repr(config.get('custom_imports', ''))
        for name in BUILT_IN:
            scores[name] += _IMPORT if f"'{name}." in imports or f"'{name}'" in imports else 0
        (best, score), (_, second) = scores.most_common(2)
        return best if score > second and score > _TRANSFORM else ''

    def _load(self, names: tuple[str, ...]) -> Rules:
        if names not in self._known:
            self._known[names] = load_rules(names)
        return self._known[names]

    def _words_of(self, name: str) -> _Words:
        if name not in self._words:
            self._words[name] = _Words.of(self._load((name,)))
        return self._words[name]


def book_for(
    names: Iterable[str], source: Path, own: Mapping[str, HookFacts] | None = None
) -> RuleBook:
    """The vocabularies for the configs at ``source``.

    Args:
        names: The names that were given.
        source: A config file or a folder of them.
        own: Classes of the project whose code is converted as well, and what each does as a hook.

    Raises:
        ArgumentError: If there is no such vocabulary.
    """
    asked = tuple(name.strip() for name in names)
    load_rules(name for name in asked if name != AUTO)
    folder = source if source.is_dir() else source.parent
    near = [folder, *folder.parents[:2]]
    packages = {name for name in BUILT_IN if any((one / name).is_dir() for one in near)}
    return RuleBook(asked, frozenset(packages), rules_for_own(own or {}))


def _by_scope(scope: str) -> str:
    if scope in _OLDER_SCOPES:
        return _OLDER_SCOPES[scope]
    return scope if scope in BUILT_IN else ''


@dataclass(frozen=True)
class _Words:
    datasets: frozenset[str]
    transforms: frozenset[str]
    hooks: frozenset[str]
    models: frozenset[str]

    @classmethod
    def of(cls, rules: Rules) -> _Words:
        return cls(
            frozenset(rules.datasets),
            frozenset(rules.transforms),
            frozenset(rules.hooks),
            frozenset(rules.model_types),
        )

    def score(self, config: Mapping[str, Any]) -> int:
        """How many names of ``config`` are in this vocabulary."""
        data, hooks = config.get('data'), config.get('custom_hooks')
        kinds = set(_types(data))
        score = _DATASET * len(kinds & self.datasets) + _TRANSFORM * len(kinds & self.transforms)
        score += _HOOK * len(set(_types(hooks)) & self.hooks)
        for key, value in config.items():
            if key.endswith('pipeline'):
                score += _TRANSFORM * len(set(_types(value)) & self.transforms)
        model = config.get('model')
        if isinstance(model, Mapping):
            score += _MODEL * (model.get('type') in self.models)
        return score


def _types(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        kind = part.get('type')
        if isinstance(kind, str):
            yield kind
        for value in part.values():
            yield from _types(value)
    elif isinstance(part, (list, tuple)):
        for value in part:
            yield from _types(value)
