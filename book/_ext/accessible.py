"""Mend what the tools of the site leave for people who do not see it, or who use no mouse."""

from sphinx.application import Sphinx

# Entries of a bibliography are no list items, so what holds them is no list for a screen reader.
WRONG = {'<div role="list" class="citation-list">': '<div class="citation-list">'}


def _mend(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    for wrong, right in WRONG.items():
        if "body" in context:
            context["body"] = context["body"].replace(wrong, right)


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    app.connect("html-page-context", _mend)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
