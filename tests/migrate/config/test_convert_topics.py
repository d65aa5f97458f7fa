"""Key by key: what each part of a legacy config becomes."""

import re

import pytest

from mmengine.migrate._config.convert import convert_config
from mmengine.migrate._config.rules import Rules, apply_rule, load_rules
from mmengine.utils.errors import ArgumentError

EPOCHS = dict(runner=dict(type='EpochBasedRunner', max_epochs=12))
ITERS = dict(runner=dict(type='IterBasedRunner', max_iters=400))
SGD = dict(type='SGD', lr=0.1)
TOY = dict(type='Toy')


def convert(rules=(), iters_per_epoch=None, **legacy):
    return convert_config(legacy, rules=load_rules(rules), iters_per_epoch=iters_per_epoch)


def new(**legacy):
    return convert(**legacy).config


def notes(kind, **legacy):
    return [note for note in convert(**legacy).notes if note.kind == kind]


@pytest.mark.parametrize(
    ('legacy', 'expected'),
    [
        (EPOCHS, dict(by_epoch=True, max_epochs=12)),
        (ITERS, dict(by_epoch=False, max_iters=400)),
        (dict(total_epochs=7), dict(by_epoch=True, max_epochs=7)),
        (dict(total_iters=9), dict(by_epoch=False, max_iters=9)),
        (
            dict(runner=dict(type='EpochBasedRunner'), total_epochs=3),
            dict(by_epoch=True, max_epochs=3),
        ),
        (
            {**EPOCHS, 'evaluation': dict(interval=3, start=6, dynamic_intervals=[(9, 1)])},
            dict(
                by_epoch=True,
                max_epochs=12,
                val_interval=3,
                val_begin=6,
                dynamic_intervals=[(9, 1)],
            ),
        ),
    ],
)
def test_the_runner_and_evaluation_become_train_cfg(legacy, expected):
    assert new(**legacy)['train_cfg'] == expected


def test_evaluation_by_iteration_on_epochs_needs_the_epoch_length():
    legacy = {**EPOCHS, 'evaluation': dict(interval=500, by_epoch=False)}
    assert 'val_interval' not in new(**legacy)['train_cfg']
    assert convert(iters_per_epoch=250, **legacy).config['train_cfg']['val_interval'] == 2


def test_workflow_of_training_alone_means_nothing_and_validation_is_left():
    assert notes('todo', **EPOCHS, workflow=[('train', 5)]) == []
    (note,) = notes('todo', **EPOCHS, workflow=[('train', 1), ('val', 1)])
    assert note.key == 'workflow'


@pytest.mark.parametrize(
    ('legacy', 'expected'),
    [
        ({}, dict(type='OptimWrapper')),
        (
            dict(optimizer_config=dict(grad_clip=dict(max_norm=35, norm_type=2))),
            dict(type='OptimWrapper', clip_grad=dict(max_norm=35, norm_type=2)),
        ),
        (
            dict(optimizer_config=dict(type='Fp16OptimizerHook'), fp16=dict()),
            dict(type='AmpOptimWrapper', loss_scale=512.0, dtype='float16'),
        ),
        (
            dict(optimizer_config=dict(), fp16=dict(loss_scale='dynamic')),
            dict(type='AmpOptimWrapper', loss_scale='dynamic', dtype='float16'),
        ),
        (
            dict(fp16=dict(loss_scale=1024)),
            dict(type='AmpOptimWrapper', loss_scale=1024.0, dtype='float16'),
        ),
        (
            dict(optimizer_config=dict(type='GradientCumulativeOptimizerHook', cumulative_iters=4)),
            dict(type='OptimWrapper', accumulative_counts=4),
        ),
        (
            dict(
                optimizer_config=dict(
                    type='GradientCumulativeFp16OptimizerHook',
                    cumulative_iters=2,
                    loss_scale='dynamic',
                )
            ),
            dict(
                type='AmpOptimWrapper', loss_scale='dynamic', dtype='float16', accumulative_counts=2
            ),
        ),
        (
            dict(optimizer_config=dict(type='DistOptimizerHook', update_interval=2, coalesce=True)),
            dict(type='OptimWrapper', accumulative_counts=2),
        ),
    ],
)
def test_optimizer_settings_become_the_wrapper(legacy, expected):
    assert new(optimizer=SGD, **legacy)['optim_wrapper'] == {'optimizer': SGD, **expected}


