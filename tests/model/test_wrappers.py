"""Wrappers with real processes: what several ranks do equals what one does on all the data."""

import copy
import warnings

import pytest
import torch
import torch.distributed as dist
from torch import nn

from mmengine._checkpoint.state_dict import get_state_dict
from mmengine.model import (
    BaseModel,
    BaseModule,
    MMDistributedDataParallel,
    MMSeparateDistributedDataParallel,
    is_model_wrapper,
)
from mmengine.model._build import convert_model_sync_bn, init_model_weights, wrap_model
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.testing._internal.distributed import run_distributed

pytestmark = pytest.mark.distributed

STEPS = 4


class Regression(BaseModel):
    def __init__(self, width=4):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 1)).double()

    def forward(self, inputs, target=None, mode='tensor'):
        prediction = self.net(inputs)
        if mode == 'loss':
            return dict(loss=(prediction - target).pow(2))
        return list(prediction) if mode == 'predict' else prediction


class Gan(BaseModel):
    """Two parts, each with its own loss and optimizer, and a frozen one."""

    def __init__(self):
        super().__init__()
        self.generator = nn.Linear(2, 2).double()
        self.discriminator = nn.Linear(2, 1).double()
        self.judge = nn.Linear(2, 1).double().requires_grad_(False)

    def forward(self, inputs, mode='tensor'):
        return self.discriminator(self.generator(inputs))

    def train_step(self, data, optim_wrapper):
        data = self.data_preprocessor(data, True)
        logs = {}
        wrapper = optim_wrapper['discriminator']
        with wrapper.optim_context(self.discriminator):
            loss, log = self.parse_losses(
                dict(loss_d=self.discriminator(self.generator(data['inputs']).detach()).pow(2))
            )
        wrapper.update_params(loss)
        logs.update(log)
        wrapper = optim_wrapper['generator']
        with wrapper.optim_context(self.generator):
            fake = self.generator(data['inputs'])
            loss, log = self.parse_losses(dict(loss_g=-self.discriminator(fake) + self.judge(fake)))
        wrapper.update_params(loss)
        logs.update(log)
        return logs


def all_batches(rows=4, columns=3):
    generator = torch.Generator().manual_seed(3)
    return [
        dict(
            inputs=torch.randn(rows, columns, generator=generator, dtype=torch.float64),
            target=torch.randn(rows, 1, generator=generator, dtype=torch.float64),
        )
        for _ in range(STEPS)
    ]


def share(batch, rank, world_size):
    return {key: value[rank::world_size] for key, value in batch.items()}


def seeded(make, seed=0):
    torch.manual_seed(seed)
    return make()


def sgd(module):
    return OptimWrapper(torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9))


def gan_wrappers(model):
    return OptimWrapperDict(generator=sgd(model.generator), discriminator=sgd(model.discriminator))


def numbers(model):
    return {name: value.tolist() for name, value in get_state_dict(model).items()}


def assert_same_weights(ours, expected):
    assert ours.keys() == expected.keys()
    for name, value in ours.items():
        torch.testing.assert_close(
            torch.tensor(value), torch.tensor(expected[name]), rtol=1e-12, atol=1e-12
        )


# -- MMDistributedDataParallel --------------------------------------------------------------------


def train_ddp(rank, world_size):
    # Ranks start apart: DDP has to bring them together.
    model = wrap_model(seeded(Regression, seed=rank))
    assert type(model) is MMDistributedDataParallel
    wrapper = sgd(model)
    for batch in all_batches():
        model.train_step(share(batch, rank, world_size), wrapper)
    prediction = model.val_step(share(all_batches()[0], rank, world_size))
    assert len(prediction) == len(model.test_step(share(all_batches()[0], rank, world_size))) == 2
    return numbers(model)


def test_two_ranks_equal_one_on_the_joined_batch():
    model = seeded(Regression)
    wrapper = sgd(model)
    for batch in all_batches():
        model.train_step(batch, wrapper)
    for of_rank in run_distributed(train_ddp, 2):
        assert_same_weights(of_rank, numbers(model))


def accumulate_ddp(rank, world_size):
    model = wrap_model(seeded(Regression))
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), accumulative_counts=2)
    wrapper.initialize_count_status(model, 0, STEPS)
    reduced = []
    model.register_comm_hook(None, lambda state, bucket: _counted_allreduce(bucket, reduced))
    for batch in all_batches():
        model.train_step(share(batch, rank, world_size), wrapper)
    return numbers(model), len(reduced)


def _counted_allreduce(bucket, reduced):
    reduced.append(1)
    tensor = bucket.buffer() / dist.get_world_size()
    return (
        dist.all_reduce(tensor, async_op=True).get_future().then(lambda future: future.value()[0])
    )


