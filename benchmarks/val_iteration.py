"""CPU time of a validation iteration, over the same one written by hand.

    python benchmarks/val_iteration.py [--passes 30]

The network of step_overhead (three layers, batch 4) predicts the labels of 500 batches; a metric
keeps every prediction with its label and gives the accuracy in the end, and a line is logged every
50 batches. The engine's ValLoop with all default hooks and a loop by hand take turns, a pass over
the data each, in one process with one thread. A ratio is that of two passes side by side, shown are
medians. Both must find the same accuracy.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent / 'step_overhead'))

import torch
from _report import format_table, make_parser, silenced, verdict, write_report
from _task import BATCH_SIZE, LOG_INTERVAL, Points, make_layers
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner

BUDGET_RATIO = 1.05


class Classifier(BaseModel):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, inputs: Tensor, labels: Tensor, mode: str) -> Any:
        return list(self.net(inputs).argmax(dim=1))


def accuracy_of(pairs: list[tuple[Tensor, Tensor]]) -> float:
    predictions, labels = zip(*pairs, strict=True)
    return float((torch.stack(predictions) == torch.stack(labels)).double().mean())


class Accuracy(BaseMetric):
    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.extend(zip(data_samples, data_batch['labels'], strict=True))

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        return {'accuracy': accuracy_of(results)}


def by_hand(net: nn.Module, loader: DataLoader[Any]) -> float:
    """What a careful person writes in plain PyTorch."""
    pairs: list[tuple[Tensor, Tensor]] = []
    net.eval()
    began = time.perf_counter()
    with torch.no_grad():
        for index, batch in enumerate(loader, start=1):
            predictions = list(net(batch['inputs']).argmax(dim=1))
            pairs.extend(zip(predictions, batch['labels'], strict=True))
            if index % LOG_INTERVAL == 0:
                each_s = (time.perf_counter() - began) / index
                print(f'validation [{index}/{len(loader)}]  time {each_s:.4f}', flush=True)
    accuracy = accuracy_of(pairs)
    print(f'accuracy {accuracy:.4f}', flush=True)
    return accuracy


def build_runner(net: nn.Module, loader: DataLoader[Any], work_dir: str) -> Runner:
    return Runner(
        model=Classifier(net),
        work_dir=work_dir,
        val_dataloader=loader,
        val_cfg={},
        val_evaluator=[Accuracy()],
        default_hooks={'logger': {'type': 'LoggerHook', 'interval': LOG_INTERVAL}},
    )


def timed(call: Callable[[], float], iterations: int) -> tuple[float, float]:
    """Microseconds of an iteration, and the accuracy."""
    start = time.process_time()
    accuracy = call()
    return (time.process_time() - start) / iterations * 1e6, accuracy


def main() -> None:
    parser = make_parser(__file__, __doc__)
    parser.add_argument('--passes', type=int, default=30)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net, loader = make_layers(), DataLoader(Points(), batch_size=BATCH_SIZE)
    with tempfile.TemporaryDirectory() as work_dir, silenced():
        runner = build_runner(net, loader, work_dir)
        runner.val()
        calls: list[Callable[[], float]] = [
            lambda: by_hand(net, loader),
            lambda: runner.val_loop.run()['accuracy'],  # type: ignore[no-any-return]  # a metric
        ]
        pairs = []
        for turn in range(args.passes + 1):
            order = (0, 1) if turn % 2 else (1, 0)
            found = {index: timed(calls[index], len(loader)) for index in order}
            if found[0][1] != found[1][1]:
                raise SystemExit(f'accuracies differ: {found[0][1]} and {found[1][1]}')
            pairs.append((found[0][0], found[1][0]))
        pairs = pairs[1:]

    base = statistics.median(hand for hand, _ in pairs)
    ours = statistics.median(engine for _, engine in pairs)
    added = statistics.median(engine - hand for hand, engine in pairs)
    ratios = [engine / hand for hand, engine in pairs]
    low, ratio, high = statistics.quantiles(ratios, n=4)
    spread = f'{low:.2f} to {high:.2f}'
    rows = [
        ['plain PyTorch loop', f'{base:.1f}', '', '1.00', ''],
        ['this engine', f'{ours:.1f}', f'{added:+.1f}', f'{ratio:.3f}', spread],
    ]
    columns = ['a validation iteration', 'CPU us', 'added us', 'ratio', 'middle half']
    print(format_table(columns, rows))
    print(verdict(ratio, BUDGET_RATIO))
    write_report(
        args.out,
        passes=args.passes,
        iterations_a_pass=len(loader),
        budget_ratio=BUDGET_RATIO,
        by_hand_us=round(base, 2),
        engine_us=round(ours, 2),
        added_us=round(added, 2),
        ratio=round(ratio, 3),
        middle_half=[round(low, 3), round(high, 3)],
    )


if __name__ == '__main__':
    main()
