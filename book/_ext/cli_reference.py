"""The directive ``cli-reference``: every command and option of a Typer program as sections of a page, by Typer's own documentation."""

import re
from html import unescape
from importlib import import_module

import typer
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from typer.cli import get_docs_for_click

LIST_OF_COMMANDS = re.compile(r"\*\*Commands\*\*:\n\n(?:\* .*\n)+\n")
TITLE = re.compile(r"^(##+) `deeprehab (.*)`$", re.MULTILINE)


def commands(group, path: tuple[str, ...] = ()):
    """Yield every command and group below a group, with the words that call it."""
    for name, command in group.commands.items():
        yield (*path, name), command
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))


def reference(place: str) -> str:
    """Return Markdown about the program at ``module:name``; the title is left to the page, and so is what the program is for."""
    module, name = place.split(":")
    program = typer.main.get_command(getattr(import_module(module), name))
    text = get_docs_for_click(obj=program, ctx=typer.Context(program), name="deeprehab")
    text = unescape(LIST_OF_COMMANDS.sub("", text))  # sentences that are cut off; the page has contents of its own
    text = text[text.index("**Usage**") :]
    return TITLE.sub(lambda found: f"({'-'.join(['cli', *found[2].split()])})=\n{found[1]} `deeprehab {found[2]}`", text)


class CliReference(SphinxDirective):
    """``{cli-reference} module:name``."""

    required_arguments = 1

    def run(self) -> list:
        """Return the sections."""
        return self.parse_text_to_nodes(reference(self.arguments[0]), allow_section_headings=True)


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    app.add_directive("cli-reference", CliReference)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
