"""Where a job's audio goes: into the bucket, into the result, or nowhere before it is spoken."""

import asyncio
import base64
import hashlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from higgs_worker.api.result import Segment
from higgs_worker.audio.encode import MIME_TYPES, encode
from higgs_worker.errors import KeyTaken, StorageFailed
from higgs_worker.storage.upload import StoredObject
from tests.fakes.speeches import RATE, RESULT, TONE, FixedService, runner

AUDIO = encode(TONE, RATE, "wav")


class Parcel:
    """An object on its way to a shelf."""

    def __init__(self, arrive: Callable[[bytes], StoredObject]) -> None:
        self._arrive = arrive
        self._data = bytearray()
        self.num_fed = 0
        self.is_left = False

    def __enter__(self) -> "Parcel":
        return self

    def __exit__(self, *_: object) -> None:
        self.is_left = True

    @property
    def data(self) -> bytes:
        """All of it."""
        return bytes(self._data)

    def feed(self, data: bytes) -> None:
        """Take more."""
        self.num_fed += 1
        self._data += data

    def finish(self, rest: bytes = b"", *, head: bytes = b"") -> "Future[StoredObject]":
        """Arrive."""
        self._data += rest
        self._data[: len(head)] = head
        done: Future[StoredObject] = Future()
        try:
            done.set_result(self._arrive(self.data))
        except StorageFailed as error:
            done.set_exception(error)
        return done


class Shelf:
    """A bucket in memory; what it refuses, it refuses with the storage's own errors."""

    threads = ThreadPoolExecutor(1)

    def __init__(self, *, fails: bool = False) -> None:
        self.objects: dict[str, bytes] = {"higgs/taken.wav": b""}
        self.fails = fails
        self.parcels: list[Parcel] = []

    def key_for(self, job_id: str, suffix: str) -> str:
        """Give a new key."""
        return f"higgs/{job_id}.{suffix}"

    def check_key(self, key: str) -> str:
        """Take any key."""
        return key

    def refuse_taken(self, key: str) -> None:
        """Look it up."""
        if key in self.objects:
            raise KeyTaken("there is an object with this key")

    def open(self, key: str, mime_type: str) -> Parcel:
        """Begin an object."""

        def arrive(data: bytes) -> StoredObject:
            if self.fails:
                raise StorageFailed("the bucket does not answer; look at the endpoint")
            self.objects[key] = data
            return StoredObject("bucket", key, f"https://x/{key}", datetime(2026, 1, 1, tzinfo=UTC))

        self.parcels.append(Parcel(arrive))
        return self.parcels[-1]


def run(service: Any, shelf: Shelf | None, job_id: str = "7", **fields: Any) -> dict[str, Any]:
    """Run one job."""
    job = {"id": job_id, "input": {"text": "Hello."} | fields}
    return asyncio.run(runner(service, shelf, max_text_chars=10**6).run(job))


def stream(
    service: Any, shelf: Shelf | None, save_dir: Path | None = None, **fields: Any
) -> tuple[bytes, dict[str, Any]]:
    """Run one job on a streaming endpoint; return the audio of the pieces, and the last piece."""

    async def pieces() -> list[dict[str, Any]]:
        job = {"id": "7", "input": {"text": "Hello."} | fields}
        return [
            each
            async for each in runner(service, shelf, save_dir, max_text_chars=10**6).stream(job)
        ]

    *heard, last = asyncio.run(pieces())
    return b"".join(base64.b64decode(e["audio"]["base64"]) for e in heard if "audio" in e), last


def test_a_bucket_takes_the_audio() -> None:
    """Where there is one it is used, and the result says where the audio is."""
    shelf = Shelf()
    audio = run(FixedService(), shelf)["audio"]
    assert shelf.objects["higgs/7.wav"] == AUDIO
    assert audio["url"] == "https://x/higgs/7.wav"
    assert audio["expires_at"] == "2026-01-01T00:00:00+00:00"
    assert (audio["num_bytes"], audio["sha256"]) == (len(AUDIO), hashlib.sha256(AUDIO).hexdigest())
    assert "base64" not in audio


def test_audio_is_sent_while_it_is_spoken() -> None:
    """Unless what is asked for needs the whole sound; then only the header is."""
    shelf = Shelf()
    run(FixedService(), shelf)
    run(FixedService(), shelf, speed=1.5)
    run(FixedService(), shelf, loudness_lufs=-20)
    assert [each.num_fed for each in shelf.parcels] == [10, 10, 1]
    assert all(each.is_left for each in shelf.parcels)


