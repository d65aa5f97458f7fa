"""What a random state of its own costs a sample, against decoding a PNG of 256 x 256 pixels.

    python benchmarks/sample_seed.py [--repeat 7]

A dataset that does nothing is read in batches of 32, with and without a state for each sample: as
in a worker process, and as in the main process, whose own state is put back after each batch; there
also in batches of 4, which share less of that. Data that is provably looked up gets no states, so
these costs are those of a dataset that may draw (`mmengine/dataset/_look_up_proof.py`). The picture
is a colour gradient with noise, as PNG files of photographs are. CPU time, the least of the rounds.
The budget is for a worker.
"""

import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from _report import format_table, make_parser, verdict, write_report
from PIL import Image
from torch.utils.data import Dataset

from mmengine.dataset._sample_seed import NumberedBatch, SampleSeeds, SeededMap

BUDGET = 0.02
BATCH_SIZE = 32
SAMPLES = 2048


class Nothing(Dataset[int]):
    """Samples that cost nothing."""

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> int:
        return index


def picture() -> bytes:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:256, :256]
    gradient = np.stack([x, y, (x + y) // 2], -1)
    pixels = np.clip(gradient + rng.normal(0, 8, gradient.shape), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, 'png')
    return buffer.getvalue()


def seconds(work: Callable[[], Any], count: int, repeat: int) -> float:
    """CPU time of one of ``count`` units of ``work``."""
    found = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        found.append((time.process_time() - start) / count)
    return min(found)


def read_all(
    dataset: Any, numbered: bool, puts_back: bool, size: int = BATCH_SIZE
) -> Callable[[], None]:
    batches = [list(range(first, first + size)) for first in range(0, SAMPLES, size)]

    def read() -> None:
        for batch in batches:
            if not numbered:
                [dataset[index] for index in batch]
                continue
            if not puts_back:
                dataset._aside = ()  # a worker has no state to set aside
            dataset.__getitems__(NumberedBatch.of(batch, 0, batch[0], 1))
            if puts_back:
                dataset.put_back()

    return read


def main() -> None:
    parser = make_parser(__file__, __doc__)
    parser.add_argument('--repeat', type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    raw = picture()
    decode_s = seconds(
        lambda: [np.asarray(Image.open(io.BytesIO(raw)).convert('RGB')) for _ in range(50)],
        50,
        args.repeat,
    )
    results = {}
    for where, puts_back, size in (
        ('worker', False, BATCH_SIZE),
        ('main process', True, BATCH_SIZE),
        ('main process, batches of 4', True, 4),
    ):
        dataset = SeededMap(Nothing(), SampleSeeds(1, 0))
        plain_s = seconds(read_all(Nothing(), False, False, size), SAMPLES, args.repeat)
        own_s = seconds(read_all(dataset, True, puts_back, size), SAMPLES, args.repeat) - plain_s
        results[where] = {'microseconds': round(own_s * 1e6, 2), 'share': own_s / decode_s}
    rows = [
        [where, f'{row["microseconds"]:.1f}', f'{row["share"]:.2%}']
        for where, row in results.items()
    ]
    rows.append(['decoding a PNG', f'{decode_s * 1e6:.1f}', '100%'])
    print(format_table(['a sample in', 'microseconds', 'of decoding'], rows))
    print(verdict(results['worker']['share'], BUDGET))
    write_report(
        args.out,
        repeat=args.repeat,
        budget=BUDGET,
        decode_us=round(decode_s * 1e6, 1),
        results=results,
    )


if __name__ == '__main__':
    main()
