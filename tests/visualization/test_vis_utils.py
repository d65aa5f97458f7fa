"""Argument checks, colours, heat maps and waiting, against values written down by hand."""

import numpy as np
import pytest
import torch
from matplotlib.backend_bases import CloseEvent, KeyEvent
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmengine.utils.errors import ArgumentError
from mmengine.visualization import utils


def test_a_value_of_another_type_is_refused_by_its_name():
    utils.check_type('sizes', 3, (int, float))
    with pytest.raises(TypeError, match=r'sizes is given as int or float, got str'):
        utils.check_type('sizes', '3', (int, float))


@pytest.mark.parametrize('value', [['r', 'g'], ['r', 'g', 'b'], 'r', None, ('r',)])
def test_a_list_that_is_long_enough_and_what_is_no_list_pass(value):
    utils.check_length('colors', value, 2)


def test_a_list_that_is_too_short_is_refused():
    with pytest.raises(ArgumentError, match=r'colors .* each of the 2 to draw.* got 1'):
        utils.check_length('colors', ['r'], 2)
    with pytest.raises(AssertionError):
        utils.check_type_and_length('colors', ['r'], (str, list), 2)
    with pytest.raises(TypeError):
        utils.check_type_and_length('colors', 1, (str, list), 2)


def test_a_single_value_is_repeated_and_a_list_stays():
    assert utils.value2list('r', (str, tuple), 3) == ['r', 'r', 'r']
    assert utils.value2list((1, 2, 3), (str, tuple), 2) == [(1, 2, 3), (1, 2, 3)]
    assert utils.value2list(['r', 'g'], (str, tuple), 2) == ['r', 'g']
    assert utils.value2list(None, str, 2) is None


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.int64])
def test_a_tensor_becomes_an_array(dtype):
    tensor = torch.tensor([1, 2], dtype=dtype)
    array = utils.tensor2ndarray(tensor)
    assert isinstance(array, np.ndarray)
    assert array.tolist() == [1, 2]


def test_a_tensor_of_a_graph_becomes_an_array_and_others_stay():
    assert utils.tensor2ndarray(torch.ones(1, requires_grad=True)).tolist() == [1]
    assert utils.tensor2ndarray('x') == 'x'


def test_colours_for_matplotlib_lie_between_0_and_1():
    assert utils.color_val_matplotlib('red') == 'red'
    assert utils.color_val_matplotlib((255, 51, 0)) == (1.0, 0.2, 0.0)
    assert utils.color_val_matplotlib(['b', (0, 255, 102)]) == ['b', (0.0, 1.0, 0.4)]


@pytest.mark.parametrize('wrong', [(1, 2), (1, 2, 3, 4), (0, 0, 256), (-1, 0, 0)])
def test_a_tuple_that_is_no_colour_is_refused(wrong):
    with pytest.raises(ArgumentError, match='0 to 255'):
        utils.color_val_matplotlib(wrong)


def test_a_colour_of_another_type_is_refused():
    with pytest.raises(TypeError, match='got ndarray'):
        utils.color_val_matplotlib(np.array([1, 2, 3]))


@pytest.mark.parametrize(
    ('name', 'rgb'),
    [('r', (255, 0, 0)), ('g', (0, 127, 0)), ('#102030', (16, 32, 48)), ('orange', (255, 165, 0))],
)
def test_named_colours_have_their_numbers(name, rgb):
    assert utils.color_str2rgb(name) == rgb


def test_an_unknown_colour_is_refused():
    with pytest.raises(ValueError, match='nosuch'):
        utils.color_str2rgb('nosuch')


def test_a_heat_map_runs_from_dark_blue_to_dark_red():
    # Twelve steps of the rainbow, as OpenCV's COLORMAP_JET has them at 255 / 11 * (0 ... 11).
    rainbow = [
        [[0, 0, 128], [0, 0, 220], [0, 56, 255], [0, 148, 255]],
        [[0, 240, 255], [78, 255, 178], [174, 255, 82], [255, 244, 0]],
        [[255, 152, 0], [255, 60, 0], [224, 0, 0], [128, 0, 0]],
    ]
    values = torch.arange(12.0).reshape(3, 4)
    for form in (values, values[None], values.numpy(), values * -1e6 + 1, values.half()):
        expected = rainbow if form is not None and form.flatten()[0] == 0 else None
        heat = utils.convert_overlay_heatmap(form)
        assert (heat.shape, heat.dtype) == ((3, 4, 3), np.uint8)
        if expected is not None:
            assert heat.tolist() == expected
        else:
            assert heat[::-1, ::-1].tolist() == rainbow


