"""The vocabularies of projects: what their names and keys became.

A vocabulary is a module or a config file with some of these names::

    scope = 'mmdet'                                  # the registry scope: default_scope
    transforms = dict(
        LoadImageFromFile={},                        # known, and the same as before
        RandomFlip=dict(keys=dict(flip_ratio='prob')),   # renamed keys; 'a.b' nests
        Collect=dict(type='PackDetInputs', drop=['keys']),   # a new type, dropped keys
        DefaultFormatBundle=None,                    # gone: leave it out
        Albu=dict(note='a sentence: what to do by hand'),   # beside a 'function', or the others;
                                                     # or a function (config, legacy) -> sentence
        Crop=dict(function=function, drop=['a']),    # left out on purpose: noted, nothing to do;
                                                     # gone=['b']: likewise, as without counterpart;
                                                     # moved=['c']: elsewhere now, not noted
        Resize=function)                             # (config) -> config, list of configs, or
                                                     # None; (config, dataset, legacy) may be taken
    datasets, hooks = dict(...), dict(...)           # likewise; datasets have a stage there
    metrics = dict(CocoDataset=dict(                 # by dataset type; '*' for any other, None
                                                     # for one without
        type='CocoMetric', keys=dict(metric='metric'),   # arguments from `evaluation`,
        dataset_keys=dict(ann_file='ann_file'),      # and from the dataset
        prefix='coco'))                              # of the names that it reports
    constructors = dict(LayerDecayOptimizerConstructor='LayerDecayOptimizerConstructor')
    models = dict(TopDown='a sentence: what to do by hand',
                  SkeletonGCN=dict(type='RecognizerGCN'))  # parts of a model, as transforms above
    samplers = dict(RepeatAugSampler={})             # likewise
    data_preprocessor = dict(type='DetDataPreprocessor')   # gets mean, std ... of Normalize and
                                                     # Pad; or a function of the legacy config
    preprocessing = dict(FormatShape=function)       # (transform) -> its arguments from others
    visualizer = 'DetLocalVisualizer'

and of these, for what the project did besides its configs::

    train_dataloader, val_dataloader = dict(...), dict(...)   # what its builders set
    train_dataset, test_dataset = dict(...), dict(test_mode=True)   # and for its datasets
    same_batch_size = True                           # validation took samples_per_gpu too
    listed = ['ann_file', 'img_prefix']              # lists of these meant several datasets
    test_annotations = True                          # tests load annotations as training does;
                                                     # or the transform, or those, that load them
    test_pack = dict(meta_keys=(...))                # arguments of the last transform in testing
    tta_model = dict(type='DetTTAModel')             # the model that merges augmented views
    validates_by_default = True                      # a config without evaluation validated too
    better = dict(NME='less')                        # what its hook of evaluation took for better
    eval_hooks = dict(MyEvalHook={})                 # hooks of evaluation that ValLoop replaces
    runners = dict(MyRunner='max_iters')             # runners, and what tells their length
    model_types = dict(MyDetector={})                # models that tell the project
    single_optimizer = dict(MyRestorer={})           # models whose one optimizer has no name now
    optimizer_hooks = dict(MyOptimizerHook={})       # wrappers by the same name now
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from mmengine.migrate._config.rules.own_file import NOT_IN_FILES, read_rules
from mmengine.migrate._hook_facts import HookFacts
from mmengine.utils.errors import ArgumentError, did_you_mean

BUILT_IN = (
    'mmaction', 'mmcls', 'mmdet', 'mmdet3d', 'mmedit', 'mmgen', 'mmocr', 'mmpose', 'mmrotate',
    'mmseg', 'mmselfsup',
)  # fmt: skip
Rule = None | str | Mapping[str, Any] | Callable[..., Any]


@dataclass
class Rules:
    """One vocabulary, or several laid over each other.

    ``own_hooks`` are classes of a project whose code is converted as well.
    """

    names: tuple[str, ...] = ()
    scope: str | None = None
    transforms: dict[str, Rule] = field(default_factory=dict)
    datasets: dict[str, Rule] = field(default_factory=dict)
    hooks: dict[str, Rule] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    constructors: dict[str, str] = field(default_factory=dict)
    models: dict[str, Rule] = field(default_factory=dict)
    samplers: dict[str, Rule] = field(default_factory=dict)
    data_preprocessor: dict[str, Any] | Callable[[Mapping[str, Any]], dict[str, Any]] | None = None
    preprocessing: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = field(
        default_factory=dict
    )
    visualizer: str | None = None
    train_dataloader: dict[str, Any] = field(default_factory=dict)
    val_dataloader: dict[str, Any] = field(default_factory=dict)
    train_dataset: dict[str, Any] = field(default_factory=dict)
    test_dataset: dict[str, Any] = field(default_factory=dict)
    same_batch_size: bool | None = None
    listed: list[str] | None = None
    test_annotations: bool | dict[str, Any] | list[dict[str, Any]] | None = None
    test_pack: dict[str, Any] = field(default_factory=dict)
    tta_model: dict[str, Any] | None = None
    validates_by_default: bool | None = None
    better: dict[str, str] = field(default_factory=dict)
    eval_hooks: dict[str, Any] = field(default_factory=dict)
    runners: dict[str, Any] = field(default_factory=dict)
    model_types: dict[str, Any] = field(default_factory=dict)
    optimizer_hooks: dict[str, Any] = field(default_factory=dict)
    single_optimizer: dict[str, Any] = field(default_factory=dict)
    own_hooks: dict[str, HookFacts] = field(default_factory=dict)

    def over(self, other: Rules) -> Rules:
        """These rules, and where they say nothing the rules of ``other``."""
        merged = Rules(names=other.names + self.names)
        for each in fields(Rules):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            if each.name == 'names':
                continue
            if each.default is None:
                setattr(merged, each.name, theirs if mine is None else mine)
            else:
                setattr(merged, each.name, {**theirs, **mine})
        return merged


def load_rules(names: Iterable[str]) -> Rules:
    """The vocabularies that ``names`` tell, later ones over earlier ones.

    Args:
        names: Built-in ones ('mmdet') and custom files ('rules/mine.py').

    Raises:
        ArgumentError: If there is no such vocabulary, or a file has unknown names or values of the
            wrong kind.
    """
    rules = Rules()
    for name in names:
        rules = _load(name.strip()).over(rules)
    return rules


def _load(name: str) -> Rules:
    if name in BUILT_IN:
        module = importlib.import_module(f'mmengine.migrate._config.rules.{name}')
        content: Mapping[str, Any] = vars(module)
    elif name.endswith(('.py', '.json', '.yaml', '.yml')):
        content = read_rules(name, Rules())
    else:
        raise ArgumentError(
            f'there are rules for {", ".join(BUILT_IN)}, or in a file of your own (.py, .json, '
            f'.yaml); got {name!r}.{did_you_mean(name, BUILT_IN)}'
        )
    known = [each.name for each in fields(Rules) if each.name not in NOT_IN_FILES]
    return Rules(names=(name,), **{key: content[key] for key in known if key in content})


def rules_for_own(classes: Mapping[str, HookFacts]) -> Rules:
    """Rules for classes of a project whose code is converted as well: their arguments stay.

    Args:
        classes: What each does as a hook.
    """
    known: dict[str, Any] = {name: {} for name in classes}
    wrappers = {name: name for name in known if name.endswith('Constructor')}
    return Rules(
        transforms=dict(known),
        datasets=dict(known),
        hooks=dict(known),
        optimizer_hooks=known,
        constructors=wrappers,
        own_hooks=dict(classes),
    )


def apply_rule(
    rule: Rule,
    config: Mapping[str, Any],
    place: Any = None,
    legacy: Mapping[str, Any] | None = None,
    read: set[str] | None = None,
) -> Any:
    """What ``config`` becomes by ``rule``: a config, a list of configs, or None for nothing.

    Args:
        rule: What the vocabulary says.
        config: A transform, dataset or hook.
        place: For functions that look at it: the dataset of a transform, or the stage of a
            dataset ('train', 'val' or 'test').
        legacy: The whole legacy config, for functions that look at it.
        read: Gets the names of the arguments that a function looked up one by one.

    Raises:
        ValueError: If the rule is a function and fails; it tells which.
    """
    if rule is None:
        return None
    if isinstance(rule, Mapping) and 'function' in rule:
        rule = rule['function']
    if callable(rule):
        arguments = (_Asked(config, read), place or {}, legacy or {})[: _num_arguments(rule)]
        try:
            return rule(*arguments)
        except Exception as error:
            name = getattr(rule, '__name__', repr(rule))
            kind = type(error).__name__
            raise ValueError(f'the rule {name} failed with {kind}: {error}') from error
    if isinstance(rule, str):
        rule = {'type': rule}
    renamed, dropped = rule.get('keys', {}), (*dropped_by(rule), *moved_by(rule))
    result: dict[str, Any] = {}
    for key, value in config.items():
        if key == 'type':
            result['type'] = rule.get('type', value)
        elif key in renamed:
            _put(result, renamed[key], value)
        elif key not in dropped:
            _put(result, key, value)
    return with_defaults(result, rule.get('add', {}))


class _Asked(dict[str, Any]):
    """The arguments of a config, which record the names that are looked up one by one."""

    def __init__(self, config: Mapping[str, Any], names: set[str] | None) -> None:
        super().__init__(config)
        if names is None:
            # A rule may pass its arguments on to another one.
            names = config.names if isinstance(config, _Asked) else set()
        self.names: set[str] = names

    def __getitem__(self, name: str) -> Any:
        self.names.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        self.names.add(name)
        return super().pop(name, *default)


def dropped_by(rule: Rule) -> tuple[str, ...]:
    """The arguments that ``rule`` leaves out on purpose."""
    return tuple(rule.get('drop', ())) if isinstance(rule, Mapping) else ()


def moved_by(rule: Rule) -> tuple[str, ...]:
    """The arguments whose values another part of the new config has."""
    return tuple(rule.get('moved', ())) if isinstance(rule, Mapping) else ()


def gone_by(rule: Rule) -> tuple[str, ...]:
    """The arguments of ``rule`` that have no counterpart, which is noted."""
    return tuple(rule.get('gone', ())) if isinstance(rule, Mapping) else ()


def note_of(
    rule: Rule, config: Mapping[str, Any] | None = None, legacy: Mapping[str, Any] | None = None
) -> str:
    """What ``rule`` says is to be done by hand; empty where nothing is.

    Args:
        rule: What the vocabulary says.
        config: What it is applied to, for a note that is a function.
        legacy: The whole legacy config, likewise.
    """
    note = rule.get('note', '') if isinstance(rule, Mapping) else ''
    return str(note(config or {}, legacy or {}) if callable(note) else note)


def _num_arguments(rule: Callable[..., Any]) -> int:
    return min(len(inspect.signature(rule).parameters), 3)


def with_defaults(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """``config``, and of ``defaults`` what it does not say; dicts inside likewise."""
    result = dict(config)
    for key, value in defaults.items():
        inner = result.get(key)
        if isinstance(inner, Mapping) and isinstance(value, Mapping):
            result[key] = with_defaults(inner, value)
        else:
            result.setdefault(key, value)
    return result


def build_metric(
    rule: Mapping[str, Any], evaluation: Mapping[str, Any], dataset: Mapping[str, Any]
) -> Any:
    """The evaluator that a rule for metrics makes of ``evaluation`` and a dataset."""
    if 'build' in rule:
        metric = rule['build'](evaluation, dataset)
        if 'type' in rule and isinstance(metric, dict):
            metric['type'] = rule['type']
        return metric
    metric = {'type': rule['type']}
    for old, new in rule.get('keys', {}).items():
        if old in evaluation:
            metric[new] = evaluation[old]
    for old, new in rule.get('dataset_keys', {}).items():
        if old in dataset:
            metric[new] = dataset[old]
    return with_defaults(metric, rule.get('add', {}))


def keys_of_metric(rule: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The keys of ``evaluation`` that a rule turns into arguments of a metric."""
    return () if rule is None else (*rule.get('takes', ()), *rule.get('keys', {}))


def _put(target: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split('.')
    for parent in parents:
        inner = dict(target.get(parent) or {})
        target[parent] = inner
        target = inner
    if isinstance(value, Mapping) and isinstance(target.get(last), Mapping):
        value = {**target[last], **value}
    target[last] = value


def suggestion(kind: str, name: str) -> str:
    """Which built-in vocabulary has ``name``, as a sentence; empty when none does.

    Args:
        kind: 'transforms', 'datasets' or 'hooks'.
        name: Of a class.
    """
    knowing = [one for one in BUILT_IN if name in getattr(_load(one), kind)]
    return f' --rules {" or ".join(knowing)} has it.' if knowing else ''
