"""The clients, on a stand-in of the platform with a real worker behind it."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import soundfile

from higgs_worker.client import Higgs, HiggsError
from tests.fakes.control_plane import RESET, ControlPlane
from tests.fakes.delivery import SCRIPTED, Worker
from tests.fakes.s3 import environment, server
from tests.fakes.speeches import text_in

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
KEY = "rpa_thekeyofthecaller"
RUN = {
    "bash": ("bash", ""),
    "python": (sys.executable, "print(speech.audio.hex())"),
    "js": ("node", "console.log(audio.toString('hex'));"),
}
"""What runs each kind of snippet, and the line that shows what it got."""


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """The platform."""
    with ControlPlane() as plane:
        yield plane


@pytest.fixture(scope="module", params=["false", "true"], ids=["whole", "streamed"])
def streams(
    plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[bool]:
    """One worker of each kind."""
    directory = tmp_path_factory.mktemp("worker")
    with Worker(plane, directory, SCRIPTED, HIGGS_STREAM=request.param):
        yield request.param == "true"


@pytest.fixture
def higgs(plane: ControlPlane) -> Higgs:
    """A client of that endpoint."""
    return Higgs("ep0", KEY, base_url=f"{plane.url}/v2", timeout_s=20)


def test_speech(higgs: Higgs, streams: bool) -> None:
    """Both ways to ask give all of the audio, on both kinds of endpoint."""
    if streams:
        for audio in (
            b"".join(higgs.stream("pieces 3 0.5 0", format="pcm")),
            higgs.speak("pieces 3 0.5 0", format="pcm").audio,
        ):
            assert len(audio) == 3 * 24_000
    else:
        speech = higgs.speak("Hello.")
        assert text_in(speech.audio) == "Hello."
        assert speech.output["seed"] == 7
        assert list(higgs.stream("Hello.")) == [speech.audio]


@pytest.mark.parametrize("format", ["wav", "flac", "mp3", "opus"])
def test_speech_is_a_proper_file(higgs: Higgs, streams: bool, format: str) -> None:
    """Also where it came in pieces, whose header leaves the length open."""
    audio = higgs.speak("pieces 3 0.5 0", format=format).audio
    opened: Any = soundfile.info(io.BytesIO(audio))
    assert opened.frames / opened.samplerate == pytest.approx(1.5, abs=1e-3)


def test_audio_that_the_platform_kept_no_piece_of(higgs: Higgs, streams: bool) -> None:
    """What was too large to keep is an error that says so, not silence."""
    if not streams:
        pytest.skip("such endpoints refuse it")
    with pytest.raises(HiggsError, match="too large to keep"):
        higgs.speak("pieces 16 15 0", format="pcm")


def test_audio_in_a_bucket(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    """It is fetched from there, by the client and by the guide's JavaScript."""
    with (
        server(tmp_path_factory) as port,
        ControlPlane() as plane,
        Worker(plane, tmp_path, SCRIPTED, **environment(port)),
    ):
        speech = Higgs("ep0", KEY, base_url=f"{plane.url}/v2", timeout_s=60).speak("Hello.")
        assert sha256(speech.audio).hexdigest() == speech.output["audio"]["sha256"]
        assert "base64" not in speech.output["audio"]
        if shutil.which("node"):
            audio = bytes.fromhex(snippet(plane, tmp_path, "js"))
            (_, job) = plane.jobs.values()
            assert sha256(audio).hexdigest() == job.output["audio"]["sha256"]


def test_failures_have_the_worker_s_code(higgs: Higgs, streams: bool) -> None:
    """And its sentence."""
    with pytest.raises(HiggsError, match="did you mean 'temperature'") as caught:
        list(higgs.stream("a", temprature=1)) if streams else higgs.speak("a", temprature=1)
    assert caught.value.code == "invalid_request"


