"""A recording from a caller: TLS, size, time, and answers that are none."""

import base64
import gzip
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from higgs_worker.errors import UnusableReference
from higgs_worker.voices.download import download
from tests.fakes.web import (
    PUBLIC,
    SOUND,
    Answer,
    Names,
    Route,
    Server,
    get,
    ok,
    redirect,
    refusal,
    refused_by,
    unreached,
    write_certificate,
)

# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with the key and certificate of voices.example, signed by itself."""
    return write_certificate(tmp_path_factory.mktemp("tls"), "voices.example")


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[Server]:
    """Serve SOUND as voices.example."""
    with Server(lambda _: ok(SOUND), certificate) as server:
        yield server


def test_tls_is_verified_against_the_name(tls_server: Server, certificate: Path) -> None:
    """The name of the address counts, though the connection goes to a number."""
    route, names = Route(tls_server), Names([PUBLIC])
    trusting = ssl.create_default_context(cafile=str(certificate))
    options: dict[str, Any] = {"resolve": names, "connect": route}
    assert (
        download("https://voices.example/", max_bytes=100_000, timeout_s=5, tls=trusting, **options)
        == SOUND
    )
    assert route.targets == [(PUBLIC, 443)]
    assert "proves its name" in refusal("https://other.example/", tls=trusting, **options)
    assert "proves its name" in refusal(f"https://{PUBLIC}/", tls=trusting, **options)
    assert "proves its name" in refusal("https://voices.example/", **options)


def test_tls_with_a_server_that_speaks_none() -> None:
    """A plain server behind https is refused, and one that says nothing ends at the deadline."""
    with Server(lambda _: ok(SOUND)) as server:
        said = refusal(
            "https://voices.example/", resolve=Names([PUBLIC]), connect=Route(server), timeout_s=0.4
        )
    assert "voices.example" in said


# Bounds


def test_the_largest_recording_passes() -> None:
    """The bound itself is allowed, one byte more is not, announced or not."""
    with Server(lambda _: ok(SOUND)) as server:
        assert get(server, max_bytes=len(SOUND)) == SOUND
    for head in (b"Content-Length: %d\r\n" % len(SOUND), b""):
        answer = [b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + SOUND]
        said = refused_by(lambda _, answer=answer: answer, max_bytes=len(SOUND) - 1)
        assert f"larger than the {len(SOUND) - 1} bytes" in said


def test_an_announced_length_is_believed_when_it_is_too_large() -> None:
    """Nobody waits for a body that will not be taken."""

    def answer(_: str) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n"
        time.sleep(2)

    assert "larger than the 100000 bytes" in refused_by(answer, timeout_s=1)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
    ],
    ids=["no length", "negative length", "endless chunk", "negative chunk"],
)
def test_an_endless_body_ends_at_the_bound(head: bytes) -> None:
    """It costs no more memory than the bound, and no time."""
    sent = 0

    def answer(_: str) -> Iterator[bytes]:
        nonlocal sent
        yield head
        for piece in repeat(bytes(65536)):
            sent += len(piece)
            yield piece

    started = time.monotonic()
    assert refused_by(answer, max_bytes=1_000_000, timeout_s=20)
    assert time.monotonic() - started < 15
    assert sent < 30_000_000  # the bound and what the sockets hold


def trickle(head: bytes) -> Answer:
    """Answer with one byte every 20 ms, without end."""

    def answer(_: str) -> Iterator[bytes]:
        yield head
        for byte in repeat(b"a"):
            time.sleep(0.02)
            yield byte

    return answer


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX-A: ",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n",
    ],
    ids=["status", "header", "body", "announced body", "chunk"],
)
def test_a_trickle_ends_at_the_deadline(head: bytes) -> None:
    """Bytes that keep arriving do not keep it alive."""
    started = time.monotonic()
    assert "within 0.3 s" in refused_by(trickle(head), timeout_s=0.3)
    assert 0.25 < time.monotonic() - started < 10


def test_a_chain_of_slow_redirects_has_one_deadline() -> None:
    """The time limit is for everything together."""

    def answer(_: str) -> Iterator[bytes]:
        time.sleep(0.15)
        yield from redirect("/again")

    started = time.monotonic()
    assert "within 0.3 s" in refused_by(answer, timeout_s=0.3)
    assert time.monotonic() - started < 10


def test_a_resolver_that_hangs_ends_at_the_deadline() -> None:
    """The system's own gives up after half a minute."""
    released = threading.Event()

    def resolve(*_: Any, **__: Any) -> Any:
        released.wait(60)
        return []

    started = time.monotonic()
    assert "within 0.2 s" in refusal("http://a.example/", resolve=resolve, timeout_s=0.2)
    assert time.monotonic() - started < 10
    released.set()


def test_an_address_that_swallows_everything_leaves_time_for_the_next() -> None:
    """The second address of a name is tried when the first does not answer."""
    with Server(lambda _: ok(SOUND)) as server:
        route = Route(server)

        def connect(address: tuple[str, int], timeout_s: float) -> socket.socket:
            if address[0] == "8.8.4.4":
                time.sleep(timeout_s)
                raise TimeoutError
            return route(address, timeout_s)

        url, names = "http://voices.example/", Names(["8.8.4.4", PUBLIC])
        assert (
            download(url, max_bytes=100_000, timeout_s=0.6, resolve=names, connect=connect) == SOUND
        )


