"""What a source says is in the config that comes out, or in a note."""

import pytest

from mmengine.cli.__main__ import main
from mmengine.config import Config
from mmengine.migrate._config import convert_config, load_rules
from mmengine.migrate._config.rules import Rules

RUN = dict(total_epochs=12, optimizer=dict(type='SGD', lr=0.1), model=dict(type='Toy'))
IMAGES = [dict(type='LoadImageFromFile')]


def convert(rules=(), **legacy):
    return convert_config({**RUN, **legacy}, rules=load_rules(rules))


def told(converted, key):
    return [note.text for note in converted.notes if note.key == key]


def averaging(**options):
    return dict(
        type='ExponentialMovingAverageHook',
        module_keys=('generator_ema',),
        interp_cfg=dict(momentum=0.9),
        **options,
    )


def test_averages_of_an_own_model_stay_and_are_noted():
    hook = averaging(start_iter=7)
    converted = convert(['mmgen'], model=dict(type='MyGAN'), custom_hooks=[hook])
    assert converted.config['custom_hooks'] == [hook]
    assert told(converted, 'custom_hooks.0.type')


def test_averages_of_a_known_model_are_its_own_and_the_rest_is_noted():
    hooks = [averaging(interval=2, interp_mode='warm'), averaging()]
    converted = convert(['mmgen'], model=dict(type='StyleGANV2'), custom_hooks=hooks)
    # There is one set of averages.
    assert converted.config['custom_hooks'] == hooks[1:]
    assert converted.config['model']['ema_config'] == dict(
        type='ExponentialMovingAverage', interval=2, momentum=0.1
    )
    (text,) = told(converted, 'custom_hooks.0.interp_mode')
    assert 'warm' in text
    assert told(converted, 'custom_hooks.1.type')


def test_options_of_a_visualization_are_kept_or_noted():
    hook = dict(
        type='VisualizeUnconditionalSamples', output_dir='out', num_samples=9, fixed_input=False
    )
    converted = convert(['mmgen'], custom_hooks=[hook])
    (new,) = converted.config['custom_hooks']
    assert (new['n_samples'], new['fixed_input']) == (9, False)
    assert told(converted, 'custom_hooks.0.output_dir')


@pytest.mark.parametrize(
    ('rules', 'config', 'lost'),
    [
        (['mmdet'], dict(type='Shear', level=2, center=(3, 4)), 'center'),
        (['mmdet'], dict(type='RandomAffine', max_aspect_ratio=9), 'max_aspect_ratio'),
        (['mmpose'], dict(type='TopDownRandomTranslation', spread=3), 'spread'),
        (['mmpose'], dict(type='Collect', meta_keys=['mine']), 'meta_keys'),
        (['mmedit'], dict(type='Collect', meta_keys=['mine']), 'meta_keys'),
    ],
)
def test_an_argument_that_a_rule_does_not_know_is_noted(rules, config, lost):
    data = dict(
        train=dict(type='RepeatDataset', times=2, dataset=dict(type='X', pipeline=[config]))
    )
    converted = convert(rules, data=data)
    assert told(converted, f'data.train.dataset.pipeline.0.{lost}')


@pytest.mark.parametrize(
    'key', ['precise_bn', 'omnisource', 'metrics', 'timer_config', 'persistent_workers', 'prefetch']
)
def test_what_the_script_of_a_project_read_is_noted(key):
    converted = convert(**{key: dict(num_iters=200)})
    assert converted.config[key] == dict(num_iters=200)
    assert told(converted, key)


def test_a_variable_that_nothing_uses_is_noted_and_one_in_use_is_not():
    converted = convert(mine=dict(speed=87), used=dict(type='Toy'), number=4)
    assert told(converted, 'mine')
    assert not told(converted, 'used')
    assert not told(converted, 'number')


def augmented(*steps, meta_keys=None):
    collect = dict(type='Collect', keys=['img'])
    if meta_keys:
        collect['meta_keys'] = meta_keys
    return [
        *IMAGES,
        dict(
            type='MultiScaleFlipAug',
            img_scale=(1333, 800),
            flip=True,
            transforms=[dict(type='Resize'), dict(type='RandomFlip'), *steps, collect],
        ),
    ]


def detection(pipeline):
    train = [*IMAGES, dict(type='Pad', size_divisor=32), dict(type='Collect', keys=['img'])]
    data = dict(
        train=dict(type='CocoDataset', ann_file='a', pipeline=train),
        test=dict(type='CocoDataset', ann_file='b', pipeline=pipeline),
    )
    return convert(['mmdet'], model=dict(type='RetinaNet'), data=data)


def test_merging_views_finds_how_they_were_flipped():
    converted = detection(augmented(meta_keys=('filename', 'flip', 'mine')))
    pack = converted.config['tta_pipeline'][1]['transforms'][-1][0]
    assert pack['meta_keys'] == (
        'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'mine', 'flip',
        'flip_direction',
    )  # fmt: skip
    plain = converted.config['test_dataloader']['dataset']['pipeline'][-1]
    assert plain['meta_keys'] == (
        'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'mine',
    )  # fmt: skip


