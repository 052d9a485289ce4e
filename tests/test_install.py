"""`make install`, really run on a small project: what is installed, and from where."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.bare_machine import UV
from tests.fakes.package_index import PackageIndex, hash_of, make_wheel

ROOT = Path(__file__).parents[1]
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "application"
version = "1.0"
dependencies = [
    "tiny",
    "torch==2.13.0",
]
"""
BACKEND = """
import shutil

def build_editable(directory, settings=None, metadata=None):
    return shutil.copy("application-1.0-py3-none-any.whl", directory).rpartition("/")[2]
"""
CPU, CUDA = {"torch": "2.13.0+cpu"}, {"torch": "2.13.0", "cuda": "13.0"}

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere torch has one build"),
    pytest.mark.skipif(UV is None, reason="needs uv, which `make test` installs"),
    pytest.mark.skipif(shutil.which("make") is None, reason="needs make"),
]


class Checkout:
    """A clone of a small project with our Makefile; its index has torch's CUDA build."""

    def __init__(self, base: Path) -> None:
        self.base, self.app, self.wheels = base, base / "app", base / "wheels"
        self.app.mkdir()
        (base / "bin").mkdir()
        shutil.copy(ROOT / "Makefile", self.app)
        (self.app / "pyproject.toml").write_text(PROJECT)
        (self.app / "backend.py").write_text(BACKEND)
        needs = ["tiny", "torch==2.13.0"]
        make_wheel(self.app, name="application", requires=needs)
        locked = make_wheel(self.wheels), make_wheel(self.wheels, "13.0", name="cuda")
        make_wheel(self.wheels, "2.13.0", name="torch", requires=["cuda"])
        make_wheel(base / "cpu", "2.13.0+cpu", name="torch")
        make_wheel(base / "cpu", "2.14.0+cpu", name="torch")
        lock = "".join(
            f"{wheel.name.split('-')[0]}=={wheel.name.split('-')[1]} --hash={hash_of(wheel)}\n"
            for wheel in locked
        )
        for name in ("requirements.lock", "requirements-dev.lock"):
            (self.app / name).write_text(lock)
        (self.app / "requirements-uv.lock").touch()
        self.index = PackageIndex(self.wheels, base)
        self.torch_index = PackageIndex(base / "cpu", base)
        self.environment = {
            "PATH": f"{base / 'bin'}:/usr/bin:/bin",
            "HOME": str(base),
            "UV_DEFAULT_INDEX": self.index.url,
            "HTTPS_PROXY": self.torch_index.url,
            "SSL_CERT_FILE": str(self.torch_index.authority.path),
        }

    def has_environment(self, *programs: str) -> None:
        """Make the environment, as an earlier run of make has.

        Args:
            programs: that are in it, of uv and pip.
        """
        subprocess.run(
            [UV or "", "venv", "-q", "-p", sys.executable, self.app / ".venv"], check=True
        )
        if "uv" in programs:
            (self.app / ".venv/bin/uv").write_text(f'#!/bin/sh\nexec "{UV}" "$@"\n')
            (self.app / ".venv/bin/uv").chmod(0o755)
        if "pip" in programs:
            [site] = (self.app / ".venv").glob("lib/python3*/site-packages")
            os.symlink(Path(sysconfig.get_path("purelib")) / "pip", site / "pip")

    def has_gpu(self) -> None:
        """Put the driver's program onto the path."""
        os.symlink("/bin/true", self.base / "bin/nvidia-smi")

    def make(self, target: str = "install") -> tuple[int, str]:
        """Run make; return its exit code and what it printed."""
        done = subprocess.run(
            ["make", f"PYTHON={sys.executable}", target],
            cwd=self.app,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
        )
        return done.returncode, done.stdout

    def installed(self) -> dict[str, str]:
        """Return the versions that are installed, by name; of what everybody has, nothing."""
        found = (self.app / ".venv").glob("lib/python3*/site-packages/*.dist-info")
        versions = dict(path.name.removesuffix(".dist-info").split("-", 1) for path in found)
        return {name: versions[name] for name in versions if name not in ("application", "tiny")}

    def close(self) -> None:
        """Stop both indexes."""
        self.index.close()
        self.torch_index.close()


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    """Return a fresh clone, where uv is installed."""
    checkout = Checkout(tmp_path)
    checkout.has_environment("uv")
    yield checkout
    checkout.close()


@pytest.mark.slow
def test_without_a_gpu_torch_is_the_cpu_build(checkout: Checkout) -> None:
    """It comes from torch's own index, in the locked version, and stays when tools are added."""
    for target in ("install", ".venv/.tools"):
        code, output = checkout.make(target)
        assert (code, output.count("warning: The package `application")) == (
            0,
            output.count("warn"),
        )
        assert checkout.installed() == CPU
    assert len(checkout.torch_index.hosts) == 1


def test_with_a_gpu_torch_is_the_locked_build(checkout: Checkout) -> None:
    """The build that workers run comes from the package index, with what it needs."""
    checkout.has_gpu()
    assert checkout.make() == (0, "")
    assert checkout.installed() == CUDA
    assert checkout.torch_index.hosts == set()


def test_a_folder_of_wheels_comes_first(checkout: Checkout) -> None:
    """Who names a folder in PIP_FIND_LINKS gets torch from there."""
    checkout.environment["PIP_FIND_LINKS"] = str(checkout.base / "cpu")
    assert checkout.make() == (0, "")
    assert checkout.installed() == CPU
    assert checkout.torch_index.hosts == set()


@pytest.mark.slow
@pytest.mark.parametrize("silent", [False, True])
def test_without_torchs_index_the_package_index_serves(checkout: Checkout, silent: bool) -> None:
    """An index that refuses or does not answer is given up, and what follows is said."""
    checkout.torch_index.silent = silent
    if not silent:
        checkout.environment["HTTPS_PROXY"] = "http://127.0.0.1:9"  # where nobody listens
    code, output = checkout.make()
    assert code == 0, output
    assert "taking its CUDA build, which is 3 GB" in output
    assert checkout.installed() == CUDA


def test_a_wheel_that_was_changed_is_refused(checkout: Checkout) -> None:
    """A wheel with other bytes than the locked ones is not installed, nor is the verb done."""
    make_wheel(checkout.wheels, padding=b"changed")
    code, output = checkout.make()
    assert code != 0
    assert "Hash mismatch for `tiny==1.0`" in output
    assert not (checkout.app / ".venv/.worker").exists()


@pytest.mark.slow
def test_a_changed_installer_is_refused(tmp_path: Path) -> None:
    """uv itself is installed only with its locked bytes."""
    checkout = Checkout(tmp_path)
    checkout.has_environment("pip")
    try:
        wheel = make_wheel(checkout.wheels, name="uv")
        lock = checkout.app / "requirements-uv.lock"
        lock.write_text(f"uv==1.0 --hash={hash_of(wheel)}\n")
        make_wheel(checkout.wheels, name="uv", padding=b"changed")
        checkout.environment["PIP_INDEX_URL"] = checkout.index.url
        code, output = checkout.make()
    finally:
        checkout.close()
    assert code != 0
    assert "DO NOT MATCH THE HASHES" in output
