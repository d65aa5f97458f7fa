"""CPU time to load a config of 17 kB and to construct its Runner.

    python benchmarks/runner_build.py [--repeat 15]

The config is that of `config_speed.py` (six base files), with a small model, a dataset in memory,
an optimizer, two schedules and an evaluator added; default hooks. One process with everything
imported, as in the second run of a notebook; the first start is in `start_time.py`. Medians.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent / 'step_overhead'))

import torch
from _report import format_table, make_parser, silenced, verdict, write_report
from config_speed import write_files
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import Runner

BUDGET_MS = 60.0


@MODELS.register_module()
class BenchmarkModel(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 2)

    def forward(self, x: Tensor, y: Tensor, mode: str = 'tensor') -> Any:
        return {'loss': cross_entropy(self.net(x), y)}


@DATASETS.register_module()
def benchmark_data() -> TensorDataset:
    return TensorDataset(torch.zeros(8, 4), torch.zeros(8, dtype=torch.long))


def main() -> None:
    parser = make_parser(__file__, __doc__)
    parser.add_argument('--repeat', type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(1)
    times: dict[str, list[float]] = {'load the config': [], 'Runner.from_cfg': [], 'both': []}
    with tempfile.TemporaryDirectory() as folder, silenced():
        path, size = write_files(Path(folder))
        for index in range(args.repeat + 1):
            start = time.process_time()
            config = Config.fromfile(path)
            loaded = time.process_time()
            config.merge_from_dict(_training(folder, index))
            prepared = time.process_time()
            Runner.from_cfg(config)
            built = time.process_time()
            spans = (loaded - start, built - prepared, loaded - start + built - prepared)
            if index:  # the first one imports what is missing
                for of_one, seconds in zip(times.values(), spans, strict=True):
                    of_one.append(seconds * 1e3)
    medians = {name: round(statistics.median(of_one), 2) for name, of_one in times.items()}
    rows = [[name, f'{value:.1f}', f'{min(times[name]):.1f}'] for name, value in medians.items()]
    print(format_table([f'a config of {size:,} bytes', 'median ms', 'least ms'], rows))
    print(verdict(medians['both'], BUDGET_MS, 'ms'))
    write_report(
        args.out,
        repeat=args.repeat,
        budget_ms=BUDGET_MS,
        config_bytes=size,
        median_ms=medians,
        least_ms={name: round(min(of_one), 2) for name, of_one in times.items()},
    )


def _training(folder: str, index: int) -> dict[str, Any]:
    loader = {'dataset': {'type': 'benchmark_data'}, 'batch_size': 4}
    return {
        'model': {'_delete_': True, 'type': 'BenchmarkModel'},
        'work_dir': f'{folder}/work{index}',
        'experiment_name': f'build{index}',
        'train_dataloader': {'_delete_': True, **loader},
        'train_cfg': {'_delete_': True, 'by_epoch': True, 'max_epochs': 2},
        'val_dataloader': None,
        'val_cfg': None,
        'val_evaluator': None,
        'test_dataloader': None,
        'test_cfg': None,
        'test_evaluator': None,
        'optim_wrapper': {'_delete_': True, 'optimizer': {'type': 'SGD', 'lr': 0.1}},
        'param_scheduler': [
            {'type': 'LinearLR', 'start_factor': 0.1, 'begin': 0, 'end': 1},
            {'type': 'MultiStepLR', 'milestones': [1]},
        ],
        'default_hooks': {'_delete_': True},
        'custom_hooks': None,
        'visualizer': None,
        'custom_imports': None,
        'env_cfg': {'_delete_': True},
        'resume': False,
        'load_from': None,
        'randomness': {'_delete_': True, 'seed': 0},
        'log_processor': None,
        'launcher': 'none',
        'default_scope': 'mmengine',
        'auto_scale_lr': None,
    }


if __name__ == '__main__':
    main()
