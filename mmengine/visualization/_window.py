"""Images on the screen, if the machine has one."""

from typing import TYPE_CHECKING, Any

import numpy as np

from mmengine.logging import print_log

from .utils import is_interactive, wait_continue

if TYPE_CHECKING:
    from matplotlib.backend_bases import FigureManagerBase
    from matplotlib.figure import Figure


def open_window(figure_cfg: dict[str, Any]) -> tuple['FigureManagerBase', str]:
    """A matplotlib window, and why it cannot be seen (nothing when it can).

    Without a screen the manager draws into memory, so that the code around it works.

    Args:
        figure_cfg: Options of its figure.
    """
    # Only pyplot can tell which toolkit opens a window here; the figure is not given to it.
    from matplotlib import pyplot
    from matplotlib.figure import Figure

    try:
        open_figure: Any = pyplot.new_figure_manager
        manager: FigureManagerBase = open_figure(1, FigureClass=Figure, **figure_cfg)
    except ImportError as error:
        return _manager_in_memory(Figure(**figure_cfg)), str(error)
    if is_interactive(manager.canvas):
        return manager, ''
    return manager, f'it draws with the backend {pyplot.get_backend()!r}'


def show_in(
    manager: 'FigureManagerBase',
    image: np.ndarray,
    wait_time: float,
    continue_key: str,
) -> bool:
    """Show ``image`` until the key is pressed, the window is closed or the time is up.

    Returns:
        Whether the window is still open.
    """
    figure = manager.canvas.figure
    figure.clear()
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.imshow(image)
    manager.canvas.draw()
    manager.show()
    return wait_continue(figure, wait_time, continue_key) != 1


def warn_no_window(why: str) -> None:
    """Say that an image is not shown, and what to do instead."""
    print_log(
        f'Nothing is shown: {why}. Save what get_image() returns, or use add_image.',
        logger='current',
        level='WARNING',
    )


def _manager_in_memory(figure: 'Figure') -> 'FigureManagerBase':
    from matplotlib.backend_bases import FigureManagerBase
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    return FigureManagerBase(FigureCanvasAgg(figure), 1)


def show_with_cv2(window: str, image: np.ndarray, title: str, wait_time: float) -> None:
    """Show an RGB image in the window called ``window``, until any key is pressed.

    Raises:
        ImportError: If OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise ImportError(
            'show(backend="cv2") needs OpenCV. Install it with: pip install opencv-python'
        ) from error
    try:
        cv2.namedWindow(window)
        cv2.setWindowTitle(window, title)
        cv2.imshow(window, np.ascontiguousarray(image[..., ::-1]))
        # 0 would wait forever.
        cv2.waitKey(max(1, round(wait_time * 1000)) if wait_time > 0 else 0)
    except cv2.error as error:
        warn_no_window(f'OpenCV can open no window ({error})')
