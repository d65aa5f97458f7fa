"""Trees of legacy configs in the manner of eleven projects, with bases and heirs, by file name."""

from __future__ import annotations

_RUNTIME = """\
checkpoint_config = dict(interval=1)
log_config = dict(interval=50, hooks=[dict(type='TextLoggerHook')])
dist_params = dict(backend='nccl')
log_level = 'INFO'
load_from = None
resume_from = None
workflow = [('train', 1)]
"""
_EPOCHS = """\
optimizer = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001)
optimizer_config = dict(grad_clip=None)
lr_config = dict(policy='step', warmup='linear', warmup_iters=500, warmup_ratio=0.001, step=[8, 11])
runner = dict(type='EpochBasedRunner', max_epochs=12)
"""
_ITERS = """\
lr_config = dict(policy='Step', by_epoch=False, step=[200000], gamma=0.5)
checkpoint_config = dict(interval=5000, save_optimizer=True, by_epoch=False)
log_config = dict(interval=100, hooks=[dict(type='TextLoggerHook', by_epoch=False)])
total_iters = 300000
dist_params = dict(backend='nccl')
log_level = 'INFO'
load_from = None
resume_from = None
workflow = [('train', 1)]
"""
_NORM = (
    'img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], '
    'to_rgb=True)\n'
)
_WITHOUT_TIMES = _RUNTIME.partition('\n')[2]
_BASES = "_base_ = ['_base_/data.py', '_base_/schedule.py', '_base_/runtime.py']\n"


def _project(data, schedule=_EPOCHS, runtime=_RUNTIME, **leaves):
    files = {'_base_/data.py': data, '_base_/schedule.py': schedule, '_base_/runtime.py': runtime}
    return files | {f'{name}.py': text for name, text in leaves.items()}


_DETECTION = (
    _NORM
    + """\
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', img_scale=[(2048, 800), (2048, 1024)], keep_ratio=True),
    dict(type='RandomFlip', flip_ratio=0.5),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size_divisor=32),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels', 'gt_masks']),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(2048, 1024), flip=False, transforms=[
        dict(type='Resize', keep_ratio=True), dict(type='RandomFlip'),
        dict(type='Normalize', **img_norm_cfg), dict(type='Pad', size_divisor=32),
        dict(type='ImageToTensor', keys=['img']), dict(type='Collect', keys=['img'])])]
dataset_type = 'CityscapesDataset'
root = 'data/cityscapes/'
data = dict(
    samples_per_gpu=1, workers_per_gpu=2,
    train=dict(type='RepeatDataset', times=8, dataset=dict(
        type=dataset_type, ann_file=root + 'annotations/train.json',
        img_prefix=root + 'leftImg8bit/train/', pipeline=train_pipeline)),
    val=dict(type=dataset_type, ann_file=root + 'annotations/val.json',
             img_prefix=root + 'leftImg8bit/val/', pipeline=test_pipeline),
    test=dict(type=dataset_type, ann_file=root + 'annotations/test.json',
              img_prefix=root + 'leftImg8bit/test/', pipeline=test_pipeline))
evaluation = dict(interval=1, metric=['bbox', 'segm', 'cityscapes'], save_best='segm_mAP')
custom_hooks = [dict(type='NumClassCheckHook')]
"""
)
_OTHER_DATA = """\
for split in ('train', 'val', 'test'):
    data[split] = dict(type={kind!r}, ann_file=f'{{split}}.json', img_prefix=f'{{split}}/',
                       {more}pipeline=train_pipeline if split == 'train' else test_pipeline)
"""
_WHOLE = 'import copy\n' + _DETECTION + _EPOCHS + _RUNTIME


def _detection_of(kind, more, rest):
    return _WHOLE + _OTHER_DATA.format(kind=kind, more=more) + rest


DETECTION = _project(
    _DETECTION,
    cityscapes=_BASES + "model = dict(type='MaskRCNN', backbone=dict(type='ResNet'))\n",
    lvis=_detection_of('LVISV1Dataset', '', """\
model = dict(type='MaskRCNN')
data['train'] = dict(type='ClassBalancedDataset', oversample_thr=1e-3, dataset=data['train'])
evaluation = dict(interval=12, metric=['bbox', 'segm'])
"""),
    open_images=_detection_of('OpenImagesDataset', (
        "label_file='classes.csv', hierarchy_file='tree.json', meta_file='metas.pkl', "
        "image_level_ann_file='labels.csv', "), """\
model = dict(type='FasterRCNN')
train_pipeline[1] = dict(type='LoadAnnotations', with_bbox=True, denorm_bbox=True)
data['train_dataloader'] = dict(class_aware_sampler=dict(num_sample_class=1))
evaluation = dict(interval=1, metric='mAP', save_best='mAP')
"""),
    panoptic=_detection_of('CocoPanopticDataset', "seg_prefix=f'{split}/', "
                           "ins_ann_file=f'instances_{split}.json', ", """\
model = dict(type='Mask2Former')
train_pipeline[1] = dict(type='LoadPanopticAnnotations', with_bbox=True, with_mask=True,
                         with_seg=True)
evaluation = dict(interval=5000, metric=['PQ', 'bbox', 'segm'], save_best='PQ')
"""),
    voc=_detection_of('VOCDataset', '', """\
model = dict(type='RetinaNet', pretrained='zoo://r50', backbone=dict(type='ResNet', depth=50))
for split in ('train', 'val', 'test'):
    data[split].update(img_prefix='data/VOCdevkit/VOC2012/')
evaluation = dict(interval=1, metric='mAP', iou_thr=0.5, save_best='mAP')
"""),
    yolox=_detection_of('CocoDataset', '', """\
img_scale = (640, 640)
model = dict(type='YOLOX', input_size=img_scale, random_size_range=(15, 25),
             random_size_interval=10, backbone=dict(type='CSPDarknet'))
train_pipeline = [
    dict(type='Mosaic', img_scale=img_scale, pad_val=114.0, skip_filter=False),
    dict(type='RandomAffine', scaling_ratio_range=(0.1, 2), border=(-320, -320),
         min_area_ratio=0.2),
    dict(type='MixUp', img_scale=img_scale, ratio_range=(0.8, 1.6), pad_val=114.0),
    dict(type='YOLOXHSVRandomAug'), dict(type='RandomFlip', flip_ratio=0.5),
    dict(type='Resize', img_scale=img_scale, keep_ratio=True),
    dict(type='Pad', pad_to_square=True, pad_val=dict(img=(114.0, 114.0, 114.0))),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), keep_empty=False),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels'])]
data['train'] = dict(
    type='MultiImageMixDataset', pipeline=train_pipeline,
    dataset=dict(type='CocoDataset', ann_file='a.json', img_prefix='a/', filter_empty_gt=False,
                 pipeline=[dict(type='LoadImageFromFile'),
                           dict(type='LoadAnnotations', with_bbox=True)]))
data['persistent_workers'] = True
custom_hooks = [
    dict(type='YOLOXModeSwitchHook', num_last_epochs=15, priority=48),
    dict(type='SyncNormHook', num_last_epochs=15, interval=10, priority=48),
    dict(type='ExpMomentumEMAHook', resume_from=None, momentum=0.0001, priority=49)]
evaluation = dict(save_best='auto', interval=10, dynamic_intervals=[(11, 1)], metric='bbox')
"""),
)  # fmt: skip

