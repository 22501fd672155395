"""Every figure leaves as PDF, PNG and a JSON of its plotted numbers: the same numbers give the same
bytes.
"""

import hashlib
import json
import math
import re
import sys

import numpy as np

from sheaflib.companion import repository
from sheaflib.companion.record import index
from sheaflib.support.extras import needs
from sheaflib.support.files import replacing

with needs("sheaflib.companion.record.gallery", "plots"):
    import matplotlib
    import matplotlib.pyplot as pyplot
    import matplotlib.style
    from matplotlib.figure import Figure

    from sheaflib.plots import STYLE
    from sheaflib.plots.files import drawn, laid_out, shown

LIMIT = 300_000
LONGEST = 1000
DIGITS = 10
DECIMALS = 400  # more than a number has


def style():
    """Apply the companion's look to every later figure: colour-blind-safe colours, constrained
    layout, stable bytes.
    """
    matplotlib.style.use(STYLE)
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    # inline pictures with a palette too; the backend would set its own otherwise
    if shell is not None:
        pyplot.switch_backend(matplotlib.get_backend())
        shell.display_formatter.formatters["image/png"].for_type(Figure, shown)


def save(fig, name):
    """Write name.pdf, name.png and name.json to SHEAFLIB_OUT/figures, else build/lab/figures of the
    repository, else sheaflib-results/figures in the working directory; a notebook's figures, whose
    names begin with its number, into the folder of that number there.

    The plotted numbers are what the drawing function has left in `fig.numbers`, a dict of names
    with numbers, texts, lists or arrays. Curves longer than 1000 are stored thinned.
    notebooks/index.toml says the caption, the seed, and `rtol` and `atol` (1e-6 and 1e-9 where it
    does not), how far another machine's numbers may be from these; nothing finer than a millionth
    of `atol` is written. The parameters are those of the notebook. The files carry parameters, seed
    and a hash of the numbers. ValueError: a bad name, a figure without numbers, NaN or infinite
    numbers, or the three files over 300 kB together.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name):
        raise ValueError(f"figure name {name!r}: lower-case letters, digits, dots and hyphens only")
    if not hasattr(fig, "numbers"):
        raise ValueError(
            f"figure {name} has no numbers: the function that draws it should set fig.numbers, a"
            " dict of what it plots"
        )
    said = index.figure(name)
    caption, rtol, atol = said.get("caption", ""), said.get("rtol", 1e-6), said.get("atol", 1e-9)
    places = decimals(atol)
    kept = {
        key: storable(short(value), f"{name}: {key}", places) for key, value in fig.numbers.items()
    }
    noted = {
        "parameters": storable(index.parameters(name[:2]), f"{name}: parameters"),
        "seed": said.get("seed"),
        "sha256": numbers_hash(kept),
    }
    with laid_out(fig) as box:
        files = {
            f"{name}.pdf": drawn(
                fig, "pdf", box, {"Keywords": canonical(noted), "Subject": caption}
            ),
            f"{name}.png": drawn(
                fig, "png", box, {"Description": caption, "Comment": canonical(noted)}
            ),
            f"{name}.json": (
                written({"caption": caption, "rtol": rtol, "atol": atol, **noted}, kept).encode()
            ),
        }
    if sum(map(len, files.values())) > LIMIT:
        sizes = ", ".join(f"{file} {len(data) // 1000} kB" for file, data in files.items())
        raise ValueError(
            f"figure {name} is over {LIMIT // 1000} kB: {sizes}; thin its curves or rasterise its"
            " scatter"
        )
    for file, data in files.items():
        path(file).parent.mkdir(parents=True, exist_ok=True)
        with replacing(path(file)) as stream:
            stream.write(data)


def path(file):
    """Return where `save` puts a figure's file."""
    return repository.results() / "figures" / index.place(file)


def bench():
    """Return the rows of the repository's figures/bench.json as a dict name -> row;
    FileNotFoundError where there is no such file or no repository.

    `make bench` alone measures wall-clock times; a figure takes them from here, so that notebooks
    stay the same to the byte. A notebook that does lists the file under `reads` in index.toml.
    SHEAFLIB_OUT has no say: the committed file it is.
    """
    file = repository.needed("figures/bench.json")
    return {row["name"]: row for row in json.loads(file.read_text(encoding="utf-8"))}


