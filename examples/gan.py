"""Train a GAN on 2-D points: two networks, two optimizers, and a train step of one's own.

    python examples/gan.py [--work-dir work_dirs/gan]
    torchrun --nproc-per-node 2 examples/gan.py --launcher pytorch

The real points lie around a circle. `optim_wrapper` gives each sub-module an optimizer, and
`model_wrapper_cfg` a distributed wrapper of its own when there are several processes.
"""

import argparse
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner

Batch = dict[str, Tensor]
NOISE_SIZE, RADIUS = 8, 2.0


def real_points(count: int = 4096, seed: int = 1) -> list[Batch]:
    """Samples of the distribution to imitate, under the key ``inputs``."""
    generator = torch.Generator().manual_seed(seed)
    angle = torch.rand(count, generator=generator) * 2 * torch.pi
    circle = RADIUS * torch.stack([angle.cos(), angle.sin()], dim=1)
    return [{'inputs': p} for p in circle + 0.05 * torch.randn(count, 2, generator=generator)]


def mlp(*widths: int) -> nn.Module:
    """Linear layers with a leaky ReLU behind each but the last."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


class GAN(BaseModel):
    """A generator and a discriminator that are trained in turn on every batch."""

    def __init__(self, noise_size: int = NOISE_SIZE) -> None:
        super().__init__()
        self.noise_size = noise_size
        self.generator = mlp(noise_size, 64, 64, 2)
        self.discriminator = mlp(2, 64, 64, 1)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        """Points for a batch of noise."""
        return self.generator(inputs)

    def train_step(self, data: Any, optim_wrapper: OptimWrapperDict) -> dict[str, Tensor]:  # type: ignore[override]  # several optimizers
        """One update of each network; what is returned gets logged."""
        inputs = self.data_preprocessor(data, True)
        log_vars = self.train_discriminator(inputs, optim_wrapper['discriminator'])
        # Its parameters rest while the generator learns: they want no gradients from there.
        self.discriminator.requires_grad_(False)
        log_vars |= self.train_generator(inputs, optim_wrapper['generator'])
        self.discriminator.requires_grad_(True)
        return log_vars

    def train_discriminator(self, inputs: Batch, optimizer_wrapper: OptimWrapper) -> Batch:
        """Learn to tell real points from made ones."""
        real_imgs = inputs['inputs']
        z = torch.randn(real_imgs.shape[0], self.noise_size).type_as(real_imgs)
        with torch.no_grad():
            fake_imgs = self.generator(z)
        with optimizer_wrapper.optim_context(self.discriminator):
            disc_pred_fake = self.discriminator(fake_imgs)
            disc_pred_real = self.discriminator(real_imgs)
            parsed_losses, log_vars = self.disc_loss(disc_pred_fake, disc_pred_real)
        optimizer_wrapper.update_params(parsed_losses)
        return log_vars

    def train_generator(self, inputs: Batch, optimizer_wrapper: OptimWrapper) -> Batch:
        """Learn to make points that the discriminator takes for real."""
        real_imgs = inputs['inputs']
        z = torch.randn(real_imgs.shape[0], self.noise_size).type_as(real_imgs)
        with optimizer_wrapper.optim_context(self.generator):
            fake_imgs = self.generator(z)
            disc_pred_fake = self.discriminator(fake_imgs)
            parsed_loss, log_vars = self.gen_loss(disc_pred_fake)
        optimizer_wrapper.update_params(parsed_loss)
        return log_vars

    def disc_loss(self, fake: Tensor, real: Tensor) -> tuple[Tensor, Batch]:
        """The loss to minimise, and what to log; ``fake`` and ``real`` are logits."""
        loss_fake = F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
        loss_real = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
        return loss_fake + loss_real, {'loss_disc_fake': loss_fake, 'loss_disc_real': loss_real}

    def gen_loss(self, fake: Tensor) -> tuple[Tensor, Batch]:
        """The same for the generator."""
        loss = F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))
        return loss, {'loss_gen': loss}


def build_runner(work_dir: str, max_iters: int = 1500, launcher: str = 'none') -> Runner:
    """The run, ready for ``train()``."""
    adam = dict(type='Adam', lr=1e-3, betas=(0.5, 0.9))
    return Runner(
        model=dict(type=GAN),
        work_dir=work_dir,
        train_dataloader=dict(
            dataset=real_points(),
            batch_size=64,
            sampler=dict(type='InfiniteSampler', shuffle=True),
            collate_fn='default_collate',
        ),
        train_cfg=dict(by_epoch=False, max_iters=max_iters),
        # By the names of the sub-modules whose parameters they update.
        optim_wrapper=dict(generator=dict(optimizer=adam), discriminator=dict(optimizer=adam)),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=200),
            checkpoint=dict(type='CheckpointHook', by_epoch=False),
        ),
        log_processor=dict(by_epoch=False),
        randomness=dict(seed=0, diff_rank_seed=True),
        launcher=launcher,
        cfg=dict(model_wrapper_cfg='MMSeparateDistributedDataParallel'),
    )


def main() -> None:
    """Train, and compare made points with real ones."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--work-dir', default='work_dirs/gan')
    parser.add_argument('--launcher', default='none')
    args = parser.parse_args()
    torch.set_num_threads(1)  # Threads would only get in each other's way in networks this small.
    runner = build_runner(args.work_dir, launcher=args.launcher)
    runner.train()
    with torch.no_grad():
        made = runner.model.generator(torch.randn(2000, NOISE_SIZE)).norm(dim=1)
    if runner.rank == 0:
        print(
            f'radius of made points: {made.mean():.2f} +- {made.std():.2f}, real ones: {RADIUS:.2f}'
        )


if __name__ == '__main__':
    main()
