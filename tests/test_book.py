"""The book builds without a warning, reads offline, and works for whoever reads it in a browser."""

import functools
import json
import re
import subprocess
import threading
import time
from html import unescape
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

import browser as chromium
import nbformat
import pytest
import yaml
from conftest import COMMAND, ENVIRONMENT, ROOT

from deeprehab_nb.book.pages import read_page as read_source

BUILT = ROOT / "book" / "_build"
HTML, PICTURES = BUILT / "html", BUILT / "screenshots"
TOC = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
PAGES = [TOC["root"], *re.findall(r"- file: (\S+)", (ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))]
MAIN = [TOC["root"], *(part["chapters"][0]["file"] for part in TOC["parts"])]  # pictures of these are kept, for a person to look at
EXPLAINED = ("book/notebook_to_chapter", "nbs/book/pages")  # where nbdev's marks are told of
EXTRA = ["genindex", "search"]  # made by Sphinx
MEGABYTE = 2**20


@pytest.fixture(scope="session")
def built():
    """Build the book once; executed notebooks are taken from its cache where nothing has changed."""
    command = [COMMAND, "book", "build", "--out", BUILT, "--strict"]
    return subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)


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
        self.text, self.fetched, self.inside, self.links, self.anchors, self.unnamed = [], [], [], [], {"", "top"}, []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag in ("script", "style"):
            self.inside.append(tag)
        if tag == "link" and not {"next", "prev", "index", "search", "canonical"} & set(attributes.get("rel", "").split()):
            self.fetched.append(attributes.get("href") or "")
        self.fetched.append(attributes.get("src") or "")
        self.anchors |= {attributes.get("id"), attributes.get("name")}
        if tag == "a" and attributes.get("href"):
            self.links.append(attributes["href"])
        if tag == "img" and not attributes.get("alt"):
            self.unnamed.append(attributes.get("src"))

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


@pytest.mark.parametrize("name", PAGES)
def test_page_is_clean_and_complete_in_itself(book, name):
    path = book / f"{name}.html"
    page = Page(path)
    if name not in EXPLAINED:
        assert "#|" not in "".join(page.text).replace(" ", "")
    assert [url for url in page.fetched if re.match(r"(https?:)?//", url)] == []
    has_animation = bool(re.search(r'"frames":\[\{', path.read_text(encoding="utf-8")))
    assert path.stat().st_size < (12 if has_animation else 2) * MEGABYTE


def test_styles_ask_no_other_host(book):
    for path in book.rglob("*.css"):
        assert not re.search(r"(@import\s+|url\()[\"']?(https?:)?//", path.read_text(encoding="utf-8")), path


@pytest.fixture(scope="session")
def read_page():
    """Return a function that reads a page of the site once."""
    return functools.cache(Page)


def gone(book, read_page, path):
    """Return the links of a page that lead nowhere within the site."""
    lost = []
    for link in read_page(path).links:
        address, anchor = urldefrag(link)
        if urlparse(link).scheme:  # another host, or data within the link
            continue
        target = (path.parent / unquote(address)).resolve() if address else path
        there = target.is_file() and target.is_relative_to(book)
        if not there or target.suffix == ".html" and unquote(anchor) not in read_page(target).anchors:
            lost.append(link)
    return lost


@pytest.mark.parametrize("name", [*PAGES, *EXTRA])
def test_links_of_the_page_lead_somewhere(book, read_page, name):
    assert gone(book, read_page, book / f"{name}.html") == []


@pytest.mark.parametrize("name", PAGES)
def test_pictures_are_told_in_words(book, read_page, name):
    assert read_page(book / f"{name}.html").unnamed == []


@pytest.mark.parametrize("name", [page for page in PAGES if (ROOT / f"{page}.ipynb").is_file()])
def test_download_button_names_the_notebook(book, read_page, name):
    path = book / f"{name}.html"
    offered = next(link for link in read_page(path).links if link.endswith(f"{Path(name).name}.ipynb") and not urlparse(link).scheme)
    given = {cell.source for cell in nbformat.read(path.parent / offered, as_version=4).cells}
    written = read_source(ROOT / f"{name}.ipynb")
    code = [cell.source for cell in written.cells if cell.cell_type == "code"]
    assert [source for source in code if source not in given] == []  # the build may add a cell with parameters


@pytest.fixture(scope="session")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="session")
def browser(downloads):
    chrome = chromium.start(downloads)
    yield chrome
    chrome.quit()


@pytest.fixture(scope="module", params=[*PAGES, *EXTRA])
def visited(request, book, browser):
    """What a reader finds wrong with a page: every page is opened once, from its file, for all the tests below."""
    name = request.param
    pictures = PICTURES / name.replace("/", "-") if name in MAIN else None
    return chromium.visit(browser, (book / f"{name}.html").as_uri(), pictures)


def test_figures_formulas_and_tables_are_filled(visited):
    assert visited["unfinished"] == []


def test_nothing_is_asked_of_another_host(visited):
    assert visited["other hosts"] == []


def test_no_request_fails(visited):
    assert visited["failed requests"] == []


