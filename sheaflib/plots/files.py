"""A figure as the bytes of a PDF or a PNG: the same for the same numbers, wherever it is drawn."""

import io
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from sheaflib.plots.rounding import on_grid, on_the_grid
from sheaflib.support.extras import needs

with needs("sheaflib.plots", "plots"):
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

COLOURS = 128
# what each figure shows, as long as it is the same
BOXES: WeakKeyDictionary[Figure, Bbox] = WeakKeyDictionary()


def shown(fig):
    """Return the PNG of a figure for a notebook's page."""
    with laid_out(fig) as box:
        return drawn(fig, "png", box, {}, dpi=fig.dpi)


@contextmanager
def laid_out(fig):
    """Find the layout and the box of all that a figure shows, in inches, for the files made inside.

    It takes longer than a file does, so it holds until the figure changes: what `save` found serves
    the notebook's page.
    """
    engine = fig.get_layout_engine()
    if fig.stale or fig not in BOXES:
        fig.draw_without_rendering()
        box = fig.get_tightbbox().padded(matplotlib.rcParams["savefig.pad_inches"])
        BOXES[fig] = Bbox(on_grid(box.get_points()))
    with matplotlib.rc_context({"figure.constrained_layout.use": False}):  # else once more a file
        fig.set_layout_engine(None)
        try:
            yield BOXES[fig]
        finally:
            fig.set_layout_engine(engine)
            fig.stale = False  # its page was moved and put back, nothing else


def drawn(fig, kind, box, metadata, **options):
    """Return what lies in a box of the figure as bytes of a PDF or of a PNG with a palette, without
    dates and versions of software.
    """
    buffer = io.BytesIO()
    if kind == "pdf":
        undated = dict.fromkeys(("CreationDate", "ModDate", "Creator", "Producer"))
        options["metadata"] = {**undated, **metadata}
    else:
        options["pil_kwargs"] = {"compress_level": 0}  # `palette` reads it and packs its own
    with on_the_grid(fig):
        fig.savefig(buffer, format=kind, bbox_inches=box, **options)
    return palette(buffer, metadata) if kind == "png" else buffer.getvalue()


def palette(buffer, metadata):
    """Return a PNG with at most 128 colours, a third of the size; the texts of `metadata` go with
    it.
    """
    texts, small = PngInfo(), io.BytesIO()
    for key, text in metadata.items():
        texts.add_itxt(key, text)
    image = (
        Image.open(buffer)
        .convert("RGB")
        .quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    )
    image.save(small, format="png", pnginfo=texts, optimize=True)
    return small.getvalue()
