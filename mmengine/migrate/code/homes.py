"""Where the names of MMCV 1.x live now. A table, so that a name moves by a word."""

from __future__ import annotations

# New module: {old module: names}. A name with ``=`` has a new one on its right.
_MOVES: dict[str, dict[str, str]] = {
    'mmengine.config': {'mmcv mmcv.utils': 'Config ConfigDict DictAction'},
    'mmengine.fileio': {
        'mmcv mmcv.fileio': 'load dump list_from_file dict_from_file FileClient register_handler '
        'BaseStorageBackend',
        'mmcv.fileio mmcv.fileio.file_client': 'HardDiskBackend LmdbBackend MemcachedBackend '
        'PetrelBackend',
        'mmcv.fileio.handlers': 'BaseFileHandler JsonHandler PickleHandler YamlHandler',
    },
    'mmengine.utils': {
        'mmcv mmcv.utils': 'is_str iter_cast list_cast tuple_cast is_seq_of is_list_of is_tuple_of '
        'slice_list concat_list check_prerequisites requires_package requires_executable '
        'is_filepath fopen check_file_exist mkdir_or_exist symlink scandir ProgressBar '
        'track_progress track_iter_progress track_parallel_progress Timer TimerError check_time '
        'deprecated_api_warning digit_version get_git_hash import_modules_from_strings '
        'to_1tuple to_2tuple to_3tuple to_4tuple to_ntuple is_method_overridden has_method',
    },
    'mmengine.utils.dl_utils': {'mmcv.utils': 'collect_env TORCH_VERSION'},
    'mmengine.utils.dl_utils.parrots_wrapper': {
        'mmcv.utils mmcv.utils.parrots_wrapper': '_BatchNorm _InstanceNorm SyncBatchNorm',
    },
    'mmengine.logging': {'mmcv mmcv.utils mmcv.utils.logging': 'print_log'},
    'mmengine.registry': {
        'mmcv.utils': 'Registry build_from_cfg',
        'mmcv.runner mmcv.runner.hooks mmcv.runner.hooks.hook': 'HOOKS',
        'mmcv.runner mmcv.runner.builder': 'RUNNERS',
        'mmcv.runner mmcv.runner.optimizer mmcv.runner.optimizer.builder': 'OPTIMIZERS '
        'OPTIMIZER_BUILDERS=OPTIM_WRAPPER_CONSTRUCTORS',
        'mmcv.cnn mmcv.cnn.builder': 'MODELS',
        'mmcv.parallel mmcv.parallel.registry': 'MODULE_WRAPPERS=MODEL_WRAPPERS',
    },
    'mmengine.model': {
        'mmcv.runner mmcv.runner.base_module': 'BaseModule ModuleList ModuleDict Sequential',
        'mmcv.cnn mmcv.cnn.utils mmcv.cnn.utils.weight_init': 'constant_init xavier_init '
        'normal_init trunc_normal_init uniform_init kaiming_init caffe2_xavier_init '
        'bias_init_with_prob initialize update_init_info ConstantInit XavierInit NormalInit '
        'TruncNormalInit UniformInit KaimingInit Caffe2XavierInit PretrainedInit',
        'mmcv.cnn.utils mmcv.cnn.utils.sync_bn': 'revert_sync_batchnorm',
        'mmcv.parallel': 'MMDistributedDataParallel is_module_wrapper=is_model_wrapper',
    },
    'mmengine.dist': {
        'mmcv.runner mmcv.runner.dist_utils': 'get_dist_info init_dist master_only '
        'allreduce_params=all_reduce_params',
    },
    'mmengine.hooks': {
        'mmcv.runner mmcv.runner.hooks mmcv.runner.hooks.hook': 'Hook CheckpointHook EMAHook '
        'IterTimerHook LoggerHook ProfilerHook DistSamplerSeedHook EmptyCacheHook '
        'SyncBuffersHook',
    },
    'mmengine.runner': {
        'mmcv.runner mmcv.runner.checkpoint': 'CheckpointLoader load_checkpoint load_state_dict '
        'save_checkpoint weights_to_cpu get_state_dict',
        'mmcv.runner mmcv.runner.priority': 'Priority get_priority',
        'mmcv.runner mmcv.runner.utils': 'set_random_seed',
    },
    'mmengine.optim': {
        'mmcv.runner mmcv.runner.optimizer': 'DefaultOptimizerConstructor='
        'DefaultOptimWrapperConstructor',
    },
}  # fmt: skip

# Parts of MMCV 1.x that no later MMCV has: what still stands there needs a hand.
GONE = ('mmcv.runner', 'mmcv.parallel', 'mmcv.engine', 'mmcv.utils', 'mmcv.fileio')

# Names without a counterpart, and what to do instead.
ADVICE = {
    'DataContainer': 'batches are plain dicts and lists here: collate_fn=dict('
    "type='pseudo_collate') and a data_preprocessor take its place",
    'collate': "say collate_fn=dict(type='pseudo_collate') in the dataloader's config",
    'scatter': 'the data_preprocessor of the model moves batches to the device',
    'MMDataParallel': 'Runner moves the model to its device: drop the wrapper',
    'build_optimizer': 'Runner builds it from optim_wrapper=dict(optimizer=...)',
    'build_runner': 'use Runner.from_cfg(cfg), or Runner(...) with its arguments',
    'Runner': 'use Runner of mmengine.runner, which is told everything at once',
    'EpochBasedRunner': 'use Runner(..., train_cfg=dict(by_epoch=True, max_epochs=...))',
    'IterBasedRunner': 'use Runner(..., train_cfg=dict(by_epoch=False, max_iters=...))',
    'OptimizerHook': 'the optimizer wrapper does its work: optim_wrapper=dict(clip_grad=...)',
    'Fp16OptimizerHook': "use optim_wrapper=dict(type='AmpOptimWrapper', ...)",
    'GradientCumulativeOptimizerHook': 'use optim_wrapper=dict(accumulative_counts=...)',
    'LrUpdaterHook': 'write a parameter scheduler: mmengine.optim.scheduler',
    'EvalHook': 'use val_dataloader, val_cfg and val_evaluator with a BaseMetric',
    'DistEvalHook': 'use val_dataloader, val_cfg and val_evaluator with a BaseMetric',
    'TextLoggerHook': 'LoggerHook writes the text log; it is among the default hooks',
    'wrap_fp16_model': "use optim_wrapper=dict(type='AmpOptimWrapper', ...)",
    'auto_fp16': 'the optim_context of the optimizer wrapper casts',
    'force_fp32': 'use torch.autocast(..., enabled=False) inside the function',
    'get_logger': 'use MMLogger.get_instance(name) of mmengine.logging',
}


def _table() -> dict[str, tuple[str, str]]:
    table = {}
    for home, by_origin in _MOVES.items():
        for origins, names in by_origin.items():
            for word in names.split():
                old, _, new = word.partition('=')
                for origin in origins.split():
                    table[f'{origin}.{old}'] = (home, new or old)
    return table


HOMES: dict[str, tuple[str, str]] = _table()
"""New module and name of each old full name."""
