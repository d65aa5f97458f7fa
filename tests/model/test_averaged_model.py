"""Averaged models against closed forms and torch's AveragedModel."""

import copy
import io

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn

from mmengine.model import (
    BaseAveragedModel,
    ExponentialMovingAverage,
    MomentumAnnealingEMA,
    StochasticWeightAverage,
)
from mmengine.model._tensor_pairs import ModelPairing
from mmengine.registry import MODELS
from mmengine.utils.errors import ArgumentError


def valued(value):
    """A model whose weight, running mean and counter all are ``value``."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    with torch.no_grad():
        model[0].weight.fill_(value)
        model[1].running_mean.fill_(value)
        model[1].num_batches_tracked.fill_(int(value))
    return model


def follow(average, values):
    """The weight after each update, the model taking on ``values`` in turn."""
    model, weights = valued(0.0), []
    for value in values:
        model.load_state_dict(valued(value).state_dict())
        average.update_parameters(model)
        weights.append(average.module[0].weight.item())
    return weights


def random_walk(model, steps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        with torch.no_grad():
            for tensor in [*model.parameters(), *model.buffers()]:
                if tensor.is_floating_point():
                    tensor.add_(torch.randn(tensor.shape, generator=generator).abs())
                else:
                    tensor.add_(1)
        yield model


def small_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(3, 3).double())


# -- closed forms ---------------------------------------------------------------------------------


def test_the_plain_mean_is_the_mean_of_what_was_seen():
    # 1, (1+2)/2, (1+2+3)/3, ...
    assert follow(StochasticWeightAverage(valued(0.0)), [1, 2, 3, 4]) == pytest.approx(
        [1, 1.5, 2, 2.5]
    )


def test_the_plain_mean_with_an_interval_skips_between():
    # Updates 1, 3 and 5 count: 1, (1+3)/2, (1+3+5)/3.
    assert follow(
        StochasticWeightAverage(valued(0.0), interval=2), [1, 2, 3, 4, 5]
    ) == pytest.approx([1, 1, 2, 2, 3])


def test_the_moving_average_follows_its_recurrence():
    # 1, .9*1+.1*2, .9*1.1+.1*3, .9*1.29+.1*4
    assert follow(
        ExponentialMovingAverage(valued(0.0), momentum=0.1), [1, 2, 3, 4]
    ) == pytest.approx([1, 1.1, 1.29, 1.561])


def test_the_moving_average_with_an_interval_takes_every_third_update():
    average = ExponentialMovingAverage(valued(0.0), momentum=0.1, interval=3)
    # .9*1+.1*4 at the fourth update, .9*1.3+.1*7 at the seventh
    assert follow(average, range(1, 8)) == pytest.approx([1, 1, 1, 1.3, 1.3, 1.3, 1.87])
    assert average.steps.item() == 7


def test_the_annealed_average_starts_fast():
    # shares 10/11 and 10/12: 1 + 10/11, 21/11 + 10/12 * (3 - 21/11)
    average = MomentumAnnealingEMA(valued(0.0), momentum=0.001, gamma=10)
    assert follow(average, [1, 2, 3]) == pytest.approx([1, 21 / 11, 31 / 11])


def test_the_annealed_average_does_not_fall_below_its_momentum():
    # gamma/(gamma+n) = 2/3, 2/4, 2/5 -> 1/2
    average = MomentumAnnealingEMA(valued(0.0), momentum=0.5, gamma=2)
    assert follow(average, [0, 1, 1, 1]) == pytest.approx([0, 2 / 3, 5 / 6, 11 / 12])


# -- torch ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'update_buffers', [False, True], ids=['copied-buffers', 'averaged-buffers']
)
def test_the_moving_average_equals_that_of_torch_bit_for_bit(update_buffers):
    model = small_net()
    ours = ExponentialMovingAverage(model, momentum=1 - 0.99, update_buffers=update_buffers)
    theirs = AveragedModel(
        model, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=update_buffers
    )
    for current in random_walk(model, 6):
        ours.update_parameters(current)
        theirs.update_parameters(current)
    expected = theirs.module.state_dict()
    for name, value in ours.module.state_dict().items():
        if value.is_floating_point():
            assert torch.equal(value, expected[name]), name


def test_the_plain_mean_equals_that_of_torch():
    model = small_net()
    ours, theirs = (
        StochasticWeightAverage(model),
        AveragedModel(model, multi_avg_fn=get_swa_multi_avg_fn()),
    )
    for current in random_walk(model, 6):
        ours.update_parameters(current)
        theirs.update_parameters(current)
    for name, value in ours.module.state_dict().items():
        torch.testing.assert_close(value, theirs.module.state_dict()[name])


def test_counters_are_copied_not_averaged():
    average = ExponentialMovingAverage(valued(0.0), momentum=0.1, update_buffers=True)
    follow(average, [1, 2, 9])
    assert average.module[1].num_batches_tracked.item() == 9


def test_buffers_are_copied_at_every_update_when_they_are_not_averaged():
    average = ExponentialMovingAverage(valued(0.0), momentum=0.1, interval=3)
    follow(average, [1, 2])
    assert average.module[1].running_mean.item() == 2.0


def test_buffers_are_averaged_on_demand():
    average = ExponentialMovingAverage(valued(0.0), momentum=0.1, update_buffers=True)
    follow(average, [1, 2])
    assert average.module[1].running_mean.item() == pytest.approx(1.1)


# -- own average functions ------------------------------------------------------------------------


def test_a_subclass_may_average_tensor_by_tensor():
    class Sum(BaseAveragedModel):
        def avg_func(self, averaged_param, source_param, steps):
            assert steps == self.steps
            averaged_param.add_(source_param)

    assert follow(Sum(valued(0.0)), [1, 2, 3]) == [1, 3, 6]


def test_a_subclass_of_the_moving_average_may_override_its_function():
    class Latest(ExponentialMovingAverage):
        def avg_func(self, averaged_param, source_param, steps):
            averaged_param.copy_(source_param)

    assert follow(Latest(valued(0.0)), [1, 2, 3]) == [1, 2, 3]


def test_the_average_function_of_one_tensor_does_what_an_update_does():
    average = ExponentialMovingAverage(valued(0.0), momentum=0.25)
    tensor = torch.tensor([4.0])
    average.avg_func(tensor, torch.tensor([8.0]), torch.tensor(3))
    assert tensor.item() == 5.0


# -- changes of the model while it is followed ----------------------------------------------------


def test_a_parameter_that_was_exchanged_is_followed():
    model, average = valued(1.0), ExponentialMovingAverage(valued(0.0), momentum=0.5)
    average.update_parameters(model)
    model[0].weight = nn.Parameter(torch.full((1, 1), 3.0))
    average.update_parameters(model)
    assert average.module[0].weight.item() == 2.0


def test_a_module_that_was_exchanged_is_followed():
    model, average = valued(1.0), ExponentialMovingAverage(valued(0.0), momentum=0.5)
    average.update_parameters(model)
    model[0] = valued(5.0)[0]
    average.update_parameters(model)
    assert average.module[0].weight.item() == 3.0


def test_another_model_is_followed():
    average = ExponentialMovingAverage(valued(0.0), momentum=0.5)
    average.update_parameters(valued(1.0))
    average.update_parameters(valued(2.0))
    assert average.module[0].weight.item() == 1.5


def test_data_that_was_exchanged_is_followed():
    model, average = valued(1.0), ExponentialMovingAverage(valued(0.0), momentum=0.5)
    average.update_parameters(model)
    model[0].weight.data = torch.full((1, 1), 3.0)
    average.module[0].weight.data = torch.full((1, 1), 5.0)
    average.update_parameters(model)
    assert average.module[0].weight.item() == 4.0


def test_a_model_that_changed_its_precision_is_followed():
    model, average = valued(1.0), ExponentialMovingAverage(valued(0.0), momentum=0.5)
    average.update_parameters(model)
    model[0].weight.data = torch.full((1, 1), 3.0, dtype=torch.float64)
    average.update_parameters(model)
    assert average.module[0].weight.item() == 2.0
    assert average.module[0].weight.dtype == torch.float32


def test_the_walk_over_the_modules_is_done_once(monkeypatch):
    walks = []
    original = ModelPairing.__init__
    monkeypatch.setattr(
        ModelPairing,
        '__init__',
        lambda self, *a, **k: (walks.append(1), original(self, *a, **k))[1],
    )
    model, average = valued(1.0), ExponentialMovingAverage(valued(0.0))
    for current in random_walk(model, 4):
        average.update_parameters(current)
    assert len(walks) == 1


def test_a_model_of_another_structure_is_refused():
    average = ExponentialMovingAverage(valued(0.0))
    with pytest.raises(ValueError, match='no longer have the same parameters: 3 and 2 tensors'):
        average.update_parameters(nn.Linear(1, 1))


# -- state ----------------------------------------------------------------------------------------


def test_the_state_dict_holds_the_model_and_the_number_of_steps():
    average = ExponentialMovingAverage(valued(0.0))
    follow(average, [1, 2])
    assert [key for key in average.state_dict() if not key.startswith('module.')] == ['steps']
    assert average.state_dict()['steps'].item() == 2


def test_a_loaded_state_goes_on_where_it_was():
    first = ExponentialMovingAverage(valued(0.0), momentum=0.1)
    follow(first, [1, 2])
    second = ExponentialMovingAverage(valued(0.0), momentum=0.1)
    second.load_state_dict(first.state_dict())
    assert follow(second, [3, 4]) == follow(first, [3, 4])


def test_a_copy_in_the_middle_of_training_follows_on_its_own():
    average = ExponentialMovingAverage(valued(0.0), momentum=0.1)
    follow(average, [1, 2])
    stream = io.BytesIO()
    torch.save(average, stream)
    stream.seek(0)
    for twin in (copy.deepcopy(average), torch.load(stream, weights_only=False)):
        assert follow(twin, [3]) == pytest.approx([1.29])
    assert average.module[0].weight.item() == pytest.approx(1.1)


def test_the_copy_needs_no_gradient_and_leaves_the_model_trainable():
    model = valued(1.0)
    average = ExponentialMovingAverage(model)
    assert not any(p.requires_grad for p in average.module.parameters())
    assert all(p.requires_grad for p in model.parameters())


def test_the_counter_stays_in_host_memory_when_the_average_moves():
    average = ExponentialMovingAverage(valued(0.0)).to('meta')
    assert average.module[0].weight.is_meta
    assert average.steps.device.type == 'cpu'


def test_calling_it_calls_the_averaged_model():
    average = ExponentialMovingAverage(nn.Linear(1, 1))
    assert torch.equal(average(torch.ones(1, 1)), average.module(torch.ones(1, 1)))


@pytest.mark.parametrize(
    'name', ['StochasticWeightAverage', 'ExponentialMovingAverage', 'MomentumAnnealingEMA']
)
def test_it_is_built_by_name(name):
    assert type(MODELS.build(dict(type=name, model=valued(1.0)))).__name__ == name


@pytest.mark.parametrize('momentum', [0.0, 1.0, -0.1, 1.5])
def test_a_momentum_outside_of_its_range_is_refused(momentum):
    with pytest.raises(ArgumentError, match=f'momentum.*{momentum}'):
        ExponentialMovingAverage(valued(1.0), momentum=momentum)


def test_a_gamma_of_zero_is_refused():
    with pytest.raises(ArgumentError, match='gamma'):
        MomentumAnnealingEMA(valued(1.0), gamma=0)


def test_an_interval_of_zero_is_refused():
    with pytest.raises(ArgumentError, match='interval'):
        ExponentialMovingAverage(valued(1.0), interval=0)
