"""The clients, on a stand-in of the platform with a real worker behind it."""

import json
import os
import re
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
ROOT = Path(__file__).parents[1]
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


@pytest.mark.parametrize(
    ("kind", "program", "then"),
    [
        ("bash", "bash", ""),
        ("python", sys.executable, "print(speech.audio)"),
        ("js", "node", "console.log(audio.toString());"),
    ],
)
def test_the_guide_s_snippets(
    plane: ControlPlane, streams: bool, tmp_path: Path, kind: str, program: str, then: str
) -> None:
    """As they stand, but for the address and the endpoint."""
    if streams or not shutil.which(program):
        pytest.skip(f"needs {program} and a worker that answers whole")
    guide = (ROOT / "docs" / "runpod-serverless-guide.md").read_text(encoding="utf-8")
    calling = guide.partition("## Call it")[2]
    (code,) = re.findall(rf"```{kind}\n(.*?)```", calling.partition("## Where")[0], re.DOTALL)
    code = code.replace("https://api.runpod.ai/v2", f"{plane.url}/v2")
    code = code.replace('"your-endpoint-id"', f'"ep0", base_url="{plane.url}/v2"')
    script = tmp_path / ("snippet.mjs" if kind == "js" else "snippet")
    script.write_text(f"{code}\n{then}\n")
    environment = {"ENDPOINT": "ep0", "RUNPOD_API_KEY": KEY, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [program, str(script)],
        env=environment | {"PATH": os.environ["PATH"]},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    if kind == "bash":
        assert json.loads(done.stdout)["status"] == "COMPLETED"
    else:
        assert "Hello." in done.stdout or "The sun rises." in done.stdout


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
