"""What a run leaves on disk."""

import copy
import math
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmengine.config import Config
from mmengine.utils.errors import ArgumentError
from mmengine.visualization import LocalVisBackend


@pytest.fixture
def backend(tmp_path):
    backend = LocalVisBackend(tmp_path / 'vis_data')
    yield backend
    backend.close()


@pytest.fixture
def scalars(backend, read_lines):
    return lambda: read_lines(backend_folder(backend) / 'scalars.json')


def backend_folder(backend):
    return Path(backend.scalar_path).parent


def test_nothing_is_written_before_the_first_use(tmp_path):
    LocalVisBackend(tmp_path / 'vis_data')
    assert list(tmp_path.iterdir()) == []


def test_a_scalar_is_a_line_with_its_step(backend, scalars):
    backend.add_scalar('train/loss', 0.5, step=3)
    backend.add_scalar('train/loss', 0.25, step=4)
    assert scalars() == [{'train/loss': 0.5, 'step': 3}, {'train/loss': 0.25, 'step': 4}]


def test_a_record_is_a_line_with_the_step_last(backend):
    backend.add_scalars({'lr': 0.1, 'loss': 0.5}, step=7)
    line = (backend_folder(backend) / 'scalars.json').read_text()
    assert line == '{"lr": 0.1, "loss": 0.5, "step": 7}\n'


def test_a_step_inside_the_record_wins(backend, scalars):
    backend.add_scalars({'loss': 0.5, 'step': 40}, step=7)
    assert scalars() == [{'loss': 0.5, 'step': 40}]


def test_the_record_given_is_left_unchanged(backend):
    record = {'loss': 0.5}
    backend.add_scalars(record, step=7)
    assert record == {'loss': 0.5}


def test_a_record_goes_to_the_second_file_too(backend, scalars, read_lines):
    backend.add_scalars({'loss': 0.5}, step=1, file_path='run.json')
    backend.add_scalars({'loss': 0.25}, step=2)
    assert [line['step'] for line in scalars()] == [1, 2]
    assert read_lines(backend_folder(backend) / 'run.json') == [{'loss': 0.5, 'step': 1}]


def test_a_line_can_be_read_at_once(backend, scalars):
    backend.add_scalar('loss', 0.5)
    assert scalars() == [{'loss': 0.5, 'step': 0}]


def test_a_later_run_appends(tmp_path, read_lines):
    for step in (1, 2):
        backend = LocalVisBackend(tmp_path)
        backend.add_scalar('loss', 0.5, step)
        backend.close()
    assert [line['step'] for line in read_lines(tmp_path / 'scalars.json')] == [1, 2]


@pytest.mark.parametrize(
    ('value', 'written'),
    [
        (torch.tensor(0.5), 0.5),
        (torch.tensor([3]), 3),
        (torch.tensor(0.25, requires_grad=True), 0.25),
        (np.float32(1.5), 1.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([1, 2]), [1, 2]),
        ([torch.tensor(1.0), 2], [1.0, 2]),
        ({'a': np.float64(0.5)}, {'a': 0.5}),
        ('0.31 0.28', '0.31 0.28'),
        (None, None),
    ],
    ids=repr,
)
def test_values_are_written_as_plain_json(value, written, backend, scalars):
    backend.add_scalars({'value': value}, step=1)
    assert scalars() == [{'value': written, 'step': 1}]


@pytest.mark.parametrize(
    'value',
    [math.nan, math.inf, -math.inf, torch.tensor(math.nan), np.float32('inf')],
    ids=repr,
)
def test_what_json_has_no_number_for_is_null(value, backend, scalars):
    backend.add_scalars({'loss': value, 'all': [1.0, {'x': value}]}, step=1)
    assert scalars() == [{'loss': None, 'all': [1.0, {'x': None}], 'step': 1}]


def test_what_is_no_value_is_refused_by_its_type(backend):
    with pytest.raises(TypeError, match='got Linear'):
        backend.add_scalar('model', torch.nn.Linear(1, 1))


def test_the_config_is_written_as_python(backend):
    backend.add_config(Config({'model': {'type': 'Toy', 'depth': 3}}))
    written = Config.fromfile(backend_folder(backend) / 'config.py')
    assert written == Config({'model': {'type': 'Toy', 'depth': 3}})


@pytest.mark.parametrize('shape', [(4, 6, 3), (4, 6), (4, 6, 1)], ids=str)
def test_an_image_is_a_png_of_the_same_pixels(shape, backend):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    backend.add_image('val/sample', pixels, step=20)
    path = backend_folder(backend) / 'vis_image' / 'val' / 'sample_20.png'
    assert np.array_equal(np.asarray(Image.open(path)), pixels.squeeze())


@pytest.mark.parametrize('name', ['../../out', '/etc/out'])
def test_an_image_stays_inside_its_folder(name, backend):
    backend.add_image(name, np.zeros((2, 2), np.uint8))
    folder = backend_folder(backend) / 'vis_image'
    assert [path.suffix for path in folder.rglob('out_0*')] == ['.png']


@pytest.mark.parametrize(
    ('image', 'error', 'message'),
    [
        (np.zeros((2, 2, 3)), TypeError, 'uint8.*got float64'),
        ([[0]], TypeError, 'got list'),
        (np.zeros((2, 2, 5), np.uint8), ArgumentError, r'got \(2, 2, 5\)'),
    ],
)
def test_what_is_no_image_is_refused(image, error, message, backend):
    with pytest.raises(error, match=message):
        backend.add_image('x', image)


def test_writing_goes_on_after_close(backend, scalars):
    backend.add_scalar('loss', 1.0, 1)
    backend.close()
    backend.add_scalar('loss', 0.5, 2)
    assert [line['step'] for line in scalars()] == [1, 2]


def test_close_gives_the_descriptors_back(tmp_path):
    before = len(os.listdir('/proc/self/fd')) if os.path.isdir('/proc/self/fd') else None
    backend = LocalVisBackend(tmp_path)
    backend.add_scalars({'loss': 1.0}, file_path='run.json')
    backend.close()
    if before is None:
        pytest.skip('this system does not list open files')
    assert len(os.listdir('/proc/self/fd')) == before


@pytest.mark.parametrize(
    'duplicate', [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))], ids=['copy', 'pickle']
)
def test_a_copy_writes_through_its_own_file(duplicate, backend, scalars):
    backend.add_scalar('loss', 1.0, 1)
    twin = duplicate(backend)
    twin.add_scalar('loss', 0.5, 2)
    twin.close()
    backend.add_scalar('loss', 0.25, 3)
    assert [line['step'] for line in scalars()] == [1, 2, 3]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'scalar_save_file': 'a.txt'}, "scalar_save_file to end in .json, got 'a.txt'"),
        ({'config_save_file': 'a.txt'}, "config_save_file to end in .py, got 'a.txt'"),
    ],
)
def test_wrong_file_names_are_refused(options, message, tmp_path):
    with pytest.raises(ArgumentError, match=message):
        LocalVisBackend(tmp_path, **options)


@pytest.mark.parametrize(
    ('file_path', 'message'),
    [('run.txt', 'end in .json'), ('scalars.json', 'name another one')],
)
def test_wrong_second_file_is_refused(file_path, message, backend):
    with pytest.raises(ArgumentError, match=message):
        backend.add_scalars({'loss': 1.0}, file_path=file_path)


def test_a_folder_is_needed():
    with pytest.raises(TypeError, match='needs save_dir, a folder, got None'):
        LocalVisBackend(None)


def test_the_experiment_is_the_backend_itself(backend):
    assert backend.experiment is backend
    assert backend_folder(backend).is_dir()