CLASSIFICATION = _project(
    _NORM + """\
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', size=224, efficientnet_style=True, interpolation='bicubic'),
    dict(type='RandomFlip', flip_prob=0.5, direction='horizontal'),
    dict(type='RandAugment', policies=[dict(type='AutoContrast'), dict(type='Posterize',
         magnitude_key='bits', magnitude_range=(4, 0))], num_policies=2, magnitude_level=9),
    dict(type='RandomErasing', erase_prob=0.25, mode='rand'),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='ImageToTensor', keys=['img']), dict(type='ToTensor', keys=['gt_label']),
    dict(type='Collect', keys=['img', 'gt_label'])]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', size=(256, -1), backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='ImageToTensor', keys=['img']), dict(type='Collect', keys=['img'])]
dataset_type = 'ImageNet'
data = dict(
    samples_per_gpu=64, workers_per_gpu=4,
    train=dict(type=dataset_type, data_prefix='data/imagenet/train', pipeline=train_pipeline),
    val=dict(type=dataset_type, data_prefix='data/imagenet/val', ann_file='val.txt',
             pipeline=test_pipeline),
    test=dict(type=dataset_type, data_prefix='data/imagenet/val', ann_file='val.txt',
              pipeline=test_pipeline))
evaluation = dict(interval=10, metric='accuracy', save_best='auto')
""",
    mixup=_BASES + """\
model = dict(type='ImageClassifier', backbone=dict(type='ResNet'),
             head=dict(type='LinearClsHead', num_classes=1000),
             train_cfg=dict(augments=[
                 dict(type='BatchMixup', alpha=0.8, num_classes=1000, prob=0.5),
                 dict(type='BatchCutMix', alpha=1.0, num_classes=1000, prob=0.5)]))
data = dict(sampler=dict(type='RepeatAugSampler'))
custom_hooks = [dict(type='EMAHook', momentum=4e-5, priority='ABOVE_NORMAL')]
""",
    scores=_BASES + """\
model = dict(type='ImageClassifier')
evaluation = dict(metric=['accuracy', 'precision', 'f1_score'],
                  metric_options=dict(topk=(1, ), average_mode='macro'), save_best='f1_score')
custom_hooks = [dict(type='PreciseBNHook', num_samples=8192, interval=1),
                dict(type='SetAdaptiveMarginsHook')]
log_config = dict(hooks=[dict(type='TextLoggerHook'),
                         dict(type='MMClsWandbHook', init_kwargs=dict(project='a'))])
""",
    labels=_BASES + """\
model = dict(type='ImageClassifier')
data = dict(
    train=dict(type='VOC', data_prefix='data/VOC2007/',
               ann_file='data/VOC2007/ImageSets/Main/trainval.txt'),
    val=dict(type='VOC', data_prefix='data/VOC2007/',
             ann_file='data/VOC2007/ImageSets/Main/test.txt'),
    test=dict(type='VOC', data_prefix='data/VOC2007/',
              ann_file='data/VOC2007/ImageSets/Main/test.txt'))
evaluation = dict(metric=['mAP', 'CP', 'OP', 'CR', 'OR', 'CF1', 'OF1'], save_best='mAP',
                  metric_options=dict(thr=0.5))
""",
)  # fmt: skip

SEGMENTATION = _project(
    _NORM + """\
crop_size = (512, 512)
train_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='Resize', img_scale=(2048, 512), ratio_range=(0.5, 2.0)),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5), dict(type='PhotoMetricDistortion'),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size=crop_size, pad_val=0, seg_pad_val=255),
    dict(type='DefaultFormatBundle'), dict(type='Collect', keys=['img', 'gt_semantic_seg'])]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(2048, 512), flip=False, transforms=[
        dict(type='Resize', keep_ratio=True), dict(type='RandomFlip'),
        dict(type='Normalize', **img_norm_cfg), dict(type='ImageToTensor', keys=['img']),
        dict(type='Collect', keys=['img'])])]
data = dict(
    samples_per_gpu=4, workers_per_gpu=4,
    train=dict(type='ADE20KDataset', data_root='data/ade', img_dir='images/training',
               ann_dir='annotations/training', pipeline=train_pipeline),
    val=dict(type='ADE20KDataset', data_root='data/ade', img_dir='images/validation',
             ann_dir='annotations/validation', pipeline=test_pipeline),
    test=dict(type='ADE20KDataset', data_root='data/ade', img_dir='images/validation',
              ann_dir='annotations/validation', pipeline=test_pipeline))
""",
    """\
optimizer = dict(type='AdamW', lr=6e-5,
                 paramwise_cfg=dict(custom_keys={'norm': dict(decay_mult=0.)}))
optimizer_config = dict()
lr_config = dict(policy='poly', warmup='linear', warmup_iters=1500, warmup_ratio=1e-6, power=1.0,
                 min_lr=0.0, by_epoch=False)
runner = dict(type='IterBasedRunner', max_iters=160000)
checkpoint_config = dict(by_epoch=False, interval=16000)
evaluation = dict(interval=16000, metric='mIoU', pre_eval=True)
""",
    _WITHOUT_TIMES,
    ade=_BASES + "model = dict(type='EncoderDecoder', backbone=dict(type='ResNetV1c'))\n",
    streets=_BASES + """\
model = dict(type='CascadeEncoderDecoder')
data = dict(train=dict(type='CityscapesDataset'), val=dict(type='CityscapesDataset'),
            test=dict(type='CityscapesDataset'))
evaluation = dict(metric=['mIoU', 'cityscapes'], save_best='mIoU')
""",
    own=_BASES + """\
model = dict(type='EncoderDecoder')
data = dict(train=dict(type='CustomDataset', classes=('a', 'b'), palette=[[0, 0, 0], [1, 1, 1]]),
            val=dict(type='CustomDataset'), test=dict(type='CustomDataset'))
evaluation = dict(metric=['mDice', 'mFscore'])
""",
)  # fmt: skip