def committed(name):
    """Return the numbers of a figure in the repository's figures/, as another notebook saved them;
    FileNotFoundError where there is no such file or no repository.

    A notebook that does lists the file under `reads` in index.toml. SHEAFLIB_OUT has no say, as in
    `bench`.
    """
    file = repository.needed(f"figures/{index.place(name)}.json")
    return json.loads(file.read_text(encoding="utf-8"))["numbers"]


def thin(x, *ys, keep=(), n=LONGEST):
    """Return x and each of ys (all of one length) at no more than n indices: both ends, those in
    `keep`, the rest evenly spread.

    ValueError when the lengths differ, `keep` leaves the range, or more than n indices must be
    kept.
    >>> [list(map(int, v)) for v in thin(range(9), range(0, 90, 10), keep=[5], n=4)]
    [[0, 4, 5, 8], [0, 40, 50, 80]]
    """
    curves = [np.asarray(v) for v in (x, *ys)]
    length = len(curves[0])
    if any(len(v) != length for v in curves):
        raise ValueError(f"thin: curves of one length, got {[len(v) for v in curves]}")
    kept = sorted({0, length - 1, *(int(k) for k in keep)} if length else ())
    if any(not 0 <= k < length for k in kept) or len(kept) > n:
        raise ValueError(
            f"thin: keep holds {len(kept)} indices with the ends, at most {n} inside"
            f" 0..{length - 1} can be"
        )
    chosen = spread(kept, length, n)
    return tuple(v[chosen] for v in curves)


def short(value):
    """Return an array or list of numbers with every side longer than 1000 thinned evenly; anything
    else as it is.
    """
    if not isinstance(value, (list, tuple, range, np.ndarray)) or len(np.shape(value)) == 0:
        return value
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        return value
    for axis, length in enumerate(array.shape):
        if length > LONGEST:
            array = np.take(array, spread([0, length - 1], length, LONGEST), axis)
    return array if array.shape != np.shape(value) else value


def spread(kept, length, n):
    """Return at most n sorted indices of range(length): the kept ones and evenly spread others."""
    if length <= n:
        return list(range(length))
    room = n - len(kept)
    others = np.linspace(0, length - 1, max(room, 0) + 2).round().astype(int)[1:-1]
    return sorted({*kept, *map(int, others)})


def decimals(atol):
    """Return how many decimals a millionth of an atol has, at least ten."""
    return max(DIGITS, 6 - math.floor(math.log10(atol))) if atol else DECIMALS


def storable(value, where, places=DECIMALS):
    """Return a value as JSON holds it, floats at ten digits and at most `places` decimals.

    Without a limit to the decimals, what should be 0 and is 1e-17 would have ten digits of noise.
    ValueError names what is NaN, infinite, too long or of no use.
    """
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): storable(v, f"{where}.{key}", places) for key, v in value.items()}
    if isinstance(value, (list, tuple, range)):
        if len(value) > LONGEST:
            raise ValueError(f"{where} has {len(value)} entries, more than {LONGEST}: use thin")
        return [storable(v, where, places) for v in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(
                f"{where} holds {value}, which JSON cannot: leave the point out or use None"
            )
        small = abs(value) < 10.0 ** (DIGITS - places)
        return (round(value, places) if small else float(f"{value:.{DIGITS}g}")) + 0.0
    if value is None or isinstance(value, (bool, int, str)):
        return value
    raise ValueError(
        f"{where} holds a {type(value).__name__}; numbers, texts, lists, arrays and dicts only"
    )


def canonical(value):
    """Return the one JSON text of a storable value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def numbers_hash(kept):
    """Return the SHA-256 of the canonical JSON of storable numbers."""
    return hashlib.sha256(canonical(kept).encode()).hexdigest()


def written(head, kept):
    """Return the JSON file's text: the head, then the numbers with one line for each name."""
    fields = [
        f'"{key}": {json.dumps(head[key], sort_keys=True, ensure_ascii=False)}' for key in head
    ]
    rows = ",\n  ".join(f"{json.dumps(key)}: {canonical(value)}" for key, value in kept.items())
    return "{\n " + ",\n ".join([*fields, '"numbers": {\n  ' + rows + "\n }"]) + "\n}\n"
