"""`make bench`: speed and memory as ratios, by pytest-benchmark over the rows in benchmarks/.

One process and one thread; all but PyTorch, which chooses its own, use the instructions of all runs
(tools/surroundings.py). The two sides of a row are timed one after the other. Further arguments go
to pytest, as in `-k heat`; what they choose is written below build/bench, as is a table without
PyTorch's rows (`make torch`), and only the whole to figures/.
"""

import json

from tools.commands import run
from tools.project import write_whole

# fmt: skip
PYTEST = [
    "-m",
    "pytest",
    "-q",
    "-rs",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "-p",
    "no:nbval",
    "-p",
    "no:hypothesispytest",
    "-o",
    "python_files=*.py",
    "--ignore=benchmarks/torch_side.py",
    "--benchmark-columns=median,iqr,rounds",
]
HEAD = """\
# Benchmarks: speed, as measured by `make bench`

The ratio is how many times faster ours is than the other side: of medians, the two sides timed one
after the other in one run, one thread each. Machines differ, ratios less so; in the row "backprop"
both sides are the same, and what its ratio differs from 1 by is noise. The other side is what the
note names: another method, another library, or a number of forward passes, which a goal bounds.
"""
GROUPS = {  # the first word of a row's name: the heading that it stands under
    "equilibrium": "States at rest under pins",
    "joint-flow": "A step of joint training",
    "update": "An update by currents, against backpropagation's",
    "run": "Whole runs of training",
}
OTHERS = "Passes, spectra and memory"
TABLE = """
## {title}

| what | ratio | ours | theirs | note |
|---|---|---|---|---|
"""
LINE = "| {name} | {ratio:g} | {ours} | {theirs} | {note} |\n"


def bench(project, options):
    """Measure the rows and write their table; returns pytest's exit status."""
    chosen = options.arguments
    folder = project.build / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    report = folder / "pytest-benchmark.json"
    words = [*PYTEST, f"--benchmark-json={report}", *chosen, "benchmarks"]
    status = run(project, words, folder)
    whole = not chosen and (project.build / "torch").is_dir()
    if status == 0:
        write(rows(report.read_bytes()), project.figures if whole else folder)
    return status


def rows(report):
    """Return the rows of a report of pytest-benchmark, as figures/bench.json holds them."""
    found: dict[str, dict] = {}
    for timed in json.loads(report)["benchmarks"]:
        said, sides = timed["extra_info"], found.setdefault(timed["group"], {})
        sides.update(
            {"note": said["note"], said["side"]: timed["stats"]["median"] / said["per"] * 1e6}
        )
    return [
        {
            "name": name,
            "ratio": float(f"{sides['theirs'] / sides['ours']:.3g}"),
            "ours_us": float(f"{sides['ours']:.4g}"),
            "theirs_us": float(f"{sides['theirs']:.4g}"),
            "note": sides["note"],
        }
        for name, sides in found.items()
    ]


def write(found, folder):
    """Write bench.json and bench.md into a folder, and print the table."""
    table = HEAD
    for title in (*GROUPS.values(), OTHERS):
        rows = [row for row in found if GROUPS.get(row["name"].split()[0], OTHERS) == title]
        table += TABLE.format(title=title) if rows else ""
        for row in rows:
            ours, theirs = (shown(row[side]) for side in ("ours_us", "theirs_us"))
            table += LINE.format(**row, ours=ours, theirs=theirs)
    write_whole(folder / "bench.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    write_whole(folder / "bench.md", table)
    print(table)


def shown(microseconds):
    """Return a time with the unit that fits it."""
    for size, unit in ((1e6, "s"), (1e3, "ms")):
        if microseconds >= size:
            return f"{microseconds / size:.3g}\u00a0{unit}"  # a space that ends no line
    return f"{microseconds:.3g}\u00a0µs"
