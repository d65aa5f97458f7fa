"""One seed for every source of random numbers, and the state of all of them as plain data."""

import logging
import random
from typing import Any

import numpy as np
import torch

from mmengine.device import is_cuda_available, is_musa_available
from mmengine.dist import get_rank, sync_random_seed
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
            between ranks.

    Returns:
        The seed before the rank was added: equal on all ranks.
    """
    if seed is None:
        seed = sync_random_seed()
    own = seed + get_rank() if diff_rank_seed else seed
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
    version, words, cached_gauss = random.getstate()
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        'python': {
            'version': version,
            'words': torch.tensor(words, dtype=torch.int64),
            'gauss': cached_gauss,
        },
        'numpy': {
            'kind': str(kind),
            'keys': torch.from_numpy(np.asarray(keys).astype(np.int64)),
            'position': int(position),
            'has_gauss': int(has_gauss),
            'gauss': float(gauss),
        },
        'torch': torch.get_rng_state(),
    }
    if is_cuda_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """Put back what :func:`rng_state` returned."""
    saved = state['python']
    random.setstate((saved['version'], tuple(saved['words'].tolist()), saved['gauss']))
    saved = state['numpy']
    keys = saved['keys'].numpy().astype(np.uint32)
    np.random.set_state(
        (saved['kind'], keys, saved['position'], saved['has_gauss'], saved['gauss'])
    )
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and is_cuda_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())
