"""Starts the ranks of a run: on one machine, on several, or as a job of Slurm."""

from mmengine.launch._local import launch_local
from mmengine.launch._slurm import SlurmJob, slurm_script, submit

__all__ = ['SlurmJob', 'launch_local', 'slurm_script', 'submit']
