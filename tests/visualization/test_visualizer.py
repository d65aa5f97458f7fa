"""The visualizer hands on, to every tracker, and outlives those that fail."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmengine.config import Config
from mmengine.registry import VISBACKENDS, VISUALIZERS
from mmengine.testing._internal.distributed import run_distributed
from mmengine.visualization import BaseVisBackend, LocalVisBackend, Visualizer
from mmengine.visualization.vis_backend import force_init_env


class Recorder(BaseVisBackend):
    """Remembers every call."""

    def __init__(self, save_dir='nowhere'):
        super().__init__(save_dir)
        self.calls = []

    def _init_env(self):
        self.calls.append(('init',))

    @property
    @force_init_env
    def experiment(self):
        return self.calls

    def add_config(self, config, **kwargs):
        self.calls.append(('config', config, kwargs))

    def add_graph(self, model, data_batch, **kwargs):
        self.calls.append(('graph', model, data_batch, kwargs))

    def add_image(self, name, image, step=0, **kwargs):
        self.calls.append(('image', name, image, step))

    def add_scalar(self, name, value, step=0, **kwargs):
        self.calls.append(('scalar', name, value, step, kwargs))

    def close(self):
        self.calls.append(('close',))


class Failing(Recorder):
    """Raises whenever it is given a scalar."""

    def add_scalar(self, name, value, step=0, **kwargs):
        raise ConnectionError('no route to host')


@pytest.fixture
def registered_recorder(monkeypatch):
    """A registered tracker, for configs."""
    monkeypatch.setitem(VISBACKENDS.module_dict, 'Recorder', Recorder)


def test_every_call_reaches_every_tracker():
    first, second = Recorder(), type('Second', (Recorder,), {})()
    visualizer = Visualizer(vis_backends=[first, second])
    config, model = Config({'a': 1}), torch.nn.Linear(1, 1)
    image = np.zeros((2, 2, 3), np.uint8)
    visualizer.add_config(config)
    visualizer.add_graph(model, [1], verbose=True)
    visualizer.add_scalar('loss', 0.5, step=2, tag='x')
    visualizer.add_image('sample', image, step=3)
    visualizer.close()
    assert (
        first.calls
        == second.calls
        == [
            ('config', config, {}),
            ('graph', model, [1], {'verbose': True}),
            ('scalar', 'loss', 0.5, 2, {'tag': 'x'}),
            ('image', 'sample', image, 3),
            ('close',),
        ]
    )


def test_a_record_becomes_single_scalars_for_a_tracker_that_knows_no_records():
    tracker = Recorder()
    Visualizer(vis_backends=[tracker]).add_scalars({'loss': 0.5, 'acc': 1, 'step': 9}, step=2)
    assert tracker.calls == [('scalar', 'loss', 0.5, 9, {}), ('scalar', 'acc', 1, 9, {})]


@pytest.mark.parametrize('value', [torch.tensor(0.5), np.float64(0.5), torch.tensor([0.5])])
def test_trackers_are_given_plain_numbers(value):
    tracker = Recorder()
    Visualizer(vis_backends=[tracker]).add_scalar('loss', value)
    given = tracker.calls[0][2]
    assert (type(given), given) == (float, 0.5)


def test_files_of_configured_trackers_lie_in_vis_data(tmp_path, read_lines):
    visualizer = Visualizer(vis_backends=[{'type': 'LocalVisBackend'}], save_dir=str(tmp_path))
    visualizer.add_scalars({'loss': 0.5}, step=1, file_path='run.json')
    visualizer.close()
    for name in ('scalars.json', 'run.json'):
        assert read_lines(tmp_path / 'vis_data' / name) == [{'loss': 0.5, 'step': 1}]


def test_a_tracker_may_have_a_folder_of_its_own(tmp_path):
    own = {'type': 'LocalVisBackend', 'save_dir': str(tmp_path / 'own')}
    visualizer = Visualizer(vis_backends=own, save_dir=str(tmp_path))
    visualizer.add_scalar('loss', 0.5)
    visualizer.close()
    assert (tmp_path / 'own' / 'scalars.json').is_file()


def test_a_tracker_without_any_folder_is_left_out_with_a_warning(warned):
    visualizer = Visualizer(vis_backends=[{'type': 'LocalVisBackend'}])
    assert visualizer.get_backend('LocalVisBackend') is None
    assert 'give the visualizer a save_dir' in warned[0]


def test_trackers_are_found_by_class_or_given_name(registered_recorder, tmp_path):
    visualizer = Visualizer(
        vis_backends=[{'type': 'Recorder'}, {'type': 'Recorder', 'name': 'second'}],
        save_dir=str(tmp_path),
    )
    first, second = visualizer.get_backend('Recorder'), visualizer.get_backend('second')
    assert type(first) is type(second) is Recorder
    assert first is not second
    assert visualizer.get_backend('third') is None


def test_two_trackers_of_one_name_are_refused():
    with pytest.raises(RuntimeError, match=r"Two trackers are called 'Recorder'.*name="):
        Visualizer(vis_backends=[Recorder(), Recorder()])


@pytest.mark.parametrize('wrong', [[1], 'LocalVisBackend', ['LocalVisBackend'], 5])
def test_what_is_no_tracker_is_refused(wrong):
    with pytest.raises(TypeError, match='tracker'):
        Visualizer(vis_backends=wrong)


def test_a_failing_tracker_is_one_warning_and_stops_no_other(warned):
    failing, healthy = Failing(), Recorder()
    visualizer = Visualizer(vis_backends=[failing, healthy])
    for step in range(3):
        visualizer.add_scalars({'loss': 0.5}, step)
    assert [call[3] for call in healthy.calls] == [0, 1, 2]
    assert len(warned) == 1
    assert 'Failing failed in add_scalars' in warned[0]
    assert 'ConnectionError: no route to host' in warned[0]
    visualizer.close()
    assert warned[1:] == ['Failing failed 3 times in this run with ConnectionError.']


def test_a_value_that_cannot_be_kept_costs_itself_only(warned):
    tracker = Recorder()
    Visualizer(vis_backends=[tracker]).add_scalars({'model': object(), 'loss': 0.5}, step=1)
    assert tracker.calls == [('scalar', 'loss', 0.5, 1, {})]
    assert "'model'" in warned[0]


def test_scalars_that_are_no_dict_are_refused():
    with pytest.raises(TypeError, match='takes a dict, got list'):
        Visualizer(vis_backends=[Recorder()]).add_scalars([0.5])


def test_a_project_visualizer_is_found_through_the_base_class():
    class Boxes(Visualizer):
        pass

    mine = Boxes.get_instance('test_boxes')
    assert Visualizer.get_current_instance() is mine
    assert Visualizer.get_instance('test_boxes') is mine
    assert Visualizer.check_instance_created('test_boxes')


def test_a_sample_is_shown_as_its_image_unless_a_project_draws_it():
    tracker = Recorder()
    visualizer = Visualizer(vis_backends=[tracker])
    image = np.zeros((2, 2, 3), np.uint8)
    visualizer.add_datasample('val_img', image, data_sample=object(), step=5)
    assert tracker.calls == [('image', 'val_img', image, 5)]


class BoxVisualizer(Visualizer):
    """What a detection project does: its own samples, drawn and handed on or shown."""

    def add_datasample(
        self,
        name,
        image,
        data_sample=None,
        draw_gt=True,
        draw_pred=True,
        show=False,
        wait_time=0,
        step=0,
        score_threshold=0.5,
    ):
        self.set_image(image)
        classes = self.dataset_meta['classes']
        for box, label, score in data_sample:
            if score >= score_threshold:
                self.draw_bboxes(torch.tensor(box), edge_colors='none', face_colors='r', alpha=1)
                self.draw_texts(classes[label], torch.tensor(box[2:]), font_sizes=6)
        drawn = self.get_image()
        if show:
            self.show(drawn, win_name=name, wait_time=wait_time)
        else:
            self.add_image(name, drawn, step)


def test_a_project_draws_its_samples(monkeypatch, tmp_path):
    monkeypatch.setitem(VISUALIZERS.module_dict, 'BoxVisualizer', BoxVisualizer)
    visualizer = VISUALIZERS.build(
        {
            'type': 'BoxVisualizer',
            'name': 'test_boxes_drawn',
            'vis_backends': [{'type': 'LocalVisBackend'}],
            'save_dir': str(tmp_path),
        }
    )
    visualizer.dataset_meta = {'classes': ('cat',)}
    sample = [((2, 3, 6, 8), 0, 0.9), ((20, 3, 26, 8), 0, 0.1)]
    visualizer.add_datasample('val_img', np.zeros((40, 50, 3), np.uint8), sample, step=5)
    image = np.asarray(Image.open(tmp_path / 'vis_data' / 'vis_image' / 'val_img_5.png'))
    assert (image[3:8, 2:6] == (255, 0, 0)).all()
    assert image[8:, 6:].any()
    assert not image[:8, 6:].any()


def test_the_image_is_a_copy_in_and_out():
    image = np.zeros((2, 2, 3), np.uint8)
    visualizer = Visualizer(image=image)
    image[:] = 7
    visualizer.get_image()[:] = 9
    assert visualizer.get_image().max() == 0


def test_an_image_must_be_set_before_it_is_read():
    with pytest.raises(RuntimeError, match='call set_image'):
        Visualizer().get_image()


def test_dataset_meta_is_kept():
    visualizer = Visualizer()
    assert visualizer.dataset_meta is None
    visualizer.dataset_meta = {'classes': ('cat',)}
    assert visualizer.dataset_meta == {'classes': ('cat',)}


def test_the_registry_builds_a_named_instance():
    built = VISUALIZERS.build({'type': 'Visualizer', 'name': 'test_registry_built'})
    assert Visualizer.get_instance('test_registry_built') is built


def test_a_tracker_is_set_up_once_at_its_first_use():
    tracker = Recorder()
    assert tracker.calls == []
    tracker.experiment
    tracker.experiment
    assert tracker.calls == [('init',)]


def test_a_set_up_that_failed_is_tried_again():
    class Flaky(Recorder):
        tries = 0

        def _init_env(self):
            self.tries += 1
            if self.tries == 1:
                raise ConnectionError('first try')

    tracker = Flaky()
    with pytest.raises(ConnectionError):
        tracker.experiment
    tracker.experiment
    assert tracker.tries == 2


def test_force_init_env_needs_an_init_env():
    class Bare:
        @force_init_env
        def use(self):
            return 1

    with pytest.raises(AttributeError, match='Bare uses force_init_env'):
        Bare().use()


def write_from_every_rank(rank, world_size, folder):
    visualizer = Visualizer(vis_backends=[LocalVisBackend(folder)])
    visualizer.add_scalar('rank', rank, step=world_size)
    visualizer.close()


@pytest.mark.distributed
def test_only_rank_0_writes(tmp_path, read_lines):
    run_distributed(write_from_every_rank, 2, str(tmp_path))
    assert read_lines(tmp_path / 'scalars.json') == [{'rank': 0, 'step': 2}]


class ByItsMethods:
    """A tracker that has the methods and derives from nothing."""

    def __init__(self, save_dir=None):
        self.calls = []

    def __getattr__(self, name):
        if name.startswith('add_') or name == 'close':
            return lambda *args, **kwargs: self.calls.append((name, *args))
        raise AttributeError(name)


@pytest.mark.parametrize('by_config', [True, False])
def test_a_tracker_is_known_by_its_methods(by_config, tmp_path):
    given = {'type': ByItsMethods} if by_config else ByItsMethods()
    visualizer = Visualizer(vis_backends=[given], save_dir=str(tmp_path))
    backend = visualizer.get_backend('ByItsMethods')
    visualizer.axes = {'iter': 3}
    visualizer.add_scalar('loss', torch.tensor(0.5), step=1)
    visualizer.add_scalars({'a': 1.0}, step=2)
    visualizer.close()
    assert backend.calls == [
        ('add_scalar', 'loss', 0.5, 1),
        ('add_scalars', {'a': 1.0}, 2, None),
        ('close',),
    ]


def test_what_lacks_a_method_of_a_tracker_is_named():
    class Half:
        def add_scalar(self, *args):
            pass

    with pytest.raises(TypeError, match='It lacks add_config, add_graph'):
        Visualizer(vis_backends=[Half()])
    with pytest.raises(TypeError, match='A tracker is given as a config'):
        Visualizer(vis_backends=[ByItsMethods])


def test_the_figure_exists_before_an_image_as_3d_visualizers_use_it():
    # Recorded from MMEngine 0.10.7: dpi 100, and an image that is set later gives the size.
    visualizer = Visualizer()
    visualizer.ax_save.axis('off')
    assert visualizer.dpi == 100
    assert visualizer.fig_save is visualizer.ax_save.figure
    assert visualizer.fig_save_canvas.figure is visualizer.fig_save
    visualizer.set_image(np.zeros((20, 30, 3), np.uint8))
    assert visualizer.get_image().shape == (20, 30, 3)


def test_a_config_may_name_a_tracker_without_all_methods(tmp_path):
    records = []

    class Tracker:
        def __init__(self, save_dir=None):
            self.save_dir = save_dir

        def add_scalars(self, values, step=0, file_path=None):
            records.append(values)

    visualizer = Visualizer(vis_backends=[{'type': Tracker}], save_dir=str(tmp_path))
    visualizer.add_scalars({'a': 1.0})
    assert records == [{'a': 1.0}]
