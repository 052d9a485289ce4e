"""Requests to the hub: what the environment says of them, and that every wait ends."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from higgs_worker.weights.transport import UrllibTransport
from tests.fakes.hub import CALM, QUICK
from tests.fakes.web import Server, ok, redirect, write_certificate

TOKEN = {"Authorization": "Bearer hf_x"}


def client_on(transport: UrllibTransport) -> httpx2.Client:
    """Return a client that follows redirects, as the hub's does."""
    return httpx2.Client(transport=transport, follow_redirects=True)


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    """Return a client that waits long."""
    with client_on(UrllibTransport(CALM)) as each:
        yield each


def test_the_environment_names_a_proxy(
    client: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is used with its password, also after a redirect, but not for hosts that are excepted."""
    answers = {"/a": redirect("http://store.invalid/b"), "http://store.invalid/b": ok(b"stored")}
    with Server(lambda path: answers[path]) as hub, Server(lambda path: answers[path]) as proxy:
        monkeypatch.setenv("http_proxy", f"http://me:p%40ss@{proxy.host}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert client.get(hub.url("/a"), headers=TOKEN).content == b"stored"
    assert "Bearer hf_x" in hub.requests[0]
    assert "Proxy-Authorization: Basic bWU6cEBzcw==".lower() in proxy.requests[0].lower()
    assert "hf_x" not in proxy.requests[0]


def test_a_proxy_connects_to_hosts_with_certificates(
    client: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is encrypted passes it as it is: it is told the host and nothing of the request."""
    monkeypatch.delenv("no_proxy", raising=False)
    with Server(lambda _: [b"HTTP/1.1 403 No\r\n\r\n"]) as proxy:
        monkeypatch.setenv("https_proxy", proxy.host)
        with pytest.raises(httpx2.TransportError):
            client.get("https://hub.invalid/a", headers=TOKEN)
    assert proxy.requests[0].startswith("CONNECT hub.invalid:443 ")
    assert "hf_x" not in proxy.requests[0]


def test_the_environment_names_the_authorities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host is trusted if those of `SSL_CERT_FILE` vouch for it, and by nobody else."""
    certificate = write_certificate(tmp_path, "localhost")
    with Server(lambda _: ok(b"secret"), certificate) as server:
        url = f"https://localhost:{server.port}/"
        untrusted = pytest.raises(httpx2.TransportError, match="CERTIFICATE_VERIFY_FAILED")
        with client_on(UrllibTransport(CALM)) as untrusting, untrusted:
            untrusting.get(url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with client_on(UrllibTransport(CALM)) as trusting:
            assert trusting.get(url).content == b"secret"
        assert len(server.requests) == 1


def test_a_connection_serves_many_requests(client: httpx2.Client) -> None:
    """A body of known length leaves its connection usable, a redirect's too."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    accepted = []

    def serve() -> None:
        sock = listener.accept()[0]
        accepted.append(sock)
        for answer in (redirect("/b"), ok(b"one"), ok(b"two")):
            if answer[0].startswith(b"HTTP/1.1 302"):
                answer = [answer[0].replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\nsee")]
            while not sock.recv(65536).endswith(b"\r\n\r\n"):
                pass
            sock.sendall(b"".join(answer))

    threading.Thread(target=serve, daemon=True).start()
    assert [client.get(f"{url}/{name}").content for name in "ac"] == [b"one", b"two"]
    assert len(accepted) == 1


def test_a_body_in_chunks_is_put_together(client: httpx2.Client) -> None:
    """A list of files may come without a length."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with Server(lambda _: [head, b"3\r\nabc\r\n", b"2\r\nde\r\n", b"0\r\n\r\n"]) as server:
        assert client.get(server.url()).content == b"abcde"


def slowly(_: str) -> Iterator[bytes]:
    """Send a head that does not end, a byte at a time."""
    yield b"HTTP/1.1 200 OK\r\nX: "
    while True:
        time.sleep(0.02)
        yield b"x"


def endless(_: str) -> Iterator[bytes]:
    """Send a body that does not end."""
    yield b"HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n"
    while True:
        time.sleep(0.02)
        yield b"x"


@pytest.mark.parametrize("answer", [slowly, endless], ids=["head", "body of a redirect"])
def test_no_answer_takes_for_ever(answer: Callable[[str], Iterator[bytes]]) -> None:
    """Bytes that keep coming do not keep a thread."""
    transport = UrllibTransport(replace(QUICK, answer_s=0.2))
    too_late = pytest.raises(TimeoutError)
    with Server(answer) as server, client_on(transport) as client, too_late, transport.limit():
        client.get(server.url("/"))


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"])
def test_other_threads_are_stopped_at_once(answer: bytes) -> None:
    """A thread that waits for a silent host, before its head or after it, fails when told to."""
    is_asked, is_over = threading.Event(), threading.Event()
    outcomes: list[bool] = []
    transport = UrllibTransport(CALM)

    def hang(_: str) -> Iterator[bytes]:
        yield answer
        is_asked.set()
        outcomes.append(is_over.wait(15))

    def wait() -> None:
        with pytest.raises(httpx2.TransportError):
            client.get(server.url())

    with Server(hang) as server, client_on(transport) as client:
        thread = threading.Thread(target=wait)
        thread.start()
        is_asked.wait()
        transport.stop()
        thread.join()
        assert outcomes == []
        is_over.set()
        wait()  # and what begins after that fails too
