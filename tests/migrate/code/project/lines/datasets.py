"""Points."""

import mmcv
import torch
from torch.utils.data import Dataset

DATASETS = mmcv.Registry('dataset')


def build_dataset(cfg):
    return mmcv.build_from_cfg(cfg, DATASETS)


@DATASETS.register_module()
class Points(Dataset):
    """Points whose coordinates are fractions of 128, exact in float32."""

    def __init__(self, ann_file):
        self.numbers = mmcv.load(ann_file)
        if not mmcv.is_list_of(self.numbers, int):
            raise TypeError('whole numbers, please')

    def __len__(self):
        return len(self.numbers)

    def __getitem__(self, index):
        number = self.numbers[index]
        x, y = (37 * number % 101 - 50) / 128, (53 * number % 89 - 40) / 128
        return dict(x=torch.tensor([x]), y=torch.tensor([y]))
