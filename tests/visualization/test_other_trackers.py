"""Trackers of services that need an account or a repository, against packages that remember."""

import sys
import types

import numpy as np
import pytest
import torch

from mmengine.config import Config
from mmengine.registry import VISBACKENDS
from mmengine.visualization import (
    AimVisBackend,
    ClearMLVisBackend,
    DVCLiveVisBackend,
    MLflowVisBackend,
    NeptuneVisBackend,
    Visualizer,
    WandbVisBackend,
)

IMAGE = np.full((2, 2, 3), (255, 0, 51), np.uint8)
CONFIG = {'lr': 0.1, 'model': {'type': 'Net', 'depth': [1, 2]}}


class Recorder:
    """Remembers what is called, set and asked on it and on what it returns, in one list."""

    def __init__(self, calls, name, **attributes):
        self.__dict__.update(attributes)
        self.__dict__.update(_calls=calls, _name=name, _attributes=attributes)

    def __getattr__(self, attribute):
        if attribute.startswith('__'):
            raise AttributeError(attribute)
        return Recorder(self._calls, f'{self._name}.{attribute}', **self._attributes)

    def __call__(self, *args, **kwargs):
        self._calls.append((self._name, *args, kwargs) if kwargs else (self._name, *args))
        return Recorder(self._calls, self._name.split('.')[-1], **self._attributes)

    def __getitem__(self, key):
        return Recorder(self._calls, f'{self._name}[{key}]', **self._attributes)

    def __setitem__(self, key, value):
        self._calls.append((f'{self._name}[{key}]=', value))

    def __setattr__(self, attribute, value):
        self._calls.append((f'{self._name}.{attribute}=', value))

    def __eq__(self, other):
        return isinstance(other, Recorder) and other._name == self._name

    __hash__ = None


@pytest.fixture
def fake(monkeypatch):
    """Puts a package into place whose members remember their calls; returns the calls."""

    def install(package, *members, **attributes):
        calls = []
        module = types.ModuleType(package)
        for member in members:
            setattr(module, member, Recorder(calls, member, **attributes))
        monkeypatch.setitem(sys.modules, package, module)
        return calls

    return install


