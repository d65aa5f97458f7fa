"""Short runs that try something out before a long training.

``mmengine train --fast-dev-run | --overfit | --lr-find | --find-batch-size | --profile`` call these
functions.
"""

from mmengine.tryout._batch_size import BatchSizes, BatchSizeTrial, find_batch_size
from mmengine.tryout._fast_dev_run import FastDevRun, fast_dev_run
from mmengine.tryout._limits import limit_batches
from mmengine.tryout._lr_find import LRFind, lr_find
from mmengine.tryout._overfit import Overfit, overfit
from mmengine.tryout._profile import StepProfile, profile

__all__ = [
    'BatchSizeTrial',
    'BatchSizes',
    'FastDevRun',
    'LRFind',
    'Overfit',
    'StepProfile',
    'fast_dev_run',
    'find_batch_size',
    'limit_batches',
    'lr_find',
    'overfit',
    'profile',
]
