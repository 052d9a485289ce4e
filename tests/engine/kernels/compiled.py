"""Compiles the launches of a published step for cards that are not there, and reports each kernel.

    python -m tests.engine.kernels.compiled CAPABILITY [--rows N ...] [--format FORMAT]

Prints a line of JSON per kernel. It needs a process of its own: where tests run, Triton interprets.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from benchmarks.roofline import PUBLISHED
from higgs_worker.engine.kernels.fused_step import FusedStep
from higgs_worker.engine.kernels.launch import Launch
from higgs_worker.engine.kernels.tiles import MAX_ROWS
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.parameters import Weights
from higgs_worker.engine.runner import Runner
from tests.fakes.twin_capture import TwinCapture

CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
TYPES = {
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.int8: "*i8",
    torch.int32: "*i32",
    torch.int64: "*i64",
}


def main() -> None:
    """Compile what the command line asks for."""
    parser = argparse.ArgumentParser(description="Compile the kernels of a step.")
    parser.add_argument("capability", type=int, help="90 for 9.0")
    parser.add_argument("--rows", type=int, nargs="+", default=[1])
    parser.add_argument("--format", choices=("bfloat16", "int8"), default="bfloat16")
    parser.add_argument("--dependent", action="store_true")
    options = parser.parse_args()
    step, state = published(options.format, is_dependent=options.dependent)
    for num_rows in options.rows:
        for launch in step.launches(state.select(slice(0, num_rows))):
            report = {"rows": num_rows, **compile_launch(launch, options.capability)}
            sys.stdout.write(json.dumps(report) + "\n")


def published(number_format: str, *, is_dependent: bool) -> tuple[FusedStep, Any]:
    """Return a step of one layer of the published sizes, without memory, and its slots' state."""
    config, meta = replace(PUBLISHED, num_layers=1), torch.device("meta")
    weights = Weights.empty(
        config, device=meta, number_format=NumberFormat.named(number_format, meta)
    )
    model = LanguageModel(config, weights, 4096)
    runner = Runner(model, num_slots=MAX_ROWS, max_length=4096, capture=TwinCapture())
    step = FusedStep(model, runner.cache, runner._columns, is_dependent=is_dependent)
    return step, runner._columns.state


def compile_launch(launch: Launch, capability: int) -> dict[str, Any]:
    """Compile one launch as Triton would at its first run, and report what it became."""
    constants = {**launch.constants, "IS_DEPENDENT": launch.is_dependent}
    names = launch.kernel.arg_names
    signature = dict.fromkeys(names, "constexpr")
    aligned: dict[tuple[int], list[list[object]]] = {}
    for index, name in enumerate(names):
        value = launch.arguments.get(name)
        if isinstance(value, torch.Tensor):
            signature[name] = TYPES[value.dtype]
            aligned[index,] = [["tt.divisibility", 16]]  # as every tensor of torch's is
        elif value is not None:
            signature[name] = "fp32" if isinstance(value, float) else "i32"
            if name.endswith("stride") and value % 16 == 0:
                aligned[index,] = [["tt.divisibility", 16]]
    source = ASTSource(
        fn=launch.kernel,
        signature=signature,
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs=aligned,
    )
    options = {"num_warps": launch.num_warps, "launch_pdl": launch.is_dependent}
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    ptx = compiled.asm["ptx"]
    return {
        "kernel": launch.name,
        "programs": list(launch.grid),
        "threads": 32 * launch.num_warps,
        "shared": compiled.metadata.shared,
        **_resources(compiled.asm["cubin"]),
        "async_copies": _async_copies(ptx),
        "is_int8": launch.constants.get("IS_INT8", False),
        "mma": len(re.findall(r"\bmma\.sync", ptx)),
        "wgmma": len(re.findall(r"\bwgmma\.mma_async", ptx)),
        "waits": len(re.findall(r"griddepcontrol\.wait", ptx)),
    }


def _resources(cubin: bytes) -> dict[str, int]:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        told = subprocess.run(
            [CUOBJDUMP, "-res-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+) .*LOCAL:(\d+)", told)
    assert found, told
    return dict(zip(("registers", "stack", "local"), map(int, found.groups()), strict=True))


def _async_copies(ptx: str) -> dict[str, int]:
    """Return how many copies from global to shared memory have each size in bytes."""
    sizes = re.findall(r"cp\.async\.c[ag]\.shared\.global [^;]*?, (0x[0-9a-f]+|\d+)(?:,|;)", ptx)
    return {str(int(size, 0)): sizes.count(size) for size in sorted(set(sizes))}


if __name__ == "__main__":
    main()
