"""bootstrap.sh, the real script, over a tiny project with one wheel made here: no network."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.bare_machine import UV, Machine, finish
from tests.fakes.package_index import hash_of, make_wheel

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the worker runs on Linux"),
    pytest.mark.skipif(UV is None, reason="needs uv, which `make test` installs"),
]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Return a machine without an environment."""
    machine = Machine(tmp_path)
    yield machine
    machine.close()


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install once for all who are about something else."""
    return Machine(tmp_path_factory.mktemp("installed")).install()


def age(path: Path, minutes: float) -> None:
    """Let a path look as if it was last touched so long ago."""
    then = time.time() - 60 * minutes
    os.utime(path, (then, then))


def test_first_start_installs_and_later_ones_do_not(machine: Machine) -> None:
    """The first worker installs the locked versions; the next starts without an installer."""
    code, output = machine.run("--rp_log_level", "ERROR")
    assert code == 0, output
    assert "installing the environment" in output
    [name] = machine.names()
    assert f"handler {machine.environments / name}" in output
    assert output.rstrip().endswith("--rp_log_level ERROR")

    machine.no_uv()
    code, output = machine.run()
    assert code == 0, output
    assert "installing" not in output
    assert machine.names() == [name]


def test_the_handler_is_the_process_that_was_started(machine: Machine, environments: Path) -> None:
    """It replaces the script, so that signals reach it, and is told when that began."""
    machine.has_installed(environments)
    before = int(time.time())
    process = machine.start()
    _, output = finish(process)
    pid, started_at = output.splitlines()[-1].split()[2:]
    assert int(pid) == process.pid
    assert before <= int(started_at) <= time.time()


@pytest.mark.slow
def test_two_at_once_install_once(machine: Machine) -> None:
    """Two workers on an empty volume: one installs, the other waits, both start."""
    machine.program("uv", f'sleep 0.3; exec "{UV}" "$@"')
    outputs = [finish(process) for process in [machine.start(), machine.start()]]
    assert [code for code, _ in outputs] == [0, 0], outputs
    both = "".join(output for _, output in outputs)
    assert both.count("installing the environment") == 1
    assert "waiting for the worker that installs" in both
    assert len(machine.names()) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_during_the_install_leaves_nothing(
    machine: Machine, number: signal.Signals, code: int
) -> None:
    """TERM or INT while installing ends the worker within a second; nothing half done stays."""
    machine.slow_uv()
    process = machine.start()
    machine.wait_for_install()
    began = time.monotonic()
    process.send_signal(number)
    returned, output = finish(process)
    assert returned == code, output
    assert time.monotonic() - began < 2
    assert machine.names() == []


@pytest.mark.slow
def test_after_a_kill_another_worker_takes_over(machine: Machine) -> None:
    """What a killed install leaves is neither taken for an environment nor waited for for ever."""
    machine.environment["BOOTSTRAP_STALE_S"] = "1"
    machine.slow_uv()
    process = machine.start()
    machine.wait_for_install()
    machine.kill(process)
    assert len(machine.names()) == 2  # the lock and the half environment

    machine.real_uv()
    code, output = machine.run()
    assert code == 0, output
    assert "taking over" in output
    assert "handler" in output
    assert len(machine.names()) == 1


@pytest.mark.slow
def test_a_frozen_worker_blocks_nobody_and_recovers(machine: Machine) -> None:
    """A stopped holder loses the lock; woken, it uses what the other has built."""
    machine.environment["BOOTSTRAP_STALE_S"] = "1"
    machine.slow_uv()
    frozen = machine.start()
    machine.wait_for_install()
    os.killpg(frozen.pid, signal.SIGSTOP)
    machine.real_uv()
    code, output = machine.run()
    assert code == 0, output
    assert "taking over" in output

    os.killpg(frozen.pid, signal.SIGCONT)
    code, output = finish(frozen)
    assert code == 0, output
    assert "another took over" in output
    assert "handler" in output
    assert len(machine.names()) == 1


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (".complete", None),
        ("bin/python", None),
        ("pyvenv.cfg", "include-system-site-packages = true\n"),
        ("lib/site/tiny.py", None),
        ("lib/site/tiny.py", "print('not what was installed')\n"),
        ("lib/site/tiny_library.so", "cut"),
        ("lib/site/tiny-1.0.dist-info/RECORD", ""),
        ("lib/site/late.pth", "import sys; print('not what was installed')\n"),
        ("lib/site/late/__init__.py", ""),
    ],
)
def test_an_environment_that_is_not_what_was_installed_is_built_again(
    machine: Machine, environments: Path, path: str, content: str | None
) -> None:
    """What is missing, changed or new there is found before any of it runs; it is replaced."""
    machine.has_installed(environments)
    [name] = machine.names()
    environment = machine.environments / name
    [site] = environment.glob("lib/python3*/site-packages")
    changed = environment / path.replace("lib/site", str(site))
    if content is None:
        changed.unlink()
    else:
        changed.parent.mkdir(exist_ok=True)
        changed.write_text(content)
    code, output = machine.run()
    assert code == 0, output
    assert f"{name}, which is not what was installed" in output
    assert "not what was installed\n" not in output
    assert machine.names() == [name]


def test_what_a_volume_lost_is_noticed(machine: Machine) -> None:
    """A file that does not have its recorded size fails the install; nothing of it stays."""
    machine.program(
        "uv",
        f'"{UV}" "$@" || exit\n'
        '[ "$2" != install ] || truncate -s 3 "${4%/bin/python}"/lib/*/site-packages/tiny.py',
    )
    code, output = machine.run()
    assert code == 1, output
    assert "1 of" in output
    assert "tiny.py" in output
    assert machine.names() == []


def test_an_install_that_fails_says_what_to_do(machine: Machine) -> None:
    """A version that cannot be had ends the start with the installer's words and ours."""
    machine.lock_versions("tiny==2.0\n")
    code, output = machine.run()
    assert code == 1
    assert "tiny" in output
    assert "the lines above say why" in output
    assert "handler" not in output
    assert machine.names() == []


