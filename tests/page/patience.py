"""How long a test waits for a page."""

from typing import TYPE_CHECKING, Any

PATIENCE_MS = 20_000
"""A sentence takes a second; the rest is for machines that do something else as well."""

if TYPE_CHECKING:
    from playwright.sync_api import expect as expect
else:

    def expect(*given: Any, **how: Any) -> Any:
        """Return Playwright's expectation; it is imported where a browser is used."""
        from playwright.sync_api import expect

        return expect(*given, **how)
