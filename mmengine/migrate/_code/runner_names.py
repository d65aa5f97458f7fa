"""What a runner of MMCV 1.x and ``Runner`` have, by name.

Tables, because importing ``Runner`` imports torch; a test compares them with the classes.
"""

from __future__ import annotations

READ_ONLY = frozenset((
    'config_text', 'deterministic', 'distributed', 'experiment_name', 'hooks', 'launcher',
    'log_dir', 'model_name', 'randomness_cfg', 'rank', 'seed', 'strategy', 'test_dataloader',
    'test_evaluator', 'test_loop', 'timestamp', 'train_dataloader', 'train_loop', 'val_begin',
    'val_dataloader', 'val_evaluator', 'val_interval', 'val_loop', 'work_dir', 'world_size',
))  # fmt: skip
"""Properties of ``Runner`` that cannot be set."""

OF_RUNNER = READ_ONLY | {
    'build_dataloader', 'build_evaluator', 'build_log_processor', 'build_logger',
    'build_message_hub', 'build_model', 'build_optim_wrapper', 'build_param_scheduler',
    'build_test_loop', 'build_train_loop', 'build_val_loop', 'build_visualizer', 'call_hook',
    'dump_config', 'from_cfg', 'get_hooks_info', 'load_checkpoint', 'load_or_resume', 'logger',
    'register_custom_hooks', 'register_default_hooks', 'register_hook', 'register_hooks', 'resume',
    'save_checkpoint', 'scale_lr', 'set_randomness', 'setup_env', 'test', 'train', 'val',
    'wrap_model',
    'auto_scale_lr', 'cfg', 'checkpoint', 'default_scope', 'log_processor', 'message_hub', 'model',
    'state',
    'optim_wrapper', 'param_schedulers', 'visualizer', 'epoch', 'iter', 'max_epochs', 'max_iters',
    'preempt', 'strategy', 'watchdog',
}  # fmt: skip
"""Public names of a ``Runner``, instance attributes included."""

ARGUMENTS: dict[str, tuple[str, ...]] = {
    'save_checkpoint': (
        'out_dir', 'filename', 'file_client_args', 'save_optimizer', 'save_param_scheduler', 'meta',
        'by_epoch', 'backend_args',
    ),
    'load_checkpoint': ('filename', 'map_location', 'strict', 'revise_keys'),
    'resume': ('filename', 'resume_optimizer', 'resume_param_scheduler', 'map_location'),
    'register_hook': ('hook', 'priority'),
    'register_custom_hooks': ('hooks',),
    'train': (),
    'val': (),
}  # fmt: skip
"""Arguments of methods that runners of MMCV had under the same name."""

# How many of a method's arguments had the same place under MMCV.
SAME_PLACES = {
    'save_checkpoint': 1, 'load_checkpoint': 4, 'resume': 2, 'register_hook': 2,
    'register_custom_hooks': 1, 'train': 0, 'val': 0,
}  # fmt: skip

GONE = {
    'data_loaders': 'take runner.train_dataloader and runner.val_dataloader',
    'get_hook_info': 'runner.get_hooks_info() takes its place',
    'optimizer': 'runner.optim_wrapper.optimizer takes its place',
    'run': 'Runner.train() takes its place',
    'run_iter': 'model.train_step and the loops take its place',
    'register_training_hooks': 'default_hooks, optim_wrapper and param_scheduler of Runner(...) '
    'take its place',
    'register_lr_hook': 'param_scheduler of Runner(...) takes its place',
    'register_momentum_hook': 'param_scheduler of Runner(...) takes its place',
    'register_optimizer_hook': 'optim_wrapper of Runner(...) takes its place',
    'register_checkpoint_hook': 'default_hooks of Runner(...) takes its place',
    'register_logger_hooks': 'default_hooks of Runner(...) takes its place',
    'register_timer_hook': 'default_hooks of Runner(...) takes its place',
    'register_profiler_hook': 'register a ProfilerHook with register_hook',
    'register_hook_from_cfg': 'register_hook takes a config as well',
    'log_buffer': 'log with runner.message_hub.update_scalar(name, value)',
    'meta': 'keep it in the message hub, or in state_dict() and load_state_dict() of the hook',
    'mode': 'the methods for train, val and test have the mode in their names',
    'batch_processor': 'model.train_step takes its place',
    'current_lr': 'runner.optim_wrapper.get_lr() takes its place',
    'current_momentum': 'runner.optim_wrapper.get_momentum() takes its place',
    'data_loader': 'take runner.train_dataloader or runner.val_dataloader',
    '_model_name': 'runner.model_name has it',
    '_rank': 'runner.rank has it',
    '_world_size': 'runner.world_size has it',
}
"""Names of runners of MMCV that ``Runner`` does not have, and what to do."""


def advice_for(name: str) -> str:
    """What to do about a name that ``Runner`` does not have."""
    return GONE.get(name, 'Runner has no such name: keep the value in the hook')
