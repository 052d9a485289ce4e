"""The clients, on a stand-in of the platform with a real worker behind it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from higgs_worker.client import Higgs, HiggsError
from tests.control_plane import ControlPlane
from tests.delivery import SCRIPTED, Worker

pytestmark = pytest.mark.slow
KEY = "rpa_thekeyofthecaller"


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
    """The audio, and what the worker tells of it; of a streaming endpoint it comes in pieces."""
    if streams:
        assert len(b"".join(higgs.stream("pieces 3 0.5 0", format="pcm"))) == 3 * 24_000
    else:
        speech = higgs.speak("Hello.")
        assert speech.audio == b"Hello."
        assert speech.output["seed"] == 7


def test_failures_have_the_worker_s_code(higgs: Higgs, streams: bool) -> None:
    """And its sentence."""
    with pytest.raises(HiggsError, match="did you mean 'temperature'") as caught:
        list(higgs.stream("a", temprature=1)) if streams else higgs.speak("a", temprature=1)
    assert caught.value.code == "invalid_request"


def test_what_takes_too_long_is_cancelled(plane: ControlPlane, streams: bool) -> None:
    """Nobody pays for what nobody waits for."""
    if streams:
        pytest.skip("the same code")
    hasty = Higgs("ep0", KEY, base_url=f"{plane.url}/v2", timeout_s=0.3)
    with pytest.raises(HiggsError, match=r"took longer than 0\.3 s"):
        hasty.speak("sleep 30")
    assert list(plane.jobs.values())[-1].status == "CANCELLED"


def test_a_busy_platform_is_asked_again(plane: ControlPlane, higgs: Higgs, streams: bool) -> None:
    """But a job is not sent twice."""
    if streams:
        pytest.skip("the same code")
    plane.fail("client-status", 429)
    num_jobs = len(plane.jobs)
    assert higgs.speak("Again.").audio == b"Again."
    assert len(plane.jobs) == num_jobs + 1
    plane.fail("client-run", 401)
    with pytest.raises(HiggsError) as caught:
        higgs.speak("Hello.")
    assert caught.value.code == "401"
    assert KEY not in repr(caught.value) + repr(higgs)


def test_curl(plane: ControlPlane, streams: bool) -> None:
    """One request, one answer."""
    if streams or not shutil.which("curl"):
        pytest.skip("needs curl and a worker that answers whole")
    done = subprocess.run(
        ["curl", "-sS", f"{plane.url}/v2/ep0/runsync", "-H", f"Authorization: Bearer {KEY}",
         "-H", "Content-Type: application/json", "-d", '{"input": {"text": "Hello."}}'],
        capture_output=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["status"] == "COMPLETED"


def test_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to set."""
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    with pytest.raises(HiggsError, match="set RUNPOD_API_KEY"):
        Higgs("ep0")


def test_it_is_one_file_that_needs_nothing(tmp_path: Path) -> None:
    """Copied anywhere, it imports in a bare interpreter."""
    source = Path(__file__).parents[1] / "higgs_worker" / "client.py"
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
