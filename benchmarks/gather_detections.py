"""Time and memory to gather 1,000,000 detections of 4 ranks on rank 0, in the order of the dataset.

    python benchmarks/gather_detections.py [--detections 1000000] [--repeat 3]

An image has 100 detections: boxes, scores and labels as tensors. Each rank has every fourth image.
`collect_results` of this engine against `torch.distributed.all_gather_object` (gloo), which gives
every rank the results of all, and against one tensor of numbers for each rank by `all_gather` of
this engine, as a metric does that keeps numbers. Ways take turns; the memory is the most that rank
0 and rank 1 hold above what they had, from a run of each way alone.
"""

import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from _ranks import join, run_ranks, tell
from _report import format_table, make_parser, verdict, write_report

BUDGET_RATIO = 1.0
RANKS, OF_IMAGE = 4, 100
WAYS = ('all_gather_object', 'collect_results', 'all_gather of tensors')


def measure_rank(detections: int, repeat: int, only: int | None) -> None:
    """One rank: all ways in turns, or one of them for its memory."""
    import torch
    import torch.distributed as dist

    from mmengine.dist import all_gather, collect_results

    torch.set_num_threads(1)
    join()
    rank = dist.get_rank()
    images = detections // OF_IMAGE
    generator = torch.Generator().manual_seed(rank)
    own = [
        {
            'index': index,
            'boxes': torch.rand(OF_IMAGE, 4, generator=generator),
            'scores': torch.rand(OF_IMAGE, generator=generator),
            'labels': torch.zeros(OF_IMAGE, dtype=torch.int64),
        }
        for index in range(rank, images, RANKS)
    ]
    numbers = torch.rand(len(own), OF_IMAGE, 6, generator=generator)
    numbers[:, 0, 0] = torch.arange(rank, images, RANKS, dtype=torch.float32)

    def by_torch() -> Any:
        parts: list[Any] = [None] * RANKS
        dist.all_gather_object(parts, own)
        ordered = [parts[index % RANKS][index // RANKS] for index in range(images)]
        return [entry['index'] for entry in ordered] if rank == 0 else None

    def by_engine() -> Any:
        found = collect_results(own, images)
        return None if found is None else [entry['index'] for entry in found]

    def by_tensors() -> Any:
        ordered = torch.stack(all_gather(numbers), dim=1).flatten(0, 1)
        return ordered[:, 0, 0].long().tolist() if rank == 0 else None

    ways = (by_torch, by_engine, by_tensors)
    chosen = range(len(ways)) if only is None else [only]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times: list[list[float]] = []
    for turn in range(repeat + (only is None)):
        row = [0.0] * len(ways)
        for number in chosen if turn % 2 else reversed(chosen):
            dist.barrier()
            start = time.perf_counter()
            found = ways[number]()
            dist.barrier()
            row[number] = (time.perf_counter() - start) * 1e3
            if rank == 0 and found != list(range(images)):
                raise SystemExit('the detections are not those of the dataset, in its order')
            del found
        times.append(row)
    added = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    tell(times=times[only is None :], added_mb=added / 1024)
    dist.destroy_process_group()


def main() -> None:
    parser = make_parser(__file__, __doc__)
    parser.add_argument('--detections', type=int, default=1_000_000)
    parser.add_argument('--repeat', type=int, default=3)
    parser.add_argument('--rank', type=int, help='used by the script itself')
    parser.add_argument('--only', type=int, help='used by the script itself')
    args = parser.parse_args()
    if args.rank is not None:
        measure_rank(args.detections, args.repeat, args.only)
        return
    options = ('--detections', str(args.detections), '--repeat')
    times = run_ranks(__file__, RANKS, *options, str(args.repeat))[0]['times']
    rows = []
    for number, way in enumerate(WAYS):
        told = run_ranks(__file__, RANKS, *options, '1', '--only', str(number))
        ratio = statistics.median(row[number] / row[0] for row in times)
        rows.append(
            {
                'way': way,
                'median_ms': round(statistics.median(row[number] for row in times), 1),
                'ratio': round(ratio, 3),
                'rank_0_mb': round(told[0]['added_mb']),
                'rank_1_mb': round(told[1]['added_mb']),
            }
        )
    columns = ['way', 'wall ms', 'ratio', 'MB on rank 0', 'MB on rank 1']
    print(format_table(columns, [list(row.values()) for row in rows]))
    print(verdict(rows[1]['ratio'], BUDGET_RATIO))
    write_report(
        args.out,
        detections=args.detections,
        repeat=args.repeat,
        budget_ratio=BUDGET_RATIO,
        ratio=rows[1]['ratio'],
        rows=rows,
    )


if __name__ == '__main__':
    main()
