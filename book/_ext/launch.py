"""Offer to launch what can be launched: the notebooks that are in the repository as they are in the book."""

from sphinx.application import Sphinx


def _only_notebooks(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    if not page.startswith("nbs/"):  # Markdown there, or made when the book is built
        context["header_buttons"] = [button for button in context.get("header_buttons", []) if button.get("label") != "launch-buttons"]


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    app.connect("html-page-context", _only_notebooks, priority=900)  # after the theme has made its buttons
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
