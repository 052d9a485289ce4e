"""The page's code is run as it stands: what arrives is what the form's request says."""

import base64
import json
import shutil
import subprocess
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from higgs_worker.api.request import SpeechRequest
from tests.fakes.http_worker import decoded
from tests.fakes.library import WAV
from tests.fakes.runpod_api import KEY, RunPod
from tests.fakes.speeches import RATE
from tests.fakes.threaded_server import ThreadedServer
from tests.http.clients.recipes import run_python
from tests.page.page_files import PageFiles

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NASTY = """It's "so" ‘quoted’ «here» `date` $(touch made) ${HOME} $HOME \\ \\\\ \\n \\u0041 %s {x}
second line\r\n\ttabbed \u2028 \u0085 JSON
JSON
'JSON' EOF <!-- </script> <script> ]]> é e\u0301 日本語 עברית 😀 👩\u200d👧 -- ; & | > #{y}
'triple''' \"\"\" !! end\\"""
BODIES: dict[str, dict[str, Any]] = {
    "nothing but a text": {"text": "Good morning."},
    "nasty": {"text": NASTY, "format": "mp3"},
    "nasty everywhere": {
        "text": f"{NASTY} [Anna] Hello.",
        "scene": NASTY,
        "voice": {"description": NASTY},
        "speakers": {"Anna": {"description": NASTY}},
    },
    "a voice's name": {"text": "Hello.", "voice": "O'Brien $(x) \\"},
    "very long": {"text": f"{NASTY} " * 1500},
    "all settings": {
        "text": "Hello. [sihg] So.",
        "scene": None,
        "voice": "clara",
        "language": "de",
        "seed": 2**53 - 1,
        "speed": 1.25,
        "format": "flac",
        "temperature": 0,
        "top_p": 0.5,
        "retries": 0,
        "normalise": False,
        "strict_tags": False,
        "timestamps": "none",
        "max_duration_s": 60,
    },
    "strict tags": {"text": "Hello. [laugh] So.", "format": "opus"},
    "a dialogue": {
        "text": "[Anna] Hello. [Dr O'Neill] [laugh] Yes. [__proto__] No. [toString] So.",
        "speakers": {
            "Anna": "clara",
            "Dr O'Neill": {"description": "An old man."},
            "__proto__": "bram",
            "toString": None,
        },
        "dialogue": "joint",
    },
}
MAX_TEXT_CHARS = 1_000_000
SERVER_KEY = "theKeyOfTheServer"
CALLS = """async ([bodies, origin, hasKey]) => {
    const { calls } = await import("/page/calls.js");
    return bodies.map((body) => calls(JSON.parse(body), { origin, hasKey }));
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreadedServer]:
    """A server with a key."""
    settings = {"HIGGS_API_KEY": SERVER_KEY, "HIGGS_MAX_TEXT_CHARS": str(MAX_TEXT_CHARS)}
    with ThreadedServer(tmp_path_factory.mktemp("server"), **settings) as server:
        yield server


@pytest.fixture(scope="module")
def runpod() -> Iterator[RunPod]:
    """An account with one endpoint, whose jobs all have the same audio."""
    audio = {"format": "wav", "base64": base64.b64encode(WAV).decode()}
    with RunPod() as runpod:
        runpod.resources["serverless"].append({"id": "ENDPOINT_ID", "type": "QUEUE"})
        runpod.statuses = deque([{"status": "COMPLETED", "output": {"audio": audio}}])
        yield runpod


@pytest.fixture(scope="module")
def written(browser: "Browser", files: PageFiles, server: ThreadedServer) -> dict[str, Any]:
    """The code of every body, by its name and by the kind of code."""
    return dict(zip(BODIES, write(browser, files, server.url, has_key=True), strict=True))


@pytest.fixture(params=BODIES)
def name(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a body; both keys are set where its code is run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HIGGS_API_KEY", SERVER_KEY)
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    return str(request.param)


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_curl(written: dict[str, Any], server: ThreadedServer, name: str, shell: str) -> None:
    """A shell runs it as it stands, whatever is in it, and the speech is in a file."""
    run(shell, written[name]["curl"])
    check_saved(server, name)


def test_python(written: dict[str, Any], server: ThreadedServer, name: str) -> None:
    """OpenAI's package sends it, and saves the speech."""
    run_python(written[name]["python"])
    check_saved(server, name)


def test_javascript(written: dict[str, Any], server: ThreadedServer, name: str) -> None:
    """Node runs it, and saves the speech."""
    if not shutil.which("node"):
        pytest.skip("needs node")
    run("node", written[name]["javascript"], "call.mjs")
    check_saved(server, name)


