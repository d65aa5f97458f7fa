"""Test a model: ``python tools/test.py configs/line.py work/latest.pth --out out.json``."""

import argparse

import mmcv
import torch
from lines import build_dataset
from mmcv import Config, DictAction
from mmcv.cnn import MODELS
from mmcv.runner import load_checkpoint
from mmcv.utils import build_from_cfg
from torch.utils.data import DataLoader


def parse_args(args=None):
    parser = argparse.ArgumentParser(description='Test a model')
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--out')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args(args)


def main(args=None):
    args = parse_args(args)
    cfg = Config.fromfile(args.config)
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    dataset = build_dataset(cfg.data.test)
    model = build_from_cfg(cfg.model, MODELS)
    load_checkpoint(model, args.checkpoint, map_location='cpu')
    model.eval()
    results = []
    progress = mmcv.ProgressBar(len(dataset))
    for data in DataLoader(dataset, batch_size=1):
        with torch.no_grad():
            results += [each.item() for each in model(return_loss=False, **data)]
        progress.update()
    if args.out:
        mmcv.dump(results, args.out)


if __name__ == '__main__':
    main()
