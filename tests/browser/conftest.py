"""The built book served on this machine, and a browser that refuses to leave it."""

import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from bncourse import doctor
from tests.browser.windows import WIDTHS, watch, without_formulas

# Tests in other processes may keep this machine's cores busy: the five seconds of Playwright are too few.
expect.set_options(timeout=20_000)


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and prints nothing."""

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Says nothing of a reader who goes on before a page is complete."""

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def address(built_book: Path) -> Iterator[str]:
    """The address of the built book, on a free port of localhost."""
    server = Server(("127.0.0.1", 0), functools.partial(Quiet, directory=str(built_book)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium of this machine, or a skip that says how to install it.

    Closed after each module: while Playwright is open its event loop runs in this thread, and other tests need theirs.
    """
    program = doctor.browser()
    if program is None:
        unavailable("no Chromium found")
    try:
        playwright = sync_playwright().start()
    except Exception:  # the driver, a Node.js of its own, did not start: a bare Debian lacks a library that it needs
        unavailable("Playwright's driver does not start")
    # A container's root may not use Chromium's sandbox. What it opens is the book alone.
    chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
    yield chromium
    chromium.close()
    playwright.stop()


@pytest.fixture
def opened(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """Opens a page, without its formulas, in a window of its own; nothing may go wrong there until the test ends."""
    contexts, troubles = [], []

    def show(path: str, width: str = "desk", theme: str = "light", **options: Any) -> Page:
        contexts.append(
            browser.new_context(
                viewport={"width": WIDTHS[width], "height": 900}, color_scheme=theme, reduced_motion="reduce", **options
            )
        )
        page = contexts[-1].new_page()
        troubles.append(watch(page, f"{address}/{path}"))
        without_formulas(page)
        page.goto(f"{address}/{path}", wait_until="load")
        return page

    yield show
    assert [trouble for page in troubles for trouble in page] == []
    for context in contexts:
        context.close()


def unavailable(reason: str) -> NoReturn:
    """Skip, saying what to install; in continuous integration, which installs it, fail."""
    message = f"{reason}; install what it needs with: {doctor.INSTALL_BROWSER}"
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
