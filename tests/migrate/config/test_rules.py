"""Vocabularies of one's own: what they may say, and how mistakes in them are told."""

import json

import pytest

from mmengine.cli.__main__ import main
from mmengine.migrate._config.convert import convert_config
from mmengine.migrate._config.rules import Rules, apply_rule, build_metric, load_rules
from mmengine.utils.errors import ArgumentError

EPOCHS = dict(runner=dict(type='EpochBasedRunner', max_epochs=12))


def own(tmp_path, text, name='mine.py'):
    (tmp_path / name).write_text(text)
    return str(tmp_path / name)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (
            'transforms = dict(A=3)',
            r"transforms\['A'\] is a new name, a dict with type, keys, drop",
        ),
        ('transforms = dict(A=dict(rename={}))', "has 'rename'; a rule has type, keys, drop, add"),
        ('transforms = dict(A=dict(key={}))', "Did you mean 'keys'"),
        ('hooks = dict(A=dict(keys=["a"]))', 'keys maps old names to new ones'),
        ('datasets = dict(A=dict(drop="a"))', 'drop is a list of names'),
        ('datasets = dict(A=dict(add=3))', 'add is a dict of arguments'),
        ('metrics = dict(A="Metric")', 'a dict with the type of the metric'),
        ('metrics = dict(A=dict(build=3))', 'build is a function, got 3'),
        ('metrics = dict(A=dict(type="M", kyes={}))', "Did you mean 'keys'"),
        ('constructors = dict(A=3)', 'is a string, got 3'),
        ('transforms = ["A"]', 'transforms is a dict by name'),
        ('transform = dict()', "Did you mean 'transforms'"),
        ('helper = 3', 'begins with an underscore'),
        ('a = (', r'mine.py:1: SyntaxError'),
        ('_a = 1\n_b = 1 / 0\n', r'mine.py:2: ZeroDivisionError'),
        ('def f():\n    return gone\n_x = f()\n', r'mine.py:2: NameError'),
    ],
)
def test_a_mistake_in_a_file_of_rules_is_told_with_its_place(tmp_path, text, message):
    with pytest.raises(ArgumentError, match=message):
        load_rules([own(tmp_path, text)])


def test_the_command_tells_it_and_writes_nothing(tmp_path, capsys):
    (tmp_path / 'a.py').write_text('total_epochs = 3\n')
    rules = own(tmp_path, 'transforms = dict(A=3)')
    assert main(['migrate', 'config', str(tmp_path / 'a.py'), '--rules', rules]) == 2
    assert "transforms['A'] is a new name" in capsys.readouterr().err


def test_rules_may_be_json(tmp_path):
    text = json.dumps({'transforms': {'A': {'type': 'B', 'keys': {'x': 'y.z'}}, 'C': None}})
    rules = load_rules([own(tmp_path, text, 'mine.json')])
    assert apply_rule(rules.transforms['A'], dict(type='A', x=1)) == dict(type='B', y=dict(z=1))
    assert apply_rule(rules.transforms['C'], dict(type='C')) is None


def test_a_function_that_fails_stops_the_conversion_with_its_name(tmp_path):
    text = 'def _crop(config):\n    return config["size"]\n\n\ntransforms = dict(Crop=_crop)\n'
    data = dict(train=dict(type='X', pipeline=[dict(type='Crop')]))
    converted = convert_config(dict(**EPOCHS, data=data), rules=load_rules([own(tmp_path, text)]))
    assert converted.failed
    assert any('the rule _crop failed with KeyError' in note.text for note in converted.notes)


def test_functions_see_the_dataset_of_a_transform_and_the_stage_of_a_dataset(tmp_path):
    text = (
        'def _size(config, dataset):\n    return dict(config, size=dataset["size"])\n\n\n'
        'def _stage(config, stage):\n    return dict(config, stage=stage)\n\n\n'
        'transforms = dict(Crop=_size)\ndatasets = dict(X=_stage)\n'
    )
    one = dict(type='X', size=7, pipeline=[dict(type='Crop')])
    converted = convert_config(
        dict(data=dict(train=one, val=one)), rules=load_rules([own(tmp_path, text)])
    ).config
    for stage in ('train', 'val'):
        dataset = converted[f'{stage}_dataloader']['dataset']
        assert dataset['pipeline'] == [dict(type='Crop', size=7)]
        assert dataset['stage'] == stage