def test_a_listener_who_leaves_cancels(plane: ControlPlane, higgs: Higgs, streams: bool) -> None:
    """And a job that failed by itself is not cancelled on top."""
    if not streams:
        pytest.skip("nothing to leave")
    num_cancelled = plane.num_requests("client-cancel")
    with pytest.raises(HiggsError):
        list(higgs.stream("a", temprature=1))
    assert plane.num_requests("client-cancel") == num_cancelled
    heard = higgs.stream("pieces 50 0.5 0.1", format="pcm")
    next(heard)
    heard.close()
    assert list(plane.jobs.values())[-1].status == "CANCELLED"


def test_what_takes_too_long_is_cancelled(plane: ControlPlane, streams: bool) -> None:
    """Nobody pays for what nobody waits for."""
    if streams:
        pytest.skip("the same code")
    hasty = Higgs("ep0", KEY, base_url=f"{plane.url}/v2", timeout_s=0.3)
    with pytest.raises(HiggsError, match=r"took longer than 0\.3 s"):
        hasty.speak("sleep 30")
    assert list(plane.jobs.values())[-1].status == "CANCELLED"


def test_a_busy_platform_is_asked_again(plane: ControlPlane, higgs: Higgs, streams: bool) -> None:
    """But a job that may have been taken is not sent twice."""
    if streams:
        pytest.skip("the same code")
    plane.fail("client-run", 429)
    plane.fail("client-status", RESET)
    num_jobs = len(plane.jobs)
    assert text_in(higgs.speak("Again.").audio) == "Again."
    assert len(plane.jobs) == num_jobs + 1
    for fault, code in ((401, "401"), (504, "504"), (RESET, "unreachable")):
        plane.fail("client-run", fault)
        num_posts = plane.num_requests("client-run")
        with pytest.raises(HiggsError) as caught:
            higgs.speak("Hello.")
        assert caught.value.code == code
        assert plane.num_requests("client-run") == num_posts + 1
        assert KEY not in repr(caught.value) + repr(higgs)


@pytest.mark.parametrize("kind", RUN)
def test_the_guide_s_snippets(
    plane: ControlPlane, streams: bool, tmp_path: Path, kind: str
) -> None:
    """They give audio."""
    if streams or not shutil.which(RUN[kind][0]):
        pytest.skip(f"needs {RUN[kind][0]} and a worker that answers whole")
    printed = snippet(plane, tmp_path, kind)
    if kind == "bash":
        assert json.loads(printed)["status"] == "COMPLETED"
    else:
        assert soundfile.info(io.BytesIO(bytes.fromhex(printed))).samplerate == 24_000


def test_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to set."""
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    with pytest.raises(HiggsError, match="set RUNPOD_API_KEY"):
        Higgs("ep0")


def test_it_is_one_file_that_needs_nothing(tmp_path: Path) -> None:
    """Copied anywhere, it imports in a bare interpreter."""
    source = ROOT / "higgs_worker" / "client.py"
    shutil.copy(source, tmp_path / "client.py")
    code = "import sys, client; assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules)"
    subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}",
        ],
        check=True,
    )


def snippet(plane: ControlPlane, directory: Path, kind: str) -> str:
    """Run one of the guide's, as it stands but for the address, and return what it prints."""
    guide = (ROOT / "docs" / "runpod-serverless-guide.md").read_text(encoding="utf-8")
    calling = guide.partition("## Call it\n")[2].partition("\n## ")[0]
    (code,) = re.findall(rf"```{kind}\n(.*?)```", calling, re.DOTALL)
    code = code.replace("https://api.runpod.ai/v2", f"{plane.url}/v2")
    code = code.replace('"your-endpoint-id"', f'"ep0", base_url="{plane.url}/v2"')
    program, then = RUN[kind]
    script = directory / ("snippet.mjs" if kind == "js" else "snippet")
    script.write_text(f"{code}\n{then}\n")
    variables = {"ENDPOINT": "ep0", "RUNPOD_API_KEY": KEY, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [program, str(script)],
        env=variables | {"PATH": os.environ["PATH"]},
        cwd=directory,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
