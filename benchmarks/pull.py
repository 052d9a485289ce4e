"""Measure how fast weights are pulled, against huggingface_hub's `snapshot_download`.

    python -m benchmarks.pull [--gigabytes 2] [--repeats 3] [--directory DIR]

A process of its own serves random bytes on loopback as the hub does: by a redirect to a store on
another host, which sends files without copying them. Each way pulls in a fresh process, in turn,
once as fast as it can and once where the store sends 30 MB/s on each connection. Ours verifies what
it pulled; `snapshot_download` does not, so it is also measured with a sha256 of its files behind
it. hf_xet, which fetches what the hub keeps in its newer store, has no server to measure it with;
it assembles the same bytes from a store on the local disk. Rates are of the fastest runs, and CPU
seconds are those of the puller. The last line is JSON.
"""

import argparse
import hashlib
import json
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

REPO, COMMIT = "org/weights", "c" * 40
LARGE = "model.safetensors"
SMALL = {"config.json": b"{}", "tokenizer.json": b"{ }"}
CAP_BYTES_PER_S = 30e6
CAP_PIECE_BYTES = 1 << 19  # sixty a second: as even as a network, and cheap


class HubServer:
    """The hub on one address of loopback, its store on another."""

    def __init__(self, large: Path, sha256: str) -> None:
        self._large, self._sha256 = large, sha256
        self._size = large.stat().st_size
        self._cap: float | None = None
        self._num_connections = 0
        self._hub = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._store = socket.create_server(("127.0.0.2", 0), backlog=128)
        self.endpoint = f"http://127.0.0.1:{self._hub.getsockname()[1]}"

    def run(self) -> None:
        """Serve until the process ends."""
        threading.Thread(target=self._accept, args=(self._store, self._send_large)).start()
        self._accept(self._hub, self._answer)

    def _accept(self, listener: socket.socket, answer: Any) -> None:
        while True:
            sock = listener.accept()[0]
            self._num_connections += listener is self._store
            threading.Thread(target=self._serve, args=(sock, answer), daemon=True).start()

    def _serve(self, sock: socket.socket, answer: Any) -> None:
        received = b""
        try:
            while True:
                while b"\r\n\r\n" not in received:
                    piece = sock.recv(65536)
                    if not piece:
                        return
                    received += piece
                head, _, received = received.partition(b"\r\n\r\n")
                answer(sock, head.decode("latin-1"))
        except OSError:
            pass
        finally:
            sock.close()

    def _answer(self, sock: socket.socket, head: str) -> None:
        method, target, _ = head.split(maxsplit=2)
        if target.startswith("/start"):  # of a run, with its cap
            self._cap, self._num_connections = float(target.partition("=")[2]) or None, 0
            _send(sock, 200, b"{}")
        elif target.startswith("/connections"):
            _send(sock, 200, json.dumps(self._num_connections).encode())
        elif "/revision/" in target or "/tree/" in target:
            body: Any = self._tree() if "/tree/" in target else self._listing()
            _send(sock, 200, json.dumps(body).encode())
        elif (name := target.rpartition("/")[2]) in SMALL:
            body = SMALL[name]
            _send(sock, 200, body, method, ETag=f'"{_git(body)}"', X_Repo_Commit=COMMIT)
        else:
            _send(
                sock,
                302,
                b"",
                Location=f"http://127.0.0.2:{self._store.getsockname()[1]}/{LARGE}",
                X_Linked_ETag=f'"{self._sha256}"',
                X_Linked_Size=str(self._size),
                X_Repo_Commit=COMMIT,
            )

    def _send_large(self, sock: socket.socket, head: str) -> None:
        wanted = re.search(r"(?i)range: bytes=(\d+)-(\d*)", head)
        start = int(wanted[1]) if wanted else 0
        end = int(wanted[2] or self._size - 1) + 1 if wanted else self._size
        status, content_range = 206 if wanted else 200, f"bytes {start}-{end - 1}/{self._size}"
        _send(sock, status, None, Content_Length=str(end - start), Content_Range=content_range)
        with self._large.open("rb") as file:
            began, sent = time.monotonic(), 0
            while start + sent < end:
                left = end - start - sent
                most = left if self._cap is None else min(left, CAP_PIECE_BYTES)
                sent += os.sendfile(sock.fileno(), file.fileno(), start + sent, most)
                if self._cap is not None:
                    time.sleep(max(began + sent / self._cap - time.monotonic(), 0))

    def _listing(self) -> dict[str, Any]:
        large = {"sha256": self._sha256, "size": self._size, "pointerSize": 134}
        siblings: list[dict[str, Any]] = [
            {"rfilename": name, "size": len(data), "blobId": _git(data)}
            for name, data in SMALL.items()
        ]
        siblings.append({"rfilename": LARGE, "size": self._size, "blobId": "d" * 40, "lfs": large})
        return {"id": REPO, "sha": COMMIT, "siblings": siblings}

    def _tree(self) -> list[dict[str, Any]]:
        large = {"oid": self._sha256, "size": self._size, "pointerSize": 134}
        files: list[dict[str, Any]] = [
            {"type": "file", "path": name, "size": len(data), "oid": _git(data)}
            for name, data in SMALL.items()
        ]
        files.append(
            {"type": "file", "path": LARGE, "size": self._size, "oid": "d" * 40, "lfs": large}
        )
        return files


