"""Let a property be described by a sentence with a colon in it."""

from sphinx.application import Sphinx


def _keep_sentence(app: Sphinx, what: str, name: str, obj, options, lines: list[str]) -> None:
    if what == "property":  # napoleon takes what stands before a colon in the first line for a type
        lines[:0] = ["..", ""]


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    app.connect("autodoc-process-docstring", _keep_sentence, priority=100)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
