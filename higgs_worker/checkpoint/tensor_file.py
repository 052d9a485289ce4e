"""A checkpoint's tensors, in `model.safetensors` or in the shards that an index lists.

Opening them checks every tensor's name, shape and dtype before any is read: each is either wanted
or known to be unneeded. Only the wanted ones are read, and only the shards that hold one are
opened. Any model's checkpoint can be opened.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from higgs_worker.checkpoint.file import open_file
from higgs_worker.checkpoint.shard_index import INDEX, WEIGHTS, read_index
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


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """Where a tensor's elements are."""

    path: Path
    """Of the file."""
    offset: int
    """Bytes from its beginning."""
    dtype: str
    """A key of `FLOAT_DTYPES`."""


@dataclass(slots=True)
class OpenTensors:
    """The tensors of an open checkpoint, which have been checked."""

    places: Mapping[str, TensorPlace]
    """By name, of those that are wanted."""
    not_needed: tuple[str, ...]
    """Names of those that are not."""
    _files: Mapping[Path, Any]
    _sizes: dict[str, int] = field(default_factory=dict)

    def read(self, name: str) -> Any:
        """Return a wanted tensor on the CPU, in the file's own dtype.

        It is a view of the memory-mapped file: copy it if it must outlive the file.
        """
        tensor = self._files[self.places[name].path].get_tensor(name)
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
) -> Iterator[OpenTensors]:
    """Open a checkpoint's files and check its tensors against the wanted ones.

    Args:
        directory: of the checkpoint.
        source: what the directory must hold, for the error text.
        wanted: the tensors to read: name -> shape.
        is_not_needed: returns whether there may be a tensor of this name that is not wanted.

    Raises:
        WeightsNotFound: a file cannot be read.
        InvalidCheckpoint: a file is damaged or not a regular one; or a tensor is missing, unknown,
            of the wrong shape, not a float or not in the shard that the index says, and the message
            names the first three.
    """
    shards = read_index(directory, source)
    needed = {WEIGHTS} if shards is None else {shards[name] for name in wanted if name in shards}
    with ExitStack() as opened:
        files: dict[Path, Any] = {}
        found: dict[str, _FoundTensor] = {}
        for path in (directory / name for name in sorted(needed)):
            files[path], tensors = _open(path, source)
            opened.enter_context(files[path])
            if shards is not None:
                _compare(shards, path, tensors, source)
            found |= tensors
        names = found if shards is None else shards
        problems = [f"missing {name}" for name in wanted if name not in names]
        for name in sorted(names):
            if name in wanted:
                problems += found[name].problems(name, wanted[name])
            elif not is_not_needed(name):
                problems.append(f"unknown {name}")
        if problems:
            listing = directory / (WEIGHTS if shards is None else INDEX)
            raise InvalidCheckpoint(
                f"{listing} does not hold what its config.json describes: {_first(problems)}; use "
                f"{source}",
                details={"problems": problems[:50]},
            )
        yield OpenTensors(
            {name: found[name].place for name in wanted},
            tuple(sorted(names.keys() - wanted.keys())),
            files,
        )


@dataclass(frozen=True, slots=True)
class _FoundTensor:
    """A tensor as the header of a file describes it."""

    place: TensorPlace
    shape: tuple[int, ...]

    def problems(self, name: str, shape: tuple[int, ...]) -> list[str]:
        """Return why it is not a tensor of weights of that shape."""
        if self.shape != shape:
            return [f"{name} is {list(self.shape)}, not {list(shape)}"]
        if self.place.dtype not in FLOAT_DTYPES:
            return [f"{name} holds {self.place.dtype}, not F32, F16 or BF16"]
        return []


def _open(path: Path, source: str) -> tuple[Any, dict[str, _FoundTensor]]:
    """Open a file and return its tensors by name.

    safetensors checks the header, but does not tell where a tensor begins.
    Source: https://github.com/huggingface/safetensors, "Format".
    """
    from safetensors import SafetensorError, safe_open

    with open_file(path, source) as file:
        num_bytes = int.from_bytes(file.read(8), "little")
        if num_bytes > MAX_HEADER_BYTES:
            raise InvalidCheckpoint(
                f"{path} is damaged (a header of {num_bytes} bytes); fetch {source} again"
            )
        header = file.read(num_bytes)
    try:
        opened = safe_open(path, framework="pt")
    except SafetensorError as error:
        raise InvalidCheckpoint(f"{path} is damaged ({error}); fetch {source} again") from error
    tensors = {}
    for name, each in json.loads(header).items():
        if name != "__metadata__":
            place = TensorPlace(path, 8 + num_bytes + each["data_offsets"][0], each["dtype"])
            tensors[name] = _FoundTensor(place, tuple(each["shape"]))
    return opened, tensors


def _compare(
    shards: Mapping[str, str], path: Path, tensors: Mapping[str, object], source: str
) -> None:
    """Check that a shard holds exactly what the index says of it."""
    listed = {name for name, shard in shards.items() if shard == path.name}
    problems = [f"{name} is not there" for name in sorted(listed - tensors.keys())]
    for name in sorted(tensors.keys() - listed):
        problems.append(f"{name} is there, and {shards.get(name, 'nowhere')} by the index")
    if problems:
        raise InvalidCheckpoint(
            f"{path} does not hold what {INDEX} says: {_first(problems)}; fetch {source} again",
            details={"problems": problems[:50]},
        )


def _first(problems: Sequence[str]) -> str:
    more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
    return "; ".join(problems[:3]) + more
