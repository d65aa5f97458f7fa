"""How tests start processes: fast, and with nothing of this process copied into them."""

from __future__ import annotations

import functools
import multiprocessing
import os
import sys
from multiprocessing import forkserver
from multiprocessing.context import BaseContext

# Packages that children import anyway, when this process has.
_PRELOADED = ('torch', 'numpy', 'pytest', 'hypothesis', 'mmengine')
# What torch imports late: the first optimizer needs its compiler, which takes seconds.
_LATE = ('torch.distributed', 'torch._dynamo')


@functools.cache
def start_method() -> BaseContext:
    """Children are forked by a server that has imported what they need and done nothing else.

    So they start in milliseconds, and no thread or held lock of this process is copied, as a plain
    fork would.
    """
    if 'forkserver' not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context('spawn')
    server = multiprocessing.get_context('forkserver')
    loaded = [name for name in sys.modules if name.partition('.')[0] in _PRELOADED]
    preload = [name for name in loaded if _is_worth_preloading(name)]
    server.set_forkserver_preload(preload + (list(_LATE) if 'torch' in preload else []))
    # Before Python 3.12 the server takes sys.path from nowhere else.
    before = os.environ.get('PYTHONPATH')
    os.environ['PYTHONPATH'] = os.pathsep.join(path or os.getcwd() for path in sys.path)
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ['PYTHONPATH']
        else:
            os.environ['PYTHONPATH'] = before
    return server


def _is_worth_preloading(name: str) -> bool:
    if name.startswith('mmengine.config._reading.defined.'):
        return False  # of a config file, which may be gone
    package, _, rest = name.partition('.')
    return package == 'mmengine' or not rest
