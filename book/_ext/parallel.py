"""Let pages be read and written side by side, which Sphinx does only if all extensions say that they allow it."""

from sphinx.application import Sphinx

SILENT = ("sphinx_multitoc_numbering", "sphinx_jupyterbook_latex")  # say nothing; the first numbers nothing in this book, the second is for LaTeX


def _allow(app: Sphinx, config) -> None:
    for name in SILENT:
        app.extensions[name].parallel_read_safe = True


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    app.connect("config-inited", _allow)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
