"""The image, really built and run: `make image-test`, a few minutes the first time.

IMAGE names one that is there already; without it, the image is built from this tree, with what is
planted in it that must not get in. Workers install the CPU build of torch, from the folder that
PIP_FIND_LINKS names or from torch's own index.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.containers import Containers

ROOT = Path(__file__).parents[1]
CANARY = f"canary-{uuid.uuid4().hex}"
WHEELS = os.environ.get("PIP_FIND_LINKS") or None
MEBIBYTE = 1 << 20

FORBIDDEN = re.compile(
    r"""(^|/)(\.cache/.|\.git/|\.env$|\.netrc$|\.venv/|id_rsa|id_ed25519|pip\.conf$|tests/conftest)
    |^var/lib/apt/lists/.*_|^var/cache/apt/.*\.(deb|bin)$|^tmp/.|^root/\.(ssh|aws|config)/
    |(?<!/demo/model/model)(?<!/demo/codec/model)\.safetensors$""",
    re.VERBOSE,
)

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif("IMAGE_TEST" not in os.environ, reason="`make image-test` runs it"),
]


@pytest.fixture(scope="session")
def containers() -> Containers:
    """Return the engine of this machine."""
    found = Containers.find()
    if found is None:
        pytest.skip("needs docker, or root with buildah, podman, runc and debootstrap")
    return found


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the tree, and plant in it what must not enter an image."""
    context = tmp_path_factory.mktemp("context")
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, context / name)
    for name in [
        ".env",
        ".netrc",
        ".git/config",
        "higgs_worker/.env",
        "model.safetensors",
        "a.key",
    ]:
        (context / name).parent.mkdir(exist_ok=True)
        (context / name).write_text(CANARY)
    return context


@pytest.fixture(scope="session")
def thin(containers: Containers, context: Path) -> str:
    """Return the name of the thin image."""
    if given := os.environ.get("IMAGE"):
        return given
    containers.build(context, "thin", "localhost/higgs-worker:thin-test")
    return "localhost/higgs-worker:thin-test"


@pytest.fixture(scope="session")
def baked(containers: Containers, context: Path) -> str:
    """Return the name of the image with the environment inside."""
    if containers.base_image is None or WHEELS is None:
        pytest.skip("needs buildah, and PIP_FIND_LINKS with a CPU build of torch, to spare 7 GB")
    containers.build(context, "baked", "localhost/higgs-worker:baked-test", WHEELS)
    return "localhost/higgs-worker:baked-test"


def online(*volumes: str) -> tuple[str, ...]:
    """Return the options of a container that may install."""
    options = ("--network=host", "--env", "HIGGS_MODEL=demo", *volumes)
    if WHEELS is None:
        return (*options, "--env", "UV_TORCH_BACKEND=cpu")
    if Path(WHEELS).is_dir():
        return (*options, "--volume", f"{WHEELS}:/wheels:ro", "--env", "PIP_FIND_LINKS=/wheels")
    return (*options, "--env", f"PIP_FIND_LINKS={WHEELS}")


def offline(*more: str) -> tuple[str, ...]:
    """Return the options of a container that has all it needs."""
    return ("--network=none", "--env", "HIGGS_MODEL=demo", *more)


@pytest.fixture(scope="session")
def volume(
    containers: Containers, thin: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, str, str]:
    """Return the options that mount a volume on which a first worker has installed; its output."""
    directory = tmp_path_factory.mktemp("volume")
    directory.chmod(0o755)  # as a network volume is
    mount = ("--volume", f"{directory}:/runpod-volume")
    code, output = containers.run(thin, options=online(*mount))
    assert code == 0, output[-4000:]
    return (*mount, output)


