"""`make clean`: remove what can be made again, never figures/ (standard library only)."""

import shutil

from tools.project import Project

CACHES = ("__pycache__", ".pytest_cache", ".hypothesis", ".ipynb_checkpoints")


def main(arguments):
    """Remove build/ and the caches, with --all the environment `.venv` too; returns 0."""
    root = Project().root
    for folder in targets(root, everything="--all" in arguments):
        print(f"removing {folder.relative_to(root)}/")
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def targets(root, everything):
    """Return the folders to remove that exist, leaving .git and the inside of .venv alone."""
    kept = {".git", ".venv"}
    caches = [p for name in CACHES for p in root.rglob(name) if not kept & set(p.relative_to(root).parts)]
    first = [root / "build", *([root / ".venv"] if everything else [])]
    outside = [p for p in caches if "build" not in p.relative_to(root).parts]
    return [p for p in [*first, *outside] if p.is_dir()]
