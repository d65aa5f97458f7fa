"""Trees in the manner of real projects: what a maintainer would have written by hand."""

import projects
import pytest

from mmengine.config import Config
from mmengine.migrate._config.migrate import migrate_configs


@pytest.fixture(scope='module')
def migrations(tmp_path_factory):
    """Of a project its new folder and the report; each is migrated once."""
    done = {}

    def migration(name):
        if name not in done:
            folder = tmp_path_factory.mktemp(name)
            rules = projects.write(name, folder / 'old')
            report = migrate_configs(folder / 'old', folder / 'new', rules=rules, check=True)
            done[name] = folder / 'new', report
        return done[name]

    return migration


@pytest.fixture(params=list(projects.ALL))
def migrated(request, migrations):
    return request.param, *migrations(request.param)


@pytest.fixture
def folder_of(migrations):
    return lambda name: migrations(name)[0]


LEFT = {
    'mmdet': {
        'data.test.pipeline.1',
        'data.test.pipeline.1.transforms.2',
        'data.val.pipeline.1.transforms.2',
        # It trains with a divisor of 1 and tests with one of 32.
        'data.test.pipeline.1.transforms.3',
        'data.val.pipeline.1.transforms.3',
        'custom_hooks.1.type',
    },
    'mmseg': set(),
    'mmcls': set(),
    'mmpose': {'model.type', 'model.keypoint_head.type', 'model.keypoint_head.loss_keypoint.type'},
    'video': {
        'data.train.type',
        'data.val.type',
        'data.test.type',
        'evaluation',
        'evaluation.metrics',
        'optimizer.constructor',
        'log_config.hooks.1',
    },
    'gan': {
        'runner.pass_training_status',
        'use_ddp_wrapper',
        'data.train.dataset.type',
        'optimizer',
        'custom_hooks.0.type',
    },
}


def test_all_files_convert_and_only_what_no_rule_knows_is_left(migrated):
    name, _, report = migrated
    assert report.failed == []
    assert {note.key for note in report.notes('todo')} == LEFT[name]
    assert all(note.place for note in report.notes('todo'))
    assert all(check.passed for checks in report.checks.values() for check in checks)


def test_every_comment_is_still_there(migrated):
    name, folder, _ = migrated
    for path, text in projects.ALL[name].items():
        comments = {'#' + line.partition('#')[2] for line in text.splitlines() if '#' in line}
        converted = (folder / path).read_text()
        # Of a line that is gone, a remark at its end stays as a comment of its own.
        assert [comment for comment in comments if comment not in converted] == [], path


def test_no_line_is_longer_than_the_file_had(migrated):
    name, folder, _ = migrated
    for path, text in projects.ALL[name].items():
        allowed = max(79, *map(len, text.splitlines()))
        lines = (folder / path).read_text().splitlines()
        assert [line for line in lines if len(line) > allowed] == [], path


DATASET = """\
# dataset settings
dataset_type = 'CocoDataset'
data_root = 'data/shapes/'
img_norm_cfg = dict(
    mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=(
            'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor',
        ),
    )
]
train_dataloader = dict(
    batch_size=2,
    num_workers=2,
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        ann_file=data_root + 'annotations/train.json',
        data_prefix=dict(img=data_root + 'train/'),
        pipeline=train_pipeline,
        filter_cfg=dict(filter_empty_gt=True, min_size=32)),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        ann_file=data_root + 'annotations/val.json',
        data_prefix=dict(img=data_root + 'val/'),
        pipeline=test_pipeline,
        test_mode=True),
)
test_dataloader = val_dataloader
val_cfg = dict()
val_evaluator = dict(
    type='CocoMetric',
    metric='bbox',
    ann_file=data_root + 'annotations/val.json',
)
test_cfg = dict()
test_evaluator = val_evaluator
"""
MULTI_SCALE = """\
_base_ = './two_stage_s18_1x.py'
img_norm_cfg = dict(
    mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], to_rgb=False)
train_pipeline = [
    dict(type='LoadImageFromFile', to_float32=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='RandomResize',
        scale=[(1333, 640), (1333, 800)],
        keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
"""


def test_a_detection_dataset_reads_as_written_by_hand(folder_of):
    written = (folder_of('mmdet') / '_base_/datasets/shapes_detection.py').read_text()
    assert written == DATASET


def test_a_child_says_only_what_differs(folder_of):
    folder = folder_of('mmdet')
    name = 'two_stage/two_stage_s18_mstrain_fp16.py'
    assert (folder / name).read_text().startswith(MULTI_SCALE)
    # Its validation is the base's.
    assert 'val_dataloader' not in (folder / name).read_text()
    config = Config.fromfile(folder / name)
    assert config.model.data_preprocessor == dict(
        type='DetDataPreprocessor', mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0],
        bgr_to_rgb=False, pad_mask=True, pad_size_divisor=32,
    )  # fmt: skip
    assert config.default_hooks.checkpoint.save_best == 'coco/bbox_mAP'


def test_a_comment_goes_where_its_key_went(folder_of):
    runtime = (folder_of('mmdet') / '_base_/default_runtime.py').read_text()
    comment = '# disable opencv multithreading to avoid system being overloaded\n'
    assert f'{comment}env_cfg = dict(\n' in runtime


