"""Settings of Sphinx for the book. `make book` copies what it is made of into build/pages, and
calls Sphinx with the settings of this folder.
"""

import json
import re
import sys
from importlib.metadata import distribution
from pathlib import Path

from docutils import nodes
from numpydoc import xref
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import sheaflib  # noqa: E402 - it is found only now
from sheaflib.companion import tasks  # noqa: E402
from sheaflib.plots.explore import SCRIPT, STYLESHEET  # noqa: E402

MATHJAX = "sphinx-mathjax-offline/static/mathjax/tex-svg-full.js"  # one file, with its fonts

project = "sheaflib"
author = "The sheaflib authors"
project_copyright = author
version = release = sheaflib.__version__
language = "en"
root_doc = "index"
default_role = "py:obj"  # a name in single quotes is a link where sheaflib has it
exclude_patterns = ["README.md"]  # whose parts other pages include
extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
]

nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["amsmath", "attrs_inline", "dollarmath"]
myst_heading_anchors = 4

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}
autodoc_typehints_format = "short"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = True  # a type that sheaflib has is a link, and no other word
numpydoc_xref_ignore = "all"
numpydoc_xref_aliases = {name: f"sheaflib.{name}" for name in sheaflib.__all__}
xref.DEFAULT_LINKS.clear()

templates_path = [str(ROOT / "docs" / "_templates")]
html_theme = "furo"
html_title = "Neural networks as sheaves"
html_static_path = [
    "_static",
    str(distribution("sphinx-mathjax-offline").locate_file(MATHJAX)),
    str(SCRIPT),
    str(STYLESHEET),
]
html_css_files = [STYLESHEET.name, "book.css"]
html_js_files = [("book.js", {"defer": "defer"}), (SCRIPT.name, {"defer": "defer"})]
html_search_scorer = str(ROOT / "docs" / "scorer.js")
html_show_search_summary = False  # a page opened as a file may not read others
html_copy_source = False
html_show_sourcelink = False
mathjax_path = Path(MATHJAX).name
mathjax3_config = {"options": {"enableMenu": False}}
mathjax_config_path = "mathjax.js"


class Explorer(SphinxDirective):
    """One of the authors' heat runs, live: its name is the argument."""

    required_arguments = 1

    def run(self):
        (name,) = self.arguments
        sheaf, x, start = tasks.heat_run(name)
        shown = sheaflib.explore(sheaf, x, start=start, dt=0.01)
        images = Path(self.env.app.outdir) / "_images"
        images.mkdir(parents=True, exist_ok=True)
        (images / f"explorer-{name}.png").write_bytes(shown.png())
        to_top = "../" * self.env.docname.count("/")
        return [nodes.raw("", shown.html(f"{to_top}_images/explorer-{name}.png"), format="html")]


def link_literals(app, tree, page):
    """Make the name of a claim or of a part of the library, where it stands as code, a link."""
    ledger = app.builder.get_relative_uri(page, "figures/LEDGER")
    objects = app.env.domains.python_domain.objects
    for literal in list(tree.findall(nodes.literal)):
        name, inside = literal.astext(), literal.parent
        if isinstance(inside, nodes.reference | nodes.title | addnodes.pending_xref):
            continue
        full = name if name in objects else f"sheaflib.{name}"
        if name in app.claims and page != "figures/LEDGER":
            target = f"{ledger}#{name.replace('.', '-')}"
        elif full in objects and objects[full].docname != page:
            found = objects[full]
            target = f"{app.builder.get_relative_uri(page, found.docname)}#{found.node_id}"
        else:
            continue
        link = nodes.reference("", "", refuri=target, internal=True)
        literal.replace_self(link)
        link += literal


def complete(app, page, template, context, tree):
    """Give headings of the side bar the level that they lack, and the ledger its script."""
    leveled = 'role="heading" aria-level="2"'
    navigation = context.get("furo_navigation_tree", "").replace('role="heading"', leveled)
    context["furo_navigation_tree"] = navigation
    if page == "figures/LEDGER":
        app.add_js_file("ledger.js", loading_method="defer")
        context["body"] = f'<div class="ledger-page">{context["body"]}</div>'


def plain_types(app, what, name, thing, options, signature, returns):
    """Name a type alias as the source does; Sphinx wraps the name in a word of its own."""
    return signature and re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", signature), returns


def leave_out_others(app, what, name, thing, skip, options):
    """Leave out members that a class inherits from other libraries, which document them."""
    module = getattr(getattr(thing, "fget", thing), "__module__", None) or "sheaflib"
    return True if not module.startswith("sheaflib") else None


def setup(app):
    """Called by Sphinx."""
    app.add_directive("explorer", Explorer)
    app.connect("autodoc-process-signature", plain_types)
    app.connect("autodoc-skip-member", leave_out_others)
    app.connect("html-page-context", complete, priority=900)  # after the theme
    rows = json.loads((ROOT / "figures" / "ledger.json").read_text(encoding="utf-8"))
    app.claims = {row["id"] for row in rows}
    app.connect("doctree-resolved", link_literals)
