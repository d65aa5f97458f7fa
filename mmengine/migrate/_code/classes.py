"""The classes of a project: what each is derived from and defines, across its files."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmengine.migrate._code.hook_positions import POSITIONS
from mmengine.migrate._code.names import imported_names, parse
from mmengine.migrate._code.step_facts import StepFacts
from mmengine.migrate._hook_facts import HookFacts

_OWN_DATA = frozenset(('len',))


@dataclass(frozen=True)
class ClassInfo:
    """One class.

    Args:
        name: Its name.
        bases: The full names of its bases, as far as imports tell.
        methods: The names that its body defines.
        num_samples: The ``num_samples`` that its ``train_step`` returns, as an expression of
            ``{data}``; empty if it returns none that only depends on the batch.
        facts: What it does as a hook that depends on when it runs.
        step: What its ``train_step`` takes and returns; None if it has none.
        init: The names of the arguments of its ``__init__``; None if it has none, or ``*args``.
    """

    name: str
    bases: tuple[str, ...]
    methods: frozenset[str]
    num_samples: str = ''
    facts: HookFacts = field(default_factory=HookFacts)
    step: StepFacts | None = None
    init: tuple[str, ...] | None = None


@dataclass
class Classes:
    """The classes of a project by name; classes of one name in several files count together.

    Args:
        by_name: The classes.
        is_project: Whether they are all that the project has.
        runs_iterations: Whether something of the project may be trained for a number of iterations.
        validates: Whether something of the project may be validated or tested.
        scales_losses: Whether something of it may accumulate gradients or scale losses.
        used: Classes that code or configs, all of them known, use.
    """

    by_name: dict[str, list[ClassInfo]] = field(default_factory=dict)
    is_project: bool = False
    runs_iterations: bool = False
    validates: bool = True
    scales_losses: bool = True
    used: frozenset[str] = frozenset()

    @classmethod
    def of_module(cls, tree: ast.Module) -> Classes:
        """The classes of one module."""
        nodes = list(ast.walk(tree))
        origins = imported_names(nodes)
        found: dict[str, list[ClassInfo]] = {}
        for node in nodes:
            if isinstance(node, ast.ClassDef):
                bases = tuple(_full_name(base, origins) for base in node.bases)
                facts = HookFacts.of(node)
                info = ClassInfo(
                    node.name,
                    bases,
                    _defined(node),
                    _num_samples_of(node),
                    facts,
                    StepFacts.of(node),
                    _init_of(node),
                )
                found.setdefault(node.name, []).append(info)
        return cls(found, runs_iterations=any(map(_names_iterations, nodes)))

    @classmethod
    def of_files(cls, paths: Iterable[Path], *, is_project: bool = False) -> Classes:
        """The classes of the files that can be parsed.

        Args:
            paths: The files.
            is_project: Whether they are all files of a project.
        """
        merged = cls()
        for path in paths:
            try:
                tree = parse(path.read_bytes())
            except (OSError, SyntaxError):
                # The conversion of the file tells.
                continue
            merged = merged.with_those_of(cls.of_module(tree))
        return replace(merged, is_project=is_project)

    def with_those_of(self, other: Classes) -> Classes:
        """These classes and others."""
        by_name = {name: list(infos) for name, infos in self.by_name.items()}
        for name, infos in other.by_name.items():
            known = by_name.setdefault(name, [])
            known += [info for info in infos if info not in known]
        return Classes(
            by_name,
            self.is_project or other.is_project,
            self.runs_iterations or other.runs_iterations,
            self.validates and other.validates,
            self.scales_losses and other.scales_losses,
            self.used | other.used,
        )

    def ancestors(self, bases: Iterable[str]) -> Iterator[str | ClassInfo]:
        """All classes above: the project's as ClassInfo, others by their full names."""
        seen: set[str] = set()
        waiting = list(bases)
        while waiting:
            full = waiting.pop(0)
            name = full.rpartition('.')[2]
            if full in seen:
                continue
            seen.add(full)
            infos = () if full.startswith(('mmcv.', 'torch.')) else self.by_name.get(name, ())
            if not infos:
                yield full
            for info in infos:
                yield info
                waiting += info.bases

    def inherits_method(self, bases: Iterable[str], method: str) -> bool:
        """Whether a class of the project above defines ``method``."""
        return any(
            isinstance(one, ClassInfo) and method in one.methods for one in self.ancestors(bases)
        )

    def hook_facts(self, name: str) -> HookFacts:
        """What a class of the project, or one above it, does as a hook."""
        above = self.ancestors([name])
        facts = HookFacts.joined(one.facts for one in above if isinstance(one, ClassInfo))
        return replace(facts, is_counted_as_before=self.counts_as_before(name))

    def is_optimizer_hook(self, name: str) -> bool:
        """Whether a class of the project is an optimizer hook, a wrapper once it is migrated."""
        name = name.rpartition('.')[2]
        return name in self.by_name and any(
            one.startswith('mmcv.') and one.endswith('OptimizerHook')
            for one in self.outside([name])
        )

    def is_lr_hook(self, name: str) -> bool:
        """Whether a class of the project is a hook that says each learning rate."""
        return any(
            one.startswith('mmcv.') and one.rpartition('.')[2] == 'LrUpdaterHook'
            for one in self.outside([name])
        )

    def arguments_of_optimizer_hooks(self) -> dict[str, tuple[str, ...]]:
        """The arguments of optimizer hooks of the project, where they are known."""
        found = {}
        for name in filter(self.is_optimizer_hook, self.by_name):
            arguments = self._arguments_of(name)
            if arguments is not None:
                found[name] = arguments
        return found

    def counts_as_before(self, name: str) -> bool:
        """Whether a hook becomes a ``LegacyHook``, which counts epochs as MMCV did.

        Hooks do of a project that trains for a number of iterations, where they count epochs.
        """
        if not self.runs_iterations or self._outside_of_hooks([name]) != ['Hook']:
            return False
        counting = [
            one
            for one, infos in self.by_name.items()
            if any(info.facts.counts_epochs or info.facts.of_train_epochs for info in infos)
        ]
        below = any(name in (one, *self._names_above(one)) for one in counting)
        return below or not self._names_above(name).isdisjoint(counting)

    def _names_above(self, name: str) -> set[str]:
        return {one.name for one in self.ancestors([name]) if isinstance(one, ClassInfo)}

    def _outside_of_hooks(self, bases: Iterable[str]) -> list[str]:
        """The last parts of the names of MMCV's classes above; full names of others."""
        return [
            one.rpartition('.')[2] if one.startswith('mmcv.') else one
            for one in self.outside(bases)
            if one != 'object'
        ]

    def outside(self, bases: Iterable[str]) -> list[str]:
        """The classes above that are not the project's."""
        return [one for one in self.ancestors(bases) if isinstance(one, str)]

    def outputs_read(self) -> frozenset[str]:
        """The keys of a runner's outputs that hooks of the project read; '*' for any."""
        if not self.is_project:
            return frozenset('*')
        infos = [info for many in self.by_name.values() for info in many]
        return frozenset[str]().union(*(info.facts.outputs for info in infos))

    def reads_losses(self) -> bool:
        """Whether a hook that is known reads the loss of a runner's outputs."""
        return any(
            'loss' in info.facts.outputs and not self.is_optimizer_hook(name)
            for name, infos in self.by_name.items()
            for info in infos
        )

    def _steps(self) -> list[StepFacts]:
        known = (info.step for infos in self.by_name.values() for info in infos)
        return [step for step in known if step is not None]

    def returns_losses(self) -> bool:
        """Whether each model of the project, of which there are some, returns its loss."""
        steps = self._steps()
        return bool(steps) and all(step.returns_loss for step in steps)

    def has_several_optimizers(self) -> bool | None:
        """Whether models are passed a dict of optimizers; None if that is not known."""
        found = {step.several for step in self._steps()}
        return found.pop() if len(found) == 1 else None

    def _arguments_of(self, name: str) -> tuple[str, ...] | None:
        """The arguments of ``__init__`` of an optimizer hook; None if they are not known."""
        for one in self.ancestors([name]):
            if isinstance(one, str):
                return POSITIONS.get(one.rpartition('.')[2])
            if '__init__' in one.methods:
                return one.init
        return None

    def reads_gradients(self) -> bool:
        """Whether a hook of the project reads gradients behind a step; of a lone file, False."""
        infos = [info for many in self.by_name.values() for info in many]
        return self.is_project and any(
            info.facts.reads_gradients and 'Hook' in self._outside_of_hooks([info.name])
            for info in infos
        )

    def num_samples(self) -> str:
        """What all models of the project return as ``num_samples``; empty if they differ."""
        found = {info.num_samples for infos in self.by_name.values() for info in infos}
        steps = [
            info
            for infos in self.by_name.values()
            for info in infos
            if 'train_step' in info.methods
        ]
        known = {info.num_samples for info in steps}
        return known.pop() if len(known) == 1 and found else ''


