"""The toy regression example: it runs, and has the bits of a plain loop."""

import copy

import torch
from torch.utils.data import DataLoader

from examples.toy_regression import build_runner, points


def test_two_batches_train_validate_and_leave_a_checkpoint(tmp_path):
    runner = build_runner(str(tmp_path), num_samples=4, max_epochs=1)
    runner.train()
    assert (runner.epoch, runner.iter) == (1, 2)
    assert runner.message_hub.get_scalar('val/mae').current() > 0
    assert {'epoch_1.pth', 'best_mae_epoch_1.pth'} <= {file.name for file in tmp_path.iterdir()}


def test_parameters_equal_a_plain_loop_bit_for_bit(tmp_path):
    runner = build_runner(str(tmp_path), num_samples=20, max_epochs=5)
    linear = copy.deepcopy(runner.model.linear)
    runner.train()

    optimizer = torch.optim.SGD(linear.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[4])
    for _ in range(5):
        for x, y in DataLoader(points(20, seed=1), batch_size=2):
            error = linear(x) - y
            loss = error.pow(2).mean() + error.abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()

    assert torch.equal(runner.model.linear.weight, linear.weight)
    assert torch.equal(runner.model.linear.bias, linear.bias)


def test_the_whole_example_finds_the_line(tmp_path):
    runner = build_runner(str(tmp_path))
    runner.train()
    # 200 points with noise 0.1, x in [-1, 1]: the slope's error is 0.1 / sqrt(200 / 3) = 0.012.
    assert abs(runner.model.linear.weight.item() - 3) < 0.1
    assert abs(runner.model.linear.bias.item() + 1) < 0.1
