"""A bare machine for bootstrap.sh: an application of one file, one wheel, programs on the path.

The script and uv are the real ones; what is installed is made here, so that nothing is downloaded.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.package_index import make_wheel

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "bootstrap.sh"
OWN_FILES = (
    "__init__.py",
    "errors.py",
    "http/__init__.py",
    "http/early_ping.py",
    "http/listening.py",
)
"""What the script, and a server that takes over from it, need of the real package."""
UV = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
PATIENCE_S = 30

PROJECT = """
[project]
name = "application"
version = "1.0"
dependencies = ["tiny"]
"""
HANDLER = """
import os, sys
import tiny
started_at = os.environ["HIGGS_STARTED_AT"]
print("handler", tiny.__file__, os.getpid(), started_at, *sys.argv[1:], flush=True)
"""
COMMAND = """
import os, select, sys
print("command", *sys.argv[1:], flush=True)
if sys.argv[1] == "serve":
    from higgs_worker.http.listening import listen
    port, early_ping = int(os.environ["PORT_HEALTH"]), int(os.environ["HIGGS_EARLY_PING"])
    [listener] = listen(os.environ["HIGGS_HOST"], [port], early_ping)
    print("listens on", *listener.getsockname(), flush=True)
    while True:
        select.select([listener], [], [])
        try:
            connection, _ = listener.accept()
        except BlockingIOError:  # answered by who has answered until now
            continue
        connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n")
        break
"""


@dataclass
class Machine:
    """A place to start workers in: the application, a volume, programs on the path."""

    base: Path
    environment: dict[str, str] = field(default_factory=dict)
    started: list["subprocess.Popen[str]"] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.app.mkdir()
        self.programs.mkdir()
        shutil.copy(SCRIPT, self.app)
        self.lock_versions("tiny==1.0\ncuda-toolkit==13.0.3.0 ; sys_platform == 'never'\n")
        (self.app / "pyproject.toml").write_text(PROJECT)
        (self.app / "handler.py").write_text(HANDLER)
        (self.app / "higgs_worker" / "http").mkdir(parents=True)
        for name in OWN_FILES:
            shutil.copy(ROOT / "higgs_worker" / name, self.app / "higgs_worker" / name)
        (self.app / "higgs_worker" / "__main__.py").write_text(COMMAND)
        make_wheel(self.base / "wheels")
        assert UV is not None
        os.symlink(UV, self.programs / "uv")
        os.symlink(sys.executable, self.programs / "python3")
        self.environment |= {
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "HOME": str(self.base / "home"),
            "HIGGS_VOLUME": str(self.volume),
            "HIGGS_DEVICE": "cpu",
            "PIP_FIND_LINKS": str(self.base / "wheels"),
            "UV_OFFLINE": "1",
        }

    @property
    def app(self) -> Path:
        """Where the script is."""
        return self.base / "app"

    @property
    def programs(self) -> Path:
        """The first directory of the path."""
        return self.base / "programs"

    @property
    def volume(self) -> Path:
        """What HIGGS_VOLUME says."""
        return self.base / "volume"

    @property
    def environments(self) -> Path:
        """Where environments are on the volume."""
        return self.volume / "environments"

    def lock_versions(self, text: str) -> None:
        """Write the lock file."""
        (self.app / "requirements.lock").write_text(text)

    def program(self, name: str, script: str) -> None:
        """Put a program onto the path, in place of the one of that name."""
        path = self.programs / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def slow_uv(self) -> None:
        """Let an install last until its directory is taken away, or a signal ends it."""
        self.program(
            "uv",
            f'echo here >>"{self.base}/at-work"\n'
            'while [ -d "${UV_CACHE_DIR%/cache}" ]; do sleep 0.1; done; exit 1',
        )

    def no_uv(self) -> None:
        """Let any use of uv fail the start."""
        self.program("uv", "echo uv was called; exit 9")

    def real_uv(self) -> None:
        """Put uv back."""
        self.program("uv", f'exec "{UV}" "$@"')

    def install(self) -> Path:
        """Install an environment, and return where environments are."""
        code, output = self.run("install", str(self.environments))
        assert code == 0, output
        return self.environments

    def has_installed(self, environments: Path) -> None:
        """Put environments that another machine has installed onto the volume."""
        shutil.copytree(environments, self.environments, symlinks=True)

    def quick_uv(self, environments: Path) -> None:
        """Let uv copy what another machine has installed: a tenth of a second instead of one."""
        [installed] = environments.iterdir()
        self.program(
            "uv",
            f'[ "$1" != venv ] || for last; do :; done\n'
            f'[ "$1" != venv ] || {{ cp -a "{installed}" "$last" && rm "$last/.complete"; }}',
        )

    def hold(self, name: str, condition: str) -> None:
        """Let a program wait for `release` in the workers that are started as held by it.

        Args:
            name: of the program.
            condition: of a shell, on the arguments of the calls that wait.
        """
        real, at = self.programs / f"{name}.real", self.base / name
        if (self.programs / name).exists():
            (self.programs / name).rename(real)
        else:
            os.symlink(shutil.which(name, path="/usr/bin:/bin") or "", real)
        self.program(
            name,
            f'case " ${{HELD:-}} " in *" {name} "*) if {condition}; then touch "{at}.held"\n'
            f'    while [ ! -e "{at}.released" ]; do sleep 0.02; done\n'
            f'fi ;; esac\nexec "{real}" "$@"',
        )

    def release(self, name: str) -> None:
        """Let all go on that a program holds."""
        (self.base / f"{name}.released").touch()

    def start(self, *arguments: str, held: str = "") -> "subprocess.Popen[str]":
        """Start a worker, in a session of its own, which the named programs hold."""
        process = subprocess.Popen(
            [str(self.app / "bootstrap.sh"), *arguments],
            env=self.environment | {"HELD": held},
            cwd="/",
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str) -> tuple[int, str]:
        """Start a worker; return its exit code and all that it printed."""
        return finish(self.start(*arguments))

    def wait_for_install(self) -> None:
        """Return once the slow uv has been called."""
        self.wait_for("at-work")

    def wait_for(self, *names: str) -> None:
        """Return once one of these files is there."""
        until = time.monotonic() + PATIENCE_S
        while not any((self.base / each).exists() for each in names):
            assert time.monotonic() < until, f"{' and '.join(names)} never came"
            time.sleep(0.02)

    def names(self) -> list[str]:
        """Return what is in the directory of environments."""
        return sorted(path.name for path in self.environments.iterdir())

    def kill(self, process: "subprocess.Popen[str]") -> None:
        """End a worker and all that it has started, as the end of a container does."""
        # `timeout` makes a process group of its own: the session is what they share.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for pid in processes_in(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()

    def close(self) -> None:
        """End every process that is left."""
        for process in self.started:
            self.kill(process)


def finish(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Wait for a worker; return its exit code and all that it printed."""
    output, _ = process.communicate(timeout=PATIENCE_S)
    return process.returncode, output


def processes_in(session: int) -> list[int]:
    """Return the processes of a session that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(path.parent.name))
    return found
