"""Trees of legacy configs in the manner of projects: files by name, for :func:`write`."""

from __future__ import annotations

DETECTION = {
    '_base_/default_runtime.py': """\
checkpoint_config = dict(interval=1)
# yapf:disable
log_config = dict(
    interval=50,
    hooks=[
        dict(type='TextLoggerHook'),
        # dict(type='TensorboardLoggerHook')
    ])
# yapf:enable
custom_hooks = [dict(type='NumClassCheckHook')]

dist_params = dict(backend='nccl')
log_level = 'INFO'
load_from = None
resume_from = None
workflow = [('train', 1)]

# disable opencv multithreading to avoid system being overloaded
opencv_num_threads = 0
mp_start_method = 'fork'
auto_scale_lr = dict(enable=False, base_batch_size=16)
""",
    '_base_/schedules/schedule_1x.py': """\
# optimizer
optimizer = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001)
optimizer_config = dict(grad_clip=None)
# learning policy
lr_config = dict(
    policy='step',
    warmup='linear',
    warmup_iters=500,
    warmup_ratio=0.001,
    step=[8, 11])
runner = dict(type='EpochBasedRunner', max_epochs=12)
""",
    '_base_/datasets/shapes_detection.py': """\
# dataset settings
dataset_type = 'CocoDataset'
data_root = 'data/shapes/'
img_norm_cfg = dict(
    mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
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
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiScaleFlipAug',
        img_scale=(1333, 800),
        flip=False,
        transforms=[
            dict(type='Resize', keep_ratio=True),
            dict(type='RandomFlip'),
            dict(type='Normalize', **img_norm_cfg),
            dict(type='Pad', size_divisor=32),
            dict(type='ImageToTensor', keys=['img']),
            dict(type='Collect', keys=['img']),
        ])
]
data = dict(
    samples_per_gpu=2,
    workers_per_gpu=2,
    train=dict(
        type=dataset_type,
        ann_file=data_root + 'annotations/train.json',
        img_prefix=data_root + 'train/',
        pipeline=train_pipeline),
    val=dict(
        type=dataset_type,
        ann_file=data_root + 'annotations/val.json',
        img_prefix=data_root + 'val/',
        pipeline=test_pipeline),
    test=dict(
        type=dataset_type,
        ann_file=data_root + 'annotations/val.json',
        img_prefix=data_root + 'val/',
        pipeline=test_pipeline))
evaluation = dict(interval=1, metric='bbox')
""",
    '_base_/models/two_stage.py': """\
# model settings
model = dict(
    type='TwoStage',
    backbone=dict(
        type='SmallNet',
        depth=18,
        frozen_stages=1,
        norm_cfg=dict(type='BN', requires_grad=True),
        init_cfg=dict(type='Pretrained', checkpoint='zoo://small18')),
    neck=dict(type='FPN', in_channels=[64, 128, 256], num_outs=5),
    roi_head=dict(type='BoxHead', num_classes=80),
    # model training and testing settings
    train_cfg=dict(rpn=dict(pos_iou_thr=0.7, neg_iou_thr=0.3)),
    test_cfg=dict(rcnn=dict(score_thr=0.05, max_per_img=100)))
""",
    'two_stage/two_stage_s18_1x.py': """\
_base_ = [
    '../_base_/models/two_stage.py',
    '../_base_/datasets/shapes_detection.py',
    '../_base_/schedules/schedule_1x.py', '../_base_/default_runtime.py'
]
""",
    'two_stage/two_stage_s34_2x.py': """\
_base_ = './two_stage_s18_1x.py'
# a deeper backbone, twice as long
model = dict(
    backbone=dict(
        depth=34,
        init_cfg=dict(type='Pretrained', checkpoint='zoo://small34')))
lr_config = dict(step=[16, 22])
runner = dict(max_epochs=24)
""",
    'two_stage/two_stage_s18_mstrain_fp16.py': """\
_base_ = './two_stage_s18_1x.py'
img_norm_cfg = dict(
    mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], to_rgb=False)
train_pipeline = [
    dict(type='LoadImageFromFile', to_float32=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='Resize',
        img_scale=[(1333, 640), (1333, 800)],
        multiscale_mode='range',
        keep_ratio=True),
    dict(type='RandomFlip', flip_ratio=0.5),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size_divisor=32),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels', 'gt_masks']),
]
data = dict(train=dict(pipeline=train_pipeline))
fp16 = dict(loss_scale=512.)
evaluation = dict(metric=['bbox', 'segm'], classwise=True, save_best='bbox_mAP')
""",
    'transformer/queries_s18_50e.py': """\
_base_ = [
    '../_base_/datasets/shapes_detection.py', '../_base_/default_runtime.py'
]
model = dict(type='Queries', num_queries=100)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomFlip', flip_ratio=0.5),
    dict(
        type='AutoAugment',
        policies=[[
            dict(
                type='Resize',
                img_scale=[(480, 1333), (512, 1333), (544, 1333)],
                multiscale_mode='value',
                keep_ratio=True)
        ],
                  [
                      dict(
                          type='Resize',
                          img_scale=[(400, 1333), (500, 1333)],
                          multiscale_mode='value',
                          keep_ratio=True),
                      dict(
                          type='RandomCrop',
                          crop_type='absolute_range',
                          crop_size=(384, 600),
                          allow_negative_crop=True)
                  ]]),
    dict(type='Normalize', **{{_base_.img_norm_cfg}}),
    dict(type='Pad', size_divisor=1),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels'])
]
data = dict(train=dict(filter_empty_gt=False, pipeline=train_pipeline))
optimizer = dict(
    type='AdamW',
    lr=1e-4,
    weight_decay=0.0001,
    paramwise_cfg=dict(
        custom_keys={
            'backbone': dict(lr_mult=0.1),  # pretrained
            'sampling_offsets': dict(lr_mult=0.1)
        }))
optimizer_config = dict(grad_clip=dict(max_norm=0.1, norm_type=2))
lr_config = dict(policy='step', step=[40])
runner = dict(type='EpochBasedRunner', max_epochs=50)
find_unused_parameters = True
""",
    'one_stage/cells_tta.py': """\
_base_ = '../two_stage/two_stage_s18_1x.py'
classes = ('cell', 'debris')
data_root = 'data/cells/'
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiScaleFlipAug',
        img_scale=[(1333, 800), (2000, 1200)],
        flip=True,
        transforms=[
            dict(type='Resize', keep_ratio=True),
            dict(type='RandomFlip'),
            dict(type='Normalize', **_base_.img_norm_cfg),
            dict(type='Pad', size_divisor=32),
            dict(type='ImageToTensor', keys=['img']),
            dict(type='Collect', keys=['img']),
        ])
]
model = dict(roi_head=dict(num_classes=len(classes)))
data = dict(
    samples_per_gpu=4,
    train=dict(
        _delete_=True,
        type='RepeatDataset',
        times=3,
        dataset=dict(
            type='CocoDataset',
            classes=classes,
            ann_file=[data_root + 'a.json', data_root + 'b.json'],
            img_prefix=[data_root + 'a/', data_root + 'b/'],
            pipeline={{_base_.train_pipeline}})),
    val=dict(classes=classes, ann_file=data_root + 'val.json'),
    test=dict(classes=classes, ann_file=data_root + 'val.json', pipeline=test_pipeline))
custom_hooks = [
    dict(type='NumClassCheckHook'),
    dict(type='CountCellsHook', every=10, priority=48)  # our own
]
""",
}