_POSE_HEAD = """\
channel_cfg = dict(num_output_channels=17, dataset_joints=17)
data_cfg = dict(image_size=[192, 256], heatmap_size=[48, 64], num_output_channels=17,
                num_joints=17, soft_nms=False, nms_thr=1.0, oks_thr=0.9, vis_thr=0.2,
                use_gt_bbox=False, det_bbox_thr=0.0, bbox_file='boxes.json')
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TopDownGetBboxCenterScale', padding=1.25),
    dict(type='TopDownRandomShiftBboxCenter', shift_factor=0.16, prob=0.3),
    dict(type='TopDownRandomFlip', flip_prob=0.5),
    dict(type='TopDownHalfBodyTransform', num_joints_half_body=8, prob_half_body=0.3),
    dict(type='TopDownGetRandomScaleRotation', rot_factor=40, scale_factor=0.5),
    dict(type='TopDownAffine'{udp}), dict(type='ToTensor'),
    dict(type='NormalizeTensor', mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
    dict(type='TopDownGenerateTarget', {target}),
    dict(type='Collect', keys=['img', 'target', 'target_weight'], meta_keys=['image_file'])]
val_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='TopDownGetBboxCenterScale', padding=1.25),
    dict(type='TopDownAffine'{udp}), dict(type='ToTensor'),
    dict(type='NormalizeTensor', mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
    dict(type='Collect', keys=['img'], meta_keys=['image_file', 'center'])]
test_pipeline = val_pipeline
data_root = 'data/x'
data = dict(
    samples_per_gpu=64, workers_per_gpu=2,
    val_dataloader=dict(samples_per_gpu=32), test_dataloader=dict(samples_per_gpu=32),
    train=dict(type={kind!r}, ann_file=f'{{data_root}}/train.json', img_prefix=f'{{data_root}}/',
               data_cfg=data_cfg, pipeline=train_pipeline),
    val=dict(type={kind!r}, ann_file=f'{{data_root}}/val.json', img_prefix=f'{{data_root}}/',
             data_cfg=data_cfg, pipeline=val_pipeline),
    test=dict(type={kind!r}, ann_file=f'{{data_root}}/val.json', img_prefix=f'{{data_root}}/',
              data_cfg=data_cfg, pipeline=test_pipeline))
evaluation = dict(interval=10, {evaluation})
optimizer = dict(type='Adam', lr=5e-4)
optimizer_config = dict(grad_clip=None)
lr_config = dict(policy='step', warmup='linear', warmup_iters=500, warmup_ratio=0.001,
                 step=[170, 200])
total_epochs = 210
model = dict(type={model!r}, backbone=dict(type='HRNet'))
"""


def _pose(kind, evaluation, target='sigma=2', udp='', model='PoseModel'):
    text = _POSE_HEAD.format(kind=kind, evaluation=evaluation, target=target, udp=udp, model=model)
    return text + _RUNTIME


POSE_METRICS = {
    'TopDownCocoDataset': ("metric='mAP', save_best='AP'", 'CocoMetric', 'coco/AP'),
    'TopDownCrowdPoseDataset': ("metric='mAP', key_indicator='AP'", 'CocoMetric', 'crowdpose/AP'),
    'TopDownCocoWholeBodyDataset': (
        "metric='mAP', save_best='AP'", 'CocoWholeBodyMetric', 'coco-wholebody/AP'),
    'TopDownHalpeDataset': ("metric='mAP', save_best='AP'", 'CocoMetric', 'coco/AP'),
    'TopDownAicDataset': ("metric='mAP', save_best='AP'", 'CocoMetric', 'coco/AP'),
    'TopDownPoseTrack18Dataset': (
        "metric='mAP', save_best='Total AP'", 'PoseTrack18Metric', 'posetrack18/Total AP'),
    'TopDownMpiiDataset': ("metric='PCKh', save_best='PCKh'", 'MpiiPCKAccuracy', 'PCK'),
    'TopDownMpiiTrbDataset': ("metric='PCKh', save_best='PCKh'", 'PCKAccuracy', 'PCK'),
    'TopDownJhmdbDataset': (
        "metric=['PCK', 'tPCK'], save_best='Mean PCK'", 'JhmdbPCKAccuracy', 'PCK'),
    'FreiHandDataset': (
        "metric=['PCK', 'AUC', 'EPE'], save_best='AUC'", 'PCKAccuracy AUC EPE', 'AUC'),
    'HandCocoWholeBodyDataset': (
        "metric=['PCK', 'AUC'], save_best='AUC'", 'PCKAccuracy AUC', 'AUC'),
    'PanopticDataset': ("metric=['PCK', 'AUC', 'EPE']", 'PCKAccuracy AUC EPE', None),
    'InterHand3DDataset': (
        "metric=['MRRPE', 'MPJPE', 'Handedness acc'], save_best='MRRPE'", 'InterHandMetric',
        'MRRPE'),
    'FaceAFLWDataset': ("metric=['NME'], save_best='NME'", 'NME', 'NME'),
    'FaceWFLWDataset': ("metric=['NME'], save_best='NME'", 'NME', 'NME'),
    'AnimalHorse10Dataset': ("metric=['PCK', 'NME'], save_best='PCK'", 'PCKAccuracy NME', 'PCK'),
    'AnimalPoseDataset': ("metric='mAP', save_best='AP'", 'CocoMetric', 'coco/AP'),
    'AnimalFlyDataset': ("metric=['PCK', 'AUC', 'EPE']", 'PCKAccuracy AUC EPE', None),
    'DeepFashionDataset': ("metric=['PCK', 'AUC', 'EPE']", 'PCKAccuracy AUC EPE', None),
}  # fmt: skip
POSE = {
    f'{kind}.py': _pose(kind, evaluation) for kind, (evaluation, *_) in POSE_METRICS.items()
} | {
    'udp.py': _pose('TopDownCocoDataset', "metric='mAP'",
                    "sigma=2, encoding='UDP', target_type='GaussianHeatmap'", ', use_udp=True'),
    'dark.py': _pose('TopDownCocoDataset', "metric='mAP'", 'sigma=3, unbiased_encoding=True'),
    'mspn.py': _pose('TopDownCocoDataset', "metric='mAP'",
                     "kernel=[(15, 15), (11, 11)], encoding='Megvii'"),
    'bottom_up.py': _RUNTIME + _EPOCHS + """\
data_cfg = dict(image_size=512, base_size=256, base_sigma=2, heatmap_size=[128], num_joints=17)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='BottomUpRandomAffine', rot_factor=30, scale_factor=[0.75, 1.5], scale_type='short',
         trans_factor=40),
    dict(type='BottomUpRandomFlip', flip_prob=0.5), dict(type='ToTensor'),
    dict(type='NormalizeTensor', mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
    dict(type='BottomUpGenerateTarget', sigma=2, max_num_people=30),
    dict(type='Collect', keys=['img', 'joints', 'targets', 'masks'], meta_keys=[])]
val_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='BottomUpGetImgSize', test_scale_factor=[1]),
    dict(type='BottomUpResizeAlign', transforms=[dict(type='ToTensor'), dict(
        type='NormalizeTensor', mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])]),
    dict(type='Collect', keys=['img'], meta_keys=['image_file'])]
data = dict(
    workers_per_gpu=2, train_dataloader=dict(samples_per_gpu=24),
    val_dataloader=dict(samples_per_gpu=1), test_dataloader=dict(samples_per_gpu=1),
    train=dict(type='BottomUpCocoDataset', ann_file='a.json', img_prefix='a/', data_cfg=data_cfg,
               pipeline=train_pipeline),
    val=dict(type='BottomUpCocoDataset', ann_file='b.json', img_prefix='b/', data_cfg=data_cfg,
             pipeline=val_pipeline),
    test=dict(type='BottomUpCocoDataset', ann_file='b.json', img_prefix='b/', data_cfg=data_cfg,
              pipeline=val_pipeline))
evaluation = dict(interval=50, metric='mAP', save_best='AP')
model = dict(type='BottomUpModel')
""",
}  # fmt: skip

