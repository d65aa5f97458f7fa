"""The process that a run is in: environment, random numbers, and the failure of a rank."""

from mmengine.process._lock import WorkDirInUseError
from mmengine.process.env import check_launcher, describe_environment, setup_process
from mmengine.process.failure import RankFailedError, stop_together
from mmengine.process.seed import rng_state, set_random_seed, set_rng_state
from mmengine.process.signals import Preempt, RunInterrupted, RunStopped

__all__ = [
    'Preempt',
    'RankFailedError',
    'RunInterrupted',
    'RunStopped',
    'WorkDirInUseError',
    'check_launcher',
    'describe_environment',
    'rng_state',
    'set_random_seed',
    'set_rng_state',
    'setup_process',
    'stop_together',
]