def test_a_wheel_that_was_changed_is_refused(machine: Machine) -> None:
    """A wheel with other bytes than the locked ones is not installed."""
    wheels = machine.base / "wheels"
    machine.lock_versions(f"tiny==1.0 --hash={hash_of(make_wheel(wheels))}\n")
    assert machine.run()[0] == 0
    shutil.rmtree(machine.volume)
    make_wheel(wheels, padding=b"changed")
    code, output = machine.run()
    assert code == 1, output
    assert "Hash mismatch for `tiny==1.0`" in output
    assert machine.names() == []


@pytest.mark.slow
def test_other_versions_are_another_environment(machine: Machine, environments: Path) -> None:
    """A new lock file or a new dependency gives a new environment; the old one is kept in use."""
    machine.has_installed(environments)
    make_wheel(machine.base / "wheels", "2.0")
    machine.lock_versions("tiny==2.0\n")
    assert machine.run()[0] == 0
    assert len(machine.names()) == 2
    project = machine.app / "pyproject.toml"
    project.write_text(project.read_text().replace('"tiny"', '"tiny>=1"'))
    assert machine.run()[0] == 0
    assert len(machine.names()) == 3
    project.write_text(project.read_text() + 'description = "no matter"\n')
    machine.no_uv()
    assert machine.run()[0] == 0


def test_old_environments_and_leftovers_are_swept(machine: Machine, environments: Path) -> None:
    """What nobody has started for two days goes, and what dead workers left; the rest stays."""
    machine.has_installed(environments)
    [ours] = machine.names()
    for name, minutes in [("old", 3000), ("new", 2000)]:
        (machine.environments / name).mkdir()
        (machine.environments / name / ".complete").touch()
        age(machine.environments / name / ".complete", minutes)
    for name, minutes in [(".new.old", 70), (".new.fresh", 1), ("old.lock", 70), (".gone.x", 70)]:
        (machine.environments / name).mkdir()
        age(machine.environments / name, minutes)
    age(machine.environments / ours / ".complete", 3000)
    assert machine.run()[0] == 0
    assert machine.names() == sorted([".new.fresh", "new", ours])


