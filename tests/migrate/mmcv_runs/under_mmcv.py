"""Train a case with MMCV 1.7.2, driven from outside.

MMCV has mixed precision on CUDA only: it takes ``autocast`` and ``GradScaler`` from
``torch.cuda.amp``. ``prepare`` puts those of the CPU in their place before MMCV is imported: the
same classes of torch, told another device.
"""

import contextlib
import io
import json
import logging
import sys
import time
import types
import warnings
from functools import partial
from pathlib import Path

import torch

from mmcv_runs.cases import in_folder
from mmcv_runs.toys import MODELS, Points
from mmcv_runs.watch import Watch, numbers


def prepare():
    """Make MMCV importable, quick and quiet; once in a process, before it is imported."""
    warnings.simplefilter('ignore')
    # MMCV pauses for two seconds between epochs, which nothing here depends on.
    time.sleep = lambda seconds: None
    sys.modules['torchvision'] = types.ModuleType('torchvision')
    sys.modules['torchvision'].__version__ = '0.0.0'
    torch.cuda.amp.GradScaler = partial(torch.amp.GradScaler, 'cpu')
    torch.cuda.amp.autocast = partial(torch.autocast, 'cpu', dtype=torch.float16)
    # Its progress bars write to where the output went at this time.
    with contextlib.redirect_stdout(io.StringIO()):
        import mmcv.runner  # noqa: F401


def quiet_logger():
    """A logger that says nothing."""
    quiet = logging.getLogger('quiet')
    quiet.setLevel(logging.CRITICAL)
    return quiet


def run(config, work_dir, parallel=False):
    """Train by the legacy ``config``; tells what happened.

    Args:
        config: The legacy config.
        work_dir: An empty folder.
        parallel: Within a process group, train on all ranks.
    """
    from mmcv.runner import build_runner

    # MMCV takes entries out of the dicts it is given.
    config = in_folder(config, work_dir)
    by_epoch = 'max_epochs' in config['runner']
    model = _model(config)
    optimizer = _optimizers(model, config['optimizer'])
    if parallel:
        model = _on_all_ranks(model, config.get('find_unused_parameters', False))
    runner = build_runner(
        config['runner'],
        default_args=dict(
            model=model,
            optimizer=optimizer,
            logger=quiet_logger(),
            work_dir=str(work_dir),
            # As training scripts had it: the config's text goes into checkpoints.
            meta=dict(config='\n'.join(f'{key} = {value!r}' for key, value in config.items())),
        ),
    )
    watch = Watch()
    watch.follow(optimizer if isinstance(optimizer, dict) else {'': optimizer})
    _register_hooks(runner, config, by_epoch, watch, parallel)
    workflow = config.get('workflow', [('train', 1)])
    stages = ['train', 'val'][: len(workflow)]
    loaders = [_loader(config['data'], stage, parallel and stage == 'train') for stage in stages]
    with contextlib.redirect_stdout(io.StringIO()):
        runner.run(loaders, workflow)
    messages = (runner.meta or {}).get('hook_msgs') or {}
    best = messages.get('best_ckpt')
    own, averaged = _weights(getattr(model, 'module', model), by_epoch)
    return watch.outcome(
        work_dir,
        own,
        averaged=averaged,
        best=best and [Path(best).name, messages['best_score']],
        logged=_logged(work_dir, len(loaders[0]) if by_epoch else None),
    )


def _model(config):
    from mmcv.runner import auto_fp16

    kind = MODELS[config['model']['type']]
    if kind.__name__ == 'LinearLine':
        kind = type('Half', (kind,), dict(forward=auto_fp16(apply_to=('x',))(kind.forward)))
    return kind()


def _optimizers(model, config):
    from mmcv.runner import build_optimizer

    if 'type' in config:
        return build_optimizer(model, config)
    return {name: build_optimizer(getattr(model, name), part) for name, part in config.items()}