def test_a_note_on_a_line_of_a_base_names_the_config_that_it_is_about(migrations):
    _, report = migrations('mmdet')
    notes = [note for note in report.notes('todo') if 'normalizes' in note.text]
    assert all('shapes_detection.py:' in note.place for note in notes)
    assert all('two_stage_s18_mstrain_fp16.py.)' in note.text for note in notes)


def test_augmented_tests_get_a_pipeline_and_a_model_of_their_own(folder_of):
    config = Config.fromfile(folder_of('mmdet') / 'one_stage/cells_tta.py')
    assert config.tta_model.type == 'DetTTAModel'
    load, augment = config.tta_pipeline
    assert (load.type, augment.type) == ('LoadImageFromFile', 'TestTimeAug')
    resize, flip, _, pack = augment.transforms
    assert [one.scale for one in resize] == [(1333, 800), (2000, 1200)]
    assert [one.prob for one in flip] == [0.0, 1.0]
    assert pack[0].type == 'PackDetInputs'
    types = [one.type for one in config.test_dataloader.dataset.pipeline]
    assert types == ['LoadImageFromFile', 'Resize', 'LoadAnnotations', 'PackDetInputs']


def test_lists_of_annotation_files_become_datasets_with_the_bases_pipeline(folder_of):
    path = folder_of('mmdet') / 'one_stage/cells_tta.py'
    dataset = Config.fromfile(path).train_dataloader.dataset
    assert (dataset.type, dataset.times, dataset.dataset.type) == (
        'RepeatDataset', 3, 'ConcatDataset',
    )  # fmt: skip
    first, second = dataset.dataset.datasets
    assert (first.ann_file, first.data_prefix.img) == ('data/cells/a.json', 'data/cells/a/')
    assert (second.ann_file, second.data_prefix.img) == ('data/cells/b.json', 'data/cells/b/')
    assert path.read_text().count('pipeline={{_base_.train_pipeline}}') == 2


def test_a_choice_of_pipelines_is_converted_inside(folder_of):
    config = Config.fromfile(folder_of('mmdet') / 'transformer/queries_s18_50e.py')
    choice = config.train_pipeline[3]
    assert choice.type == 'RandomChoice'
    assert [[one.type for one in way] for way in choice.transforms] == [
        ['RandomChoiceResize'],
        ['RandomChoiceResize', 'RandomCrop'],
    ]
    # (height, width) before, (width, height) now
    assert choice.transforms[1][1].crop_size == (600, 384)
    dataset = config.train_dataloader.dataset
    assert dataset.filter_cfg == dict(filter_empty_gt=False, min_size=32)
    assert config.model.data_preprocessor.pad_size_divisor == 1


def test_segmentation_resizes_pads_and_compares_as_before(folder_of):
    config = Config.fromfile(folder_of('mmseg') / 'fcn/fcn_40k.py')
    resize = config.train_pipeline[2]
    # mmseg kept the ratio unless told otherwise; a Resize now does not.
    assert resize == dict(
        type='RandomResize', scale=(2048, 1024), ratio_range=(0.5, 2.0), keep_ratio=True
    )
    assert config.model.data_preprocessor.size == (512, 1024)
    assert config.model.test_cfg == dict(mode='whole')
    types = [one.type for one in config.test_pipeline]
    assert types == ['LoadImageFromFile', 'Resize', 'LoadAnnotations', 'PackSegInputs']
    assert config.default_hooks.checkpoint.by_epoch is False


def test_classification_validates_in_batches_of_the_same_size(folder_of):
    config = Config.fromfile(folder_of('mmcls') / 'small_sweep.py')
    assert config.val_dataloader.batch_size == config.train_dataloader.batch_size == 32
    assert config.test_dataloader.dataset.data_prefix == 'data/large/test'
    assert config.default_hooks.checkpoint.save_best == 'accuracy/top1'
    assert config.val_evaluator == dict(type='Accuracy', topk=(1, 5))
    assert config.param_scheduler[0].end == 300


def test_pose_transforms_get_what_the_dataset_told_them(folder_of):
    config = Config.fromfile(folder_of('mmpose') / 'hand_heatmap.py')
    shift, scale = (one for one in config.train_pipeline if one.type == 'RandomBBoxTransform')
    assert (shift.shift_prob, shift.scale_prob, shift.rotate_prob) == (0.3, 0.0, 0.0)
    assert (scale.shift_prob, scale.scale_factor, scale.rotate_factor) == (0.0, (0.5, 1.5), 80)
    assert dict(type='TopdownAffine', input_size=(192, 256)) in config.val_pipeline
    (target,) = (one for one in config.train_pipeline if one.type == 'GenerateTarget')
    assert target.encoder == dict(
        type='MSRAHeatmap', input_size=(192, 256), heatmap_size=(48, 64), sigma=2
    )
    # mean 0.485 of values from 0 to 1 is 123.675 of those to 255.
    assert config.model.data_preprocessor.mean == [123.675, 116.28, 103.53]
    assert 'bbox_file' not in config.train_dataloader.dataset
    assert config.val_dataloader.dataset.bbox_file == 'data/hands/boxes.json'
