"""Images on the screen, if the machine has one."""

from typing import TYPE_CHECKING, Any

import numpy as np

from mmengine.logging import print_log

from .utils import is_interactive, wait_continue

if TYPE_CHECKING:
    from matplotlib.backend_bases import FigureManagerBase


class Window:
    """A window of matplotlib, kept from one image to the next.

    Without a screen (matplotlib then draws to files) it says so once, and showing does nothing.

    Args:
        figure_cfg: Options of its figure.
    """

    def __init__(self, figure_cfg: dict[str, Any]) -> None:
        self._figure_cfg = figure_cfg
        self._manager: FigureManagerBase | None = None
        self._has_no_screen = False

    def show(self, image: np.ndarray, title: str, wait_time: float, continue_key: str) -> None:
        """Show ``image`` until the key is pressed, the window is closed or the time is up."""
        manager = self._open()
        if manager is None:
            return
        figure = manager.canvas.figure
        figure.clear()
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.imshow(image)
        manager.set_window_title(title)
        manager.canvas.draw()
        manager.show()
        if wait_continue(figure, wait_time, continue_key) == 1:
            self.close()

    def close(self) -> None:
        """Close the window; the next image opens a new one."""
        if self._manager is not None:
            manager, self._manager = self._manager, None
            manager.destroy()

    def _open(self) -> 'FigureManagerBase | None':
        if self._manager is not None or self._has_no_screen:
            return self._manager
        # Only pyplot can choose a toolkit that opens a window here; the figure is not passed to it.
        from matplotlib import pyplot
        from matplotlib.figure import Figure

        try:
            open_figure: Any = pyplot.new_figure_manager
            manager: FigureManagerBase = open_figure(1, FigureClass=Figure, **self._figure_cfg)
        except ImportError as error:
            self._give_up(str(error))
            return None
        if not is_interactive(manager.canvas):
            manager.destroy()
            self._give_up(f'it draws with the backend {pyplot.get_backend()!r}')
            return None
        self._manager = manager
        return manager

    def _give_up(self, reason: str) -> None:
        self._has_no_screen = True
        _warn_no_window(f'matplotlib can open no window ({reason})')


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
        _warn_no_window(f'OpenCV can open no window ({error})')


def _warn_no_window(why: str) -> None:
    print_log(
        f'Nothing is shown: {why}. Save what get_image() returns, or use add_image.',
        logger='current',
        level='WARNING',
    )
