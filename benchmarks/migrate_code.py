"""Time to migrate a tree of Python files written for MMCV 1.x.

    python benchmarks/migrate_code.py [--files 600] [--out benchmarks/results/migrate_code.json]

The files are written for this: about 250 lines each, and every one holds models, hooks, an
optimizer hook and a training script for the codemods to change. Wall time of the whole command
``mmengine migrate code TREE --write``, its start included; every core may be used. The budget is
for 600 files on 2 cores that do nothing else: CPU seconds tell how busy a machine was.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _report import format_table, make_parser, verdict, write_report

BUDGET_S = 60.0
BUDGET_FILES = 600

HEAD = '''\
"""Models, hooks and the script of experiment {n}."""

import mmcv
import torch
from torch import nn
from mmcv.cnn import ConvModule, constant_init, kaiming_init
from mmcv.runner import (HOOKS, BaseModule, EpochBasedRunner, Hook, OptimizerHook, auto_fp16,
                         force_fp32, get_dist_info, load_checkpoint)
from mmcv.utils import Registry, build_from_cfg, get_logger

NETWORKS = Registry('network')
'''
MODEL = '''

@NETWORKS.register_module
class Network{n}(BaseModule):
    """A network of {n} blocks."""

    def __init__(self, width, init_cfg=None):
        super(Network{n}, self).__init__(init_cfg)
        self.fp16_enabled = False
        self.blocks = nn.Sequential(*[ConvModule(width, width, 3, padding=1) for _ in range({n})])
        self.head = nn.Linear(width, 10)  # ten classes

    def init_weights(self):
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                kaiming_init(module, mode='fan_in', nonlinearity='relu')
            elif isinstance(module, nn.BatchNorm2d):
                constant_init(module, val=1, bias=0)

    @auto_fp16(apply_to=('img',))
    def forward(self, img, label=None, return_loss=True):
        features = self.blocks(img).mean(dim=(2, 3))
        scores = self.head(features)
        if return_loss:
            return self.loss(scores, label)
        return scores.softmax(dim=1)

    @force_fp32(apply_to=('scores',))
    def loss(self, scores, label):
        weight = torch.ones(10, device=scores.device) / {n}
        return dict(loss_cls=nn.functional.cross_entropy(scores, label, weight=weight))

    def train_step(self, data, optimizer):
        losses = self(**data)
        loss, log_vars = self._parse_losses(losses)
        return dict(loss=loss, log_vars=log_vars, num_samples=len(data['img']))

    def val_step(self, data, optimizer=None):
        return self(**data, return_loss=False)
'''
HOOK = '''

@HOOKS.register_module()
class Watch{n}(Hook):
    """Watches one of {n} values."""

    def __init__(self, interval={n}, names=('loss', 'loss_cls')):
        self.interval = interval
        self.names = list(names)
        self.history = {{name: [] for name in self.names}}

    def after_train_iter(self, runner):
        if not self.every_n_iters(runner, self.interval):
            return
        for name in self.names:
            self.history[name].append(runner.outputs['log_vars'][name])
        rate = runner.optimizer.param_groups[0]['lr'] * {n}
        runner.log_buffer.update(dict(rate=rate), len(runner.data_batch['img']))

    def before_epoch(self, runner):
        rank, _ = get_dist_info()
        if rank == 0:
            mmcv.mkdir_or_exist(runner.work_dir)
            mmcv.dump(self.history, f'{{runner.work_dir}}/history_{n}_{{runner.epoch}}.json')


@HOOKS.register_module()
class Halved{n}(OptimizerHook):
    def after_train_iter(self, runner):
        runner.optimizer.zero_grad()
        loss = runner.outputs['loss'] / {n}
        loss.backward()
        runner.optimizer.step()
'''
SCRIPT = """

def main(config, checkpoint=None):
    cfg = mmcv.Config.fromfile(config)
    logger = get_logger('train', log_file=None)
    model = build_from_cfg(cfg.model, NETWORKS)
    if checkpoint is not None:
        load_checkpoint(model, checkpoint, map_location='cpu')
    loader = torch.utils.data.DataLoader(cfg.dataset, batch_size=cfg.data.samples_per_gpu)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    runner = EpochBasedRunner(
        model, optimizer=optimizer, work_dir=cfg.work_dir, logger=logger, max_epochs=12)
    runner.register_training_hooks(
        dict(policy='step', step=[8, 11], warmup='linear', warmup_iters=500, warmup_ratio=0.001),
        optimizer_config=dict(grad_clip=dict(max_norm=35)),
        checkpoint_config=dict(interval=1),
        log_config=dict(interval=50, hooks=[dict(type='TextLoggerHook')]))
    runner.register_hook(Watch2())
    runner.run([loader], [('train', 1)])
"""


def module(number: int) -> str:
    """One dense module; each has its own numbers, so that no two are the same text."""
    parts = [HEAD.format(n=number)]
    for index in (2, 3, 5):
        parts += [MODEL.format(n=index), HOOK.format(n=index)]
    return ''.join([*parts, SCRIPT])


def main() -> int:
    parser = make_parser(__file__, __doc__)
    parser.add_argument('--files', type=int, default=BUDGET_FILES)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.files):
            Path(folder, f'part_{number}.py').write_text(module(number), encoding='utf-8')
        words = ['-m', 'mmengine', 'migrate', 'code', folder, '--write']
        began = time.perf_counter()
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
        seconds = time.perf_counter() - began
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_seconds = usage.ru_utime + usage.ru_stime
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)

    lines = module(0).count('\n')
    rows = [[f'{options.files} files of {lines} lines', f'{seconds:.1f}', f'{cpu_seconds:.1f}']]
    print(format_table(['mmengine migrate code --write', 'seconds', 'CPU seconds'], rows))
    budget = BUDGET_S * options.files / BUDGET_FILES
    print(verdict(seconds, budget, 's'))
    write_report(
        options.out,
        files=options.files,
        lines_each=lines,
        budget_s=budget,
        seconds=seconds,
        cpu_seconds=cpu_seconds,
    )
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