_ACTION = """\
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_bgr=False)
train_pipeline = [
    dict(type='DecordInit'),
    dict(type='SampleFrames', clip_len=32, frame_interval=2, num_clips=1),
    dict(type='DecordDecode'), dict(type='Resize', scale=(-1, 256)),
    dict(type='RandomResizedCrop'), dict(type='Resize', scale=(224, 224), keep_ratio=False),
    dict(type='Flip', flip_ratio=0.5), dict(type='Normalize', **img_norm_cfg),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='Collect', keys=['imgs', 'label'], meta_keys=[]),
    dict(type='ToTensor', keys=['imgs', 'label'])]
val_pipeline = [
    dict(type='DecordInit'), dict(type='SampleFrames', clip_len=32, test_mode=True),
    dict(type='DecordDecode'), dict(type='ThreeCrop', crop_size=256),
    dict(type='Normalize', **img_norm_cfg), dict(type='FormatShape', input_format='NCTHW'),
    dict(type='Collect', keys=['imgs', 'label'], meta_keys=[]),
    dict(type='ToTensor', keys=['imgs'])]
data = dict(
    videos_per_gpu=8, workers_per_gpu=2, test_dataloader=dict(videos_per_gpu=1),
    train=dict(type='VideoDataset', ann_file='a.txt', data_prefix='a', pipeline=train_pipeline),
    val=dict(type='VideoDataset', ann_file='b.txt', data_prefix='b', pipeline=val_pipeline),
    test=dict(type='VideoDataset', ann_file='b.txt', data_prefix='b', pipeline=val_pipeline))
evaluation = dict(interval=5, metrics=['top_k_accuracy', 'mean_class_accuracy'])
"""
ACTION = _project(
    _ACTION,
    slowfast=_BASES + """\
model = dict(type='Recognizer3D', cls_head=dict(type='SlowFastHead', num_classes=400),
             train_cfg=None, test_cfg=dict(average_clips='prob'))
evaluation = dict(save_best='top1_acc', metric_options=dict(top_k_accuracy=dict(topk=(1, 3))))
""",
    mixup=_BASES + """\
model = dict(type='Recognizer2D', cls_head=dict(type='TSMHead'),
             train_cfg=dict(blending=dict(type='MixupBlending', num_classes=400, alpha=.2)),
             test_cfg=dict(average_clips='prob'))
optimizer = dict(constructor='TSMOptimizerConstructor', paramwise_cfg=dict(fc_lr5=True))
""",
    graph=_RUNTIME + _EPOCHS + """\
model = dict(type='SkeletonGCN', backbone=dict(type='STGCN'), cls_head=dict(type='STGCNHead'),
             train_cfg=None, test_cfg=None)
pipeline = [dict(type='PaddingWithLoop', clip_len=300), dict(type='PoseDecode'),
            dict(type='FormatGCNInput', input_format='NCTVM'), dict(type='PoseNormalize'),
            dict(type='Collect', keys=['keypoint', 'label'], meta_keys=[]),
            dict(type='ToTensor', keys=['keypoint'])]
data = dict(videos_per_gpu=16, workers_per_gpu=2,
            train=dict(type='PoseDataset', ann_file='a.pkl', data_prefix='', pipeline=pipeline),
            val=dict(type='PoseDataset', ann_file='b.pkl', data_prefix='', pipeline=pipeline),
            test=dict(type='PoseDataset', ann_file='b.pkl', data_prefix='', pipeline=pipeline))
evaluation = dict(interval=5, metrics=['top_k_accuracy'])
""",
    proposals=_RUNTIME + _EPOCHS + """\
model = dict(type='BMN', temporal_dim=100)
pipeline = [dict(type='LoadLocalizationFeature'), dict(type='GenerateLocalizationLabels'),
            dict(type='Collect', keys=['raw_feature', 'gt_bbox'], meta_name='video_meta',
                 meta_keys=['video_name']),
            dict(type='ToTensor', keys=['raw_feature']),
            dict(type='ToDataContainer', fields=[dict(key='gt_bbox', stack=False)])]
data = dict(videos_per_gpu=16, workers_per_gpu=8, train_dataloader=dict(drop_last=True),
            train=dict(type='ActivityNetDataset', ann_file='a.json', data_prefix='f/',
                       pipeline=pipeline),
            val=dict(type='ActivityNetDataset', ann_file='b.json', data_prefix='f/',
                     pipeline=pipeline),
            test=dict(type='ActivityNetDataset', ann_file='b.json', data_prefix='f/',
                      pipeline=pipeline))
evaluation = dict(interval=1, metrics=['AR@AN'])
""",
    ava=_BASES + """\
model = dict(type='FastRCNN', backbone=dict(type='ResNet3dSlowOnly'))
dataset_type = 'AVADataset'
pipeline = [dict(type='SampleAVAFrames', clip_len=4, frame_interval=16),
            dict(type='RawFrameDecode'), dict(type='RandomRescale', scale_range=(256, 320)),
            dict(type='Flip', flip_ratio=0.5),
            dict(type='FormatShape', input_format='NCTHW', collapse=True),
            dict(type='Rename', mapping=dict(imgs='img')),
            dict(type='ToTensor', keys=['img', 'proposals']),
            dict(type='ToDataContainer', fields=[dict(key=['proposals'], stack=False)]),
            dict(type='Collect', keys=['img', 'proposals'], meta_keys=['scores'])]
data = dict(
    train=dict(_delete_=True, type=dataset_type, ann_file='a.csv', exclude_file='e.csv',
               label_file='l.pbtxt', proposal_file='p.pkl', data_prefix='f', pipeline=pipeline),
    val=dict(_delete_=True, type=dataset_type, ann_file='b.csv', exclude_file='e.csv',
             label_file='l.pbtxt', proposal_file='p.pkl', data_prefix='f', pipeline=pipeline))
data['test'] = dict(data['val'], _delete_=True)
evaluation = dict(_delete_=True, interval=1, save_best='mAP@0.5IOU')
""",
)  # fmt: skip