def test_a_later_vocabulary_lies_over_an_earlier_one(tmp_path):
    path = own(tmp_path, 'scope = "mine"\ntransforms = dict(Resize={})\ntest_dataset = dict(a=1)')
    rules = load_rules(['mmdet', path])
    assert (rules.scope, rules.visualizer) == ('mine', 'DetLocalVisualizer')
    assert rules.transforms['Resize'] == {}
    assert 'RandomFlip' in rules.transforms
    assert rules.test_dataset == dict(test_mode=True, a=1)
    assert rules.names == ('mmdet', path)


def test_a_metric_takes_arguments_from_evaluation_and_dataset():
    rule = dict(
        type='M', keys=dict(metric='items'), dataset_keys=dict(ann_file='file'), add=dict(k=1)
    )
    built = build_metric(rule, dict(metric='x', interval=3), dict(ann_file='f', type='D'))
    assert built == dict(type='M', items='x', file='f', k=1)


DETECTION = load_rules(['mmdet'])


def detection(train, **more):
    legacy = {**EPOCHS, 'model': dict(type='M'), 'data': dict(train=train, **more)}
    return convert_config(legacy, rules=DETECTION)


def pipeline(*transforms, **more):
    return dict(type='CocoDataset', pipeline=list(transforms), **more)


def transforms_of(*transforms):
    converted = detection(pipeline(*transforms)).config
    return converted['train_dataloader']['dataset']['pipeline']


@pytest.mark.parametrize(
    ('before', 'after'),
    [
        (
            dict(type='Resize', img_scale=(2, 1)),
            dict(type='Resize', scale=(2, 1), keep_ratio=True),
        ),
        (
            dict(type='Resize', img_scale=[(2, 1), (4, 2)], keep_ratio=False),
            dict(type='RandomResize', scale=[(2, 1), (4, 2)], keep_ratio=False),
        ),
        (
            dict(type='Resize', img_scale=[(2, 1), (4, 2)], multiscale_mode='value'),
            dict(type='RandomChoiceResize', scales=[(2, 1), (4, 2)], keep_ratio=True),
        ),
        (
            dict(type='Resize', img_scale=(2, 1), ratio_range=(0.1, 2)),
            dict(type='RandomResize', scale=(2, 1), ratio_range=(0.1, 2), keep_ratio=True),
        ),
        (dict(type='Mosaic', img_scale=(3, 5)), dict(type='Mosaic', img_scale=(5, 3))),
        (
            dict(type='Pad', size=(3, 5), pad_val=9),
            dict(type='Pad', size=(5, 3), pad_val=dict(img=(9, 9, 9))),
        ),
        (
            dict(type='LoadImageFromFile', file_client_args=dict(backend='petrel')),
            dict(type='LoadImageFromFile', backend_args=dict(backend='petrel')),
        ),
        (
            dict(type='LoadImageFromFile', file_client_args=dict(backend='disk')),
            dict(type='LoadImageFromFile'),
        ),
        (
            dict(type='Collect', keys=['img'], meta_keys=('filename', 'flip', 'img_norm_cfg')),
            dict(type='PackDetInputs', meta_keys=('img_path', 'flip')),
        ),
    ],
    ids=lambda value: value['type'],
)
def test_transforms_of_detection(before, after):
    assert transforms_of(before) == [after]


def test_a_pad_to_a_size_is_no_work_of_the_detection_preprocessor():
    converted = detection(pipeline(dict(type='Pad', size=(3, 3)))).config
    assert converted['model']['data_preprocessor'] == dict(type='DetDataPreprocessor')


def test_the_padding_of_masks_and_maps_follows_what_is_loaded():
    load = dict(type='LoadAnnotations', with_mask=True, with_seg=True)
    pad = dict(type='Pad', size_divisor=32, pad_val=dict(img=(114.0,) * 3))
    assert detection(pipeline(load, pad)).config['model']['data_preprocessor'] == dict(
        type='DetDataPreprocessor', pad_mask=True, pad_seg=True, seg_pad_value=255,
        pad_size_divisor=32, pad_value=114.0,
    )  # fmt: skip


def test_a_normalization_unlike_the_training_one_is_listed():
    one, other = dict(type='Normalize', mean=[1.0], std=[1.0]), dict(type='Normalize', mean=[2.0])
    converted = detection(pipeline(one), val=pipeline(other), test=pipeline(dict(one)))
    listed = [note.key for note in converted.notes if 'normalizes otherwise' in note.text]
    assert listed == ['data.val.pipeline.0']


