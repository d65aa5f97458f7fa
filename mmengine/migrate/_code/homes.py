"""Where the names of MMCV 1.x live now. A table, so that a name moves by a word."""

from __future__ import annotations

# New module: {parts of MMCV: names}. A name with ``=`` has a new one on its right. A part's names
# count for all modules in it, ``runner`` for ``mmcv.runner.hooks.hook`` too; names of ``fileio``
# and ``utils`` could be taken from ``mmcv`` itself as well.
_MOVES: dict[str, dict[str, str]] = {
    'mmengine.config': {'utils': 'Config ConfigDict DictAction'},
    'mmengine.fileio': {
        'fileio': 'load dump list_from_file dict_from_file FileClient register_handler '
        'BaseStorageBackend HardDiskBackend LmdbBackend MemcachedBackend PetrelBackend HTTPBackend '
        'BaseFileHandler JsonHandler PickleHandler YamlHandler',
    },
    'mmengine.utils': {
        'utils': 'is_str iter_cast list_cast tuple_cast is_seq_of is_list_of is_tuple_of '
        'slice_list concat_list check_prerequisites requires_package requires_executable '
        'is_filepath fopen check_file_exist mkdir_or_exist symlink scandir ProgressBar '
        'track_progress track_iter_progress track_parallel_progress Timer TimerError check_time '
        'deprecated_api_warning digit_version get_git_hash import_modules_from_strings '
        'to_1tuple to_2tuple to_3tuple to_4tuple to_ntuple is_method_overridden has_method',
    },
    'mmengine.utils.dl_utils': {
        'utils': 'collect_env TORCH_VERSION is_jit_tracing load_url torch_meshgrid',
    },
    'mmengine.utils.dl_utils.parrots_wrapper': {
        'utils': '_BatchNorm _InstanceNorm _ConvNd _ConvTransposeMixin _AvgPoolNd _MaxPoolNd '
        '_AdaptiveAvgPoolNd _AdaptiveMaxPoolNd SyncBatchNorm DataLoader PoolDataLoader '
        'is_rocm_pytorch get_build_config _get_cuda_home',
    },
    'mmengine.logging': {'utils': 'print_log'},
    'mmengine.registry': {
        'utils': 'Registry build_from_cfg',
        'runner': 'HOOKS RUNNERS OPTIMIZERS OPTIMIZER_BUILDERS=OPTIM_WRAPPER_CONSTRUCTORS',
        'cnn': 'MODELS build_model_from_cfg INITIALIZERS=WEIGHT_INITIALIZERS '
        'ACTIVATION_LAYERS=MODELS CONV_LAYERS=MODELS NORM_LAYERS=MODELS PADDING_LAYERS=MODELS '
        'PLUGIN_LAYERS=MODELS UPSAMPLE_LAYERS=MODELS DROPOUT_LAYERS=MODELS '
        'POSITIONAL_ENCODING=MODELS ATTENTION=MODELS FEEDFORWARD_NETWORK=MODELS '
        'TRANSFORMER_LAYER=MODELS TRANSFORMER_LAYER_SEQUENCE=MODELS',
        'parallel': 'MODULE_WRAPPERS=MODEL_WRAPPERS',
    },
    'mmengine.model': {
        'runner': 'BaseModule ModuleList ModuleDict Sequential',
        'cnn': 'constant_init xavier_init normal_init trunc_normal_init uniform_init kaiming_init '
        'caffe2_xavier_init bias_init_with_prob initialize update_init_info ConstantInit '
        'XavierInit NormalInit TruncNormalInit UniformInit KaimingInit Caffe2XavierInit '
        'PretrainedInit revert_sync_batchnorm',
        'parallel': 'MMDistributedDataParallel is_module_wrapper=is_model_wrapper',
    },
    'torch.nn.init': {'cnn': 'trunc_normal_'},
    'mmengine.dist': {
        'runner': 'get_dist_info init_dist master_only allreduce_params=all_reduce_params',
        'engine': 'collect_results_cpu collect_results_gpu',
    },
    'mmengine.device': {'device': 'get_device'},
    'mmengine.hooks': {
        'runner': 'Hook CheckpointHook IterTimerHook LoggerHook ProfilerHook '
        'DistSamplerSeedHook EmptyCacheHook SyncBuffersHook',
    },
    'mmengine.runner': {
        'runner': 'CheckpointLoader load_checkpoint load_state_dict save_checkpoint weights_to_cpu '
        'get_state_dict Priority get_priority set_random_seed',
    },
    'mmengine.runner.checkpoint': {'runner': '_load_checkpoint _load_checkpoint_with_prefix'},
    'mmengine.optim': {
        'runner': 'DefaultOptimizerConstructor=DefaultOptimWrapperConstructor',
    },
    'mmengine.migrate': {
        'runner': 'LrUpdaterHook=LegacyLrUpdaterHook EMAHook=LegacyEMAHook',
    },
    'mmengine.testing': {
        'utils': 'assert_attrs_equal assert_dict_contains_subset assert_dict_has_keys '
        'assert_is_norm_layer assert_keys_equal assert_params_all_zeros check_python_script',
    },
}  # fmt: skip

