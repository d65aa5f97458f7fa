"""What is drawn, pixel by pixel, against arrays made by hand."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.font_manager import FontProperties

from mmengine.utils.errors import ArgumentError
from mmengine.visualization import Visualizer

RED, BLUE, GREY = (255, 0, 0), (0, 0, 255), (50, 50, 50)
# One pixel, where a figure has 100 dots per inch.
PIXEL = 0.72


def canvas_of(height, width, color=GREY):
    return np.full((height, width, 3), color, np.uint8)


@pytest.fixture
def visualizer():
    return Visualizer(image=canvas_of(20, 30))


def changed(visualizer, background=GREY):
    """Where the picture differs from its background."""
    return (visualizer.get_image() != background).any(axis=-1)


def box_mask(shape, x1, y1, x2, y2):
    mask = np.zeros(shape, bool)
    mask[y1:y2, x1:x2] = True
    return mask


@pytest.mark.parametrize('dpi', [None, 72, 96.5, 300])
@pytest.mark.parametrize('size', [(1, 1), (5, 7), (29, 58), (37, 1001), (213, 16)])
def test_a_picture_that_is_drawn_on_keeps_its_pixels(size, dpi):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    config = {'frameon': False} if dpi is None else {'frameon': False, 'dpi': dpi}
    visualizer = Visualizer(image=image, fig_save_cfg=config)
    visualizer.draw_bboxes(torch.zeros(0, 4))
    assert visualizer.dpi == (dpi or matplotlib.rcParams['figure.dpi'])
    assert (visualizer.get_image() == image).all()
    assert visualizer.fig_save_canvas.get_width_height() == (size[1], size[0])


def test_a_new_image_takes_away_what_was_drawn(visualizer):
    visualizer.draw_bboxes(torch.tensor([2, 3, 9, 8]), face_colors='r')
    other = canvas_of(11, 7, BLUE)
    visualizer.set_image(other)
    assert (visualizer.height, visualizer.width) == (11, 7)
    assert (visualizer.get_image() == other).all()


@pytest.mark.parametrize(
    'image',
    [
        np.full((4, 5), 7, np.uint8),
        np.full((4, 5, 1), 7, np.uint8),
        np.full((4, 5, 4), 7, np.uint8),
        np.full((4, 5, 3), 7.9),
        np.full((4, 5, 3), 7, np.int64),
    ],
    ids=['grey', 'one channel', 'alpha', 'float', 'int64'],
)
def test_images_of_all_kinds_become_rgb(image):
    shown = Visualizer(image=image).get_image()
    assert (shown.shape, shown.dtype) == ((4, 5, 3), np.uint8)
    assert (shown == 7).all()


@pytest.mark.parametrize(
    ('image', 'error'),
    [
        (torch.zeros(4, 5, 3), TypeError),
        (None, TypeError),
        (np.array([['a']]), TypeError),
        (np.zeros(4), ArgumentError),
        (np.zeros((4, 5, 2)), ArgumentError),
        (np.zeros((0, 5, 3)), ArgumentError),
        (np.full((4, 5, 3), 256), ArgumentError),
        (np.full((4, 5, 3), -1.0), ArgumentError),
    ],
)
def test_what_is_no_image_is_refused(image, error):
    with pytest.raises(error, match='An image'):
        Visualizer().set_image(image)


@pytest.mark.parametrize('form', [torch.tensor, np.array], ids=['tensor', 'array'])
def test_a_filled_box_covers_its_pixels_and_no_others(visualizer, form):
    visualizer.draw_bboxes(form([2, 3, 6, 8]), edge_colors='none', face_colors='r', alpha=1)
    expected = canvas_of(20, 30)
    expected[3:8, 2:6] = RED
    assert (visualizer.get_image() == expected).all()


def test_alpha_mixes_a_box_with_the_image(visualizer):
    visualizer.draw_bboxes(
        torch.tensor([2, 3, 6, 8]), edge_colors='none', face_colors=(200, 100, 0), alpha=0.5
    )
    # (200 + 50) / 2, (100 + 50) / 2, (0 + 50) / 2; the rasterizer rounds in 256ths.
    inside = visualizer.get_image()[3:8, 2:6].astype(int)
    assert abs(inside - (125, 75, 25)).max() <= 1
    assert (changed(visualizer) == box_mask((20, 30), 2, 3, 6, 8)).all()


def test_the_edge_of_a_box_lies_on_its_line(visualizer):
    visualizer.draw_bboxes(
        torch.tensor([5.0, 4, 25, 16]), edge_colors='b', line_widths=2 * PIXEL, alpha=1
    )
    # Two pixels wide: one on each side of the line.
    edge = box_mask((20, 30), 4, 3, 26, 17) & ~box_mask((20, 30), 6, 5, 24, 15)
    assert (changed(visualizer) == edge).all()
    assert (visualizer.get_image()[4, 6:24] == BLUE).all()


def test_each_box_has_its_own_style(visualizer):
    visualizer.draw_bboxes(
        torch.tensor([[1, 1, 5, 5], [10, 1, 15, 5]]),
        edge_colors=['r', (0, 0, 255)],
        line_styles=['-', '-'],
        line_widths=[2 * PIXEL, 3.4 * PIXEL],
        face_colors=['none', 'b'],
        alpha=1,
    )
    image, touched = visualizer.get_image(), changed(visualizer)
    assert (image[2:4, 2:4] == GREY).all()
    assert (image[2:4, 11:14] == BLUE).all()
    ring = box_mask((20, 30), 0, 0, 6, 6) & ~box_mask((20, 30), 2, 2, 4, 4)
    assert (touched[:, :7] == ring[:, :7]).all()
    assert (image[:2, 1:5] == RED).all()
    assert touched[:, 7:].any(axis=0).sum() > touched[:, :7].any(axis=0).sum() + 1


def test_edges_are_no_wider_than_suits_the_image(visualizer):
    visualizer.draw_bboxes(torch.tensor([10, 10, 29, 19]), line_widths=100)
    # A quarter of the font size 10, in inch / 72: 3.5 pixels, half of them on each side.
    assert not changed(visualizer)[:8].any()
    assert not changed(visualizer)[:, :8].any()


@pytest.mark.parametrize(
    'boxes', [torch.zeros(2, 3), torch.tensor([6, 3, 2, 8]), torch.tensor([1, 8, 2, 3])]
)
def test_what_is_no_box_is_refused(visualizer, boxes):
    with pytest.raises(ArgumentError):
        visualizer.draw_bboxes(boxes)


def test_a_polygon_covers_what_is_between_its_sides():
    visualizer = Visualizer(image=canvas_of(40, 40))
    triangle = np.array([[2, 2], [38, 2], [2, 38]])
    visualizer.draw_polygons(triangle, edge_colors='none', face_colors='r', alpha=1)
    rows, columns = np.mgrid[:40, :40]
    inside = (rows >= 2) & (columns >= 2) & (rows + columns + 2 <= 40)
    outside = (rows < 2) | (columns < 2) | (rows + columns >= 40)
    image = visualizer.get_image()
    assert (image[inside] == RED).all()
    assert (image[outside] == GREY).all()


def test_polygons_are_given_as_a_list_too(visualizer):
    square = [[1, 1], [4, 1], [4, 4], [1, 4]]
    visualizer.draw_polygons(
        [torch.tensor(square), np.array(square) + 10],
        edge_colors='none',
        face_colors=['r', 'b'],
        alpha=1,
    )
    expected = canvas_of(20, 30)
    expected[1:4, 1:4], expected[11:14, 11:14] = RED, BLUE
    assert (visualizer.get_image() == expected).all()


@pytest.mark.parametrize(
    ('polygons', 'error'),
    [
        (([[1, 1]],), TypeError),
        ([[[1, 1], [2, 2]]], TypeError),
        (torch.zeros(3, 3), ArgumentError),
        ([torch.zeros(4)], ArgumentError),
    ],
)
def test_what_is_no_polygon_is_refused(visualizer, polygons, error):
    with pytest.raises(error):
        visualizer.draw_polygons(polygons)


def test_a_circle_covers_what_is_within_its_radius():
    visualizer = Visualizer(image=canvas_of(40, 60))
    visualizer.draw_circles(
        torch.tensor([[20, 20], [45, 25]]),
        torch.tensor([15, 8]),
        edge_colors='none',
        face_colors=['r', 'b'],
        alpha=1,
    )
    rows, columns = np.mgrid[:40, :60] + 0.5
    image = visualizer.get_image()
    untouched = np.ones((40, 60), bool)
    for (x, y), radius, color in (((20, 20), 15, RED), ((45, 25), 8, BLUE)):
        distance = np.hypot(rows - y, columns - x)
        # From its middle, a pixel reaches 0.71 far.
        assert (image[distance < radius - 0.8] == color).all()
        untouched &= distance > radius + 0.8
    assert (image[untouched] == GREY).all()


def test_a_single_circle_needs_no_list(visualizer):
    visualizer.draw_circles(torch.tensor([10, 10]), torch.tensor(4), face_colors='b', alpha=1)
    assert (visualizer.get_image()[10, 10] == BLUE).all()


@pytest.mark.parametrize(
    ('center', 'radius', 'error'),
    [
        (torch.zeros(2, 2), torch.ones(1), ArgumentError),
        (torch.zeros(2, 3), torch.ones(2), ArgumentError),
        (torch.zeros(1, 2), torch.tensor([-1]), ArgumentError),
        (torch.zeros(1, 2), 3, TypeError),
        ([[1, 2]], torch.ones(1), TypeError),
    ],
)
def test_what_is_no_circle_is_refused(visualizer, center, radius, error):
    with pytest.raises(error):
        visualizer.draw_circles(center, radius)


def test_a_line_of_one_pixel_fills_the_pixels_it_runs_through(visualizer):
    visualizer.draw_lines(
        torch.tensor([3.0, 20.0]), torch.tensor([4.5, 4.5]), colors='r', line_widths=PIXEL
    )
    image = visualizer.get_image()
    assert (image[4, 4:20] == RED).all()
    # At each end the line begins or ends in the middle of a pixel.
    assert (changed(visualizer) == box_mask((20, 30), 3, 4, 21, 5)).all()


def test_each_line_has_its_own_style(visualizer):
    x_ends, y_ends = torch.tensor([[3.0, 20], [3, 20]]), torch.tensor([[2.0, 2], [10, 10]])
    visualizer.draw_lines(
        x_ends,
        y_ends,
        colors=[(255, 0, 0), 'b'],
        line_widths=[2 * PIXEL, 4 * PIXEL],
        line_styles=['-', '-'],
    )
    expected = canvas_of(20, 30)
    expected[1:3, 3:20], expected[8:12, 3:20] = RED, BLUE
    assert (visualizer.get_image() == expected).all()


def test_a_dashed_line_has_gaps(visualizer):
    ends = torch.tensor([0.0, 30.0]), torch.tensor([4.5, 4.5])
    visualizer.draw_lines(*ends, colors='r', line_styles='--', line_widths=PIXEL)
    row = changed(visualizer)[4]
    assert row.any()
    assert not row.all()


@pytest.mark.parametrize(
    ('x_ends', 'y_ends', 'error'),
    [
        (torch.zeros(2, 3), torch.zeros(2, 3), ArgumentError),
        (torch.zeros(2), torch.zeros(2, 2), ArgumentError),
        ([1, 2], [3, 4], TypeError),
    ],
)
def test_what_is_no_line_is_refused(visualizer, x_ends, y_ends, error):
    with pytest.raises(error):
        visualizer.draw_lines(x_ends, y_ends)


def test_a_square_point_lies_around_its_position(visualizer):
    size = (6 * PIXEL) ** 2
    visualizer.draw_points(torch.tensor([[10, 8]]), colors='r', marker='s', sizes=size)
    # The outline of the marker, 1 / 72 inch wide, lies half outside; a marker begins on a pixel.
    assert (visualizer.get_image()[6:10, 8:12] == RED).all()
    assert not changed(visualizer)[~box_mask((20, 30), 6, 4, 15, 13)].any()


def test_each_point_has_its_own_colour_and_size(visualizer):
    visualizer.draw_points(
        np.array([[5, 5], [20, 10]]), colors=['r', (0, 0, 255)], sizes=torch.tensor([10, 80])
    )
    image, touched = visualizer.get_image(), changed(visualizer)
    assert (image[5, 5] == RED).all()
    assert (image[10, 20] == BLUE).all()
    assert touched[:, :12].sum() < touched[:, 12:].sum()


@pytest.mark.parametrize(
    ('positions', 'error'), [([[2, 3]], TypeError), (torch.zeros(2, 3), ArgumentError)]
)
def test_what_is_no_point_is_refused(visualizer, positions, error):
    with pytest.raises(error):
        visualizer.draw_points(positions)


@pytest.mark.parametrize(
    ('vertical', 'horizontal', 'rows', 'columns'),
    [
        ('top', 'left', slice(50, None), slice(50, None)),
        ('bottom', 'right', slice(None, 50), slice(None, 50)),
        ('bottom', 'left', slice(None, 50), slice(50, None)),
    ],
)
def test_a_text_lies_where_its_alignment_says(vertical, horizontal, rows, columns):
    visualizer = Visualizer(image=canvas_of(100, 100))
    visualizer.draw_texts(
        'cat',
        torch.tensor([50, 50]),
        font_sizes=12,
        colors='b',
        vertical_alignments=vertical,
        horizontal_alignments=horizontal,
    )
    touched = changed(visualizer)
    assert touched[rows, columns].sum() == touched.sum() > 50


def test_the_pixels_of_a_text_mix_its_colour_with_the_image():
    visualizer = Visualizer(image=canvas_of(100, 100, (0, 0, 0)))
    visualizer.draw_texts(['cat'], torch.tensor([[20, 20]]), font_sizes=30, colors=(255, 0, 0))
    image = visualizer.get_image()
    assert image[..., 0].max() == 255
    assert image[..., 1:].max() == 0


def test_each_text_has_its_own_style():
    visualizer = Visualizer(image=canvas_of(100, 100, (0, 0, 0)))
    visualizer.draw_texts(
        ['MM', 'MM'],
        torch.tensor([[5, 5], [5, 60]]),
        colors=['r', 'b'],
        font_sizes=[8, 20],
        vertical_alignments=['top', 'top'],
        horizontal_alignments=['left', 'left'],
        font_families=['sans-serif', 'monospace'],
        bboxes=[None, {'facecolor': 'b', 'edgecolor': 'none'}],
        font_properties=[FontProperties(weight='bold'), FontProperties()],
    )
    image = visualizer.get_image()
    upper, lower = image[:50], image[50:]
    assert (upper[..., 0].max(), upper[..., 2].max()) == (255, 0)
    assert (lower[..., 0].max(), lower[..., 2].max()) == (0, 255)
    assert (image[58, 3:30] == BLUE).all()  # the box behind the second
    assert (upper > 0).any(axis=-1).sum() < (lower > 0).any(axis=-1).sum()


def test_texts_of_a_large_image_are_large_by_default():
    heights = []
    for side in (400, 1800):
        visualizer = Visualizer(image=canvas_of(side, side))
        visualizer.draw_texts('M', torch.tensor([10, 10]))
        heights.append(changed(visualizer).any(axis=1).sum())
    # 10 points up to a side of 990 pixels, then a 90th of it: 1800 / 90 = 20.
    assert heights[1] == pytest.approx(2 * heights[0], abs=1)


@pytest.mark.parametrize(
    ('texts', 'positions', 'options', 'error'),
    [
        (['a'], torch.zeros(2, 2), {}, ArgumentError),
        (['a'], torch.zeros(1, 3), {}, ArgumentError),
        (['a'], [[1, 2]], {}, TypeError),
        (5, torch.zeros(1, 2), {}, TypeError),
        (['a', 'b'], torch.zeros(2, 2), {'colors': ['r']}, ArgumentError),
        (['a', 'b'], torch.zeros(2, 2), {'bboxes': [{}]}, ArgumentError),
        (['a'], torch.zeros(1, 2), {'font_sizes': 'big'}, TypeError),
        (['a'], torch.zeros(1, 2), {'vertical_alignments': 'nosuch'}, ValueError),
    ],
)
def test_texts_of_wrong_arguments_are_refused(visualizer, texts, positions, options, error):
    with pytest.raises(error):
        visualizer.draw_texts(texts, positions, **options)


@pytest.mark.parametrize('form', [torch.from_numpy, np.asarray], ids=['tensor', 'array'])
@pytest.mark.parametrize('alpha', [0.0, 0.25, 0.5, 0.8, 1])
def test_a_mask_mixes_its_colour_into_its_pixels(form, alpha):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (12, 13, 3)).astype(np.uint8)
    mask = rng.random((12, 13)) < 0.5
    visualizer = Visualizer(image=image)
    visualizer.draw_binary_masks(form(mask), colors=(200, 100, 33), alphas=alpha)
    mixed = np.rint(image * (1 - alpha) + np.array([200, 100, 33]) * alpha)
    assert (visualizer.get_image() == np.where(mask[..., None], mixed, image)).all()


def test_masks_are_laid_one_over_the_other(visualizer):
    masks = np.stack([box_mask((20, 30), 0, 0, 4, 4), box_mask((20, 30), 2, 2, 6, 6)])
    visualizer.draw_binary_masks(masks, colors=['r', (0, 0, 255)], alphas=[0.5, 1.0])
    expected = canvas_of(20, 30)
    expected[:4, :4] = (152, 25, 25)  # (255 + 50) / 2 = 152.5, to the even neighbour
    expected[2:6, 2:6] = BLUE
    assert (visualizer.get_image() == expected).all()


def test_shapes_stay_above_masks_and_texts_above_all():
    visualizer = Visualizer(image=canvas_of(20, 90))
    black = {'edgecolor': 'none', 'facecolor': 'k', 'pad': 0}
    visualizer.draw_texts('M', torch.tensor([0, 0]), font_sizes=30, colors='k', bboxes=black)
    visualizer.draw_lines(torch.tensor([0, 90]), torch.tensor([10, 10]), 'w', line_widths=2)
    visualizer.draw_bboxes(
        torch.tensor([0, 0, 90, 20]), edge_colors='none', face_colors='r', alpha=0.5
    )
    visualizer.draw_binary_masks(np.ones((20, 90), bool), colors='b', alphas=1.0)
    image = visualizer.get_image()
    assert (image[5, 5] == 0).all()
    assert (image[10, 5] == 0).all()
    assert (image[10, 80] == 255).all()
    assert abs(image[18, 80].astype(int) - (128, 0, 127)).max() <= 1


@pytest.mark.parametrize(
    ('masks', 'options', 'error'),
    [
        (np.zeros((20, 30), np.uint8), {}, ArgumentError),
        (np.zeros((30, 20), bool), {}, ArgumentError),
        (np.zeros((20, 30, 3), bool), {}, ArgumentError),
        ([[True]], {}, TypeError),
        (np.ones((20, 30), bool), {'alphas': 2.0}, ArgumentError),
        (np.ones((20, 30), bool), {'colors': (300, 0, 0)}, ArgumentError),
        (np.ones((2, 20, 30), bool), {'colors': ['r']}, ArgumentError),
        (np.ones((2, 20, 30), bool), {'alphas': [0.5]}, ArgumentError),
        (np.ones((20, 30), bool), {'colors': np.array([1, 2, 3])}, TypeError),
    ],
)
def test_masks_of_wrong_arguments_are_refused(visualizer, masks, options, error):
    with pytest.raises(error):
        visualizer.draw_binary_masks(masks, **options)


@pytest.mark.parametrize(
    ('draw', 'arguments'),
    [
        ('draw_points', (torch.zeros(0, 2),)),
        ('draw_lines', (torch.zeros(0, 2), torch.zeros(0, 2))),
        ('draw_circles', (torch.zeros(0, 2), torch.zeros(0))),
        ('draw_bboxes', (torch.zeros(0, 4),)),
        ('draw_polygons', ([],)),
        ('draw_texts', ([], torch.zeros(0, 2))),
        ('draw_binary_masks', (torch.zeros(0, 20, 30, dtype=torch.bool),)),
    ],
)
def test_nothing_to_draw_leaves_the_image_and_calls_can_be_chained(visualizer, draw, arguments):
    assert getattr(visualizer, draw)(*arguments) is visualizer
    assert not changed(visualizer).any()


@pytest.mark.parametrize(
    ('draw', 'arguments'),
    [
        ('draw_points', (torch.tensor([31, 3]),)),
        ('draw_lines', (torch.tensor([-1, 3]), torch.tensor([5, 5]))),
        ('draw_circles', (torch.tensor([5, 5]), torch.tensor([6]))),
        ('draw_bboxes', (torch.tensor([2, 3, 9, 21]),)),
        ('draw_texts', ('a', torch.tensor([3, 25]))),
    ],
)
def test_what_reaches_out_of_the_image_is_cut_with_a_warning(visualizer, draw, arguments):
    with pytest.warns(UserWarning, match='out of the image of 30 x 20'):
        getattr(visualizer, draw)(*arguments)
    assert visualizer.get_image().shape == (20, 30, 3)
    # The scale is still that of the image.
    visualizer.draw_bboxes(
        torch.tensor([20, 15, 24, 18]), edge_colors='none', face_colors='b', alpha=1
    )
    assert (visualizer.get_image()[15:18, 20:24] == BLUE).all()


def test_a_box_as_large_as_the_image_reaches_nowhere_out(visualizer):
    visualizer.draw_bboxes(torch.tensor([0, 0, 30, 20]))


@pytest.mark.parametrize(
    ('draw', 'arguments'),
    [
        ('draw_bboxes', (torch.tensor([1, 2, 3, 4]),)),
        ('draw_binary_masks', (np.ones((2, 2), bool),)),
        ('draw_points', (torch.tensor([1, 2]),)),
    ],
)
def test_drawing_needs_an_image(draw, arguments):
    with pytest.raises(RuntimeError, match='call set_image'):
        getattr(Visualizer(), draw)(*arguments)


def test_a_project_draws_on_the_axes_in_the_coordinates_of_the_image(visualizer):
    visualizer.ax_save.fill([2, 6, 6, 2], [3, 3, 8, 8], facecolor='r', edgecolor='none')
    assert (changed(visualizer) == box_mask((20, 30), 2, 3, 6, 8)).all()
    assert visualizer.fig_save is visualizer.ax_save.figure


def test_drawing_leaves_pyplot_alone_and_importing_leaves_everything_alone():
    script = """
import sys
import mmengine.visualization
heavy = ('matplotlib', 'cv2', 'PIL', 'wandb', 'mlflow', 'tensorboard', 'torch.utils.tensorboard')
assert not [name for name in heavy if name in sys.modules]
import numpy as np, torch
visualizer = mmengine.visualization.Visualizer(image=np.zeros((4, 5, 3), np.uint8))
visualizer.get_image()
visualizer.draw_binary_masks(np.ones((4, 5), bool), colors=(1, 2, 3))
visualizer.draw_featmap(torch.ones(2, 4, 5), resize_shape=(8, 10))
assert 'matplotlib' not in sys.modules
visualizer.draw_bboxes(torch.tensor([0, 0, 2, 2])).draw_texts('a', torch.tensor([1, 1]))
visualizer.get_image()
assert 'matplotlib.figure' in sys.modules
assert 'matplotlib.pyplot' not in sys.modules
assert 'cv2' not in sys.modules
"""
    subprocess.run([sys.executable, '-c', script], check=True)
