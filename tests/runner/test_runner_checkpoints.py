"""What a run saves, and how it goes on from it. Bit-exact resuming is in tests/parity."""

import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runner_toy import NO_TRAINING, Line, Net, parameters, toy_runner

from mmengine.hooks import Hook
from mmengine.process.seed import rng_state
from mmengine.runner import Runner
from mmengine.version import __version__

EVERY_EPOCH = {'checkpoint': {'type': 'CheckpointHook', 'interval': 1}, 'logger': None}


class Remembering(Hook):
    """Counts epochs and keeps some numpy values, as a hook of a user's might."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {'epochs': 0, 'best': np.float64(0), 'seen': np.zeros(2)}

    def after_train_epoch(self, runner: Runner) -> None:
        self.state['epochs'] += 1
        self.state['seen'] = self.state['seen'] + 1

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = {**state, 'seen': state['seen'].numpy()}


class Adding(Hook):
    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        checkpoint['mine'] = {'array': np.arange(3), 'number': np.float32(0.5)}


def _trained(work_dir: Path, **kwargs: Any) -> Runner:
    kwargs = {
        'default_hooks': EVERY_EPOCH,
        'param_scheduler': [{'type': 'ExponentialLR', 'gamma': 0.5, 'end': 9}],
        **kwargs,
    }
    runner = toy_runner(work_dir, **kwargs)
    runner.train()
    return runner


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A work dir with two checkpoints."""
    _trained(tmp_path / 'source')
    return tmp_path / 'source'


def test_a_checkpoint_opens_as_weights_only_with_all_its_parts(tmp_path):
    runner = _trained(
        tmp_path,
        custom_hooks=[Remembering(), Adding(), {'type': 'EMAHook'}],
        cfg={'note': 'text of the config'},
        experiment_name='exp',
    )
    runner.message_hub.update_info('array', np.arange(2))
    runner.save_checkpoint(str(tmp_path), 'a.pth')
    checkpoint = torch.load(tmp_path / 'a.pth', weights_only=True)
    assert set(checkpoint) == {
        'meta', 'state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers', 'message_hub',
        'hooks', 'rng', 'mine',
    }  # fmt: skip
    assert checkpoint['mine']['number'] == 0.5
    assert torch.equal(checkpoint['mine']['array'], torch.arange(3))
    assert checkpoint['hooks']['Remembering'][0]['epochs'] == 2


def test_meta_tells_of_the_run(tmp_path):
    runner = _trained(tmp_path, cfg={'note': 3}, experiment_name='exp')
    meta = torch.load(tmp_path / 'epoch_2.pth', weights_only=True)['meta']
    assert (meta['epoch'], meta['iter'], meta['seed'], meta['world_size']) == (2, 8, 0, 1)
    assert meta['experiment_name'] == runner.experiment_name
    assert meta['mmengine_version'] == __version__
    assert meta['cfg'] == 'note = 3\n'
    assert meta['dataset_meta'] == {'classes': ('line',)}
    assert len(meta['time']) == len('20310506_070809')


def test_meta_can_be_added_to_and_must_be_a_dict(tmp_path):
    runner = toy_runner(tmp_path)
    runner.save_checkpoint(str(tmp_path), 'a.pth', meta={'iter': 5, 'mine': np.int64(1)})
    meta = torch.load(tmp_path / 'a.pth', weights_only=True)['meta']
    assert (meta['iter'], meta['mine'], meta['epoch']) == (5, 1, 0)
    with pytest.raises(TypeError, match='meta is a dict or None, got list'):
        runner.save_checkpoint(str(tmp_path), 'a.pth', meta=[1])


def test_a_save_counts_the_epoch_or_the_iteration_that_ends(tmp_path):
    runner = toy_runner(tmp_path)
    runner.train_loop._epoch, runner.train_loop._iter = 1, 6
    runner.state.stage = 'train'
    for by_epoch, expected in ((True, (2, 6)), (False, (1, 7))):
        runner.save_checkpoint(str(tmp_path), 'a.pth', by_epoch=by_epoch)
        meta = torch.load(tmp_path / 'a.pth', weights_only=True)['meta']
        assert (meta['epoch'], meta['iter']) == expected


