"""Time to migrate a tree of configs of MMCV 1.x.

    python benchmarks/migrate_config.py [--files 600]
        [--out benchmarks/results/migrate_config.json]

Four base files and configs on them, which override the schedule, the data and the model in turn.
Wall time of the whole command ``mmengine migrate config TREE -o NEW``, its start and its check of
each file included; every core may be used. The budget is for 2,000 files on 2 cores.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _report import format_table, make_parser, verdict, write_report

BUDGET_S = 90.0
BUDGET_FILES = 2000

BASES = {
    'schedule_1x.py': """\
# optimizer
optimizer = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001)
optimizer_config = dict(grad_clip=None)
# learning policy
lr_config = dict(
    policy='step', warmup='linear', warmup_iters=500, warmup_ratio=0.001, step=[8, 11])
runner = dict(type='EpochBasedRunner', max_epochs=12)
""",
    'runtime.py': """\
checkpoint_config = dict(interval=1)
log_config = dict(interval=50, hooks=[dict(type='TextLoggerHook')])
custom_hooks = [dict(type='NumClassCheckHook')]
dist_params = dict(backend='nccl')
log_level = 'INFO'
load_from = None
resume_from = None
workflow = [('train', 1)]
""",
    'data.py': """\
dataset_type = 'CocoDataset'
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', img_scale=(1333, 800), keep_ratio=True),
    dict(type='RandomFlip', flip_ratio=0.5),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size_divisor=32),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels']),
]
data = dict(
    samples_per_gpu=2,
    workers_per_gpu=2,
    train=dict(type=dataset_type, ann_file='train.json', pipeline=train_pipeline),
    val=dict(type=dataset_type, ann_file='val.json', pipeline=train_pipeline),
    test=dict(type=dataset_type, ann_file='val.json', pipeline=train_pipeline))
evaluation = dict(interval=1, metric='bbox')
""",
    'model.py': """\
model = dict(
    type='Detector',
    backbone=dict(type='ResNet', depth=50, norm_cfg=dict(type='BN', requires_grad=True)),
    head=dict(type='Head', num_classes=80, loss_cls=dict(type='FocalLoss', gamma=2.0)))
""",
}
CHILDREN = (
    'model = dict(backbone=dict(depth={n}))\n',
    "lr_config = dict(step=[{n}, {m}])\nrunner = dict(type='EpochBasedRunner', max_epochs=24)\n",
    "lr_config = dict(_delete_=True, policy='CosineAnnealing', min_lr_ratio=0.0{n})\n",
    "data = dict(samples_per_gpu={n}, train=dict(ann_file='train_{n}.json'))\n",
    "optimizer = dict(_delete_=True, type='AdamW', lr=0.000{n})\nfp16 = dict(loss_scale=512.0)\n",
    'optimizer_config = dict(_delete_=True, grad_clip=dict(max_norm={n}, norm_type=2))\n',
)


def write_tree(folder: Path, files: int) -> None:
    """``files`` configs, four of them bases of all the others."""
    base = folder / '_base_'
    base.mkdir()
    for name, text in BASES.items():
        (base / name).write_text(text, encoding='utf-8')
    names = ', '.join(f"'./_base_/{name}'" for name in BASES)
    for number in range(files - len(BASES)):
        change = CHILDREN[number % len(CHILDREN)].format(n=number % 9 + 1, m=number % 9 + 5)
        text = f'# Config {number}.\n_base_ = [{names}]\n\n{change}'
        (folder / f'config_{number}.py').write_text(text, encoding='utf-8')


def main() -> int:
    parser = make_parser(__file__, __doc__)
    parser.add_argument('--files', type=int, default=BUDGET_FILES)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, 'configs')
        source.mkdir()
        write_tree(source, options.files)
        words = ['-m', 'mmengine', 'migrate', 'config', str(source), '-o', f'{folder}/new']
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *words, '--rules', 'mmdet'], capture_output=True, text=True
        )
        seconds = time.perf_counter() - began
        written = len(list(Path(folder, 'new').rglob('*.py')))
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)

    rows = [[f'{written} of {options.files} files', f'{seconds:.1f}']]
    print(format_table(['mmengine migrate config', 'seconds'], rows))
    budget = BUDGET_S * options.files / BUDGET_FILES
    print(verdict(seconds, budget, 's'))
    write_report(
        options.out, files=options.files, written=written, budget_s=budget, seconds=seconds
    )
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