def test_an_integer_loss_scale_becomes_a_float_which_the_wrapper_takes():
    scale = new(optimizer=SGD, fp16=dict(loss_scale=512))['optim_wrapper']['loss_scale']
    assert isinstance(scale, float)


@pytest.mark.parametrize(
    'options',
    [
        {'(bn|gn)(\\d+)?.(weight|bias)': dict(weight_decay=0.0, lars_exclude=True)},
        {r'backbone\.': dict(lr_mult=0.1), 'bias': dict(weight_decay=0.0)},
    ],
)
def test_paramwise_options_by_regular_expressions_get_a_constructor_that_reads_them(options):
    wrapper = new(optimizer={**SGD, 'paramwise_options': options})['optim_wrapper']
    assert wrapper == dict(
        type='OptimWrapper',
        optimizer=SGD,
        constructor='LegacyRegexOptimWrapperConstructor',
        paramwise_cfg=options,
    )


def test_paramwise_options_of_two_kinds_are_left_to_a_person():
    options = dict(bias_lr_mult=2.0, backbone=dict(lr_mult=0.1))
    (note,) = notes('todo', optimizer={**SGD, 'paramwise_options': options})
    assert note.key == 'optimizer.paramwise_options'


@pytest.mark.parametrize('key', ['paramwise_cfg', 'paramwise_options'])
def test_paramwise_settings_move_beside_the_optimizer(key):
    options = dict(custom_keys=dict(head=dict(lr_mult=10.0)))
    wrapper = new(optimizer={**SGD, key: options})['optim_wrapper']
    assert (wrapper['optimizer'], wrapper['paramwise_cfg']) == (SGD, options)


@pytest.mark.parametrize('key', ['optimizer', 'optimizers'])
def test_optimizers_by_submodule_become_wrappers_by_submodule(key):
    adam = dict(type='Adam', lr=1e-4)
    converted = new(**{key: dict(generator=adam, discriminator=SGD)})['optim_wrapper']
    assert converted == dict(
        generator=dict(type='OptimWrapper', optimizer=adam),
        discriminator=dict(type='OptimWrapper', optimizer=SGD),
    )


def test_an_optimizer_hook_of_the_project_is_the_wrapper_that_its_code_becomes():
    clip = dict(max_norm=1)
    hook = dict(type='MyOptimizerHook', threshold=3, grad_clip=clip, cumulative_iters=2)
    result = convert(optimizer=dict(SGD, paramwise_cfg={}), optimizer_config=hook)
    assert result.config['optim_wrapper'] == dict(
        type='MyOptimizerHook',
        optimizer=SGD,
        paramwise_cfg={},
        threshold=3,
        accumulative_counts=2,
        clip_grad=clip,
    )
    assert [note.key for note in result.notes] == ['optimizer_config.type']
    assert '`mmengine migrate code`' in result.notes[0].text


def test_mixed_precision_beside_an_optimizer_hook_of_the_project_stays_in_place():
    legacy = dict(optimizer_config=dict(type='MyOptimizerHook'), fp16=dict(loss_scale=2))
    result = convert(optimizer=SGD, **legacy)
    assert result.config['optim_wrapper'] == dict(type='MyOptimizerHook', optimizer=SGD)
    assert result.config['fp16'] == dict(loss_scale=2)
    assert [note.key for note in result.notes] == ['optimizer_config.type', 'fp16']


