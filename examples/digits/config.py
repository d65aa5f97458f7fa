"""Train with `mmengine train examples/digits/config.py` from the root of the repository."""

from torch.optim import AdamW

from examples.digits.digits import Accuracy, DigitsDataset, DigitsNet
from mmengine.dataset import DefaultSampler
from mmengine.hooks import CurvesHook
from mmengine.model import ImgDataPreprocessor
from mmengine.optim import CosineAnnealingLR, LinearLR, OptimWrapper

work_dir = 'work_dirs/digits'
randomness = dict(seed=0)

model = dict(
    type=DigitsNet,
    width=16,
    # Pixels are 0 to 16; these are the mean and the deviation of the training images.
    data_preprocessor=dict(type=ImgDataPreprocessor, mean=[4.88], std=[6.02]),
)

train_dataloader = dict(
    batch_size=64,
    dataset=dict(type=DigitsDataset, split='train'),
    sampler=dict(type=DefaultSampler, shuffle=True),
)
val_dataloader = dict(
    batch_size=256,
    dataset=dict(type=DigitsDataset, split='val'),
    sampler=dict(type=DefaultSampler, shuffle=False),
)
val_evaluator = dict(type=Accuracy)

# The best checkpoint is chosen on these images, so testing on them prints the same accuracy.
test_dataloader = val_dataloader
test_evaluator = val_evaluator

train_cfg = dict(by_epoch=True, max_epochs=12)
val_cfg = dict(compute_loss=True)
test_cfg = dict()

optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=2e-3, weight_decay=0.01),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.1, by_epoch=False, begin=0, end=23),
    dict(type=CosineAnnealingLR, by_epoch=True, begin=1, eta_min=2e-5, convert_to_iter_based=True),
]

default_hooks = dict(
    checkpoint=dict(interval=4, max_keep_ckpts=1, save_best='accuracy', rule='greater'),
)
custom_hooks = [dict(type=CurvesHook)]
