"""The page at `/`, to speak and to manage voices in a browser. Its files lie in `page/`."""

import os
from pathlib import Path

from fastapi import FastAPI, Request
from starlette.responses import Response
from starlette.staticfiles import PathLike, StaticFiles

from higgs_worker.http.gate import Scope

PAGE = Path(__file__).parent / "page"
PREFIX = "/page"
"""Of the addresses of its files. The page itself is at `/`."""
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Nothing of another host and nothing inline: no text of a caller can become a script."""
HEADERS = {
    # Small files, asked about again each time: a new version of the worker has a new page at once.
    "cache-control": "no-cache",
    "content-security-policy": POLICY,
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class PageFiles(StaticFiles):
    """Serves the files of the page, with its headers."""

    def file_response(
        self,
        full_path: PathLike,
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """Return a file, or 304 to who has it already."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(HEADERS)
        return response


def add_page(app: FastAPI) -> None:
    """Add the page to an application."""
    files = PageFiles(directory=PAGE)

    @app.head("/", include_in_schema=False)
    @app.get("/", include_in_schema=False)
    async def show(request: Request) -> Response:
        """Show the page."""
        return await files.get_response("index.html", request.scope)

    app.mount(PREFIX, files)
