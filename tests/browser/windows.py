"""What the tests in a browser share: the windows they open, what they watch for, and how they tell colours apart."""

import re
from typing import Literal

from playwright.sync_api import Page, Request, Route

WIDTHS = {"phone": 360, "desk": 1366}
Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")


def contrast(colours: tuple[str, str]) -> float:
    """Return the contrast of two colours as WCAG 2 defines it, from 1 to 21."""

    def luminance(colour: str) -> float:
        parts = [float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3]]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted(luminance(colour) for colour in colours)
    return (light + 0.05) / (dark + 0.05)


def failed(request: Request) -> bool:
    """Return whether a request failed by itself; one that the reader leaves behind by going on has not."""
    return request.failure != "net::ERR_ABORTED"


def watch(page: Page, url: str) -> list[str]:
    """Keep a page that will open this address from leaving the site; return the list of what goes wrong from now on."""
    troubles: list[str] = []

    def only_here(route: Route) -> None:
        if route.request.url.startswith((url.split("/book/")[0] + "/", "data:", "blob:")):
            route.continue_()
        else:
            troubles.append(f"a request to {route.request.url}")
            route.abort()

    page.route("**/*", only_here)
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(f"page error: {error}"))
    page.on("requestfailed", lambda request: troubles.append(f"failed: {request.url}") if failed(request) else None)
    page.on("response", lambda reply: troubles.append(f"{reply.status}: {reply.url}") if reply.status >= 400 else None)
    return troubles


def without_formulas(page: Page) -> None:
    """Keep a page from typesetting its formulas, which takes most of its time and which other tests look at."""
    page.route("**/mathjax/**", lambda route: route.fulfill(body="", content_type="text/javascript"))
