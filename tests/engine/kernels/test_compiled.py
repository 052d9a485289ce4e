"""What the kernels of a step become on real cards: compiled here, for cards that are not."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MAX_REGISTERS = {1: 128, 64: 224}
"""By rows, up to these: some kilobytes of reads under way on each multiprocessor need several
programs there at once, and 65,536 registers are what they share."""
MAX_SHARED = {1: 40_000, 64: 82_000}
"""Bytes; a multiprocessor of compute capability 8.9 and 12.0 has 100 KB, of 9.0 228."""
PRODUCTS = ("qkv", "out", "gate_up", "down", "head")


def reports(module: str, directory: Path, *options: str) -> list[dict[str, Any]]:
    """Run a module beside this one, which does not interpret; return the lines that it prints."""
    environment = {
        **{name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"},
        "TRITON_CACHE_DIR": str(directory),
    }
    command = [sys.executable, "-m", f"tests.engine.kernels.{module}", *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(kernel: dict[str, Any]) -> None:
    """Require that nothing is spilt and that weights, keys and values are read 16 bytes wide.

    Hopper's widest instruction takes 8-bit weights from registers, in an order that Triton reads 8
    bytes wide.
    """
    assert kernel["stack"] == kernel["local"] == 0, kernel
    size = min(rows for rows in MAX_REGISTERS if kernel["rows"] <= rows)
    assert kernel["registers"] <= MAX_REGISTERS[size], kernel
    assert kernel["shared"] <= MAX_SHARED[size], kernel
    if kernel["kernel"] in (*PRODUCTS, "attend"):
        widths = {"16"} | ({"8"} if kernel["is_int8"] and kernel["wgmma"] else set())
        assert set(kernel["async_copies"]) <= widths, kernel
        assert kernel["async_copies"]["16"]
        assert kernel["mma"] or kernel["wgmma"], kernel


@pytest.mark.slow
def test_kernels_for_one_row_on_a_hopper(tmp_path: Path) -> None:
    """Compute capability 9.0, launches that depend on each other: every kernel waits first."""
    kernels = reports("compiled", tmp_path, "90", "--rows", "1", "--dependent")
    assert len(kernels) == 9
    for kernel in kernels:
        check(kernel)
        assert kernel["waits"] == 1, kernel


@pytest.mark.slow
def test_what_is_compiled_ahead_is_what_steps_launch(tmp_path: Path) -> None:
    """No step has to wait for a kernel, for one row as for eight: through Triton's own launches."""
    (told,) = reports("warmed", tmp_path)
    assert told["ahead"] == 9
    assert told["later"] == 0
    # The step that is tried, and three more, of two layers and the head.
    assert told["launched"]["product_kernel"] == 4 * (2 * 4 + 1)


@pytest.mark.long
@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
@pytest.mark.parametrize("capability", [80, 89, 90, 120])
def test_kernels_of_all_sizes(capability: int, weights: str, tmp_path: Path) -> None:
    """A100, RTX 4090 and L40S, H100 and H200, RTX 5090: one row, and all that are padded to."""
    rows = ("1", "16", "32", "64")
    kernels = reports("compiled", tmp_path, str(capability), "--rows", *rows, "--format", weights)
    assert len(kernels) == 9 * len(rows)
    for kernel in kernels:
        check(kernel)
