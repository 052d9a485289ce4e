"""Jobs and a bucket: what is spoken is stored while it is spoken."""

import asyncio
import hashlib
import io
import wave
from typing import Any

import numpy as np
import pytest

from higgs_worker.api.request import SpeechRequest
from higgs_worker.delivery.destination import Outlet
from higgs_worker.serverless.runner import JobRunner
from higgs_worker.storage.storage import Storage
from higgs_worker.storage.upload import PART_BYTES
from tests.fakes.s3 import get
from tests.fakes.scripted_worker import RATE, ScriptedService, ScriptedSpeech


class Speaking(ScriptedService):
    """Speaks in pieces, and says how far it is."""

    async def start(self, request: SpeechRequest, *_: Any, **__: Any) -> Any:
        """Begin to speak."""
        speech = ScriptedSpeech(request)
        speech.fraction_spoken = 0.5
        return speech


@pytest.mark.slow
def test_a_long_speech_is_sent_part_by_part(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    """Its second part before its first, which has the header; the file is whole and plays."""
    worker = JobRunner(Speaking(), max_text_chars=100, outlet=Outlet(storage))
    job = {"id": "long", "input": {"text": "pieces 24 10 0.01", "output": "s3"}}
    audio = asyncio.run(worker.run(job))["audio"]
    data, mime_type = get(audio["url"])
    assert mime_type == "audio/wav"
    assert hashlib.sha256(data).hexdigest() == audio["sha256"]
    with wave.open(io.BytesIO(data)) as sound:
        assert sound.getnframes() == 24 * 10 * RATE
        samples = np.frombuffer(sound.readframes(10**9), "<i2")
    ramp = np.arange(len(samples)) % 32768 / 32768 * 32767
    assert np.abs(samples - ramp).max() < 1
    assert len(data) > 2 * PART_BYTES
    sent = [line for line in caplog.text.splitlines() if "?partNumber=" in line]
    assert "?partNumber=2&" in sent[0]