_EDITING = """\
train_pipeline = [
    dict(type='LoadImageFromFile', io_backend='disk', key='lq', flag='unchanged'),
    dict(type='LoadImageFromFile', io_backend='disk', key='gt', flag='unchanged'),
    dict(type='RescaleToZeroOne', keys=['lq', 'gt']),
    dict(type='Normalize', keys=['lq', 'gt'], mean=[0, 0, 0], std=[1, 1, 1], to_rgb=True),
    dict(type='PairedRandomCrop', gt_patch_size=96),
    dict(type='Flip', keys=['lq', 'gt'], flip_ratio=0.5, direction='horizontal'),
    dict(type='RandomTransposeHW', keys=['lq', 'gt'], transpose_ratio=0.5),
    dict(type='Collect', keys=['lq', 'gt'], meta_keys=['lq_path', 'gt_path']),
    dict(type='ImageToTensor', keys=['lq', 'gt'])]
test_pipeline = [
    dict(type='LoadImageFromFile', io_backend='disk', key='lq', flag='unchanged'),
    dict(type='LoadImageFromFile', io_backend='disk', key='gt', flag='unchanged'),
    dict(type='RescaleToZeroOne', keys=['lq', 'gt']),
    dict(type='Normalize', keys=['lq', 'gt'], mean=[0, 0, 0], std=[1, 1, 1], to_rgb=True),
    dict(type='Collect', keys=['lq', 'gt'], meta_keys=['lq_path', 'lq_path']),
    dict(type='ImageToTensor', keys=['lq', 'gt'])]
data = dict(
    workers_per_gpu=8, train_dataloader=dict(samples_per_gpu=16, drop_last=True),
    val_dataloader=dict(samples_per_gpu=1), test_dataloader=dict(samples_per_gpu=1),
    train=dict(type='RepeatDataset', times=1000, dataset=dict(
        type='SRAnnotationDataset', lq_folder='a/x4', gt_folder='a', ann_file='a.txt',
        pipeline=train_pipeline, scale=4)),
    val=dict(type='SRFolderDataset', lq_folder='b/x4', gt_folder='b', pipeline=test_pipeline,
             scale=4, filename_tmpl='{}_x4'),
    test=dict(type='SRFolderDataset', lq_folder='b/x4', gt_folder='b', pipeline=test_pipeline,
              scale=4, filename_tmpl='{}'))
evaluation = dict(interval=5000, save_image=False, gpu_collect=True)
"""
EDITING = {
    'edsr.py': _EDITING + _ITERS + """\
scale = 4
model = dict(type='BasicRestorer', generator=dict(type='EDSR', upscale_factor=scale),
             pixel_loss=dict(type='L1Loss'))
train_cfg = None
test_cfg = dict(metrics=['PSNR', 'SSIM'], crop_border=scale)
optimizers = dict(generator=dict(type='Adam', lr=1e-4, betas=(0.9, 0.999)))
visual_config = None
""",
    'esrgan.py': "_base_ = './edsr.py'\n" + """\
model = dict(type='ESRGAN', discriminator=dict(type='ModifiedVGG'))
optimizers = dict(discriminator=dict(type='Adam', lr=1e-4, betas=(0.9, 0.999)))
""",
    'matting.py': _ITERS + """\
model = dict(type='DIM', backbone=dict(type='SimpleEncoderDecoder'),
             train_cfg=dict(train_backbone=True),
             test_cfg=dict(refine=False, metrics=['SAD', 'MSE', 'GradientError']))
pipeline = [
    dict(type='LoadImageFromFile', key='alpha', flag='grayscale'),
    dict(type='LoadImageFromFile', key='fg'),
    dict(type='RandomLoadResizeBg', bg_dir='bg'),
    dict(type='CompositeFg', fg_dirs=['fg'], alpha_dirs=['alpha']),
    dict(type='CropAroundUnknown', keys=['alpha', 'fg', 'bg'], crop_sizes=[320, 480]),
    dict(type='Flip', keys=['alpha', 'fg', 'bg']), dict(type='MergeFgAndBg'),
    dict(type='GenerateTrimap', kernel_size=(1, 30)),
    dict(type='RescaleToZeroOne', keys=['merged', 'alpha']),
    dict(type='Normalize', keys=['merged'], mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225],
         to_rgb=True),
    dict(type='Collect', keys=['merged', 'alpha', 'trimap'], meta_keys=[]),
    dict(type='FormatTrimap', to_onehot=False),
    dict(type='ImageToTensor', keys=['merged'])]
data = dict(workers_per_gpu=4, train_dataloader=dict(samples_per_gpu=1),
            val_dataloader=dict(samples_per_gpu=1),
            train=dict(type='AdobeComp1kDataset', ann_file='a.json', data_prefix='d',
                       pipeline=pipeline),
            val=dict(type='AdobeComp1kDataset', ann_file='b.json', data_prefix='d',
                     pipeline=pipeline))
evaluation = dict(interval=40000)
optimizers = dict(type='Adam', lr=0.00001)
""",
}  # fmt: skip

