"""Configs in the manner of each project convert with nothing of MMCV's times left over."""

import pytest
import vocabularies

from mmengine.config import Config
from mmengine.hooks._best import infer_rule
from mmengine.migrate._config.migrate import migrate_configs

# Names that no longer exist in the projects' versions for this engine.
GONE = frozenset((
    'BottomUpGetImgSize', 'BottomUpRandomAffine', 'BottomUpResizeAlign', 'Collect', 'Collect3D',
    'CustomFormatBundle', 'DefaultFormatBundle', 'DefaultFormatBundle3D',
    'EastRandomCrop', 'GaussianBlur', 'ImageToTensor', 'KIEFormatBundle', 'LoadTextAnnotations',
    'MultiScaleFlipAug', 'MultiViewDataset', 'Normalize', 'NormalizeOCR', 'NormalizeTensor',
    'PolyRandomRotate', 'RRandomFlip', 'RResize', 'RandomAppliedTrans', 'RandomHorizontalFlip',
    'RescaleToZeroOne', 'ResizeOCR', 'SRAnnotationDataset', 'SRFolderDataset', 'SingleViewDataset',
    'ToDataContainer', 'ToTensor', 'ToTensorOCR', 'TopDownAffine', 'TopDownCocoDataset',
    'TopDownGenerateTarget', 'UnconditionalImageDataset', 'UniformConcatDataset',
))  # fmt: skip
OLD_KEYS = frozenset((
    'ann_dir', 'class_aware_sampler', 'data_cfg', 'data_source', 'denorm_bbox', 'file_client_args',
    'gt_folder', 'img_dir', 'img_prefix', 'imgs_root', 'io_backend', 'samples_per_gpu',
    'seg_prefix', 'skip_filter', 'videos_per_gpu',
))  # fmt: skip
OLD_ENTRIES = frozenset((
    'checkpoint_config', 'data', 'evaluation', 'fp16', 'log_config', 'lr_config', 'optimizer',
    'optimizer_config', 'optimizers', 'resume_from', 'runner', 'total_epochs', 'total_iters',
    'workflow',
))  # fmt: skip
RUN = ('model', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'train_dataloader',
       'val_dataloader', 'test_dataloader', 'custom_hooks', 'default_hooks')  # fmt: skip


@pytest.fixture(scope='module')
def converted(tmp_path_factory):
    folder = tmp_path_factory.mktemp('projects')
    for project, files in vocabularies.PROJECTS.items():
        for name, text in files.items():
            path = folder / 'old' / project / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    report = migrate_configs(folder / 'old', folder / 'new')
    leaves = {
        f'{project}/{name}': Config.fromfile(folder / 'new' / project / name).to_dict()
        for project, files in vocabularies.PROJECTS.items()
        for name in files
        if not name.startswith('_base_')
    }
    return report, leaves


def of(converted, name):
    return converted[1][f'{name}.py']


def test_nothing_is_left_to_do_in_any_of_them(converted):
    report, leaves = converted
    assert len(leaves) > 60
    assert report.failed == []
    assert [note.text for note in report.notes('todo')] == []


def test_nothing_of_mmcv_is_left_in_what_a_runner_reads(converted):
    for name, config in converted[1].items():
        assert OLD_ENTRIES.isdisjoint(config), name
        for key in RUN:
            left = set(_left(config.get(key)))
            assert left == set(), (name, key)


def _left(part):
    if isinstance(part, dict):
        if part.get('type') in GONE:
            yield part['type']
        if part.get('type') != 'CocoPanopticMetric':
            yield from OLD_KEYS & set(part)
        for value in part.values():
            yield from _left(value)
    elif isinstance(part, (list, tuple)):
        for value in part:
            yield from _left(value)


def test_what_is_validated_has_a_metric_and_a_batch_size(converted):
    for name, config in converted[1].items():
        if 'val_dataloader' in config:
            assert config['val_evaluator'], name
            assert config['val_dataloader']['batch_size'] >= 1, name
        assert config['default_scope'], name