def _register_hooks(runner, config, by_epoch, watch, parallel):
    from mmcv.runner import DistEvalHook, EvalHook, Fp16OptimizerHook

    optimizer_config = config['optimizer_config']
    if config.get('fp16') is not None and 'type' not in optimizer_config:
        optimizer_config = Fp16OptimizerHook(
            **optimizer_config, **config['fp16'], distributed=parallel
        )
    elif optimizer_config and 'Fp16' in optimizer_config.get('type', ''):
        optimizer_config['distributed'] = parallel
    runner.register_training_hooks(
        config['lr_config'],
        optimizer_config,
        config.get('checkpoint_config'),
        config.get('log_config'),
        config.get('momentum_config'),
        custom_hooks_config=config.get('custom_hooks'),
    )
    if config.get('evaluation') is not None:
        loader = _loader(config['data'], 'val', parallel)
        loader.dataset.evaluate = _telling(loader.dataset.evaluate, watch)
        options = {'by_epoch': by_epoch, **config['evaluation']}
        kind = DistEvalHook if parallel else EvalHook
        runner.register_hook(kind(loader, **options), priority='LOW')
    runner.register_hook(_watching_hook(watch), priority='LOWEST')


def _telling(evaluate, watch):
    def told(results, **kwargs):
        found = evaluate(results, **kwargs)
        watch.evaluation(found)
        return found

    return told


def _watching_hook(watch):
    from mmcv.runner import Hook

    class Watching(Hook):
        def before_train_iter(self, runner):
            watch.begin_iteration()

        def after_train_iter(self, runner):
            for hook in runner.hooks:
                if hasattr(hook, 'loss_scaler'):
                    watch.scales.append(hook.loss_scaler.get_scale())

    return Watching()


def _loader(data, stage, parallel):
    options = {key: value for key, value in data[stage].items() if key != 'type'}
    points = Points(**options)
    sampler = None
    if parallel:
        sampler = torch.utils.data.DistributedSampler(points, shuffle=False)
    size = data['samples_per_gpu'] if stage == 'train' else 1
    return torch.utils.data.DataLoader(points, batch_size=size, sampler=sampler)


def _on_all_ranks(model, find_unused_parameters):
    from mmcv.parallel import MMDistributedDataParallel

    wrapped = MMDistributedDataParallel(
        model, broadcast_buffers=False, find_unused_parameters=find_unused_parameters
    )
    # torch has dropped this switch, off by default, which MMCV still looks at.
    wrapped._use_replicated_tensor_module = False
    return wrapped


def _logged(work_dir, epoch_length):
    """Of each line of the log: the iterations done and the averages; none without a log."""
    entries = []
    for path in Path(work_dir).glob('*.log.json'):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            if entry.get('mode') != 'train':
                continue
            done = entry['iter']
            if epoch_length is not None:
                done += (entry['epoch'] - 1) * epoch_length
            kept = {key: entry[key] for key in ('lr', 'loss', 'abs', 'grad_norm') if key in entry}
            entries.append([done, kept])
    return entries


def _weights(model, by_epoch):
    """The trained weights, and those that EMAHook averaged; it keeps them in buffers of its own.

    At the end of an epoch it exchanges the two, and puts them back when the next one begins.
    """
    state = model.state_dict()
    others = {name: state.pop('ema_' + name.replace('.', '_'), None) for name in list(state)}
    others = {name: tensor for name, tensor in others.items() if tensor is not None}
    if not others:
        return numbers(state), None
    state = {name: tensor for name, tensor in state.items() if not name.startswith('ema_')}
    trained, averaged = state, {**state, **others}
    if by_epoch:
        trained, averaged = averaged, trained
    return numbers(trained), numbers(averaged)


def run_in_two_processes(configs, folder):
    """Train each of the ``configs`` by name on two ranks over gloo; rank 0 tells what happened."""
    folder = Path(folder)
    torch.multiprocessing.spawn(_rank, args=(2, configs, str(folder)), nprocs=2)
    return json.loads((folder / 'outcomes.json').read_text())


def _rank(rank, world_size, configs, folder):
    prepare()
    from mmcv.utils import get_logger

    get_logger('mmcv', log_level=logging.CRITICAL)
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=world_size
    )
    outcomes = {}
    for number, (name, config) in enumerate(configs.items()):
        outcomes[name] = run(config, Path(folder, str(number)), parallel=True)
        torch.distributed.barrier()
    if rank == 0:
        Path(folder, 'outcomes.json').write_text(json.dumps(outcomes))
    torch.distributed.destroy_process_group()