def test_gradients_are_communicated_once_a_window():
    model = seeded(Regression)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), accumulative_counts=2)
    wrapper.initialize_count_status(model, 0, STEPS)
    for batch in all_batches():
        model.train_step(batch, wrapper)
    for weights, reductions in run_distributed(accumulate_ddp, 2):
        assert_same_weights(weights, numbers(model))
        assert reductions == STEPS // 2


def misfit_ddp(rank, world_size):
    class NoMode(Regression):
        def forward(self, inputs):
            return inputs

    model = wrap_model(NoMode())
    try:
        model.train_step(dict(inputs=torch.ones(1, 3, dtype=torch.float64)), sgd(model))
    except TypeError as error:
        return str(error)


def test_a_forward_without_mode_is_told_by_the_wrapper_too():
    for message in run_distributed(misfit_ddp, 2):
        assert 'NoMode.forward(inputs) has no parameter `mode`' in message


def anomalous_ddp(rank, world_size):
    from mmengine.logging import MMLogger

    class Idle(Regression):
        def __init__(self):
            super().__init__()
            self.idle = nn.Linear(1, 1)

    records = []
    MMLogger.get_current_instance().handle = records.append
    model = wrap_model(
        Idle(),
        dict(type='MMDistributedDataParallel', detect_anomalous_params=True),
        find_unused_parameters=True,
    )
    model.train_step(share(all_batches()[0], rank, world_size), sgd(model))
    return [record.getMessage() for record in records if record.levelname == 'ERROR']


def test_idle_parameters_are_named_on_demand():
    for messages in run_distributed(anomalous_ddp, 2):
        assert [message.split('parameter ')[1].split(' of')[0] for message in messages] == [
            'module.idle.weight',
            'module.idle.bias',
        ]


# -- MMSeparateDistributedDataParallel ------------------------------------------------------------


def train_gan(rank, world_size):
    model = wrap_model(seeded(Gan, seed=rank), 'MMSeparateDistributedDataParallel')
    # A frozen part is not wrapped, so nothing brings it together.
    model.module.judge.load_state_dict(seeded(Gan).judge.state_dict())
    wrappers = gan_wrappers(model)
    for batch in all_batches(columns=2):
        logs = model.train_step(share(batch, rank, world_size), wrappers)
    kinds = {name: is_model_wrapper(child) for name, child in model.module.named_children()}
    return numbers(model), kinds, list(logs)


def test_each_part_is_averaged_apart_and_equals_one_process():
    model = seeded(Gan)
    wrappers = gan_wrappers(model)
    for batch in all_batches(columns=2):
        model.train_step(batch, wrappers)
    for weights, kinds, logs in run_distributed(train_gan, 2):
        assert_same_weights(weights, numbers(model))
        assert kinds == {
            'data_preprocessor': False,
            'generator': True,
            'discriminator': True,
            'judge': False,
        }
        assert logs == ['loss', 'loss_d', 'loss_g']


class TwiceModel(Regression):
    """Optimises twice with the same batch: with augmentation and without."""

    def __init__(self):
        super().__init__()
        self.data_preprocessor = Doubling()

    def forward(self, data, mode='tensor'):
        return super().forward(data['inputs'], data['target'], mode)

    def train_step(self, data, optim_wrapper):
        return optimise_twice(self, data, optim_wrapper)


class Doubling(nn.Module):
    def forward(self, data, training=False):
        return dict(data, inputs=data['inputs'] * 2) if training else data


class TwiceWrapper(MMSeparateDistributedDataParallel):
    def train_step(self, data, optim_wrapper):
        return optimise_twice(self, data, optim_wrapper)


def optimise_twice(self, data, optim_wrapper):
    for training in (True, False):
        batch = self.data_preprocessor(data, training=training)
        loss, log_vars = self.parse_losses(self(batch, mode='loss'))
        optim_wrapper.update_params(loss)
    return log_vars


def train_twice(rank, world_size):
    model = wrap_model(seeded(TwiceModel, seed=rank), dict(type=TwiceWrapper))
    wrapper = sgd(model)
    for batch in all_batches():
        model.train_step(share(batch, rank, world_size), wrapper)
    return numbers(model)


def test_a_wrapper_can_train_in_the_words_of_its_model():
    model = seeded(TwiceModel)
    wrapper = sgd(model)
    for batch in all_batches():
        model.train_step(batch, wrapper)
    for of_rank in run_distributed(train_twice, 2):
        assert_same_weights(of_rank, numbers(model))


def without_sync(rank, world_size):
    model = wrap_model(seeded(Gan), 'MMSeparateDistributedDataParallel')
    inputs = torch.full((1, 2), float(rank + 1), dtype=torch.float64)
    gradients = []
    for context in (model.no_sync, None):
        model.zero_grad()
        if context is None:
            model(inputs).sum().backward()
        else:
            with context():
                model(inputs).sum().backward()
        gradients.append(model.module.generator.module.weight.grad.tolist())
    return gradients