GENERATION = {
    'stylegan2.py': _ITERS + """\
model = dict(type='StyleGANV2', generator=dict(type='StyleGANv2Generator', out_size=256),
             discriminator=dict(type='StyleGAN2Discriminator', in_size=256))
train_cfg = dict(use_ema=True)
train_pipeline = [
    dict(type='LoadImageFromFile', io_backend='disk', key='real_img'),
    dict(type='Flip', keys=['real_img'], direction='horizontal'),
    dict(type='Normalize', keys=['real_img'], mean=[127.5] * 3, std=[127.5] * 3, to_rgb=False),
    dict(type='ImageToTensor', keys=['real_img']),
    dict(type='Collect', keys=['real_img'], meta_keys=['real_img_path'])]
data = dict(samples_per_gpu=4, workers_per_gpu=4,
            train=dict(type='RepeatDataset', times=100, dataset=dict(
                type='UnconditionalImageDataset', imgs_root='data/ffhq', pipeline=train_pipeline)),
            val=dict(type='UnconditionalImageDataset', imgs_root='data/ffhq',
                     pipeline=train_pipeline))
optimizer = dict(generator=dict(type='Adam', lr=0.002, betas=(0, 0.99)),
                 discriminator=dict(type='Adam', lr=0.002, betas=(0, 0.99)))
custom_hooks = [
    dict(type='VisualizeUnconditionalSamples', output_dir='training_samples', interval=5000),
    dict(type='ExponentialMovingAverageHook', module_keys=('generator_ema', ), interval=1,
         interp_cfg=dict(momentum=0.999), priority='VERY_HIGH')]
evaluation = dict(type='GenerativeEvalHook', interval=10000, metrics=dict(
    type='FID', num_images=50000, inception_pkl='i.pkl', bgr2rgb=True),
    sample_kwargs=dict(sample_model='ema'), best_metric='fid')
runner = dict(type='DynamicIterBasedRunner', is_dynamic_ddp=False, pass_training_status=True)
lr_config = None
""",
    'translation.py': _ITERS + """\
model = dict(type='Pix2Pix', default_domain='photo', reachable_domains=['photo'],
             related_domains=['photo', 'mask'])
pipeline = [
    dict(type='LoadPairedImageFromFile', io_backend='disk', key='pair', domain_a='mask',
         domain_b='photo'),
    dict(type='Resize', keys=['img_photo', 'img_mask'], scale=(286, 286)),
    dict(type='FixedCrop', keys=['img_photo', 'img_mask'], crop_size=(256, 256)),
    dict(type='Flip', keys=['img_photo', 'img_mask'], direction='horizontal'),
    dict(type='Normalize', keys=['img_photo', 'img_mask'], mean=[127.5] * 3, std=[127.5] * 3),
    dict(type='ImageToTensor', keys=['img_photo', 'img_mask']),
    dict(type='Collect', keys=['img_photo', 'img_mask'], meta_keys=['img_mask_path'])]
data = dict(samples_per_gpu=1, workers_per_gpu=4,
            train=dict(type='PairedImageDataset', dataroot='d', pipeline=pipeline),
            val=dict(type='PairedImageDataset', dataroot='d', pipeline=pipeline, test_mode=True),
            test=dict(type='PairedImageDataset', dataroot='d', pipeline=pipeline, test_mode=True))
optimizer = dict(generators=dict(type='Adam', lr=2e-4), discriminators=dict(type='Adam', lr=2e-4))
custom_hooks = [dict(type='MMGenVisualizationHook', output_dir='training_samples',
                     res_name_list=['fake_photo'], interval=5000)]
evaluation = dict(type='TranslationEvalHook', target_domain='photo', interval=10000, metrics=[
    dict(type='FID', num_images=106, bgr2rgb=True), dict(type='IS', num_images=106)],
    best_metric=['fid', 'is'])
lr_config = None
""",
}  # fmt: skip

SELF_SUPERVISION = {
    'simsiam.py': _EPOCHS + _RUNTIME + """\
model = dict(type='SimSiam', backbone=dict(type='ResNet'))
prefetch = False
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
train_pipeline = [
    dict(type='RandomResizedCrop', size=224, scale=(0.2, 1.)),
    dict(type='RandomAppliedTrans', transforms=[dict(type='ColorJitter', brightness=0.4)], p=0.8),
    dict(type='RandomGrayscale', p=0.2), dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0,
                                              p=0.5),
    dict(type='RandomHorizontalFlip')]
if not prefetch:
    train_pipeline.extend([dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)])
data = dict(samples_per_gpu=32, workers_per_gpu=4, drop_last=True, train=dict(
    type='MultiViewDataset', data_source=dict(type='ImageNet', data_prefix='a', ann_file='a.txt'),
    num_views=[2], pipelines=[train_pipeline], prefetch=prefetch))
custom_hooks = [dict(type='SimSiamHook', fix_pred_lr=True, lr=0.05)]
""",
    'linear.py': _EPOCHS + _RUNTIME + """\
model = dict(type='Classification', backbone=dict(type='ResNet', frozen_stages=4),
             head=dict(type='ClsHead', with_avg_pool=True, in_channels=2048, num_classes=1000))
train_pipeline = [dict(type='RandomResizedCrop', size=224), dict(type='RandomHorizontalFlip'),
                  dict(type='ToTensor'), dict(type='Normalize', mean=[0.5] * 3, std=[0.2] * 3)]
test_pipeline = [dict(type='Resize', size=256), dict(type='CenterCrop', size=224),
                 dict(type='ToTensor'), dict(type='Normalize', mean=[0.5] * 3, std=[0.2] * 3)]
data = dict(
    samples_per_gpu=32, workers_per_gpu=5,
    train=dict(type='SingleViewDataset', data_source=dict(
        type='ImageNet', data_prefix='a', ann_file='a.txt'), pipeline=train_pipeline,
        prefetch=False),
    val=dict(type='SingleViewDataset', data_source=dict(
        type='ImageNet', data_prefix='b', ann_file='b.txt'), pipeline=test_pipeline,
        prefetch=False))
evaluation = dict(interval=1, topk=(1, 5), save_best='head0_top1')
""",
    'rotation.py': _EPOCHS + _RUNTIME + """\
model = dict(type='RotationPred', backbone=dict(type='ResNet'))
data = dict(samples_per_gpu=16, workers_per_gpu=2, train=dict(
    type='RotationPredDataset', data_source=dict(type='ImageNet', data_prefix='a'), pipeline=[
        dict(type='RandomResizedCrop', size=224), dict(type='ToTensor'),
        dict(type='Normalize', mean=[0.5] * 3, std=[0.2] * 3)], prefetch=False))
custom_hooks = [dict(type='MomentumUpdateHook')]
""",
}  # fmt: skip