@pytest.mark.parametrize("format", MIME_TYPES)
@pytest.mark.parametrize("sample_rate", [24000, 16000])
@pytest.mark.parametrize("shape", [{}, {"speed": 1.5}, {"loudness_lufs": -20}])
def test_the_file_is_the_same_whichever_way_it_goes(
    format: str, sample_rate: int, shape: dict[str, float]
) -> None:
    """With a true header, although it was begun before its length was known."""
    fields = {"format": format, "sample_rate": sample_rate} | shape
    shelf = Shelf()
    run(FixedService(), shelf, **fields)
    inside = run(FixedService(), None, **fields)
    assert shelf.objects[f"higgs/7.{format}"] == base64.b64decode(inside["audio"]["base64"])


def test_base64_on_request_and_without_a_bucket() -> None:
    """The audio is in the result when that was asked for or there is no other place."""
    for output in (run(FixedService(), Shelf(), output="base64"), run(FixedService(), None)):
        assert base64.b64decode(output["audio"]["base64"]) == AUDIO


@pytest.mark.parametrize("shape", [{}, {"loudness_lufs": -20}])
def test_audio_that_cannot_be_stored_is_not_thrown_away(shape: dict[str, float]) -> None:
    """It comes inside the result with a warning, if it fits; else the job fails."""
    output = run(FixedService(), Shelf(fails=True), output="s3", **shape)
    inside = run(FixedService(), None, **shape)
    assert output["audio"]["base64"] == inside["audio"]["base64"]
    assert "does not answer" in output["warnings"][0]
    large = run(FixedService(np.zeros(6_000_000, np.float32)), Shelf(fails=True), **shape)
    assert large["code"] == "storage_failed"


def test_what_cannot_be_delivered_is_not_spoken() -> None:
    """A taken key, no bucket, or a text far too long for the route: refused before any work."""
    service = FixedService()
    assert run(service, Shelf(), key="higgs/taken.wav")["code"] == "key_taken"
    assert run(service, None, output="s3")["code"] == "invalid_request"
    assert run(service, None, key="higgs/a.wav")["code"] == "invalid_request"
    assert run(service, Shelf(), output="base64", key="higgs/a.wav")["code"] == "invalid_request"
    assert stream(service, Shelf(), key="higgs/taken.wav")[1]["code"] == "key_taken"
    assert stream(service, None, output="s3")[1]["code"] == "invalid_request"
    long = "A long text. " * 5000
    assert run(service, None, text=long)["code"] == "result_too_large"
    assert service.requests == []
    assert "audio" in run(service, Shelf(), text=long)
    assert "audio" in run(service, None, text=long, format="opus", job_id="sync-1")


def test_g711_takes_half_the_room() -> None:
    """One byte for a sample: a text that is too long as 16 bits at the same rate is spoken."""
    long = "A long text. " * 1200
    refused = run(FixedService(), None, text=long, format="pcm", sample_rate=8000)
    assert refused["code"] == "result_too_large"
    assert "audio" in run(FixedService(), None, text=long, format="alaw")


def test_streamed_audio_is_stored_when_asked() -> None:
    """The object is the file, with a true header; otherwise the audio is only streamed."""
    shelf = Shelf()
    _, last = stream(FixedService(), shelf, output="s3")
    assert shelf.objects["higgs/7.wav"] == AUDIO
    assert last["audio"]["key"] == "higgs/7.wav"
    assert last["audio"]["num_bytes"] == len(AUDIO)
    assert last["audio"]["sha256"] == hashlib.sha256(AUDIO).hexdigest()
    stream(FixedService(), shelf, key="higgs/mine.wav")
    assert shelf.objects["higgs/mine.wav"] == AUDIO
    heard, last = stream(FixedService(), Shelf())
    assert last["audio"]["sha256"] == hashlib.sha256(heard).hexdigest()
    assert "key" not in last["audio"]


def test_streamed_audio_is_saved(tmp_path: Path) -> None:
    """Where that was asked for, as any other, as a proper file."""
    stream(FixedService(), None, tmp_path)
    assert (tmp_path / "7.wav").read_bytes() == AUDIO


def test_streamed_audio_that_cannot_be_stored() -> None:
    """A warning, as long as the job's output holds the pieces; else the job fails."""
    heard, last = stream(FixedService(), Shelf(fails=True), output="s3")
    assert heard
    assert "does not answer" in last["warnings"][0]
    _, last = stream(FixedService(np.zeros(5_000_000, np.float32)), Shelf(fails=True), output="s3")
    assert last["code"] == "storage_failed"
    _, last = stream(FixedService(np.zeros(5_000_000, np.float32)), Shelf(), output="s3")
    assert last["audio"]["url"]
    assert not last["warnings"]


def test_segments_without_room_are_left_out() -> None:
    """A result is never larger than the platform takes, though its audio is elsewhere."""

    segments = (Segment("é" * 10**6, None, 0, 1, spoken=""),) * 6
    wordy = FixedService(result=replace(RESULT, segments=segments))
    output = run(wordy, Shelf())
    assert output["segments"] == []
    assert "left out" in output["warnings"][0]
    assert len(run(wordy, Shelf(), job_id="sync-1")["segments"]) == 6