@pytest.fixture
def note(capsys: pytest.CaptureFixture[str]) -> Iterator[list[str]]:
    """Print what was measured."""
    lines: list[str] = []
    yield lines
    with capsys.disabled():
        sys.stdout.write("".join(f"\n{line}" for line in lines))


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def curl(*words: str) -> bytes:
    """Ask by curl, as a caller does; return what it printed, whether it was answered or not."""
    return subprocess.run(["curl", "--silent", *words], capture_output=True).stdout


def answered(output: str) -> bool:
    """Tell whether the job of test_input.json came back with sound; its result is not printed."""
    done = "Job local_test completed successfully." in output
    return done and re.search(r'"message": "spoke".*"duration_s": [1-9]', output) is not None


def wait_for(containers: Containers, name: str, words: str) -> None:
    """Return once a container has printed these words."""
    until = time.monotonic() + 120
    while words not in (output := containers.logs(name)):
        assert time.monotonic() < until, output[-4000:]
        time.sleep(0.1)


def test_the_image_is_thin(containers: Containers, thin: str, note: list[str]) -> None:
    """The image has less than 300 MB: no CUDA, no torch, no weights."""
    size = containers.inspect(thin)["Size"]
    assert isinstance(size, int)
    note.append(f"thin image: {size / MEBIBYTE:.0f} MiB")
    assert size < 300e6


def test_no_layer_holds_secrets_caches_or_weights(
    containers: Containers, thin: str, tmp_path: Path
) -> None:
    """No layer has a file that the image does not need, not even one that a later layer hides."""
    layers = containers.save(thin, tmp_path)
    names = []
    for name, data in layers.files():
        names.append(name)
        assert CANARY.encode() not in data, name
    assert "app/handler.py" in names
    assert [name for name in names if FORBIDDEN.search(name)] == []
    assert CANARY not in layers.config()
    assert not re.search(r"(TOKEN|SECRET|PASSWORD|API_KEY|ACCESS_KEY)\w*=", layers.config())


def test_the_first_start_installs_and_answers(volume: tuple[str, str, str]) -> None:
    """On an empty volume of root's, the thin image installs and runs the job as its own user."""
    _, mount, output = volume
    assert "installing the environment" in output
    assert answered(output)
    directory = Path(mount.partition(":")[0])
    assert {path.stat().st_uid for path in directory.iterdir()} == {10001}


def test_later_starts_need_nothing_but_the_volume(
    containers: Containers, thin: str, volume: tuple[str, str, str], note: list[str]
) -> None:
    """The second worker answers without network, on a read-only root, within 4 GiB."""
    options = offline("--read-only", "--memory=4g", *volume[:2])
    began = time.monotonic()
    code, output = containers.run(thin, options=options)
    note.append(f"second start, container to answer: {time.monotonic() - began:.1f} s")
    assert code == 0, output[-4000:]
    assert "installing" not in output
    assert answered(output)


@pytest.fixture(scope="session")
def triton(
    containers: Containers, thin: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, ...]:
    """Return the options of a container that has triton, which torch's CUDA build would bring.

    A stand-in of the driver's library is there too, and what calls triton as a worker does.
    """
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs gcc, for a stand-in of the driver's library")
    base = tmp_path_factory.mktemp("triton")
    base.chmod(0o755)
    words = ("-shared", "-nostdlib", "-Wl,-soname,libcuda.so.1", "-o", base / "libcuda.so.1")
    subprocess.run([compiler, *words, ROOT / "tests/fakes/cuda_driver.c"], check=True)
    lock = (ROOT / "requirements.lock").read_text()
    (base / "triton.lock").write_text(re.findall(r"^triton==(?:.*\\\n)*.*", lock, re.M)[0])
    (base / "tests/fakes").mkdir(parents=True)
    for name in ("kernels.py", "kernel_start.py"):
        shutil.copy(ROOT / "tests/fakes" / name, base / "tests/fakes")
    mount = ("--volume", f"{base}:/triton")
    install = "pip install -q --python python3 --target /triton --no-deps -r /triton/triton.lock"
    options = ("--network=host", "--entrypoint", "uv", "--env", "UV_NO_CACHE=1", *mount)
    code, output = containers.run(thin, *install.split(), options=options)
    assert code == 0, output[-4000:]
    paths = ("PYTHONPATH=/app:/triton", "TRITON_LIBCUDA_PATH=/triton", "LD_LIBRARY_PATH=/triton")
    return (f"{mount[0]}={mount[1]}:ro", *(f"--env={each}" for each in paths))


