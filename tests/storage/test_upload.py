"""Objects that are sent while they are made: parts ahead, the head last, and nothing lost."""

import time
from collections.abc import Callable

import pytest

from higgs_worker.errors import KeyTaken, StorageFailed
from higgs_worker.logs import job_context
from higgs_worker.storage.storage import Storage
from higgs_worker.storage.upload import PART_BYTES
from tests.fakes.fault_proxy import FaultProxy, Reset, Slow, Stall
from tests.fakes.s3 import config, get, objects, opened, unfinished

WAV = "audio/wav"
SOUND = bytes(range(251)) * (PART_BYTES // 100)  # two parts and a half; no two parts are equal


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for what other threads do."""
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def num_parts(storage: Storage, key: str) -> int:
    """Return how many parts of an unfinished object the server has."""
    found = storage._bucket.call("list_multipart_uploads")
    for each in found.get("Uploads", ()):
        if each["Key"] == key:
            parts = storage._bucket.call("list_parts", Key=key, UploadId=each["UploadId"])
            return len(parts.get("Parts", ()))
    return 0


def test_parts_are_sent_while_it_is_fed(storage: Storage, port: int, prefix: str) -> None:
    """All but the first and the last are there before the end; the object is only then."""
    key = f"{prefix}a.wav"
    upload = storage.open(key, WAV)
    for start in range(0, len(SOUND), 100_001):
        upload.feed(SOUND[start : start + 100_001])
    wait_until(lambda: num_parts(storage, key) == 1)
    assert objects(port, prefix) == {}
    stored = upload.finish(b"the end", head=b"the head").result()
    whole = b"the head" + SOUND[8:] + b"the end"
    assert stored.key == key
    assert get(stored.url) == (whole, WAV)
    assert upload.data == whole
    assert unfinished(port, prefix) == []
    with pytest.raises(ValueError, match="has ended"):
        upload.feed(b"more")
    with pytest.raises(ValueError, match="has ended"):
        upload.finish()


@pytest.mark.parametrize("num_bytes", [5, PART_BYTES])
def test_what_is_small_is_sent_at_once(proxy: FaultProxy, prefix: str, num_bytes: int) -> None:
    """One request, and no parts; the head counts there too."""
    storage = Storage(config(proxy.port))
    with storage.open(f"{prefix}a.wav", WAV) as upload:
        upload.feed(bytes(num_bytes))
        stored = upload.finish(head=b"RIFF").result()
    assert proxy.num_connections == 1
    assert get(stored.url) == (b"RIFF" + bytes(num_bytes - 4), WAV)


@pytest.mark.parametrize("num_bytes", [10, len(SOUND)])
def test_leaving_it_unfinished_leaves_nothing(
    storage: Storage, port: int, prefix: str, num_bytes: int
) -> None:
    """An exception, or no end, at any size; aborting twice does no harm."""
    with storage.open(f"{prefix}a.wav", WAV) as upload:
        upload.feed(bytes(num_bytes))
        removed = upload.abort()
    assert removed is not None
    removed.result()
    assert upload.abort() is None
    assert objects(port, prefix) == {}
    assert unfinished(port, prefix) == []
    with pytest.raises(ValueError, match="has ended"):
        upload.finish()


def test_an_upload_that_is_given_up_while_it_ends(
    proxy: FaultProxy, port: int, prefix: str
) -> None:
    """It stops at its next request, and its parts are removed."""
    storage = opened(config(proxy.port))
    upload = storage.open(f"{prefix}a.wav", WAV)
    upload.feed(SOUND)
    wait_until(lambda: num_parts(storage, f"{prefix}a.wav") == 1)
    proxy.cut()
    proxy.fail(lambda: Slow(20e6))
    proxy.num_connections = 0
    ending = upload.finish()
    wait_until(lambda: proxy.num_connections == 1)
    removed = upload.abort()
    assert removed is not None
    removed.result()
    assert isinstance(ending.exception(), StorageFailed)
    assert objects(port, prefix) == {}
    assert unfinished(port, prefix) == []


@pytest.mark.parametrize("num_bytes", [10, len(SOUND)])
def test_a_name_that_was_taken_meanwhile(
    storage: Storage, port: int, prefix: str, num_bytes: int
) -> None:
    """Who is first has it; the other one is told at the end and leaves nothing."""
    upload = storage.open(f"{prefix}a.wav", WAV)
    upload.feed(SOUND[:num_bytes])
    first = storage.put(b"first", key=f"{prefix}a.wav", mime_type=WAV)
    with pytest.raises(KeyTaken):
        upload.finish().result()
    assert upload.data == SOUND[:num_bytes]
    assert get(first.url)[0] == b"first"
    assert unfinished(port, prefix) == []


def test_a_part_that_failed_is_sent_again(
    proxy: FaultProxy, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A network that was away for a while costs a warning, in the name of the job."""
    storage = opened(config(proxy.port, attempts=1))
    proxy.fail(lambda: Reset(100_000))
    upload = storage.open(f"{prefix}a.wav", WAV)
    with job_context("the-job"):
        upload.feed(SOUND)
    wait_until(lambda: "is to be sent again" in caplog.text)
    assert get(upload.finish().result().url) == (SOUND, WAV)


def test_all_bytes_are_at_hand_when_all_fails(proxy: FaultProxy, port: int, prefix: str) -> None:
    """A storage that breaks off in the middle loses nothing and keeps nothing."""
    storage = opened(config(proxy.port, attempts=1))
    upload = storage.open(f"{prefix}a.wav", WAV)
    upload.feed(SOUND)
    wait_until(lambda: num_parts(storage, f"{prefix}a.wav") == 1)
    proxy.cut()
    proxy.fail(lambda: Reset(1_000_000))
    with pytest.raises(StorageFailed):
        upload.finish(b"the end").result()
    assert upload.data == SOUND + b"the end"
    assert objects(port, prefix) == {}
    assert unfinished(port, prefix) == []


def test_feeding_never_waits(proxy: FaultProxy, prefix: str) -> None:
    """A storage that swallows everything does not hold up who makes the bytes."""
    proxy.fail(Stall, times=10)
    storage = opened(config(proxy.port, attempts=1, read_timeout_s=30.0))
    upload = storage.open(f"{prefix}a.wav", WAV)
    started = time.monotonic()
    for start in range(0, len(SOUND), 100_000):
        upload.feed(SOUND[start : start + 100_000])
    assert time.monotonic() - started < 15
    wait_until(lambda: proxy.num_connections > 0)
    proxy.fail(Stall, times=0)
    proxy.cut()
    assert get(upload.finish().result().url) == (SOUND, WAV)


def test_parts_that_cannot_be_removed_are_logged(
    proxy: FaultProxy, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A network that stays away leaves a warning with the key and the way out."""
    storage = opened(config(proxy.port, attempts=1))
    upload = storage.open(f"{prefix}a.wav", WAV)
    upload.feed(SOUND)
    wait_until(lambda: num_parts(storage, f"{prefix}a.wav") == 1)
    proxy.cut()
    proxy.fail(lambda: Reset(0), times=10)
    removed = upload.abort()
    assert removed is not None
    removed.result()
    assert "parts of the audio may stay in the storage" in caplog.text
