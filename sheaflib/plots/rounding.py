"""Pictures drawn on a grid too coarse for the last digits of their numbers, too fine to be seen.

The data of a figure carry noise in their last digits, and layout, limits and logarithms add to it.
Here all of that has become places on the page, whatever kind of artist they came from, and places
are rounded: the same picture to the byte, though another processor added in another order.
"""

from contextlib import contextmanager

import numpy as np

from sheaflib.support.extras import needs

with needs("sheaflib.plots", "plots"):
    from matplotlib.path import Path
    from matplotlib.transforms import Affine2D, Bbox, TransformedPath

GRID = 64  # steps of the grid in a pixel, in a PDF in a point (1/72 inch)


@contextmanager
def on_the_grid(fig):
    """Draw the figure, whatever file it goes to, with all places rounded to the grid."""
    draw = fig.draw
    fig.draw = lambda renderer: draw(RoundingRenderer(renderer))
    try:
        yield
    finally:
        del fig.draw


class RoundingRenderer:
    """A renderer that rounds each place and hands it, in pixels, to the renderer of the file."""

    def __init__(self, renderer):
        """Take the renderer that draws."""
        self._renderer = renderer
        self._raster_depth, self._rasterizing = 0, False  # artists that rasterise count here

    def __getattr__(self, name):
        """Return what is no drawing of places: widths of texts, groups, graphics contexts."""
        return getattr(self._renderer, name)

    def draw_path(self, gc, path, transform, *face):
        """Draw one line or area."""
        self._renderer.draw_path(clipped(gc), rounded(path, transform), Affine2D(), *face)

    def draw_markers(self, gc, marker, marker_transform, path, transform, *face):
        """Draw one marker at each vertex of a path."""
        marker = rounded(marker, marker_transform)
        places = Path(placed(path.vertices, transform), path.codes)
        self._renderer.draw_markers(clipped(gc), marker, Affine2D(), places, Affine2D(), *face)

    def draw_path_collection(
        self, gc, transform, paths, own, offsets, offset_transform, *more, **options
    ):
        """Draw many paths, the i-th by its `own` transform and at its offset."""
        together = [Affine2D(matrix) + transform for matrix in own] or [transform]
        count = max(len(paths), len(own)) if len(paths) else 0
        drawn = [rounded(paths[i % len(paths)], together[i % len(together)]) for i in range(count)]
        self._renderer.draw_path_collection(
            clipped(gc),
            Affine2D(),
            drawn,
            np.empty((0, 3, 3)),
            placed(offsets, offset_transform),
            Affine2D(),
            *more,
            **options,
        )

    def draw_quad_mesh(
        self, gc, transform, columns, rows, corners, offsets, offset_transform, *more
    ):
        """Draw the cells of a mesh."""
        self._renderer.draw_quad_mesh(
            clipped(gc),
            Affine2D(),
            columns,
            rows,
            placed(corners, transform),
            placed(offsets, offset_transform),
            Affine2D(),
            *more,
        )

    def draw_gouraud_triangles(self, gc, corners, colours, transform):
        """Draw shaded triangles."""
        places = placed(corners, transform)
        self._renderer.draw_gouraud_triangles(clipped(gc), places, colours, Affine2D())

    def draw_image(self, gc, x, y, image, *transform):
        """Draw an image with its corner at (x, y), stretched by a transform where one is given."""
        stretched = [Affine2D(on_grid(one.get_matrix())) for one in transform]
        self._renderer.draw_image(clipped(gc), on_grid(x), on_grid(y), image, *stretched)

    def draw_text(self, gc, x, y, *text, **options):
        """Draw a text that begins at (x, y)."""
        self._renderer.draw_text(clipped(gc), on_grid(x), on_grid(y), *text, **options)


def on_grid(places):
    """Return the nearest multiples of 1/GRID, the zero among them without a sign."""
    return np.round(np.multiply(places, GRID)) / GRID + 0.0


def placed(points, transform):
    """Return where a transform puts points (…, 2), on the grid."""
    return on_grid(transform.transform(np.reshape(points, (-1, 2)))).reshape(np.shape(points))


def rounded(path, transform):
    """Return a path where a transform puts it, on the grid, without lines from a place to itself.

    A contour through a corner of its mesh has one vertex there, several or none, as noise decides.
    """
    moved = transform.transform_path(path)
    vertices, codes = on_grid(moved.vertices), moved.codes
    if codes is None:
        codes = np.full(len(vertices), Path.LINETO)
        codes[:1] = Path.MOVETO
    kept = np.append(True, (vertices[1:] != vertices[:-1]).any(axis=1)) | (codes != Path.LINETO)
    vertices, codes = vertices[kept], codes[kept]
    ends = np.isin(np.append(codes, Path.MOVETO)[1:], (Path.MOVETO, Path.CLOSEPOLY, Path.STOP))
    alone = (codes == Path.MOVETO) & ends
    alone[1:] |= alone[:-1] & (codes[1:] == Path.CLOSEPOLY)
    result = Path(vertices[~alone], codes[~alone])
    result.should_simplify = moved.should_simplify
    result.simplify_threshold = moved.simplify_threshold
    return result


def clipped(gc):
    """Return a graphics context after rounding the window that it cuts to."""
    window, (path, transform) = gc.get_clip_rectangle(), gc.get_clip_path()
    if window is not None and (window.get_points() != on_grid(window.get_points())).any():
        gc.set_clip_rectangle(Bbox(on_grid(window.get_points())))
    if path is not None:
        gc.set_clip_path(TransformedPath(rounded(path, transform), Affine2D()))
    return gc
