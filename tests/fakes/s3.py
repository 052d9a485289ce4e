"""A real S3 server on loopback, one for all processes of a test run.

The first process that needs it starts it, through a keeper: a small process that ends the server as
soon as no process holds the users' lock, however those ended. Each test uses its own prefix.
"""

import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from higgs_worker.errors import StorageFailed
from higgs_worker.storage.bucket import Bucket
from higgs_worker.storage.config import S3Config
from higgs_worker.storage.storage import Storage

BUCKET = "results"
OWNER, READER, WRITER = "owner-key", "reader-key", "writer-key"
SECRETS = {each: f"{each}s-secret-9f8e7d6c" for each in (OWNER, READER, WRITER)}
START_S = 60.0  # two seconds when nothing else runs

_NUM_PORTS = 5
_GRPC = 10_000  # the distance from each port to its gRPC port


@contextmanager
def server(temporary: pytest.TempPathFactory) -> Iterator[int]:
    """Yield the port of the test run's server."""
    shared = temporary.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # this one's own folder is inside that of the run
        shared = shared.parent
    shared /= "s3"
    shared.mkdir(exist_ok=True)
    with (shared / "users").open("a") as users, (shared / "starting").open("a") as starting:
        fcntl.flock(users, fcntl.LOCK_SH)
        address = shared / "port"
        fcntl.flock(starting, fcntl.LOCK_EX)
        if not address.exists():
            _start(shared)
        fcntl.flock(starting, fcntl.LOCK_UN)
        yield int(address.read_text())


def config(port: int, key: str = OWNER, **changes: Any) -> S3Config:
    """Return a configuration with one of the keys."""
    values: dict[str, Any] = {
        "bucket": BUCKET,
        "endpoint": f"http://127.0.0.1:{port}",
        "bucket_in_host": False,
        "access_key": key,
        "secret_key": SECRETS[key],
        "connect_timeout_s": 5.0,
        "read_timeout_s": 10.0,
        "attempts": 2,
    }
    return S3Config(**(values | changes))


def environment(port: int) -> dict[str, str]:
    """Return the environment of an endpoint with a bucket."""
    return {
        "HIGGS_S3_BUCKET": BUCKET,
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": OWNER,
        "AWS_SECRET_ACCESS_KEY": SECRETS[OWNER],
    }


@contextmanager
def library_files_read_once() -> Iterator[None]:
    """Let clients share what the library reads from its files; it takes half of connecting."""
    from botocore.loaders import JSONFileLoader

    loader = JSONFileLoader()
    load = cache(loader.load_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", lambda _, path: load(path))
        yield


@cache
def opened(config: S3Config) -> Storage:
    """Return a bucket, connected once per configuration: connecting is slower than most tests."""
    return Storage(config)


def objects(port: int, prefix: str) -> dict[str, int]:
    """Return the sizes of the objects under a prefix, by key."""
    found = opened(config(port))._bucket.call("list_objects_v2", Prefix=prefix)
    return {each["Key"]: each["Size"] for each in found.get("Contents", ())}


def get(url: str | None) -> tuple[bytes, str]:
    """Return the bytes at an address, and their type."""
    assert url is not None
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.read(), response.headers["Content-Type"]


def unfinished(port: int, prefix: str) -> list[str]:
    """Return the keys under a prefix whose uploads were neither completed nor aborted."""
    found = opened(config(port))._bucket.call("list_multipart_uploads")
    return [each["Key"] for each in found.get("Uploads", ()) if each["Key"].startswith(prefix)]


def _start(shared: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        port = _free_port()
        with (shared / "log").open("ab") as log:
            keeper = subprocess.Popen(
                [sys.executable, "-m", "tests.fakes.s3", str(shared), str(port)],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        bucket = Bucket(config(port, attempts=1))
        while keeper.poll() is None and time.monotonic() < deadline:
            with suppress(StorageFailed):  # the port opens before the bucket is there
                bucket.call("put_object", Key="ready", data=b"")
                (shared / "port").write_text(str(port))
                return
            time.sleep(0.05)
    raise RuntimeError(f"the S3 server did not start; see {shared / 'log'}")


def _free_port() -> int:
    while True:
        port = random.randrange(20_000, 30_000)
        with suppress(OSError):
            for each in _ports(port):
                socket.create_server(("127.0.0.1", each)).close()
            return port


def _ports(first: int) -> Iterator[int]:
    for each in range(first, first + _NUM_PORTS):
        yield from (each, each + _GRPC)


def _keep(shared: Path, port: int) -> None:
    """Run the server until no process uses it."""
    data = shared / "data"
    data.mkdir(exist_ok=True)
    identities = {
        OWNER: ["Admin", "Read", "List", "Write"],
        READER: ["Read", "List"],
        WRITER: ["Write"],
    }
    keys = [
        {
            "name": name,
            "credentials": [{"accessKey": name, "secretKey": SECRETS[name]}],
            "actions": actions,
        }
        for name, actions in identities.items()
    ]
    (shared / "keys.json").write_text(json.dumps({"identities": keys}))
    options = {
        "dir": data,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "bucket": BUCKET,
        "admin.port": port + 4,
        "admin.ui": "false",
        "filer.port": port + 3,
        "master.port": port + 1,
        "master.telemetry": "false",
        "s3.autoCreateBucket": "false",  # a wrong bucket would be made
        "s3.config": shared / "keys.json",
        "s3.iam": "false",
        "s3.port": port,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "volume.port": port + 2,
        "webdav": "false",
    }
    weed = Path(sys.executable).with_name("weed")
    server = subprocess.Popen(
        [
            str(weed),
            f"-logdir={shared}",
            "mini",
            *(f"-{name}={value}" for name, value in options.items()),
        ]
    )
    signal.signal(signal.SIGCHLD, lambda *_: os._exit(1))  # it could not start: another port may do
    with (shared / "users").open("a") as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        server.kill()
        server.wait()
        (shared / "port").unlink(missing_ok=True)
        for each in _ports(port):
            for left in Path("/tmp").glob(f"seaweedfs-*-{each}.sock"):
                left.unlink(missing_ok=True)
        shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    _keep(Path(sys.argv[1]), int(sys.argv[2]))
