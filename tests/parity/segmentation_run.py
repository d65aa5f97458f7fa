"""A small segmentation by iterations, written against the API alone.

``python segmentation_run.py OUT.json WORK_DIR [RANDOMNESS]`` runs it with whatever ``mmengine`` is
installed and writes down what a project would see: every logged number, every metric, and a sum of
the weights, each as the hexadecimal form of its float64. ``RANDOMNESS`` is JSON.
"""

import json
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement, PixelData

NUM_IMAGES = 10
NUM_CLASSES = 3
SIZE = 12


def _scene(index: int) -> tuple[np.ndarray, np.ndarray]:
    """An image of stripes and blocks, and the class of each of its pixels."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    mask = ((rows * (index % 3 + 1) + columns) // 5) % NUM_CLASSES
    image = np.stack([mask * 40.0 + rows, mask * 25.0 + columns, rows * columns / 2.0])
    return image.astype(np.float32), mask.astype(np.int64)


@DATASETS.register_module()
class Scenes(BaseDataset):
    METAINFO = {'classes': ('floor', 'wall', 'door')}

    def load_data_list(self) -> list[dict[str, Any]]:
        return [{'index': index} for index in range(NUM_IMAGES)]


@TRANSFORMS.register_module()
class LoadScene:
    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        image, mask = _scene(results['index'])
        return {**results, 'img': image, 'mask': mask}


@TRANSFORMS.register_module()
class FlipAndDim:
    """Draws from the generator of numpy, as most augmentation does."""

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        if np.random.rand() < 0.5:
            results['img'] = results['img'][:, :, ::-1].copy()
            results['mask'] = results['mask'][:, ::-1].copy()
        results['img'] = results['img'] * np.float32(np.random.uniform(0.8, 1.2))
        return results


@TRANSFORMS.register_module()
class PackScene:
    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        sample = BaseDataElement(metainfo={'index': results['index']})
        sample.gt = PixelData(data=torch.from_numpy(results['mask'])[None])
        return {'inputs': torch.from_numpy(results['img']), 'data_samples': sample}


@MODELS.register_module()
class Segmentor(BaseModel):
    def __init__(self, data_preprocessor: Any = None) -> None:
        super().__init__(data_preprocessor)
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.dropout = nn.Dropout2d(0.1)
        self.head = nn.Conv2d(8, NUM_CLASSES, 1)
        self.auxiliary = nn.Conv2d(8, NUM_CLASSES, 1)

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        features = self.backbone(inputs)
        scores = self.head(self.dropout(features))
        if mode == 'tensor':
            return scores
        if mode == 'predict':
            for sample, score in zip(data_samples, scores, strict=True):
                sample.prediction = PixelData(data=score.argmax(0, keepdim=True))
            return data_samples
        target = torch.cat([sample.gt.data for sample in data_samples])
        auxiliary = self.auxiliary(self.dropout(features))
        return {
            'decode.loss_ce': nn.functional.cross_entropy(scores, target),
            'decode.acc_seg': (scores.argmax(1) == target).float().mean() * 100,
            'aux.loss_ce': 0.4 * nn.functional.cross_entropy(auxiliary, target),
        }


@METRICS.register_module()
class Areas(BaseMetric):
    """``aAcc``, ``mAcc`` and ``mIoU`` in percent, from areas summed over all images."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        for sample in data_samples:
            truth, found = sample['gt']['data'][0], sample['prediction']['data'][0]
            pairs = torch.bincount(
                (truth * NUM_CLASSES + found).flatten(), minlength=NUM_CLASSES**2
            )
            self.results.append(pairs.reshape(NUM_CLASSES, NUM_CLASSES))

    def compute_metrics(self, results: list[torch.Tensor]) -> dict[str, float]:
        table = torch.stack(results).sum(0).double()
        hits, truth, found = table.diag(), table.sum(1), table.sum(0)
        return {
            'aAcc': 100 * float(hits.sum() / truth.sum()),
            'mAcc': 100 * float((hits / truth).mean()),
            'mIoU': 100 * float((hits / (truth + found - hits)).mean()),
        }


@HOOKS.register_module()
class Recorder(Hook):
    """Keeps the scalars of each training step and the metrics of each validation."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.steps: list[dict[str, str]] = []
        self.validations: list[dict[str, str]] = []

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        scalars = runner.message_hub.log_scalars
        now = {
            name: float(history.current()).hex()
            for name, history in scalars.items()
            if name.startswith('train/') and 'time' not in name
        }
        now['smooth loss'] = float(scalars['train/loss'].mean(7)).hex()
        now['order'] = ' '.join(str(sample.index) for sample in data_batch['data_samples'])
        self.steps.append(now)

    def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:
        self.validations.append({name: float(value).hex() for name, value in metrics.items()})


def main(out: str, work_dir: str, randomness: str = '{"seed": 0}') -> None:
    torch.set_num_threads(1)
    pipeline = [dict(type='LoadScene'), dict(type='FlipAndDim'), dict(type='PackScene')]
    loader = dict(batch_size=4, num_workers=0, collate_fn=dict(type='pseudo_collate'))
    recorder = Recorder()
    runner = Runner(
        model=dict(
            type='Segmentor',
            data_preprocessor=dict(
                type='ImgDataPreprocessor', mean=[50.0, 40.0, 30.0], std=[30.0, 25.0, 20.0]
            ),
        ),
        work_dir=work_dir,
        train_dataloader=dict(
            dataset=dict(type='Scenes', pipeline=pipeline),
            sampler=dict(type='InfiniteSampler', shuffle=True),
            **loader,
        ),
        val_dataloader=dict(
            dataset=dict(type='Scenes', pipeline=[pipeline[0], pipeline[2]], test_mode=True),
            sampler=dict(type='DefaultSampler', shuffle=False),
            **loader,
        ),
        val_evaluator=dict(type='Areas'),
        val_cfg=dict(type='ValLoop'),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=60, val_interval=20),
        optim_wrapper=dict(
            optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=0.0005),
            clip_grad=dict(max_norm=1.0),
            paramwise_cfg=dict(custom_keys={'head': dict(lr_mult=10.0)}, norm_decay_mult=0.0),
        ),
        param_scheduler=[
            dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=10),
            dict(type='PolyLR', eta_min=1e-4, power=0.9, by_epoch=False, begin=10, end=60),
        ],
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=10, log_metric_by_epoch=False),
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=20, save_best='mIoU'),
        ),
        custom_hooks=[recorder],
        log_processor=dict(by_epoch=False),
        randomness=json.loads(randomness),
        default_scope='mmengine',
    )
    runner.train()
    weights = {
        name: float(value.double().sum()).hex() for name, value in runner.model.state_dict().items()
    }
    found = {
        'made with': {'torch': torch.__version__.split('+')[0], 'cpu': _cpu()},
        'steps': recorder.steps,
        'validations': recorder.validations,
        'weights': weights,
    }
    Path(out).write_text(json.dumps(found, indent=1) + '\n')


def _cpu() -> str:
    """What decides how torch rounds on this machine: the kind of processor and its instructions."""
    return f'{platform.machine()} {torch.backends.cpu.get_cpu_capability()}'


if __name__ == '__main__':
    main(*sys.argv[1:])
