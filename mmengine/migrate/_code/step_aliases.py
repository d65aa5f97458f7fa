"""``val_step`` and ``test_step`` that are ``train_step`` by assignment."""

from __future__ import annotations

import libcst as cst

from mmengine.migrate._code._nodes import call_of, code, dotted, only

_STEPS = ('val_step', 'test_step')


def step_aliases(item: cst.CSTNode) -> tuple[list[str], str]:
    """What ``val_step = train_step`` in a class sets, and to what; nothing for other statements."""
    small = only(item)
    if isinstance(small, cst.AnnAssign):
        names = [dotted(small.target)]
    elif isinstance(small, cst.Assign):
        names = [dotted(one.target) for one in small.targets]
    else:
        return [], ''
    value = code(small.value) if small.value is not None else ''
    is_alias = all(one in _STEPS for one in names) and _trains(small.value)
    return (names, value) if is_alias else ([], '')


def set_steps(item: cst.CSTNode) -> list[tuple[str, str]]:
    """``Net.val_step = Net.train_step`` and ``setattr(Net, 'val_step', Net.train_step)``: what is
    set, and to what."""
    small, call = only(item), call_of(item)
    if isinstance(small, cst.Assign) and _trains(small.value):
        names = [dotted(one.target) for one in small.targets]
        own = [one for one in names if '.' in one and one.rpartition('.')[2] in _STEPS]
        return [(one, code(small.value)) for one in own]
    if call is None or code(call.func) != 'setattr' or len(call.args) != 3:
        return []
    owner, key, value = (arg.value for arg in call.args)
    name = key.evaluated_value if isinstance(key, cst.SimpleString) else ''
    if not isinstance(name, str) or name not in _STEPS or not _trains(value):
        return []
    return [(f'{code(owner)}.{name}', code(value))]


def _trains(value: cst.BaseExpression | None) -> bool:
    return isinstance(value, (cst.Name, cst.Attribute)) and (
        code(value).rpartition('.')[2] == 'train_step'
    )
