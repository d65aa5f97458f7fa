"""W&B in its offline mode, with the file that it leaves read back."""

import json
import struct
import time

import numpy as np
import pytest
import torch
from PIL import Image

from mmengine.config import Config
from mmengine.utils.errors import ArgumentError
from mmengine.visualization import Visualizer, WandbVisBackend

wandb = pytest.importorskip('wandb')


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """A tracker whose every file lies in ``tmp_path``."""
    for name in ('WANDB_CONFIG_DIR', 'WANDB_CACHE_DIR', 'WANDB_DATA_DIR'):
        monkeypatch.setenv(name, str(tmp_path / 'wandb_home'))
    monkeypatch.setenv('WANDB_SILENT', 'true')
    (tmp_path / 'code').mkdir()
    (tmp_path / 'code' / 'train.py').write_text('pass')
    monkeypatch.chdir(tmp_path / 'code')

    def make(**options):
        settings = {'mode': 'offline', 'project': 'cats'}
        return WandbVisBackend(str(tmp_path / 'vis_data'), init_kwargs=settings, **options)

    yield make
    wandb.teardown()


def records_of(folder):
    """What a finished run has written; W&B's own process writes the end a little later."""
    (path,) = folder.glob('wandb/offline-run-*/run-*.wandb')
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        records = parse(path.read_bytes())
        if records and records[-1].HasField('exit'):
            return records
        time.sleep(0.02)
    raise AssertionError(f'{path} never came to its end.')


def parse(content):
    """The protobufs of a file header of 7 bytes and a LevelDB log."""
    from wandb.proto.wandb_internal_pb2 import Record

    position, pending, records = 7, b'', []
    while position + 7 <= len(content):
        room = 32768 - position % 32768
        if room < 7:
            position += room
            continue
        _, length, kind = struct.unpack('<IHB', content[position : position + 7])
        if position + 7 + length > len(content):
            break
        pending += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            records.append(Record.FromString(pending))
            pending = b''
    return records


def rows_of(records):
    """The history as dicts, without W&B's own entries."""
    histories = [record.history for record in records if record.HasField('history')]
    rows = []
    for history in histories:
        row = {}
        for item in history.item:
            *parents, name = item.nested_key
            place = row
            for parent in parents:
                place = place.setdefault(parent, {})
            place[name] = json.loads(item.value_json)
        rows.append({name: value for name, value in row.items() if not name.startswith('_')})
    return rows


def test_a_run_is_kept_with_its_rows_config_image_and_metrics(offline, tmp_path):
    backend = offline(define_metric_cfg={'val/acc': 'max'})
    visualizer = Visualizer(vis_backends=[backend])
    visualizer.add_config(Config({'lr': 0.1, 'model': {'type': 'Net', 'depth': [1, 2]}}))
    visualizer.axes = {'iter': 10, 'epoch': 1}
    visualizer.add_scalars({'loss': torch.tensor(0.5), 'lr': 0.1}, step=10)
    visualizer.axes = {'iter': 10, 'epoch': 1}
    visualizer.add_scalars({'val/acc': 0.75}, step=1)
    visualizer.add_scalar('mine', 3, step=11)
    visualizer.add_image('cat', np.full((4, 5, 3), (255, 0, 9), np.uint8), step=12)
    assert backend.experiment is wandb
    assert wandb.run.project == 'cats'
    visualizer.close()

    records = records_of(tmp_path / 'vis_data')
    *rows, image_row = rows_of(records)
    assert rows == [
        {'loss': 0.5, 'lr': 0.1, 'iter': 10, 'epoch': 1, 'step': 10},
        {'val/acc': 0.75, 'iter': 10, 'epoch': 1, 'step': 1},
        {'mine': 3, 'step': 11},
    ]
    assert image_row['step'] == 12
    folder = tmp_path / 'vis_data' / 'wandb'
    (picture,) = folder.glob(f'offline-run-*/files/{image_row["cat"]["path"]}')
    assert (np.asarray(Image.open(picture)) == (255, 0, 9)).all()

    config = {}
    for record in records:
        for item in record.config.update:
            config[item.key or item.nested_key[0]] = json.loads(item.value_json)
    assert config['lr'] == 0.1
    assert config['model'] == {'type': 'Net', 'depth': [1, 2]}
    (metric,) = [record.metric for record in records if record.metric.name]
    assert metric.name == 'val/acc'
    assert metric.summary.max


def test_the_source_files_of_the_current_folder_are_kept(offline, tmp_path):
    backend = offline(log_code_name='my-code')
    backend.add_config(Config({'lr': 0.1}))
    backend.close()
    artifacts = [record.artifact for record in records_of(tmp_path / 'vis_data')]
    (code,) = [artifact for artifact in artifacts if artifact.type == 'code']
    assert code.name == 'my-code'
    assert [entry.path for entry in code.manifest.contents] == ['train.py']


def test_a_closed_run_goes_on_under_its_id(offline):
    backend = offline()
    first = backend.experiment.run.id
    backend.close()
    assert wandb.run is None
    backend.add_scalar('loss', 0.5)
    assert wandb.run.id == first
    backend.close()


def test_a_graph_is_watched(offline, monkeypatch):
    backend = offline(watch_kwargs={'log': 'all', 'log_freq': 7})
    model, watched = torch.nn.Linear(1, 1), []
    run = backend.experiment.run
    monkeypatch.setattr(run, 'watch', lambda *args, **kwargs: watched.append((args, kwargs)))
    backend.add_graph(model, [1])
    backend.close()
    assert watched == [((model,), {'log': 'all', 'log_freq': 7})]


def test_without_commit_a_row_waits_for_the_one_that_ends_it(offline, tmp_path):
    backend = offline(commit=False)
    backend.add_scalar('a', 1, step=1)
    backend.add_scalar('b', 2, step=1)
    backend.experiment.run.log({}, commit=True)
    backend.close()
    assert rows_of(records_of(tmp_path / 'vis_data')) == [{'a': 1, 'b': 2, 'step': 1}]


@pytest.mark.parametrize('wrong', ['loss', ['loss'], [1]])
def test_metric_definitions_of_another_kind_are_refused(wrong, tmp_path):
    with pytest.raises(ArgumentError, match='define_metric_cfg'):
        WandbVisBackend(str(tmp_path), define_metric_cfg=wrong)


def test_metric_definitions_may_name_the_axis(offline, tmp_path):
    backend = offline(define_metric_cfg=[{'name': 'acc', 'step_metric': 'epoch'}])
    backend.add_scalars({'acc': 0.5, 'epoch': 1})
    backend.close()
    metrics = [record.metric for record in records_of(tmp_path / 'vis_data') if record.metric.name]
    assert [(m.name, m.step_metric) for m in metrics if m.name == 'acc'] == [('acc', 'epoch')]
