"""Read thousands of generated hostile files; flip bits of checkpoints.

    python tests/faults/hostile_files.py [--files 10000] [--flips 2000] [--seed 0] [--out FILE]

A hostile file is a call that makes a file or a process, in one of the formats that the package
reads; a good file with bytes changed, cut or repeated; random opcodes of pickle; or a small file
that asks for gigabytes. Each is read by the function that reads such files. A file counts as
executed if it made the canary, or if Python's audit hooks saw a process, a shell or a library being
started; as exploded if the reader took more than ``LIMIT_S`` seconds of the processor or ``MEMORY``
bytes.

A flipped bit is silent if the file is loaded and nothing is said.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import pickle
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from mmengine._checkpoint.files import CheckpointReadError, read_checkpoint
from mmengine.config import Config
from mmengine.config._static import read_static
from mmengine.fileio import load
from mmengine.logging import MMLogger

LIMIT_S = 20
MEMORY = 2 * 2**30
_BATCH = 100
_STARTS = (
    'os.system', 'os.exec', 'os.posix_spawn', 'os.spawn', 'os.fork', 'os.forkpty',
    'subprocess.Popen', 'ctypes.dlopen', 'socket.connect', 'os.remove', 'os.rename',
    'shutil.rmtree',
)  # fmt: skip


class Call:
    """Pickles as a call."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> Any:
        return self.function, self.args


def _calls(canary: str) -> list[Any]:
    text = f'open({canary!r}, "w").close()'
    return [
        Call(os.system, f'touch {canary}'),
        Call(open, canary, 'w'),
        Call(eval, text),
        Call(exec, text),
        Call(os.mkdir, canary),
        Call(pickle.loads, pickle.dumps(Call(open, canary, 'w'))),
        Call(getattr(Path, 'touch'), Path(canary)),  # noqa: B009  # the function itself
        Call(torch.load, canary),
        Call(map, open, [canary], ['w']),
    ]


def _good_checkpoint() -> dict[str, Any]:
    return {
        'meta': {'epoch': 1, 'cfg': 'a = 1\n', 'seed': 3},
        'state_dict': {'weight': torch.arange(64.0), 'bias': torch.ones(3)},
        'optimizer': {'state': {0: {'step': torch.tensor(2.0)}}, 'param_groups': [{'lr': 0.1}]},
    }


def _saved(content: Any, zipped: bool) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def call_in_a_checkpoint(draw: random.Random, canary: str) -> tuple[str, bytes]:
    content = _good_checkpoint()
    place = draw.choice(['meta', 'state_dict', 'optimizer', None])
    call = draw.choice(_calls(canary))
    if place is None:
        content = call
    else:
        content[place][draw.choice(['x', 'cfg', 'weight'])] = call
    return '.pth', _saved(content, draw.random() < 0.5)


def call_in_a_pickle(draw: random.Random, canary: str) -> tuple[str, bytes]:
    call = draw.choice(_calls(canary))
    content = draw.choice([call, [1, call], {'metainfo': {}, 'data_list': [call]}])
    return '.pkl', pickle.dumps(content, protocol=draw.randint(2, 5))


def call_in_opcodes(draw: random.Random, canary: str) -> tuple[str, bytes]:
    """A call without the class that a pickle of Python would have."""
    module, name = draw.choice(
        [('os', 'system'), ('posix', 'system'), ('subprocess', 'getoutput'), ('os', 'popen')]
    )
    body = f"c{module}\n{name}\n(S'touch {canary}'\ntR.".encode()
    body = draw.choice([b'', b'\x80\x02']) + body
    return draw.choice(['.pkl', '.pth']), body


def call_in_yaml(draw: random.Random, canary: str) -> tuple[str, bytes]:
    form = draw.choice(
        [
            '!!python/object/apply:os.system ["touch {0}"]',
            '!!python/object/new:os.system ["touch {0}"]',
            'a: !!python/name:os.system',
            '!!python/object/apply:builtins.open ["{0}", "w"]',
            'a: [1, !!python/object/apply:subprocess.getoutput ["touch {0}"]]',
            '!!python/module:antigravity',
            "!!python/object/apply:builtins.eval [\"open('{0}', 'w')\"]",
        ]
    )
    return '.yaml', form.format(canary).encode()


def call_in_config_text(draw: random.Random, canary: str) -> tuple[str, bytes]:
    form = draw.choice(
        [
            'import os\nos.system("touch {0}")\n',
            'a = open("{0}", "w")\n',
            'a = dict(b=__import__("os").system("touch {0}"))\n',
            'a = [x for x in [open("{0}", "w")]]\n',
            "a = f\"{{open('{0}', 'w')}}\"\n",
            'class A:\n    open("{0}", "w")\n',
            '@open("{0}", "w").write\ndef f(): pass\n',
            'a = (lambda: open("{0}", "w"))()\n',
        ]
    )
    return '.txt', form.format(canary).encode()


