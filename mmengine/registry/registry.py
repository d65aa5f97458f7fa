"""Registry: names of classes and functions, for configs."""

import importlib
import inspect
import sys
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Generic, TypeVar, overload

import typing_extensions

from mmengine.logging import print_log
from mmengine.registry._errors import name_taken
from mmengine.registry._paths import imported, is_loaded
from mmengine.registry._table import table_text
from mmengine.registry.default_scope import DefaultScope, current_scope_name
from mmengine.utils.errors import ArgumentError

Component = TypeVar('Component', bound=Callable[..., Any])
# What building gives. typing_extensions: Python 3.10 has no defaults of type variables.
T = typing_extensions.TypeVar('T', default=Any)

ALL_REGISTRIES: 'weakref.WeakSet[Registry]' = weakref.WeakSet()
"""Every living registry; error messages look here for a name that is in another registry."""


class Registry(Generic[T]):
    """Maps names to classes and functions, and builds objects from configs with such names.

    Registries of one kind form a tree: mmengine's ``MODELS`` is the root, and the registry of a
    project is a child with the project's name as its *scope*. A name is looked up in the registry
    itself and then in its parents. ``'mmdet.ResNet'`` is looked up in the registry of scope
    ``mmdet``, anywhere in the tree; ``mmdet.registry`` is imported if necessary. A name that is in
    no registry, such as ``'torch.nn.Linear'``, is imported.

    Annotated with what it builds (``MODELS: Registry[nn.Module]``), a registry tells type checkers
    what :meth:`build` returns; by default that is ``Any``.

    Args:
        name: The kind of things registered here, such as 'model'; for messages.
        build_func: Called as ``build_func(cfg, *args, **kwargs, registry=self)`` by :meth:`build`.
            The default is the parent's, or :func:`~mmengine.registry.build_from_cfg`.
        parent: The registry where names are looked up that are unknown here.
        scope: Name of the scope; by default the top package of the code that makes the registry.
        locations: Modules to import the first time a name is not found.

    Raises:
        ArgumentError: If the parent is not a registry or already has a child of this scope, or the
            scope is not a string.

    Example:
        >>> from mmengine.registry import Registry
        >>> SHAPES = Registry('shape', scope='doc')
        >>> @SHAPES.register_module()
        ... class Square:
        ...     def __init__(self, side):
        ...         self.area = side**2
        >>> SHAPES.build(dict(type='Square', side=3)).area
        9
    """

    parent: 'Registry | None'
    build_func: Callable[..., Any]
    default_build_func: ClassVar[Callable[..., Any]]
    """``build_from_cfg``, set by :mod:`mmengine.registry.build_functions`."""
    _num_created: ClassVar[int] = 0

    def __init__(
        self,
        name: str,
        build_func: Callable[..., Any] | None = None,
        parent: 'Registry | None' = None,
        scope: str | None = None,
        locations: Sequence[str] = [],  # the API's default; never changed
    ) -> None:
        if parent is not None and not isinstance(parent, Registry):
            raise ArgumentError(
                f'The parent of registry {name!r} must be a Registry, got {type(parent).__name__}.'
            )
        if scope is not None and not isinstance(scope, str):
            raise ArgumentError(
                f'The scope of registry {name!r} must be a string, got {type(scope).__name__}.'
            )
        self._name = name
        self._scope = self.infer_scope() if scope is None else scope
        self._module_dict: dict[str, Callable[..., T]] = {}
        self._children: dict[str, Registry] = {}
        self._locations = (locations,) if isinstance(locations, str) else tuple(locations)
        self._locations_pending = bool(self._locations)
        self._deferred: dict[str, str] = {}
        # Scopes without a registry in this tree -> how many registries existed at the look-up.
        self._absent_scopes: dict[str, int] = {}
        self.parent = parent
        inherited = Registry.default_build_func if parent is None else parent.build_func
        self.build_func = build_func or inherited
        if parent is not None:
            parent._add_child(self)
        ALL_REGISTRIES.add(self)
        Registry._num_created += 1

    # Properties

    @property
    def name(self) -> str:
        """The kind of things registered here."""
        return self._name

    @property
    def scope(self) -> str:
        """The scope under which other registries of the tree find this one."""
        return self._scope

    @property
    def module_dict(self) -> dict[str, Callable[..., T]]:
        """Names and components registered here, without parents and children."""
        return self._module_dict

    @property
    def children(self) -> 'dict[str, Registry]':
        """The registries directly below, by scope."""
        return self._children

    @property
    def root(self) -> 'Registry':
        """The top of the tree."""
        node = self
        while node.parent is not None:
            node = node.parent
        return node

    def __len__(self) -> int:
        return len(self._module_dict)

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def __repr__(self) -> str:
        return table_text(f'Registry of {self._name}', self._module_dict)

    @staticmethod
    def infer_scope() -> str:
        """The top package of the calling code, or of the code that creates a registry."""
        frame = inspect.currentframe()
        while frame is not None and frame.f_globals.get('__name__') == __name__:
            frame = frame.f_back
        module: str = '__main__' if frame is None else frame.f_globals.get('__name__', '__main__')
        return module.partition('.')[0]

    @staticmethod
    def split_scope_key(key: str) -> tuple[str | None, str]:
        """Scope and name of ``'mmdet.ResNet'``; the scope is None where the key has no dot."""
        head, dot, tail = key.partition('.')
        return (head, tail) if dot else (None, key)

    # Registering

    @overload
    def register_module(
        self, name: str | Sequence[str] | None = None, force: bool = False, module: None = None
    ) -> Callable[[Component], Component]: ...
    @overload
    def register_module(
        self, name: str | Sequence[str] | None = None, force: bool = False, *, module: Component
    ) -> Component: ...
    @overload
    def register_module(self, name: Component) -> Component: ...

    def register_module(self, name: Any = None, force: bool = False, module: Any = None) -> Any:
        """Give a class or function a name that configs can use.

        A decorator, ``@MODELS.register_module()``, or a call,
        ``MODELS.register_module(module=ResNet)``.

        Args:
            name: The name, or several; by default the object's own ``__name__``.
            force: Replace a component that has the name.
            module: The class or function to register; without it a decorator is returned.

        Raises:
            TypeError: If an argument has a wrong type.
            KeyError: If the name is taken and ``force`` is not set.
        """
        if module is None and (inspect.isclass(name) or inspect.isroutine(name)):
            # Written as `@MODELS.register_module`, without parentheses.
            name, module = None, name
        if not isinstance(force, bool):
            raise TypeError(f'force must be True or False, got {force!r}.')
        if isinstance(name, str):
            names: list[str] | None = [name]
        elif name is None:
            names = None
        elif isinstance(name, Sequence) and all(isinstance(item, str) for item in name):
            names = list(name)
        else:
            raise TypeError(
                f'name must be None, a string or a sequence of strings, got {name!r} '
                f'of type {type(name).__name__}.'
            )
        if module is not None:
            self._register_module(module, names, force)
            return module

        def register(component: Component) -> Component:
            self._register_module(component, names, force)
            return component

        return register

    # Projects call this one at import, and subclasses override it to see what is registered.
    def _register_module(
        self, module: Any, module_name: str | Sequence[str] | None = None, force: bool = False
    ) -> None:
        if not callable(module):
            raise TypeError(
                f'Only classes and functions can be registered in {self._name!r}, '
                f'got {module!r} of type {type(module).__name__}.'
            )
        if module_name is None:
            module_name = getattr(module, '__name__', None)
            if module_name is None:
                raise TypeError(
                    f'{module!r} has no __name__ to be registered under. '
                    'Pass name=... to register_module.'
                )
        for name in [module_name] if isinstance(module_name, str) else module_name:
            if not force and name in self._module_dict:
                raise name_taken(title_of(self), name, self._module_dict[name], module)
            self._module_dict[name] = module

    def _add_child(self, child: 'Registry') -> None:
        if child.scope in self._children:
            raise ArgumentError(
                f'The {self._name!r} registry of scope {self._scope!r} has a child of scope '
                f'{child.scope!r} already. Pass another scope=... to the new registry.'
            )
        self._children[child.scope] = child

    def import_from_location(self) -> None:
        """Import the modules given as ``locations``, unless that was done before.

        Raises:
            ImportError: If one of them cannot be imported.
        """
        if not self._locations_pending:
            return
        # Before importing, because the modules may look up names here while they are imported.
        self._locations_pending = False
        try:
            for location in self._locations:
                importlib.import_module(location)
        except BaseException as error:
            self._locations_pending = True
            absent = error.name if isinstance(error, ModuleNotFoundError) else None
            if absent is not None and f'{location}.'.startswith(f'{absent}.'):
                raise ModuleNotFoundError(
                    f'The {self._name!r} registry of scope {self._scope!r} has {location!r} among '
                    f'its locations, but there is no module {absent!r}.',
                    name=absent,
                ) from error
            raise

    def defer(self, name: str, module: str) -> None:
        """Import ``module``, which registers or has ``name``, only when the name is looked up.

        For modules that are slow to import and seldom used, and for names that a user may register.

        Args:
            name: The name that the module registers or has.
            module: Its import path.
        """
        if name not in self._module_dict:
            self._deferred[name] = module

    # Looking up

    def get(self, key: str) -> Any:
        """The class or function that ``key`` names, or None if it names nothing.

        Args:
            key: A registered name (here or in a parent), one with its scope (``'mmdet.ResNet'``),
                or an import path (``'torch.nn.Linear'``), of whatever object.

        Raises:
            TypeError: If ``key`` is not a string.
            ImportError: If a module that must be imported for the look-up exists but fails to
                import.
        """
        try:
            found = self._module_dict.get(key)
        except TypeError:  # not hashable
            found = None
        if found is not None:
            return found
        if not isinstance(key, str):
            raise TypeError(f'Registry.get needs a name, got {key!r} of type {type(key).__name__}.')
        found = self._get_registered(key)
        if found is None and '.' in key:
            found = imported(key)
        return found

    def _get_registered(self, key: str) -> Any:
        """Look in the registries of the tree only."""
        scope, name = self.split_scope_key(key)
        if scope is not None:
            owner = self._registry_of(scope)
            if owner is None and not is_loaded(key) and import_scope(scope):
                owner = self._registry_of(scope)
            found = None if owner is None else owner._get_below(name)
            if found is not None:
                return found
        return self._get_upwards(key)

    def _get_below(self, name: str) -> Any:
        """``name`` here or in a parent; ``'scope.name'`` in a child."""
        scope, rest = self.split_scope_key(name)
        child = None if scope is None else self._children.get(scope)
        return self._get_upwards(name) if child is None else child._get_below(rest)

    def _get_upwards(self, name: str) -> Any:
        """``name`` here or else in the nearest parent that has it."""
        node: Registry | None = self
        while node is not None:
            found = node._module_dict.get(name)
            if found is None and node._locations_pending:
                node.import_from_location()
                found = node._module_dict.get(name)
            if found is None and name in node._deferred:
                module = importlib.import_module(node._deferred[name])
                # A module may leave the name free for a class that a user registers.
                found = node._module_dict.get(name) or getattr(module, name, None)
            if found is not None:
                return found
            node = node.parent
        return None

    def _registry_of(self, scope: str) -> 'Registry | None':
        """The registry of a scope that is nearest in the tree, importing nothing."""
        node = self
        while True:
            if node._scope == scope:
                return node
            child = node._children.get(scope)
            if child is not None:
                return child
            if node.parent is None:
                break
            node = node.parent
        # Rare: the scope is two or more levels below the root, in another branch.
        level = list(node._children.values())
        while level:
            for descendant in level:
                if descendant._scope == scope:
                    return descendant
            level = [child for parent in level for child in parent._children.values()]
        return None

    @contextmanager
    def switch_scope_and_registry(self, scope: str | None) -> 'Generator[Registry, None, None]':
        """Make ``scope`` the default inside a ``with`` block, which gets its registry of this tree.

        Args:
            scope: The scope; None keeps the current default scope.

        Yields:
            The registry of the scope, or this one when there is no such scope in the tree.
        """
        with DefaultScope.overwrite_default_scope(scope):
            yield self._lookup_start(current_scope_name())

    def _lookup_start(self, scope: str | None) -> 'Registry':
        """The registry of this tree where look-ups begin while ``scope`` is the default."""
        if scope is None or scope == self._scope:
            return self
        found = self._children.get(scope)
        if found is None:
            found = self._registry_of(scope)
        if found is not None:
            return found
        if self._absent_scopes.get(scope) == Registry._num_created:
            return self
        return self._import_lookup_start(scope)

    def _import_lookup_start(self, scope: str) -> 'Registry':
        reason = ''
        try:
            import_scope(scope)
        except ImportError as error:
            reason = f' (importing {scope}.registry failed: {error})'
        found = self._registry_of(scope)
        if found is not None:
            return found
        if scope not in self._absent_scopes:
            print_log(
                f'The default scope is {scope!r}, but it has no {self._name!r} registry{reason}; '
                f'the one of {self._scope!r} is used.',
                logger='current',
                level=30,  # logging.WARNING
            )
        self._absent_scopes[scope] = Registry._num_created
        return self

    # Building

    def build(self, cfg: Any, *args: Any, **kwargs: Any) -> T:
        """Build the object that ``cfg`` describes, with this registry's ``build_func``.

        Args:
            cfg: ``dict(type=..., ...)``: the class, by name or itself, and its arguments. Never
                changed.
            args: Further positional arguments of the build function.
            kwargs: Further named arguments of the build function, such as ``default_args``.
        """
        built: T = self.build_func(cfg, *args, **kwargs, registry=self)
        return built


def title_of(registry: Registry) -> str:
    """How messages call a registry."""
    return f'{registry.name!r} registry of scope {registry.scope!r}'


def import_scope(scope: str) -> bool:
    """Import ``<scope>.registry``, where a project keeps its registries.

    Returns:
        False if there is no such module.

    Raises:
        ImportError: If there is one but it fails to import.
    """
    module = f'{scope}.registry'
    if not scope.isidentifier():
        return False
    if module not in sys.modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name in (scope, module):
                return False
            raise
    return True