@pytest.mark.parametrize('stage', ['train', 'val', 'test'])
def test_lists_of_annotation_files_are_concatenated(stage):
    several = pipeline(ann_file=['a', 'b'], img_prefix=['x', 'y'], classes=('c',))
    converted = detection(**{'train': pipeline(), stage: several})
    dataset = convert_config({'data': {stage: several}}, rules=DETECTION).config[
        f'{stage}_dataloader'
    ]['dataset']
    assert dataset['type'] == 'ConcatDataset'
    assert [one['ann_file'] for one in dataset['datasets']] == ['a', 'b']
    assert [one['data_prefix'] for one in dataset['datasets']] == [dict(img='x'), dict(img='y')]
    # Validation sets were evaluated one by one.
    listed = {note.key for note in converted.notes if 'evaluated on its own' in note.text}
    assert listed == (set() if stage == 'train' else {f'data.{stage}'})


def test_lists_of_different_lengths_are_an_error():
    converted = detection(pipeline(ann_file=['a', 'b'], img_prefix=['x']))
    (error,) = (note for note in converted.notes if note.kind == 'error')
    assert 'ann_file has 2, img_prefix has 1' in error.text


def test_wrappers_are_converted_inside_each_other():
    inner = pipeline(dict(type='RandomFlip', flip_ratio=0.5), img_prefix='x')
    nested = dict(
        type='RepeatDataset',
        times=2,
        dataset=dict(
            type='ClassBalancedDataset',
            oversample_thr=0.1,
            dataset=dict(
                type='MultiImageMixDataset',
                dataset=[inner, inner],
                pipeline=[dict(type='MixUp', img_scale=(1, 2)), dict(type='Collect', keys=[])],
            ),
        ),
    )
    converted = detection(nested)
    assert [note for note in converted.notes if note.kind != 'info'] == []
    mixed = converted.config['train_dataloader']['dataset']['dataset']['dataset']
    assert [one['type'] for one in mixed['pipeline']] == ['MixUp', 'PackDetInputs']
    assert mixed['dataset']['type'] == 'ConcatDataset'
    assert mixed['dataset']['datasets'][1]['pipeline'] == [dict(type='RandomFlip', prob=0.5)]
    assert mixed['dataset']['datasets'][0]['data_prefix'] == dict(img='x')


def test_the_metric_is_chosen_by_the_dataset_inside_wrappers():
    val = dict(type='ConcatDataset', datasets=[pipeline(ann_file='v')], separate_eval=False)
    legacy = dict(
        **EPOCHS, data=dict(train=pipeline(), val=val), evaluation=dict(save_best='bbox_mAP')
    )
    converted = convert_config(legacy, rules=DETECTION)
    assert converted.config['val_evaluator'] == dict(type='CocoMetric', ann_file='v', metric='bbox')
    assert converted.config['default_hooks']['checkpoint']['save_best'] == 'coco/bbox_mAP'
    assert 'separate_eval' not in converted.config['val_dataloader']['dataset']
    assert [note.key for note in converted.notes if note.kind == 'todo'] == []


def test_voc_datasets_find_images_and_annotations_below_one_folder():
    rules = DETECTION.datasets['VOCDataset']
    changed = apply_rule(rules, dict(type='VOCDataset', img_prefix='VOC2007/'), 'train')
    assert changed == dict(type='VOCDataset', data_prefix=dict(sub_data_root='VOC2007/'))


@pytest.mark.parametrize(
    ('augment', 'plain', 'views'),
    [
        (dict(img_scale=(4, 2), flip=False), (4, 2), None),
        (dict(img_scale=[(4, 2)], flip=False), (4, 2), None),
        (dict(img_scale=(4, 2), flip=True), (4, 2), [(4, 2)]),
        (dict(img_scale=[(4, 2), (8, 4)]), (4, 2), [(4, 2), (8, 4)]),
        (dict(img_scale=(4, 2), img_ratios=[0.5, 1.0, 1.5]), (4, 2), [(4, 2), (2, 1), (6, 3)]),
    ],
    ids=['one', 'list of one', 'flip', 'scales', 'ratios'],
)
def test_views_of_test_time_augmentation(augment, plain, views):
    rules = load_rules(['mmseg'])
    inner = [dict(type='Resize'), dict(type='RandomFlip'), dict(type='Collect', keys=['img'])]
    transform = dict(type='MultiScaleFlipAug', transforms=inner, **augment)
    test = dict(type='ADE20KDataset', pipeline=[transform])
    converted = convert_config(dict(data=dict(test=test)), rules=rules)
    resize, _, pack = converted.config['test_dataloader']['dataset']['pipeline']
    assert (resize['scale'], pack['type']) == (plain, 'PackSegInputs')
    told = [note for note in converted.notes if 'augmented' in note.text]
    if views is None:
        assert 'tta_pipeline' not in converted.config
        assert told == []
        return
    assert len(told) == 1
    resizes, flips, _, _ = converted.config['tta_pipeline'][0]['transforms']
    assert [one['scale'] for one in resizes] == views
    assert len(flips) == (2 if augment.get('flip') else 1)


