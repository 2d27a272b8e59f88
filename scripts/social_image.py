"""Draw the picture that a link to the book shows where it is posted: ``book/_static/social.png``.

    python scripts/social_image.py

It shows the cover (book/_ext/cover_drawing.py): draw it anew when that changes. It needs Chromium, as the browser
tests do.
"""

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from bncourse import doctor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

from cover_drawing import cover  # noqa: E402
from social_preview import IMAGE, IMAGE_SIZE  # noqa: E402

PAGE = """\
<!doctype html><html data-theme="light"><style>%s
html { --pst-color-background: #fff; }
body { background: #fff; color: #1f252d; font-family: "DejaVu Sans", sans-serif; margin: 0; padding: 56px 72px; }
h1 { font-size: 64px; letter-spacing: -0.015em; margin: 0 0 6px; }
h1 + p { color: #4d5866; font-size: 30px; margin: 0 0 44px; }
.cover-panels { gap: 48px; }
.cover-panels p { font-size: 20px; margin-top: 18px; }
</style><h1>Batch Normalization</h1><p>A course that can be run.</p>%s
"""


def main() -> None:
    """Draw the page as it stands in the book's own colours and keep the picture."""
    program = doctor.browser()
    if program is None:
        sys.exit(f"no Chromium found; install it with: {doctor.INSTALL_BROWSER}")
    width, height = IMAGE_SIZE
    styles = (ROOT / "book" / "_static" / "custom.css").read_text(encoding="utf-8")
    target = ROOT / "book" / IMAGE
    with sync_playwright() as playwright:
        # A container's root may not use Chromium's sandbox. What it opens is this page alone.
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": width, "height": height})
        page.set_content(PAGE % (styles, cover()))
        written = target.with_suffix(".new.png")
        page.screenshot(path=written)
        chromium.close()
    written.replace(target)


if __name__ == "__main__":
    main()
