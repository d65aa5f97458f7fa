"""What to say when something cannot be registered, found or built. Nothing here runs before a failure."""

from typing import TYPE_CHECKING, Any

from mmengine.config import source_location

if TYPE_CHECKING:
    from mmengine.registry.registry import Registry


class RegistryKeyError(KeyError):
    """A KeyError whose message reads as it was written, without quotes around it."""

    def __str__(self) -> str:
        return ''.join(map(str, self.args))


def written_at(cfg: Any, key: str | None = None) -> str:
    """`` (configs/a.py:12)``, the place where ``cfg`` or its key was written; empty if unknown."""
    try:
        place = source_location(cfg, key)
    except Exception:  # a message must never hide the error that it explains
        place = None
    return f' ({place})' if place else ''


def name_of(component: Any) -> str:
    """Import path of a class or function."""
    name = getattr(component, '__qualname__', None)
    if name is None:
        return repr(component)
    module = getattr(component, '__module__', None)
    return name if module in (None, 'builtins', '__main__') else f'{module}.{name}'


def unknown_type(kind: str, registry: 'Registry', cfg: Any, key: str) -> KeyError:
    return RegistryKeyError(
        f'{kind!r} is not in the {registry.name!r} registry{written_at(cfg, key)}.'
    )


def no_type(cfg: Any, registry: 'Registry') -> KeyError:
    return RegistryKeyError(f'no "type" in {cfg!r}{written_at(cfg)}')


def name_taken(registry: 'Registry', name: str, component: Any) -> KeyError:
    return RegistryKeyError(f'{name!r} is already registered in {registry.name!r}')


def explain(
    error: Exception, component: Any, args: dict[str, Any], cfg: Any, registry: 'Registry'
) -> Exception:
    return error
