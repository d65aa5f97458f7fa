"""The matplotlib figure that has exactly the pixels of an image."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .utils import img_from_canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import FigureImage


class Canvas:
    """An image with shapes over it; ``axes`` has the image's coordinates.

    The pixel in row r and column c is the square from (c, r) to (c + 1, r + 1). The image is
    copied to the figure without resampling, so a pixel that nothing is drawn on keeps its value.

    The figure is not registered with pyplot, and needs no window.

    Args:
        figure_cfg: Options of ``matplotlib.figure.Figure``, such as ``dpi``.
    """

    def __init__(self, figure_cfg: dict[str, Any]) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.figure = Figure(**figure_cfg)
        self.canvas = FigureCanvasAgg(self.figure)
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self._background: FigureImage | None = None

    def clear(self, image: np.ndarray) -> None:
        """Take ``image``, uint8 of shape (H, W, 3), with nothing drawn on it."""
        height, width = image.shape[:2]
        # Slightly larger than the true size, because the figure rounds its pixels down.
        self.figure.set_size_inches(
            math.nextafter(width / self.figure.dpi, math.inf),
            math.nextafter(height / self.figure.dpi, math.inf),
        )
        self.axes.clear()
        self.axes.set_axis_off()
        self.axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
        self.set_background(image)

    def set_background(self, image: np.ndarray) -> None:
        """Replace the image under the shapes by another one of the same size."""
        if self._background is not None:
            self._background.remove()
        # Below 0, where the axes are.
        self._background = self.figure.figimage(image, origin='upper', zorder=-1)

    def pixels(self) -> np.ndarray:
        """All as one image, uint8 of shape (H, W, 3)."""
        return img_from_canvas(self.canvas)