def test_a_policy_of_the_project_is_the_hook_that_mmcv_built_for_it():
    hook = dict(type='EMAHook', momentum=0.5)
    result = convert(
        optimizer=SGD,
        **EPOCHS,
        lr_config=dict(policy='saw', teeth=2, by_epoch=False, warmup='exp'),
        momentum_config=dict(policy='step', step=[1]),
        custom_hooks=[hook],
    )
    saw, ema = result.config['custom_hooks']
    assert saw.pop('priority') == 9  # before MMCV's VERY_HIGH, behind hooks of HIGHEST
    assert saw == dict(type='SawLrUpdaterHook', teeth=2, by_epoch=False, warmup='exp')
    assert ema['type'] == 'LegacyEMAHook'
    assert len(result.config['param_scheduler']) == 1
    assert [note.key for note in result.notes if note.kind == 'todo'] == ['lr_config.policy']


def test_a_slip_in_the_name_of_a_policy_is_an_error_with_the_right_name():
    result = convert(optimizer=SGD, **EPOCHS, lr_config=dict(policy='CosineAnealing', min_lr=0))
    assert result.failed
    assert "Did you mean 'CosineAnnealing'" in result.notes[0].text


@pytest.mark.parametrize('priority', ['HIGH', 'VERY_HIGH', 30])
def test_an_average_from_before_the_optimizer_step_is_told(priority):
    hook = dict(type='EMAHook', priority=priority)
    result = convert(**EPOCHS, optimizer=SGD, custom_hooks=[hook])
    assert result.config['custom_hooks'][0]['priority'] == priority
    note = next(note for note in result.notes if note.key == 'custom_hooks.0.priority')
    assert 'before the optimizer step' in note.text


@pytest.mark.parametrize('priority', ['ABOVE_NORMAL', 'NORMAL', 49])
def test_an_average_from_after_the_optimizer_step_needs_no_word(priority):
    hook = dict(type='EMAHook', priority=priority)
    assert not convert(**EPOCHS, optimizer=SGD, custom_hooks=[hook]).notes


def test_checkpoints_of_an_iteration_run_are_counted_in_iterations():
    assert new(**ITERS, checkpoint_config=dict(interval=50))['default_hooks']['checkpoint'] == dict(
        type='CheckpointHook', interval=50, by_epoch=False
    )
    assert (
        'by_epoch'
        not in new(**EPOCHS, checkpoint_config=dict(interval=1))['default_hooks']['checkpoint']
    )


def test_no_checkpoint_config_means_no_checkpoints():
    assert new(**EPOCHS, checkpoint_config=None)['default_hooks'] == dict(checkpoint=None)


def test_the_best_checkpoint_moves_from_evaluation_to_the_checkpoint_hook():
    hooks = new(**EPOCHS, evaluation=dict(interval=1, save_best='auto', rule='less'))[
        'default_hooks'
    ]
    assert hooks['checkpoint'] == dict(type='CheckpointHook', save_best='auto', rule='less')


def test_log_config_becomes_hook_visualizer_and_processor():
    log = dict(
        interval=50,
        hooks=[
            dict(type='TextLoggerHook'),
            dict(type='TensorboardLoggerHook'),
            dict(type='WandbLoggerHook', init_kwargs=dict(project='toy')),
            dict(type='MlflowLoggerHook', exp_name='toy'),
        ],
    )
    converted = new(**ITERS, log_config=log)
    assert converted['default_hooks'] == dict(logger=dict(type='LoggerHook', interval=50))
    assert [backend['type'] for backend in converted['visualizer']['vis_backends']] == [
        'LocalVisBackend',
        'TensorboardVisBackend',
        'WandbVisBackend',
        'MLflowVisBackend',
    ]
    assert converted['visualizer']['vis_backends'][2]['init_kwargs'] == dict(project='toy')
    log_processor = converted['log_processor']
    averaged = log_processor.pop('mean_pattern')
    assert log_processor == dict(type='LogProcessor', window_size=50, by_epoch=False)
    names = ('loss', 'acc', 'grad_norm', 'lr', 'base_lr', 'b.momentum')
    assert [name for name in names if re.match(averaged, name)] == ['loss', 'acc', 'grad_norm']
    assert 'log_config' not in converted


