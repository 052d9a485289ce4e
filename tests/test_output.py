"""Where a job's audio goes: into the bucket, into the result, or nowhere before it is spoken."""

import asyncio
import base64
from datetime import UTC, datetime
from typing import Any

from higgs_worker.errors import KeyTaken, StorageFailed
from higgs_worker.jobs import JobRunner
from higgs_worker.outlet import Outlet
from higgs_worker.result import ModelInfo, SpeechResult, Timing, Usage
from higgs_worker.schema import SpeechRequest
from higgs_worker.storage import Stored

AUDIO = b"RIFF-audio"


class Speaking:
    """A service that says everything at once, and counts."""

    def __init__(self, audio: bytes = AUDIO) -> None:
        self.audio = audio
        self.num_spoken = 0

    async def speak(self, request: SpeechRequest, on_progress: object = None) -> SpeechResult:
        """Speak."""
        self.num_spoken += 1
        return SpeechResult(
            audio=self.audio,
            format=request.format,
            sample_rate=24000,
            channels=1,
            duration_s=1.0,
            segments=(),
            seed=1,
            finish_reason="stop",
            warnings=(),
            usage=Usage(1, 1, 1),
            timing=Timing(0, 0, 0, 1, 1),
            model=ModelInfo("scripted", None),
        )


class Shelf:
    """A bucket in memory; what it refuses, it refuses with the storage's own errors."""

    def __init__(self, *, fails: bool = False) -> None:
        self.objects: dict[str, bytes] = {"higgs/taken.wav": b""}
        self.fails = fails

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

    def put(self, data: bytes, *, key: str, mime_type: str) -> Stored:
        """Store, or fail."""
        if self.fails:
            raise StorageFailed("the bucket does not answer; look at the endpoint")
        self.objects[key] = data
        return Stored("bucket", key, f"https://x/{key}", datetime(2026, 1, 1, tzinfo=UTC))


def run(service: Speaking, shelf: Shelf | None, job_id: str = "7", **fields: Any) -> dict[str, Any]:
    """Run one job."""
    runner = JobRunner(service, max_text_chars=10**6, outlet=Outlet(shelf))  # type: ignore[arg-type]
    return asyncio.run(runner.run({"id": job_id, "input": {"text": "Hello."} | fields}))


def test_a_bucket_takes_the_audio() -> None:
    """Where there is one it is used, and the result says where the audio is."""
    shelf = Shelf()
    audio = run(Speaking(), shelf)["audio"]
    assert shelf.objects["higgs/7.wav"] == AUDIO
    assert audio["url"] == "https://x/higgs/7.wav"
    assert audio["expires_at"] == "2026-01-01T00:00:00+00:00"
    assert "base64" not in audio


def test_base64_on_request_and_without_a_bucket() -> None:
    """The audio is in the result when that was asked for or there is no other place."""
    for output in (run(Speaking(), Shelf(), output="base64"), run(Speaking(), None)):
        assert base64.b64decode(output["audio"]["base64"]) == AUDIO


def test_audio_that_cannot_be_stored_is_not_thrown_away() -> None:
    """It comes inside the result with a warning, if it fits; else the job fails."""
    output = run(Speaking(), Shelf(fails=True), output="s3")
    assert base64.b64decode(output["audio"]["base64"]) == AUDIO
    assert "does not answer" in output["warnings"][0]
    large = run(Speaking(bytes(9_000_000)), Shelf(fails=True))
    assert large["code"] == "storage_failed"


def test_what_cannot_be_delivered_is_not_spoken() -> None:
    """A taken key, no bucket, or a text far too long for the route: refused before any work."""
    service = Speaking()
    assert run(service, Shelf(), key="higgs/taken.wav")["code"] == "key_taken"
    assert run(service, None, output="s3")["code"] == "invalid_request"
    assert run(service, None, key="higgs/a.wav")["code"] == "invalid_request"
    assert run(service, Shelf(), output="base64", key="higgs/a.wav")["code"] == "invalid_request"
    long = "A long text. " * 5000
    assert run(service, None, text=long)["code"] == "result_too_large"
    assert service.num_spoken == 0
    assert "audio" in run(service, Shelf(), text=long)
    assert "audio" in run(service, None, text=long, format="opus", job_id="sync-1")
