"""The book builds without a warning, reads offline, and works in a browser."""

import json
import re
import shutil
import subprocess
import sys
import time
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "book" / "_build" / "html"
TOC = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
PAGES = [TOC["root"], *re.findall(r"- file: (\S+)", (ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))]
MEGABYTE = 2**20


@pytest.fixture(scope="session")
def built():
    """Build the book once; executed notebooks are taken from its cache where nothing has changed."""
    command = shutil.which("jupyter-book", path=str(Path(sys.executable).parent)) or shutil.which("jupyter-book")
    if command is None:
        pytest.skip("jupyter-book is not installed (it comes with the extra 'dev')")
    places = ["--path-output", "book", "--config", "book/_config.yml", "--toc", "book/_toc.yml"]
    build = [command, "build", ".", *places, "-W", "--keep-going"]
    return subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def book(built):
    """The folder of the site; tests that need it are skipped where the build failed, which has a test of its own."""
    if not all((HTML / f"{page}.html").is_file() for page in PAGES):
        pytest.skip("the book was not built")
    return HTML


class Page(HTMLParser):
    """What a browser would show of a page, and what it would fetch for it."""

    def __init__(self, path: Path):
        super().__init__()
        self.text, self.fetched, self.inside = [], [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag in ("script", "style"):
            self.inside.append(tag)
        if tag == "link" and not {"next", "prev", "index", "search", "canonical"} & set(attributes.get("rel", "").split()):
            self.fetched.append(attributes.get("href") or "")
        self.fetched.append(attributes.get("src") or "")

    def handle_endtag(self, tag):
        if self.inside and self.inside[-1] == tag:
            self.inside.pop()

    def handle_data(self, data):
        if not self.inside:
            self.text.append(data)
        else:
            self.fetched += re.findall(r"""(?:\bimport\b[^;\n]{0,200}?|@import\s+|url\()["']?((?:https?:)?//[^"')\s]+)""", data)


def test_builds_without_warning(built):
    assert built.returncode == 0, (built.stdout + built.stderr)[-4000:]


def test_every_chapter_is_in_the_book():
    chapters = {p.relative_to(ROOT).with_suffix("").as_posix() for p in (ROOT / "nbs").rglob("*.ipynb")}
    chapters = {c for c in chapters if not any(part.startswith((".", "_")) for part in Path(c).parts)}
    assert chapters - {"nbs/data/collection"} <= set(PAGES)  # a template: the book has a page of each collection instead


def test_every_module_is_in_the_reference():
    pages = (ROOT / "book" / "api").glob("*.md")
    listed = [name for page in pages for name in re.findall(r"automodule:: (\S+)", page.read_text(encoding="utf-8"))]
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "deeprehab_nb").rglob("*.py")
        if not path.name.startswith("_")
    }
    assert sorted(listed) == sorted(modules)


def test_every_command_is_in_the_reference(book, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    from cli_reference import commands
    from typer.main import get_command

    from deeprehab_nb.cli import app

    text = (book / "book" / "cli.html").read_text(encoding="utf-8")
    found = list(commands(get_command(app)))
    assert len(found) > 10
    for words, command in found:
        section = re.search(rf'<section[^>]* id="deeprehab-{"-".join(words)}">.*?</section>', text, re.DOTALL)
        assert section, words
        said = unescape(re.sub(r"<[^>]+>", "", section[0]))
        options = [option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts) if option.startswith("--")]
        assert [option for option in options if option not in said] == [], words


def test_every_key_of_a_benchmark_is_in_the_reference(book):
    from deeprehab_nb.experiment.grid import schema_rows

    said = unescape((book / "book" / "configuration.html").read_text(encoding="utf-8"))
    assert [row for row in schema_rows() if f">{row[0]}</td>" not in said and row[0] not in ("checkpoint", "resources")] == []