def test_no_error_in_the_console(visited):
    assert visited["console"] == []


def test_legible_in_the_light(visited):
    assert visited["light"] == []


def test_legible_in_the_dark(visited):
    assert visited["dark"] == []


def test_fits_a_phone(visited):
    assert visited["phone"] == []


def test_accessible(visited):
    assert visited["accessibility"] == []


@pytest.fixture
def opened(book, browser):
    """Return a function that opens a page at a desk, in the light."""

    def open_page(address):
        chromium.resize(browser, *chromium.DESKTOP)
        chromium.prefer(browser, "light")
        browser.get(address if "://" in address else (book / f"{address}.html").as_uri())
        assert chromium.wait(browser, "!reader.unfinished().length")

    return open_page


@pytest.fixture
def click(browser):
    """Return a function that clicks with the mouse on what JavaScript or a selector finds."""
    from selenium.webdriver import ActionChains

    def click_on(element):
        if isinstance(element, str):
            element = browser.find_element("css selector", element)
        browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
        ActionChains(browser).move_to_element(element).click().perform()

    return click_on


@pytest.mark.parametrize("name", [TOC["root"], "nbs/data/skeleton"])
def test_animation_plays_and_pauses(opened, click, browser, name):
    opened(name)
    figure = "[...document.querySelectorAll('.js-plotly-plot')].find(place => place._transitionData._frames.length > 1)"
    state = f"(() => {{ const p = {figure}; return JSON.stringify([p._fullLayout.sliders[0].active, p._fullData[0].x]) }})()"

    def button(text):
        return next(b for b in browser.find_elements("css selector", ".updatemenu-button") if b.text == text)

    before = json.loads(chromium.wait(browser, state))
    click(button("▶"))
    chromium.wait(browser, f"JSON.parse({state})[0] > 2", 10)
    frame, pose = json.loads(browser.execute_script(f"return {state}"))
    assert frame > 2 and pose != before[1]
    click(button("❚❚"))
    stopped = chromium.wait(browser, state)
    assert not chromium.wait(browser, f"{state} !== {json.dumps(stopped)}", 1)


def test_tables_sort_and_filter(book, read_page, opened, click, browser):
    tables = [name for name in PAGES if "itables_" in "".join(map(str, read_page(book / f"{name}.html").anchors))]
    for name in tables:
        opened(name)
        table = ".dt-container:has(input[type=search])"
        if not browser.find_elements("css selector", table):
            continue  # a short table, shown whole
        rows = f"[...document.querySelector('{table}').querySelectorAll('tbody tr')].map(row => row.innerText)"
        first = browser.execute_script(f"return {rows}")
        for _ in range(2):  # upwards, downwards: itables sorts by the small arrows only
            click(f"{table} thead .dt-orderable-asc .dt-column-order")
        assert chromium.wait(browser, f"{rows}.join() !== {json.dumps(','.join(first))}", 5), f"{name}: the table does not sort"
        word = first[-1].split("\t")[0].strip()
        browser.find_element("css selector", f"{table} input[type=search]").send_keys(word)
        kept = f"{rows}.length < {len(first)} || {rows}.every(row => row.includes({json.dumps(word)}))"
        assert chromium.wait(browser, kept, 5), f"{name}: the table does not filter"


def test_search_finds_the_chapter_of_a_network(opened, click, browser):
    from selenium.webdriver.common.keys import Keys

    opened(TOC["root"])
    chromium.complaints(browser)
    click("button.search-button__button, button.search-button")
    field = browser.find_element("css selector", "#pst-search-dialog input[type=search]")
    field.send_keys("H-InceptionTime" + Keys.ENTER)
    assert chromium.wait(browser, "document.querySelector('#search-results li a[href*=\"nbs/models/hinception.html\"]')")
    assert chromium.complaints(browser) == []


@pytest.fixture(scope="module")
def served(book):
    """The address of the site as ``python -m http.server`` gives it."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=book)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_download_button_gives_the_notebook(served, opened, click, browser, downloads):
    opened(f"{served}/nbs/models/zoo.html")  # from a file, a browser shows the notebook's text in a tab of its own
    click(".dropdown-download-buttons > button")
    click(".btn-download-source-button")
    end = time.monotonic() + 10
    while not (downloads / "zoo.ipynb").is_file() and time.monotonic() < end:
        time.sleep(0.1)
    assert nbformat.read(downloads / "zoo.ipynb", as_version=4).cells


@pytest.mark.parametrize("page", ["", *(f"{name}.html" for name in MAIN), "search.html?q=ConvTran"])
def test_works_from_a_server(served, opened, browser, page):
    chromium.requests(browser), chromium.complaints(browser)  # forget those of the page before
    opened(f"{served}/{page}")
    asked, failed = chromium.requests(browser)
    assert failed == []
    assert [url for url in asked if not url.startswith((served, "data:", "blob:"))] == []
    assert chromium.complaints(browser) == []
    if "search" in page:
        assert chromium.wait(browser, "document.querySelector('#search-results li .context')"), "no result with an excerpt"
