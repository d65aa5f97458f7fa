"""Optimise twice on every batch: once on an augmented view of it, once on the plain one.

    python examples/two_views.py [--work-dir work_dirs/two_views]
    torchrun --nproc-per-node 2 examples/two_views.py --launcher pytorch

The usual ``train_step`` makes one update, so the model has a ``train_step`` of its own. On several
processes the wrapper around the model calls the same one.
"""

import argparse
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import default_collate

from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

SIZE = 8


def stripes(count: int, seed: int) -> list[dict[str, Tensor]]:
    """Noisy images of one bright row (label 0) or column (label 1)."""
    generator = torch.Generator().manual_seed(seed)
    samples = []
    for index in range(count):
        image = 0.6 * torch.randn(1, SIZE, SIZE, generator=generator)
        place = int(torch.randint(SIZE, (), generator=generator))
        label = index % 2
        image.select(1 + label, place).add_(1.0)
        samples.append({'inputs': image, 'labels': torch.tensor(label)})
    return samples


class RandomShift(BaseDataPreprocessor):
    """Rolls the images of a training batch by a random number of pixels, all by the same."""

    def forward(self, data: Any, training: bool = False) -> Any:
        """The batch on the model's device; augmented only when ``training``."""
        batch = self.cast_data(data)
        if not training:
            return batch
        shift = torch.randint(SIZE, (2,)).tolist()
        return {**batch, 'inputs': batch['inputs'].roll(shift, dims=(2, 3))}


class StripeClassifier(BaseModel):
    """A small convolutional network that tells rows from columns."""

    def __init__(self) -> None:
        super().__init__(data_preprocessor=RandomShift())
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(8 * SIZE * SIZE, 2)

    def forward(self, inputs: Tensor, labels: Tensor, mode: str = 'tensor') -> Any:  # type: ignore[override]  # takes a batch of its own form
        """The loss, the predicted labels, or the scores."""
        scores_B2 = self.head(self.features(inputs))
        if mode == 'loss':
            return {'loss': F.cross_entropy(scores_B2, labels)}
        return list(scores_B2.argmax(dim=1)) if mode == 'predict' else scores_B2

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Two updates; on several processes each averages its gradients over all of them."""
        log_vars = {}
        for name, augment in (('loss_augmented', True), ('loss_plain', False)):
            view = self.data_preprocessor(data, training=augment)
            with optim_wrapper.optim_context(self):
                losses = self(**view, mode='loss')
            loss, _ = self.parse_losses(losses)
            optim_wrapper.update_params(loss)
            log_vars[name] = loss
        return log_vars


def build_runner(
    work_dir: str, num_samples: int = 512, max_epochs: int = 4, launcher: str = 'none'
) -> Runner:
    """The run, ready for ``train()``."""
    return Runner(
        model=dict(type=StripeClassifier),
        work_dir=work_dir,
        train_dataloader=dict(
            dataset=stripes(num_samples, seed=1),
            batch_size=16,
            shuffle=True,
            collate_fn='default_collate',
        ),
        train_cfg=dict(by_epoch=True, max_epochs=max_epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
        randomness=dict(seed=0, diff_rank_seed=True),
        launcher=launcher,
    )


def main() -> None:
    """Train, and show how well rows and columns are told apart."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--work-dir', default='work_dirs/two_views')
    parser.add_argument('--launcher', default='none')
    args = parser.parse_args()
    runner = build_runner(args.work_dir, launcher=args.launcher)
    runner.train()
    unseen = default_collate(stripes(200, seed=2))
    with torch.no_grad():
        predicted = torch.stack(runner.model.test_step(unseen))
    if runner.rank == 0:
        accuracy = (predicted == unseen['labels']).float().mean()
        print(f'right about {accuracy:.1%} of unseen images')


if __name__ == '__main__':
    main()