def test_parts_can_be_left_out(tmp_path):
    runner = _trained(tmp_path)
    runner.save_checkpoint(
        str(tmp_path), 'a.pth', save_optimizer=False, save_param_scheduler=False,
        backend_args={'backend': 'local'},
    )  # fmt: skip
    checkpoint = torch.load(tmp_path / 'a.pth', weights_only=True)
    assert not {'optimizer', 'param_schedulers'} & set(checkpoint)


def test_a_description_of_the_data_may_hold_anything(tmp_path):
    class Described(Line):
        metainfo = {'palette': np.zeros((1, 3)), 'kind': Path('a/b')}

    _trained(tmp_path, train_dataloader={'dataset': Described(), 'batch_size': 2})
    meta = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)['meta']['dataset_meta']
    assert torch.equal(meta['palette'], torch.zeros(1, 3, dtype=torch.float64))
    assert meta['kind'] == 'a/b'


def test_an_object_in_a_checkpoint_is_kept_and_named(tmp_path, capsys):
    class Careless(Hook):
        def before_save_checkpoint(self, runner, checkpoint):
            checkpoint['object'] = Fraction(1, 2)

    _trained(tmp_path, custom_hooks=[Careless()], log_level='WARNING')
    assert 'The checkpoint contains objects of fractions.Fraction' in capsys.readouterr().out


def test_load_from_takes_the_weights_alone(tmp_path, source):
    runner = toy_runner(tmp_path / 'new', load_from=str(source / 'epoch_2.pth'))
    runner.load_or_resume()
    saved = torch.load(source / 'epoch_2.pth', weights_only=True)
    assert runner.model.linear.weight.item() == saved['state_dict']['linear.weight'].item()
    assert (runner.epoch, runner.iter) == (0, 0)


def test_a_checkpoint_is_loaded_once_before_the_first_stage(tmp_path, source):
    seen = []

    class Seeing(Hook):
        def after_load_checkpoint(self, runner, checkpoint):
            seen.append(sorted(checkpoint)[0])
            checkpoint['state_dict']['linear.bias'] += 100.0

    runner = toy_runner(
        tmp_path / 'new', load_from=str(source / 'epoch_2.pth'), custom_hooks=[Seeing()]
    )
    runner.val()
    runner.test()
    assert seen == ['hooks']
    assert runner.model.linear.bias.item() > 99


@pytest.mark.parametrize('resume', [True, 'auto'])
def test_resume_goes_on_with_the_newest_checkpoint_of_the_work_dir(source, resume):
    runner = _trained(source, resume=resume, train_cfg={'by_epoch': True, 'max_epochs': 3})
    assert (runner.epoch, runner.iter) == (3, 12)
    assert runner.optim_wrapper.get_lr() == {'lr': [0.0125]}
    assert len(runner.message_hub.get_scalar('train/loss').data[0]) == 12


@pytest.mark.parametrize('resume', [True, 'auto'])
def test_resume_begins_anew_when_there_is_nothing(tmp_path, resume):
    assert _trained(tmp_path, resume=resume).epoch == 2


def test_resume_with_load_from_or_a_path_takes_that_checkpoint(tmp_path, source):
    path = str(source / 'epoch_1.pth')
    for number, arguments in enumerate(({'resume': True, 'load_from': path}, {'resume': path})):
        runner = toy_runner(tmp_path / str(number), **arguments)
        runner.load_or_resume()
        assert (runner.epoch, runner.iter) == (1, 4)


def test_resume_takes_a_work_dir_that_was_moved(tmp_path, source):
    shutil.move(source, tmp_path / 'moved')
    runner = toy_runner(tmp_path / 'moved', resume=True)
    runner.load_or_resume()
    assert runner.epoch == 2


def test_parts_can_be_left_out_when_resuming(tmp_path, source):
    runner = toy_runner(
        tmp_path / 'new', param_scheduler=[{'type': 'ExponentialLR', 'gamma': 0.5, 'end': 9}]
    )
    runner.resume(str(source / 'epoch_2.pth'), resume_optimizer=False, resume_param_scheduler=False)
    assert runner.optim_wrapper.get_lr() == {'lr': [0.1]}
    assert runner.param_schedulers[0].last_step == 0
    assert runner.epoch == 2


