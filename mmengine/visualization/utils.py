"""Small helpers of drawing: checking arguments, colours, heat maps, pixels of a canvas."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.backend_bases import Event, FigureCanvasBase, KeyEvent
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

Color = str | tuple[Any, ...]
Types = type | tuple[type, ...]

# The rainbow from dark blue to dark red in 256 steps: each channel is a trapezoid, given by the
# height of its cut-off peak and by four times the step where it lies (red, green, blue).
_PEAK = np.array([383, 382, 383])
_CENTRE_TIMES_4 = np.array([765, 510, 255])
# A map of three channels is read as blue, green, red, and weighed as the eye does (BT.601).
_BGR_WEIGHTS = np.array([0.114, 0.587, 0.299])


def check_type(name: str, value: Any, valid_type: Types) -> None:
    """Refuse a ``value`` of another type.

    Raises:
        TypeError: If ``value`` is not a ``valid_type``. The message names the argument, ``name``.
    """
    if not isinstance(value, valid_type):
        valid = valid_type if isinstance(valid_type, tuple) else (valid_type,)
        expected = ' or '.join(kind.__name__ for kind in valid)
        raise TypeError(f'{name} is given as {expected}, got {type(value).__name__}.')


def check_length(name: str, value: Any, valid_length: int) -> None:
    """Refuse a list that is too short. Any other value applies to all items.

    Raises:
        ArgumentError: If ``value`` is a list of less than ``valid_length``.
    """
    if isinstance(value, list) and len(value) < valid_length:
        raise ArgumentError(
            f'{name} has an entry for each of the {valid_length} to draw, or is a single value; '
            f'got {len(value)} entries.'
        )


def check_type_and_length(name: str, value: Any, valid_type: Types, valid_length: int) -> None:
    """:func:`check_type` and :func:`check_length` in one."""
    check_type(name, value, valid_type)
    check_length(name, value, valid_length)


def value2list(value: Any, valid_type: Types, expand_dim: int) -> Any:
    """A list of ``expand_dim`` times ``value`` if it is a ``valid_type``; else ``value`` itself."""
    return [value] * expand_dim if isinstance(value, valid_type) else value


def tensor2ndarray(value: Any) -> Any:
    """A tensor as an array, off its device and its graph; anything else as it is."""
    if not isinstance(value, Tensor):
        return value
    values = value.detach().cpu()
    # numpy has no such type.
    return (values.float() if values.dtype is torch.bfloat16 else values).numpy()


def color_val_matplotlib(colors: Color | Sequence[Color]) -> Any:
    """Colours for matplotlib: tuples of 0 to 255 become 0 to 1, and names stay.

    Args:
        colors: A name or '#rrggbb', a tuple (red, green, blue), or a list of them.

    Raises:
        TypeError: If it is none of these.
        ArgumentError: If a tuple has no three numbers of 0 to 255.
    """
    if isinstance(colors, str):
        return colors
    if isinstance(colors, tuple):
        _require_rgb(colors)
        return tuple(channel / 255 for channel in colors)
    if isinstance(colors, list):
        return [color_val_matplotlib(color) for color in colors]
    raise TypeError(
        'A colour is a name, a tuple (red, green, blue) of 0 to 255, or a list of them; '
        f'got {type(colors).__name__}.'
    )


def color_str2rgb(color: str) -> tuple[int, int, int]:
    """The colour of a name or of '#rrggbb' as (red, green, blue) of 0 to 255.

    Raises:
        ValueError: If matplotlib has no such color.
    """
    from matplotlib.colors import to_rgb

    red, green, blue = (int(channel * 255) for channel in to_rgb(color))
    return red, green, blue


def rgb_of(color: Color) -> tuple[int, int, int]:
    """A colour in any of its forms as (red, green, blue) of 0 to 255."""
    if isinstance(color, str):
        return color_str2rgb(color)
    _require_rgb(color)
    return color


def _require_rgb(color: tuple[Any, ...]) -> None:
    if len(color) != 3 or not all(0 <= channel <= 255 for channel in color):
        raise ArgumentError(
            f'A colour as a tuple is (red, green, blue) of 0 to 255, got {color!r}.'
        )


def as_rgb(image: np.ndarray) -> np.ndarray:
    """An image of one, three or four channels as (H, W, 3); alpha is dropped."""
    if image.ndim == 2:
        image = image[..., None]
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image[..., :3]


def convert_overlay_heatmap(
    feat_map: np.ndarray | Tensor, img: np.ndarray | None = None, alpha: float = 0.5
) -> np.ndarray:
    """Show a map of numbers in colours from blue, its lowest, to red, its highest.

    A constant map is all blue, and so are values that are not numbers.

    Args:
        feat_map: Of shape (H, W), (1, H, W) or (3, H, W).
        img: uint8, (H, W, 3) or (H, W); the colours are laid over it.
        alpha: How strong the colours are over ``img``, 0 to 1.

    Returns:
        uint8 of shape (H, W, 3) in RGB.

    Raises:
        ArgumentError: If a shape or ``alpha`` is another.

    Example:
        >>> convert_overlay_heatmap(np.array([[0.0, 1.0]])).tolist()
        [[[0, 0, 128], [128, 0, 0]]]
    """
    values = np.asarray(tensor2ndarray(feat_map))
    if values.ndim == 3 and values.shape[0] in (1, 3):
        values = values[0] if values.shape[0] == 1 else values.transpose(1, 2, 0)
    elif values.ndim != 2:
        raise ArgumentError(
            f'A heat map is made of shape (H, W), (1, H, W) or (3, H, W), got {values.shape}.'
        )
    levels = _levels(values)
    if levels.ndim == 3:
        levels = np.rint(levels @ _BGR_WEIGHTS)
    steps = 4 * levels[..., None].astype(np.int64)
    heat = np.clip(_PEAK - np.abs(steps - _CENTRE_TIMES_4), 0, 255).astype(np.uint8)
    return heat if img is None else _lay_over(img, heat, alpha)


def _levels(values: np.ndarray) -> np.ndarray:
    """The values spread over the whole numbers from 0 to 255."""
    values = values.astype(np.float64)
    finite = values[np.isfinite(values)]
    lowest, highest = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    if highest <= lowest:
        return np.zeros_like(values)
    values = np.nan_to_num(values, nan=lowest, posinf=highest, neginf=lowest)
    # The little that is added keeps a level that rounding has put a hair below a whole number.
    spread: np.ndarray = np.floor((values - lowest) * (255 / (highest - lowest)) + 1e-6)
    return spread


def _lay_over(image: np.ndarray, heat: np.ndarray, alpha: float) -> np.ndarray:
    if not 0 <= alpha <= 1:
        raise ArgumentError(f'alpha lies from 0 to 1, got {alpha}.')
    if image.shape[:2] != heat.shape[:2]:
        raise ArgumentError(
            f'A map of {heat.shape[:2]} cannot be laid over an image of {image.shape[:2]}: '
            'resize one of them first.'
        )
    blended: np.ndarray = np.rint(as_rgb(image) * (1 - alpha) + heat * alpha).astype(np.uint8)
    return blended


def img_from_canvas(canvas: 'FigureCanvasAgg') -> np.ndarray:
    """Draw a figure and return its pixels, uint8 of shape (H, W, 3) in RGB."""
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib's
    rgba = canvas.buffer_rgba()  # type: ignore[no-untyped-call]  # matplotlib's
    pixels: np.ndarray = np.asarray(rgba)[..., :3].copy()
    return pixels


def is_interactive(canvas: 'FigureCanvasBase') -> bool:
    """Whether the canvas is one of a window, rather than of a file."""
    return getattr(canvas, 'required_interactive_framework', None) is not None


def wait_continue(figure: 'Figure', timeout: float = 0, continue_key: str = ' ') -> int:
    """Wait until a key is pressed, the window is closed or time is up.

    A figure that has no window is not waited for.

    Args:
        figure: The figure that is shown.
        timeout: Seconds; 0 waits without end.
        continue_key: The key.

    Returns:
        1 if the window was closed, else 0.
    """
    canvas = figure.canvas
    if not is_interactive(canvas):
        return 0
    closed = False

    def on_key(event: 'KeyEvent') -> None:
        if event.key == continue_key:
            canvas.stop_event_loop()

    def on_close(event: 'Event') -> None:
        nonlocal closed
        closed = True
        canvas.stop_event_loop()

    connections = [
        canvas.mpl_connect('key_press_event', on_key),
        canvas.mpl_connect('close_event', on_close),
    ]
    try:
        canvas.start_event_loop(timeout)
    finally:
        for connection in connections:
            canvas.mpl_disconnect(connection)
    return int(closed)
