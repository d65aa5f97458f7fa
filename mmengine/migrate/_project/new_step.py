"""The training steps of ``legacy_step.py`` by the migrated project, in a process apart.

python -m mmengine.migrate._project.new_step PROJECT ASKED.json FOLDER
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

# Packages of the project that cannot be imported.
_FAILED: list[str] = []


def main(project: str, asked: str, folder: str) -> None:
    """Take the steps; ``FOLDER/index.json`` holds the logs of each, or the reason for none."""
    warnings.simplefilter('ignore')
    sys.path.insert(0, project)
    os.chdir(project)
    for path in sorted(Path().iterdir()):
        if (path / '__init__.py').is_file():
            try:
                importlib.import_module(path.name)
            except Exception as error:
                _FAILED.append(f'{path.name}: {_reason(error)}')
    for index, path in enumerate(json.loads(Path(asked).read_text('utf-8'))):
        legacy = torch.load(Path(folder, f'{index}.pt'), weights_only=True)
        if 'reason' in legacy:
            continue
        try:
            found: dict[str, Any] = {'logs': _step(path, legacy)}
        except Exception as error:
            found = {'reason': _reason(error)}
        Path(folder, f'{index}.json').write_text(json.dumps(found), 'utf-8')


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ['']
    return f'{type(error).__name__}: {lines[0]}'[:200]


def _step(path: str, legacy: dict[str, Any]) -> dict[str, float]:
    from mmengine.config import Config
    from mmengine.optim import build_optim_wrapper

    config = Config.fromfile(path)
    torch.manual_seed(0)
    model = _built(config.model)
    model.load_state_dict(legacy['weights'])
    model.train()
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    torch.manual_seed(0)
    logs = model.train_step(legacy['batch'], wrapper)
    return {name: float(value) for name, value in logs.items()}


def _built(config: dict[str, Any]) -> Any:
    """The object of a config, by the registry that has its type."""
    from mmengine.registry import MODELS, Registry

    kind = config['type']
    registries = [one for one in gc.get_objects() if isinstance(one, Registry)]
    having = [one for one in registries if kind in one.module_dict]
    if not having and _FAILED:
        raise LookupError('; '.join([f'no registry has {kind}', *_FAILED]))
    return (having[0] if having else MODELS).build(config)


if __name__ == '__main__':
    main(*sys.argv[1:])