def test_kernels_need_no_compiler_and_are_compiled_once(
    containers: Containers,
    thin: str,
    triton: tuple[str, ...],
    volume: tuple[str, str, str],
    note: list[str],
) -> None:
    """triton calls the driver by the image's module; the second worker finds the first's kernel."""
    for mount, is_found in [(volume[1], False), (volume[1], True), (f"{volume[1]}:ro", True)]:
        options = ("--read-only", "--network=none", "--user=10001:10001", "--entrypoint=python3")
        words = ("-m", "tests.fakes.kernel_start", "/runpod-volume/kernels")
        code, output = containers.run(thin, *words, options=(*options, *triton, volume[0], mount))
        assert code == 0, output[-4000:]
        note.append(f"kernel: {output}")
        answer = json.loads(output)
        assert answer["compilers"] == []
        assert answer["found"] == is_found
        assert answer["machine_code_bytes"] > 0
        assert answer["max_shared_mem"] == 97  # what the stand-in says of this attribute


def test_too_little_memory_is_named(
    containers: Containers, thin: str, volume: tuple[str, str, str]
) -> None:
    """Under a limit that is too low, the job fails with a sentence; the container is not killed."""
    slots = ("--env", "HIGGS_MAX_SLOTS=64", "--env", "HIGGS_MAX_LENGTH=8192")
    code, output = containers.run(thin, options=offline("--memory=1g", *slots, *volume[:2]))
    assert code == 1, output[-4000:]
    assert "of memory are free" in output


def test_a_volume_may_be_read_only(
    containers: Containers, thin: str, volume: tuple[str, str, str]
) -> None:
    """A worker that may write nowhere says so and answers."""
    options = offline("--read-only", volume[0], f"{volume[1]}:ro")
    code, output = containers.run(thin, options=options)
    assert code == 0, output[-4000:]
    assert "nothing can be kept there" in output
    assert answered(output)


def test_term_is_answered(
    containers: Containers, thin: str, volume: tuple[str, str, str], note: list[str]
) -> None:
    """TERM reaches the handler through the container's first process."""
    name = f"term-{uuid.uuid4().hex}"
    containers.start(name, thin, "--rp_serve_api", options=offline(*volume[:2]))
    try:
        wait_for(containers, name, "Uvicorn running")
        began = time.monotonic()
        containers.signal(name, "TERM")
        code = containers.wait(name)
        note.append(f"TERM to the end while serving: {time.monotonic() - began:.1f} s")
        assert time.monotonic() - began < 10
        assert code in (0, 143), containers.logs(name)
    finally:
        containers.remove(name)


def test_http_is_answered_from_the_first_second_to_the_last(
    containers: Containers, thin: str, volume: tuple[str, str, str], note: list[str]
) -> None:
    """HIGGS_SERVE=http: 204, then 200, then speech by curl; TERM ends it with 0."""
    name, port = f"http-{uuid.uuid4().hex}", free_port()
    serve = ("--env", "HIGGS_SERVE=http", "--env", f"PORT={port}")
    options = ("--network=host", "--env", "HIGGS_MODEL=demo", "--read-only", *serve, *volume[:2])
    url, statuses = f"http://127.0.0.1:{port}", [0]
    began = time.monotonic()
    containers.start(name, thin, options=options)
    try:
        while statuses[-1] != 200:
            assert time.monotonic() - began < 120, containers.logs(name)[-4000:]
            found = curl("--output", "/dev/null", "--write-out", "%{http_code}", f"{url}/ping")
            if (status := int(found)) != statuses[-1]:
                statuses.append(status)
                note.append(f"/ping says {status}: {time.monotonic() - began:.1f} s")
            time.sleep(0.05)
        assert statuses == [0, 204, 200]
        body = json.dumps({"input": "Good morning to you.", "response_format": "wav"})
        wav = curl("--json", body, f"{url}/v1/audio/speech")
        assert wav[:4] == b"RIFF"
        assert len(wav) > 24_000  # half a second
        containers.signal(name, "TERM")
        assert containers.wait(name) == 0, containers.logs(name)[-4000:]
    finally:
        containers.remove(name)


