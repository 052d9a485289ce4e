"""What a page gives its user to keep."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


def downloaded(page: "Page", press: Callable[[], object]) -> tuple[str, bytes]:
    """Return the name and the bytes of a file that a page saves.

    Args:
        page: saves it.
        press: makes it do so.
    """
    with page.expect_download() as download:
        press()
    return download.value.suggested_filename, download.value.path().read_bytes()