SEGMENTATION = {
    '_base_/default_runtime.py': """\
# yapf:disable
log_config = dict(
    interval=50,
    hooks=[
        dict(type='TextLoggerHook', by_epoch=False),
        # dict(type='TensorboardLoggerHook')
    ])
# yapf:enable
dist_params = dict(backend='nccl')
log_level = 'INFO'
load_from = None
resume_from = None
workflow = [('train', 1)]
cudnn_benchmark = True
""",
    '_base_/schedules/schedule_40k.py': """\
# optimizer
optimizer = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0005)
optimizer_config = dict()
# learning policy
lr_config = dict(policy='poly', power=0.9, min_lr=1e-4, by_epoch=False)
# runtime settings
runner = dict(type='IterBasedRunner', max_iters=40000)
checkpoint_config = dict(by_epoch=False, interval=4000)
evaluation = dict(interval=4000, metric='mIoU', pre_eval=True)
""",
    '_base_/datasets/streets.py': """\
# dataset settings
dataset_type = 'CityscapesDataset'
data_root = 'data/streets/'
img_norm_cfg = dict(
    mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
crop_size = (512, 1024)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', img_scale=(2048, 1024), ratio_range=(0.5, 2.0)),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size=crop_size, pad_val=0, seg_pad_val=255),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_semantic_seg']),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiScaleFlipAug',
        img_scale=(2048, 1024),
        # img_ratios=[0.5, 0.75, 1.0, 1.25, 1.5, 1.75],
        flip=False,
        transforms=[
            dict(type='Resize', keep_ratio=True),
            dict(type='RandomFlip'),
            dict(type='Normalize', **img_norm_cfg),
            dict(type='ImageToTensor', keys=['img']),
            dict(type='Collect', keys=['img']),
        ])
]
data = dict(
    samples_per_gpu=2,
    workers_per_gpu=2,
    train=dict(
        type=dataset_type,
        data_root=data_root,
        img_dir='img/train',
        ann_dir='ann/train',
        pipeline=train_pipeline),
    val=dict(
        type=dataset_type,
        data_root=data_root,
        img_dir='img/val',
        ann_dir='ann/val',
        pipeline=test_pipeline),
    test=dict(
        type=dataset_type,
        data_root=data_root,
        img_dir='img/val',
        ann_dir='ann/val',
        pipeline=test_pipeline))
""",
    '_base_/models/fcn.py': """\
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    backbone=dict(type='SmallNet', norm_cfg=norm_cfg),
    decode_head=dict(type='FCNHead', num_classes=19, norm_cfg=norm_cfg))
train_cfg = dict()
test_cfg = dict(mode='whole')
""",
    'fcn/fcn_40k.py': """\
_base_ = [
    '../_base_/models/fcn.py', '../_base_/datasets/streets.py',
    '../_base_/default_runtime.py', '../_base_/schedules/schedule_40k.py'
]
""",
    'fcn/fcn_40k_ade.py': """\
_base_ = './fcn_40k.py'
data = dict(
    train=dict(
        type='ADE20KDataset', img_dir=['a/img', 'b/img'],
        ann_dir=['a/ann', 'b/ann']))
optimizer = dict(
    _delete_=True, type='AdamW', lr=6e-5, betas=(0.9, 0.999),
    paramwise_cfg=dict(custom_keys={'norm': dict(decay_mult=0.)}))
lr_config = dict(_delete_=True, policy='poly', warmup='linear',
                 warmup_iters=1500, warmup_ratio=1e-6,
                 power=1.0, min_lr=0.0, by_epoch=False)
""",
}

