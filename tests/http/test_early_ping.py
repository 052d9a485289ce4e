"""The health port before the server: over real sockets, what it says, and how it is handed over."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from higgs_worker.errors import InvalidSettings
from higgs_worker.http.early_ping import MAX_CONNECTIONS, MAX_S
from higgs_worker.http.listening import listen
from tests.fakes.bare_machine import processes_in

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "higgs_worker" / "http" / "early_ping.py"
PROGRAM = ROOT / "tests" / "fakes" / "early_worker.py"
PATIENCE_S = 10.0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the worker runs on Linux")


class Early:
    """A worker that has begun, and the port that answers for it."""

    def __init__(self, action: str, **variables: str) -> None:
        self.port = free_port()
        words = [sys.executable, "-I", SCRIPT, "127.0.0.1", str(self.port)]
        self.process = subprocess.Popen(
            [*words, sys.executable, PROGRAM, action],
            env=os.environ | {"PYTHONPATH": str(ROOT), "PORT_HEALTH": str(self.port)} | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,
        )
        assert self.line() == f"begun {self.process.pid}"

    def line(self) -> str:
        """Return the next line that the worker prints."""
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def go(self) -> None:
        """Let the worker go on."""
        assert self.process.stdin
        self.process.stdin.write("go\n")

    def ask(
        self, method: str = "GET", path: str = "/ping", body: bytes | None = None
    ) -> http.client.HTTPResponse:
        """Send a request, and return the reply, read to its end."""
        return ask(self.port, method, path, body)

    def others(self) -> list[int]:
        """Return the processes that it has left behind."""
        return [pid for pid in processes_in(self.process.pid) if pid != self.process.pid]

    def close(self) -> None:
        """End the worker, and see that nothing is left of it."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            pipe.close()
        wait_until(lambda: not self.others())


def ask(
    port: int, method: str = "GET", path: str = "/ping", body: bytes | None = None
) -> http.client.HTTPResponse:
    """Send a request to a port, and return the reply, read to its end."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.request(method, path, body)
    reply = connection.getresponse()
    reply.read_all = reply.read()  # type: ignore[attr-defined]
    connection.close()
    return reply


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def is_listening(port: int) -> bool:
    """Tell whether somebody listens on a port."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: object) -> None:
    """Wait until a condition holds."""
    assert callable(condition)
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture(scope="module")
def early() -> Iterator[Early]:
    """A worker that has not taken over yet."""
    early = Early("wait")
    yield early
    early.close()


@pytest.mark.parametrize("path", ["/ping", "/health/live", "/ping?x=1"])
def test_health_checks_are_told_that_it_starts(early: Early, path: str) -> None:
    """204 without a body, to GET and HEAD."""
    for method in ("GET", "HEAD"):
        reply = early.ask(method, path)
        assert (reply.status, reply.read_all) == (204, b"")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/", None),
        ("GET", "/health/ready", None),
        ("POST", "/ping", None),
        ("POST", "/v1/audio/speech", b"x" * 3_000_000),
        ("GET", f"/{'x' * 20_000}", None),
    ],
)
def test_all_else_is_told_to_come_again(
    early: Early, method: str, path: str, body: bytes | None
) -> None:
    """503 with Retry-After and OpenAI's envelope, also to who sends more than anybody reads."""
    if len(path) > 8192:
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            early.ask(method, path, body)
        return
    reply = early.ask(method, path, body)
    assert (reply.status, reply.getheader("Retry-After")) == (503, "5")
    error = json.loads(reply.read_all)["error"]  # type: ignore[attr-defined]
    assert error["code"] == "worker_starting"
    assert error.keys() == {"message", "type", "param", "code"}


def test_who_only_waits_keeps_nobody_out(early: Early) -> None:
    """Of too many connections the oldest are cut."""
    num_cut = 20
    address = ("127.0.0.1", early.port)
    idle = [socket.create_connection(address, PATIENCE_S) for _ in range(MAX_CONNECTIONS + num_cut)]
    began = time.monotonic()
    assert early.ask().status == 204
    for each in idle[:num_cut]:
        assert each.recv(1) == b""
    assert time.monotonic() - began < MAX_S  # before any of them has had its time
    for each in idle:
        each.close()


@pytest.mark.slow
def test_nobody_waits_for_long(early: Early) -> None:
    """A connection ends after its time, though a byte comes now and then."""
    with socket.create_connection(("127.0.0.1", early.port), MAX_S / 4) as client:
        began = time.monotonic()
        with suppress(ConnectionError):
            while time.monotonic() - began < PATIENCE_S:
                client.sendall(b"x")
                with suppress(TimeoutError):
                    if client.recv(1) == b"":
                        break
    assert MAX_S - 0.1 < time.monotonic() - began < 2 * MAX_S


def test_what_is_no_http_does_no_harm(early: Early) -> None:
    """Noise, half a line, a client that is gone at once: the next check is answered."""
    for sent in (b"\x00\xff" * 50_000, b"GET /pi", b"\n", b"GET\r\n\r\n", b""):
        with socket.create_connection(("127.0.0.1", early.port), PATIENCE_S) as client:
            client.sendall(sent)
        assert early.ask().status == 204