def test_three_channels_of_a_heat_map_are_weighed_as_blue_green_and_red():
    # Spread from 0 to 255 they are themselves; left: 0.587 * 255 + 0.299 * 10 = 152.7.
    maps = torch.tensor([[[0.0, 100]], [[255.0, 0]], [[10.0, 20]]])
    # 153: green falls from 255 at 4 * 153 - 510 = 102 < 127; red = 383 - |612 - 765| = 230.
    # Right: 11.4 + 5.98 = 17.4 -> 17: blue = 383 - |68 - 255| = 196.
    assert utils.convert_overlay_heatmap(maps).tolist() == [[[230, 255, 26], [0, 0, 196]]]


def test_a_heat_map_is_laid_over_an_image():
    values, image = np.array([[0.0, 1.0]]), np.full((1, 2, 3), 100, np.uint8)
    # 0.3 * 128 + 0.7 * 100 = 108.4
    expected = [[[70, 70, 108], [108, 70, 70]]]
    assert utils.convert_overlay_heatmap(values, image, 0.3).tolist() == expected
    assert utils.convert_overlay_heatmap(values, image[..., 0], 0.3).tolist() == expected


@pytest.mark.parametrize('values', [np.ones((2, 2)), np.full((2, 2), np.nan)])
def test_a_heat_map_without_any_difference_is_all_blue(values):
    assert (utils.convert_overlay_heatmap(values) == (0, 0, 128)).all()


def test_what_is_no_number_counts_as_the_lowest():
    heat = utils.convert_overlay_heatmap(np.array([[0.0, np.nan, np.inf, 1.0]]))
    assert heat.tolist() == [[[0, 0, 128], [0, 0, 128], [128, 0, 0], [128, 0, 0]]]


@pytest.mark.parametrize(
    ('values', 'image', 'alpha'),
    [
        (np.ones((2, 3, 4)), None, 0.5),
        (np.ones(3), None, 0.5),
        (np.ones((3, 4)), np.zeros((4, 3, 3), np.uint8), 0.5),
        (np.ones((3, 4)), np.zeros((3, 4, 3), np.uint8), 1.5),
    ],
    ids=['channels', 'one axis', 'size', 'alpha'],
)
def test_a_heat_map_of_wrong_arguments_is_refused(values, image, alpha):
    with pytest.raises(ArgumentError):
        utils.convert_overlay_heatmap(values, image, alpha)


def test_a_canvas_has_the_pixels_of_its_figure():
    figure = Figure(figsize=(0.4, 0.2), dpi=100, facecolor='#0a141e')
    pixels = utils.img_from_canvas(FigureCanvasAgg(figure))
    assert (pixels.shape, pixels.dtype) == ((20, 40, 3), np.uint8)
    assert (pixels == (10, 20, 30)).all()


class WindowCanvas(FigureCanvasAgg):
    """Claims to be a window in which ``event`` happens after a while."""

    required_interactive_framework = 'headless'
    event = None

    def flush_events(self):
        if self.event is not None:
            event, self.event = self.event, None
            self.callbacks.process(event.name, event)


@pytest.mark.parametrize(
    ('make_event', 'expected'),
    [
        (lambda canvas: KeyEvent('key_press_event', canvas, 'c'), 0),
        (lambda canvas: CloseEvent('close_event', canvas), 1),
    ],
    ids=['key', 'close'],
)
def test_waiting_ends_with_the_key_or_the_window(make_event, expected):
    canvas = WindowCanvas(Figure())
    canvas.event = make_event(canvas)
    assert utils.wait_continue(canvas.figure, timeout=0, continue_key='c') == expected
    assert not any(canvas.callbacks.callbacks.get('close_event', {}))


def test_waiting_ends_with_the_time_and_not_with_another_key():
    canvas = WindowCanvas(Figure())
    canvas.event = KeyEvent('key_press_event', canvas, 'q')
    assert utils.wait_continue(canvas.figure, timeout=0.05) == 0
    assert canvas.event is None


def test_a_figure_without_a_window_is_not_waited_for():
    figure = Figure()
    FigureCanvasAgg(figure)
    assert utils.wait_continue(figure, timeout=0) == 0
