"""BaseModel against plain torch, and what it says to a model that does not fit."""

import copy
from collections import namedtuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS
from mmengine.utils.errors import ArgumentError


class Regression(BaseModel):
    """Two losses, one of them not reduced, and a value that is only logged."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))

    def forward(self, inputs, target=None, mode='tensor'):
        prediction = self.net(inputs)
        if mode == 'loss':
            error = prediction - target
            return dict(loss_l2=error.pow(2), l1_loss=error.abs().mean(), bias=error.detach())
        if mode == 'predict':
            return list(prediction)
        return prediction


def batches(count=5):
    generator = torch.Generator().manual_seed(1)
    return [
        dict(
            inputs=torch.randn(4, 3, generator=generator),
            target=torch.randn(4, 1, generator=generator),
        )
        for _ in range(count)
    ]


def test_training_steps_equal_a_hand_written_loop_bit_for_bit():
    torch.manual_seed(0)
    model = Regression()
    net = copy.deepcopy(model.net)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for batch in batches():
        log_vars = model.train_step(batch, wrapper)

        error = net(batch['inputs']) - batch['target']
        loss = error.pow(2).mean() + error.abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert torch.equal(log_vars['loss'], loss)
    for ours, by_hand in zip(model.net.parameters(), net.parameters(), strict=True):
        assert torch.equal(ours, by_hand)


def test_a_batch_given_as_a_tuple_is_passed_by_position():
    model = Regression()
    inputs, target = torch.ones(2, 3), torch.zeros(2, 1)
    losses = model._run_forward((inputs, target), mode='loss')
    assert torch.equal(losses['loss_l2'], model.net(inputs).pow(2))


def test_a_batch_given_as_a_list_is_passed_by_position():
    model = Regression()
    assert torch.equal(
        model._run_forward([torch.ones(2, 3)], mode='tensor'), model.net(torch.ones(2, 3))
    )


@pytest.mark.parametrize('step', ['val_step', 'test_step'])
def test_evaluation_steps_return_the_predictions(step):
    model = Regression()
    batch = batches(1)[0]
    predictions = getattr(model, step)(batch)
    assert torch.equal(torch.stack(predictions), model.net(batch['inputs']))


def test_train_step_tells_the_preprocessor_that_it_trains():
    seen = []

    class Recorder(BaseDataPreprocessor):
        def forward(self, data, training=False):
            seen.append(training)
            return super().forward(data, training)

    model = Regression(data_preprocessor=Recorder())
    batch = batches(1)[0]
    model.train_step(batch, OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1)))
    model.val_step(batch)
    model.test_step(batch)
    assert seen == [True, False, False]


def test_forward_runs_inside_the_context_of_the_optim_wrapper_and_the_update_after_it():
    order = []

    class Context:
        def __enter__(self):
            order.append('enter')

        def __exit__(self, *error):
            order.append('exit')

    class Wrapper:
        def optim_context(self, model):
            order.append(type(model).__name__)
            return Context()

        def update_params(self, loss):
            order.append('update')

    class Net(BaseModel):
        def forward(self, mode):
            order.append(mode)
            return dict(loss=torch.tensor(1.0))

    Net().train_step({}, Wrapper())
    assert order == ['Net', 'enter', 'loss', 'exit', 'update']


# -- parse_losses ---------------------------------------------------------------------------------


def test_entries_with_loss_in_their_key_add_up_and_the_total_is_logged_first():
    total, log_vars = Regression().parse_losses(
        dict(
            a_loss=torch.tensor([1.0, 3.0]),
            acc=torch.tensor([1.0, 2.0]),
            loss_b=[torch.ones(3), torch.tensor(2.0)],
        )
    )
    # mean(1, 3) + (mean(1, 1, 1) + 2) = 2 + 3
    assert total.item() == 5.0
    assert list(log_vars) == ['loss', 'a_loss', 'acc', 'loss_b']
    assert {name: value.item() for name, value in log_vars.items()} == {
        'loss': 5.0,
        'a_loss': 2.0,
        'acc': 1.5,
        'loss_b': 3.0,
    }


def test_a_single_scalar_loss_is_handed_on_as_the_very_same_tensor():
    loss = torch.tensor(0.3, requires_grad=True)
    total, log_vars = Regression().parse_losses(dict(loss=loss))
    assert total is loss
    assert log_vars == {'loss': loss}


def test_an_entry_named_loss_keeps_its_own_value_in_the_log():
    total, log_vars = Regression().parse_losses(
        dict(loss=torch.tensor(3.0), loss_aux=torch.tensor(5.0))
    )
    assert total.item() == 8.0
    assert log_vars['loss'].item() == 3.0


def test_what_is_logged_are_tensors_not_numbers():
    _, log_vars = Regression().parse_losses(dict(loss_a=torch.ones(2), loss_b=torch.ones(())))
    assert all(isinstance(value, torch.Tensor) and value.dim() == 0 for value in log_vars.values())


def test_without_a_loss_the_total_is_zero_and_the_rest_is_logged():
    total, log_vars = Regression().parse_losses(dict(acc=torch.tensor(3.0)))
    assert total == 0
    assert list(log_vars) == ['loss', 'acc']


def test_training_without_any_loss_is_refused_with_the_keys_there_are():
    class Net(BaseModel):
        def forward(self, mode):
            return dict(acc=torch.tensor(1.0), cost=torch.tensor(1.0))

    with pytest.raises(ArgumentError, match=r"Net.*'acc', 'cost'"):
        Net().train_step({}, OptimWrapper(torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)))


@pytest.mark.parametrize(
    ('losses', 'message'),
    [
        (dict(loss=0.5), r"'loss'.*float"),
        (dict(loss_cls=torch.ones(1), acc='high'), r"'acc'.*str"),
        (dict(loss=[torch.ones(1), 2.0]), r"'loss'.*element 1.*float"),
        (torch.ones(1), r'dict of losses.*Tensor'),
    ],
    ids=['number', 'text', 'number-in-list', 'no-dict'],
)
def test_a_loss_that_is_no_tensor_is_named(losses, message):
    with pytest.raises(TypeError, match=message):
        Regression().parse_losses(losses)


# -- a forward that does not fit ------------------------------------------------------------------


def test_a_forward_without_mode_is_told_what_mode_is_for():
    class Net(BaseModel):
        def forward(self, inputs):
            return inputs

    with pytest.raises(
        TypeError, match=r"Net\.forward\(inputs\) has no parameter `mode`.*'loss'.*'predict'"
    ):
        Net().val_step(dict(inputs=torch.ones(1)))


def test_a_batch_with_a_key_that_forward_does_not_know_is_told_apart():
    with pytest.raises(
        TypeError, match=r"keys \['img', 'target'\].*missing a required argument: 'inputs'"
    ):
        Regression().val_step(dict(img=torch.ones(1), target=torch.ones(1)))


def test_a_batch_that_holds_the_key_mode_is_told_to_rename_it():
    with pytest.raises(TypeError, match="the key 'mode'"):
        Regression().val_step(dict(inputs=torch.ones(2, 3), mode=1))


def test_a_type_error_from_inside_forward_is_left_as_it_is():
    class Net(BaseModel):
        def forward(self, inputs, mode='tensor'):
            return inputs + None

    with pytest.raises(TypeError, match='unsupported operand'):
        Net().val_step(dict(inputs=torch.ones(1)))


def test_a_preprocessor_that_returns_a_bare_tensor_is_refused():
    with pytest.raises(TypeError, match=r'BaseDataPreprocessor must return a dict.*got Tensor'):
        Regression().val_step(torch.ones(2, 3))


# -- data_preprocessor ----------------------------------------------------------------------------


def test_the_preprocessor_may_be_a_module_a_config_or_left_out():
    module = nn.Identity()
    assert Regression(data_preprocessor=module).data_preprocessor is module
    assert type(Regression().data_preprocessor) is BaseDataPreprocessor
    built = Regression(
        data_preprocessor=dict(type='ImgDataPreprocessor', mean=[1], std=[2])
    ).data_preprocessor
    assert built.mean.flatten().tolist() == [1.0]


def test_a_preprocessor_of_another_kind_is_refused():
    with pytest.raises(TypeError, match=r'data_preprocessor.*got str'):
        Regression(data_preprocessor='ImgDataPreprocessor')


def test_the_preprocessor_follows_every_move_of_the_model():
    parent = nn.ModuleDict({'model': Regression()})
    preprocessor = parent['model'].data_preprocessor
    parent.to('meta')
    assert preprocessor.device == torch.device('meta')
    parent['model'].to_empty(device='cpu')
    assert preprocessor.device == torch.device('cpu')
    parent['model'].half()
    assert preprocessor.device == torch.device('cpu')


def test_init_cfg_initialises_the_model():
    model = Regression(init_cfg=dict(type='Constant', val=2, bias=3, layer='Linear'))
    model.init_weights()
    assert all(
        set(p.flatten().tolist()) == {2.0 if p.dim() == 2 else 3.0} for p in model.parameters()
    )


def test_a_model_is_built_from_its_config():
    MODELS.register_module(name='RegressionForTest', module=Regression, force=True)
    try:
        assert isinstance(MODELS.build(dict(type='RegressionForTest')), Regression)
    finally:
        MODELS._module_dict.pop('RegressionForTest')


def test_forward_has_to_be_implemented():
    with pytest.raises(TypeError, match='abstract'):
        BaseModel()


def test_a_named_tuple_batch_is_passed_by_position():
    pair = namedtuple('pair', 'inputs target')(torch.ones(2, 3), torch.zeros(2, 1))
    model = Regression()
    assert F.mse_loss(model.net(pair.inputs), pair.target).isfinite()
    assert len(model.val_step(pair)) == 2


class _LogsParameters(BaseModel):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, inputs, mode='loss'):
        return dict(loss=(inputs * self.scale).sum(), scale=self.scale.detach())


def test_parse_losses_copies_live_values_within_one_compiled_graph():
    model = _LogsParameters()
    step = torch.compile(
        lambda inputs: model.parse_losses(model(inputs)), fullgraph=True, backend='eager'
    )
    loss, log_vars = step(torch.ones(2))
    with torch.no_grad():
        model.scale.fill_(5.0)
    assert loss.item() == 2
    assert {name: value.item() for name, value in log_vars.items()} == dict(loss=2, scale=1)
