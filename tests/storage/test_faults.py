"""Uploads over a network that fails: what is repeated, what ends, and that nothing is left over."""

import socket
import time

import pytest

from higgs_worker.errors import KeyTaken, StorageFailed
from higgs_worker.storage.storage import Storage
from higgs_worker.storage.upload import PART_BYTES
from tests.fakes.fault_proxy import Answered, FaultProxy, LostAnswer, Reset, Slow, Stall, Swapped
from tests.fakes.s3 import config, objects, opened, unfinished

SOUND = b"RIFF" + bytes(range(256)) * 400
LARGE = bytes(PART_BYTES + 1)
WAV = "audio/wav"


def failure(storage: Storage, key: str, data: bytes = SOUND) -> str:
    """Return the sentence with which an upload fails."""
    with pytest.raises(StorageFailed) as caught:
        storage.put(data, key=key, mime_type=WAV)
    return caught.value.message


@pytest.mark.slow
def test_a_reset_is_repeated(proxy: FaultProxy, port: int, prefix: str) -> None:
    """Once in a small object, and once in the middle of a part."""
    storage = opened(config(proxy.port))
    for name, data, after_bytes in (("a", SOUND, 50_000), ("b", LARGE, 3_000_000)):
        proxy.cut()
        proxy.fail(lambda after_bytes=after_bytes: Reset(after_bytes))
        storage.put(data, key=prefix + name, mime_type=WAV)
    assert objects(port, prefix) == {f"{prefix}a": len(SOUND), f"{prefix}b": len(LARGE)}


def test_resets_without_end_are_a_failure(proxy: FaultProxy, port: int, prefix: str) -> None:
    """The attempts are counted, and nothing is stored."""
    proxy.fail(lambda: Reset(50_000), times=10)
    storage = opened(config(proxy.port))
    assert "broke off the connection" in failure(storage, f"{prefix}a")
    assert proxy.num_connections == 2
    assert objects(port, prefix) == {}


@pytest.mark.parametrize("data", [SOUND, LARGE], ids=["whole", "in parts"])
def test_a_lost_answer_is_no_clash(proxy: FaultProxy, port: int, prefix: str, data: bytes) -> None:
    """The repeated request finds its own object and is content with it."""
    last = b"<CompleteMultipartUpload" if data is LARGE else SOUND[-300:]
    proxy.fail(lambda: LostAnswer(lambda sent: last in sent), times=2)
    storage = opened(config(proxy.port, attempts=3))
    storage.put(data, key=f"{prefix}a", mime_type=WAV)
    assert proxy.num_connections > 1
    assert objects(port, prefix) == {f"{prefix}a": len(data)}
    with pytest.raises(KeyTaken):
        storage.put(data, key=f"{prefix}a", mime_type=WAV)


@pytest.mark.slow
def test_silence_ends_at_the_timeout(proxy: FaultProxy, prefix: str) -> None:
    """A storage that swallows everything costs the timeout and no more."""
    proxy.fail(Stall, times=10)
    storage = opened(config(proxy.port, attempts=1, read_timeout_s=0.2))
    started = time.monotonic()
    assert "was silent for 0.2 s" in failure(storage, f"{prefix}a")
    assert time.monotonic() - started < 8


def test_nobody_there() -> None:
    """A closed port is told apart from a broken connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    storage = opened(config(port, attempts=1))
    assert f"127.0.0.1:{port} cannot be reached" in failure(storage, "higgs/a")


@pytest.mark.slow
def test_a_trickle_ends_at_the_deadline(proxy: FaultProxy, port: int, prefix: str) -> None:
    """Bytes that keep moving do not keep an upload alive, and its parts are removed."""
    proxy.fail(lambda: Slow(500_000), times=10)
    storage = opened(config(proxy.port, attempts=1, read_timeout_s=5.0, request_timeout_s=0.4))
    started = time.monotonic()
    assert "it was not through after 0.4 s" in failure(storage, f"{prefix}a", LARGE)
    assert time.monotonic() - started < 8
    assert objects(port, prefix) == {}
    assert unfinished(port, prefix) == []


def test_damaged_bytes_are_not_stored(proxy: FaultProxy, port: int, prefix: str) -> None:
    """The storage checks what arrives."""
    proxy.fail(lambda: Swapped(SOUND[:300], SOUND[:299] + b"!"), times=10)
    storage = opened(config(proxy.port, attempts=1))
    assert "got other bytes than were sent" in failure(storage, f"{prefix}a")
    assert objects(port, prefix) == {}


@pytest.mark.parametrize("data", [SOUND, LARGE], ids=["whole", "in parts"])
def test_a_storage_without_conditional_writes(
    proxy: FaultProxy, port: int, prefix: str, data: bytes
) -> None:
    """Keys are looked up instead, from the first refusal on."""
    refusal = answer(501, "NotImplemented")
    proxy.fail(lambda: Answered(b"If-None-Match", refusal), times=100)
    storage = Storage(config(proxy.port))
    storage.put(data, key=f"{prefix}a", mime_type=WAV)
    for _ in range(2):
        with pytest.raises(KeyTaken):
            storage.put(b"other", key=f"{prefix}a", mime_type=WAV)
    assert objects(port, prefix) == {f"{prefix}a": len(data)}


def answer(status: int, code: str, message: str = "") -> bytes:
    """Return an answer of an S3 server."""
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    head = f"HTTP/1.1 {status} No\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def test_a_storage_that_cannot_look_up(proxy: FaultProxy, prefix: str) -> None:
    """Whether a key is free is then a failure, not a guess."""
    proxy.fail(lambda: Answered(b"HEAD ", answer(500, "InternalError")))
    with pytest.raises(StorageFailed, match="status 500"):
        opened(config(proxy.port, attempts=1)).refuse_taken(f"{prefix}a")


def test_a_check_that_cannot_clean_up(proxy: FaultProxy, caplog: pytest.LogCaptureFixture) -> None:
    """Results can be stored all the same; a warning names what was left."""
    proxy.fail(lambda: Answered(b"DELETE ", answer(403, "AccessDenied")))
    opened(config(proxy.port, attempts=1)).check()
    assert "left 'higgs/.check' behind" in caplog.text


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (400, "ExpiredToken", "the session token has expired"),
        (400, "InvalidToken", "check AWS_SESSION_TOKEN"),
        (400, "AuthorizationHeaderMalformed", "in another region; check AWS_DEFAULT_REGION"),
        (301, "PermanentRedirect", "in another region; check AWS_DEFAULT_REGION"),
        (503, "SlowDown", "has too much to do; try again"),
        (507, "Insufficient{bucket}Storage", "answered InsufficientbucketStorage with status 507"),
        (500, "", "answered 500 with status 500"),
        (200, "InternalError", "answered InternalError with status"),
    ],
)
def test_answers_are_named_by_their_code_alone(
    proxy: FaultProxy, prefix: str, status: int, code: str, words: str
) -> None:
    """What the storage writes beside it may hold anything and is not repeated."""
    proxy.fail(lambda: Answered(b"PUT ", answer(status, code, "hunter2")), times=10)
    storage = opened(config(proxy.port, attempts=1))
    said = failure(storage, f"{prefix}a")
    assert words in said
    assert "hunter2" not in said
