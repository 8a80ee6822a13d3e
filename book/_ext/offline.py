"""
Make the book complete in itself: it asks no other host for anything, not even for its scripts.

- Plotly figures are kept as the small JSON that a notebook holds. One copy of plotly.js, taken from the
  installed package, draws them; only pages with a figure load it.
- Formulas are typeset by MathJax's single-file SVG build, taken from the package sphinx-mathjax-offline.
"""

import html
import json
import shutil
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

from docutils import nodes
from myst_nb.core.render import load_mime_renders
from sphinx.application import Sphinx

PLOTLY = "application/vnd.plotly.v1+json"
MATHJAX = "mathjax/tex-svg.js"


class PlotlyFigure:
    """MyST-NB renderer: a figure becomes an empty box with its specification inside."""

    mime_priority_overrides = (("html", PLOTLY, 0),)

    @staticmethod
    def handle_mime(renderer, data, inline):
        """Return the nodes of a Plotly figure, or None for anything else."""
        if data.mime_type != PLOTLY or inline:
            return None
        figure = data.content if isinstance(data.content, dict) else json.loads(data.string)
        figure.pop("config", None)  # names a server to send figures to
        layout = figure.get("layout", {})
        specification = json.dumps(figure, separators=(",", ":")).replace("</", "<\\/")
        box = (
            f'<div class="plotly-figure" style="min-height: {layout.get("height", 450)}px"{_scrolls(layout)}>'
            f'<script type="application/json">{specification}</script></div>'
        )
        return [nodes.raw("", box, format="html", plotly=True)]


def _scrolls(layout: dict) -> str:
    """Return the attributes of a figure that may be wider than the page; it scrolls in its box, by the keyboard too."""
    if not (min_width := (layout.get("meta") or {}).get("min_width")):
        return ""
    title = html.escape((layout.get("title") or {}).get("text", "Figure"))
    return f' data-min-width="{min_width}" tabindex="0" role="region" aria-label="{title} (scrolls sideways on a narrow screen)"'


def _copy_scripts(app: Sphinx) -> None:
    static = Path(app.outdir) / "_static"
    mathjax = distribution("sphinx-mathjax-offline").locate_file(f"sphinx-mathjax-offline/static/{MATHJAX}")
    for source, name in (
        (files("plotly") / "package_data" / "plotly.min.js", "plotly/plotly.min.js"),
        (Path(__file__).with_name("plotly-figures.js"), "plotly/figures.js"),
        (mathjax, MATHJAX),
    ):
        (static / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, static / name)


def _add_plotly(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    if doctree is not None and any(raw.get("plotly") for raw in doctree.findall(nodes.raw)):
        app.add_js_file("plotly/plotly.min.js", loading_method="defer")
        app.add_js_file("plotly/figures.js", loading_method="defer")


def _set_mathjax(app: Sphinx, config) -> None:
    config.mathjax_path = MATHJAX


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    load_mime_renders().append(PlotlyFigure)  # MyST-NB keeps this list; entry points would need an installed package
    app.connect("config-inited", _set_mathjax)
    app.connect("builder-inited", _copy_scripts)
    app.connect("html-page-context", _add_plotly)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