@pytest.fixture
def work_dir(tmp_path):
    for name in ('train.py', 'epoch_1.pth', 'deep/inner.py', 'vis_data/scalars.json'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def config_in(work_dir):
    config = Config(CONFIG)
    config.work_dir = str(work_dir)
    return config


def test_clearml_is_given_a_task_with_scalars_images_config_and_files(fake, work_dir):
    calls = fake('clearml', 'Task', id='task-7')
    backend = ClearMLVisBackend(init_kwargs={'project_name': 'cats'})
    assert calls == []
    backend.add_config(config_in(work_dir))
    backend.add_scalars({'loss': torch.tensor(0.5), 'acc': 1}, step=7)
    backend.add_image('cat', IMAGE, step=8)
    backend.close()
    assert backend.experiment is sys.modules['clearml']
    assert calls == [
        ('Task.init', {'project_name': 'cats'}),
        ('init.get_logger',),
        ('init.connect_configuration', {**CONFIG, 'work_dir': str(work_dir)}),
        ('get_logger.report_scalar', dict(title='loss', series='loss', value=0.5, iteration=7)),
        ('get_logger.report_scalar', dict(title='acc', series='acc', value=1, iteration=7)),
        ('get_logger.report_image', dict(title='cat', series='cat', iteration=8, image=IMAGE)),
        ('init.upload_artifact', 'deep/inner.py', str(work_dir / 'deep' / 'inner.py')),
        ('init.upload_artifact', 'epoch_1.pth', str(work_dir / 'epoch_1.pth')),
        ('init.upload_artifact', 'train.py', str(work_dir / 'train.py')),
        ('init.close',),
        # Asking for the experiment after close goes on with the same task.
        ('Task.init', {'project_name': 'cats', 'continue_last_task': 'task-7'}),
        ('init.get_logger',),
    ]


def test_neptune_is_given_a_run_with_series_images_and_config(fake):
    types_calls = fake('neptune.types', 'File')
    calls = fake('neptune', 'init_run')
    backend = NeptuneVisBackend(init_kwargs={'project': 'cats', 'mode': 'debug'})
    config = Config(CONFIG)
    backend.add_config(config)
    backend.add_scalars({'loss': 0.5, 'acc': 1}, step=7)
    backend.add_image('cat', IMAGE, step=8)
    run = backend.experiment
    backend.close()
    assert run._name == 'init_run'
    content, image = types_calls
    assert content == ('File.from_content', config.pretty_text)
    assert image[0] == 'File.as_image'
    # Neptune takes pixels from 0 to 1: 51 / 255 = 0.2.
    assert image[1].tolist() == np.full((2, 2, 3), (1, 0, np.float32(0.2)), np.float32).tolist()
    file = Recorder([], 'from_content')
    picture = Recorder([], 'as_image')
    assert calls == [
        ('init_run', {'project': 'cats', 'mode': 'debug'}),
        ('init_run[config].upload', file),
        ('init_run[loss].append', 0.5, {'step': 7}),
        ('init_run[acc].append', 1, {'step': 7}),
        ('init_run[images].append', picture, {'name': 'cat', 'step': 8}),
        ('init_run.stop',),
    ]


def test_neptune_stays_on_this_machine_unless_told_otherwise(fake):
    fake('neptune.types', 'File')
    calls = fake('neptune', 'init_run')
    backend = NeptuneVisBackend()
    backend.add_scalar('loss', 0.5)
    assert calls[0] == ('init_run', {'mode': 'offline'})


def test_a_series_of_neptune_only_rises(fake, warned):
    fake('neptune.types', 'File')
    calls = fake('neptune', 'init_run')
    backend = NeptuneVisBackend()
    for step in (10, 1, 2, 11):
        backend.add_scalar('time', 0.5, step)
    assert [call[2]['step'] for call in calls[1:]] == [10, 11]
    assert len(warned) == 1
    assert "leaves out 'time': steps may only rise in Neptune, and 1 follows 10" in warned[0]


def test_dvclive_is_given_steps_params_images_and_files(fake, work_dir):
    calls = fake('dvclive', 'Live')
    folder = work_dir / 'vis_data'
    backend = DVCLiveVisBackend(str(folder), init_kwargs={'save_dvc_exp': False})
    backend.add_config(config_in(work_dir))
    backend.add_scalars({'loss': 0.5, 'acc': 1}, step=7)
    backend.add_image('cat', IMAGE, step=8)
    backend.close()
    assert calls == [
        ('Live', {'dir': str(folder), 'save_dvc_exp': False, 'cache_images': True}),
        (
            'Live.log_params',
            {
                'lr': 0.1,
                'model.type': 'Net',
                'model.depth': [1, 2],
                'work_dir': str(work_dir),
            },
        ),
        ('Live.step=', 7),
        ('Live.log_metric', 'loss', 0.5),
        ('Live.log_metric', 'acc', 1),
        ('Live.step=', 8),
        ('Live.log_image', 'cat.png', IMAGE),
        ('Live.log_artifact', str(work_dir / 'deep' / 'inner.py')),
        ('Live.log_artifact', str(work_dir / 'train.py')),
        ('Live.end',),
    ]
    calls.clear()
    backend.add_scalar('loss', 0.5)
    assert calls[0][1]['resume'] is True


def test_aim_is_given_a_run_with_its_own_axis_for_epochs(fake):
    calls = fake('aim', 'Run', 'Image', hash='run-7')
    backend = AimVisBackend('work_dirs/resnet/20260101_120000/vis_data')
    backend.add_config(Config(CONFIG))
    backend.add_scalars({'loss': 0.5, 'epoch': 2}, step=7)
    backend.add_scalar('mine', 3, step=8)
    backend.add_image('cat', IMAGE, step=9)
    backend.close()
    experiment = {'experiment': 'resnet_20260101_120000'}
    assert calls == [
        ('Run', experiment),
        ('Run[hparams]=', CONFIG),
        ('Run.track', dict(name='loss', value=0.5, step=7, epoch=2)),
        ('Run.track', dict(name='epoch', value=2, step=7, epoch=2)),
        ('Run.track', dict(name='mine', value=3, step=8)),
        ('Image', IMAGE),
        ('Run.track', dict(name='cat', value=Recorder([], 'Image'), step=9)),
        ('Run.close',),
    ]
    backend.add_scalar('mine', 4, step=9)
    assert ('Run', {**experiment, 'run_hash': 'run-7'}) in calls


def test_aim_takes_the_name_of_the_experiment(fake):
    calls = fake('aim', 'Run')
    AimVisBackend(init_kwargs={'experiment': 'cats', 'repo': 'there'}).experiment
    AimVisBackend().experiment
    assert calls == [('Run', {'experiment': 'cats', 'repo': 'there'}), ('Run',)]


@pytest.mark.parametrize(
    ('tracker', 'package'),
    [
        (AimVisBackend, 'aim'),
        (ClearMLVisBackend, 'clearml'),
        (DVCLiveVisBackend, 'dvclive'),
        (MLflowVisBackend, 'mlflow'),
        (NeptuneVisBackend, 'neptune'),
        (WandbVisBackend, 'wandb'),
    ],
)
def test_a_missing_package_is_one_warning_that_names_it(
    tracker, package, monkeypatch, tmp_path, warned
):
    monkeypatch.setitem(sys.modules, package, None)
    folder = tmp_path / 'vis_data'
    config = {'type': tracker.__name__, 'save_dir': str(folder)}
    visualizer = Visualizer(vis_backends=[config])
    assert VISBACKENDS.get(tracker.__name__) is tracker
    for step in range(3):
        visualizer.add_scalars({'loss': 0.5}, step)
    assert len(warned) == 1
    assert f'pip install {package}' in warned[0]


@pytest.mark.parametrize('tracker', ['AimVisBackend', 'ClearMLVisBackend', 'NeptuneVisBackend'])
def test_a_tracker_without_files_needs_no_folder(tracker, warned):
    visualizer = Visualizer(vis_backends=[{'type': tracker}])
    assert visualizer.get_backend(tracker) is not None
    assert warned == []


def test_a_tracker_that_was_never_used_has_nothing_to_close(fake):
    calls = fake('aim', 'Run')
    AimVisBackend().close()
    assert calls == []


def test_what_is_no_number_is_reported_once_and_left_out(fake, warned):
    calls = fake('aim', 'Run')
    backend = AimVisBackend()
    for step in range(2):
        backend.add_scalars({'names': 'a b', 'map': torch.ones(2), 'loss': 0.5}, step)
    assert [call[1]['name'] for call in calls if call[0] == 'Run.track'] == ['loss', 'loss']
    assert len(warned) == 2


def test_axes_go_with_one_record_to_the_trackers_that_take_them(fake, tmp_path, read_lines):
    calls = fake('aim', 'Run')
    visualizer = Visualizer(
        vis_backends=[{'type': 'AimVisBackend'}, {'type': 'LocalVisBackend'}],
        save_dir=str(tmp_path),
    )
    visualizer.axes = {'iter': 30, 'epoch': 2}
    visualizer.add_scalars({'acc': 0.5, 'epoch': 3}, step=3)
    visualizer.add_scalars({'mine': 1}, step=4)
    visualizer.close()
    sent = [(call[1]['name'], call[1]['value']) for call in calls if call[0] == 'Run.track']
    # What the record says itself comes first.
    assert sent == [('iter', 30), ('epoch', 3), ('acc', 0.5), ('mine', 1)]
    assert read_lines(tmp_path / 'vis_data' / 'scalars.json') == [
        {'acc': 0.5, 'epoch': 3, 'step': 3},
        {'mine': 1, 'step': 4},
    ]
