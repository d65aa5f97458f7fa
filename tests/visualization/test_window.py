"""Windows: a toolkit that only counts, and machines that have none."""

import sys
import types

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

from mmengine.utils.errors import ArgumentError
from mmengine.visualization import Visualizer

IMAGE = np.full((20, 30, 3), (255, 0, 9), np.uint8)


@pytest.fixture
def toolkit(monkeypatch):
    """A matplotlib backend whose windows note what happens to them."""
    events = []

    class Canvas(FigureCanvasAgg):
        required_interactive_framework = 'headless'

        def start_event_loop(self, timeout=0):
            self.draw()
            pixel = np.asarray(self.buffer_rgba())[10, 15, :3].tolist()
            events.append(('wait', timeout, pixel))

    class Manager(FigureManagerBase):
        def __init__(self, canvas, num):
            super().__init__(canvas, num)
            events.clear()  # a manager gives itself a title first
            events.append(('open', *canvas.get_width_height()))

        def set_window_title(self, title):
            events.append(('title', title))

        def show(self):
            events.append(('show',))

        def destroy(self):
            events.append(('destroy',))

    Canvas.manager_class = Manager
    module = types.ModuleType('counting_toolkit')
    module.FigureCanvas, module.FigureManager = Canvas, Manager
    monkeypatch.setitem(sys.modules, 'counting_toolkit', module)
    pyplot.switch_backend('module://counting_toolkit')
    yield events
    pyplot.switch_backend('agg')


def test_an_image_is_shown_until_the_time_is_up(toolkit):
    visualizer = Visualizer(image=IMAGE, fig_show_cfg={'figsize': (0.3, 0.2), 'dpi': 100})
    visualizer.show(win_name='cat', wait_time=1.5)
    assert toolkit == [
        ('open', 30, 20),
        ('title', 'cat'),
        ('show',),
        ('wait', 1.5, [255, 0, 9]),
    ]


def test_the_next_image_is_shown_in_the_same_window_and_close_closes_it(toolkit):
    visualizer = Visualizer(fig_show_cfg={'figsize': (0.3, 0.2), 'dpi': 100})
    for value in (7, 90):
        visualizer.show(np.full((20, 30), value, np.uint8), wait_time=0.1)
    visualizer.close()
    visualizer.close()
    kinds = [event[0] for event in toolkit]
    assert kinds == ['open', 'title', 'show', 'wait', 'title', 'show', 'wait', 'destroy']
    assert [event[2] for event in toolkit if event[0] == 'wait'] == [[7] * 3, [90] * 3]


def test_pyplot_keeps_no_figure(toolkit):
    Visualizer(image=IMAGE).show()
    assert pyplot.get_fignums() == []


def test_without_a_screen_showing_warns_once_and_goes_on(warned):
    assert matplotlib.get_backend() == 'agg'
    visualizer = Visualizer(image=IMAGE)
    visualizer.show()
    visualizer.show()
    assert len(warned) == 1
    assert "backend 'agg'" in warned[0]


def test_a_toolkit_that_cannot_be_loaded_is_no_screen(warned, monkeypatch):
    def fail(*args, **kwargs):
        raise ImportError("Cannot load backend 'tkagg'")

    monkeypatch.setattr(pyplot, 'new_figure_manager', fail)
    Visualizer(image=IMAGE).show()
    assert "Cannot load backend 'tkagg'" in warned[0]


@pytest.fixture
def opencv(monkeypatch):
    """Stands for OpenCV: remembers its calls."""
    module = types.ModuleType('cv2')
    module.calls = []
    module.error = type('error', (Exception,), {})
    for name in ('namedWindow', 'setWindowTitle', 'imshow', 'waitKey'):
        monkeypatch.setattr(
            module,
            name,
            lambda *args, name=name: module.calls.append((name, *args)),
            raising=False,
        )
    monkeypatch.setitem(sys.modules, 'cv2', module)
    return module


@pytest.mark.parametrize(('wait_time', 'milliseconds'), [(0, 0), (1.5, 1500), (1e-5, 1)])
def test_opencv_shows_the_image_in_its_order_of_colours(opencv, wait_time, milliseconds):
    visualizer = Visualizer(image=IMAGE)
    visualizer.show(win_name='cat', wait_time=wait_time, backend='cv2')
    calls = opencv.calls
    window = calls[0][1]
    assert [call[0] for call in calls] == ['namedWindow', 'setWindowTitle', 'imshow', 'waitKey']
    assert calls[1] == ('setWindowTitle', window, 'cat')
    assert (calls[2][2] == (9, 0, 255)).all()
    assert calls[2][1] == window
    assert calls[3] == ('waitKey', milliseconds)


def test_opencv_without_windows_warns(opencv, warned):
    def fail(*args):
        raise opencv.error('The function is not implemented')

    opencv.imshow = fail
    Visualizer(image=IMAGE).show(backend='cv2')
    assert 'OpenCV can open no window (The function is not implemented)' in warned[0]


def test_a_missing_opencv_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'cv2', None)
    with pytest.raises(ImportError, match='pip install opencv-python'):
        Visualizer(image=IMAGE).show(backend='cv2')


def test_another_backend_is_refused():
    with pytest.raises(ArgumentError, match=r"'tk'"):
        Visualizer(image=IMAGE).show(backend='tk')
