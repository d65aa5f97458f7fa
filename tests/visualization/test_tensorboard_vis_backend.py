"""Event files: what the writer is told, and what is read back where TensorBoard is installed."""

import io
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image

from mmengine.config import Config
from mmengine.visualization import TensorboardVisBackend


class RecordingWriter:
    """Stands for ``SummaryWriter``: remembers its calls."""

    def __init__(self, log_dir):
        self.calls = [('open', log_dir)]

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.calls.append((name, *args, *kwargs.items()))


@pytest.fixture
def backend(monkeypatch):
    module = types.ModuleType('torch.utils.tensorboard')
    module.SummaryWriter = RecordingWriter
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', module)
    return TensorboardVisBackend('events')


def test_scalars_go_under_their_own_names(backend):
    backend.add_scalars({'loss': torch.tensor(0.5), 'acc': np.float32(0.25)}, step=7)
    assert backend.experiment.calls == [
        ('open', 'events'),
        ('add_scalar', 'loss', 0.5, 7),
        ('add_scalar', 'acc', 0.25, 7),
    ]


def test_a_step_inside_the_record_wins(backend):
    backend.add_scalars({'loss': 0.5, 'step': 40}, step=7)
    assert backend.experiment.calls[1:] == [('add_scalar', 'loss', 0.5, 40)]


def test_what_is_no_number_is_reported_once_and_left_out(backend, warned):
    for step in range(3):
        backend.add_scalars({'classes': '0.3 0.2', 'loss': 0.5}, step)
    assert [call[1] for call in backend.experiment.calls[1:]] == ['loss'] * 3
    assert len(warned) == 1
    assert "leaves out 'classes'" in warned[0]
    assert "'0.3 0.2'" in warned[0]


def test_images_config_and_graph_reach_the_writer(backend):
    rgb, grey = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.uint8)
    model, config = torch.nn.Linear(1, 1), Config({'a': 1})
    backend.add_image('rgb', rgb, 1)
    backend.add_image('grey', grey, 2)
    backend.add_config(config)
    backend.add_graph(model, [1])
    assert backend.experiment.calls[1:] == [
        ('add_image', 'rgb', rgb, 1, ('dataformats', 'HWC')),
        ('add_image', 'grey', grey, 2, ('dataformats', 'HW')),
        ('add_text', 'config', config.pretty_text),
        ('add_graph', model, [1]),
    ]


def test_close_before_any_use_opens_nothing(backend):
    backend.close()
    assert not hasattr(backend, '_tensorboard')


def test_close_closes_the_writer(backend):
    writer = backend.experiment
    backend.close()
    assert writer.calls[-1] == ('close',)


def test_tensorboardx_is_the_second_choice(monkeypatch):
    module = types.ModuleType('tensorboardX')
    module.SummaryWriter = RecordingWriter
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)
    monkeypatch.setitem(sys.modules, 'tensorboardX', module)
    assert TensorboardVisBackend('events').experiment.calls == [('open', 'events')]


def test_a_missing_package_is_named_at_the_first_use(monkeypatch):
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)
    monkeypatch.setitem(sys.modules, 'tensorboardX', None)
    backend = TensorboardVisBackend('events')
    with pytest.raises(ImportError, match='pip install tensorboard'):
        backend.add_scalar('loss', 0.5)


def test_event_files_hold_what_was_added(tmp_path):
    accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    backend = TensorboardVisBackend(str(tmp_path))
    backend.add_scalars({'loss': 0.5}, step=3)
    backend.add_image('cat', np.full((4, 5, 3), (255, 0, 9), np.uint8), step=4)
    backend.add_image('grey', np.full((4, 5), 7, np.uint8), step=5)
    backend.add_config(Config({'lr': 0.1}))
    backend.close()
    backend.add_scalar('loss', 0.25, step=6)
    backend.close()
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    loss = [(event.step, event.value) for event in events.Scalars('loss')]
    assert loss == [(3, 0.5), (6, 0.25)]
    for name, step, pixel in (('cat', 4, (255, 0, 9)), ('grey', 5, (7, 7, 7))):
        (image,) = events.Images(name)
        pixels = np.asarray(Image.open(io.BytesIO(image.encoded_image_string)).convert('RGB'))
        assert (image.step, pixels.shape) == (step, (4, 5, 3))
        assert (pixels == pixel).all()
    (text,) = events.Tensors('config/text_summary')
    assert text.tensor_proto.string_val == [b'lr = 0.1\n']


# The SummaryWriter of torch traces a graph in a way that torch itself is about to leave.
@pytest.mark.filterwarnings('ignore:.torch.jit:DeprecationWarning')
def test_event_files_hold_the_graph(tmp_path):
    accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    backend = TensorboardVisBackend(str(tmp_path))
    backend.add_graph(torch.nn.Linear(1, 1), torch.ones(1, 1))
    backend.close()
    graph = accumulator.EventAccumulator(str(tmp_path)).Reload().Graph()
    operations = [node.op for node in graph.node]
    assert 'aten::linear' in operations


def test_the_points_of_a_curve_have_one_axis(backend):
    """A validation by epoch that logs a name of the training does so by iteration."""
    for axes, step, record in (
        ({'iter': 10, 'epoch': 0}, 10, {'time': 0.5}),
        ({'iter': 20, 'epoch': 1}, 1, {'time': 0.25, 'accuracy': 0.9}),
        ({}, 2, {'accuracy': 0.95}),
    ):
        backend.position = axes
        backend.add_scalars(record, step=step)
    assert backend.experiment.calls[1:] == [
        ('add_scalar', 'time', 0.5, 10),
        ('add_scalar', 'time', 0.25, 20),
        ('add_scalar', 'accuracy', 0.9, 1),
        ('add_scalar', 'accuracy', 0.95, 2),
    ]