def test_a_logger_without_counterpart_stays_in_place_and_is_listed():
    log = dict(interval=5, hooks=[dict(type='TextLoggerHook'), dict(type='PaviLoggerHook')])
    result = convert(**EPOCHS, log_config=log)
    assert result.config['log_config'] == dict(hooks=[dict(type='PaviLoggerHook')])
    assert [note.kind for note in result.notes] == ['todo']


def test_environment_keys_are_gathered():
    converted = new(
        dist_params=dict(backend='nccl'),
        cudnn_benchmark=True,
        mp_start_method='fork',
        opencv_num_threads=0,
        seed=3,
        find_unused_parameters=True,
        resume_from='a.pth',
    )
    assert converted['env_cfg'] == dict(
        cudnn_benchmark=True,
        mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
        dist_cfg=dict(backend='nccl'),
    )
    assert converted['randomness'] == dict(seed=3)
    assert converted['model_wrapper_cfg']['find_unused_parameters'] is True
    assert (converted['load_from'], converted['resume']) == ('a.pth', True)


def test_averages_of_weights_keep_their_meaning():
    (hook,) = new(custom_hooks=[dict(type='EMAHook', momentum=0.0002, priority=49)])['custom_hooks']
    assert hook == dict(type='LegacyEMAHook', momentum=0.0002, priority=49)
    exponential = dict(type='ExpMomentumEMAHook', total_iter=900, priority=49)
    (hook,) = new(custom_hooks=[exponential])['custom_hooks']
    assert hook == dict(
        type='EMAHook',
        ema_type='ExpMomentumEMA',
        momentum=0.0002,
        gamma=900,
        update_buffers=True,
        priority=49,
    )


def test_unknown_hooks_stay_as_they_are_and_are_listed():
    hook = dict(type='MyHook', priority=30)
    result = convert(custom_hooks=[hook])
    assert result.config['custom_hooks'] == [hook]
    assert result.notes[0].key == 'custom_hooks.0.type'


def test_a_top_level_train_cfg_is_the_models():
    result = convert(**EPOCHS, model=dict(type='M'), train_cfg=dict(nms=0.5), test_cfg=None)
    assert result.config['model'] == dict(type='M', train_cfg=dict(nms=0.5), test_cfg=None)
    assert result.config['train_cfg'] == dict(by_epoch=True, max_epochs=12)
    assert 'test_cfg' not in result.config


def test_data_becomes_dataloaders():
    data = dict(samples_per_gpu=4, workers_per_gpu=2, train=TOY, val=TOY, test=TOY)
    converted = new(**EPOCHS, data=data, evaluation=dict(interval=1))
    assert converted['train_dataloader'] == dict(
        batch_size=4, num_workers=2, sampler=dict(type='DefaultSampler', shuffle=True), dataset=TOY
    )
    assert converted['val_dataloader']['sampler'] == dict(type='DefaultSampler', shuffle=False)
    assert converted['val_dataloader']['batch_size'] == 1
    assert (converted['val_cfg'], converted['test_cfg']) == ({}, {})


def test_dataloader_overrides_of_a_stage_win():
    data = dict(
        videos_per_gpu=8,
        workers_per_gpu=2,
        train=TOY,
        val=TOY,
        val_dataloader=dict(videos_per_gpu=1, workers_per_gpu=0, persistent_workers=True),
    )
    loader = new(**EPOCHS, data=data, evaluation=dict())['val_dataloader']
    assert (loader['batch_size'], loader['num_workers']) == (1, 0)
    # torch refuses persistent workers without workers.
    assert 'persistent_workers' not in loader


