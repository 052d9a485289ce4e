"""A stand-in for the hub in a process of its own, which sends files as fast as the kernel can.

As at the real hub, a large file comes from a store on another host, at a signed address. The fakes
of the tests keep their files in memory and have faults; this one has neither.

    python -m benchmarks.real_size.hub FOLDER

prints its address and serves until its input ends. FOLDER holds a folder for each repository.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LISTING = "listing.json"
COMMIT = hashlib.sha1(b"random weights").hexdigest()
SIGNATURE = "X-Amz-Signature=5160fd7b3aa2b8d1"
"""In every address of the store: who has it can read the file."""
_PIECE_BYTES = 16 << 20


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, folder: Path, store: str = "") -> None:
        super().__init__((host, 0), _Handler)
        self.folder, self.store = folder, store

    @property
    def address(self) -> str:
        return "http://{}:{}".format(*self.server_address[:2])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].strip("/")
        if repo := re.fullmatch(r"api/models/(.+)/revision/[^/]+", path):
            return self._send(_listing(self.server.folder, repo[1]))
        if file := re.fullmatch(r"([^/]+/[^/]+)/resolve/[^/]+/([^/]+)", path):
            place = self.server.folder / file[1] / file[2]
            if place.name in _sha256(place.parent):
                address = f"{self.server.store}/{file[1]}/{file[2]}?{SIGNATURE}"
                return self._send(b"", 302, Location=address)
            return self._send(place.read_bytes())
        self._send_part(self.server.folder / path)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def _send(self, body: bytes, status: int = 200, **headers: str) -> None:
        self._begin(status, len(body), headers)
        self.wfile.write(body)

    def _begin(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(length)}).items():
            self.send_header(name, value)
        self.end_headers()

    def _send_part(self, path: Path) -> None:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "bytes=0-"))
            assert part, "no other ranges are asked for"
            start, end = int(part[1]), min(int(part[2] or size) + 1, size)
            self._begin(206, end - start, {"Content-Range": f"bytes {start}-{end - 1}/{size}"})
            while start < end:
                count = min(end - start, _PIECE_BYTES)
                start += os.sendfile(self.connection.fileno(), file.fileno(), start, count)


@cache
def _sha256(directory: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((directory / LISTING).read_text())["sha256"]
    return found


@cache
def _listing(folder: Path, repo: str) -> bytes:
    directory = folder / repo
    siblings: list[dict[str, Any]] = []
    for path in sorted(directory.iterdir()):
        size = path.stat().st_size
        each: dict[str, Any] = {"rfilename": path.name, "size": size}
        if sha256 := _sha256(directory).get(path.name):
            each |= {"blobId": sha256[:40], "lfs": {"sha256": sha256, "size": size}}
        else:
            each["blobId"] = hashlib.sha1(b"blob %d\0" % size + path.read_bytes()).hexdigest()
        if path.name != LISTING:
            siblings.append(each)
    return json.dumps({"id": repo, "sha": COMMIT, "siblings": siblings}).encode()


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder from another process while the body runs; yields the hub's address."""
    command = [sys.executable, "-m", __name__, str(folder)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


def main() -> None:
    """Serve the folder that the command line names."""
    folder = Path(sys.argv[1])
    store = _Server("127.0.0.2", folder)
    hub = _Server("127.0.0.1", folder, store.address)
    for server in (store, hub):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(hub.address, flush=True)
    sys.stdin.read()  # it ends with the process that has started this one


if __name__ == "__main__":
    main()
