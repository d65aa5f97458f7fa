"""torch's ``default_collate`` for the usual samples, without its search for the kind of each value.

``default_collate`` compares every value with all kinds of samples that there are, which takes as
long as stacking small tensors. Most samples are dicts or tuples of tensors: :func:`direct_collate`
stacks those at once, and leaves everything else to torch. The results are equal.

Checked with torch 2.6 and 2.13.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import _utils, default_collate

from mmengine.utils._torch_own import is_torchs

_KINDS = _utils.collate.default_collate_fn_map
_NUM_KINDS = len(_KINDS)
_STACK = _KINDS[Tensor]
# Users may add kinds and replace functions, after the import of this module or before.
_ARE_TORCHS = all(map(is_torchs, _KINDS.values()))


def direct_collate(samples: list[Any]) -> Any:
    """What ``default_collate(samples)`` returns."""
    if not _ARE_TORCHS or len(_KINDS) != _NUM_KINDS or _KINDS[Tensor] is not _STACK or not samples:
        return default_collate(samples)
    first = samples[0]
    if type(first) is dict:
        return {key: _column([sample[key] for sample in samples]) for key in first}
    if type(first) is tuple and len({*map(len, samples)}) == 1:
        return [_column(values) for values in zip(*samples, strict=True)]
    return default_collate(samples)


def _column(values: Any) -> Any:
    """The values of one key or place, one a sample, as one value of the batch."""
    first = values[0]
    if type(first) is Tensor and first.layout is torch.strided and not first.is_nested:
        return torch.stack(values)
    return default_collate(values)
