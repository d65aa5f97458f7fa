"""Train a case with this engine: convert its config, wrap its model, run."""

import json
from pathlib import Path

from mmcv_runs import toys
from mmcv_runs.cases import in_folder, num_batches
from mmcv_runs.watch import Watch, numbers
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import EMAHook, Hook
from mmengine.migrate._config import convert_config, load_rules
from mmengine.registry import DATASETS, METRICS, MODELS
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

RULES = load_rules([str(Path(__file__).with_name('rules.py'))])

DATASETS.register_module(module=toys.Points)
for model in toys.MODELS.values():
    MODELS.register_module(module=model)


@METRICS.register_module()
class PointsMetric(BaseMetric):
    """The metrics that ``Points`` computes itself under MMCV."""

    def process(self, data_batch, data_samples):
        targets = data_batch['y']
        self.results.extend(zip(map(float, data_samples), map(float, targets), strict=True))

    def compute_metrics(self, results):
        return toys.scores(*zip(*results, strict=True))


class Watching(Hook):
    """Tells a watch what happens."""

    priority = 'LOWEST'

    def __init__(self, watch):
        self.watch = watch

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.watch.begin_iteration()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
        if scaler is not None:
            self.watch.scales.append(scaler.get_scale())

    def after_val_epoch(self, runner, metrics=None):
        self.watch.evaluation(metrics)


def converted(config):
    """The new config for a legacy one."""
    result = convert_config(config, rules=RULES, iters_per_epoch=num_batches(config))
    assert not result.failed, result.notes
    return result.config


def _with_legacy_model(config, new):
    """``new`` with the legacy model in a wrapper, and batches as MMCV made them."""
    new = dict(new)
    steps_itself = config['model']['type'] == 'TwoLines'
    new['model'] = dict(type='LegacyModel', model=new['model'], steps_itself=steps_itself)
    for stage in ('train_dataloader', 'val_dataloader'):
        if stage in new:
            new[stage] = {**new[stage], 'collate_fn': dict(type='default_collate')}
    return new


def runner_for(config, work_dir, watch=None, converted_file=None, **changes):
    """A Runner for the legacy ``config``, or for a file that was converted from it."""
    config = in_folder(config, work_dir)
    new = Config.fromfile(converted_file) if converted_file else converted(config)
    new = _with_legacy_model(config, new)
    runner = Runner.from_cfg({**new, 'work_dir': str(work_dir), 'log_level': 'ERROR', **changes})
    if watch is not None:
        runner.register_hook(Watching(watch))
    return runner


def run(config, work_dir, **changes):
    """Train by the legacy ``config``; tells what happened."""
    watch = Watch()
    runner = runner_for(config, work_dir, watch, **changes)
    wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.optim_wrapper = wrapper
    parts = dict(wrapper.items()) if hasattr(wrapper, 'optim_wrappers') else {'': wrapper}
    watch.follow({name: part.optimizer for name, part in parts.items()})
    runner.train()
    model = getattr(runner.model, 'module', runner.model).model
    hub = runner.message_hub
    best = hub.get_info('best_ckpt')
    averages = [hook.ema_model.module for hook in runner.hooks if isinstance(hook, EMAHook)]
    return watch.outcome(
        work_dir,
        numbers(model.state_dict()),
        averaged=numbers(averages[0].model.state_dict()) if averages else None,
        best=best and [Path(best).name, hub.get_info('best_score')],
        logged=_logged(work_dir) if 'log_config' in config else None,
    )


def scores_of(parameters, config):
    """The scores of a line with ``parameters`` in a validation of the config, in full precision."""
    points = toys.Points(**{key: v for key, v in config['data']['val'].items() if key != 'type'})
    lines = [sample['x'] * parameters['slope'] + parameters['shift'] for sample in points]
    return points.evaluate(lines)


def _logged(work_dir):
    entries = []
    # There is no file before the first line.
    files = [path.read_text() for path in Path(work_dir).rglob('scalars.json')]
    for line in ''.join(files).splitlines():
        entry = json.loads(line)
        if 'lr' not in entry:
            continue  # of a validation
        kept = {key: entry[key] for key in ('lr', 'loss', 'abs', 'grad_norm') if key in entry}
        entries.append([entry['step'], kept])
    return entries


def run_all(rank, world_size, configs, folder):
    """Train by each of the ``configs`` by name as one of several ranks; tells what happened."""
    outcomes = {}
    for number, (name, config) in enumerate(configs.items()):
        outcomes[name] = run(config, Path(folder, str(number)), launcher='pytorch')
        Visualizer._instance_dict.clear()
    return outcomes