def changed_checkpoint(draw: random.Random, canary: str) -> tuple[str, bytes]:
    content = _saved(_good_checkpoint(), draw.random() < 0.7)
    return '.pth', _changed(draw, content)


def changed_pickle(draw: random.Random, canary: str) -> tuple[str, bytes]:
    content = pickle.dumps(
        {'metainfo': {'classes': ['a']}, 'data_list': [{'x': 1.5, 'y': [2]}] * 3}
    )
    return '.pkl', _changed(draw, content)


def changed_text(draw: random.Random, canary: str) -> tuple[str, bytes]:
    kind = draw.choice(['.json', '.yaml', '.txt'])
    content = b'{"model": {"type": "A", "x": [1, 2.5, null]}, "a": "b"}'
    return kind, _changed(draw, content)


def random_opcodes(draw: random.Random, canary: str) -> tuple[str, bytes]:
    opcodes = b'()]}NKJMGU\x8c\x94hqr0.1244abdeglopstuRcicX\x80\x81\x85\x86\x87\x88\x89\x8a\x93\x95'
    body = bytes(
        draw.choice(opcodes) if draw.random() < 0.7 else draw.randrange(256)
        for _ in range(draw.randint(1, 80))
    )
    return draw.choice(['.pkl', '.pth']), b'\x80\x04' + body + b'.'


def bomb(draw: random.Random, canary: str) -> tuple[str, bytes]:
    """A few bytes that ask for much."""
    huge = draw.choice([2**31 - 1, 2**33, 2**40, 2**62])
    return draw.choice(
        [
            ('.pkl', b'\x80\x04\x8e' + struct.pack('<Q', huge) + b'x.'),
            ('.pkl', b'\x80\x04\x96' + struct.pack('<Q', huge) + b'x.'),
            ('.pkl', b'\x80\x04\x8d' + struct.pack('<Q', huge) + b'x.'),
            ('.pkl', b'\x80\x02r' + struct.pack('<I', 2**31 - 1) + b'.'),
            ('.pkl', b'\x80\x02' + b'(' * 20_000 + b'l' * 20_000 + b'.'),
            ('.pkl', b'\x80\x02]q\x00' + b'h\x00a' * 10_000 + b'.'),
            ('.pth', b'\x80\x04\x96' + struct.pack('<Q', huge) + b'x.'),
            ('.pth', _zip_of_zeros(draw.randint(16, 256))),
            ('.pth', _zip_with_stated_size(draw)),
            ('.yaml', _aliases(draw.randint(8, 30))),
            ('.yaml', b'[' * 10_000),
            ('.json', b'[' * 100_000),
            ('.txt', b'a = ' + b'(' * 500 + b'1' + b')' * 500),
            ('.txt', b'a = ' + b'-' * 20_000 + b'1'),
            ('.txt', b'a = 9 ** 9 ** 9 ** 9'),
            ('.txt', b'a = "x" * 9999999999'),
        ]
    )


def _zip_of_zeros(mebibytes: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr('archive/data.pkl', bytes(mebibytes * 2**20))
        archive.writestr('archive/version', '3')
    return file.getvalue()


def _zip_with_stated_size(draw: random.Random) -> bytes:
    content = bytearray(_saved(_good_checkpoint(), True))
    for _ in range(4):
        at = content.find(b'PK\x01\x02', draw.randrange(len(content)))
        if at >= 0:
            content[at + 24 : at + 28] = struct.pack('<I', draw.choice([2**31, 2**32 - 1]))
    return bytes(content)


def _aliases(depth: int) -> bytes:
    lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x]']
    lines += [
        f'a{number}: &a{number} [{", ".join([f"*a{number - 1}"] * 9)}]'
        for number in range(1, depth)
    ]
    return '\n'.join(lines).encode()


def _changed(draw: random.Random, content: bytes) -> bytes:
    data = bytearray(content)
    for _ in range(draw.randint(1, 8)):
        at = draw.randrange(len(data)) if data else 0
        kind = draw.randrange(5)
        if kind == 0 and data:
            data[at] = draw.randrange(256)
        elif kind == 1 and data:
            data[at] ^= 1 << draw.randrange(8)
        elif kind == 2:
            del data[at : at + draw.randint(1, 64)]
        elif kind == 3:
            data[at:at] = data[at : at + draw.randint(1, 64)]
        else:
            data[at:at] = draw.randbytes(draw.randint(1, 16))
    return bytes(data)


KINDS: list[Callable[[random.Random, str], tuple[str, bytes]]] = [
    call_in_a_checkpoint, call_in_a_pickle, call_in_opcodes, call_in_yaml, call_in_config_text,
    changed_checkpoint, changed_pickle, changed_text, random_opcodes, bomb,
]  # fmt: skip


