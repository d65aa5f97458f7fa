"""Time to load and to print a nested config of 17 kB that inherits from six base files.

    python benchmarks/config_speed.py [--repeat 50] [--out benchmarks/results/config_speed.json]

CPU time of one call in a warm process: the median and the best of all repeats, in milliseconds.
Budgets are of the median: 15 ms to load, 30 ms to print. Loading again what was printed must give
an equal config.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _report import format_table, make_parser, write_report

from mmengine.config import Config

BUDGET_MS = {'load': 15.0, 'print': 30.0}

RUNTIME = """\
default_scope = 'mmengine'
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'))
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
visualizer = dict(type='Visualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
"""

SCHEDULE = """\
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1)]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001),
    clip_grad=dict(max_norm=35, norm_type=2))
auto_scale_lr = dict(enable=False, base_batch_size=16)
"""


def dataset_file(split: str) -> str:
    transforms = [
        f"    dict(type='Transform{index}', prob=0.{index + 1}, scale=(1333, "
        f'{640 + 32 * index}), keep_ratio=True,\n'
        f"        pad_val=dict(img=(114, 114, 114), masks=0, seg=255), interpolation='bilinear'),"
        for index in range(19)
    ]
    pipeline = f'{split}_pipeline'
    return '\n'.join(
        [
            f'{pipeline} = [',
            *transforms,
            ']',
            f'{split}_dataloader = dict(',
            '    batch_size=2, num_workers=2, persistent_workers=True,',
            f"    sampler=dict(type='DefaultSampler', shuffle={split == 'train'}),",
            "    dataset=dict(type='CocoDataset', data_root='data/coco/', "
            f"ann_file='annotations/{split}.json',",
            f"        data_prefix=dict(img='{split}2017/'), "
            'filter_cfg=dict(filter_empty_gt=True, min_size=32),',
            f'        pipeline={pipeline}, backend_args=None))',
            f"{split}_evaluator = dict(type='CocoMetric', metric=['bbox', 'segm'], "
            'format_only=False)',
            '',
        ]
    )


def model_file() -> str:
    def head(index: int) -> str:
        return (
            "            dict(type='Shared2FCBBoxHead', in_channels=256, fc_out_channels=1024, "
            'roi_feat_size=7,\n'
            '                num_classes=80, bbox_coder=dict(type="DeltaXYWHBBoxCoder", '
            'target_means=[0.0, 0.0, 0.0, 0.0],\n'
            f'                target_stds=[0.{index + 1}, 0.{index + 1}, 0.2, 0.2]), '
            'reg_class_agnostic=True,\n'
            "                loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, "
            f'loss_weight={index + 1}.0),\n'
            "                loss_bbox=dict(type='SmoothL1Loss', beta=1.0, "
            f'loss_weight={index + 1}.0)),'
        )

    return '\n'.join(
        [
            'model = dict(',
            "    type='CascadeRCNN',",
            '    data_preprocessor=dict(type="DetDataPreprocessor", mean=[123.675, 116.28, '
            '103.53],',
            '        std=[58.395, 57.12, 57.375], bgr_to_rgb=True, pad_mask=True, '
            'pad_size_divisor=32),',
            "    backbone=dict(type='ResNet', depth=50, num_stages=4, out_indices=(0, 1, 2, 3), "
            'frozen_stages=1,',
            "        norm_cfg=dict(type='BN', requires_grad=True), norm_eval=True, "
            "style='pytorch',",
            "        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')),",
            "    neck=dict(type='FPN', in_channels=[256, 512, 1024, 2048], out_channels=256, "
            'num_outs=5),',
            "    roi_head=dict(type='CascadeRoIHead', num_stages=8,",
            '        bbox_head=[',
            *[head(index) for index in range(8)],
            '        ]),',
            "    train_cfg=dict(rpn=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.7, "
            'neg_iou_thr=0.3),',
            "        sampler=dict(type='RandomSampler', num=256, pos_fraction=0.5)), "
            'allowed_border=0),',
            "    test_cfg=dict(rpn=dict(nms_pre=1000, max_per_img=1000, nms=dict(type='nms', "
            'iou_threshold=0.7))))',
            '',
        ]
    )


CHILD = """\
_base_ = ['model.py', 'train.py', 'val.py', 'test.py', 'schedule.py', 'runtime.py']
model = dict(
    backbone=dict(_delete_=True, type='SwinTransformer', embed_dims=96),
    neck=dict(num_outs=6))
train_dataloader = dict(batch_size=4, dataset=dict(ann_file='annotations/all.json'))
max_epochs = _base_.train_cfg.max_epochs * 3
train_cfg = dict(max_epochs=max_epochs)
work_dir = 'work_dirs/{{ fileBasenameNoExtension }}'
"""


def write_files(folder: Path) -> tuple[Path, int]:
    files = {
        'model.py': model_file(),
        'train.py': dataset_file('train'),
        'val.py': dataset_file('val'),
        'test.py': dataset_file('test'),
        'schedule.py': SCHEDULE,
        'runtime.py': RUNTIME,
        'child.py': CHILD,
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding='utf-8')
    return folder / 'child.py', sum(len(text.encode()) for text in files.values())


def cpu_ms(call: Callable[[], Any], repeat: int) -> list[float]:
    call()
    times = []
    for _ in range(repeat):
        start = time.process_time()
        call()
        times.append(1000 * (time.process_time() - start))
    return times


def main() -> None:
    parser = make_parser(__file__, __doc__)
    parser.add_argument('--repeat', type=int, default=50)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, size = write_files(Path(folder))
        cfg = Config.fromfile(path)
        cfg.dump(Path(folder) / 'dumped.py')
        if Config.fromfile(Path(folder) / 'dumped.py') != cfg:
            raise SystemExit('what was printed does not load to an equal config')
        times = {
            'load': cpu_ms(lambda: Config.fromfile(path), args.repeat),
            'print': cpu_ms(lambda: cfg.pretty_text, args.repeat),
        }
    print(f'{size / 1000:.1f} kB in seven files; {len(cfg.pretty_text) / 1000:.1f} kB printed')
    rows = {
        name: {
            'median_ms': round(statistics.median(values), 3),
            'best_ms': round(min(values), 3),
            'budget_ms': BUDGET_MS[name],
        }
        for name, values in times.items()
    }
    columns = ['', 'median ms', 'best ms', 'budget ms']
    print(format_table(columns, [[name, *row.values()] for name, row in rows.items()]))
    write_report(args.out, config_bytes=size, repeat=args.repeat, cpu_time=rows)


if __name__ == '__main__':
    main()
