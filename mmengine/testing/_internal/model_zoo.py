"""A package with a model zoo, and a server for its weights, for tests of what finds models."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the files of a folder over HTTP on this machine; yields the URL of the folder."""
    handler = functools.partial(_Silent, directory=str(folder))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f'http://127.0.0.1:{server.server_address[1]}'
        finally:
            server.shutdown()
            thread.join()


def write_package(
    folder: Path,
    name: str,
    configs: Mapping[str, str],
    metafiles: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Path:
    """Write a package as pip installs it, with configs and a model index inside.

    Args:
        folder: The package is made in it; put it on ``sys.path``.
        name: Name to import the package by.
        configs: Texts of the configs by their paths below ``configs``.
        metafiles: Entries of models by the paths of metafiles below ``configs``; YAML or JSON.

    Returns:
        The folder of the index, which holds ``configs``.
    """
    import yaml

    index = folder / name / '.mim'
    for path, text in configs.items():
        file = index / 'configs' / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding='utf-8')
    for path, models in metafiles.items():
        file = index / 'configs' / path
        write = json.dumps if file.suffix == '.json' else yaml.safe_dump
        content = {'Models': [dict(model) for model in models]}
        file.write_text(str(write(content)), encoding='utf-8')
    imports = [f'configs/{path}' for path in metafiles]
    (index / 'model-index.yml').write_text(yaml.safe_dump({'Import': imports}), encoding='utf-8')
    (index.parent / '__init__.py').touch()
    return index