def _read(path: Path) -> Any:
    """Read the file with what reads such files in the package."""
    if path.suffix == '.pth':
        return read_checkpoint(path)
    if path.suffix == '.pkl':
        return load(path, allow_pickle=False)
    if path.suffix == '.txt':
        return read_static(path.read_text(encoding='utf-8', errors='replace'))
    if path.suffix in ('.yaml', '.json'):
        # Both ways in which such a file comes in.
        try:
            load(path)
        finally:
            found = Config.fromfile(path)
        return found
    raise AssertionError(path)


def read_hostile(folder: Path, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Generate and read ``count`` files; the figures, and what was wrong."""
    figures: Counter[str] = Counter()
    wrong: list[str] = []
    first = 0
    while first < count:
        last = min(first + _BATCH, count)
        done = _in_a_child(folder, range(first, last), seed, figures, wrong)
        if done < last:  # the child has gone with this file
            figures['files'] += 1
            figures['exploded'] += 1
            wrong.append(f'file {done} of seed {seed} ended the reader')
            done += 1
        first = done
    return figures, wrong


def _in_a_child(
    folder: Path, numbers: range, seed: int, figures: Counter[str], wrong: list[str]
) -> int:
    """Read these files in a child with limits; the number of the first that was not read."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            _read_some(folder, numbers, seed, writing)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as lines:
        at = numbers.start
        for line in lines:
            row = json.loads(line)
            figures['files'] += 1
            figures[f'files: {row["kind"]}'] += 1
            figures['refused' if row['refused'] else 'read as plain values'] += 1
            if row['executed']:
                figures['executed'] += 1
                wrong.append(f'file {at} of seed {seed} ({row["kind"]}) ran: {row["executed"]}')
            at += 1
    os.waitpid(pid, 0)
    return at


def _read_some(folder: Path, numbers: range, seed: int, writing: int) -> None:
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    warnings.simplefilter('ignore')
    used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    seen: list[str] = []
    is_reading = [False]

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if is_reading[0] and event in _STARTS:
            seen.append(event)

    sys.addaudithook(audit)
    for number in numbers:
        draw = random.Random(f'{seed} {number}')
        kind = KINDS[number % len(KINDS)]
        canary = folder / f'canary_{number}'
        suffix, content = kind(draw, str(canary))
        path = folder / f'hostile_{number}{suffix}'
        path.write_bytes(content)
        seen.clear()
        # Either ends this process. A busy machine makes no file slow: processor time counts.
        signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
        signal.alarm(LIMIT_S * 20)
        is_reading[0] = True
        refused = False
        try:
            _read(path)
        except MemoryError:
            os._exit(1)
        except Exception:
            refused = True
        is_reading[0] = False
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        if canary.exists():
            seen.append('the canary was made')
        path.unlink()
        row = {'kind': kind.__name__, 'refused': refused, 'executed': ', '.join(seen)}
        os.write(writing, json.dumps(row).encode() + b'\n')


class _Told(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def flip_bits(folder: Path, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Flip one bit of a checkpoint of a run, ``count`` times; the figures, and silent ones."""
    from stoppable_run import make

    work_dir = folder / 'flipped'
    make(str(work_dir), {'epochs': 2, 'interval': 1, 'val': False}).train()
    path = work_dir / 'epoch_2.pth'
    whole = path.read_bytes()
    draw = random.Random(seed)
    figures: Counter[str] = Counter()
    silent = []
    for number in range(count):
        bit = draw.randrange(len(whole) * 8)
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        logger = MMLogger.get_instance(f'flip_{number}', log_level='CRITICAL')
        told = _Told()
        logger.handlers = [told]
        logger.setLevel('WARNING')
        figures['flips'] += 1
        try:
            read_checkpoint(path)
        except CheckpointReadError:
            figures['flips refused'] += 1
        else:
            if any('is not the file that the run wrote' in text for text in told.texts):
                figures['flips told of, same content'] += 1
            else:
                silent.append(f'bit {bit} of {len(whole)} bytes')
        MMLogger._instance_dict.pop(f'flip_{number}', None)
    figures['silent flips'] = len(silent)
    return figures, silent


def main() -> None:
    """Read, flip, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--files', type=int, default=10_000)
    parser.add_argument('--flips', type=int, default=2_000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter('ignore')
    folder = Path(tempfile.mkdtemp(prefix='hostile_'))
    try:
        figures, wrong = read_hostile(folder, args.files, args.seed)
        flips, silent = flip_bits(folder, args.flips, args.seed)
    finally:
        shutil.rmtree(folder)
    zeros = {'executed': 0, 'exploded': 0, 'silent flips': 0}
    report = {**zeros, **dict(sorted((figures + flips).items())), 'wrong': wrong + silent}
    print(json.dumps(report, indent=2))
    if args.out is not None:
        args.out.write_text(json.dumps(report, indent=2) + '\n')
    if wrong or silent:
        raise SystemExit(1)


if __name__ == '__main__':
    main()
