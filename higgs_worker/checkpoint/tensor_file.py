"""A checkpoint's `model.safetensors`.

Opening one checks every tensor's name, shape and dtype before any is read: each is either wanted or
known to be unneeded. Only the wanted ones are read. Any model's checkpoint can be opened.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from higgs_worker.checkpoint.file import open_file
from higgs_worker.errors import InvalidCheckpoint

MAX_HEADER_BYTES = 4_000_000
"""Of a file's description of its tensors: ten times what the published ones need. Python parses it
into a hundred times the memory."""

FLOAT_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""Dtypes that weights may have: safetensors' name -> torch's. `torch` itself is not imported here.

Source: https://github.com/huggingface/safetensors, `Dtype`.
"""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What loading a checkpoint cost."""

    num_bytes_read: int
    """Bytes of all tensors that were read."""
    duration_s: float


@dataclass(slots=True)
class TensorFile:
    """An open `model.safetensors` whose tensors have been checked."""

    path: Path
    not_needed: tuple[str, ...]
    """Names of the tensors in the file that are not wanted."""
    offsets: Mapping[str, int]
    """Byte in the file at which each tensor begins, by name."""
    dtypes: Mapping[str, str]
    """safetensors' name of each tensor's dtype, by name."""
    _file: Any
    _sizes: dict[str, int] = field(default_factory=dict)

    def read(self, name: str) -> Any:
        """Return a tensor on the CPU, in the file's own dtype.

        It is a view of the memory-mapped file: copy it if it must outlive the file.
        """
        tensor = self._file.get_tensor(name)
        self._sizes[name] = tensor.nbytes
        return tensor

    @property
    def num_bytes_read(self) -> int:
        """Bytes of all tensors that were read."""
        return sum(self._sizes.values())


@contextmanager
def open_tensors(
    directory: Path,
    source: str,
    *,
    wanted: Mapping[str, tuple[int, ...]],
    is_not_needed: Callable[[str], bool],
) -> Iterator[TensorFile]:
    """Open `model.safetensors` and check its tensors against the wanted ones.

    Args:
        directory: of the checkpoint.
        source: what the directory must hold, for the error text.
        wanted: the tensors to read: name -> shape.
        is_not_needed: returns whether the file may hold a tensor of this name that is not wanted.

    Raises:
        WeightsNotFound: the file cannot be read.
        InvalidCheckpoint: the file is damaged or not a regular one; or a tensor is missing,
            unknown, of the wrong shape or not a float, and the message names the first three.
    """
    from safetensors import SafetensorError, safe_open

    path = directory / "model.safetensors"
    with open_file(path, source) as opened:
        header = _read_header(opened, path, source)
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            problems = [f"missing {name}" for name in wanted if name not in slices]
            for name in sorted(slices):
                shape, dtype = tuple(slices[name].get_shape()), slices[name].get_dtype()
                if name not in wanted:
                    if not is_not_needed(name):
                        problems.append(f"unknown {name}")
                elif shape != wanted[name]:
                    problems.append(f"{name} is {list(shape)}, not {list(wanted[name])}")
                elif dtype not in FLOAT_DTYPES:
                    problems.append(f"{name} holds {dtype}, not F32, F16 or BF16")
            if problems:
                more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
                raise InvalidCheckpoint(
                    f"{path} does not hold what its config.json describes: "
                    f"{'; '.join(problems[:3])}{more}; use {source}",
                    details={"problems": problems[:50]},
                )
            yield TensorFile(
                path,
                tuple(sorted(slices.keys() - wanted.keys())),
                _offsets(header),
                {name: each.get_dtype() for name, each in slices.items()},
                file,
            )
    except SafetensorError as error:
        raise InvalidCheckpoint(f"{path} is damaged ({error}); fetch {source} again") from error


def _read_header(file: BinaryIO, path: Path, source: str) -> bytes:
    """Return the JSON that describes a file's tensors, unparsed.

    Source: https://github.com/huggingface/safetensors, "Format".
    """
    num_bytes = int.from_bytes(file.read(8), "little")
    if num_bytes > MAX_HEADER_BYTES:
        raise InvalidCheckpoint(
            f"{path} is damaged (a header of {num_bytes} bytes); fetch {source} again"
        )
    return file.read(num_bytes)


def _offsets(header: bytes) -> dict[str, int]:
    """Return where each tensor begins, which safetensors' own API does not tell."""
    return {
        name: 8 + len(header) + each["data_offsets"][0]
        for name, each in json.loads(header).items()
        if name != "__metadata__"
    }