@pytest.mark.parametrize(('divisor', 'count'), [(32, 0), (128, 1)])
def test_padding_other_than_in_training_is_noted(divisor, count):
    converted = detection(augmented(dict(type='Pad', size_divisor=divisor)))
    assert len(told(converted, 'data.test.pipeline.1.transforms.2')) == count


@pytest.mark.parametrize(('own', 'count'), [(dict(interval=10), 1), ({}, 0)])
def test_loggers_with_several_intervals_are_noted(own, count):
    hooks = [dict(type='TextLoggerHook', **own), dict(type='TensorboardLoggerHook')]
    converted = convert(log_config=dict(interval=100, hooks=hooks))
    assert len(told(converted, 'log_config.hooks.1.interval')) == count


def test_a_base_trains_in_half_precision_only_if_it_says_so(tmp_path):
    (tmp_path / 'old').mkdir()
    base = (
        "optimizer = dict(type='SGD', lr=0.02)\noptimizer_config = dict(grad_clip=None)\n"
        "lr_config = dict(policy='step', step=[8])\n"
        "runner = dict(type='EpochBasedRunner', max_epochs=12)\n"
        'checkpoint_config = dict(interval=1)\n'
    )
    heir = (
        "_base_ = 'base.py'\nmodel = dict(type='Toy')\nfp16 = dict(loss_scale=512.)\n"
        'optimizer_config = dict(_delete_=True, grad_clip=dict(max_norm=1))\n'
        "log_config = dict(interval=7)\nevaluation = dict(interval=3, save_best='auto')\n"
    )
    (tmp_path / 'old/base.py').write_text(base)
    (tmp_path / 'old/heir.py').write_text(heir)
    assert main(['migrate', 'config', str(tmp_path / 'old'), '-o', str(tmp_path / 'new')]) == 0
    old = Config.fromfile(tmp_path / 'new/base.py').to_dict()
    new = Config.fromfile(tmp_path / 'new/heir.py').to_dict()
    assert old['optim_wrapper'] == dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02))
    assert old['train_cfg'] == dict(by_epoch=True, max_epochs=12)
    assert old['default_hooks'] == dict(checkpoint=dict(type='CheckpointHook', interval=1))
    assert new['optim_wrapper']['type'] == 'AmpOptimWrapper'
    assert new['optim_wrapper']['clip_grad'] == dict(max_norm=1)
    assert new['train_cfg']['val_interval'] == 3
    assert new['default_hooks']['checkpoint']['save_best'] == 'auto'


def test_detected_boxes_are_filtered_as_before():
    cfg = dict(use_gt_bbox=False, bbox_file='x.json', det_bbox_thr=0.1)
    val = dict(type='TopDownCocoDataset', ann_file='a', data_cfg=cfg, pipeline=[])
    new = convert(['mmpose'], data=dict(train=val, val=val), evaluation={}).config
    assert new['val_dataloader']['dataset']['filter_cfg'] == dict(bbox_score_thr=0.1)
    assert 'filter_cfg' not in new['train_dataloader']['dataset']


def test_a_half_body_needs_one_joint_more_than_before():
    """More than 8 were needed, and now so many at least: 9."""
    step = dict(type='TopDownHalfBodyTransform', num_joints_half_body=8, prob_half_body=0.3)
    data = dict(train=dict(type='TopDownCocoDataset', pipeline=[step]))
    (new,) = convert(['mmpose'], data=data).config['train_dataloader']['dataset']['pipeline']
    assert new == dict(type='RandomHalfBody', min_total_keypoints=9, prob=0.3)


@pytest.mark.parametrize('kind', ['BasicRestorer', 'EDVR'])
def test_a_restorer_with_one_optimizer_has_one_wrapper(kind):
    adam = dict(type='Adam', lr=2e-4)
    legacy = dict(
        model=dict(type=kind, generator=dict(type='Net')),
        optimizers=dict(generator=adam),
        total_iters=9,
    )
    new = convert_config(legacy, rules=load_rules(['mmedit'])).config
    assert new['optim_wrapper'] == dict(type='OptimWrapper', optimizer=adam)


def test_a_whole_config_has_a_scope_whether_or_not_it_logs():
    assert convert(['mmdet']).config['default_scope'] == 'mmdet'
    assert convert(['mmdet'], default_scope='mine').config['default_scope'] == 'mine'


def test_entries_of_both_engines_that_do_not_conflict_are_all_kept():
    converted = convert(
        default_hooks=dict(timer=dict(type='IterTimerHook')), checkpoint_config=dict(interval=2)
    )
    assert converted.config['default_hooks'] == dict(
        timer=dict(type='IterTimerHook'), checkpoint=dict(type='CheckpointHook', interval=2)
    )
    own = dict(checkpoint=dict(type='CheckpointHook', interval=5))
    converted = convert(default_hooks=own, checkpoint_config=dict(interval=2))
    assert converted.config['default_hooks'] == own
    assert told(converted, 'checkpoint_config')


