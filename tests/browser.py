"""A real Chromium that reads pages as a visitor would, and says what is wrong with them."""

import base64
import json
import os
import shutil
import time
from importlib import resources
from pathlib import Path

import pytest

DESKTOP, PHONE = (1400, 1000), (390, 844)
FLAGS = (
    "headless=new", "no-sandbox", "disable-gpu", "enable-unsafe-swiftshader", "no-first-run", "disable-sync",
    "disable-background-networking", "disable-component-update", "hide-scrollbars", "force-prefers-reduced-motion",
)


def missing(reason):
    """Skip on a machine of a user; a machine that serves the tests (CI is set) has everything, so it fails there."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def start(folder):
    """Start a Chromium that keeps its profile in a folder, and downloads into it; it has axe-core on every page."""
    try:
        from selenium import webdriver

        axe = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    except ImportError as error:
        missing(f"{error.name} is not installed (it comes with the extra 'dev'): no page was opened in a browser")
    binary, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not (binary and driver):
        missing("chromium and chromedriver are not installed: no page was opened in a browser")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"user-data-dir={folder / 'profile'}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    chrome.set_script_timeout(60)
    for source in (axe, Path(__file__).with_suffix(".js").read_text(encoding="utf-8")):
        chrome.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
    chrome.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    return chrome


def wait(browser, script, seconds=30):
    """Return what a JavaScript expression gives once it is true, or what it gives in the end."""
    end = time.monotonic() + seconds
    while not (value := browser.execute_script(f"return {script}")) and time.monotonic() < end:
        time.sleep(0.05)
    return value


def resize(browser, width, height):
    """Show pages in a window of this size, in CSS pixels; the browser's own windows cannot be as narrow as a phone."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def prefer(browser, theme):
    """Prefer the light or the dark theme, as a system tells a browser, until the figures of the page have followed."""
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]})
    wait(browser, f"location.protocol === 'about:' || document.documentElement.dataset.theme === '{theme}' && reader.dressed()", 10)


def screenshot(browser, path):
    """Keep a picture of the whole page, up to the height of a few screens."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = browser.execute_script("return [innerWidth, Math.min(document.documentElement.scrollHeight, 6000)]")
    area = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    picture = browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": area, "captureBeyondViewport": True})
    path.write_bytes(base64.b64decode(picture["data"]))


def faults(browser, name, *arguments):
    """Return what one of the functions of browser.js finds wrong with the page."""
    found = browser.execute_async_script(
        "const [name, given, done] = arguments; Promise.resolve(reader[name](...given)).then(done, error => done(String(error)))", name, arguments
    )
    assert isinstance(found, list), found
    return found


def requests(browser):
    """Return the addresses the page has asked for since the last call, and those that failed."""
    asked, failed = {}, []
    for entry in browser.get_log("performance"):
        event = json.loads(entry["message"])["message"]
        parameters = event["params"]
        if event["method"] == "Network.requestWillBeSent":
            asked[parameters["requestId"]] = parameters["request"]["url"]
        elif event["method"] == "Network.responseReceived" and parameters["response"]["status"] >= 400:
            failed.append(parameters["response"]["url"])
        elif event["method"] == "Network.loadingFailed" and not parameters.get("canceled"):
            failed.append(asked.get(parameters["requestId"], "?") + " " + parameters["errorText"])
    return list(asked.values()), failed


def complaints(browser):
    """Return the errors in the console since the last call."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def visit(browser, address, pictures=None):
    """
    Open a page once and look at it as a reader would: at a desk in the light and in the dark, and on a phone.

    Parameters
    ----------
    browser : selenium.webdriver.Chrome
    address : str
    pictures : pathlib.Path, optional
        Pictures of the page are kept beside this path: ``-light.png``, ``-dark.png`` and ``-phone.png``.

    Returns
    -------
    dict[str, list[str]]
        What is wrong, by what was looked at; empty lists where all is well.
    """
    found = {}

    def picture(name):
        if pictures:
            screenshot(browser, pictures.with_name(f"{pictures.name}-{name}.png"))

    browser.get("about:blank")
    requests(browser), complaints(browser)  # forget those of the page before
    resize(browser, *DESKTOP)
    prefer(browser, "dark")
    browser.get(address)
    wait(browser, "!reader.unfinished().length")
    found["unfinished"] = faults(browser, "unfinished")
    found["dark"] = faults(browser, "faintInk")
    picture("dark")
    prefer(browser, "light")
    found["light"] = faults(browser, "faintInk")
    picture("light")
    resize(browser, *PHONE)
    wait(browser, "reader.settled()", 3)  # figures and tab stops follow the width in a moment
    found["phone"] = faults(browser, "tooWide")
    picture("phone")
    asked, found["failed requests"] = requests(browser)
    own = ("file:", "data:", "blob:", "chrome:", "about:", "http://127.0.0.1:")
    found["other hosts"] = [url for url in asked if not url.startswith(own)]
    found["console"] = complaints(browser)
    faults(browser, "simplify")
    found["accessibility"] = faults(browser, "axe", "structure")
    resize(browser, *DESKTOP)
    for theme in ("light", "dark"):
        prefer(browser, theme)
        found[theme] += faults(browser, "axe", "colours")
    return found
