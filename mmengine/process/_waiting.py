"""What a thread waits for, in words, from the names of the functions that it is in."""

from __future__ import annotations

from pathlib import Path
from types import FrameType

_COLLECTIVES = (
    'torch/distributed/distributed_c10d.py',
    'torch/distributed/_functional_collectives.py',
)
_LOADER = 'torch/utils/data/dataloader.py'
_LOADING = 'mmengine/dataset/_sample_seed.py'
_OF_TORCH = '/torch/'
_OF_COLLECTIVES = ('/mmengine/dist/', '/contextlib.py')


def waits_for(frame: FrameType, is_distributed: bool) -> str:
    """In words, what the thread with the innermost ``frame`` waits for or works at."""
    frames = []
    at: FrameType | None = frame
    while at is not None:
        frames.append((Path(at.f_code.co_filename).as_posix(), at.f_code.co_name, at.f_lineno))
        at = at.f_back
    for number, (file, function, _) in enumerate(frames):
        if file.endswith(_COLLECTIVES):
            # The outermost of these functions is the one that was called.
            while frames[number + 1][0].endswith((*_COLLECTIVES, 'c10d_logger.py')):
                number += 1
                if frames[number][0].endswith(_COLLECTIVES):
                    function = frames[number][1]
            return f'waits for other ranks in {function}, called by {_caller(frames[number:])}'
        if file.endswith('torch/autograd/graph.py') and function == '_engine_run_backward':
            what = ', in which gradients are averaged over the ranks' if is_distributed else ''
            return f'is in a backward pass{what}, called by {_caller(frames[number:])}'
        if file.endswith(_LOADING) and function in ('_load', '_load_at_once', '_samples'):
            inside = _place(frames[max(number - 1, 0)])
            return f'loads a sample, at work in {_place(frames[0])}, called by {inside}'
        if file.endswith(_LOADER) and function in ('_try_get_data', '_get_data', '_next_data'):
            return 'waits for a batch of its dataloader workers'
    return f'is at work in {_place(frames[0])}, called by {_caller(frames[1:] or frames)}'


def _caller(frames: list[tuple[str, str, int]]) -> str:
    for frame in frames:
        if _OF_TORCH not in frame[0] and not any(part in frame[0] for part in _OF_COLLECTIVES):
            return _place(frame)
    return _place(frames[-1])


def _place(frame: tuple[str, str, int]) -> str:
    file, function, line = frame
    return f'{function} ({"/".join(file.split("/")[-3:])}:{line})'
