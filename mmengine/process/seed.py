"""One seed for every source of random numbers, and the state of all of them as plain data."""

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from mmengine.device import is_cuda_available, is_musa_available
from mmengine.dist import sync_random_seed
from mmengine.dist._data_parallel import get_data_parallel_info
from mmengine.logging import print_log


def set_random_seed(
    seed: int | None = None, deterministic: bool = False, diff_rank_seed: bool = False
) -> int:
    """Seed Python, NumPy and torch (all devices) and return the seed of the run.

    Args:
        seed: None draws one, the same on every rank.
        deterministic: Also ask torch for deterministic kernels; some operators then raise or slow
            down.
        diff_rank_seed: Each rank is seeded with ``seed + rank``, so that augmentation differs
            between ranks. Ranks that read the same data get the same seed.

    Returns:
        The seed before the rank was added: equal on all ranks.
    """
    if seed is None:
        seed = sync_random_seed()
    own = seed + get_data_parallel_info()[0] if diff_rank_seed else seed
    random.seed(own)
    np.random.seed(own % 2**32)
    torch.manual_seed(own)
    if is_musa_available():
        torch.musa.manual_seed_all(own)  # type: ignore[attr-defined]  # a plugin's
    if deterministic:
        if torch.backends.cudnn.benchmark:
            print_log(
                'deterministic=True switches cudnn_benchmark off: it picks kernels by timing them.',
                logger='current',
                level=logging.WARNING,
            )
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        torch.use_deterministic_algorithms(True)
    return seed


def rng_state() -> dict[str, Any]:
    """The state of every random number generator of this process, as tensors and plain values."""
    state: dict[str, Any] = {
        'python': python_state(random),
        'numpy': numpy_state(np.random),
        'torch': torch.get_rng_state(),
    }
    if is_cuda_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """Put back what :func:`rng_state` returned."""
    set_python_state(random, state['python'])
    set_numpy_state(np.random, state['numpy'])
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and is_cuda_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


@contextmanager
def untouched_rng() -> Iterator[None]:
    """Context after which the random number generators are as they were before it."""
    state = rng_state()
    try:
        yield
    finally:
        set_rng_state(state)


def python_state(generator: Any) -> dict[str, Any]:
    """The state of a ``random.Random``, or of the module, in tensors and plain values."""
    version, words, gauss = generator.getstate()
    words = torch.tensor(words, dtype=torch.int64)
    return {'version': version, 'words': words, 'gauss': gauss}


def set_python_state(generator: Any, state: dict[str, Any]) -> None:
    """Put back what :func:`python_state` returned."""
    generator.setstate((state['version'], tuple(state['words'].tolist()), state['gauss']))


def numpy_state(generator: Any) -> dict[str, Any]:
    """The same for a ``RandomState``, or the module ``numpy.random``."""
    kind, keys, position, has_gauss, gauss = generator.get_state(legacy=True)
    return {
        'kind': str(kind),
        'keys': torch.from_numpy(np.asarray(keys).astype(np.int64)),
        'position': int(position),
        'has_gauss': int(has_gauss),
        'gauss': float(gauss),
    }


def set_numpy_state(generator: Any, state: dict[str, Any]) -> None:
    """Put back what :func:`numpy_state` returned."""
    keys = state['keys'].numpy().astype(np.uint32)
    generator.set_state(
        (state['kind'], keys, state['position'], state['has_gauss'], state['gauss'])
    )
