"""Strategies over the same loop by hand, and what saving and resuming costs on several ranks.

    python benchmarks/scaling.py [--turns 40] [--ranks 2] [--kinds ddp fsdp deepspeed]

Ranks over gloo, one thread each, a network whose step takes about 5 ms alone. For each of DDP,
FSDP2 and, where it can be imported, DeepSpeed (ZeRO 1), a loop by hand and this engine take turns
of steps in the same processes, and who goes first alternates; shown are medians of pairs of rank 0.
Then a model of 17 M parameters with AdamW under FSDP is saved after an iteration, at once and by a
thread: how long the training stands still. Its file is resumed by FSDP, by DDP and by one process.
"""

import importlib.util
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from _ranks import join, run_ranks, take_turns, tell
from _report import format_table, make_parser, silenced, verdict, write_report

BUDGET_RATIO = 1.03
STEPS, BATCH, WIDTH = 20, 64, 512
LARGE, LAYERS, SAVES = 1024, 16, 5
DEEPSPEED = {
    'train_micro_batch_size_per_gpu': BATCH,
    'zero_optimization': {'stage': 1},
    'zero_force_ds_cpu_optimizer': False,
    'zero_allow_untested_optimizer': True,
}


def parts(width: int, layers: int) -> Any:
    """The network, as a model of this engine, and data of one pass."""
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy
    from torch.utils.data import TensorDataset

    from mmengine.model import BaseModel

    def network() -> nn.Module:
        torch.manual_seed(0)
        hidden = [part for _ in range(layers) for part in (nn.Linear(width, width), nn.ReLU())]
        return nn.Sequential(*hidden, nn.Linear(width, 8))

    class Classifier(BaseModel):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, inputs: Any, labels: Any, mode: str = 'tensor') -> Any:
            return {'loss': cross_entropy(self.net(inputs), labels)}

    def data(count: int) -> Any:
        generator = torch.Generator().manual_seed(0)
        return TensorDataset(
            torch.randn(count, width, generator=generator),
            torch.randint(8, (count,), generator=generator),
        )

    return network, Classifier, data


def strategy_of(kind: str) -> Any:
    if kind == 'fsdp':
        return {'type': 'FSDPStrategy', 'blocks': ['Linear']}
    if kind == 'deepspeed':
        return {'type': 'DeepSpeedStrategy', 'config': dict(DEEPSPEED)}
    return kind