def test_a_baked_environment_is_used_and_nothing_installed(machine: Machine) -> None:
    """With the environment beside the script, the volume is not even needed."""
    code, output = machine.run("install", str(machine.app / "environments"))
    assert code == 0, output
    assert "handler" not in output
    machine.no_uv()
    machine.environment["HIGGS_VOLUME"] = "/proc/nowhere"
    code, output = machine.run()
    assert code == 0, output
    assert f"handler {machine.app / 'environments'}" in output
    assert "nothing can be kept there" in output


def test_without_a_volume_the_disk_serves(machine: Machine) -> None:
    """Without a volume, the environment is in the user's cache directory."""
    del machine.environment["HIGGS_VOLUME"]
    if Path("/runpod-volume").is_dir():
        pytest.skip("this machine has /runpod-volume")
    code, output = machine.run()
    assert code == 0, output
    assert f"handler {machine.base}/home/.cache/higgs/environments/" in output


def test_a_volume_that_cannot_be_written_is_named(machine: Machine) -> None:
    """A volume that refuses gives one sentence with the ways out."""
    machine.environment["HIGGS_VOLUME"] = "/proc/nowhere"
    code, output = machine.run()
    assert code == 1
    assert "/proc/nowhere/environments cannot be written by user" in output
    assert "HIGGS_VOLUME" in output


def test_a_full_volume_is_named(machine: Machine) -> None:
    """A volume without room gives one sentence, and what was written is removed."""
    machine.volume.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=9m", "tmpfs", machine.volume], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        make_wheel(machine.base / "wheels", padding=os.urandom(20_000_000))
        code, output = machine.run()
        names = machine.names()
    finally:
        subprocess.run(["umount", machine.volume], check=True)
    assert code == 1, output
    assert "No space left" in output
    assert f"{machine.environments} is full" in output
    assert names == []


def test_a_missing_installer_is_named(machine: Machine) -> None:
    """Without uv the start says where it comes from."""
    (machine.programs / "uv").unlink()
    code, output = machine.run()
    assert code == 1
    assert "uv is missing" in output


@pytest.mark.parametrize(
    ("device", "smi", "code", "words"),
    [
        ("auto", None, 0, "no GPU here"),
        ("cuda:0", None, 1, "give the endpoint a GPU"),
        ("auto", "echo 'No devices were found'; exit 6", 1, "nvidia-smi fails (No devices"),
        ("auto", "echo '| Driver Version: 550.54 CUDA Version: 12.4 |'", 1, "offers CUDA 12.4"),
        ("auto", "echo '| Driver Version: 580.65 CUDA Version: 13.0 |'", 0, "GPU: | Driver"),
        ("cpu", "exit 1", 0, "handler"),
    ],
)
def test_gpu_and_driver_are_checked(
    machine: Machine, environments: Path, device: str, smi: str | None, code: int, words: str
) -> None:
    """No GPU, a broken one and a driver that is too old are told apart, before anything else."""
    machine.has_installed(environments)
    machine.environment["HIGGS_DEVICE"] = device
    if smi is not None:
        machine.program("nvidia-smi", smi)
    elif shutil.which("nvidia-smi", path=machine.environment["PATH"]):
        pytest.skip("this machine has a GPU")
    returned, output = machine.run()
    assert returned == code, output
    assert words in output
    assert ("environment: " in output) == (code == 0)


def test_any_command_can_be_run(machine: Machine, environments: Path) -> None:
    """Words that are no option are a command of higgs-worker, run in the same environment."""
    machine.has_installed(environments)
    code, output = machine.run("doctor", "--json")
    assert code == 0, output
    assert output.splitlines()[-1] == "command doctor --json"