def test_no_sync_keeps_the_gradients_of_every_part_to_the_rank():
    (apart_0, joined_0), (apart_1, joined_1) = run_distributed(without_sync, 2)
    assert apart_0 != apart_1
    assert joined_0 == joined_1
    # The gradient grows with the input, 1 on rank 0 and 2 on rank 1.
    torch.testing.assert_close(
        (torch.tensor(apart_0) + torch.tensor(apart_1)) / 2, torch.tensor(joined_0)
    )


def modes_and_attributes(rank, world_size):
    model = wrap_model(Gan(), 'MMSeparateDistributedDataParallel')
    model.eval()
    evaluating = [module.training for module in model.modules()]
    model.train()
    training = [module.training for module in model.modules()]
    try:
        model.nothing_of_the_kind
    except AttributeError as error:
        missing = str(error)
    twin = copy.copy(model)
    return any(evaluating), all(training), missing, twin.module is model.module


def test_modes_reach_every_part_and_unknown_attributes_are_the_models():
    for evaluating, training, missing, twin in run_distributed(modes_and_attributes, 2):
        assert not evaluating
        assert training
        assert "'Gan' object has no attribute 'nothing_of_the_kind'" in missing
        assert twin


def own_parameter(rank, world_size):
    from mmengine.logging import MMLogger

    class Scaled(Gan):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))
            self.alias = self.generator

    records = []
    MMLogger.get_current_instance().handle = records.append
    model = wrap_model(Scaled(), 'MMSeparateDistributedDataParallel')
    return [record.getMessage() for record in records], model.module.alias is model.module.generator


def test_parameters_outside_of_the_parts_are_warned_about_and_aliases_stay_one():
    for messages, is_one in run_distributed(own_parameter, 2):
        assert any("['scale']" in message for message in messages)
        assert is_one


# -- build ----------------------------------------------------------------------------------------


def initialise(rank, world_size):
    torch.manual_seed(rank)

    class Drawn(Regression):
        def init_weights(self):
            nn.init.normal_(self.net[0].weight)

    model = Drawn()
    init_model_weights(model)
    return numbers(model)


def test_every_rank_starts_with_the_weights_of_rank_0():
    first, second = run_distributed(initialise, 2)
    assert first == second


def synchronise(rank, world_size):
    left = convert_model_sync_bn(nn.Sequential(nn.BatchNorm1d(1)), None)
    shared = convert_model_sync_bn(nn.Sequential(nn.BatchNorm1d(1)), 'torch')
    return type(left[0]).__name__, type(shared[0]).__name__


def test_batch_norm_is_synchronised_on_demand():
    assert run_distributed(synchronise, 2) == [('BatchNorm1d', 'SyncBatchNorm')] * 2


def _warnings_of_wrapping(rank: int, world_size: int) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        MMDistributedDataParallel(nn.Linear(1, 1), broadcast_buffers=False)
    return [str(warning.message) for warning in caught]


@pytest.mark.distributed
def test_wrapping_a_model_without_buffer_broadcasts_warns_of_nothing():
    assert run_distributed(_warnings_of_wrapping, 2) == [[], []]


class Part(BaseModule):
    def __init__(self):
        super().__init__({'type': 'Constant', 'layer': 'Linear', 'val': 3.0})
        self.linear = nn.Linear(1, 1)


class OfParts(BaseModel):
    def __init__(self):
        super().__init__()
        self.generator, self.discriminator = Part(), Part()

    def forward(self):
        pass


def init_inside_wrappers(rank, world_size):
    by_hand = MMSeparateDistributedDataParallel(OfParts())
    by_hand.module.init_weights()
    by_builder = MMSeparateDistributedDataParallel(OfParts())
    init_model_weights(by_builder)
    return [[p.flatten().tolist() for p in model.parameters()] for model in (by_hand, by_builder)]


def test_initial_weights_reach_parts_inside_their_wrappers():
    # weight 3 and bias 0 of both parts, on each rank
    for models in run_distributed(init_inside_wrappers, 2):
        assert models == [[[3.0], [0.0]] * 2] * 2


def _own_run_forward(rank: int, world_size: int) -> None:
    called = []

    class Own(MMDistributedDataParallel):
        def _run_forward(self, data, mode):
            called.append(mode)
            return super()._run_forward(data, mode)

    torch.manual_seed(0)
    plain, own = Regression(), Regression()
    own.load_state_dict(plain.state_dict())
    data = all_batches()[rank]
    for model, kind in ((plain, MMDistributedDataParallel), (own, Own)):
        wrapped = kind(model)
        wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), accumulative_counts=2)
        for _ in range(2):
            wrapped.train_step(data, wrapper)
        assert type(model) is Regression
        assert '_run_forward' not in vars(model)
    assert called == ['loss', 'loss']
    for ours, theirs in zip(own.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_an_overridden_run_forward_of_the_wrapper_is_called_in_training() -> None:
    run_distributed(_own_run_forward, 2)
