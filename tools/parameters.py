"""Parameters of one run: read from text like `dt=0.02 dims=[2,4,1]` and compared with what the notebook has."""

import ast
import re
import tomllib

from tools import notebooks


def parse(text):
    """Return {name: value} of `name=value` pairs with TOML or Python literals; ValueError names the piece it cannot read."""
    pieces = re.split(r"(?:^|[\s,;]+)([A-Za-z_]\w*)\s*=(?!=)", text.strip())
    if pieces[0].strip():
        raise ValueError(f"parameters are written name=value, and {pieces[0].strip()!r} is not")
    return {name: literal(name, value.strip()) for name, value in zip(pieces[1::2], pieces[2::2])}


def literal(name, text):
    """Return the typed value of a TOML or Python literal; ValueError otherwise."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        raise ValueError(f"parameter {name}: {text!r} is no number, list, true, false or quoted text") from None


def defaults(notebook):
    """Return {name: default as written} of a notebook's parameters cell (papermill's own reading stops at line ends)."""
    cells = [c.source for c in notebooks.read(notebook.path).cells if "parameters" in c.metadata.get("tags", [])]
    found = [(source, node) for source in cells for node in ast.parse(source).body]
    assigned = [(source, node, node.targets[0] if isinstance(node, ast.Assign) else node.target)
                for source, node in found if isinstance(node, (ast.Assign, ast.AnnAssign))]
    return {target.id: " ".join(ast.get_source_segment(source, node.value).split()) for source, node, target in assigned}


def check(notebook, given):
    """Raise ValueError, listing the notebook's parameters, when a given one is not among them."""
    if not given:
        return
    known = defaults(notebook)
    unknown = sorted(set(given) - set(known))
    if unknown:
        listed = ", ".join(f"{name}={value}" for name, value in known.items()) or "none"
        raise ValueError(f"{notebook.file} has no parameter {', '.join(unknown)}; it has: {listed}")