def test_a_run_that_is_not_to_train_resumes_the_weights(tmp_path, source):
    runner = toy_runner(
        tmp_path / 'new', load_from=str(source / 'epoch_2.pth'), resume=True, **NO_TRAINING
    )
    runner.test()
    saved = torch.load(source / 'epoch_2.pth', weights_only=True)['state_dict']
    assert runner.model.linear.weight.item() == saved['linear.weight'].item()


def test_hooks_get_their_state_back_by_class_and_order(tmp_path):
    _trained(tmp_path, custom_hooks=[Remembering(), Remembering()])
    first, second = Remembering(), Remembering()
    runner = toy_runner(tmp_path, resume=True, custom_hooks=[first, second])
    runner.load_or_resume()
    for hook in (first, second):
        assert hook.state['epochs'] == 2
        np.testing.assert_array_equal(hook.state['seen'], [2, 2])


def test_random_numbers_go_on_where_they_were(tmp_path):
    class Noting(Hook):
        priority = 'LOWEST'

        def after_train_epoch(self, runner):
            states.append(rng_state()['torch'].clone())

    states: list[torch.Tensor] = []
    _trained(tmp_path, custom_hooks=[Noting()])
    torch.manual_seed(99)
    checkpoint = torch.load(tmp_path / 'epoch_2.pth', weights_only=True)
    assert torch.equal(checkpoint['rng'][0]['torch'], states[1])


def test_a_run_without_seed_goes_on_with_the_seed_it_had(tmp_path):
    shuffled = {
        'dataset': {'type': 'ToyLine'}, 'batch_size': 2, 'sampler': {'type': 'DefaultSampler'},
    }  # fmt: skip
    first = _trained(tmp_path, randomness={}, train_dataloader=shuffled)
    again = toy_runner(tmp_path, randomness={}, train_dataloader=shuffled, resume=True)
    assert again.seed != first.seed
    again.load_or_resume()
    assert again.seed == first.seed == again.train_dataloader.sampler.seed


def test_another_seed_or_dataset_than_before_is_pointed_out(tmp_path, capsys, monkeypatch):
    _trained(tmp_path)
    monkeypatch.setattr(Line, 'metainfo', {'classes': ('other',)})
    toy_runner(tmp_path, resume=True, randomness={'seed': 5}, log_level='WARNING').load_or_resume()
    text = capsys.readouterr().out
    assert 'resumed with seed 5 where it had 0' in text
    assert 'describes itself (metainfo) otherwise' in text


def test_another_number_of_schedulers_needs_those_of_the_config(tmp_path, capsys):
    _trained(tmp_path)
    two = [{'type': 'ExponentialLR', 'gamma': 0.5, 'end': 9}] * 2
    changes = {'param_scheduler': two, 'log_level': 'WARNING'}
    with pytest.raises(ValueError, match=r'has 1 parameter schedulers, this run has 2.*load_from'):
        toy_runner(tmp_path, resume={'schedule': 'checkpoint'}, **changes).load_or_resume()
    capsys.readouterr()
    runner = toy_runner(tmp_path, resume=True, **changes)
    runner.load_or_resume()
    # Two epochs, in each of which both schedules halve the learning rate.
    assert runner.optim_wrapper.get_lr()['lr'] == [pytest.approx(0.1 * 0.25**2)]
    assert "number of schedulers of 'lr'  1" in capsys.readouterr().out


def test_weights_are_loaded_through_the_runner_as_told(tmp_path):
    runner = toy_runner(tmp_path)
    weights = {'net.linear.weight': torch.full((1, 1), 3.0), 'net.linear.bias': torch.ones(1)}
    torch.save(weights, tmp_path / 'w.pth')
    runner.load_checkpoint(str(tmp_path / 'w.pth'), strict=True, revise_keys=[(r'^net\.', '')])
    assert parameters(runner.model) == (3.0, 1.0)
    with pytest.raises(RuntimeError, match='do not match exactly'):
        runner.load_checkpoint(str(tmp_path / 'w.pth'), strict=True)


def test_a_checkpoint_loads_into_a_plain_torch_model(source):
    checkpoint = torch.load(source / 'epoch_2.pth', weights_only=True)
    net = Net()
    net.load_state_dict(checkpoint['state_dict'])
    optimizer = torch.optim.SGD(net.parameters(), lr=1)
    optimizer.load_state_dict(checkpoint['optimizer'])
    assert optimizer.param_groups[0]['lr'] == 0.025
