"""What keys of a config mean that no class takes as arguments, and who reads settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from mmengine.dataset._bad_samples import BadSamplePolicy
from mmengine.process import Preempt
from mmengine.process.env import setup_process
from mmengine.process.session import Session
from mmengine.process.watchdog import WatchdogSettings
from mmengine.registry import HOOKS, LOOPS, OPTIM_WRAPPERS, PARAM_SCHEDULERS
from mmengine.runner.log_processor import LogProcessor
from mmengine.strategy._checkpoint_settings import CheckpointSettings
from mmengine.strategy._resume_request import ResumeRequest
from mmengine.utils._docstrings import Argument
from mmengine.visualization import Visualizer

# Keys without an argument of the constructor, which are read from the config itself.
OTHERS = {
    'strategy': (
        "str or dict", "None",
        "Where the parameters are: `'auto'`, `'ddp'`, `'fsdp'`, or the config of a strategy. "
        'See [strategies](../strategies.md).',
    ),
    'model_wrapper_cfg': (
        'str or dict', 'None',
        'The class that wraps the model on several ranks, by `MODEL_WRAPPERS`.',
    ),
    'sync_bn': (
        'str', 'None',
        "`'torch'` or `'mmcv'`: batch norms become synchronised ones on several ranks.",
    ),
    'find_unused_parameters': (
        'bool', 'False', 'Passed to DDP: parameters may be without a gradient in a step.',
    ),
    'compile': (
        'bool or dict', 'False',
        '`torch.compile` for a method of the model: `True`, or the arguments of `torch.compile` '
        "with `target`, the name of the method, `'train_step'` by default.",
    ),
    'activation_checkpointing': (
        'str or list[str]', 'None',
        'Names of modules whose activations are computed again in backward.',
    ),
    'custom_imports': (
        'dict', 'None',
        '`imports`, modules that are imported when the file is read, and `allow_failed_imports`.',
    ),
    'runner_type': ('str', "'Runner'", 'Another class than `Runner`, by `RUNNERS`.'),
    'inferencer': (
        'dict', 'None',
        'Reads the files of `mmengine predict`: a `BaseInferencer` of `INFERENCERS`. '
        'It is given `model`, `weights` and `device`.',
    ),
    'split_data': (
        'bool', 'True',
        'On several ranks, a ready `DataLoader` or a stream that every rank would read whole gives '
        'each rank its part. `False` lets every rank read all of it.',
    ),
    'strict_config': ('bool', 'False', 'Warnings about keys that look misspelt are errors.'),
    'tta_model': ('dict', 'None', 'The model of test-time augmentation, for `PrepareTTAHook`.'),
    'tta_pipeline': ('list', 'None', 'The pipeline of test-time augmentation.'),
}  # fmt: skip
DATALOADER = {
    'dataset': 'The dataset, or its config for `DATASETS`. Needed.',
    'batch_size': 'Samples of a batch, on each rank. 1 by default.',
    'sampler': "The sampler's config for `DATA_SAMPLERS`; `DefaultSampler(shuffle=...)` and "
    '`InfiniteSampler` split the data over ranks.',
    'batch_sampler': 'The config of a batch sampler.',
    'collate_fn': 'How samples become a batch: a function, its name, or `dict(type=...)`. '
    "`'pseudo_collate'` by default, which makes lists; `'default_collate'` stacks. A model with "
    '`default_collate_fn` has another default.',
    'num_workers': 'Processes that load samples; 0 loads in the main process.',
    'num_batch_per_epoch': 'Only as many of the first samples as fill so many batches.',
    'limit_batches': 'The first batches of each pass over all samples: a number, or a share such '
    'as 0.1. An epoch has that length for schedules too; a stream gets a length by it.',
    'worker_init_fn': 'Called in each worker when it starts.',
    'on_bad_sample': "`'raise'`, `'skip'`, or a dict with the fields below.",
    'disable_subprocess_warning': 'Ignore warnings in workers.',
}


class Setting(NamedTuple):
    """A top-level key whose dict has fixed keys.

    Attributes:
        target: What takes them as arguments.
        leave_out: Its other arguments.
        more: Keys that something else reads.
    """

    target: Callable[..., Any]
    leave_out: tuple[str, ...] = ()
    more: tuple[Argument, ...] = ()


_LOCK = Argument(
    'lock', 'bool | str', 'True',
    "Hold `run.lock` in the work dir: False holds none, `'force'` takes it from another run.",
)  # fmt: skip
SETTINGS: dict[str, Setting] = {
    'log_processor': Setting(LogProcessor),
    'visualizer': Setting(Visualizer),
    'resume': Setting(ResumeRequest, ('enabled',)),
    'checkpoint': Setting(CheckpointSettings),
    'randomness': Setting(Session.set_randomness),
    'env_cfg': Setting(setup_process, ('launcher',), (_LOCK,)),
    'preempt': Setting(Preempt),
    'watchdog': Setting(WatchdogSettings),
}
ON_BAD_SAMPLE = Setting(BadSamplePolicy)
AUTO_SCALE_LR = {'enable': 'bool', 'base_batch_size': 'int'}
# Keys that builders take out of a part before they build it, by the name of its registry.
KEYS_OF_BUILDERS = {
    HOOKS.name: {'priority': 'int | str | None'},
    LOOPS.name: {'by_epoch': 'bool'},
    OPTIM_WRAPPERS.name: {'paramwise_cfg': 'dict | None', 'skip_non_finite': 'bool'},
    PARAM_SCHEDULERS.name: {
        'unit': 'str | None',
        'convert_to_iter_based': 'bool',
        'epoch_length': 'int | None',
        'by_epoch': 'bool',
    },
}
