"""MLflow with its SQLite store, read back through its own client."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmengine.config import Config
from mmengine.visualization import MLflowVisBackend, Visualizer

pytestmark = pytest.mark.skipif(
    not (find_spec('mlflow') and find_spec('sqlalchemy')), reason='needs mlflow and sqlalchemy'
)


@pytest.fixture(scope='module', autouse=True)
def _imported():
    """Not when the file is collected, as it takes seconds in each process."""
    global mlflow
    import mlflow


@pytest.fixture(scope='module')
def empty_store(tmp_path_factory):
    """A store with its tables, which take seconds to make."""
    folder = tmp_path_factory.mktemp('empty_store')
    mlflow.MlflowClient(f'sqlite:///{folder}/mlflow.db').search_experiments()
    return folder / 'mlflow.db'


@pytest.fixture
def store(empty_store, tmp_path, monkeypatch):
    """The folder of a tracker, with its tables made; MLflow forgets its state after the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('MLFLOW_TRACKING_URI', raising=False)
    folder = tmp_path / 'run' / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'mlflow.db').write_bytes(empty_store.read_bytes())
    yield folder
    while mlflow.active_run() is not None:
        mlflow.end_run()
    mlflow.set_tracking_uri(None)
    mlflow.tracking.fluent._active_experiment_id = None


def runs_of(folder, experiment):
    client = mlflow.MlflowClient(f'sqlite:///{folder}/mlflow.db')
    found = client.get_experiment_by_name(experiment)
    return client, client.search_runs([found.experiment_id])


def history(client, run, name):
    points = client.get_metric_history(run.info.run_id, name)
    return [(point.step, point.value) for point in points]


def test_a_run_is_kept_with_its_metrics_params_artifacts_and_image(store, tmp_path):
    backend = MLflowVisBackend(
        str(store), run_name='first', tags={'team': 'cats'}, params={'note': 'x'}
    )
    visualizer = Visualizer(vis_backends=[backend])
    config = Config({'lr': 0.1, 'model': {'type': 'Net', 'depth': [1, 2]}})
    config.work_dir = str(tmp_path / 'run')
    visualizer.add_config(config)
    visualizer.axes = {'iter': 10, 'epoch': 1}
    visualizer.add_scalars({'train/loss': 0.5, 'names': 'a b'}, step=10)
    visualizer.axes = {'iter': 10, 'epoch': 1}
    visualizer.add_scalars({'val/acc': 0.75}, step=1)
    visualizer.add_scalar('mine', np.float32(0.25), step=11)
    visualizer.add_image('val/cat', np.full((4, 5, 3), (255, 0, 9), np.uint8), step=12)
    assert backend.experiment is mlflow
    (tmp_path / 'run' / 'run.log').write_text('a line')
    (store / 'scalars.json').write_text('{}')
    visualizer.close()
    assert mlflow.active_run() is None

    client, (run,) = runs_of(store, 'mmengine')
    assert run.info.run_name == 'first'
    assert run.info.status == 'FINISHED'
    assert run.data.tags['team'] == 'cats'
    assert run.data.params == {
        'note': 'x',
        'lr': '0.1',
        'model.type': 'Net',
        'model.depth': '[1, 2]',
        'work_dir': config.work_dir,
    }
    assert history(client, run, 'train/loss') == [(10, 0.5)]
    assert history(client, run, 'val/acc') == [(1, 0.75)]
    assert history(client, run, 'mine') == [(11, 0.25)]
    assert sorted(history(client, run, 'iter')) == [(1, 10), (10, 10)]
    assert sorted(history(client, run, 'epoch')) == [(1, 1), (10, 1)]

    assert run.info.artifact_uri.startswith((store / 'mlartifacts').as_uri())
    artifacts = Path(run.info.artifact_uri.removeprefix('file://'))
    assert (artifacts / 'config.py').read_text() == config.pretty_text
    assert (artifacts / 'run.log').read_text() == 'a line'
    assert (artifacts / 'vis_data' / 'scalars.json').read_text() == '{}'
    assert (np.asarray(Image.open(artifacts / 'val' / 'cat_12.png')) == (255, 0, 9)).all()
    assert not (tmp_path / 'mlruns').exists()


def test_a_closed_run_goes_on_as_the_same_run(store):
    backend = MLflowVisBackend(str(store), exp_name='cats', params={'note': 'x'})
    for step in (1, 2):
        backend.add_scalar('loss', 0.5 / step, step)
        backend.close()
    client, (run,) = runs_of(store, 'cats')
    assert history(client, run, 'loss') == [(1, 0.5), (2, 0.25)]


def test_the_store_and_the_place_of_artifacts_can_be_chosen(store, tmp_path):
    backend = MLflowVisBackend(
        str(tmp_path / 'unused'),
        exp_name='cats',
        tracking_uri=f'sqlite:///{store}/mlflow.db',
        artifact_location=(tmp_path / 'files').as_uri(),
    )
    backend.add_config(Config({'lr': 0.1}))
    backend.close()
    _, (run,) = runs_of(store, 'cats')
    assert list((tmp_path / 'files').rglob('config.py'))
    assert run.data.params == {'lr': '0.1'}
    assert not (tmp_path / 'unused').exists()


def test_the_store_of_the_environment_is_used(store, tmp_path, monkeypatch):
    monkeypatch.setenv('MLFLOW_TRACKING_URI', f'sqlite:///{store}/mlflow.db')
    backend = MLflowVisBackend(str(tmp_path / 'unused'))
    backend.add_scalar('loss', 0.5)
    backend.close()
    client, (run,) = runs_of(store, 'Default')
    assert history(client, run, 'loss') == [(0, 0.5)]


def test_a_run_that_is_active_already_is_used_and_left_open(store, tmp_path):
    mlflow.set_tracking_uri(f'sqlite:///{store}/mlflow.db')
    with mlflow.start_run() as run:
        backend = MLflowVisBackend(str(tmp_path / 'unused'))
        backend.add_scalar('loss', 0.5, step=3)
        backend.close()
        assert mlflow.active_run().info.run_id == run.info.run_id
    client, (kept,) = runs_of(store, 'Default')
    assert history(client, kept, 'loss') == [(3, 0.5)]


def test_only_the_keys_that_are_asked_for_become_parameters(store):
    backend = MLflowVisBackend(str(store), tracked_config_keys=('lr', 'model'))
    backend.add_config(Config({'lr': 0.1, 'seed': 3, 'model': {'a': {'b': 1}, 'c': 'x' * 9000}}))
    with pytest.raises(KeyError, match=r"'sed', which the config lacks.*'seed'"):
        bad = MLflowVisBackend(str(store), tracked_config_keys=('sed',))
        bad.add_config(Config({'seed': 3}))
    backend.close()
    _, (run,) = runs_of(store, 'mmengine')
    assert set(run.data.params) == {'lr', 'model.a.b', 'model.c'}
    assert run.data.params['model.c'].startswith('xxx')


def test_a_large_config_is_kept_whole(store):
    backend = MLflowVisBackend(str(store))
    backend.add_config(Config({f'key_{index}': index for index in range(250)}))
    backend.close()
    _, (run,) = runs_of(store, 'mmengine')
    assert len(run.data.params) == 250


def test_artifacts_may_have_one_ending(store, tmp_path):
    for name in ('a.py', 'b.log'):
        (store / name).write_text(name)
    backend = MLflowVisBackend(str(store), artifact_suffix='.log')
    backend.add_scalar('loss', 0.5)
    backend.close()
    client, (run,) = runs_of(store, 'mmengine')
    assert [item.path for item in client.list_artifacts(run.info.run_id)] == ['b.log']
