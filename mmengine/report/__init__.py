"""One page about one or several runs: curves, configs, checkpoints, warnings."""

from mmengine.report._page import report
from mmengine.report._run import RunRecord, read_run

__all__ = ['RunRecord', 'read_run', 'report']
