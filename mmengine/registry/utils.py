"""List registered components, and set the default scope."""

import datetime
import json
import logging
import os
from pathlib import Path
from typing import Any

from mmengine.fileio import atomic_write
from mmengine.logging import print_log
from mmengine.registry import root
from mmengine.registry.default_scope import DefaultScope
from mmengine.registry.registry import Registry


def init_default_scope(scope: str) -> None:
    """Make ``scope`` the current default scope for the rest of the process.

    Args:
        scope: Name of the scope, usually of a package such as 'mmdet'. Its registries are imported
            when something is looked up.
    """
    current = DefaultScope.get_current_instance()
    if current is not None and current.scope_name != scope:
        print_log(
            f'The default scope changes from {current.scope_name!r} to {scope!r}.',
            logger='current',
            level=logging.WARNING,
        )
    if current is not None and current.scope_name == scope:
        return
    name = scope
    if DefaultScope.check_instance_created(name):
        # An existing instance keeps its position, and the last one is current, so use a new name.
        name = f'{scope}-{datetime.datetime.now()}'
    DefaultScope.get_instance(name, scope_name=scope)


def traverse_registry_tree(registry: Registry, verbose: bool = True) -> list[dict[str, Any]]:
    """List what the whole tree of a registry holds: the root first, children after their parent.

    Args:
        registry: Any registry of the tree.
        verbose: Log the number of each registry.

    Returns:
        For each registry its ``scope``, ``num_modules``, and for every package (as a path) the
        names registered from there.
    """
    found: list[dict[str, Any]] = []
    pending = [registry.root]
    while pending:
        node = pending.pop()
        pending.extend(reversed(node.children.values()))
        found.append(_contents(node))
        if verbose:
            print_log(
                f"{node.scope}'s {node.name!r} registry holds {len(node)} modules", logger='current'
            )
    return found


def _contents(registry: Registry) -> dict[str, Any]:
    contents: dict[str, Any] = {'num_modules': len(registry), 'scope': registry.scope}
    for name, component in registry.module_dict.items():
        package = getattr(component, '__module__', '').rpartition('.')[0].replace('.', '/')
        contents.setdefault(package, []).append(name)
    return contents


def count_registered_modules(save_path: str | None = None, verbose: bool = True) -> dict[str, Any]:
    """List what all root registries and their children hold.

    Args:
        save_path: Folder where ``modules_statistic_results.json`` is written.
        verbose: Log the result.

    Returns:
        ``scan_date``, and ``registries``: for the name of each root registry what
        :func:`traverse_registry_tree` gives.
    """
    roots = {name: value for name, value in vars(root).items() if isinstance(value, Registry)}
    for registry in roots.values():
        registry.import_from_location()
    result = {
        'scan_date': datetime.datetime.now().strftime('%Y-%m-%d %H:%M:%S'),
        'registries': {
            name: traverse_registry_tree(roots[name], verbose=verbose) for name in sorted(roots)
        },
    }
    if verbose:
        print_log(f'All registries: {result}', logger='current')
    if save_path is not None:
        path = Path(save_path) / 'modules_statistic_results.json'
        os.makedirs(save_path, exist_ok=True)
        with atomic_write(path, 'w') as file:
            json.dump(result, file, indent=2)
        print_log(f'All registries are listed in {path}', logger='current')
    return result