CLASSIFICATION = {
    '_base_/default_runtime.py': """\
checkpoint_config = dict(interval=1)
log_config = dict(interval=100, hooks=[dict(type='TextLoggerHook')])
dist_params = dict(backend='nccl')
log_level = 'INFO'
load_from = None
resume_from = None
workflow = [('train', 1)]
""",
    '_base_/datasets/flowers.py': """\
dataset_type = 'ImageNet'
img_norm_cfg = dict(
    mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', size=224),
    dict(type='RandomFlip', flip_prob=0.5, direction='horizontal'),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='ImageToTensor', keys=['img']),
    dict(type='ToTensor', keys=['gt_label']),
    dict(type='Collect', keys=['img', 'gt_label'])
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', size=(256, -1)),
    dict(type='CenterCrop', crop_size=224),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='ImageToTensor', keys=['img']),
    dict(type='Collect', keys=['img'])
]
data = dict(
    samples_per_gpu=32,
    workers_per_gpu=2,
    train=dict(
        type=dataset_type,
        data_prefix='data/flowers/train',
        pipeline=train_pipeline),
    val=dict(
        type=dataset_type,
        data_prefix='data/flowers/val',
        ann_file='data/flowers/meta/val.txt',
        pipeline=test_pipeline),
    test=dict(
        # the labels of the test set are not public
        type=dataset_type,
        data_prefix='data/flowers/val',
        ann_file='data/flowers/meta/val.txt',
        pipeline=test_pipeline))
evaluation = dict(interval=1, metric='accuracy', metric_options={'topk': (1, 5)})
""",
    'small_b256.py': """\
_base_ = ['_base_/datasets/flowers.py', '_base_/default_runtime.py']
model = dict(type='ImageClassifier', head=dict(num_classes=102, topk=(1, 5)))
total = 300
lr = 5e-4 * 1024 / 512
optimizer = dict(type='AdamW', lr=lr, weight_decay=0.05)
optimizer_config = dict(grad_clip=dict(max_norm=5.0))
lr_config = dict(
    policy='CosineAnnealing',
    by_epoch=False,
    min_lr_ratio=1e-2,
    warmup='linear',
    warmup_ratio=1e-3,
    warmup_iters=20,
    warmup_by_epoch=True)
runner = dict(type='EpochBasedRunner', max_epochs=total)
custom_hooks = [dict(type='EMAHook', momentum=4e-5, priority='ABOVE_NORMAL')]
""",
    'small_sweep.py': """\
_base_ = './small_b256.py'
# the same, for larger images
for split in ('train', 'val', 'test'):
    data = locals().get('data', {})
    data[split] = dict(data_prefix=f'data/large/{split}')
evaluation = dict(save_best='accuracy_top-1', interval=5)
""",
}

