"""RunPod's management API and an endpoint's own requests, on loopback.

As REST v2 answers: a bearer key, problem details for errors, a closed schema, resources with ids.
What it is to do wrong is put into `faults`, one after the other. How RunPod wraps its lists is not
known for sure; here they are plain, and `wraps_lists` puts them into `data`.
"""

import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.test_deployment_files import problems_of

KEY = "rpa_thekeyoftheaccount"
OUTPUT = {"audio": {"duration_s": 2.5, "format": "mp3", "base64": ""}}


class RunPod:
    """An account; a context manager."""

    def __init__(self) -> None:
        self.resources: dict[str, list[dict[str, Any]]] = {"serverless": [], "network-volumes": []}
        self.requests: list[tuple[str, str, Any]] = []
        self.faults: deque[tuple[int, dict[str, str], bytes] | None] = deque()
        """What the next requests are answered with: status, headers, body; None: as it should."""
        self.wraps_lists = False
        self.workers: dict[str, int] = {"ready": 1}
        self.statuses = deque([{"status": "IN_QUEUE"}, {"status": "COMPLETED", "output": OUTPUT}])
        """Of the job, one after the other; the last one stays."""
        account = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def answer(self) -> None:
                size = int(self.headers.get("Content-Length", 0))
                body = json.loads(self.rfile.read(size)) if size else None
                account.requests.append((self.command, self.path, body))
                fault = account.faults.popleft() if account.faults else None
                if fault is not None:
                    status, headers, data = fault
                elif self.headers.get("Authorization") != f"Bearer {KEY}":
                    status, headers, data = problem(401, "Unauthorized")
                else:
                    status, headers, data = account.answer(self.command, self.path, body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = answer  # noqa: N815

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "RunPod":
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, body: Any) -> tuple[int, dict[str, str], bytes]:
        """Do what a request asks for."""
        kind, _, name = path.strip("/").partition("/")
        if kind in self.resources:
            return self._manage(method, kind, name, body)
        if name == "health":
            return reply({"jobs": {"inQueue": 1}, "workers": self.workers})
        if (method, name) == ("POST", "run"):
            return reply({"id": "job-1", "status": "IN_QUEUE"})
        if name == "status/job-1":
            first = len(self.statuses) > 1
            return reply(self.statuses.popleft() if first else self.statuses[0])
        return problem(404, "Not Found")

    def _manage(
        self, method: str, kind: str, name: str, body: Any
    ) -> tuple[int, dict[str, str], bytes]:
        there = self.resources[kind]
        if method == "GET":
            return reply({"data": there} if self.wraps_lists else there)
        if kind == "serverless" and (problems := problems_of(body) if method == "POST" else []):
            return problem(422, "Unprocessable", errors=problems)
        if method == "POST":
            made = {"id": f"{kind}-{len(there)}", "createdAt": "2026-01-01"} | body
            there.append(made)
            return reply(made, 201)
        for each in there:
            if each["id"] == name:
                each |= body
                return reply(each)
        return problem(404, "Not Found")


def reply(value: Any, status: int = 200) -> tuple[int, dict[str, str], bytes]:
    """Answer with JSON."""
    return status, {"Content-Type": "application/json"}, json.dumps(value).encode()


def problem(status: int, title: str, **more: Any) -> tuple[int, dict[str, str], bytes]:
    """Answer with an error, as RFC 9457 has it."""
    body = {"type": "about:blank", "title": title, "status": status} | more
    return status, {"Content-Type": "application/problem+json"}, json.dumps(body).encode()
