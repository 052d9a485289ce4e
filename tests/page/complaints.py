"""What must not happen in a browser, whatever a test looks at."""

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, Request

_REPORT_VIOLATIONS = """
    document.addEventListener("securitypolicyviolation", (event) => {
        console.error(`against the policy: ${event.effectiveDirective} ${event.blockedURI}`);
    });
"""
_WORSE_THAN_INFO = ("error", "warning", "assert")


class Complaints:
    """Collects errors, warnings, breaches of the policy, and requests that fail or go elsewhere."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._expected: list[str] = []

    def listen_to(self, context: "BrowserContext", address: str) -> None:
        """Collect what a context complains of.

        Args:
            context: before its first page.
            address: of the server; requests to any other are complaints.
        """
        context.add_init_script(_REPORT_VIOLATIONS)
        context.on("console", self._on_console)
        context.on("weberror", lambda each: self.found.append(f"uncaught: {each.error}"))
        context.on("requestfailed", self._on_failure)
        origin = _origin(address)
        context.on("request", lambda request: self._on_request(request, origin))

    def expect(self, pattern: str) -> None:
        """Take complaints as what the test is about; one at least must match.

        Args:
            pattern: a regular expression that is searched for in them.
        """
        self._expected.append(pattern)

    def check(self) -> None:
        """Fail if there is a complaint that no test expects, or one too few."""
        unexpected = [
            each for each in self.found if not any(re.search(it, each) for it in self._expected)
        ]
        assert not unexpected, "\n".join(["the browser complains:", *unexpected])
        for pattern in self._expected:
            assert any(re.search(pattern, each) for each in self.found), f"no complaint: {pattern}"

    def _on_console(self, message: "ConsoleMessage") -> None:
        if message.type in _WORSE_THAN_INFO:
            self.found.append(f"{message.type}: {message.text} ({message.location['url']})")

    def _on_failure(self, request: "Request") -> None:
        # A page that stops a request, or leaves, means to.
        if request.failure != "net::ERR_ABORTED":
            self.found.append(f"failed: {request.method} {request.url}: {request.failure}")

    def _on_request(self, request: "Request", origin: str) -> None:
        if _origin(request.url) != origin:
            self.found.append(f"foreign: {request.method} {request.url}")


def _origin(address: str) -> str:
    """Return scheme, host and port; a blob's are those of the page that made it."""
    parts = urlsplit(address.removeprefix("blob:"))
    return f"{parts.scheme}://{parts.netloc}"