POSE = {
    'hand_heatmap.py': """\
log_level = 'INFO'
load_from = None
resume_from = None
dist_params = dict(backend='nccl')
workflow = [('train', 1)]
checkpoint_config = dict(interval=10)
evaluation = dict(interval=10, metric='mAP', save_best='AP')
optimizer = dict(type='Adam', lr=5e-4)
optimizer_config = dict(grad_clip=None)
# learning policy
lr_config = dict(
    policy='step',
    warmup='linear',
    warmup_iters=500,
    warmup_ratio=0.001,
    step=[170, 200])
total_epochs = 210
log_config = dict(
    interval=50, hooks=[
        dict(type='TextLoggerHook'),
    ])
channel_cfg = dict(num_output_channels=17, dataset_joints=17)
model = dict(
    type='TopDown',
    backbone=dict(type='SmallNet'),
    keypoint_head=dict(
        type='TopdownHeatmapSimpleHead',
        out_channels=channel_cfg['num_output_channels'],
        loss_keypoint=dict(type='JointsMSELoss', use_target_weight=True)),
    train_cfg=dict(),
    test_cfg=dict(flip_test=True, shift_heatmap=True))
data_cfg = dict(
    image_size=[192, 256],
    heatmap_size=[48, 64],
    use_gt_bbox=False,
    bbox_file='data/hands/boxes.json')
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TopDownGetBboxCenterScale', padding=1.25),
    dict(type='TopDownRandomShiftBboxCenter', shift_factor=0.16, prob=0.3),
    dict(type='TopDownRandomFlip', flip_prob=0.5),
    dict(
        type='TopDownHalfBodyTransform',
        num_joints_half_body=8,
        prob_half_body=0.3),
    dict(
        type='TopDownGetRandomScaleRotation', rot_factor=40, scale_factor=0.5),
    dict(type='TopDownAffine'),
    dict(type='ToTensor'),
    dict(
        type='NormalizeTensor',
        mean=[0.485, 0.456, 0.406],
        std=[0.229, 0.224, 0.225]),
    dict(type='TopDownGenerateTarget', sigma=2),
    dict(
        type='Collect',
        keys=['img', 'target', 'target_weight'],
        meta_keys=['image_file', 'joints_3d', 'center', 'scale']),
]
val_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TopDownGetBboxCenterScale', padding=1.25),
    dict(type='TopDownAffine'),
    dict(type='ToTensor'),
    dict(
        type='NormalizeTensor',
        mean=[0.485, 0.456, 0.406],
        std=[0.229, 0.224, 0.225]),
    dict(type='Collect', keys=['img'], meta_keys=['image_file', 'center']),
]
test_pipeline = val_pipeline
data_root = 'data/hands'
data = dict(
    samples_per_gpu=64,
    workers_per_gpu=2,
    val_dataloader=dict(samples_per_gpu=32),
    test_dataloader=dict(samples_per_gpu=32),
    train=dict(
        type='TopDownCocoDataset',
        ann_file=f'{data_root}/annotations/train.json',
        img_prefix=f'{data_root}/train/',
        data_cfg=data_cfg,
        pipeline=train_pipeline),
    val=dict(
        type='TopDownCocoDataset',
        ann_file=f'{data_root}/annotations/val.json',
        img_prefix=f'{data_root}/val/',
        data_cfg=data_cfg,
        pipeline=val_pipeline),
    test=dict(
        type='TopDownCocoDataset',
        ann_file=f'{data_root}/annotations/val.json',
        img_prefix=f'{data_root}/val/',
        data_cfg=data_cfg,
        pipeline=test_pipeline),
)
""",
}

