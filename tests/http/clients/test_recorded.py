"""Clients that are too large to install, or no package: their requests exactly as they send them.

Open WebUI 0.12 and SillyTavern 1.19 from their source, curl as it is installed.
"""

import json
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.http_worker import HttpWorker, decoded, is_speech
from tests.http.clients.recipes import recipes

pytestmark = pytest.mark.slow
TEXT = "Good morning to you."
DURATION_S = 1.04


def send(worker: HttpWorker, path: str, body: Any = None, **headers: str) -> tuple[int, str, bytes]:
    """Send a request; return the status, the content type and the body of the reply."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(worker.url + path, data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, reply.headers["Content-Type"], reply.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers["Content-Type"], refused.read()


@pytest.mark.parametrize("extra", [{}, {"scene": "A quiet room.", "seed": 7}])
def test_open_webui_speaks(worker: HttpWorker, key: str, extra: dict[str, Any]) -> None:
    """With what its settings page merges in; it takes the body for what its type says: MP3."""
    status, kind, audio = send(
        worker,
        "/v1/audio/speech",
        {"input": TEXT, "voice": "clara", "model": "tts-1", **extra},
        **{"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
        **{"X-OpenWebUI-User-Name": "Hunter Two", "X-OpenWebUI-User-Email": "hunter2@example.org"},
    )
    assert (status, kind) == (200, "audio/mpeg")
    assert is_speech(decoded(audio), DURATION_S if not extra else 1.1)
    assert "hunter2" not in worker.log


def test_open_webui_lists(worker: HttpWorker, key: str) -> None:
    """Its lists come in its form; without the key, which it does not send, they are refused."""
    with_key = {"Authorization": f"Bearer {key}"}
    assert send(worker, "/v1/audio/models", **with_key)[0] == 404  # then it asks for /models
    models = json.loads(send(worker, "/v1/models", **with_key)[2])
    assert [each["id"] for each in models["data"]] == ["demo"]
    voices = json.loads(send(worker, "/v1/audio/voices", **with_key)[2])
    names = {each["id"]: each["name"] for each in voices["voices"]}
    assert names["clara"] == "clara"
    for path in ("/v1/audio/voices", "/v1/models"):
        status, _, body = send(worker, path)
        assert status == 401
        assert json.loads(body)["error"]["message"]  # what Open WebUI shows


def test_sillytavern(worker: HttpWorker, key: str) -> None:
    """Its request gives MP3; its fields are always all there."""
    request = {
        "input": TEXT,
        "response_format": "mp3",
        "voice": "pippa",
        "speed": 1,
        "model": "tts-1",
    }
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    status, kind, audio = send(worker, "/v1/audio/speech", request, **headers)
    assert (status, kind) == (200, "audio/mpeg")
    assert is_speech(decoded(audio), DURATION_S, tolerance_s=0.4)
    # It sends what is left of a message of asterisks, too: an error that it can show, no silence.
    status, _, body = send(worker, "/v1/audio/speech", request | {"input": ""}, **headers)
    assert status == 400
    assert json.loads(body)["error"]["param"] == "input"


@pytest.mark.parametrize("path", ["/v1/readyz", "/health", "/v1/test"])
def test_wyoming_openai_takes_us_for_openai(worker: HttpWorker, path: str) -> None:
    """It asks other servers' routes first, without a key, and then knows no list of voices."""
    status, _, body = send(worker, path)
    assert status in (401, 404), path
    assert body != b"OK"


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl(worker: HttpWorker, key: str, tmp_path: Path) -> None:
    """The command of the page writes a file of speech; a wrong one ends with 22 and says why."""
    (command,) = recipes("curl", worker.address)
    run = ["bash", "-c", command]
    environment = {"HIGGS_API_KEY": key, "PATH": "/usr/bin:/bin"}
    subprocess.run(run, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert is_speech(decoded((tmp_path / "speech.mp3").read_bytes()), DURATION_S)
    run[-1] = command.replace("clara", "nobody")
    ended = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert ended.returncode == 22
    assert b"known are" in (tmp_path / "speech.mp3").read_bytes()
