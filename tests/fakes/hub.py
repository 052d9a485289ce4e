"""A stand-in for the hub over HTTP on loopback, with a store of large files on another host.

As at the real hub, small files come from the hub itself, large ones by a redirect to the store. A
fault can replace any answer: it gets the answer that would be sent and yields the bytes to send.
"""

import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from higgs_worker.weights.retry import Limits

REPO = "bosonai/toy"
TOKEN = "hf_only_for_the_hub"
BLOCK = 64 << 10
LARGE = 32 << 10
"""Files of this size and more are in the store, in bytes."""

QUICK = Limits(
    deadline_s=120,
    stall_s=60,
    min_progress_bytes=BLOCK,
    answer_s=0.5,
    silence_s=0.4,
    slow_s=0.3,
    min_bytes_per_s=8 << 10,
    retry_s=0.01,
    block_bytes=BLOCK,
    request_blocks=4,
    num_connections=4,
    beat_s=0.1,
    stale_s=1.0,
)
"""Waits under a second where production waits minutes; tests of stalls shorten `stall_s` too."""

CALM = replace(QUICK, answer_s=20, silence_s=20, slow_s=20, stale_s=30)
"""The same for tests that count bytes: a busy machine must not look like a fault."""


def noise(num_bytes: int, seed: int = 0) -> bytes:
    """Return bytes that repeat nowhere."""
    pieces = (
        hashlib.sha512(b"%d %d" % (seed, index)).digest() for index in range(num_bytes // 64 + 1)
    )
    return b"".join(pieces)[:num_bytes]


@dataclass(frozen=True)
class Request:
    """A request that the stand-in received."""

    kind: str
    """`api`, `resolve` (an address of the hub) or `store`."""
    name: str
    path: str
    query: str
    span: tuple[int, int] | None
    headers: Mapping[str, str]


@dataclass
class Answer:
    """An answer without faults."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    def head(self) -> bytes:
        """Return the answer without its body."""
        headers = {"Content-Length": str(len(self.body)), "Connection": "close", **self.headers}
        lines = [f"HTTP/1.1 {self.status} X", *(f"{key}: {headers[key]}" for key in headers)]
        return "\r\n".join([*lines, "", ""]).encode()

    def pieces(self) -> Iterator[bytes]:
        """Yield the answer unchanged."""
        yield self.head()
        for start in range(0, len(self.body), 16384):
            yield self.body[start : start + 16384]


Fault = Callable[[Request, Answer], Iterator[bytes]]


def status(code: int, **headers: str) -> Fault:
    """Answer with an error."""

    def fault(_: Request, __: Answer) -> Iterator[bytes]:
        names = {key.replace("_", "-"): value for key, value in headers.items()}
        return Answer(b"{}", code, names).pieces()

    return fault


def cut(after: int) -> Fault:
    """End the connection in the middle of the body."""

    def fault(_: Request, answer: Answer) -> Iterator[bytes]:
        yield answer.head()
        yield answer.body[:after]

    return fault


def reset(_: Request, __: Answer) -> Iterator[bytes]:
    """Reset the connection before the head."""
    raise ConnectionRefusedError
    yield b""


def hang(_: Request, __: Answer) -> Iterator[bytes]:
    """Send nothing for 3 s."""
    time.sleep(3)
    yield b""


def hang_inside(_: Request, answer: Answer) -> Iterator[bytes]:
    """Stop for 3 s in the middle of the body."""
    yield answer.head()
    yield answer.body[:20_000]
    time.sleep(3)


def trickle(_: Request, answer: Answer) -> Iterator[bytes]:
    """Send a byte every 50 ms."""
    yield answer.head()
    for index in range(300):
        time.sleep(0.05)
        yield answer.body[index : index + 1]


def trickling_head(_: Request, answer: Answer) -> Iterator[bytes]:
    """Send the head a byte at a time."""
    for each in answer.head():
        time.sleep(0.05)
        yield bytes([each])


def wrong_bytes(_: Request, answer: Answer) -> Iterator[bytes]:
    """Change one bit in the middle, and nothing else."""
    assert answer.body, "there is nothing to change in a redirect"
    middle = len(answer.body) // 2
    flipped = bytes([answer.body[middle] ^ 4])
    answer.body = answer.body[:middle] + flipped + answer.body[middle + 1 :]
    yield from answer.pieces()


def other_part(_: Request, answer: Answer) -> Iterator[bytes]:
    """Send another part of the file, with its true range."""
    answer.headers["Content-Range"] = "bytes 1-9/10"
    answer.body = answer.body[::-1]
    yield from answer.pieces()


class StandIn:
    """The hub with one repository, and its store."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        """Serve files as the branch `main`."""
        self.files = dict(files)
        self.requests: list[Request] = []
        self.num_body_bytes: Counter[str] = Counter()
        self.honours_ranges = True
        self.needs_token = False
        self.old_name = ""
        self._faults: list[tuple[str, str, Fault, list[None]]] = []
        self._hub = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._store = socket.create_server(("127.0.0.2", 0), backlog=128)
        self.endpoint = f"http://127.0.0.1:{self._hub.getsockname()[1]}"
        self.store = f"http://127.0.0.2:{self._store.getsockname()[1]}"
        self._lock = threading.Lock()
        self._commits: dict[str, dict[str, bytes]] = {}
        for listener in (self._hub, self._store):
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def __enter__(self) -> "StandIn":
        return self

    def __exit__(self, *_: object) -> None:
        for listener in (self._hub, self._store):
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    @property
    def commit(self) -> str:
        """Return what `main` is now."""
        text = repr(
            sorted((name, hashlib.sha1(data).hexdigest()) for name, data in self.files.items())
        )
        commit = hashlib.sha1(text.encode()).hexdigest()
        self._commits[commit] = dict(self.files)
        return commit

    def spoil(self, kind: str, fault: Fault, *, times: int = 1, name: str = "") -> None:
        """Spoil the next answers of a kind, to requests for one file if it is named."""
        self._faults.append((kind, name, fault, [None] * times))

    def asked(self, kind: str) -> list[Request]:
        """Return the requests of a kind."""
        return [each for each in self.requests if each.kind == kind]

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock = listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock, listener), daemon=True).start()

    def _serve(self, sock: socket.socket, listener: socket.socket) -> None:
        try:
            raw = b""
            while not raw.endswith(b"\r\n\r\n"):
                piece = sock.recv(65536)
                if not piece:
                    return
                raw += piece
            request = _parse(raw.decode("latin-1"), listener is self._store)
            with self._lock:
                self.requests.append(request)
                fault = self._next_fault(request)
            answer = self._answer(request)
            before_body = len(answer.head())
            for piece in fault(request, answer) if fault else answer.pieces():
                # Counted before it is sent: a receiver always finds it counted.
                with self._lock:
                    self.num_body_bytes[request.name] += max(len(piece) - before_body, 0)
                before_body = max(before_body - len(piece), 0)
                sock.sendall(piece)
        except ConnectionRefusedError:  # the fault asks for a reset
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
        finally:
            sock.close()

    def _next_fault(self, request: Request) -> Fault | None:
        for kind, name, fault, left in self._faults:
            if left and kind == request.kind and request.name.endswith(name):
                left.pop()
                return fault
        return None

    def _answer(self, request: Request) -> Answer:
        token = request.headers.get("authorization")
        if request.kind != "store" and token not in (None, f"Bearer {TOKEN}"):
            message = {"X-Error-Message": "Invalid credentials in Authorization header"}
            return Answer(status=401, headers=message)
        if request.kind == "store" and token is not None:
            return Answer(b"the token came along", 400)
        if request.kind != "store" and self.needs_token and token is None:
            return Answer(status=401, headers={"X-Error-Code": "GatedRepo"})
        main = self.commit
        if self.old_name and self.old_name in request.path:
            new = request.path.replace(self.old_name, REPO)  # without the query
            return Answer(status=307, headers={"Location": new})
        if request.kind == "api":
            repo, revision = request.name.split("/revision/")
            if repo != REPO:
                return Answer(status=404, headers={"X-Error-Code": "RepoNotFound"})
            commit = main if revision == "main" else revision
            if commit not in self._commits:
                return Answer(status=404, headers={"X-Error-Code": "RevisionNotFound"})
            return Answer(_listing(commit, self._commits[commit], request.query == "blobs=true"))
        commit, name = request.name.split("/")
        data = self._commits[commit][name]
        if request.kind == "resolve" and len(data) >= LARGE:
            return Answer(
                status=302, headers={"Location": f"{self.store}/{commit}/{name}?signature=secret"}
            )
        if request.span is None or not self.honours_ranges:
            return Answer(data)
        start, end = request.span[0], min(request.span[1], len(data))
        content_range = {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"}
        return Answer(data[start:end], 206, content_range)


def _parse(raw: str, is_store: bool) -> Request:
    target, *lines = raw.split("\r\n")
    path, _, query = target.split()[1].partition("?")
    headers = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in lines}
    wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("range", ""))
    span = (int(wanted[1]), int(wanted[2]) + 1) if wanted else None
    if is_store:
        return Request("store", path.removeprefix("/"), path, query, span, headers)
    if path.startswith("/api/models/"):
        return Request("api", path.removeprefix("/api/models/"), path, query, span, headers)
    return Request("resolve", path.partition("/resolve/")[2], path, query, span, headers)


def _listing(commit: str, files: Mapping[str, bytes], has_blobs: bool) -> bytes:
    siblings: list[dict[str, Any]] = []
    for name, data in files.items():
        git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        each: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": git}
        if len(data) >= LARGE:
            sha256 = hashlib.sha256(data).hexdigest()
            each["lfs"] = {"sha256": sha256, "size": len(data), "pointerSize": 134}
        siblings.append(each if has_blobs else {"rfilename": name})
    return json.dumps({"id": REPO, "sha": commit, "siblings": siblings}).encode()