def by_hand_step(kind: str, net: Any) -> Any:
    """``step(inputs, labels)`` of a loop by hand; returns the loss."""
    import torch
    from torch.nn.functional import cross_entropy

    if kind == 'deepspeed':
        import deepspeed

        engine = deepspeed.initialize(
            model=net,
            optimizer=torch.optim.AdamW(net.parameters(), lr=0.001),
            config=dict(DEEPSPEED),
        )[0]

        def by_engine(inputs: Any, labels: Any) -> Any:
            loss = cross_entropy(engine(inputs), labels)
            engine.backward(loss)
            engine.step()
            return loss

        return by_engine
    if kind == 'fsdp':
        from torch.distributed.fsdp import fully_shard

        for module in net:
            if isinstance(module, torch.nn.Linear):
                fully_shard(module)
        fully_shard(net)
        placed = net
    else:
        placed = torch.nn.parallel.DistributedDataParallel(net)
    optimizer = torch.optim.AdamW(placed.parameters(), lr=0.001)

    def step(inputs: Any, labels: Any) -> Any:
        loss = cross_entropy(placed(inputs), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return step


def measure_steps(kind: str, turns: int, folder: str) -> None:
    """Turns of steps by hand and by the engine."""
    import torch
    import torch.distributed as dist
    from torch.utils.data import DataLoader, DistributedSampler

    from mmengine.runner import FlexibleRunner

    network, model, data = parts(WIDTH, 3)
    samples = data(STEPS * BATCH * dist.get_world_size())

    def batches() -> Any:
        return DataLoader(samples, BATCH, sampler=DistributedSampler(samples, shuffle=False))

    loader, net = batches(), network()
    step = by_hand_step(kind, net)

    def by_hand() -> None:
        window = [step(inputs, labels).detach() for inputs, labels in loader]
        print(torch.stack(window).mean().item())

    wrapper: dict[str, Any] = {'optimizer': {'type': 'AdamW', 'lr': 0.001}}
    if kind == 'deepspeed':
        wrapper = {'type': 'DeepSpeedOptimWrapper', **wrapper}
    runner = FlexibleRunner(
        model=model(),
        work_dir=f'{folder}/{kind}',
        strategy=strategy_of(kind),
        train_dataloader=batches(),
        train_cfg={'by_epoch': True, 'max_epochs': 10**6},
        optim_wrapper=wrapper,
        default_hooks={
            'logger': {'type': 'LoggerHook', 'interval': STEPS},
            'checkpoint': {'type': 'CheckpointHook', 'interval': 10**6, 'save_last': False},
        },
        launcher='pytorch',
        randomness={'seed': 0},
    )
    times = take_turns(runner, by_hand, turns, STEPS)
    tell(times=times)


def large_runner(folder: str, strategy: Any, hook: Any = None, **more: Any) -> Any:
    from mmengine.runner import FlexibleRunner

    _, model, data = parts(LARGE, LAYERS)
    return FlexibleRunner(
        model=model(),
        work_dir=folder,
        strategy=strategy,
        train_dataloader={'dataset': data(64 * SAVES), 'batch_size': 1,
                          'collate_fn': {'type': 'default_collate'}},
        train_cfg={'by_epoch': False, 'max_iters': 4 * SAVES},
        optim_wrapper={'optimizer': {'type': 'AdamW', 'lr': 0.001}},
        default_hooks={'checkpoint': hook, 'logger': None},
        log_level='ERROR',
        **more,
    )  # fmt: skip


def measure_saves(folder: str) -> None:
    """How long a training waits for a save, at once and by a thread."""
    import torch.distributed as dist

    from mmengine.hooks import CheckpointHook

    class Timed(CheckpointHook):
        def after_train_iter(self, *args: Any, **kwargs: Any) -> None:
            dist.barrier()
            start = time.perf_counter()
            super().after_train_iter(*args, **kwargs)
            stalls.append((time.perf_counter() - start) * 1e3)
            dist.barrier()
            # A training has other iterations between two saves, in which the thread writes.
            self._queue.wait()

    found = {}
    for name, is_async in (('sync', False), ('async', True)):
        stalls: list[float] = []
        hook = Timed(
            interval=4, by_epoch=False, max_keep_ckpts=1, save_last=False, async_save=is_async
        )
        strategy = {'type': 'FSDPStrategy', 'blocks': ['Linear']}
        with silenced():
            large_runner(f'{folder}/{name}', strategy, hook, launcher='pytorch').train()
        saves = sorted(stalls)[-SAVES:]  # the other calls save nothing
        found[name] = statistics.median(saves)
    tell(stalls=found)


def measure_resume(strategy: str, file: str, folder: str) -> None:
    """How long a prepared run takes to resume ``file``."""
    import torch.distributed as dist

    from mmengine.runner._preparing import prepare_training

    chosen: Any = {'type': 'FSDPStrategy', 'blocks': ['Linear']} if strategy == 'fsdp' else strategy
    launcher = 'none' if strategy == 'single' else 'pytorch'
    with silenced():
        runner = large_runner(f'{folder}/{strategy}', chosen, launcher=launcher)
        prepare_training(runner)
        if dist.is_initialized():
            dist.barrier()
        start = time.perf_counter()
        runner.resume(file)
        if dist.is_initialized():
            dist.barrier()
        seconds = time.perf_counter() - start
    tell(seconds=seconds)


def measure_rank(args: Any) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    if args.measure == 'single':
        measure_resume('single', args.file, args.folder)
        return
    folder = join()
    if args.measure == 'saves':
        measure_saves(args.folder)
    elif args.measure.startswith('resume_'):
        measure_resume(args.measure.removeprefix('resume_'), args.file, args.folder)
    else:
        measure_steps(args.measure, args.turns, folder)
    dist.destroy_process_group()


def main() -> None:
    has_deepspeed = importlib.util.find_spec('deepspeed') is not None
    parser = make_parser(__file__, __doc__)
    parser.add_argument('--turns', type=int, default=40)
    parser.add_argument('--ranks', type=int, default=2)
    kinds = ['ddp', 'fsdp', *(['deepspeed'] if has_deepspeed else [])]
    parser.add_argument('--kinds', nargs='+', default=kinds)
    parser.add_argument('--rank', type=int, help='used by the script itself')
    parser.add_argument('--measure', help='used by the script itself')
    parser.add_argument('--folder', help='used by the script itself')
    parser.add_argument('--file', help='used by the script itself')
    args = parser.parse_args()
    if args.rank is not None:
        measure_rank(args)
        return
    rows = []
    for kind in args.kinds:
        options = ('--measure', kind, '--turns', str(args.turns))
        pairs = run_ranks(__file__, args.ranks, *options)[0]['times']
        low, ratio, high = statistics.quantiles([ours / base for base, ours in pairs], n=4)
        rows.append(
            {
                'strategy': kind,
                'by_hand_us': round(statistics.median(base for base, _ in pairs), 1),
                'engine_us': round(statistics.median(ours for _, ours in pairs), 1),
                'ratio': round(ratio, 3),
                'middle_half': [round(low, 3), round(high, 3)],
            }
        )
    columns = ['strategy', 'by hand us', 'this engine us', 'ratio', 'middle half']
    cells = [[*list(row.values())[:4], ' to '.join(map(str, row['middle_half']))] for row in rows]
    print(format_table(columns, cells))
    worst = max(row['ratio'] for row in rows)
    print(verdict(worst, BUDGET_RATIO))

    with tempfile.TemporaryDirectory() as folder:
        where = ('--folder', folder)
        told = run_ranks(__file__, args.ranks, '--measure', 'saves', *where)
        stalls = {name: round(value, 1) for name, value in told[0]['stalls'].items()}
        file = str(next(Path(folder, 'sync').glob('*.pth')))
        resumes = {}
        for name, ranks in (('resume_fsdp', args.ranks), ('resume_ddp', args.ranks), ('single', 1)):
            told = run_ranks(__file__, ranks, '--measure', name, *where, '--file', file)
            resumes[name.removeprefix('resume_')] = round(told[0]['seconds'], 3)
        size_mb = Path(file).stat().st_size / 1e6
    seconds = [
        ['save, the training waits', f'{stalls["sync"] / 1e3:.3f}'],
        ['save by a thread, the training waits', f'{stalls["async"] / 1e3:.3f}'],
        ['resume by FSDP', resumes['fsdp']],
        ['resume by DDP', resumes['ddp']],
        ['resume by one process', resumes['single']],
    ]
    print()
    print(format_table([f'FSDP, a file of {size_mb:.0f} MB', 's'], seconds))
    write_report(
        args.out,
        turns=args.turns,
        ranks=args.ranks,
        budget_ratio=BUDGET_RATIO,
        ratio=worst,
        rows=rows,
        file_mb=round(size_mb, 1),
        stall_ms=stalls,
        resume_s=resumes,
    )


if __name__ == '__main__':
    main()