def test_the_best_checkpoint_has_a_side_that_is_better(converted):
    for name, config in converted[1].items():
        saving = config['default_hooks']['checkpoint']
        best = saving.get('save_best')
        if best in (None, 'auto') or 'rule' in saving or name in _WITHOUT_SIDE:
            continue
        for one in [best] if isinstance(best, str) else best:
            assert infer_rule(one) in ('greater', 'less'), name


# MMCV could not tell it by the name either.
_WITHOUT_SIDE = (
    'mmdet/panoptic.py', 'mmcls/scores.py', 'mmdet3d/kitti.py', 'mmdet3d/mono.py', 'mmocr/dbnet.py',
    'mmocr/sdmgr.py',
)  # fmt: skip


@pytest.mark.parametrize('dataset', vocabularies.POSE_METRICS)
def test_metrics_of_poses(converted, dataset):
    _, kinds, best = vocabularies.POSE_METRICS[dataset]
    config = of(converted, f'mmpose/{dataset}')
    evaluator = config['val_evaluator']
    built = evaluator if isinstance(evaluator, list) else [evaluator]
    assert [one['type'] for one in built] == kinds.split()
    assert config['default_hooks']['checkpoint'].get('save_best') == best


def test_benchmarks_of_detection(converted):
    assert of(converted, 'mmdet/cityscapes')['val_evaluator'] == [
        dict(type='CocoMetric', metric=['bbox', 'segm'],
             ann_file='data/cityscapes/annotations/val.json'),
        dict(type='CityScapesMetric', outfile_prefix='./work_dirs/cityscapes_metric',
             seg_prefix='data/cityscapes/gtFine/val/'),
    ]  # fmt: skip
    lvis = of(converted, 'mmdet/lvis')['val_evaluator']
    assert lvis == dict(type='LVISMetric', metric=['bbox', 'segm'], ann_file='val.json')
    assert of(converted, 'mmdet/open_images')['val_evaluator'] == dict(type='OpenImagesMetric')
    assert of(converted, 'mmdet/panoptic')['val_evaluator'] == [
        dict(type='CocoPanopticMetric', ann_file='val.json', seg_prefix='val/'),
        dict(type='CocoMetric', metric=['bbox', 'segm'], ann_file='instances_val.json'),
    ]
    # The points of 2007 are for VOC2007 alone.
    assert of(converted, 'mmdet/voc')['val_evaluator']['eval_mode'] == 'area'


def test_only_datasets_that_read_files_are_in_test_mode(converted):
    dataset = of(converted, 'mmocr/sar')['val_dataloader']['dataset']
    assert 'test_mode' not in dataset
    (repeated,) = dataset['datasets']
    assert 'test_mode' not in repeated
    assert (repeated['type'], repeated['dataset']['type']) == ('RepeatDataset', 'RecogTextDataset')
    assert repeated['dataset']['test_mode']


def test_weights_to_begin_with_are_the_backbones(converted):
    model = of(converted, 'mmdet/voc')['model']
    assert model['backbone']['init_cfg'] == dict(type='Pretrained', checkpoint='zoo://r50')
    assert 'pretrained' not in model


def test_samplers_keep_their_classes_and_repeats(converted):
    sampler = of(converted, 'mmdet/open_images')['train_dataloader']['sampler']
    assert sampler == dict(type='ClassAwareSampler', num_sample_class=1)
    sampler = of(converted, 'mmcls/mixup')['train_dataloader']['sampler']
    assert sampler == dict(type='RepeatAugSampler')


def test_sizes_of_batches_of_a_yolox_are_the_preprocessors(converted):
    model = of(converted, 'mmdet/yolox')['model']
    assert model['data_preprocessor'] == dict(
        type='DetDataPreprocessor', pad_size_divisor=32,
        batch_augments=[dict(type='BatchSyncRandomResize', random_size_range=(480, 800),
                             size_divisor=32, interval=10)],
    )  # fmt: skip
    assert 'random_size_range' not in model


def test_mixing_within_batches_has_one_list_of_chances(converted):
    model = of(converted, 'mmcls/mixup')['model']
    assert model['train_cfg'] == dict(
        augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)], probs=[0.5, 0.5]
    )
    assert model['data_preprocessor']['num_classes'] == 1000