def test_a_list_of_training_sets_is_concatenated():
    other = dict(type='Toy', size=2)
    loader = new(data=dict(samples_per_gpu=1, train=[TOY, other]))['train_dataloader']
    assert loader['dataset'] == dict(type='ConcatDataset', datasets=[TOY, other])


def test_without_a_rule_metrics_are_listed_and_evaluators_empty():
    result = convert(
        **EPOCHS, data=dict(train=TOY, val=TOY), evaluation=dict(metric='acc', classwise=True)
    )
    assert result.config['val_evaluator'] == []
    assert result.config['evaluation'] == dict(metric='acc', classwise=True)
    assert {note.key for note in result.notes if note.kind == 'todo'} == {
        'evaluation',
        'evaluation.metric',
        'evaluation.classwise',
        'data.train.type',
        'data.val.type',
    }


PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', img_scale=(1333, 800), keep_ratio=True),
    dict(type='RandomFlip', flip_ratio=0.5),
    dict(type='Normalize', mean=[1.0], std=[2.0], to_rgb=True),
    dict(type='Pad', size_divisor=32),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img']),
]


def coco(**more):
    return dict(type='CocoDataset', ann_file='a.json', img_prefix='img/', pipeline=PIPELINE, **more)


def test_mmdet_rules_convert_dataset_pipeline_metric_and_preprocessor():
    converted = convert(
        ['mmdet'],
        **EPOCHS,
        model=dict(type='M'),
        data=dict(samples_per_gpu=2, train=coco(), val=coco(classes=('a', 'b'))),
        evaluation=dict(interval=1, metric=['bbox'], classwise=True, save_best='bbox_mAP'),
    )
    assert not [note for note in converted.notes if note.kind == 'todo']
    config = converted.config
    dataset = config['train_dataloader']['dataset']
    assert dataset['data_prefix'] == dict(img='img/')
    assert dataset['pipeline'] == [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(1333, 800), keep_ratio=True),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackDetInputs'),
    ]
    assert config['val_dataloader']['dataset']['metainfo'] == dict(classes=('a', 'b'))
    assert config['val_dataloader']['dataset']['test_mode'] is True
    assert 'test_mode' not in dataset
    assert config['model']['data_preprocessor'] == dict(
        type='DetDataPreprocessor', mean=[1.0], std=[2.0], bgr_to_rgb=True, pad_size_divisor=32
    )
    assert config['val_evaluator'] == dict(
        type='CocoMetric', metric=['bbox'], ann_file='a.json', classwise=True
    )
    assert config['default_hooks']['checkpoint']['save_best'] == 'coco/bbox_mAP'


def test_a_transform_in_no_rule_stays_and_names_the_rules_that_know_it():
    pipeline = [dict(type='TopDownRandomFlip'), dict(type='Unheard')]
    result = convert(['mmdet'], data=dict(train=dict(type='CocoDataset', pipeline=pipeline)))
    assert result.config['train_dataloader']['dataset']['pipeline'] == pipeline
    first, second = [note.text for note in result.notes if note.kind == 'todo']
    assert '--rules mmpose has it' in first
    assert '--rules' not in second


