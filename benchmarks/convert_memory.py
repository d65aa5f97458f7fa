"""Memory and time of conversions between the forms of a checkpoint.

    python benchmarks/convert_memory.py [--tensors 24] [--mb 32] [--shard-mb 128] [--dir FOLDER]

`mmengine ckpt convert` in a fresh process for each pair of forms, on weights and an optimizer state
that are many times larger than one shard. Counted is the growth of the resident set from after the
imports to its peak, pages of mapped files included. The budget is one shard and 200 MB. The folder
that is read was written by four ranks, each of which had a quarter of every tensor.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from _report import format_table, make_parser, verdict, write_report

from mmengine._checkpoint.folder._write import write_folder
from mmengine.dist._objects import group_of_threads
from mmengine.testing._internal.distributed import run_distributed

ROOT = Path(__file__).parents[1]
MORE_MB = 200.0
RANKS = 4
CONVERSIONS = (
    ('source.pth', 'out.safetensors'),
    ('source.pth', 'shards/model.safetensors.index.json'),
    ('source.pth', 'out_folder'),
    ('source.pth', 'copy.pth'),
    ('folder', 'from_folder.pth'),
    ('folder', 'from_folder.safetensors'),
    ('folder', 'from_folder/model.safetensors.index.json'),
    ('out.safetensors', 'from_file.pth'),
    ('shards/model.safetensors.index.json', 'from_shards'),
)
CODE = """
import json, resource, sys, time
sys.path.insert(0, {root!r})
import safetensors.torch
from mmengine._checkpoint.folder import _write
from mmengine._checkpoint.tools import convert
def status(name):
    with open('/proc/self/status') as file:
        line = next(line for line in file if line.startswith(name))
    return int(line.split()[1]) / 1024
with open('/proc/self/clear_refs', 'w') as file:
    file.write('5')  # the peak begins anew
before = status('VmRSS')
begin = time.perf_counter()
convert({source!r}, {out!r}, shard_size={size})
print(json.dumps([status('VmHWM') - before, time.perf_counter() - begin]), file=sys.stderr)
"""


def checkpoint(count: int, mb: int) -> dict[str, object]:
    """Half of the tensors are weights, half of them moments of an optimizer."""
    tensors = [torch.full((mb, 2**18), float(at)) for at in range(count)]
    half = count // 2
    return {
        'meta': {'epoch': 1, 'iter': 1},
        'state_dict': {f'layers.{at}.weight': tensors[at] for at in range(half)},
        'optimizer': {'state': {at: {'exp_avg': tensors[half + at]} for at in range(half)}},
    }


def write_by_ranks(rank: int, world_size: int, folder: str, count: int, mb: int) -> None:
    """Each rank writes its rows of each tensor."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    from mmengine._checkpoint.folder._tree import replace_tensors

    mesh = init_device_mesh('cpu', (world_size,))
    content = replace_tensors(
        checkpoint(count, mb), lambda _, tensor: distribute_tensor(tensor, mesh, [Shard(0)])
    )
    write_folder(lambda: content, folder, group_of_threads(), max_bytes=2**26)


def measure(source: str, out: str, shard_mb: int) -> tuple[float, float]:
    """Megabytes and seconds of one conversion."""
    has_shards = not out.endswith(('.pth', 'out.safetensors', 'folder.safetensors'))
    size = str(shard_mb * 10**6) if has_shards else 'None'
    code = CODE.format(root=str(ROOT), source=source, out=out, size=size)
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        env={**os.environ, 'OMP_NUM_THREADS': '1'}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    grown, seconds = json.loads(done.stderr.splitlines()[-1])
    return grown, seconds


def main() -> None:
    parser = make_parser(__file__, __doc__)
    parser.add_argument('--tensors', type=int, default=24)
    parser.add_argument('--mb', type=int, default=32, help='size of a tensor')
    parser.add_argument('--shard-mb', type=int, default=128)
    parser.add_argument('--dir', help='for the files; twelve times the checkpoint is needed')
    args = parser.parse_args()
    rows, found = [], {}
    with tempfile.TemporaryDirectory(dir=args.dir) as folder:
        os.chdir(folder)
        torch.save(checkpoint(args.tensors, args.mb), 'source.pth')
        run_distributed(write_by_ranks, RANKS, f'{folder}/folder', args.tensors, args.mb)
        for source, out in CONVERSIONS:
            grown, seconds = measure(source, out, args.shard_mb)
            rows.append([source, out, f'{grown:.0f}', f'{seconds:.1f}'])
            found[f'{source} -> {out}'] = {'mb': round(grown, 1), 's': round(seconds, 2)}
        os.chdir(ROOT)
    print(f'{args.tensors} tensors of {args.mb} MB, shards of {args.shard_mb} MB')
    print(format_table(['from', 'to', 'peak MB', 's'], rows))
    largest = max(one['mb'] for one in found.values())
    print(verdict(largest, args.shard_mb + MORE_MB, 'MB'))
    write_report(
        args.out,
        tensors=args.tensors,
        tensor_mb=args.mb,
        shard_mb=args.shard_mb,
        budget_mb=args.shard_mb + MORE_MB,
        conversions=found,
    )


if __name__ == '__main__':
    main()
