"""What a start does with triton, as far as it needs no GPU: run in the image, by its Python alone.

    python3 -m tests.fakes.kernel_start DIRECTORY

Prints whether the kernel was found in the directory, how long that took, and which C module triton
has loaded.
"""

import json
import shutil
import sys
import time
from pathlib import Path

from higgs_worker.kernel_cache import use_kernel_cache


def main(directory: Path) -> None:
    """Compile a kernel for an H100, or find it, and call the driver through triton's module."""
    began = time.monotonic()
    use_kernel_cache(directory)
    from triton.backends.nvidia.driver import CudaUtils

    from tests.fakes.kernels import compile_double

    imported = time.monotonic()
    kernel, is_found = compile_double()
    compiled = time.monotonic()
    properties = CudaUtils().get_device_properties(0)
    answer = {
        "compilers": [name for name in ("cc", "gcc", "clang") if shutil.which(name)],
        "found": is_found,
        "machine_code_bytes": len(kernel.kernel),
        "max_shared_mem": properties["max_shared_mem"],
        "import_s": round(imported - began, 2),
        "kernel_s": round(compiled - imported, 2),
        "module_s": round(time.monotonic() - compiled, 2),
    }
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