ROTATED = _project(
    _NORM + """\
angle_version = 'le90'
train_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RResize', img_scale=(1024, 1024)),
    dict(type='RRandomFlip', flip_ratio=[0.25, 0.25, 0.25],
         direction=['horizontal', 'vertical', 'diagonal'], version=angle_version),
    dict(type='PolyRandomRotate', rotate_ratio=0.5, angles_range=180, auto_bound=False,
         rect_classes=[9, 11], version=angle_version),
    dict(type='Normalize', **img_norm_cfg), dict(type='Pad', size_divisor=32),
    dict(type='DefaultFormatBundle'), dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels'])]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(1024, 1024), flip=False, transforms=[
        dict(type='RResize'), dict(type='Normalize', **img_norm_cfg),
        dict(type='Pad', size_divisor=32), dict(type='DefaultFormatBundle'),
        dict(type='Collect', keys=['img'])])]
data = dict(
    samples_per_gpu=2, workers_per_gpu=2,
    train=dict(type='DOTADataset', ann_file='a/annfiles/', img_prefix='a/images/',
               version=angle_version, pipeline=train_pipeline),
    val=dict(type='DOTADataset', ann_file='b/annfiles/', img_prefix='b/images/',
             version=angle_version, pipeline=test_pipeline),
    test=dict(type='DOTADataset', ann_file='c/', img_prefix='c/images/', version=angle_version,
              pipeline=test_pipeline))
evaluation = dict(interval=1, metric='mAP', save_best='mAP')
""",
    oriented=_BASES + "model = dict(type='OrientedRCNN', backbone=dict(type='ResNet'))\n",
    hrsc=_BASES + """\
model = dict(type='RotatedRetinaNet')
data = dict(
    train=dict(type='HRSCDataset', classwise=False, ann_file='trainval.txt', ann_subdir='Ann/',
               img_subdir='All/', img_prefix='FullDataSet/'),
    val=dict(type='HRSCDataset', classwise=False, ann_file='test.txt', img_prefix='FullDataSet/'),
    test=dict(type='HRSCDataset', classwise=False, ann_file='test.txt',
              img_prefix='FullDataSet/'))
evaluation = dict(nproc=4, iou_thr=0.5)
""",
)  # fmt: skip

_POINT_CLOUDS = """\
class_names = ['Car']
data_root = 'data/{folder}/'
file_client_args = dict(backend='disk')
train_pipeline = [
    dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=4, use_dim=4,
         file_client_args=file_client_args),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='ObjectNoise', num_try=100), dict(type='RandomFlip3D', flip_ratio_bev_horizontal=0.5),
    dict(type='GlobalRotScaleTrans', rot_range=[-0.78, 0.78]),
    dict(type='PointsRangeFilter', point_cloud_range=[0, -40, -3, 70.4, 40, 1]),
    dict(type='PointShuffle'), dict(type='DefaultFormatBundle3D', class_names=class_names),
    dict(type='Collect3D', keys=['points', 'gt_bboxes_3d', 'gt_labels_3d'])]
test_pipeline = [
    dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=4, use_dim=4),
    dict(type='MultiScaleFlipAug3D', img_scale=(1333, 800), pts_scale_ratio=1, flip=False,
         transforms=[
             dict(type='GlobalRotScaleTrans', rot_range=[0, 0]), dict(type='RandomFlip3D'),
             dict(type='DefaultFormatBundle3D', class_names=class_names, with_label=False),
             dict(type='Collect3D', keys=['points'])])]
eval_pipeline = [
    dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=4, use_dim=4),
    dict(type='DefaultFormatBundle3D', class_names=class_names, with_label=False),
    dict(type='Collect3D', keys=['points'])]
data = dict(
    samples_per_gpu=6, workers_per_gpu=4,
    train=dict(type='RepeatDataset', times=2, dataset=dict(
        type={kind!r}, data_root=data_root, ann_file=data_root + 'train.pkl',
        pipeline=train_pipeline, classes=class_names, test_mode=False, box_type_3d='LiDAR')),
    val=dict(type={kind!r}, data_root=data_root, ann_file=data_root + 'val.pkl',
             pipeline=test_pipeline, classes=class_names, test_mode=True, box_type_3d='LiDAR'),
    test=dict(type={kind!r}, data_root=data_root, ann_file=data_root + 'val.pkl',
              pipeline=test_pipeline, classes=class_names, test_mode=True, box_type_3d='LiDAR'))
evaluation = dict(interval=1, pipeline=eval_pipeline)
"""


def _points(kind, model, folder='x', more=''):
    text = _POINT_CLOUDS.replace('{folder}', folder).replace('{kind!r}', repr(kind))
    return text + _EPOCHS + _RUNTIME + f'model = dict(type={model!r}{more})\n'


_VOXELS = ', voxel_layer=dict(max_num_points=5, voxel_size=[0.05, 0.05, 0.1])'
POINTS = {
    'kitti.py': _points('KittiDataset', 'VoxelNet', more=_VOXELS)
    + "for split in ('val', 'test'):\n    data[split].update(split='training', "
    "pts_prefix='velodyne_reduced')\nevaluation['save_best'] = "
    "'KITTI/Car_3D_AP40_moderate_strict'\n",
    'nuscenes.py': _points('NuScenesDataset', 'CenterPoint',
                           more=_VOXELS.replace('voxel_layer', 'pts_voxel_layer')),
    'lyft.py': _points('LyftDataset', 'MVXFasterRCNN'),
    'waymo.py': _points('WaymoDataset', 'DynamicVoxelNet', 'waymo/kitti_format'),
    'scannet.py': _points('ScanNetDataset', 'VoteNet'),
    'sunrgbd.py': _points('SUNRGBDDataset', 'VoteNet'),
    's3dis.py': _points('S3DISSegDataset', 'EncoderDecoder3D'),
    'mono.py': _NORM + _EPOCHS + _RUNTIME + """\
model = dict(type='FCOSMono3D')
train_pipeline = [
    dict(type='LoadImageFromFileMono3D'), dict(type='LoadAnnotations3D', with_bbox=True),
    dict(type='Resize', img_scale=(1600, 900), keep_ratio=True),
    dict(type='RandomFlip3D', flip_ratio_bev_horizontal=0.5),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size_divisor=32), dict(type='DefaultFormatBundle3D', class_names=['car']),
    dict(type='Collect3D', keys=['img', 'gt_bboxes', 'gt_labels', 'gt_bboxes_3d'])]
test_pipeline = [
    dict(type='LoadImageFromFileMono3D'),
    dict(type='MultiScaleFlipAug', scale_factor=1.0, flip=False, transforms=[
        dict(type='RandomFlip3D'), dict(type='Normalize', **img_norm_cfg),
        dict(type='Pad', size_divisor=32),
        dict(type='DefaultFormatBundle3D', class_names=['car'], with_label=False),
        dict(type='Collect3D', keys=['img'])])]
part = dict(type='NuScenesMonoDataset', data_root='d/', ann_file='d/a.coco.json', img_prefix='d/',
            classes=['car'], modality=dict(use_camera=True), box_type_3d='Camera')
data = dict(samples_per_gpu=2, workers_per_gpu=2, train=dict(part, pipeline=train_pipeline),
            val=dict(part, pipeline=test_pipeline, test_mode=True),
            test=dict(part, pipeline=test_pipeline, test_mode=True))
evaluation = dict(interval=2, save_best='img_bbox_NuScenes/NDS')
""",
}  # fmt: skip