def test_the_server_takes_over_and_nobody_notices() -> None:
    """Under load no connection is refused, reset or left without a reply while it changes hands."""
    early = Early("take over")
    statuses: list[int] = []
    failures: list[Exception] = []
    is_over = threading.Event()

    def ask_all_the_time() -> None:
        while not is_over.is_set() and not failures:
            try:
                statuses.append(early.ask().status)
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=ask_all_the_time) for _ in range(4)]
    for each in threads:
        each.start()
    try:
        wait_until(lambda: len(statuses) > 20)
        early.go()
        assert early.line() == "no children"
        wait_until(lambda: not early.others())
        num_before = len(statuses)
        wait_until(lambda: failures or len(statuses) > num_before + 20)
    finally:
        is_over.set()
        for each in threads:
            each.join()
    assert failures == []
    assert set(statuses) == {204, 200}
    assert set(statuses[num_before + len(threads) :]) == {200}
    early.close()


@pytest.mark.slow
def test_the_worker_s_own_server_takes_over(tmp_path: Path) -> None:
    """From the first second to the end each check is answered; the routes come with the server."""
    port = free_port()
    words = [sys.executable, "-I", SCRIPT, "127.0.0.1", str(port)]
    own = {"HIGGS_MODEL": "demo", "HIGGS_VOLUME": str(tmp_path), "PORT": str(port)}
    process = subprocess.Popen(
        [*words, sys.executable, "-m", "higgs_worker", "serve"],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | own,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    statuses = []
    try:
        while not statuses or statuses[-1] != 200:
            if statuses or is_listening(port):
                assert ask(port).status == 204
                statuses.append(ask(port, path="/v1/models").status)
            assert process.poll() is None
            time.sleep(0.01)
        assert set(statuses) == {503, 200}
        wait_until(lambda: processes_in(process.pid) == [process.pid])
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()


def test_a_connection_that_waits_is_the_server_s() -> None:
    """Also when the process that answered is dead: the port is the worker's own."""
    early = Early("take over")
    for pid in early.others():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not early.others())
    with socket.create_connection(("127.0.0.1", early.port), PATIENCE_S) as client:
        client.sendall(b"GET /ping HTTP/1.1\r\n\r\n")
        early.go()
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    early.close()


def test_a_dead_worker_does_not_look_alive() -> None:
    """Killed without a word, it is silent at once, and no process is left of it."""
    early = Early("wait")
    os.kill(early.process.pid, signal.SIGKILL)
    early.process.wait()
    wait_until(lambda: not early.others())
    with pytest.raises(ConnectionRefusedError):
        early.ask()
    early.close()


def test_another_port_is_another_socket() -> None:
    """A server on another port binds that, and the early one is closed."""
    other = free_port()
    early = Early("take over", PORT_HEALTH=str(other))
    early.go()
    assert early.line() == "no children"
    wait_until(lambda: not early.others())
    with pytest.raises(ConnectionRefusedError):
        early.ask()
    early.port = other
    assert early.ask().status == 200
    early.close()


WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-all")


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("127.0.0.1", "1", "PORT and PORT_HEALTH to a port above 1023, such as 8000"),
        ("127.0.0.1", "taken", "Address already in use"),
        ("192.0.2.1", "8000", "HIGGS_HOST to an address of this machine"),
        ("127.0.0.1", "http", "numbers up to 65535, not 'http'"),
        ("127.0.0.1", "70000", "numbers up to 65535, not '70000'"),
    ],
)
def test_a_port_that_cannot_be_had_ends_the_start(host: str, port: str, words: str) -> None:
    """One sentence says what to set, and nothing is started."""
    if port == "1" and int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) < 2:
        pytest.skip("every user may listen on port 1 here")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1]) if port == "taken" else port
        command = [sys.executable, "-I", SCRIPT, host, port, "/bin/echo", "started"]
        done = subprocess.run(
            [*(WITHOUT_RIGHTS if os.getuid() == 0 else ()), *command],
            capture_output=True,
            text=True,
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("bootstrap: error: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_an_early_port_the_server_binds() -> None:
    """Every port gets a socket; what cannot be had is named with what to set."""
    first, second = free_port(), free_port()
    sockets = listen("127.0.0.1", [first, second], None)
    assert [each.getsockname()[1] for each in sockets] == [first, second]
    with pytest.raises(InvalidSettings, match=f"listen on port {first} of"):
        listen("127.0.0.1", [first], None)
    for each in sockets:
        each.close()


def test_a_descriptor_that_is_none_is_refused() -> None:
    """One that is closed, or a file's, is told from what bootstrap.sh hands over."""
    with pytest.raises(InvalidSettings, match="HIGGS_EARLY_PING is for bootstrap"):
        listen("127.0.0.1", [], 1_000_000)
    read, write = os.pipe()
    with pytest.raises(InvalidSettings, match="HIGGS_EARLY_PING is for bootstrap"):
        listen("127.0.0.1", [], read)
    os.close(read)
    os.close(write)
