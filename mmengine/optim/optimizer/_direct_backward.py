"""``loss.backward()`` without what serves other calls of it.

``Tensor.backward`` and ``torch.autograd.backward`` look at arguments that a training step does not
pass, and at each of their inputs for classes that replace functions. For a plain scalar loss they
end in one call, which is made here at once, with the same gradient of 1. The results are the same
bits: ``benchmarks/optimizer_calls.py``.

Checked with torch 2.6 and 2.13. If one of the two functions is replaced, or uses a name that
these do not use, the call is plain.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from mmengine.utils._torch_own import codes_of, has_names, uses_known_names

_KNOWN_NAMES = {
    'backward': {
        # Tensor.backward
        'has_torch_function_unary', 'handle_torch_function', 'Tensor', 'backward', 'torch',
        'autograd',
        # torch.autograd.backward
        '_C', '_are_functorch_transforms_active', 'RuntimeError', 'warnings', 'warn',
        'FutureWarning', 'isinstance', 'graph', 'GradientEdge', 'cast', 'type', 'dict', 'tuple',
        'values', 'Mapping', 'TypeError', '__name__', 'len', 'is_tensor_like',
        'has_torch_function', '_tensor_or_tensors_to_tuple', '_make_grads', '_engine_run_backward',
    },
}  # fmt: skip

# What this file uses of torch beside its documented API.
_USED = (
    '_C._are_functorch_transforms_active',
    '_C._len_torch_function_stack',
    'autograd.graph._engine_run_backward',
)

# As they were at import. Whether they are torch's own, `_is_known_torch` finds out.
_METHOD = Tensor.backward
_FUNCTION = torch.autograd.backward


def run_backward(loss: Any, kwargs: dict[str, Any], is_direct: bool = True) -> None:
    """``loss.backward(**kwargs)``; by the short way if there are no arguments and ``is_direct``."""
    if (
        not is_direct
        or kwargs
        or torch.compiler.is_compiling()  # first, as the compiler cannot follow the next lines
        or type(loss) is not Tensor
        or loss.dim()
        or not loss.requires_grad
        or not loss.is_floating_point()
        or Tensor.backward is not _METHOD
        or torch.autograd.backward is not _FUNCTION
        or 'backward' in loss.__dict__
        or not _is_known_torch()
        or torch._C._len_torch_function_stack()
        or torch._C._are_functorch_transforms_active()
    ):
        loss.backward(**kwargs)
        return
    torch.autograd.graph._engine_run_backward(  # type: ignore[no-untyped-call]  # untyped in torch
        (loss,),
        (torch.ones_like(loss, memory_format=torch.preserve_format),),
        False,
        False,
        (),
        allow_unreachable=True,
        accumulate_grad=True,
    )


@cache
def _is_known_torch() -> bool:
    """Whether torch has what is used here, and its functions use known names only."""
    codes = codes_of([_METHOD, _FUNCTION])
    return has_names(torch, _USED) and len(codes) == 2 and uses_known_names(codes, _KNOWN_NAMES)
