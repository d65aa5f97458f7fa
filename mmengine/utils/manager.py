"""Named global instances: each class has a table of its instances by name."""

import inspect
import os
import threading
import weakref
from typing import Any, ClassVar, TypeVar

from typing_extensions import Self

from mmengine.utils.errors import ArgumentError

T = TypeVar('T')

_lock = threading.RLock()


def _accquire_lock() -> None:
    """Acquire the lock of all tables of instances. The same thread can acquire it again."""
    _lock.acquire()


def _release_lock() -> None:
    """Release the lock of :func:`_accquire_lock`."""
    _lock.release()


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, 'register_at_fork'):
    # A data loader worker forked while another thread held the lock would wait for it forever.
    os.register_at_fork(after_in_child=_renew_lock)


class ManagerMeta(type):
    """Gives each class a separate ``_instance_dict`` and checks that ``__init__`` has ``name``."""

    _instance_dict: dict[str, Any]
    # Names whose owner is gone, and the instances dropped for it that somebody still holds.
    _released: set[str]
    _dropped: 'weakref.WeakValueDictionary[str, Any]'

    def __init__(cls, *args: Any) -> None:
        super().__init__(*args)
        cls._instance_dict = {}
        cls._released = set()
        cls._dropped = weakref.WeakValueDictionary()
        constructor = next(
            vars(base)['__init__'] for base in cls.__mro__ if '__init__' in vars(base)
        )
        if 'name' not in inspect.signature(constructor).parameters:
            raise ArgumentError(
                f'{cls.__name__}.__init__ must have a parameter `name`: '
                'instances are kept by their name.'
            )


class ManagerMixin(metaclass=ManagerMeta):
    """Base of classes whose instances are global and found by name, such as loggers.

    Each subclass has separate instances, in the order of creation; the newest is the current one.

    Args:
        name: Name of the instance, not empty.

    Raises:
        ArgumentError: If ``name`` is empty or not a string.

    Example:
        >>> class Counter(ManagerMixin):
        ...     def __init__(self, name: str, start: int = 0):
        ...         super().__init__(name)
        ...         self.value = start
        >>> Counter.get_instance('runs', start=3).value
        3
        >>> Counter.get_instance('runs') is Counter.get_current_instance()
        True
    """

    # Whether an instance belongs to the run of the same name, and goes when the run is gone.
    _is_of_run: ClassVar[bool] = False

    def __init__(self, name: str = '', **kwargs: Any) -> None:
        if not isinstance(name, str) or not name:
            raise ArgumentError(
                f'{type(self).__name__} needs a name that is a non-empty string, got {name!r}.'
            )
        self._instance_name = name

    @classmethod
    def get_instance(cls, name: str, **kwargs: Any) -> Self:
        """The instance called ``name``. If there is none, it is created with ``kwargs``.

        Args:
            name: Name of the instance.
            kwargs: Arguments of the constructor; unused when the instance exists already.

        Raises:
            ArgumentError: If ``name`` is empty or not a string.
        """
        if not isinstance(name, str):
            raise ArgumentError(
                f'{cls.__name__}.get_instance needs a name as a string, got {type(name).__name__}.'
            )
        with _lock:
            found = cls._instance_dict.get(name) or cls._dropped.get(name)
            if found is None:
                cls._drop_released()
                found = cls._instance_dict[name] = cls(name=name, **kwargs)
        return found

    @classmethod
    def _drop_released(cls) -> None:
        """Forget instances of runs that are gone; a new one is about to be the current one."""
        while cls._released:
            cls._drop(cls._released.pop())

    @classmethod
    def _drop(cls, name: str) -> None:
        instance = cls._instance_dict.pop(name, None)
        if instance is not None:
            cls._dropped[name] = instance  # whoever holds it, and asks by name, gets the same

    @classmethod
    def get_current_instance(cls) -> Self:
        """The instance created last.

        Raises:
            RuntimeError: If no instance was created yet.
        """
        with _lock:
            for name in reversed(cls._instance_dict):
                return cls._instance_dict[name]  # type: ignore[no-any-return]  # as above
        raise RuntimeError(
            f'{cls.__name__} has no instance yet. Call {cls.__name__}.get_instance(name=...) first.'
        )

    @classmethod
    def check_instance_created(cls, name: str) -> bool:
        """Whether :meth:`get_instance` has made an instance called ``name``."""
        return name in cls._instance_dict

    @property
    def instance_name(self) -> str:
        """The name under which the instance is kept."""
        return self._instance_name


def release_instances_of_run(name: str) -> None:
    """Let each class forget the instance of a run that is gone; the newest stays until the next.

    The garbage collector may call it at any moment, so it takes no lock.
    """
    pending: list[type[ManagerMixin]] = [ManagerMixin]
    while pending:
        for cls in pending.pop().__subclasses__():
            pending.append(cls)
            instances = cls._instance_dict
            if not cls._is_of_run or name not in instances:
                continue
            if next(reversed(instances)) == name:
                cls._released.add(name)
            else:
                cls._drop(name)
