"""
Read nbdev notebooks as chapters.

nbdev's directives are comments at the top of a cell (``#| export``). They steer the export to modules
and mean nothing to a reader, so they are taken out; those that say how a cell is shown, or whether it runs, become
the tags that MyST-NB knows. A hidden cell still runs, because the cells after it may need it.
"""

import atexit
import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path

import nbformat
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
DIRECTIVE = re.compile(r"^\s*#\s*\|\s*([\w-]+)\s*:?\s*(.*?)\s*$")
TAGS = {  # (directive, its argument) -> tag; None stands for any argument
    ("hide", None): "remove-cell",
    ("default_exp", None): "remove-cell",
    ("export", None): "exported",
    ("exports", None): "exported",
    ("exporti", None): "exported",
    ("code-fold", "true"): "hide-input",
    ("echo", "false"): "remove-input",
    ("output", "false"): "remove-output",
    ("eval", "false"): "skip-execution",
    ("heavy", None): "skip-execution",
    ("gpu", None): "skip-execution",
}


def read(text: str) -> nbformat.NotebookNode:
    """Return the notebook in `text` with its directives turned into tags."""
    notebook = nbformat.reads(text, as_version=4)
    if "papermill" in notebook.metadata:  # an experiment's report: shown as it was executed
        notebook.metadata["mystnb"] = {"execution_mode": "off"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            _translate(cell)
    return notebook


def _translate(cell: nbformat.NotebookNode) -> None:
    found = {}
    lines = []
    for line in cell.source.split("\n"):
        if match := DIRECTIVE.match(line):
            found[match[1]] = match[2].lower()
        else:
            lines.append(line)
    cell.source = "\n".join(lines).strip("\n")
    tags = [tag for (name, value), tag in TAGS.items() if name in found and value in (None, found[name])]
    if not cell.source:
        tags.append("remove-cell")
    cell.metadata["tags"] = list(dict.fromkeys([*cell.metadata.get("tags", []), *tags]))


def _configure(app: Sphinx, config) -> None:
    """Use the reader, and keep executed notebooks only as long as the package they ran is the same."""
    config.nb_custom_formats = {".ipynb": "nbdev_reader.read"}
    digest = hashlib.sha256()
    for module in sorted((ROOT / "deeprehab_nb").rglob("*.py")):
        digest.update(module.read_bytes())
    caches = Path(app.outdir).parent / ".jupyter_cache"
    current = caches / digest.hexdigest()[:12]
    for stale in caches.glob("*"):
        if stale != current:
            shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
    config.nb_execution_cache_path = str(current)


def _read_all(app: Sphinx, env, added: set[str], changed: set[str], removed: set[str]) -> set[str]:
    """Read every page in every build: a page that is left out gives no warning, and would hide what is wrong with it."""
    return env.found_docs - added


def _own_kernels() -> None:
    """Keep what a user has set up for IPython and Jupyter out of the book, and the kernels' advice out of the output."""
    os.environ.pop("JUPYTER_PATH", None)  # could put another kernel in the place of this environment's
    home = Path(tempfile.mkdtemp(prefix="book-ipython-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    (home / "profile_default").mkdir()
    (home / "profile_default" / "ipython_kernel_config.py").write_text("c.IPKernelApp.log_level = 40\n")
    os.environ["IPYTHONDIR"] = str(home)


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    _own_kernels()
    app.connect("config-inited", _configure, priority=400)  # before MyST-NB reads these settings
    app.connect("env-get-outdated", _read_all)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
