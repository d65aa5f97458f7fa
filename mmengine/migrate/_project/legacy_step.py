"""One training step of legacy configs. Run by a Python that has MMCV 1.x, apart from this package.

    python legacy_step.py PROJECT ASKED.json FOLDER

For the config at each index of the list, ``FOLDER/index.pt`` holds the first weights, the batch and
the logs of the step, or the reason why there are none.
"""

from __future__ import annotations

import gc
import importlib
import inspect
import json
import os
import pathlib
import sys
import time
import warnings
from typing import Any

import torch

_SIDES = ('crop_size', 'img_scale', 'size', 'scale', 'input_size')
_LARGEST_SIDE = 64
_NUM_SAMPLES = 2
# Packages of the project that cannot be imported.
FAILED: list[str] = []


def main(project: str, asked: str, folder: str) -> None:
    """Take the steps."""
    warnings.simplefilter('ignore')
    time.sleep = lambda seconds: None
    sys.path.insert(0, project)
    os.chdir(project)
    for name in sorted(os.listdir('.')):
        if pathlib.Path(name, '__init__.py').is_file():
            try:
                importlib.import_module(name)
            except Exception as error:
                FAILED.append(f'{name}: {reason(error)}')
    for index, path in enumerate(json.loads(pathlib.Path(asked).read_text())):
        try:
            found = step(path)
        except Exception as error:
            found = dict(reason=reason(error))
        torch.save(found, str(pathlib.Path(folder, f'{index}.pt')))


def reason(error: Exception) -> str:
    """The first line of an error."""
    lines = str(error).strip().splitlines() or ['']
    return f'{type(error).__name__}: {lines[0]}'[:200]


def step(path: str) -> dict[str, Any]:
    """The weights before a step of the config, the batch, and what the step logged."""
    config = importlib.import_module('mmcv').Config.fromfile(path)
    torch.manual_seed(0)
    model = built(config.model, **{
        key: config[key] for key in ('train_cfg', 'test_cfg') if config.get(key)
    })  # fmt: skip
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    batch, is_stand_in = batch_for(config, model)
    model.train()
    optimizer = optimizers(model, config.optimizer)
    torch.manual_seed(0)
    outputs = model.train_step(batch, optimizer)
    logs = dict(outputs.get('log_vars') or {})
    if outputs.get('loss') is not None:
        logs['loss'] = outputs['loss']
    logs = {name: float(value) for name, value in logs.items()}
    return dict(weights=weights, batch=batch, logs=logs, is_stand_in=is_stand_in)


def built(config: Any, **default_args: Any) -> Any:
    """The object of a config, by the registry that has its type."""
    utils = importlib.import_module('mmcv.utils')
    kind = config['type']
    registries = [one for one in gc.get_objects() if isinstance(one, utils.Registry)]
    having = [one for one in registries if kind in one.module_dict]
    if not having:
        raise LookupError('; '.join([f'no registry has {kind}', *FAILED]))
    return utils.build_from_cfg(config, having[0], default_args or None)


def optimizers(model: Any, config: Any) -> Any:
    """The optimizer, or one for each named part of the model."""
    build_optimizer = importlib.import_module('mmcv.runner').build_optimizer
    if 'type' in config:
        return build_optimizer(model, config)
    return {name: build_optimizer(getattr(model, name), one) for name, one in config.items()}


def batch_for(config: Any, model: Any) -> tuple[Any, bool]:
    """The first samples of the training data; where they are not here, a stand-in."""
    collate = importlib.import_module('mmcv.parallel').collate
    data = config.data['train']
    try:
        dataset = built(data[0] if isinstance(data, (list, tuple)) else data)
        count = min(len(dataset), config.data.get('samples_per_gpu') or _NUM_SAMPLES)
        samples = [dataset[index] for index in range(count)]
        return opened(collate(samples, samples_per_gpu=count)), False
    except Exception as error:
        made = stand_in(config, model)
        if made is None:
            raise LookupError(f'no data, and no stand-in for it ({reason(error)})') from error
        return made, True


def opened(value: Any) -> Any:
    """A batch out of the containers of MMCV."""
    if all(hasattr(value, name) for name in ('stack', 'cpu_only', 'data')):
        return opened(value.data[0])
    if isinstance(value, dict):
        return {key: opened(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [opened(one) for one in value]
    return value


def stand_in(config: Any, model: Any) -> dict[str, Any] | None:
    """Random images with labels in the shapes that the arguments of the model tell; else None."""
    names: set[str] = set()
    for method in ('forward', 'forward_train'):
        if hasattr(model, method):
            names.update(inspect.signature(getattr(model, method)).parameters)
    if 'img' not in names:
        return None
    generator = torch.Generator().manual_seed(0)
    height, width = sides(config)
    count = config.data.get('samples_per_gpu') or _NUM_SAMPLES
    count = min(count, _NUM_SAMPLES)
    batch: dict[str, Any] = dict(img=torch.randn(count, 3, height, width, generator=generator))
    if 'gt_label' in names:
        batch['gt_label'] = torch.arange(count) % 2
    if 'gt_semantic_seg' in names:
        batch['gt_semantic_seg'] = torch.zeros(count, 1, height, width, dtype=torch.long)
        batch['img_metas'] = [
            dict(ori_shape=(height, width, 3), img_shape=(height, width, 3), flip=False)
        ] * count
    is_labelled = 'gt_label' in batch or 'gt_semantic_seg' in batch
    return batch if is_labelled else None


def sides(config: Any) -> tuple[int, int]:
    """Height and width of a small image, after the sizes in the training pipeline."""
    pipeline = config.get('train_pipeline') or []
    for transform in reversed(list(pipeline)):
        for key in _SIDES:
            value = transform.get(key)
            value = [value, value] if isinstance(value, int) else value
            if isinstance(value, (list, tuple)) and all(isinstance(one, int) for one in value):
                height, width = (value[-1] if one < 0 else one for one in value[:2])
                return min(abs(height), _LARGEST_SIDE), min(abs(width), _LARGEST_SIDE)
    return _LARGEST_SIDE, _LARGEST_SIDE


if __name__ == '__main__':
    main(*sys.argv[1:])
