"""RunPod's management API and an endpoint's own requests, on loopback.

As REST v2 answers: a bearer key, problem details for errors, a closed schema, resources with ids,
lists under their names. An endpoint with a queue takes jobs; one behind a load balancer has workers
that speak HTTP, and the balancer's own replies while there is none. What it is to do wrong is put
into `faults`, one after the other.
"""

import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from higgs_worker.api.openai import parse_speech
from tests.test_deployment_files import problems_of, problems_of_change

KEY = "rpa_thekeyoftheaccount"
LISTED_AS = {"serverless": "endpoints", "network-volumes": "networkVolumes"}
OUTPUT = {"audio": {"duration_s": 2.5, "format": "mp3", "base64": ""}}
NO_WORKER = 400, {"Content-Type": "application/json"}, b'{"error":"no workers available"}'
"""What the load balancer says after two minutes."""


class RunPod:
    """An account; a context manager."""

    def __init__(self) -> None:
        self.resources: dict[str, list[dict[str, Any]]] = {"serverless": [], "network-volumes": []}
        self.requests: list[tuple[str, str, Any]] = []
        self.faults: deque[tuple[int, dict[str, str], bytes] | None] = deque()
        """What the next requests are answered with: status, headers, body; None: as it should."""
        self.workers: dict[str, int] = {"ready": 1}
        self.statuses = deque([{"status": "IN_QUEUE"}, {"status": "COMPLETED", "output": OUTPUT}])
        """Of the job, one after the other; the last one stays."""
        self.pings = deque([NO_WORKER, (204, {}, b""), (200, {}, b"")])
        """Replies to health checks, one after the other; the last one stays."""
        self.speech = 200, {"Content-Type": "audio/pcm"}, bytes(48_000 * 3 // 2)
        """What a worker replies to a request to speak."""
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
        self.workers_url = f"{self.url}/{{}}"

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
        endpoint = next((each for each in self.resources["serverless"] if each["id"] == kind), None)
        if endpoint is None:
            return problem(404, "Not Found")
        if endpoint["type"] == "QUEUE":
            return self._run_jobs(method, name)
        return self._pass_on(method, name, body)

    def _run_jobs(self, method: str, name: str) -> tuple[int, dict[str, str], bytes]:
        if name == "health":
            return reply({"jobs": {"inQueue": 1}, "workers": self.workers})
        if (method, name) == ("POST", "run"):
            return reply({"id": "job-1", "status": "IN_QUEUE"})
        if name == "status/job-1" or (method, name) == ("POST", "runsync"):
            return reply(next_of(self.statuses))
        return problem(404, "Not Found")

    def _pass_on(self, method: str, name: str, body: Any) -> tuple[int, dict[str, str], bytes]:
        if (method, name) == ("GET", "ping"):
            return next_of(self.pings)
        if (method, name) == ("POST", "v1/audio/speech"):
            request = parse_speech(body, max_text_chars=1000).request
            assert request.format == "pcm"
            return self.speech
        return 404, {"Content-Type": "application/json"}, b'{"error": {"message": "no such route"}}'

    def _manage(
        self, method: str, kind: str, name: str, body: Any
    ) -> tuple[int, dict[str, str], bytes]:
        there = self.resources[kind]
        if name.endswith("/workers"):
            total = sum(self.workers.values())
            return reply({"workers": [], "summary": self.workers | {"total": total}})
        if method == "GET":
            return reply({LISTED_AS[kind]: there})
        check = problems_of if method == "POST" else problems_of_change
        if kind == "serverless" and (problems := check(body)):
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


def next_of(values: deque[Any]) -> Any:
    """Return the next one; the last one stays."""
    return values.popleft() if len(values) > 1 else values[0]


def reply(value: Any, status: int = 200) -> tuple[int, dict[str, str], bytes]:
    """Answer with JSON."""
    return status, {"Content-Type": "application/json"}, json.dumps(value).encode()


def problem(status: int, title: str, **more: Any) -> tuple[int, dict[str, str], bytes]:
    """Answer with an error, as RFC 9457 has it."""
    body = {"type": "about:blank", "title": title, "status": status} | more
    return status, {"Content-Type": "application/problem+json"}, json.dumps(body).encode()