def _git(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _send(
    sock: socket.socket, status: int, body: bytes | None, method: str = "GET", **headers: str
) -> None:
    if body is not None:
        headers["Content-Length"] = str(len(body))
    lines = [f"{key.replace('_', '-')}: {value}" for key, value in headers.items()]
    head = "\r\n".join([f"HTTP/1.1 {status} X", *lines, "", ""]).encode()
    sock.sendall(head + (body or b"" if method == "GET" else b""))


def pull_ours(endpoint: str, directory: Path) -> None:
    """Pull and verify, as a worker does."""
    from higgs_worker.weights.locate import CheckpointSource, locate_checkpoint

    source = CheckpointSource(volume=directory, endpoint=endpoint, caches=())
    locate_checkpoint(REPO, "model", source)


def snapshot(endpoint: str, directory: Path) -> Path:
    """Pull with huggingface_hub."""
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(REPO, endpoint=endpoint, cache_dir=directory))


def snapshot_verified(endpoint: str, directory: Path) -> None:
    """Pull with huggingface_hub, then compute the checksums that it leaves out."""
    for path in snapshot(endpoint, directory).iterdir():
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        assert path.name in SMALL or digest == path.resolve().name


def xet(stored: str, directory: Path) -> None:
    """Assemble the file from hf_xet's own store."""
    import hf_xet

    store, name, size = stored.split()
    with hf_xet.XetSession().new_file_download_group(endpoint=store) as group:
        group.start_download_file(hf_xet.XetFileInfo(name, int(size)), str(directory / LARGE))


def fill_xet_store(large: Path) -> str:
    """Put the file into hf_xet's own store, and return what `xet` needs to know."""
    import hf_xet

    store = f"local://{large.with_name('xet')}"
    with hf_xet.XetSession().new_upload_commit(endpoint=store) as commit:
        upload = commit.start_upload_file(str(large))
    stored = upload.result().xet_info
    return f"{store} {stored.hash} {stored.file_size}"


WAYS = {
    "ours": pull_ours,
    "snapshot": snapshot,
    "snapshot, verified": snapshot_verified,
    "hf_xet, from the disk": xet,
}


def pull_here(way: str, endpoint: str, directory: Path) -> None:
    """Pull in this process and print what it took."""
    began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    WAYS[way](endpoint, directory)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak
    memory_bytes = int(peak[1]) * 1024  # rusage would begin with the parent's
    print(json.dumps({"seconds": seconds, "cpu_s": cpu_s, "memory_bytes": memory_bytes}))


def measure(way: str, endpoint: str, stored: str, directory: Path, cap: float) -> dict[str, float]:
    """Pull in a fresh process."""
    urllib.request.urlopen(f"{endpoint}/start?cap={cap}").close()
    source = stored if WAYS[way] is xet else endpoint
    with tempfile.TemporaryDirectory(dir=directory) as target:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.pull", "--pull", way, source, target],
            env={**os.environ, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
            stdout=subprocess.PIPE,
            check=True,
        )
    with urllib.request.urlopen(f"{endpoint}/connections") as answer:
        return {**json.loads(done.stdout), "connections": json.load(answer)}


def write_random(path: Path, num_bytes: int) -> str:
    """Write a file and return its sha256."""
    sha256 = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(num_bytes >> 24):
            data = os.urandom(1 << 24)
            sha256.update(data)
            file.write(data)
    return sha256.hexdigest()


def compare(directory: Path, num_bytes: int, repeats: int) -> None:
    """Measure all ways in turn and print a table."""
    sha256 = write_random(directory / LARGE, num_bytes)
    size = (directory / LARGE).stat().st_size
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.pull", "--serve", str(directory / LARGE), sha256],
        stdout=subprocess.PIPE,
        text=True,
    )
    report: dict[str, Any] = {"benchmark": "pull", "num_bytes": size}
    try:
        assert server.stdout is not None
        endpoint = server.stdout.readline().strip()
        print("| a connection | way | MB/s | CPU s a GB | connections | memory MB |")
        print("| --- | --- | --: | --: | --: | --: |")
        stored = fill_xet_store(directory / LARGE)
        for cap in (0.0, CAP_BYTES_PER_S):
            runs: dict[str, list[dict[str, float]]] = {
                way: [] for way in WAYS if not (cap and WAYS[way] is xet)
            }
            for _ in range(repeats):
                for way, found in runs.items():
                    found.append(measure(way, endpoint, stored, directory, cap))
            for way, found in runs.items():
                best = min(found, key=lambda each: each["seconds"])
                print(
                    f"| {f'{cap / 1e6:.0f} MB/s' if cap else 'as fast as it can'} | {way} "
                    f"| {size / best['seconds'] / 1e6:.0f} | {best['cpu_s'] / size * 1e9:.2f} "
                    f"| {best['connections']} | {best['memory_bytes'] / 1e6:.0f} |",
                    flush=True,
                )
            report["capped" if cap else "uncapped"] = runs
    finally:
        server.kill()
        server.wait()
    print(json.dumps(report))


def main() -> None:
    """Measure, or be one of the processes that are measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--directory", type=Path, help="where to write; a temporary one if absent")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--pull", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        server = HubServer(Path(options.serve[0]), options.serve[1])
        print(server.endpoint, flush=True)
        server.run()
    elif options.pull:
        way, endpoint, directory = options.pull
        pull_here(way, endpoint, Path(directory))
    else:
        with tempfile.TemporaryDirectory(dir=options.directory) as directory:
            compare(Path(directory), int(options.gigabytes * 1e9), options.repeats)


if __name__ == "__main__":
    main()
