"""Time of one update of an exponential moving average, over torch's foreach AveragedModel.

    python benchmarks/ema_update.py [--repeat 60] [--out benchmarks/results/ema_update.json]

CPU time of one `update_parameters` of `ExponentialMovingAverage` and of `AveragedModel` with
`get_ema_multi_avg_fn`, same decay, in one process, one thread, taking turns; buffers are copied in
one case and averaged in the other. A ratio is that of the medians. Budget: 1.0. Both must end with
equal weights.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from _report import format_table, make_parser, verdict, write_report
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmengine.model import ExponentialMovingAverage

BUDGET = 1.0
DECAY = 0.999


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)


def resnet50() -> nn.Module:
    """The layers of ResNet-50: 25.5 M parameters in 159 tensors."""
    stages: list[nn.Module] = [nn.Conv2d(3, 64, 7, bias=False), nn.BatchNorm2d(64)]
    inputs = 64
    for width, depth in ((64, 3), (128, 4), (256, 6), (512, 3)):
        stages.append(
            nn.Sequential(nn.Conv2d(inputs, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width))
        )
        for _ in range(depth):
            stages.append(Bottleneck(inputs, width))
            inputs = 4 * width
    return nn.Sequential(*stages, nn.Linear(2048, 1000))


def mlp() -> nn.Module:
    """Three layers of 32: what is measured is the overhead."""
    return nn.Sequential(
        nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32)
    )


def transformer() -> nn.Module:
    """Twelve narrow encoder layers: many tensors, few numbers."""
    layer = nn.TransformerEncoderLayer(64, 4, 128)
    return nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)


MODELS: dict[str, Callable[[], nn.Module]] = {
    'mlp': mlp,
    'transformer': transformer,
    'resnet50': resnet50,
}


def compare(
    make: Callable[[], nn.Module], with_buffers: bool, repeat: int, inner: int
) -> dict[str, float]:
    torch.manual_seed(0)
    model = make()
    ours = ExponentialMovingAverage(model, momentum=1 - DECAY, update_buffers=with_buffers)
    average = get_ema_multi_avg_fn(DECAY)  # type: ignore[no-untyped-call]  # untyped in torch
    theirs = AveragedModel(model, multi_avg_fn=average, use_buffers=with_buffers)
    updates = {'mmengine': ours.update_parameters, 'torch': theirs.update_parameters}
    times: dict[str, list[float]] = {name: [] for name in updates}
    for turn in range(repeat + 2):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.01)
        for name in sorted(updates, reverse=bool(turn % 2)):
            start = time.process_time_ns()
            for _ in range(inner):
                updates[name](model)
            times[name].append((time.process_time_ns() - start) / inner / 1000)
    for a, b in zip(ours.module.parameters(), theirs.module.parameters(), strict=True):
        if not torch.equal(a, b):
            raise SystemExit('The two averages differ.')
    median = {name: statistics.median(values[2:]) for name, values in times.items()}
    return {
        'parameters': sum(parameter.numel() for parameter in model.parameters()),
        'tensors': len(list(model.parameters())),
        'mmengine_us': round(median['mmengine'], 1),
        'torch_us': round(median['torch'], 1),
        'ratio': round(median['mmengine'] / median['torch'], 3),
    }


def main() -> None:
    parser = make_parser(__file__, __doc__)
    parser.add_argument('--repeat', type=int, default=60)
    args = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, dict[str, float]] = {}
    for name, make in MODELS.items():
        for buffers in ('copied', 'averaged'):
            results[f'{name}, buffers {buffers}'] = compare(
                make, buffers == 'averaged', args.repeat, inner=1 if name == 'resnet50' else 20
            )
    rows = [[name, *row.values()] for name, row in results.items()]
    columns = ['model', 'parameters', 'tensors', 'mmengine us', 'torch us', 'ratio']
    print(format_table(columns, rows))
    print(verdict(max(row['ratio'] for row in results.values()), BUDGET))
    write_report(args.out, repeat=args.repeat, budget_ratio=BUDGET, cpu_time=results)


if __name__ == '__main__':
    main()
