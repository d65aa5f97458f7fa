"""The budgets: what is measured, by which script, and where its figure is in the script's JSON."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / 'results'
_LARGE = 'large (17 M parameters)'


@dataclass(frozen=True)
class Budget:
    """One figure and its bound.

    Attributes:
        what: For the reader of the page.
        script: Name of the benchmark, which is the name of its results too.
        find: Takes the figure from the results.
        bound: The budget, in ``unit``.
        unit: Empty for a ratio.
        is_ratio: Whether the figure is over something measured in the same run. Such figures can be
            compared between machines; others are compared over the speed of the machine.
    """

    what: str
    script: str
    find: Callable[[Any], float]
    bound: float
    unit: str = ''
    is_ratio: bool = False

    @property
    def command(self) -> str:
        """The command that measures it."""
        return f'python benchmarks/{self.script}.py'


def _row(name: str, key: str, column: str = 'framework', scale: float = 1.0) -> Any:
    def find(results: Any) -> float:
        row = next(row for row in results['rows'] if row[column] == name)
        return float(row[key]) * scale

    return find


def _scheduler(results: Any) -> float:
    rows = [row for row in results['rows'] if row['rates'] == 'one rate']
    row = next(row for row in rows if row['setting'] == 'warm-up that is over, then cosine')
    return float(row['median_us'])


def _stall(results: Any) -> float:
    return float(results['results'][_LARGE]['async']['stall_over_copy'])


def _conversion(results: Any) -> float:
    return max(float(one['mb']) for one in results['conversions'].values())


BUDGETS = (
    Budget('a training step with all default hooks, over the loop by hand', 'step_overhead',
           _row('this engine', 'ratio'), 1.0, is_ratio=True),
    Budget('values read back a step (one an epoch is the dataloader\'s)', 'step_overhead',
           _row('this engine', 'reads'), 0.002, is_ratio=True),
    Budget('own Python frames a step', 'step_frames', lambda r: r['frames'], 45, is_ratio=True),
    Budget('a validation iteration, over one by hand', 'val_iteration', lambda r: r['ratio'], 1.05,
           is_ratio=True),
    Budget('`from mmengine.runner import Runner`, over `import torch`', 'import_time',
           lambda r: r['rows']['this engine: Runner']['cpu_s'], 0.2, 's'),
    Budget('`mmengine --help`, over a bare Python', 'start_time',
           lambda r: r['over_s']['mmengine --help'], 0.15, 's'),
    Budget('`mmengine train` to the first step of the demo, over the same by hand', 'start_time',
           lambda r: r['over_s']['mmengine train to the first step'], 0.3, 's'),
    Budget('a config of 17 kB and its Runner', 'runner_build', lambda r: r['median_ms']['both'], 60,
           'ms'),
    Budget('load a config of 17 kB with six base files', 'config_speed',
           lambda r: r['cpu_time']['load']['median_ms'], 10, 'ms'),
    Budget('print that config', 'config_speed', lambda r: r['cpu_time']['print']['median_ms'], 2,
           'ms'),
    Budget('save 17 M parameters, over `torch.save` and fsync', 'checkpoint_save',
           lambda r: r['results'][_LARGE]['wall_ratio'], 1.0, is_ratio=True),
    Budget('time for which an asynchronous save of these holds up the training, over one copy',
           'checkpoint_save', _stall, 1.1, is_ratio=True),
    Budget('resume after 40,000 iterations, to the first batch', 'resume_position',
           lambda r: max(times['40000']['wall_s'] for times in r['results'].values()), 0.1, 's'),
    Budget('20,000 scalar updates of the message hub', 'message_hub',
           lambda r: r['times']['float']['median_us'] * 20, 5, 'ms'),
    Budget('1,000 steps of two schedulers over 200 groups', 'scheduler_step', _scheduler, 12, 'ms'),
    Budget('build a small object from its config', 'registry_build',
           lambda r: r['times']['dict, registered name']['best_us'], 1.5, 'us'),
    Budget("EMA update of a transformer, over torch's foreach AveragedModel", 'ema_update',
           lambda r: r['cpu_time']['transformer, buffers averaged']['ratio'], 0.25, is_ratio=True),
    Budget('histories of 1,000,000 iterations of 20 scalars, in memory', 'history_size',
           lambda r: r['points'][-1]['memory_mb'], 30, 'MB'),
    Budget('the same in a checkpoint', 'history_size', lambda r: r['points'][-1]['checkpoint_mb'],
           2, 'MB'),
    Budget('1,000,000 records of a dataset in 4 workers, in copies', 'annotation_memory',
           lambda r: max(r['copies'].values()), 1.2, is_ratio=True),
    Budget('a random state for a sample in a worker, over decoding a PNG', 'sample_seed',
           lambda r: r['results']['worker']['share'], 0.02, is_ratio=True),
    Budget('a step of 2 ranks under DDP, over plain DDP', 'ddp_step', lambda r: r['ratio'], 1.03,
           is_ratio=True),
    Budget('gather 50,000 predictions of 2 ranks, over all_gather of the bytes',
           'gather_predictions', lambda r: r['ratio'], 1.1, is_ratio=True),
    Budget('a step of 2 ranks under DDP or FSDP2, over the loop by hand', 'scaling',
           lambda r: r['ratio'], 1.03, is_ratio=True),
    Budget('gather 1,000,000 detections of 4 ranks, over all_gather_object', 'gather_detections',
           lambda r: r['ratio'], 1.0, is_ratio=True),
    Budget('memory of a training, over the loop by hand', 'step_memory', lambda r: r['added_mb'], 5,
           'MB'),
    Budget('a checkpoint of 800 MB from one form to another, in shards of 128 MB', 'convert_memory',
           _conversion, 328, 'MB'),
)  # fmt: skip


def results_of(script: str, folder: Path = RESULTS) -> Any:
    """The JSON of ``script``; None if it was never run."""
    path = folder / f'{script}.json'
    return json.loads(path.read_text(encoding='utf-8')) if path.is_file() else None


def committed_results_of(script: str) -> Any:
    """The JSON of ``script`` in the last commit; None if there is none."""
    path = (RESULTS / f'{script}.json').relative_to(ROOT).as_posix()
    done = subprocess.run(
        ['git', 'show', f'HEAD:{path}'], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return json.loads(done.stdout) if done.returncode == 0 else None
