"""The forms in which projects write their models: each trains with the bits of a plain loop."""

import copy
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import DataLoader

from mmengine.evaluator import BaseMetric
from mmengine.model import BaseDataPreprocessor, BaseModel, MMDistributedDataParallel
from mmengine.runner import Runner
from mmengine.testing._internal.distributed import run_distributed

train_dataset = [(torch.ones(1, 1), torch.ones(1, 1))] * 50


class ToyModel(BaseModel):
    """A batch is a tuple, so that it comes as ``self(*data, mode=...)``."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)

    def forward(self, img, label, mode):
        feat = self.linear(img)
        if mode == 'loss':
            loss1 = (feat - label).pow(2)
            loss2 = (feat - label).abs()
            return dict(loss1=loss1, loss2=loss2)
        elif mode == 'predict':
            return list(feat)
        else:
            return feat


class ToyModelWithItsOwnStep(ToyModel):
    """What the usual step does, spelled out."""

    def train_step(self, data, optim_wrapper):
        data = self.data_preprocessor(data)
        loss_dict = self(*data, mode='loss')
        loss_dict['loss1'] = loss_dict['loss1'].sum()
        loss_dict['loss2'] = loss_dict['loss2'].sum()
        loss = (loss_dict['loss1'] + loss_dict['loss2']).sum()
        optim_wrapper.update_params(loss)
        return loss_dict


def _plain_loop(linear: nn.Linear, batches: Any, epochs: int, reduction: Any) -> None:
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.01)
    for _ in range(epochs):
        for img, label in batches:
            error = linear(img) - label
            optimizer.zero_grad()
            (reduction(error.pow(2)) + reduction(error.abs())).backward()
            if dist.is_initialized():
                for param in linear.parameters():
                    dist.all_reduce(param.grad)
                    param.grad /= dist.get_world_size()
            optimizer.step()


def _assert_same_bits(ours: nn.Module, theirs: nn.Module) -> None:
    pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize(
    ('kind', 'reduction'), [(ToyModel, torch.mean), (ToyModelWithItsOwnStep, torch.sum)]
)
def test_a_model_with_forward_of_img_label_and_mode_trains(tmp_path, kind, reduction):
    model = kind()
    linear = copy.deepcopy(model.linear)
    runner = Runner(
        model=model,
        work_dir=str(tmp_path),
        train_dataloader=DataLoader(train_dataset, batch_size=2),
        train_cfg=dict(by_epoch=True, max_epochs=5),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
    )
    runner.train()
    assert runner.iter == 5 * 25
    _plain_loop(linear, DataLoader(train_dataset, batch_size=2), 5, reduction)
    _assert_same_bits(model.linear, linear)


class _Remember(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.extend(zip(data_batch[1], data_samples, strict=True))

    def compute_metrics(self, results):
        return {'error': max(float((label - sample).abs()) for label, sample in results)}


def test_a_list_of_predictions_reaches_the_evaluator_in_validation_and_test(tmp_path):
    model = ToyModel()
    with torch.no_grad():
        model.linear.weight.fill_(3.0)
        model.linear.bias.fill_(0.5)
    loader = DataLoader(train_dataset, batch_size=4)
    runner = Runner(
        model=model,
        work_dir=str(tmp_path),
        val_dataloader=loader,
        val_cfg=dict(),
        val_evaluator=_Remember(),
        test_dataloader=loader,
        test_cfg=dict(),
        test_evaluator=_Remember(),
    )
    assert runner.val() == {'error': 2.5}  # |1 - (3 * 1 + 0.5)|
    assert runner.test() == {'error': 2.5}


class _Doubling(BaseDataPreprocessor):
    def forward(self, data, training=False):
        data = self.cast_data(data)
        return [data[0] * 2, data[1]] if training else data


class CustomModel(BaseModel):
    """Gives the whole batch to ``forward`` as one argument, and a loss that is a tensor."""

    def __init__(self) -> None:
        super().__init__(data_preprocessor=_Doubling())
        self.linear = nn.Linear(1, 1)

    def forward(self, data, mode):
        return (self.linear(data[0]) - data[1]).square().mean()

    def train_step(self, data, optim_wrapper):
        data = self.data_preprocessor(data, training=True)  # Enable batch augmentation
        loss = self(data, mode='loss')
        optim_wrapper.update_params(loss)
        data = self.data_preprocessor(data, training=False)  # Disable batch augmentation
        loss = self(data, mode='loss')
        optim_wrapper.update_params(loss)
        return dict(loss=loss)


def test_a_step_may_optimise_twice_with_losses_that_are_tensors(tmp_path):
    model = CustomModel()
    linear = copy.deepcopy(model.linear)
    Runner(
        model=model,
        work_dir=str(tmp_path),
        train_dataloader=DataLoader(train_dataset, batch_size=2),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
    ).train()

    optimizer = torch.optim.SGD(linear.parameters(), lr=0.01)
    for img, label in DataLoader(train_dataset, batch_size=2):
        # The second pass preprocesses what the first one made, so both see the doubled image.
        for _ in range(2):
            optimizer.zero_grad()
            (linear(img * 2) - label).square().mean().backward()
            optimizer.step()
    _assert_same_bits(model.linear, linear)


def _train_with_the_default_wrapper(rank: int, world_size: int, work_dir: str) -> Any:
    dataset = [(torch.tensor([i / 10]), torch.tensor([1 - i / 20])) for i in range(16)]
    torch.manual_seed(1)
    runner = Runner(
        model=ToyModel(),
        work_dir=work_dir,
        train_dataloader=dict(
            dataset=dataset,
            batch_size=2,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn='default_collate',
        ),
        train_cfg=dict(by_epoch=True, max_epochs=3),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        launcher='pytorch',
    )
    assert type(runner.model) is MMDistributedDataParallel
    linear = copy.deepcopy(runner.model.module.linear)
    runner.train()
    _plain_loop(linear, list(runner.train_dataloader), 3, torch.mean)
    _assert_same_bits(runner.model.module.linear, linear)
    return [param.detach() for param in linear.parameters()]


@pytest.mark.distributed
def test_a_launcher_alone_makes_the_training_distributed(tmp_path):
    first, second = run_distributed(_train_with_the_default_wrapper, 2, str(tmp_path), backend=None)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