VIDEO = {
    'clips_r18.py': """\
_base_ = ['runtime.py']
model = dict(
    type='Recognizer2D',
    backbone=dict(type='SmallNet'),
    # model training and testing settings
    train_cfg=None,
    test_cfg=dict(average_clips=None))
data_root = 'data/clips'
train_pipeline = [
    dict(type='SampleFrames', clip_len=1, frame_interval=1, num_clips=8),
    dict(type='FormatShape', input_format='NCHW'),
]
data = dict(
    videos_per_gpu=8,
    workers_per_gpu=4,
    train=dict(type='RawframeDataset', ann_file='train.txt', pipeline=train_pipeline),
    val=dict(type='RawframeDataset', ann_file='val.txt', pipeline=train_pipeline),
    val_dataloader=dict(videos_per_gpu=1, workers_per_gpu=1),
    test=dict(type='RawframeDataset', ann_file='val.txt', pipeline=train_pipeline))
evaluation = dict(interval=2, metrics=['top_k_accuracy', 'mean_class_accuracy'])
optimizer = dict(
    type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001,
    constructor='TSMOptimizerConstructor',
    paramwise_cfg=dict(fc_lr5=True))  # this lr is used for 8 gpus
optimizer_config = dict(grad_clip=dict(max_norm=20, norm_type=2))
lr_config = dict(policy='step', step=[20, 40])
total_epochs = 50
work_dir = './work_dirs/clips'
""",
    'runtime.py': """\
checkpoint_config = dict(interval=5)
log_config = dict(
    interval=20,
    hooks=[
        dict(type='TextLoggerHook'),
        dict(type='PaviLoggerHook'),
    ])
dist_params = dict(backend='nccl')
log_level = 'INFO'
load_from = None
resume_from = None
workflow = [('train', 1)]
""",
}

GAN = {
    'gan.py': """\
model = dict(
    type='StaticGAN',
    generator=dict(type='ToyGenerator', output_scale=32),
    discriminator=dict(type='ToyDiscriminator', input_scale=32),
    gan_loss=dict(type='GANLoss', gan_type='vanilla'))
# training sets
train_cfg = dict(disc_steps=1)
test_cfg = None

# define optimizer
optimizer = dict(
    generator=dict(type='Adam', lr=0.0002, betas=(0.5, 0.999)),
    discriminator=dict(type='Adam', lr=0.0002, betas=(0.5, 0.999)))
lr_config = None
dataset_type = 'UnconditionalImageDataset'
data = dict(
    samples_per_gpu=64,
    workers_per_gpu=4,
    train=dict(type='RepeatDataset', times=100, dataset=dict(
        type=dataset_type, imgs_root='data/faces', pipeline=[])),
    val=None)
checkpoint_config = dict(interval=10000, by_epoch=False, max_keep_ckpts=20)
log_config = dict(interval=100, hooks=[dict(type='TextLoggerHook')])
custom_hooks = [
    dict(
        type='VisualizeUnconditionalSamples',
        output_dir='training_samples',
        interval=10000)
]
runner = dict(
    type='DynamicIterBasedRunner',
    is_dynamic_ddp=False,  # the models take care of it
    pass_training_status=True)
total_iters = 300002
use_ddp_wrapper = True
dist_params = dict(backend='nccl')
workflow = [('train', 10000)]
cudnn_benchmark = True
""",
}

ALL = {
    'mmdet': DETECTION,
    'mmseg': SEGMENTATION,
    'mmcls': CLASSIFICATION,
    'mmpose': POSE,
    'video': VIDEO,
    'gan': GAN,
}


def write(name, folder):
    """Write a tree into ``folder``, and return its rules as the command takes them."""
    for path, text in ALL[name].items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return [] if name in ('video', 'gan') else [name]
