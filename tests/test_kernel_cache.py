"""Compiled kernels on a volume: found again, or compiled again; triton is the real one."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from higgs_worker.kernel_cache import KernelCache, use_kernel_cache
from tests.fakes.odd_files import ODD_FILES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="triton is for Linux")

FILES = {"double.cubin": bytes(range(256)), "double.json": b'{"shared": 0}'}
MODULE = f"cuda_utils{sysconfig.get_config_var('EXT_SUFFIX')}"
NOWHERE = Path("/proc/nowhere")


@pytest.fixture
def triton() -> Iterator[Any]:
    """Return triton, whose settings are put back afterwards."""
    import triton

    with triton.knobs.cache.scope(), triton.knobs.compilation.scope():
        yield triton


def compile_twice(directory: Path) -> tuple[list[dict[str, Any]], str]:
    """Compile a kernel as two workers that keep it; return what they tell, and their log."""
    # This process may interpret kernels, and then it cannot compile any.
    environment = {name: os.environ[name] for name in os.environ if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "tests.fakes.kernels", str(directory)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def cache_of(directory: Path, driver: Path = NOWHERE) -> KernelCache:
    """Return the cache of another worker."""
    return KernelCache(directory, driver)


def keep(cache: KernelCache, key: str = "KEY") -> None:
    """Do what triton does after it has compiled a kernel."""
    files = cache(key)
    files.put_group("double.json", {name: files.put(FILES[name], name) for name in FILES})


def kept(cache: KernelCache, key: str = "KEY") -> dict[str, bytes] | None:
    """Do what triton does before it compiles a kernel; return what it reads."""
    found = cache(key).get_group("double.json")
    return found and {name: Path(found[name]).read_bytes() for name in found}


@pytest.mark.slow
def test_only_the_first_worker_compiles(tmp_path: Path) -> None:
    """The second finds machine code and what triton knows of it, in one file for each kernel."""
    volume = tmp_path / "kernels"
    (first, second), log = compile_twice(volume)
    assert not first.pop("found")
    assert second.pop("found")
    assert second == first
    assert log == ""
    [path] = volume.iterdir()
    assert path.stat().st_size < 30_000


@pytest.mark.slow
def test_a_volume_that_cannot_be_written_is_done_without() -> None:
    """A worker compiles for itself then, and says so once."""
    told, log = compile_twice(NOWHERE)
    assert [each["found"] for each in told] == [False, False]
    assert log.count("cannot be kept in /proc/nowhere") == len(log.splitlines()) == 2  # of each


def test_kernels_are_found_wherever_the_volume_is_mounted(tmp_path: Path) -> None:
    """Nothing in a kernel's file depends on where it lies."""
    keep(cache_of(tmp_path / "here"))
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert kept(cache_of(tmp_path / "here")) is None
    assert kept(cache_of(tmp_path / "there")) == FILES


def test_a_kernel_that_was_cut_or_changed_is_not_used(tmp_path: Path) -> None:
    """Whatever a volume makes of a file, it is whole or it is compiled again, and replaced."""
    cache = cache_of(tmp_path)
    keep(cache)
    [path] = tmp_path.iterdir()
    whole = path.read_bytes()
    flipped = bytes([*whole[:-9], whole[-9] ^ 1, *whole[-8:]])
    for damaged in (b"", whole[:40], whole[:-1], whole + b" ", flipped, b"\n" + whole):
        path.write_bytes(damaged)
        assert kept(cache) is None
        keep(cache)
        assert kept(cache) == FILES


@pytest.mark.parametrize("name", ODD_FILES)
def test_whatever_lies_there_is_passed_over(tmp_path: Path, name: str) -> None:
    """Nothing waits for a pipe, fills the memory, or fails."""
    ODD_FILES[name](tmp_path / "KEY.kernel")
    assert kept(cache_of(tmp_path)) is None


def test_the_images_module_is_used_if_it_is_of_this_tritons_source(
    triton: Any, tmp_path: Path
) -> None:
    """triton then finds the module instead of compiling it; that of another version is passed over.

    Of other files, nothing is found there.
    """
    source = Path(triton.__file__).parent / "backends/nvidia/driver.c"
    right = tmp_path / hashlib.sha256(source.read_bytes()).hexdigest()
    other = tmp_path / hashlib.sha256(b"another version").hexdigest()
    for folder, is_found in ((other, False), (right, True)):
        folder.mkdir()
        (folder / MODULE).touch()
        use_kernel_cache(tmp_path / "kernels", drivers=tmp_path)
        files = triton.knobs.cache.manager_class("KEY")
        assert files.get_file(MODULE) == (str(folder / MODULE) if is_found else None)
        assert files.get_file("double.cubin") is None


def test_a_module_that_is_compiled_here_is_of_this_process_alone(tmp_path: Path) -> None:
    """Without the image's, triton's own is loaded from a temporary file; none is on the volume."""
    cache = cache_of(tmp_path)
    path = Path(cache("KEY").put(b"module", MODULE))
    assert path.read_bytes() == b"module"
    assert path.name == MODULE
    assert list(tmp_path.iterdir()) == []