def test_workers_that_die_leave_no_half_environment(
    containers: Containers, thin: str, tmp_path: Path, note: list[str]
) -> None:
    """One worker is ended by TERM, one killed while installing; of two more, one installs."""
    tmp_path.chmod(0o755)
    mount = ("--volume", f"{tmp_path}:/runpod-volume", "--env", "BOOTSTRAP_STALE_S=20")
    names = [f"{each}-{uuid.uuid4().hex}" for each in ("term", "kill", "first", "second")]
    term, kill, first, second = names
    environments = tmp_path / "environments"
    try:
        containers.start(term, thin, options=online(*mount))
        wait_for(containers, term, "Resolved")
        began = time.monotonic()
        containers.signal(term, "TERM")
        assert containers.wait(term) == 143
        note.append(f"TERM to the end while installing: {time.monotonic() - began:.1f} s")
        assert time.monotonic() - began < 5
        assert list(environments.iterdir()) == []

        containers.start(kill, thin, options=online(*mount))
        wait_for(containers, kill, "Resolved")
        containers.signal(kill, "KILL")
        containers.wait(kill)
        assert len(list(environments.iterdir())) == 2

        for name in (first, second):
            containers.start(name, thin, options=online(*mount))
        codes = [containers.wait(name) for name in (first, second)]
        outputs = [containers.logs(name) for name in (first, second)]
        assert codes == [0, 0], [output[-300:] for output in outputs]
        assert all(map(answered, outputs))
        assert "".join(outputs).count("installing the environment") == 1
        assert len(list(environments.iterdir())) == 1
    finally:
        for name in names:
            containers.remove(name)


def test_without_a_volume_the_disk_serves(containers: Containers, thin: str) -> None:
    """Without a volume a worker installs into its own home and answers, as its own user."""
    code, output = containers.run(thin, options=online())
    assert code == 0, output[-4000:]
    assert "/home/higgs/.cache/higgs/environments" in output
    assert answered(output)


def test_a_full_volume_is_named(containers: Containers, thin: str) -> None:
    """Without room for the environment, one sentence says so."""
    code, output = containers.run(thin, options=online("--tmpfs", "/runpod-volume:size=64m"))
    assert code == 1, output[-4000:]
    assert "error: /runpod-volume/environments is full" in output


def test_nowhere_to_install_is_named(containers: Containers, thin: str) -> None:
    """On a read-only root without a volume, the thin image says what it needs."""
    code, output = containers.run(thin, options=offline("--read-only", "--user=12345:12345"))
    assert code == 1, output[-4000:]
    assert "cannot be written by user 12345" in output


@pytest.mark.parametrize(
    "options",
    [
        ("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges"),
        ("--read-only", "--user=12345:12345"),
        ("--memory=4g",),
    ],
    ids=["root without rights", "any user", "memory limit"],
)
def test_the_baked_image_installs_nothing(
    containers: Containers, baked: str, options: tuple[str, ...]
) -> None:
    """With the environment inside, a worker answers from a read-only root, as any user."""
    code, output = containers.run(baked, options=offline(*options))
    assert code == 0, output[-4000:]
    assert "installing" not in output
    assert answered(output)
