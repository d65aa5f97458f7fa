"""Wall time of a training step under DistributedDataParallel, over plain PyTorch with the same.

    python benchmarks/ddp_step.py [--turns 16] [--ranks 1 2]

Ranks over gloo, one thread each, a network whose step takes some milliseconds. The loop by hand and
this engine take turns of 50 steps in the same processes, and who goes first alternates. A ratio is
of two turns side by side; shown are medians of rank 0.
"""

import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from _ranks import join, run_ranks, take_turns, tell
from _report import format_table, make_parser, verdict, write_report

BUDGET_RATIO = 1.03
STEPS, BATCH, WIDTH = 50, 32, 256


def measure_rank(turns: int) -> None:
    """One rank; the turns are timed on each, between barriers."""
    import torch
    import torch.distributed as dist
    from torch import nn
    from torch.nn.functional import cross_entropy
    from torch.nn.parallel import DistributedDataParallel
    from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

    from mmengine.model import BaseModel
    from mmengine.runner import Runner

    torch.set_num_threads(1)
    folder = join()
    ranks = dist.get_world_size()

    def layers() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Linear(WIDTH, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 8)
        )

    class Classifier(BaseModel):
        def __init__(self) -> None:
            super().__init__()
            self.net = layers()

        def forward(self, inputs: Any, labels: Any, mode: str = 'tensor') -> Any:
            return {'loss': cross_entropy(self.net(inputs), labels)}

    generator = torch.Generator().manual_seed(0)
    count = STEPS * BATCH * ranks
    data = TensorDataset(
        torch.randn(count, WIDTH, generator=generator),
        torch.randint(8, (count,), generator=generator),
    )

    def batches() -> Any:
        return DataLoader(data, BATCH, sampler=DistributedSampler(data, shuffle=False))

    net = DistributedDataParallel(layers())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    loader = batches()

    def by_hand() -> None:
        window = []
        for index, (inputs, labels) in enumerate(loader, start=1):
            loss = cross_entropy(net(inputs), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            window.append(loss.detach())
            if index % STEPS == 0:
                print(torch.stack(window).mean().item())

    runner = Runner(
        model=Classifier(),
        work_dir=f'{folder}/work',
        train_dataloader=batches(),
        train_cfg={'by_epoch': True, 'max_epochs': 10**6},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.01, 'momentum': 0.9}},
        default_hooks={
            'logger': {'type': 'LoggerHook', 'interval': STEPS},
            'checkpoint': {'type': 'CheckpointHook', 'interval': 10**6, 'save_last': False},
        },
        launcher='none',
        randomness={'seed': 0},
    )
    times = take_turns(runner, by_hand, turns, STEPS)
    weights = [
        torch.cat([param.detach().reshape(-1) for param in module.parameters()])
        for module in (net, runner.model)
    ]
    tell(times=times, same=bool(torch.equal(*weights)))
    dist.destroy_process_group()


def main() -> None:
    parser = make_parser(__file__, __doc__)
    parser.add_argument('--turns', type=int, default=16)
    parser.add_argument('--ranks', type=int, nargs='+', default=[1, 2])
    parser.add_argument('--rank', type=int, help='used by the script itself')
    args = parser.parse_args()
    if args.rank is not None:
        measure_rank(args.turns)
        return
    rows = []
    for ranks in args.ranks:
        told = run_ranks(__file__, ranks, '--turns', str(args.turns))
        if not all(of_one['same'] for of_one in told):
            raise SystemExit('the engine ends with other weights than the loop by hand')
        pairs = told[0]['times']
        low, ratio, high = statistics.quantiles([ours / base for base, ours in pairs], n=4)
        rows.append(
            {
                'ranks': ranks,
                'plain_us': round(statistics.median(base for base, _ in pairs), 1),
                'engine_us': round(statistics.median(ours for _, ours in pairs), 1),
                'ratio': round(ratio, 3),
                'middle_half': [round(low, 3), round(high, 3)],
                'least_ratio': round(
                    min(ours for _, ours in pairs) / min(base for base, _ in pairs), 3
                ),
            }
        )
    columns = ['ranks', 'plain DDP us', 'this engine us', 'ratio', 'middle half', 'least']
    cells = [
        [
            row['ranks'], row['plain_us'], row['engine_us'], row['ratio'],
            ' to '.join(map(str, row['middle_half'])), row['least_ratio'],
        ]
        for row in rows
    ]  # fmt: skip
    print(format_table(columns, cells))
    print(verdict(rows[-1]['ratio'], BUDGET_RATIO))
    write_report(
        args.out,
        turns=args.turns,
        budget_ratio=BUDGET_RATIO,
        ratio=rows[-1]['ratio'],
        rows=rows,
    )


if __name__ == '__main__':
    main()