@pytest.mark.parametrize(
    ('more', 'expected'),
    [
        (dict(drop_last=True), dict(drop_last=True)),
        (dict(persistent_workers=True), dict(persistent_workers=True)),
        (dict(train_dataloader=dict(shuffle=False)), dict(shuffle=False)),
        (dict(train_dataloader=dict(samples_per_gpu=9)), dict(batch_size=9)),
        (dict(train_dataloader=dict(pin_memory=True)), dict(pin_memory=True)),
        (dict(videos_per_gpu=8), dict(batch_size=8)),
    ],
    ids=str,
)
def test_settings_of_the_dataloader(more, expected):
    data = dict(samples_per_gpu=2, workers_per_gpu=2, train=dict(type='Toy')) | more
    if 'videos_per_gpu' in more:
        del data['samples_per_gpu']
    loader = convert_config(dict(data=data)).config['train_dataloader']
    if 'shuffle' in expected:
        assert loader['sampler'] == dict(type='DefaultSampler', shuffle=False)
    else:
        assert {key: loader[key] for key in expected} == expected


def test_an_argument_that_nobody_knows_is_kept_and_listed():
    data = dict(train=dict(type='Toy'), train_dataloader=dict(speed=3))
    converted = convert_config(dict(data=data), rules=Rules())
    assert converted.config['train_dataloader']['speed'] == 3
    assert 'data.train_dataloader.speed' in {note.key for note in converted.notes}


@pytest.mark.parametrize(
    ('project', 'dataset', 'evaluation', 'expected'),
    [
        ('mmocr', 'IcdarDataset', dict(metric='hmean-iou'), dict(type='HmeanIOUMetric')),
        ('mmocr', 'OCRDataset', dict(metric='acc'), [
            dict(type='WordMetric', mode=['exact', 'ignore_case', 'ignore_case_symbol']),
            dict(type='CharMetric')]),
        ('mmselfsup', 'SingleViewDataset', dict(topk=(1, 5)),
         dict(type='mmcls.Accuracy', topk=(1, 5))),
        ('mmaction', 'RawframeDataset', dict(metrics=['top_k_accuracy']),
         dict(type='AccMetric', metric_list=('top_k_accuracy',))),
        ('mmaction', 'AudioFeatureDataset', dict(metrics='mean_class_accuracy'),
         dict(type='AccMetric', metric_list=('mean_class_accuracy',))),
        ('mmgen', 'UnconditionalImageDataset', dict(metrics=dict(type='FID', num_images=50000)),
         [dict(type='FrechetInceptionDistance', prefix='FID-Full', fake_nums=50000)]),
        ('mmrotate', 'DOTADataset', dict(metric='mAP'), dict(type='DOTAMetric', metric='mAP')),
        ('mmdet3d', 'ScanNetDataset', {}, dict(type='IndoorMetric')),
        ('mmdet3d', 'ScanNetSegDataset', {}, dict(type='SegMetric')),
    ],
)  # fmt: skip
def test_metrics_by_the_dataset_and_the_names_of_a_project(project, dataset, evaluation, expected):
    assert _evaluator_of(project, dataset, evaluation) == expected


def test_metrics_of_editing_stand_in_the_test_cfg_of_the_model():
    found = _evaluator_of(
        'mmedit', 'SRAnnotationDataset', {}, test_cfg=dict(metrics=['PSNR', 'SSIM'], crop_border=4)
    )
    assert found == [dict(type='PSNR', crop_border=4), dict(type='SSIM', crop_border=4)]
    found = _evaluator_of('mmedit', 'AdobeComp1kDataset', {}, test_cfg=dict(metrics=['SAD', 'MSE']))
    assert found == [dict(type='SAD'), dict(type='MattingMSE')]


def _evaluator_of(project, dataset, evaluation, **more):
    stages = {stage: dict(type=dataset, pipeline=[]) for stage in ('train', 'val', 'test')}
    legacy = dict(
        EPOCHS, **more, model=dict(type='M'), data=stages,
        evaluation=dict(interval=1, **evaluation),
    )  # fmt: skip
    result = convert_config(legacy, rules=load_rules([project]))
    assert 'evaluation' not in result.leftover
    return result.config['val_evaluator']