# Parts of MMCV 1.x that no later MMCV has, or of which it has no more than a few names.
GONE = (
    'mmcv.runner', 'mmcv.parallel', 'mmcv.engine', 'mmcv.utils', 'mmcv.fileio', 'mmcv.device',
    'mmcv.onnx', 'mmcv.tensorrt',
)  # fmt: skip
_STAYS = {
    'mmcv.utils.IS_CUDA_AVAILABLE', 'mmcv.utils.IS_MLU_AVAILABLE', 'mmcv.utils.IS_MPS_AVAILABLE',
    'mmcv.utils.IS_NPU_AVAILABLE', 'mmcv.utils.ext_loader', 'mmcv.utils.jit',
    'mmcv.utils.skip_no_elena',
}  # fmt: skip

_MODULES = (
    'hooks optimizer checkpoint dist_utils fp16_utils base_module base_runner builder priority '
    'default_constructor epoch_based_runner iter_based_runner log_buffer utils config env '
    'logging misc parrots_wrapper path progressbar registry testing timer version_utils seed '
    'data_container data_parallel distributed scatter_gather file_client handlers io parse '
    'mlu mps npu ipu test hook closure ema evaluation iter_timer logger lr_updater memory '
    'momentum_updater profiler sampler_seed sync_buffer '
)

