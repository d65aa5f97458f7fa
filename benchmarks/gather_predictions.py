"""Wall time to gather the predictions of a test over 2 ranks, over an all_gather of their bytes.

    python benchmarks/gather_predictions.py [--predictions 50000] [--repeat 7]

A prediction is a dict of an index, 10 scores and a label, as metrics keep them; each rank has half.
`collect_results` of this engine gives rank 0 all of them in the order of the dataset. The base is
what any way needs: the same predictions pickled on each rank, the bytes exchanged by one
`all_gather` (gloo), and unpickled on rank 0. Both take turns; medians of rank 0.
"""

import pickle
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from _ranks import join, run_ranks, tell
from _report import format_table, make_parser, verdict, write_report

BUDGET_RATIO = 1.1


def measure_rank(predictions: int, repeat: int) -> None:
    """One rank: both ways in turns."""
    import torch
    import torch.distributed as dist

    from mmengine.dist import collect_results

    torch.set_num_threads(1)
    join()
    rank, ranks = dist.get_rank(), dist.get_world_size()
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(predictions, 10, generator=generator)
    own = [
        {'index': index, 'scores': scores[index].numpy().copy(), 'label': index % 10}
        for index in range(rank, predictions, ranks)
    ]

    def by_bytes() -> Any:
        payload = torch.frombuffer(bytearray(pickle.dumps(own, protocol=5)), dtype=torch.uint8)
        size = torch.tensor([len(payload)])
        sizes = [torch.zeros_like(size) for _ in range(ranks)]
        dist.all_gather(sizes, size)
        longest = max(int(size) for size in sizes)
        padded = torch.zeros(longest, dtype=torch.uint8)
        padded[: len(payload)] = payload
        parts = [torch.empty_like(padded) for _ in range(ranks)]
        dist.all_gather(parts, padded)
        if rank:
            return None
        return [
            pickle.loads(part[: int(size)].numpy().tobytes())
            for part, size in zip(parts, sizes, strict=True)
        ]

    def by_engine() -> Any:
        return collect_results(own, predictions)

    times = []
    for turn in range(repeat + 1):
        pair = [0.0, 0.0]
        for which in (0, 1) if turn % 2 else (1, 0):
            dist.barrier()
            start = time.perf_counter()
            found = by_bytes() if which == 0 else by_engine()
            dist.barrier()
            pair[which] = (time.perf_counter() - start) * 1e3
            if (
                which
                and rank == 0
                and [entry['index'] for entry in found] != list(range(predictions))
            ):
                raise SystemExit('the predictions are not those of the dataset, in its order')
            del found
        times.append(pair)
    tell(times=times[1:])
    dist.destroy_process_group()


def main() -> None:
    parser = make_parser(__file__, __doc__)
    parser.add_argument('--predictions', type=int, default=50_000)
    parser.add_argument('--repeat', type=int, default=7)
    parser.add_argument('--rank', type=int, help='used by the script itself')
    args = parser.parse_args()
    if args.rank is not None:
        measure_rank(args.predictions, args.repeat)
        return
    options = ('--predictions', str(args.predictions), '--repeat', str(args.repeat))
    pairs = run_ranks(__file__, 2, *options)[0]['times']
    bytes_ms = statistics.median(base for base, _ in pairs)
    engine_ms = statistics.median(ours for _, ours in pairs)
    ratio = statistics.median(ours / base for base, ours in pairs)
    rows = [
        ['all_gather of the bytes', f'{bytes_ms:.0f}', '1.00'],
        ['collect_results', f'{engine_ms:.0f}', f'{ratio:.2f}'],
    ]
    print(format_table([f'{args.predictions:,} predictions', 'wall ms', 'ratio'], rows))
    print(verdict(ratio, BUDGET_RATIO))
    write_report(
        args.out,
        predictions=args.predictions,
        repeat=args.repeat,
        budget_ratio=BUDGET_RATIO,
        bytes_ms=round(bytes_ms, 1),
        engine_ms=round(engine_ms, 1),
        ratio=round(ratio, 3),
        least_ratio=round(min(ours for _, ours in pairs) / min(base for base, _ in pairs), 3),
    )


if __name__ == '__main__':
    main()