def _names_iterations(node: ast.AST) -> bool:
    """Whether it names MMCV's runner of iterations, or builds what a config names."""
    names = ('IterBasedRunner', 'build_runner')
    if isinstance(node, (ast.Name, ast.Attribute)):
        return (node.id if isinstance(node, ast.Name) else node.attr) in names
    return isinstance(node, ast.Constant) and node.value == names[0]


def _full_name(node: ast.expr, origins: dict[str, str]) -> str:
    head, dot, rest = ast.unparse(node).partition('.')
    return f'{origins.get(head, head)}{dot}{rest}'


def _defined(node: ast.ClassDef) -> frozenset[str]:
    names = set()
    for item in node.body:
        if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names.add(item.name)
        elif isinstance(item, ast.Assign):
            names.update(one.id for one in item.targets if isinstance(one, ast.Name))
    return frozenset(names)


def _init_of(node: ast.ClassDef) -> tuple[str, ...] | None:
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == '__init__':
            args = item.args
            return None if args.vararg else tuple(one.arg for one in args.args[1:])
    return None


def _num_samples_of(node: ast.ClassDef) -> str:
    """``num_samples`` in the returned dict of ``train_step``, with ``{data}`` for the batch."""
    methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
    step, forward = methods.get('train_step'), methods.get('forward')
    if step is None or len(step.args.args) < 2:
        return ''
    data = step.args.args[1].arg
    found = _count_in(step, {data: '{data}'})
    unpacks = re.search(rf'self(\.forward)?\(\*\*{data}\b', ast.unparse(step))
    if found or forward is None or not unpacks:
        return found
    names = [one.arg for one in forward.args.args[1:]]
    return _count_in(forward, {name: f'{{data}}[{name!r}]' for name in names})


