"""How the processes of a run are started, and how many threads each may use."""

import importlib.util
import multiprocessing
import os
import sys
import warnings

_THREAD_VARIABLES = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS')


def set_multi_processing(
    mp_start_method: str = 'fork', opencv_num_threads: int = 0, distributed: bool = False
) -> None:
    """Set how processes are started, and limit the number of threads per process.

    Args:
        mp_start_method: ``fork``, ``spawn`` or ``forkserver``; Windows has ``spawn`` only and keeps
            it.
        opencv_num_threads: Threads of OpenCV, where it is installed; 0 switches threads off.
        distributed: Several processes share the machine: each gets one thread of OpenMP and MKL,
            unless the environment sets another number.
    """
    if sys.platform != 'win32':
        current = multiprocessing.get_start_method(allow_none=True)
        if current not in (None, mp_start_method):
            warnings.warn(
                f'The start method of processes was {current!r} and is now {mp_start_method!r}.',
                stacklevel=2,
            )
        multiprocessing.set_start_method(mp_start_method, force=True)
    if importlib.util.find_spec('cv2') is not None:
        import cv2

        cv2.setNumThreads(opencv_num_threads)
    if distributed:
        for variable in _THREAD_VARIABLES:
            os.environ.setdefault(variable, '1')
