"""
Make names of the package's code, of networks and of pages links to their pages.

What a notebook displays does not know on which page it will stand. So it says only which module it means, as
``<code data-module="deeprehab_nb.results.figures">...</code>``, or which page, as ``<span data-page="collections/EHE_reg">...</span>``;
each page makes a link of that, if the book has the other. One notebook is one module, so the name tells where it is.
"""

import re

from sphinx.application import Sphinx

MENTION = re.compile(r'<(code|span) data-(?:module="deeprehab_nb(?P<module>(?:\.\w+)+)"|page="(?P<page>[\w/.-]+)")>.*?</\1>')


def _add_links(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    def link(mention: re.Match) -> str:
        chapter = mention["page"] or f"nbs{mention['module'].replace('.', '/')}"
        if chapter not in app.env.found_docs or chapter == page:
            return mention[0]
        return f'<a class="reference internal" href="{app.builder.get_relative_uri(page, chapter)}">{mention[0]}</a>'

    if "body" in context:
        context["body"] = MENTION.sub(link, context["body"])


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    app.connect("html-page-context", _add_links)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
