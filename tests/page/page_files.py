"""A web server of the page's files alone: enough to try its modules, and there in no time."""

import mimetypes
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from higgs_worker.http.page_routes import HEADERS, PAGE

BLANK = b'<!doctype html><html lang="en"><title>Blank</title><body></body></html>'


class PageFiles:
    """Answers `/` with a blank page and `/page/NAME` with a file; a context manager."""

    def __init__(self, directory: Path = PAGE, document: bytes = BLANK) -> None:
        """
        Args:
            directory: of the files.
            document: HTML, in place of the blank page.
        """

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                file = directory / self.path.removeprefix("/page/").partition("?")[0]
                kind, body = mimetypes.guess_type(file.name)[0] or "text/html", document
                if self.path != "/":
                    body = file.read_bytes() if file.is_file() else b""
                # A browser asks for an icon where a page names none.
                self.send_response(200 if body or self.path == "/favicon.ico" else 404)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                for each in HEADERS.items():
                    self.send_header(*each)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "PageFiles":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
