"""An image that may be drawn on and shown."""

from typing import TYPE_CHECKING, Any

import numpy as np

from mmengine.dist import master_only
from mmengine.utils.errors import ArgumentError

from ._canvas import Canvas
from ._window import open_window, show_in, show_with_cv2, warn_no_window
from .utils import as_rgb, is_interactive

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import FigureManagerBase
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure


class Picture:
    """An image, and a matplotlib figure of the same pixels once something is drawn on it.

    Nothing of matplotlib is imported before that.

    Args:
        image: The image to start with.
        fig_save_cfg: Options of the ``matplotlib.figure.Figure`` that is drawn on.
        fig_show_cfg: Options of the one that is shown in a window.

    Attributes:
        manager: matplotlib's manager of the window; absent while there is no window.
    """

    manager: 'FigureManagerBase'

    def __init__(
        self,
        image: np.ndarray | None,
        fig_save_cfg: dict[str, Any],
        fig_show_cfg: dict[str, Any],
    ) -> None:
        self.fig_save_cfg = dict(fig_save_cfg)
        self.fig_show_cfg = dict(fig_show_cfg)
        self._canvas: Canvas | None = None
        self._has_warned_no_window = False
        self._image: np.ndarray | None = None
        if image is not None:
            self.set_image(image)

    def set_image(self, image: np.ndarray) -> None:
        """Set the image to draw on. It is copied; earlier drawings are removed.

        Args:
            image: Numbers from 0 to 255, of shape (H, W, 3) in RGB, or (H, W) in grey.

        Raises:
            TypeError: If it is not an array of numbers.
            ArgumentError: If it has another shape or other numbers.
        """
        self._image = _as_image(image)
        self.height, self.width = self._image.shape[:2]
        self._default_font_size = max((self.height * self.width) ** 0.5 // 90, 10)
        if self._canvas is not None:
            self._canvas.clear(self._image)

    def get_image(self) -> np.ndarray:
        """The image with everything drawn on it, uint8 of shape (H, W, 3) in RGB.

        Raises:
            RuntimeError: If :meth:`set_image` was not called.
        """
        image = self._require_image()
        return image.copy() if self._canvas is None else self._canvas.pixels()

    @property
    def fig_save(self) -> 'Figure':
        """The matplotlib figure, for drawings that the methods do not cover."""
        return self._opened().figure

    @property
    def fig_save_canvas(self) -> 'FigureCanvasAgg':
        """The canvas of :attr:`fig_save`."""
        return self._opened().canvas

    @property
    def ax_save(self) -> 'Axes':
        """The axes of :attr:`fig_save`, in the coordinates of the image."""
        return self._opened().axes

    @property
    def dpi(self) -> float:
        """Dots per inch of :attr:`fig_save`: font sizes and line widths are in inch / 72."""
        return float(self._opened().figure.dpi)

    @master_only
    def show(
        self,
        drawn_img: np.ndarray | None = None,
        win_name: str = 'image',
        wait_time: float = 0.0,
        continue_key: str = ' ',
        backend: str = 'matplotlib',
    ) -> None:
        """Show an image in a window. If no window can be opened, warn and continue.

        Args:
            drawn_img: The image, in RGB; by default the one that is drawn on.
            win_name: Title of the window.
            wait_time: Seconds it stays; 0 waits for the key, or until it is closed.
            continue_key: The key that goes on (with 'cv2' any key does).
            backend: 'matplotlib' or 'cv2'.

        Raises:
            ArgumentError: If ``backend`` is another.
            ImportError: If ``backend`` is 'cv2' and OpenCV is not installed.
        """
        if backend not in ('matplotlib', 'cv2'):
            raise ArgumentError(f'backend is "matplotlib" or "cv2", got {backend!r}.')
        image = self.get_image() if drawn_img is None else as_rgb(drawn_img)
        if backend == 'cv2':
            show_with_cv2(str(id(self)), image, win_name, wait_time)
            return
        if hasattr(self, 'manager'):
            self.manager.set_window_title(win_name)
        else:
            self._init_manager(win_name)
        if not is_interactive(self.manager.canvas):
            return
        if not show_in(self.manager, image, wait_time, continue_key):
            self._close_window()

    # Subclasses that show something else call this one and draw on manager.canvas.figure.
    def _init_manager(self, win_name: str) -> None:
        """Open the window of :meth:`show` as ``manager``, or say once that there is no screen."""
        self.manager, problem = open_window(self.fig_show_cfg)
        self.manager.set_window_title(win_name)
        if problem and not self._has_warned_no_window:
            self._has_warned_no_window = True
            warn_no_window(f'matplotlib can open no window ({problem})')

    def _close_window(self) -> None:
        """Close the window, if one is open; the next image opens another one."""
        if hasattr(self, 'manager'):
            self.manager.destroy()
            del self.manager

    def _require_image(self) -> np.ndarray:
        if self._image is None:
            raise RuntimeError('No image is set: call set_image(image) first.')
        return self._image

    def _drawn(self) -> Canvas:
        self._require_image()
        return self._opened()

    def _opened(self) -> Canvas:
        """The canvas; without an image, one of the size that the figure's options say."""
        if self._canvas is None:
            self._canvas = Canvas(self.fig_save_cfg)
            if self._image is not None:
                self._canvas.clear(self._image)
        return self._canvas


def _as_image(image: Any) -> np.ndarray:
    if not isinstance(image, np.ndarray) or not (
        np.issubdtype(image.dtype, np.number) or image.dtype == np.bool_
    ):
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise TypeError(f'An image is a numpy array of numbers from 0 to 255, got {kind}.')
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
        raise ArgumentError(f'An image has shape (H, W) or (H, W, 3), got {image.shape}.')
    if image.size == 0:
        raise ArgumentError(f'An image has at least one pixel, got shape {image.shape}.')
    if image.dtype != np.uint8 and (image.min() < 0 or image.max() > 255):
        raise ArgumentError(
            f'An image has numbers from 0 to 255, got {image.min()} to {image.max()}.'
        )
    return as_rgb(image).astype(np.uint8)