@pytest.mark.parametrize("status", [204, 206, 304, 401, 403, 404, 418, 500, 503])
def test_other_statuses_are_named(status: int) -> None:
    """Only 200 is a recording."""
    said = refused_by(lambda _: [f"HTTP/1.1 {status} Hunter2\r\n\r\nsecret".encode()])
    assert f"answered with status {status};" in said
    assert "secret" not in said
    assert "Hunter2" not in said


def test_a_compressed_body_is_not_unpacked() -> None:
    """A bomb stays packed, whatever was asked for."""
    bomb = gzip.compress(bytes(10_000_000))
    for header in ("Content-Encoding: gzip", "Transfer-Encoding: gzip, chunked"):
        assert "packed" in refused_by(lambda _, header=header: ok(bomb, header))


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 200 OK\r\n", *[b"X: " + b"a" * 1000 + b"\r\n"] * 90],
        [b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1_000_000],
        [b"HTTP/1.1 200 OK\r\n", *[b"X: a\r\n"] * 200],
        [b"HTTP/1.1 100 Continue\r\n\r\n"] * 5000,
        [b"SSH-2.0-OpenSSH_9.6\r\n" * 10],
        [b"\x00\xff" * 1000],
        [b"a" * 1_000_000],
        [b"HTTP/1.1 abc OK\r\n\r\n"],
        [b"HTTP/9.9 200 OK\r\n\r\n" + SOUND],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"],
    ],
)
def test_what_is_not_http_is_refused(pieces: list[bytes]) -> None:
    """Too many headers, other protocols and noise each end with a sentence."""
    assert "127.0.0.1" in refused_by(lambda _: pieces)


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\nabc"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc"],
    ],
    ids=["nothing", "short body", "short chunk"],
)
def test_a_body_that_breaks_off_is_no_recording(pieces: list[bytes]) -> None:
    """Half a recording is not taken for a whole one."""
    assert "broke off" in refused_by(lambda _: pieces)


def test_an_empty_body_is_no_recording() -> None:
    """A success without sound is none."""
    assert "empty" in refused_by(lambda _: ok(b""))


def test_a_connection_that_is_reset() -> None:
    """In the middle of the body, or because nobody listens."""

    def answer(_: str) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\nabc"
        raise ConnectionRefusedError

    assert "broke off" in refused_by(answer)
    with Server(answer) as server:
        host = server.host
    assert "broke off" in refusal(f"http://{host}/", allowed_hosts=frozenset({host}))


# Base64


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("data:audio/wav;base64,", "empty"),
        ("data:audio/wav,abc", "must be of the form"),
        ("data:audio/wav;base64", "must be of the form"),
        ("data:" + "a" * 300 + ";base64,AAAA", "must be of the form"),
        ("AAA", "not valid base64"),
        ("AAAA=", "not valid base64"),
        ("AA==AA==", "not valid base64"),
        ("AA-_", "not valid base64"),
        ("hällo", "not valid base64"),
        ("data:;base64,AA%3D%3D", "not valid base64"),
        ("\ud800AAA", "not valid base64"),
        ("A" * 200_000, "larger than"),
        (" A" * 140_000, "larger than"),
        ("A" + " " * 10_000_000 + "A", "larger than"),
    ],
)
def test_base64_that_is_none(source: str, words: str) -> None:
    """A sentence says what is wrong, and too much is refused before it is decoded."""
    assert words in refusal(source, resolve=unreached, connect=unreached)


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=100), st.integers(1, 100))
def test_base64_is_bounded_to_the_byte(data: bytes, max_bytes: int) -> None:
    """What fits is decoded, what does not is refused."""
    source = "data:;base64," + base64.b64encode(data).decode()
    if len(data) <= max_bytes:
        assert download(source, max_bytes=max_bytes, timeout_s=1) == data
    else:
        assert "larger than" in refusal(source, max_bytes=max_bytes)


def nowhere(*_: Any, **__: Any) -> Any:
    """Resolve and connect as a machine without a network does."""
    raise socket.gaierror


@settings(deadline=None)
@given(
    st.one_of(
        st.text(),
        st.builds("{}:{}".format, st.sampled_from(["http", "https", "data", "file"]), st.text()),
        st.builds("http{}://{}{}{}".format, st.sampled_from(["", "s"]), *[st.text()] * 3),
        st.builds("http://{}:{}/".format, st.text("0123456789abcdefx.:[]%@"), st.integers()),
    )
)
def test_any_text_is_refused_or_decoded(source: str) -> None:
    """Nothing but bytes or a sentence comes of it, and only an address asks for a connection."""
    is_web = source.strip().lower().startswith(("http:", "https:"))
    network = nowhere if is_web else unreached
    with suppress(UnusableReference):
        assert download(source, max_bytes=1000, timeout_s=1, resolve=network, connect=network)
        assert not is_web