def test_rules_of_ones_own_extend_the_built_in_ones(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text(
        'transforms = dict(Unheard=dict(\n'
        "    type='Heard', keys=dict(a='b.c'), drop=['d'], add=dict(e=1)))\n"
        "hooks = dict(MyHook='TheirHook')\n"
    )
    rules = load_rules(['mmseg', str(path)])
    transform = dict(type='Unheard', a=1, d=2)
    assert apply_rule(rules.transforms['Unheard'], transform) == dict(
        type='Heard', b=dict(c=1), e=1
    )
    assert rules.scope == 'mmseg'
    converted = convert_config(dict(custom_hooks=[dict(type='MyHook')]), rules=rules).config
    assert converted['custom_hooks'] == [dict(type='TheirHook')]


@pytest.mark.parametrize(
    ('name', 'message'),
    [('mmdett', "Did you mean 'mmdet'"), ('absent.py', 'no rule file'), (None, "no 'transform'")],
)
def test_wrong_rules_are_told_in_a_sentence(tmp_path, name, message):
    if name is None:
        (tmp_path / 'x.py').write_text('transform = dict()')
        name = str(tmp_path / 'x.py')
    with pytest.raises(ArgumentError, match=message):
        load_rules([name])


@pytest.mark.parametrize('name', ['mmdet', 'mmcls', 'mmseg', 'mmpose'])
def test_each_vocabulary_has_a_scope_transforms_and_datasets(name):
    rules = load_rules([name])
    assert isinstance(rules, Rules)
    assert rules.scope is not None
    assert all((rules.transforms, rules.datasets, rules.metrics))


@pytest.mark.parametrize(
    ('legacy', 'key'),
    [
        (dict(runner='EpochBasedRunner'), 'runner'),
        (dict(runner=dict(type='EpochBasedRunner')), 'runner'),
        (dict(total_epochs=0), 'total_epochs'),
        (dict(**EPOCHS, lr_config=dict(policy='stepp')), 'lr_config'),
        (dict(**EPOCHS, lr_config='step'), 'lr_config'),
        (dict(lr_config=dict(policy='fixed')), 'lr_config'),
        (dict(optimizer='SGD'), 'optimizer'),
        (dict(optimizer=dict(lr=0.1)), 'optimizer.lr'),
        (dict(data=[1]), 'data'),
        (dict(data=dict(train='Toy')), 'data.train'),
        (dict(log_config=3), 'log_config'),
        (dict(custom_hooks=dict()), 'custom_hooks'),
        (dict(model=dict(train_cfg=dict(a=1)), train_cfg=dict(b=1)), 'train_cfg'),
        (dict(optimizer=SGD, optimizers=dict(head=SGD)), 'optimizers'),
        (dict(total_epochs=3, total_iters=5), 'total_iters'),
    ],
)
def test_a_wrong_config_gets_a_message(legacy, key):
    result = convert(**legacy)
    assert result.failed
    assert key in {note.key for note in result.notes if note.kind == 'error'}


@pytest.mark.parametrize(
    ('legacy', 'kind', 'key'),
    [
        (dict(**EPOCHS, total_epochs=9), 'todo', 'total_epochs'),
        (dict(**EPOCHS, total_iters=9), 'info', 'total_iters'),
        (dict(**EPOCHS, load_from='a', resume_from='b'), 'info', 'load_from'),
        (dict(evaluation=dict(interval=1, metric='acc')), 'todo', 'evaluation.metric'),
    ],
)
def test_a_key_that_another_one_outdoes_is_told(legacy, kind, key):
    assert key in {note.key for note in notes(kind, **legacy)}


@pytest.mark.parametrize('wrong', [3, 'x', [1], dict(type=1), [[1]]], ids=repr)
@pytest.mark.parametrize(
    ('key', 'inner'),
    [
        ('workflow', None),
        ('evaluation', 'interval'),
        ('evaluation', 'save_best'),
        ('log_config', 'hooks'),
        ('checkpoint_config', None),
        ('optimizer_config', 'type'),
        ('runner', 'type'),
        ('data', 'train'),
        ('custom_hooks', None),
        ('lr_config', 'step'),
        ('dist_params', None),
    ],
)
def test_no_value_of_a_wrong_kind_makes_a_traceback(key, inner, wrong):
    legacy = dict(
        runner=dict(type='EpochBasedRunner', max_epochs=12),
        evaluation=dict(interval=1),
        log_config=dict(interval=5),
        optimizer=SGD,
        optimizer_config=dict(),
        data=dict(train=TOY, val=TOY),
        lr_config=dict(policy='step', step=[8]),
    )
    legacy[key] = wrong if inner is None else {**legacy[key], inner: wrong}
    assert convert(['mmdet'], **legacy).notes is not None
