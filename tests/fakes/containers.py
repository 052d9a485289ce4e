"""Build and run container images, with docker or with buildah and podman.

Knows nothing of what is in them. Podman is used as this kind of machine needs it: without a
registry, without systemd, as root.
"""

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LOCAL_BASE = "localhost/slim-python:with-headers"
_PODMAN = ("podman", "--runtime", "runc", "--cgroup-manager=cgroupfs", "--events-backend=file")
_LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")
_PATIENCE_S = 900


@dataclass(frozen=True)
class Containers:
    """One engine, by the words that start its commands."""

    command: tuple[str, ...]
    run_options: tuple[str, ...]
    build_command: tuple[str, ...]
    base_image: str | None

    @classmethod
    def find(cls) -> "Containers | None":
        """Return the engine that works here; None when none does."""
        if shutil.which("docker") and _ok("docker", "info"):
            return cls(("docker",), (), ("docker", "build"), None)
        tools = ("buildah", "podman", "runc", "debootstrap")
        if os.geteuid() == 0 and all(map(shutil.which, tools)):
            build = ("buildah", "build", "--isolation", "chroot", "--layers")
            return cls(_PODMAN, _LIMITS, build, _LOCAL_BASE)
        return None

    def build(self, context: Path, target: str, tag: str, wheels: str | None = None) -> None:
        """Build one target of the Dockerfile.

        Args:
            context: the directory to build from.
            target: the name of its stage.
            tag: what to call the image.
            wheels: a folder of wheels to install from, for what the index offers too large.
        """
        arguments = ["--target", target, "--tag", tag, "--file", "Dockerfile.runpod.ultra"]
        if self.base_image:
            subprocess.run([Path(__file__).parent / "base_image.sh", self.base_image], check=True)
            arguments += ["--from", self.base_image]  # in place of the first stage's
            if wheels:
                arguments += ["--volume", f"{wheels}:/wheels:ro"]
                arguments += ["--build-arg", "PIP_FIND_LINKS=/wheels"]
        subprocess.run([*self.build_command, *arguments, "."], cwd=context, check=True)

    def start(self, name: str, image: str, *arguments: str, options: tuple[str, ...] = ()) -> None:
        """Start a container and leave it running."""
        words = ("run", "--detach", "--name", name, *self.run_options, *options, image, *arguments)
        self._call(*words)

    def run(self, image: str, *arguments: str, options: tuple[str, ...] = ()) -> tuple[int, str]:
        """Run a container to its end; return its exit code and all that it printed."""
        words = ("run", "--rm", *self.run_options, *options, image, *arguments)
        done = subprocess.run(
            [*self.command, *words],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_PATIENCE_S,
        )
        return done.returncode, done.stdout

    def logs(self, name: str) -> str:
        """Return what a container has printed."""
        return self._call("logs", name)

    def signal(self, name: str, signal: str) -> None:
        """Send a signal to a container's first process."""
        self._call("kill", "--signal", signal, name)

    def wait(self, name: str) -> int:
        """Wait for a container's end; return its exit code."""
        return int(self._call("wait", name).splitlines()[-1])

    def remove(self, name: str) -> None:
        """Remove a container, running or not."""
        self._call("rm", "--force", name)

    def inspect(self, image: str) -> dict[str, object]:
        """Return what the engine says of an image."""
        [described] = json.loads(self._call("image", "inspect", image))
        assert isinstance(described, dict)
        return described

    def save(self, image: str, directory: Path) -> "Layers":
        """Write an image into a file; return its layers."""
        path = directory / "image.tar"
        options = ("--format", "docker-archive") if self.base_image else ()
        self._call("save", *options, "--output", str(path), image)
        return Layers(path)

    def _call(self, *words: str) -> str:
        done = subprocess.run(
            [*self.command, *words],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_PATIENCE_S,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@dataclass(frozen=True)
class Layers:
    """A saved image."""

    path: Path

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield the path and content of every file, of every layer, removed ones included."""
        with tarfile.open(self.path) as image:
            manifest = image.extractfile("manifest.json")
            assert manifest
            for name in json.load(manifest)[0]["Layers"]:
                with tarfile.open(fileobj=image.extractfile(name)) as layer:
                    for member in layer:
                        file = layer.extractfile(member) if member.isfile() else None
                        if file:
                            yield member.name.removeprefix("./"), file.read()

    def config(self) -> str:
        """Return the image's configuration and history, as text."""
        with tarfile.open(self.path) as image:
            manifest = image.extractfile("manifest.json")
            assert manifest
            config = image.extractfile(json.load(manifest)[0]["Config"])
            assert config
            return config.read().decode()


def _ok(*words: str) -> bool:
    return subprocess.run(words, capture_output=True).returncode == 0