# Names without a counterpart, and what to do instead. One with ``*`` stands for all that end so.
_ADVICE = {
    'DataContainer': 'batches are plain dicts and lists here: collate_fn=dict('
    "type='pseudo_collate') and a data_preprocessor take its place",
    'collate': "collate_fn=dict(type='default_collate') stacks tensors as it did; "
    "'pseudo_collate' leaves samples in lists, for a data_preprocessor to stack",
    'scatter': 'the data_preprocessor of the model moves batches to the device',
    'scatter_kwargs': 'the data_preprocessor of the model moves batches to the device',
    'MMDataParallel': 'Runner moves the model to its device: drop the wrapper',
    'build_optimizer': 'Runner builds it from optim_wrapper=dict(optimizer=...)',
    'build_optimizer_constructor': 'optim_wrapper=dict(constructor=...) names it',
    'build_runner': 'use Runner.from_cfg(cfg), or Runner(...) with its arguments',
    'BaseRunner': 'use Runner of mmengine.runner; what differs between runners is a train loop',
    'Runner': 'use Runner of mmengine.runner, which gets all its parts at once',
    'EpochBasedRunner': 'use Runner(..., train_cfg=dict(by_epoch=True, max_epochs=...))',
    'IterBasedRunner': 'use Runner(..., train_cfg=dict(by_epoch=False, max_iters=...))',
    'IterLoader': 'train_cfg=dict(by_epoch=False, ...) with an InfiniteSampler goes on for ever',
    'OptimizerHook': 'the optimizer wrapper does its work: optim_wrapper=dict(clip_grad=...)',
    'Fp16OptimizerHook': "use optim_wrapper=dict(type='AmpOptimWrapper', ...)",
    'GradientCumulativeOptimizerHook': 'use optim_wrapper=dict(accumulative_counts=...)',
    'GradientCumulativeFp16OptimizerHook': "use optim_wrapper=dict(type='AmpOptimWrapper', "
    'accumulative_counts=...)',
    '*LrUpdaterHook': 'write a parameter scheduler: mmengine.optim.scheduler',
    '*MomentumUpdaterHook': 'write a parameter scheduler: mmengine.optim.scheduler',
    'EvalHook': 'use val_dataloader, val_cfg and val_evaluator with a BaseMetric',
    'DistEvalHook': 'use val_dataloader, val_cfg and val_evaluator with a BaseMetric',
    'ClosureHook': 'write a Hook with that one method',
    'TextLoggerHook': 'LoggerHook writes the text log; it is among the default hooks',
    '*LoggerHook': 'visualizer=dict(vis_backends=[...]) sends logs to trackers',
    'LogBuffer': 'runner.message_hub keeps what is logged',
    'LossScaler': "use optim_wrapper=dict(type='AmpOptimWrapper', loss_scale=...)",
    'allreduce_grads': 'the distributed model wrapper shares gradients',
    'wrap_fp16_model': "use optim_wrapper=dict(type='AmpOptimWrapper', ...)",
    'auto_fp16': 'the optim_context of the optimizer wrapper casts',
    'force_fp32': 'use torch.autocast(..., enabled=False) inside the function',
    'get_logger': 'use MMLogger.get_instance(name) of mmengine.logging',
    'get_time_str': "time.strftime('%Y%m%d_%H%M%S', time.localtime()) says the same",
    'get_host_info': 'getpass.getuser() and socket.gethostname() say the same',
    'obj_from_dict': 'use a Registry: REGISTRY.build(cfg)',
    'single_gpu_test': 'Runner.test() runs the test: test_dataloader, test_cfg, test_evaluator',
    'multi_gpu_test': 'Runner.test() runs the test: test_dataloader, test_cfg, test_evaluator',
    'register_extra_symbolics': 'torch exports by itself, or MMDeploy does',
    'is_custom_op_loaded': 'MMDeploy has what served exports',
    'is_tensorrt_plugin_loaded': 'MMDeploy has what served exports',
    'onnx2trt': 'MMDeploy has what served exports',
    'save_trt_engine': 'MMDeploy has what served exports',
    'load_trt_engine': 'MMDeploy has what served exports',
    'TRTWraper': 'MMDeploy has what served exports',
    'TRTWrapper': 'MMDeploy has what served exports',
    'worker_init_fn': 'Runner seeds the workers of its dataloaders: randomness=dict(seed=...)',
}
_NO_ADVICE = 'no counterpart is known'


def _table() -> dict[tuple[str, str], tuple[str, str]]:
    table = {}
    for home, by_part in _MOVES.items():
        for part, names in by_part.items():
            for word in names.split():
                old, _, new = word.partition('=')
                table[part, old] = (home, new or old)
    return table


HOMES: dict[tuple[str, str], tuple[str, str]] = _table()
"""New module and name of each old name, by the part of MMCV that had it."""


def home_of(full: str) -> tuple[str, str] | None:
    """New module and name of an old full name, such as 'mmcv.runner.hooks.Hook'."""
    module, _, name = full.rpartition('.')
    package, _, rest = module.partition('.')
    # A class between module and name, as in mmcv.FileClient.load, makes the name another one.
    if package != 'mmcv' or not (rest.islower() or not rest):
        return None
    if rest:
        return HOMES.get((rest.partition('.')[0], name))
    if f'mmcv.utils.{name}' in _STAYS:
        return 'mmcv.utils', name
    return HOMES.get(('utils', name)) or HOMES.get(('fileio', name))


def is_gone(full: str) -> bool:
    """Whether a name without a new home is in no later MMCV either."""
    module = full.rpartition('.')[0]
    return module.islower() and module.startswith(GONE) and full not in _STAYS


def is_module(full: str) -> bool:
    """Whether a name belongs to a part of MMCV that is gone, or to a module in one."""
    return full in GONE or (is_gone(full) and f'{full.rpartition(".")[2]} ' in _MODULES)


def is_known(full: str) -> bool:
    """Whether the tables here have the name: not every name after a dot is MMCV's."""
    return home_of(full) is not None or (
        is_gone(full) and advice_for(full.rpartition('.')[2]) != _NO_ADVICE
    )


def advice_for(name: str) -> str:
    """What takes the place of a name without a new home."""
    pattern = next((key for key in _ADVICE if key[0] == '*' and name.endswith(key[1:])), '')
    return _ADVICE.get(name) or _ADVICE.get(pattern, _NO_ADVICE)
