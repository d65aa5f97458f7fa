"""Points, lines, shapes, texts and masks over an image."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor
from typing_extensions import Self

from mmengine.utils.errors import ArgumentError

from . import _featmap
from ._picture import Picture
from .utils import (
    Color,
    check_type,
    check_type_and_length,
    color_val_matplotlib,
    rgb_of,
    tensor2ndarray,
    value2list,
)

if TYPE_CHECKING:
    from matplotlib.font_manager import FontProperties

Array = np.ndarray | Tensor
_ARRAY = (np.ndarray, Tensor)
Colors = Color | list[Color]


class Drawing(Picture):
    """An image, and what is drawn on it.

    Whatever the order of the calls, masks lie on the image, shapes and points on the masks, lines
    on the shapes, and texts on top. Coordinates are pixels from the upper left corner; the pixel
    in row r and column c is the square from (c, r) to (c + 1, r + 1). A colour is a name, '#rrggbb'
    or a tuple (red, green, blue) of 0 to 255; colours, styles and widths are one for all or a
    list with one for each. Every ``draw_`` method returns the object, so that calls can be chained.
    """

    def draw_points(
        self,
        positions: Array,
        colors: Colors = 'g',
        marker: str | None = None,
        sizes: Array | float | None = None,
    ) -> Self:
        """Draw points.

        Args:
            positions: (N, 2) or (2,), x and y.
            colors: One colour, or a list.
            marker: How a point looks, in matplotlib's words; a disc by default.
            sizes: Area of the marker in (inch / 72) squared: one, or (N,).

        Raises:
            TypeError: If ``positions`` is not an array or tensor.
            ArgumentError: If it has another shape.
        """
        points = _rows('positions', positions, 2)
        check_type('colors', colors, (str, tuple, list))
        self._warn_if_outside('point', points)
        self.ax_save.scatter(
            points[:, 0],
            points[:, 1],
            s=tensor2ndarray(sizes),
            color=color_val_matplotlib(colors),
            marker=marker,
        )
        return self

    def draw_lines(
        self,
        x_datas: Array,
        y_datas: Array,
        colors: Colors = 'g',
        line_styles: str | list[str] = '-',
        line_widths: float | list[float] = 2,
    ) -> Self:
        """Draw straight lines.

        Args:
            x_datas: (N, 2) or (2,), x of both ends.
            y_datas: The same of y.
            colors: One colour, or a list.
            line_styles: One style in matplotlib's words, or a list.
            line_widths: One width in inch / 72, or a list.

        Raises:
            TypeError: If the ends are not arrays or tensors.
            ArgumentError: If they have another shape.
        """
        from matplotlib.collections import LineCollection

        x_ends, y_ends = _rows('x_datas', x_datas, 2), _rows('y_datas', y_datas, 2)
        if x_ends.shape != y_ends.shape:
            raise ArgumentError(
                f'x_datas and y_datas are of one shape, got {x_ends.shape} and {y_ends.shape}.'
            )
        self._check_style(colors=colors, line_styles=line_styles, line_widths=line_widths)
        ends = np.stack([x_ends, y_ends], axis=-1)
        self._warn_if_outside('line', ends)
        lines = LineCollection(
            list(ends),
            colors=color_val_matplotlib(colors),
            linestyles=line_styles,
            linewidths=line_widths,
        )
        self.ax_save.add_collection(lines, autolim=False)
        return self

    def draw_circles(
        self,
        center: Array,
        radius: Array,
        edge_colors: Colors = 'g',
        line_styles: str | list[str] = '-',
        line_widths: float | list[float] = 2,
        face_colors: Colors = 'none',
        alpha: float | int = 0.8,
    ) -> Self:
        """Draw circles.

        Args:
            center: (N, 2) or (2,), x and y.
            radius: (N,), in pixels.
            edge_colors: Colour of the edge, or a list; 'none' draws no edge.
            line_styles: Style of the edge in matplotlib's words, or a list.
            line_widths: Width of the edge in inch / 72, or a list; see :meth:`draw_polygons`.
            face_colors: Colour of the inside, or a list; 'none' leaves it free.
            alpha: How strong the colours are, 0 to 1.

        Raises:
            TypeError: If ``center`` or ``radius`` is not an array or tensor.
            ArgumentError: If they have another shape, or a radius is below 0.
        """
        from matplotlib.patches import Circle

        centers = _rows('center', center, 2)
        check_type('radius', radius, _ARRAY)
        radii = np.atleast_1d(tensor2ndarray(radius))
        if radii.shape != centers.shape[:1]:
            raise ArgumentError(
                f'There is a radius for each of {len(centers)} centers: radius is of shape '
                f'({len(centers)},), got {radii.shape}.'
            )
        if (radii < 0).any():
            raise ArgumentError(f'A radius is 0 or more, got {radii.min()}.')
        self._warn_if_outside('circle', centers - radii[:, None])
        self._warn_if_outside('circle', centers + radii[:, None])
        circles = [Circle((x, y), r) for (x, y), r in zip(centers, radii, strict=True)]
        self._add_patches(circles, edge_colors, line_styles, line_widths, face_colors, alpha)
        return self

    def draw_bboxes(
        self,
        bboxes: Array,
        edge_colors: Colors = 'g',
        line_styles: str | list[str] = '-',
        line_widths: float | list[float] = 2,
        face_colors: Colors = 'none',
        alpha: float | int = 0.8,
    ) -> Self:
        """Draw boxes.

        Args:
            bboxes: (N, 4) or (4,): x and y of the upper left corner, then of the lower right one.
            edge_colors: As for :meth:`draw_polygons`.
            line_styles: As for :meth:`draw_polygons`.
            line_widths: As for :meth:`draw_polygons`.
            face_colors: As for :meth:`draw_polygons`.
            alpha: As for :meth:`draw_polygons`.

        Raises:
            TypeError: If ``bboxes`` is not an array or tensor.
            ArgumentError: If it has another shape, or a box ends before it begins.
        """
        boxes = _rows('bboxes', bboxes, 4)
        ends_before_begin = (boxes[:, :2] > boxes[:, 2:]).any(axis=1)
        if ends_before_begin.any():
            first = boxes[ends_before_begin][0].tolist()
            raise ArgumentError(
                f'A box is (x1, y1, x2, y2) with x1 <= x2 and y1 <= y2, got {first}.'
            )
        corners = boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]
        return self.draw_polygons(
            list(corners), edge_colors, line_styles, line_widths, face_colors, alpha
        )

    def draw_polygons(
        self,
        polygons: Array | list[Array],
        edge_colors: Colors = 'g',
        line_styles: str | list[str] = '-',
        line_widths: float | list[float] = 2,
        face_colors: Colors = 'none',
        alpha: float | int = 0.8,
    ) -> Self:
        """Draw closed polygons.

        Args:
            polygons: One of shape (M, 2), its corners' x and y; or a list of them.
            edge_colors: Colour of the edge, or a list; 'none' draws no edge.
            line_styles: Style of the edge in matplotlib's words, or a list.
            line_widths: Width of the edge in inch / 72, or a list. It is kept from 1 to a quarter
                of the default font size, so that edges suit the image.
            face_colors: Colour of the inside, or a list; 'none' leaves it free.
            alpha: How strong the colours are, 0 to 1.

        Raises:
            TypeError: If a polygon is not an array or tensor.
            ArgumentError: If it has another shape.
        """
        from matplotlib.patches import Polygon

        check_type('polygons', polygons, (list, *_ARRAY))
        given = polygons if isinstance(polygons, list) else [polygons]
        outlines = [_polygon(polygon) for polygon in given]
        if outlines:
            self._warn_if_outside('polygon', np.concatenate(outlines))
        patches = [Polygon(outline, closed=True) for outline in outlines]
        self._add_patches(patches, edge_colors, line_styles, line_widths, face_colors, alpha)
        return self

    def draw_texts(
        self,
        texts: str | list[str],
        positions: Array,
        font_sizes: float | list[float] | None = None,
        colors: Colors = 'g',
        vertical_alignments: str | list[str] = 'top',
        horizontal_alignments: str | list[str] = 'left',
        font_families: str | list[str] = 'sans-serif',
        bboxes: dict[str, Any] | list[dict[str, Any]] | None = None,
        font_properties: 'FontProperties | list[FontProperties] | None' = None,
    ) -> Self:
        """Draw texts; a list of styles has one for each of them.

        Args:
            texts: One text, or a list of N.
            positions: (N, 2), or (2,) for one text: x and y.
            font_sizes: In inch / 72; by default as suits the image.
            colors: One colour, or a list.
            vertical_alignments: What of the text is at y: 'top', 'center', 'baseline' or 'bottom'.
            horizontal_alignments: What of it is at x: 'left', 'center' or 'right'.
            font_families: One family of fonts, or a list.
            bboxes: The box behind a text, as matplotlib's ``bbox`` dict, or a list of them.
            font_properties: Fonts of matplotlib, one or a list, for those that need a font of
                their own, such as one with Chinese characters.

        Raises:
            TypeError: If an argument is of another type.
            ArgumentError: If there is not a position and a style for each text.
        """
        from matplotlib.font_manager import FontProperties

        check_type('texts', texts, (str, list))
        texts = value2list(texts, str, 1)
        points = _rows('positions', positions, 2)
        if len(points) != len(texts):
            raise ArgumentError(f'Got {len(texts)} texts at {len(points)} positions.')
        self._warn_if_outside('text', points)

        def for_each(name: str, value: Any, kind: type | tuple[type, ...]) -> list[Any]:
            kinds = kind if isinstance(kind, tuple) else (kind,)
            check_type_and_length(name, value, (*kinds, list), len(texts))
            spread: list[Any] = value2list(value, kinds, len(texts))
            return spread

        nothing = type(None)
        fonts = (FontProperties, nothing)
        sizes = for_each('font_sizes', font_sizes, (int, float, nothing))
        styles = {
            'color': [color_val_matplotlib(c) for c in for_each('colors', colors, (str, tuple))],
            'verticalalignment': for_each('vertical_alignments', vertical_alignments, str),
            'horizontalalignment': for_each('horizontal_alignments', horizontal_alignments, str),
            'fontproperties': for_each('font_properties', font_properties, fonts),
            'fontfamily': for_each('font_families', font_families, str),
            'fontsize': [self._default_font_size if size is None else size for size in sizes],
            'bbox': for_each('bboxes', bboxes, (dict, nothing)),
        }
        for index, (text, (x, y)) in enumerate(zip(texts, points, strict=True)):
            style = {name: values[index] for name, values in styles.items()}
            self.ax_save.text(x, y, str(text), **style)
        return self

    def draw_binary_masks(
        self,
        binary_masks: Array,
        colors: Colors = 'g',
        alphas: float | list[float] = 0.8,
    ) -> Self:
        """Colour the pixels of masks: ``image * (1 - alpha) + colour * alpha``, rounded.

        Masks that overlap are laid one over the other, in their order.

        Args:
            binary_masks: (N, H, W) or (H, W), of the image's size, with dtype bool.
            colors: One colour, or a list.
            alphas: How strong the colour is, 0 to 1; one, or a list.

        Raises:
            TypeError: If the masks are not an array or tensor.
            ArgumentError: If they have another size or dtype, or an alpha lies outside 0 to 1.
        """
        check_type('binary_masks', binary_masks, _ARRAY)
        masks = tensor2ndarray(binary_masks)
        image = self._require_image()
        if masks.dtype != np.bool_:
            raise ArgumentError(f'Masks are of dtype bool (try masks > 0), got {masks.dtype}.')
        if masks.ndim not in (2, 3) or masks.shape[-2:] != image.shape[:2]:
            raise ArgumentError(
                f"Masks are of the image's height and width {image.shape[:2]}, got {masks.shape}."
            )
        masks = masks.reshape(-1, *image.shape[:2])
        check_type_and_length('colors', colors, (str, tuple, list), len(masks))
        check_type_and_length('alphas', alphas, (int, float, list), len(masks))
        strengths = value2list(alphas, (int, float), len(masks))[: len(masks)]
        if any(not 0 <= alpha <= 1 for alpha in strengths):
            raise ArgumentError(f'alphas lie from 0 to 1, got {alphas}.')
        blended = image.copy()
        for mask, color, alpha in zip(
            masks, value2list(colors, (str, tuple), len(masks)), strengths, strict=False
        ):
            paint = np.array(rgb_of(color)) * alpha
            blended[mask] = np.rint(blended[mask] * (1 - alpha) + paint)
        self._image = blended
        if self._canvas is not None:
            self._canvas.set_background(blended)
        return self

    @staticmethod
    def draw_featmap(
        featmap: Tensor,
        overlaid_image: np.ndarray | None = None,
        channel_reduction: str | None = 'squeeze_mean',
        topk: int = 20,
        arrangement: tuple[int, int] = (4, 5),
        resize_shape: tuple[int, int] | None = None,
        alpha: float = 0.5,
    ) -> np.ndarray:
        """A picture of a feature map, in colours from blue (its lowest) to red (its highest).

        Args:
            featmap: Of shape (C, H, W).
            overlaid_image: An image, uint8 in RGB, to lay the colours over; the map is scaled to
                its size.
            channel_reduction: 'squeeze_mean' shows the mean of the channels, 'select_max' the
                channel of the highest mean. With None, ``topk`` decides.
            topk: Show that many channels with the highest means side by side, with their
                numbers where there is room; with 0 or less the map must have 1 or 3 channels.
            arrangement: Rows and columns of the channels; at least ``topk`` places.
            resize_shape: Height and width to scale the map, and the image, to.
            alpha: How strong the colours are over the image, 0 to 1.

        Returns:
            uint8 of shape (H, W, 3) in RGB; with ``topk`` (rows * H, columns * W, 3).

        Raises:
            ArgumentError: If an argument has a wrong value.
        """
        return _featmap.draw_featmap(
            featmap, overlaid_image, channel_reduction, topk, arrangement, resize_shape, alpha
        )

    def _add_patches(
        self,
        patches: Sequence[Any],
        edge_colors: Colors,
        line_styles: str | list[str],
        line_widths: float | list[float],
        face_colors: Colors,
        alpha: float,
    ) -> None:
        from matplotlib.collections import PatchCollection

        self._check_style(
            edge_colors=edge_colors,
            face_colors=face_colors,
            line_styles=line_styles,
            line_widths=line_widths,
        )
        axes = self.ax_save
        widths = np.clip(line_widths, 1, self._default_font_size / 4)
        collection = PatchCollection(
            patches,
            edgecolors=color_val_matplotlib(edge_colors),
            facecolors=color_val_matplotlib(face_colors),
            linestyles=line_styles,
            linewidths=widths,
            alpha=alpha,
        )
        axes.add_collection(collection, autolim=False)

    @staticmethod
    def _check_style(
        *, line_styles: str | list[str], line_widths: float | list[float], **colors: Colors
    ) -> None:
        for name, value in colors.items():
            check_type(name, value, (str, tuple, list))
        check_type('line_styles', line_styles, (str, list))
        check_type('line_widths', line_widths, (int, float, list))

    # The API spells it so, and subclasses call and override it.
    def _is_posion_valid(self, position: np.ndarray) -> bool:
        """Whether all points, an array of shape (..., 2) of x and y, lie inside the image."""
        return bool(((position >= 0) & (position < (self.width, self.height))).all())

    def _warn_if_outside(self, what: str, points: np.ndarray) -> None:
        self._require_image()
        if not points.size:
            return
        # What ends at the right or lower border, as a box of the whole image does, is inside.
        border = points == (self.width, self.height)
        if not self._is_posion_valid(np.where(border, points - 0.5, points)):
            warnings.warn(
                f'A {what} reaches out of the image of {self.width} x {self.height} pixels; what '
                'is outside is not seen.',
                stacklevel=3,
            )


def _rows(name: str, value: Any, length: int) -> np.ndarray:
    """Coordinates as an array of shape (N, length)."""
    check_type(name, value, _ARRAY)
    rows: np.ndarray = tensor2ndarray(value)
    rows = rows[None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or rows.shape[1] != length:
        raise ArgumentError(f'{name} is of shape (N, {length}), got {tuple(value.shape)}.')
    return rows


def _polygon(polygon: Any) -> np.ndarray:
    check_type('A polygon', polygon, _ARRAY)
    corners: np.ndarray = tensor2ndarray(polygon)
    if corners.ndim != 2 or corners.shape[1] != 2:
        raise ArgumentError(f'A polygon is of shape (M, 2), got {corners.shape}.')
    return corners
