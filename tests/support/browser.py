"""What a user does on the studio's page: playwright's page, in words of the page."""

import base64
import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

DONE = 60_000
"""Milliseconds after which a page that shows nothing new is broken."""


def shot(page, name: str) -> None:
    folder = os.environ.get("PATCH_FORCING_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def fill(page, name: str, value: object) -> None:
    """A text, or the number beside a slider."""
    field = page.locator(f"#{name}").locator("textarea, input[type=number], input[type=text]").first
    field.fill(str(value))
    field.press("Tab")


def choose(page, name: str, option: str) -> None:
    field = page.locator(f"#{name} input").first
    field.click()
    field.fill(option)
    page.get_by_role("option", name=option, exact=True).first.wait_for()
    field.press("Enter")
    field.press("Escape")


def finished(page, place: str = "sample") -> None:
    page.wait_for_function(
        f"document.querySelector('#{place}-pictures .pf-done') !== null",
        timeout=DONE,
    )


def pixels(page, place: str, alt: str) -> list[np.ndarray]:
    urls = page.locator(f'#{place}-pictures img[alt^="{alt}"]').evaluate_all(
        "images => images.map((image) => image.src)"
    )
    result = [base64.b64decode(url.partition("base64,")[2]) for url in urls]
    return [np.array(Image.open(io.BytesIO(content))) for content in result]
