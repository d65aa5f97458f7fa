"""Entries of a config, in the code that reads them, by the names of a migrated config."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import libcst as cst

from mmengine.migrate._code._base import Codemod
from mmengine.migrate._code._nodes import code, dotted, expression, keys, only
from mmengine.migrate._code._rewriter import Rewriter
from mmengine.migrate._code.config_entries import ENTRIES, GONE, dict_of, value_of
from mmengine.migrate._config.topics.environment import MOVED

_LENGTHS = ('total_epochs', 'total_iters', 'runner.max_epochs', 'runner.max_iters')
_OTHER_LENGTH = (
    'the schedules of a migrated config are for its own length: change T_max, end and total_steps '
    'in param_scheduler too, as far as they are there'
)
# Of a legacy config they are the model's, of a migrated one the loops'.
_OF_MODEL = ('train_cfg', 'test_cfg')
_OF_LOOPS = ('by_epoch', 'max_epochs', 'max_iters', 'val_interval', 'dynamic_intervals', 'type')
_KNOWN = frozenset((*ENTRIES, *GONE))
_BY_NAME = ('hasattr', 'getattr', 'setattr', 'delattr')
_CLASSES = frozenset(
    f'{module}.{name}'
    for module in ('mmcv', 'mmcv.utils', 'mmcv.utils.config', 'mmengine', 'mmengine.config')
    for name in ('Config', 'ConfigDict')
)
_OF_SEVERAL = ('optimizer.items', 'optimizer.values', 'optimizer.keys')


class Configs(Codemod):
    """``cfg.data.train`` of a config is ``cfg.train_dataloader.dataset``.

    ``cfg['data']['train']``, ``cfg.get('data')``, ``'data' in cfg`` and the dotted keys that
    ``merge_from_dict`` takes are read alike.
    """

    name = 'configs'
    summary = "cfg.data.train, cfg.optimizer, ... -> the names of a config after 'migrate config'"
    triggers = ('fromfile',)
    _dicts: Mapping[str, list[str]] = MappingProxyType({})

    def _words(self) -> tuple[str, ...]:
        """What configs are called in this module."""
        return (*self.source.configs, 'Config(', 'ConfigDict(')

    def visit_Module(self, node: cst.Module) -> None:
        """Remember dicts, which configs may be changed with."""
        dicts = _Dicts()
        node.visit(dicts)
        self._dicts = dicts.found

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        """``cfg.data.train`` does not read ``cfg.data``."""
        return self._entry_of(node) not in _KNOWN

    def visit_Subscript(self, node: cst.Subscript) -> bool:
        """``cfg['data']['train']`` does not read ``cfg['data']``."""
        return self._entry_of(node) not in _KNOWN

    def _entry_of(self, node: cst.BaseExpression) -> str:
        """``data.train`` of ``cfg.data['train']``; empty where it is not an entry of a config."""
        path = self._path(node)
        return '.'.join(path[1:]) if path and path[0] in self.source.configs else ''

    def _path(self, node: cst.BaseExpression) -> list[str]:
        """``['self.cfg', 'data', 'train']`` of ``self.cfg.data['train']``."""
        path = path_of(node)
        joined = ['.'.join(path[:2]), *path[2:]]
        return joined if joined[0] in self.source.configs else path

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        """An entry by its new name."""
        entry = self._entry_of(original_node)
        if entry in ENTRIES:
            return expression(f'{self._path(original_node)[0]}.{ENTRIES[entry]}')
        self._mark_gone(entry)
        if self._is_inside_model(entry):
            name = updated_node.attr.value
            return expression(f'{self._path(original_node)[0]}.model.{entry.split(".")[0]}.{name}')
        return updated_node

    def leave_Subscript(
        self, original_node: cst.Subscript, updated_node: cst.Subscript
    ) -> cst.BaseExpression:
        """The same, in brackets."""
        entry = self._entry_of(original_node)
        if entry in ENTRIES:
            keys = ''.join(f'[{key!r}]' for key in ENTRIES[entry].split('.'))
            return expression(f'{self._path(original_node)[0]}{keys}')
        self._mark_gone(entry)
        if self._is_inside_model(entry):
            owner, name = self._path(original_node)[0], entry.split('.')[1]
            return expression(f'{owner}.model.{entry.split(".")[0]}[{name!r}]')
        return updated_node

    def leave_AssignTarget(
        self, original_node: cst.AssignTarget, updated_node: cst.AssignTarget
    ) -> cst.AssignTarget:
        """``cfg.seed = 3`` where the dict that it is in now may be absent."""
        return updated_node.with_changes(
            target=self._settled(original_node.target, updated_node.target)
        )

    def _settled(self, old: cst.BaseExpression, new: cst.BaseExpression) -> cst.BaseExpression:
        if isinstance(old, (cst.Tuple, cst.List)) and isinstance(new, (cst.Tuple, cst.List)):
            both = zip(old.elements, new.elements, strict=True)
            elements = [
                after.with_changes(value=self._settled(before.value, after.value))
                for before, after in both
            ]
            return new.with_changes(elements=elements)
        entry = self._entry_of(old)
        if entry not in MOVED:
            return new
        owner, name = dict_of(self._path(old)[0], entry, made=True)
        return expression(f'{owner}[{name!r}]')

    def _is_inside_model(self, entry: str) -> bool:
        """Whether it is ``test_cfg.score_thr``: read from the legacy config, it is the model's."""
        head, _, rest = entry.partition('.')
        return head in _OF_MODEL and rest.isidentifier() and rest not in _OF_LOOPS

    def _of_model(self, old: cst.BaseExpression, new: cst.BaseExpression) -> cst.BaseExpression:
        """``cfg.model.get('train_cfg')`` for ``cfg.train_cfg`` and ``cfg.get('train_cfg')``."""
        entry, owner, rest = self._entry_of(old), '', ''
        if entry in _OF_MODEL:
            owner = self._path(old)[0]
        elif isinstance(old, cst.Call) and old.args:
            config, _, method = dotted(old.func).rpartition('.')
            entry = _text(old.args[0].value)
            if config in self.source.configs and method == 'get' and entry in _OF_MODEL:
                owner, rest = config, ''.join(f', {code(arg.value)}' for arg in old.args[1:])
        return expression(f'{owner}.model.get({entry!r}{rest})') if owner else new

    def leave_Assign(self, original_node: cst.Assign, updated_node: cst.Assign) -> cst.Assign:
        """``train_cfg = cfg.get('train_cfg')``; ``cfg.total_epochs = 3`` changes the schedule."""
        for target in original_node.targets:
            self._mark_length(target.target)
        value = self._of_model(original_node.value, updated_node.value)
        return updated_node.with_changes(value=value)

    def _mark_gone(self, entry: str) -> None:
        if entry in GONE:
            self.mark(GONE[entry])
        elif entry in _OF_SEVERAL:
            self.mark('optim_wrapper holds several by name, and each its optimizer')

    def leave_AugAssign(
        self, original_node: cst.AugAssign, updated_node: cst.AugAssign
    ) -> cst.AugAssign:
        """``cfg.total_epochs *= 2``."""
        self._mark_length(original_node.target)
        return updated_node

    def _mark_length(self, target: cst.BaseExpression) -> None:
        if self._entry_of(target) in _LENGTHS:
            self.mark(_OTHER_LENGTH)

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        """``cfg.get('fp16')``, ``cfg.merge_from_dict(...)`` and builders of the project."""
        config, _, method = dotted(original_node.func).rpartition('.')
        if config in self.source.configs and original_node.args:
            if method in ('get', 'pop'):
                return self._asked(config, method, original_node, updated_node)
            if method == 'merge_from_dict' and len(original_node.args) >= 1:
                return self._merged(original_node, updated_node)
            if method == 'setdefault':
                return self._defaulted(config, original_node, updated_node)
            if method == 'update':
                self._mark_keys(original_node)
        if dotted(original_node.func) in _BY_NAME and len(original_node.args) > 1:
            return self._by_name(original_node, updated_node)
        name = self.source.name_of(original_node.func)
        if name in _CLASSES:
            self._mark_keys(original_node)
        if not name.endswith('Runner'):
            both = zip(original_node.args, updated_node.args, strict=True)
            updated_node = updated_node.with_changes(
                args=[
                    new.with_changes(value=self._of_model(old.value, new.value))
                    for old, new in both
                ]
            )
        is_builder = name.startswith(('mmcv.', 'mmengine.')) or name.endswith('Runner')
        for arg in original_node.args:
            if self._entry_of(arg.value) == 'optimizer' and not is_builder:
                self.mark(
                    f'{code(original_node.func)}: the config holds a wrapper, or a dict of '
                    'wrappers, each with its optimizer under .optimizer'
                )
        return updated_node

    def _asked(self, config: str, method: str, old: cst.Call, new: cst.Call) -> cst.BaseExpression:
        key = _text(old.args[0].value)
        if key in GONE:
            self.mark(GONE[key])
        if key not in ENTRIES:
            return new
        if key in MOVED and method == 'get':
            return expression(value_of(config, key, _others(new, 1)))
        *parents, last = ENTRIES[key].split('.')
        owner = config + ''.join(f'.get({parent!r}, {{}})' for parent in parents)
        rest = ''.join(f', {code(arg.value)}' for arg in new.args[1:])
        return expression(f'{owner}.{method}({last!r}{rest})')

    def _defaulted(self, config: str, old: cst.Call, new: cst.Call) -> cst.BaseExpression:
        key = _text(old.args[0].value)
        if key not in MOVED:
            self._mark_key(key)
            return new
        owner, name = dict_of(config, key, made=True)
        return expression(f'{owner}.setdefault({name!r}, {_others(new, 1) or None})')

    def _by_name(self, old: cst.Call, new: cst.Call) -> cst.BaseExpression:
        """``getattr(cfg, 'seed', 0)``, ``hasattr(cfg, 'seed')`` and their like."""
        config, key = dotted(old.args[0].value), _text(old.args[1].value)
        if config not in self.source.configs:
            return new
        function = dotted(old.func)
        if key in MOVED and function == 'hasattr':
            owner, name = dict_of(config, key)
            return expression(f'({name!r} in {owner})')
        if key in MOVED and function == 'getattr':
            default = _others(new, 2)
            return expression(value_of(config, key, default) if default
                              else f'{config}.{MOVED[key]}')  # fmt: skip
        self._mark_key(key)
        return new

    def _mark_key(self, key: str) -> None:
        if key in (*GONE, *ENTRIES):
            self.mark(GONE.get(key) or f'{ENTRIES[key]} takes the place of {key}')

    def _mark_keys(self, call: cst.Call) -> None:
        """Mark entries that a call is given by keyword, or in a dict."""
        for arg in call.args:
            if arg.keyword is not None:
                self._mark_key(arg.keyword.value)
            for key in self._keys_of(arg.value):
                self._mark_key(key)

    def _keys_of(self, node: cst.BaseExpression) -> list[str]:
        given = keys(node)
        for name in [node.value] if isinstance(node, cst.Name) else []:
            given = self._dicts.get(name, [])
        return given

    def _merged(self, old: cst.Call, new: cst.Call) -> cst.BaseExpression:
        """``cfg.merge_from_dict(dict(optimizer=...))``, whose keys may have dots in them."""
        given = new.args[0].value
        if isinstance(given, cst.Name):
            for key in self._keys_of(given):
                self._mark_key(next((one for one in _heads(key) if one in _KNOWN), ''))
        if isinstance(given, cst.Call) and dotted(given.func) == 'dict':
            names = keys(given)
            if len(names) == len(given.args) and set(names) & set(ENTRIES):
                items = ', '.join(f'{arg.keyword.value!r}: {code(arg.value)}'
                                  for arg in given.args if arg.keyword is not None)  # fmt: skip
                given = expression(f'{{{items}}}')
            else:
                self._mark_keys(given)
        if isinstance(given, cst.Dict):
            given = self._with_new_keys(given)
        else:
            # Keys that are put together: f'data.{split}.root'
            for key in re.findall(r"""['"]([a-z_]+)[.'"]""", code(given)):
                self._mark_key(key if key in _KNOWN else '')
        first = new.args[0].with_changes(value=given)
        return new.with_changes(args=[first, *new.args[1:]])

    def _with_new_keys(self, given: cst.Dict) -> cst.Dict:
        elements = []
        for element in given.elements:
            key = _text(element.key) if isinstance(element, cst.DictElement) else ''
            head = next((one for one in _heads(key) if one in _KNOWN), '')
            inner = [f'{head}.{one}' for one in keys(element.value)] if head == key else []
            moved = [one for one in inner if one in ENTRIES]
            if head in _LENGTHS:
                self.mark(_OTHER_LENGTH)
            if head in GONE:
                self.mark(f'{key}: {GONE[head]}')
            elif moved:
                self._mark_key(moved[0])
            if head in ENTRIES:
                new = cst.SimpleString(repr(ENTRIES[head] + key.removeprefix(head)))
                element = element.with_changes(key=new)
            elements.append(element)
        return given.with_changes(elements=elements)

    def leave_Comparison(
        self, original_node: cst.Comparison, updated_node: cst.Comparison
    ) -> cst.BaseExpression:
        """``'optimizer' in cfg`` and ``cfg.optimizer is not None``."""
        target = original_node.comparisons[0]
        is_in = isinstance(target.operator, (cst.In, cst.NotIn))
        key = _text(original_node.left)
        config = dotted(target.comparator)
        if isinstance(target.comparator, cst.Call) and not target.comparator.args:
            config = dotted(target.comparator.func).removesuffix('.keys')
        if is_in and config in self.source.configs and key:
            if key in GONE:
                self.mark(GONE[key])
            elif key in MOVED:
                owner, name = dict_of(config, key)
                there = updated_node.comparisons[0].with_changes(comparator=expression(owner))
                return updated_node.with_changes(
                    left=cst.SimpleString(repr(name)), comparisons=[there]
                )
            elif key in ENTRIES:
                # What there was one entry for may have none of its parts: ask for the first.
                new = ENTRIES[key].partition('.')[0]
                return updated_node.with_changes(left=cst.SimpleString(repr(new)))
        if isinstance(target.operator, (cst.Is, cst.IsNot)):
            return updated_node.with_changes(
                left=self._presence(original_node.left, updated_node.left)
            )
        return updated_node

    def leave_If(self, original_node: cst.If, updated_node: cst.If) -> cst.If:
        """``if cfg.optimizer:`` asks whether there is one."""
        test = self._presence(original_node.test, updated_node.test)
        return updated_node.with_changes(test=test)

    def leave_UnaryOperation(
        self, original_node: cst.UnaryOperation, updated_node: cst.UnaryOperation
    ) -> cst.UnaryOperation:
        """``not cfg.optimizer``."""
        if not isinstance(original_node.operator, cst.Not):
            return updated_node
        old, new = original_node.expression, updated_node.expression
        return updated_node.with_changes(expression=self._presence(old, new))

    def leave_BooleanOperation(
        self, original_node: cst.BooleanOperation, updated_node: cst.BooleanOperation
    ) -> cst.BooleanOperation:
        """``cfg.optimizer and ...``."""
        return updated_node.with_changes(
            left=self._presence(original_node.left, updated_node.left),
            right=self._presence(original_node.right, updated_node.right),
        )

    def _presence(self, old: cst.BaseExpression, new: cst.BaseExpression) -> cst.BaseExpression:
        """A test for an entry: it tests the optional part of the new config."""
        entry = self._entry_of(old)
        if entry not in ENTRIES:
            return new
        config = self._path(old)[0]
        if entry in MOVED:
            return expression(value_of(config, entry))
        first = ENTRIES[entry].partition('.')[0]
        return expression(f'{config}.get({first!r})')