def test_two_loss_scales_are_noted():
    converted = convert(
        fp16=dict(loss_scale=64.0),
        optimizer_config=dict(type='Fp16OptimizerHook', loss_scale='dynamic'),
    )
    (text,) = told(converted, 'fp16.loss_scale')
    assert '64' in text
    assert 'dynamic' in text


def test_options_of_a_profiler_are_renamed_and_unknown_ones_noted():
    hook = dict(type='ProfilerHook', profile_iters=3, activities=['cpu'], mine=4)
    converted = convert(custom_hooks=[hook])
    (new,) = converted.config['custom_hooks']
    assert new == dict(
        type='ProfilerHook', profile_times=3, activity_with_cpu=True, activity_with_cuda=False
    )
    assert told(converted, 'custom_hooks.0.mine')


@pytest.mark.parametrize(
    ('rules', 'hook'),
    [
        (['mmdet'], dict(type='SyncNormHook', num_last_epochs=5, interval=3)),
        (['mmrotate'], dict(type='SyncNormHook', num_last_epochs=5, interval=3)),
        (['mmdet'], dict(type='SyncRandomSizeHook', ratio_range=(14, 26), interval=10)),
        (['mmdet'], dict(type='LinearMomentumEMAHook', skip_buffers=True, momentum=0.1)),
        (['mmselfsup'], dict(type='MomentumUpdateHook', end_momentum=0.9)),
        (['mmgen'], averaging(priority='VERY_HIGH')),
    ],
)
def test_every_argument_of_a_hook_is_in_the_new_config_or_in_a_note(rules, hook):
    model = dict(type='StyleGANV2') if rules == ['mmgen'] else RUN['model']
    converted = convert(rules, model=model, custom_hooks=[hook])
    text = repr([converted.config.get('custom_hooks'), converted.config['model']])
    for name, value in hook.items():
        if name in ('type', 'interp_cfg'):
            continue
        notes = told(converted, f'custom_hooks.0.{name}')
        assert f'{name}=' in text or f"'{name}': {value!r}" in text or notes, name
        assert all(repr(value) in note for note in notes)


@pytest.mark.parametrize('kind', ['MomentumUpdateHook', 'DistSamplerSeedHook', 'IterTimerHook'])
def test_a_hook_that_is_left_out_is_noted(kind):
    converted = convert(['mmselfsup'], custom_hooks=[dict(type=kind)])
    assert converted.config['custom_hooks'] == []
    assert told(converted, 'custom_hooks.0')


@pytest.mark.parametrize(('part', 'count'), [('drop', 1), ('gone', 1), ('moved', 0)])
@pytest.mark.parametrize('whole', [True, False])
def test_what_an_own_rule_leaves_out_is_noted_unless_it_is_elsewhere(part, count, whole):
    function = {} if whole else dict(function=lambda config: {'type': 'New'})
    rules = Rules(hooks=dict(Old={**function, part: ['size']}))
    hook = dict(type='Old', size=91)
    converted = convert_config({**RUN, 'custom_hooks': [hook]}, rules=rules)
    if part == 'gone' and whole:
        # A table keeps what it does not drop.
        assert converted.config['custom_hooks'] == [hook]
        return
    notes = [note for note in converted.notes if note.key == 'custom_hooks.0.size']
    assert [note.kind for note in notes] == ['info'] * count
    assert all('91' in note.text for note in notes)


FID = dict(type='FID', num_images=50)


@pytest.mark.parametrize('rules', ['mmgen', 'mmedit'])
@pytest.mark.parametrize('stages', [None, ['train'], ['train', 'val']])
def test_every_argument_of_a_metric_is_in_an_evaluator_or_in_a_note(rules, stages):
    data = {} if stages is None else dict(data={one: dict(type='D') for one in stages})
    evaluation = dict(type='GenerativeEvalHook', interval=3, metrics=FID)
    converted = convert([rules], evaluation=evaluation, **data)
    assert '50' in repr([converted.config, converted.notes])
    if 'val' not in (stages or ()):
        (text,) = told(converted, 'evaluation.metrics')
        assert "'FID'" in text


def test_a_number_that_a_metric_does_not_take_is_noted():
    metrics = [dict(FID, batch=83), dict(type='IS', num_images=50, splits=29)]
    data = dict(val=dict(type='D'))
    converted = convert(['mmgen'], data=data, evaluation=dict(metrics=metrics))
    assert [one['fake_nums'] for one in converted.config['val_evaluator']] == [50, 50]
    assert '83' in told(converted, 'evaluation.metrics.batch')[0]
    assert '29' in told(converted, 'evaluation.metrics.splits')[0]
    assert not told(converted, 'evaluation.metrics.num_images')


@pytest.mark.parametrize('value', [dict(out_dir='elsewhere'), dict(file_client_args=dict(a=3))])
def test_where_the_best_checkpoint_went_is_noted(value):
    ((key, given),) = value.items()
    converted = convert(evaluation=dict(interval=1, save_best='acc', **value))
    assert repr(given) in told(converted, f'evaluation.{key}')[0]