def _with_parts(method: ast.FunctionDef, known: dict[str, str]) -> tuple[dict[str, str], set[str]]:
    """``known`` and the names that are set once, to parts of it; and all names that are set."""
    set_names = [
        one.id
        for one in ast.walk(method)
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
    ]
    parts: dict[str, str] = {}
    for node in method.body:
        if not isinstance(node, ast.Assign) or len(node.targets) != 1:
            continue
        target, value = node.targets[0], node.value
        pairs = [(target, value)]
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = list(zip(target.elts, value.elts, strict=False))
        for name, part in pairs:
            is_part = re.fullmatch(r"(\w+)(\[['\"]\w+['\"]\])", ast.unparse(part))
            if not isinstance(name, ast.Name) or is_part is None or is_part[1] not in known:
                continue
            if set_names.count(name.id) == 1 and name.id not in known:
                parts[name.id] = known[is_part[1]] + is_part[2]
    return known | parts, set(set_names) - parts.keys()


def _count_in(method: ast.FunctionDef, known: dict[str, str]) -> str:
    """The one ``num_samples`` of a method, in terms of ``known`` names that are not assigned."""
    values = []
    for node in ast.walk(method):
        if isinstance(node, ast.keyword) and node.arg == 'num_samples':
            values.append(node.value)
        elif isinstance(node, ast.Dict):
            both = zip(node.keys, node.values, strict=True)
            values += [
                value
                for key, value in both
                if isinstance(key, ast.Constant) and key.value == 'num_samples'
            ]
    if len(values) != 1:
        return ''
    known, assigned = _with_parts(method, known)
    names = {one.id for one in ast.walk(values[0]) if isinstance(one, ast.Name)}
    if names - _OWN_DATA - known.keys() or assigned & known.keys() & names:
        return ''
    for one in ast.walk(values[0]):
        if isinstance(one, ast.Name) and one.id in known:
            one.id = known[one.id]
    return ast.unparse(values[0])