class _Dicts(Rewriter):
    """The keys of dicts that names stand for.

    Attributes:
        found: The keys, by name; of a name that is set twice, of both.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {}

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine:
        small = only(original_node)
        if isinstance(small, cst.Assign) and (given := keys(small.value)):
            for target in small.targets:
                self.found.setdefault(dotted(target.target), []).extend(given)
        return updated_node


def _heads(key: str) -> Iterator[str]:
    """``a.b.c``, ``a.b`` and ``a`` of a key with dots."""
    while key:
        yield key
        key = key.rpartition('.')[0]


def _others(call: cst.Call, count: int) -> str:
    """Code for the arguments behind the first ``count``."""
    return ', '.join(code(arg.value) for arg in call.args[count:])


def _text(node: cst.BaseExpression) -> str:
    value = node.evaluated_value if isinstance(node, cst.SimpleString) else ''
    return value if isinstance(value, str) else ''


def path_of(node: cst.BaseExpression) -> list[str]:
    """``['cfg', 'data', 'train']`` of ``cfg.data['train']``; empty for other expressions."""
    if isinstance(node, cst.Name):
        return [node.value]
    if isinstance(node, cst.Attribute):
        head = path_of(node.value)
        return [*head, node.attr.value] if head else []
    if isinstance(node, cst.Subscript) and len(node.slice) == 1:
        item = node.slice[0].slice
        key = _text(item.value) if isinstance(item, cst.Index) else ''
        head = path_of(node.value)
        return [*head, key] if head and key else []
    return []
