"""The scope in which a type's bare name is looked up first."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

from mmengine.utils.errors import ArgumentError
from mmengine.utils.manager import ManagerMixin


class DefaultScope(ManagerMixin):
    """A named scope; the instance created last is the current one.

    A config that says ``default_scope = 'mmdet'`` finds ``ResNet`` in mmdet's registries first
    and then in mmengine's. Scopes nest: :meth:`overwrite_default_scope` makes another one current
    for a ``with`` block.

    Args:
        name: Name of the instance.
        scope_name: Name of the scope, usually the name of a package.
    """

    _is_of_run = True

    def __init__(self, name: str, scope_name: str) -> None:
        if not isinstance(scope_name, str):
            raise ArgumentError(
                f'A scope is named by a string such as "mmdet", got {scope_name!r} '
                f'of type {type(scope_name).__name__}.'
            )
        super().__init__(name)
        self._scope_name = scope_name

    @property
    def scope_name(self) -> str:
        """Name of the scope."""
        return self._scope_name

    @classmethod
    def get_current_instance(cls) -> 'DefaultScope | None':  # type: ignore[override] # none yet
        """The scope created last, or None before the first."""
        scopes = cls._instance_dict
        try:
            newest: DefaultScope = scopes[next(reversed(scopes))]
        except StopIteration:
            return None
        except (KeyError, RuntimeError):
            # Another thread removed its scope between the two look-ups.
            return cls.get_current_instance()
        return newest

    @classmethod
    @contextmanager
    def overwrite_default_scope(cls, scope_name: str | None) -> Generator[None, None, None]:
        """Make ``scope_name`` the current scope inside a ``with`` block.

        Args:
            scope_name: Name of the scope; None keeps the current one.
        """
        if scope_name is None:
            yield
            return
        # Blocks entered at the same time, or by two threads, need different names.
        name = f'overwrite-{time.time()}-{threading.get_ident()}-{len(cls._instance_dict)}'
        cls.get_instance(name, scope_name=scope_name)
        try:
            yield
        finally:
            cls._instance_dict.pop(name, None)


def current_scope_name() -> str | None:
    """Name of the current scope; None before the first. Fast enough to call in every build."""
    if not DefaultScope._instance_dict:
        return None
    scope = DefaultScope.get_current_instance()
    return None if scope is None else scope._scope_name
