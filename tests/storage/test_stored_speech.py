"""Jobs and a bucket: what is spoken is stored while it is spoken."""

import asyncio
import hashlib
import io
import wave

import numpy as np
import pytest

from higgs_worker.storage.storage import Storage
from higgs_worker.storage.upload import PART_BYTES
from tests.fakes.s3 import get
from tests.fakes.scripted_worker import ScriptedService
from tests.fakes.speeches import RATE, runner


@pytest.mark.slow
def test_a_long_speech_is_sent_part_by_part(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    """Its second part before its first, which has the header; the file is whole and plays."""
    worker = runner(ScriptedService(), storage)
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
