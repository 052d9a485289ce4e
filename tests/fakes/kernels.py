"""A kernel that is compiled in a moment, for a card that need not be there.

    python -m tests.fakes.kernels DIRECTORY

Does as two workers, one after the other, that keep kernels there. Prints a line of JSON for each.
Where tests let Triton interpret, this needs a process of its own.
"""

import hashlib
import json
import logging
import sys
from pathlib import Path
from typing import Any

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from higgs_worker.kernel_cache import use_kernel_cache


def _double(source, result, size, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(result + at, 2 * tl.load(source + at, mask=at < size), mask=at < size)


def compile_double() -> tuple[Any, bool]:
    """Compile it for an H100; return it, and whether triton found it instead."""
    hits: list[bool] = []
    triton.knobs.compilation.listener = lambda *, cache_hit, **_: hits.append(cache_hit)
    types = {"source": "*fp32", "result": "*fp32", "size": "i32", "BLOCK": "constexpr"}
    # Not by the decorator: where kernels are interpreted, it makes none that can be compiled.
    source = ASTSource(fn=JITFunction(_double), signature=types, constexprs={"BLOCK": 128})
    kernel = triton.compile(source, target=GPUTarget("cuda", 90, 32))
    [is_hit] = hits
    return kernel, is_hit


def main(directory: Path) -> None:
    """Compile it as two workers do."""
    logging.basicConfig(format="%(levelname)s %(message)s")
    for _ in range(2):
        use_kernel_cache(directory)
        kernel, is_found = compile_double()
        told = {
            "found": is_found,
            "kernel": hashlib.sha256(kernel.kernel).hexdigest(),
            "shared": kernel.metadata.shared,
        }
        sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