def test_directives_become_tags(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    from nbdev_reader import read

    sources = {
        "#| default_exp data.x": ("", ["remove-cell"]),
        "#| export\nx = 1": ("x = 1", ["exported"]),
        "#| exporti\nx = 1  # | not one": ("x = 1  # | not one", ["exported"]),
        "# | hide\n\nassert x": ("assert x", ["remove-cell"]),
        "#| code-fold: true\nshow()": ("show()", ["hide-input"]),
        "#|eval: false\nshow()": ("show()", ["skip-execution"]),
        "#| eval: true\nshow()": ("show()", []),
    }
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells.append(nbformat.v4.new_markdown_cell("#| stays"))
    notebook = read(nbformat.writes(nbformat.v4.new_notebook(cells=cells)))
    assert [(cell.source, cell.metadata.tags) for cell in notebook.cells[:-1]] == list(sources.values())
    assert notebook.cells[-1].source == "#| stays"


@pytest.mark.parametrize("name", PAGES)
def test_page_is_clean_and_complete_in_itself(book, name):
    path = book / f"{name}.html"
    page = Page(path)
    if name != "book/notebook_to_chapter":  # it explains the marks
        assert "#|" not in "".join(page.text).replace(" ", "")
    assert [url for url in page.fetched if re.match(r"(https?:)?//", url)] == []
    has_animation = bool(re.search(r'"frames":\[\{', path.read_text(encoding="utf-8")))
    assert path.stat().st_size < (12 if has_animation else 2) * MEGABYTE


def test_styles_ask_no_other_host(book):
    for path in book.rglob("*.css"):
        assert not re.search(r"(@import\s+|url\()[\"']?(https?:)?//", path.read_text(encoding="utf-8")), path


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("chromium and chromedriver are not installed: no page was opened in a browser")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "headless=new", "no-sandbox", "disable-gpu", "enable-unsafe-swiftshader", "no-first-run", "disable-sync",
        "disable-background-networking", "disable-component-update", "window-size=1400,1000",
        f"user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()


def wait(browser, script, seconds=30):
    """Return what a JavaScript expression gives once it is true, or what it gives in the end."""
    end = time.monotonic() + seconds
    while not (value := browser.execute_script(f"return {script}")) and time.monotonic() < end:
        time.sleep(0.1)
    return value


FIGURES_DRAWN = """[...document.querySelectorAll("div.plotly-figure")].every(box => {
  const place = box.querySelector(".js-plotly-plot");
  if (!place || !place.data || !place.data.length || place.getBoundingClientRect().height < 100) return false;
  return place.querySelectorAll(".cartesianlayer .trace path, .cartesianlayer image, canvas").length > 0;
})"""
MATH_SET = """[...document.querySelectorAll(".math")].every(
  formula => formula.querySelector("mjx-container svg") && !formula.querySelector("mjx-merror, [data-mjx-error]"))"""
TABLES_FILLED = """[...document.querySelectorAll(".dt-container")].every(
  table => table.querySelectorAll("tbody tr td").length > 1)"""


@pytest.mark.parametrize("name", PAGES)
def test_page_works_in_a_browser(book, browser, name):
    browser.get((book / f"{name}.html").as_uri())
    assert wait(browser, FIGURES_DRAWN), "a figure is not drawn"
    assert wait(browser, MATH_SET), "a formula is not typeset"
    assert wait(browser, TABLES_FILLED), "a table is empty"
    asked = browser.execute_script("return performance.getEntriesByType('resource').map(r => r.name)")
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.parametrize("name", [TOC["root"], "nbs/data/skeleton"])
def test_animation_plays(book, browser, name):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    browser.get((book / f"{name}.html").as_uri())
    assert wait(browser, FIGURES_DRAWN)
    figure = "[...document.querySelectorAll('.js-plotly-plot')].find(place => place._transitionData._frames.length > 1)"
    state = f"(() => {{ const p = {figure}; return JSON.stringify([p._fullLayout.sliders[0].active, p._fullData[0].x]) }})()"
    before = json.loads(wait(browser, state))
    play = next(b for b in browser.find_elements(By.CSS_SELECTOR, ".updatemenu-button") if b.text == "▶")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", play)
    ActionChains(browser).move_to_element(play).click().perform()
    assert wait(browser, f"{state} !== {json.dumps(json.dumps(before, separators=(',', ':')))}", 5)
    wait(browser, f"JSON.parse({state})[0] > 2", 5)
    frame, pose = json.loads(browser.execute_script(f"return {state}"))
    assert frame > 2 and pose != before[1]


def test_figures_follow_the_colours_of_the_page(book, browser):
    browser.get((book / f"{TOC['root']}.html").as_uri())
    assert wait(browser, FIGURES_DRAWN)
    ink = "document.querySelector('.js-plotly-plot').layout.template.layout.font.color"
    colours = set()
    for theme in ("light", "dark"):
        browser.execute_script(f"document.documentElement.dataset.theme = '{theme}'")
        time.sleep(1)
        colours.add(browser.execute_script(f"return {ink}"))
    assert len(colours) == 2