def test_client(written: dict[str, Any], runpod: RunPod, name: str) -> None:
    """The client of this package sends a job, and saves the speech."""
    code = written[name]["client"]
    assert code.count('Higgs("ENDPOINT_ID")') == 1
    base_url = f'Higgs("ENDPOINT_ID", base_url="{runpod.url}")'
    run_python(code.replace('Higgs("ENDPOINT_ID")', base_url))
    (posted,) = (body for method, path, body in runpod.requests if path.endswith("/run"))
    runpod.requests.clear()
    assert sent(posted["input"]) == sent(BODIES[name])
    assert saved(name).read_bytes() == WAV


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_job(written: dict[str, Any], runpod: RunPod, name: str, shell: str) -> None:
    """A shell runs it as it stands, and prints the job's output."""
    code = written[name]["job"].replace("https://api.runpod.ai/v2", runpod.url)
    printed = run(shell, code)
    assert json.loads(printed)["status"] == "COMPLETED"
    ((method, path, posted),) = runpod.requests
    runpod.requests.clear()
    assert (method, path) == ("POST", "/ENDPOINT_ID/runsync")
    assert sent(posted["input"]) == sent(BODIES[name])
    assert not list(Path().iterdir())


def test_without_a_key(
    browser: "Browser", files: PageFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code of a server without one names none, and works."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HIGGS_API_KEY", raising=False)
    with ThreadedServer(tmp_path / "volume") as server:
        code = write(browser, files, f"{server.url}/", has_key=False)[0]
        run("sh", code["curl"])
        run_python(code["python"])
        if shutil.which("node"):
            run("node", code["javascript"], "call.mjs")
        # The first one is the server's own.
        for request in server.service.requests[1:]:
            assert plain(request) == sent(BODIES["nothing but a text"])
    assert not any("HIGGS_API_KEY" in each for each in code.values())


def test_it_reads_as_if_written_by_hand(written: dict[str, Any]) -> None:
    """One field a line; what is the default, or does nothing, is left out."""
    assert (
        written["strict tags"]["curl"].partition("--data")[2]
        == """ @- <<'JSON'
{
  "input": "Hello. [laugh] So.",
  "response_format": "opus",
  "strict_tags": true
}
JSON
"""
    )
    assert (
        written["nothing but a text"]["client"].partition("speech =")[2]
        == """ higgs.speak(
    "Good morning.",
)
Path("speech.wav").write_bytes(speech.audio)
"""
    )
    assert "response_format" not in written["nasty"]["curl"]  # mp3
    for code in (each for name in BODIES if name != "very long" for each in written[name].values()):
        assert all(line == line.rstrip() for line in code.split("\n")), code


def test_an_address_may_have_a_path(browser: "Browser", files: PageFiles) -> None:
    """A proxy may put one before the page, and it may hold anything."""
    code = write(browser, files, "https://a.example/it's/$x", has_key=False)[0]
    assert """ 'https://a.example/it'\\''s/$x/v1/audio/speech' """ in code["curl"]
    assert 'base_url="https://a.example/it\'s/$x/v1"' in code["python"]
    assert 'fetch("https://a.example/it\'s/$x/v1/audio/speech"' in code["javascript"]


def test_javascript_may_stand_in_a_page(written: dict[str, Any]) -> None:
    """Nothing in a text ends the script element around the code."""
    for code in written.values():
        assert "</" not in code["javascript"]
        assert "<!--" not in code["javascript"]


def write(browser: "Browser", files: PageFiles, origin: str, *, has_key: bool) -> Any:
    """Return the code of all bodies, by its kind."""
    page = browser.new_page()
    page.goto(files.url)
    # As text: names such as __proto__ would be lost on the way.
    code = page.evaluate(CALLS, [[json.dumps(each) for each in BODIES.values()], origin, has_key])
    page.close()
    return code


def run(program: str, code: str, file: str = "call") -> str:
    """Run code from a file, in this directory, and return what it prints."""
    script = Path(file)
    script.write_text(code, encoding="utf-8")
    command = [program, file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    script.unlink()
    assert done.returncode == 0, done.stderr
    return done.stdout


def saved(name: str) -> Path:
    """Return the one new file of this directory, which has the format's ending."""
    (file,) = Path().iterdir()
    assert file.name == f"speech.{BODIES[name].get('format', 'wav')}"
    return file


def check_saved(server: ThreadedServer, name: str) -> None:
    """Check that the server got the form's request, and that its speech is there."""
    request = server.service.requests.pop()
    assert plain(request) == sent(BODIES[name])
    assert len(decoded(saved(name).read_bytes())) == pytest.approx(RATE / request.speed, rel=0.1)


def sent(body: Any) -> dict[str, Any]:
    """Return what a job with this input asks for."""
    return plain(SpeechRequest.parse(body, max_text_chars=MAX_TEXT_CHARS))


def plain(request: SpeechRequest) -> dict[str, Any]:
    """Return a request without what does nothing."""
    fields = {name: getattr(request, name) for name in SpeechRequest.model_fields}
    if "[" not in request.text:
        del fields["strict_tags"]
    return fields