OCR = {
    'dbnet.py': _NORM + _EPOCHS + _RUNTIME + """\
model = dict(type='DBNet', backbone=dict(type='ResNet'))
train_pipeline = [
    dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
    dict(type='LoadTextAnnotations', with_bbox=True, with_mask=True),
    dict(type='ColorJitter', brightness=32. / 255, saturation=0.5),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='ImgAug', args=[['Fliplr', 0.5], ['Resize', [0.5, 3.]]], clip_invalid_ploys=False),
    dict(type='EastRandomCrop', target_size=(640, 640)), dict(type='DBNetTargets', shrink_ratio=.4),
    dict(type='Pad', size_divisor=32),
    dict(type='CustomFormatBundle', keys=['gt_shrink'], visualize=dict(flag=False)),
    dict(type='Collect', keys=['img', 'gt_shrink'])]
test_pipeline = [
    dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
    dict(type='MultiScaleFlipAug', img_scale=(4068, 1024), flip=False, transforms=[
        dict(type='Resize', img_scale=(2944, 736), keep_ratio=True),
        dict(type='Normalize', **img_norm_cfg), dict(type='Pad', size_divisor=32),
        dict(type='ImageToTensor', keys=['img']), dict(type='Collect', keys=['img'])])]
train = dict(type='IcdarDataset', ann_file='a.json', img_prefix='imgs', pipeline=None)
test = dict(type='IcdarDataset', ann_file='b.json', img_prefix='imgs', pipeline=None)
data = dict(
    samples_per_gpu=16, workers_per_gpu=8, val_dataloader=dict(samples_per_gpu=1),
    train=dict(type='UniformConcatDataset', datasets=[train], pipeline=train_pipeline),
    val=dict(type='UniformConcatDataset', datasets=[test], pipeline=test_pipeline),
    test=dict(type='UniformConcatDataset', datasets=[test], pipeline=test_pipeline))
evaluation = dict(interval=100, metric='hmean-iou', save_best='0_hmean-iou:hmean')
""",
    'sar.py': _EPOCHS + _RUNTIME + """\
model = dict(type='SARNet', backbone=dict(type='ResNet31OCR'))
img_norm_cfg = dict(mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5])
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeOCR', height=48, min_width=48, max_width=160, keep_aspect_ratio=True,
         width_downsample_ratio=0.25),
    dict(type='ToTensorOCR'), dict(type='NormalizeOCR', **img_norm_cfg),
    dict(type='Collect', keys=['img'], meta_keys=['filename', 'ori_shape', 'resize_shape', 'text',
                                                  'valid_ratio'])]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeOCR', height=48, min_width=48, max_width=160, keep_aspect_ratio=True),
    dict(type='ToTensorOCR'), dict(type='NormalizeOCR', **img_norm_cfg),
    dict(type='Collect', keys=['img'], meta_keys=['filename', 'resize_shape', 'valid_ratio'])]
part = dict(type='OCRDataset', img_prefix='imgs', ann_file='a.txt', pipeline=None, test_mode=False,
            loader=dict(type='HardDiskLoader', repeat=20, parser=dict(
                type='LineStrParser', keys=['filename', 'text'], keys_idx=[0, 1], separator=' ')))
data = dict(
    samples_per_gpu=64, workers_per_gpu=2,
    train=dict(type='UniformConcatDataset', datasets=[part], pipeline=train_pipeline),
    val=dict(type='UniformConcatDataset', datasets=[part], pipeline=test_pipeline),
    test=dict(type='UniformConcatDataset', datasets=[part], pipeline=test_pipeline))
evaluation = dict(interval=1, metric='acc', save_best='0_word_acc')
""",
    'sdmgr.py': _NORM + _EPOCHS + _RUNTIME + """\
model = dict(type='SDMGR', backbone=dict(type='UNet'))
pipeline = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', img_scale=(1024, 512), keep_ratio=True),
    dict(type='RandomFlip', flip_ratio=0.), dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size_divisor=32), dict(type='KIEFormatBundle'),
    dict(type='Collect', keys=['img', 'relations', 'texts', 'gt_bboxes', 'gt_labels'])]
loader = dict(type='HardDiskLoader', repeat=1, parser=dict(type='LineJsonParser', keys=['boxes']))
part = dict(type='KIEDataset', ann_file='a.txt', img_prefix='d', loader=loader,
            dict_file='dict.txt', pipeline=pipeline, test_mode=False)
data = dict(samples_per_gpu=4, workers_per_gpu=4, train=part, val=part, test=part)
evaluation = dict(interval=1, metric='macro_f1',
                  metric_options=dict(macro_f1=dict(ignores=[0, 2])), save_best='macro_f1')
""",
}  # fmt: skip

PROJECTS = {
    'mmdet': DETECTION,
    'mmcls': CLASSIFICATION,
    'mmseg': SEGMENTATION,
    'mmpose': POSE,
    'mmaction': ACTION,
    'mmedit': EDITING,
    'mmgen': GENERATION,
    'mmselfsup': SELF_SUPERVISION,
    'mmrotate': ROTATED,
    'mmdet3d': POINTS,
    'mmocr': OCR,
}