@pytest.mark.parametrize(
    ('name', 'mean', 'std'),
    [
        ('mmpose/udp', 123.675, 58.395),  # 255 times 0.485 and 0.229
        ('mmedit/edsr', 0, 255),  # 255 times 0 and 1
        ('mmedit/matting', 123.675, 58.395),
        ('mmgen/stylegan2', 127.5, 127.5),  # of images up to 255 already
        ('mmselfsup/simsiam', 123.675, 58.395),
        ('mmocr/sar', 127.5, 127.5),
        ('mmaction/slowfast', 123.675, 58.395),
    ],
)
def test_images_are_normalized_by_the_same_numbers(converted, name, mean, std):
    found = of(converted, name)['model']['data_preprocessor']
    assert (found['mean'][0], found['std'][0]) == pytest.approx((mean, std))


@pytest.mark.parametrize(
    ('name', 'encoder'),
    [
        ('udp', dict(type='UDPHeatmap', sigma=2)),
        ('dark', dict(type='MSRAHeatmap', sigma=3, unbiased=True)),
        ('mspn', [dict(type='MegviiHeatmap', kernel_size=15),
                  dict(type='MegviiHeatmap', kernel_size=11)]),
    ],
)  # fmt: skip
def test_targets_of_poses_are_encoders(converted, name, encoder):
    steps = of(converted, f'mmpose/{name}')['train_dataloader']['dataset']['pipeline']
    (target,) = [step for step in steps if step['type'] == 'GenerateTarget']
    sizes = dict(input_size=(192, 256), heatmap_size=(48, 64))
    several = encoder if isinstance(encoder, list) else [encoder]
    wanted = [{**one, **sizes} for one in several]
    assert target['encoder'] == (wanted if isinstance(encoder, list) else wanted[0])
    assert target.get('multilevel', False) == isinstance(encoder, list)


def test_the_scale_of_a_rotated_test_is_that_of_its_views(converted):
    config = of(converted, 'mmrotate/oriented')
    resize = config['val_dataloader']['dataset']['pipeline'][1]
    assert resize == dict(type='mmdet.Resize', scale=(1024, 1024), keep_ratio=True)


def test_points_lie_below_the_root_and_voxels_are_the_preprocessors(converted):
    config = of(converted, 'mmdet3d/kitti')
    dataset = config['val_dataloader']['dataset']
    assert (dataset['data_root'], dataset['ann_file']) == ('data/x/', 'val.pkl')
    assert dataset['data_prefix']['pts'] == 'training/velodyne_reduced'
    assert config['val_evaluator']['ann_file'] == 'data/x/val.pkl'
    assert config['model']['data_preprocessor']['voxel_layer'] == dict(
        max_num_points=5, voxel_size=[0.05, 0.05, 0.1]
    )
    assert 'voxel_layer' not in config['model']


def test_the_average_of_a_generator_is_in_its_model(converted):
    config = of(converted, 'mmgen/stylegan2')
    assert [hook['type'] for hook in config['custom_hooks']] == ['VisualizationHook']
    assert config['model']['ema_config']['momentum'] == pytest.approx(0.001)
    assert config['default_hooks']['checkpoint']['rule'] == 'less'  # of fid


def test_metrics_of_editing_leave_the_model(converted):
    config = of(converted, 'mmedit/matting')
    assert config['model']['test_cfg'] == dict(refine=False)
    assert [one['type'] for one in config['val_evaluator']] == [
        'SAD',
        'MattingMSE',
        'GradientError',
    ]


def test_views_of_self_supervision_are_one_transform(converted):
    steps = of(converted, 'mmselfsup/simsiam')['train_dataloader']['dataset']['pipeline']
    assert [step['type'] for step in steps] == [
        'LoadImageFromFile', 'MultiView', 'PackSelfSupInputs'
    ]  # fmt: skip
    views = steps[1]
    assert views['num_views'] == 2
    assert [step['type'] for step in views['transforms'][0]][1] == 'RandomApply'


def test_averages_over_clips_are_the_heads(converted):
    model = of(converted, 'mmaction/slowfast')['model']
    assert model['cls_head']['average_clips'] == 'prob'
    assert 'average_clips' not in model['test_cfg']
    assert of(converted, 'mmaction/slowfast')['default_hooks']['checkpoint']['save_best'] == (
        'acc/top1'
    )
