"""Hooks."""

import os.path as osp

import mmcv
import torch
from mmcv.runner import HOOKS, Hook
from mmcv.runner.dist_utils import master_only


@HOOKS.register_module()
class ClampHook(Hook):
    """Keeps parameters small, every few iterations."""

    def __init__(self, interval, limit):
        self.interval = interval
        self.limit = limit

    def after_train_iter(self, runner):
        if self.every_n_iters(runner, self.interval):
            with torch.no_grad():
                for parameter in runner.model.parameters():
                    parameter.clamp_(-self.limit, self.limit)


@HOOKS.register_module()
class NoteHook(Hook):
    """Writes what it saw into a file."""

    def __init__(self, file_name='notes.json'):
        self.file_name = file_name
        self.notes = []

    def after_train_iter(self, runner):
        loss = runner.outputs['log_vars']['loss']
        rate = runner.optimizer.param_groups[0]['lr']
        self.notes.append([runner.epoch, runner.iter, runner.inner_iter, float(loss), rate])

    @master_only
    def after_run(self, runner):
        mmcv.mkdir_or_exist(runner.work_dir)
        mmcv.dump(self.notes, osp.join(runner.work_dir, self.file_name))
