"""What each launch of a fused step computes, as torch operators in float32 on the same inputs."""

import torch
import torch.nn.functional as F
from torch import Tensor

from higgs_worker.engine.kernels.launch import Launch


def expected(launch: Launch, num_rows: int) -> dict[str, Tensor]:
    """Return what a launch will write, by its argument's name, [B, width] float32.

    Args:
        launch: not yet made; up to the logits.
        num_rows: of the step.
    """
    arguments = _Arguments(launch, num_rows)
    if launch.name == "attend":
        return {"out": _attended(arguments)}
    if launch.name == "embed":
        return _stream(_embedded(arguments), arguments)
    sums = _product(arguments)
    if launch.constants["IS_RESIDUAL"]:
        return _stream(arguments.rows("residual") + sums, arguments)
    return {"out": sums}


def written(launch: Launch, name: str, num_rows: int) -> Tensor:
    """Return what a launch has written, [B, width] float32."""
    return _Arguments(launch, num_rows).rows(name)


class _Arguments:
    """A launch's tensors and sizes."""

    def __init__(self, launch: Launch, num_rows: int) -> None:
        self._launch, self.num_rows = launch, num_rows

    def tensor(self, name: str) -> Tensor:
        tensor = self._launch.arguments[name]
        assert isinstance(tensor, Tensor)
        return tensor

    def rows(self, name: str) -> Tensor:
        """Return one row per slot, in float32."""
        return self.tensor(name)[: self.num_rows].float().clone()

    def number(self, name: str) -> int:
        return int(self._launch.constants[name])

    def value(self, name: str) -> float:
        return float(self._launch.arguments[name])


def _stream(stream: Tensor, arguments: _Arguments) -> dict[str, Tensor]:
    norm = arguments.tensor("next_norm")[: stream.shape[1]].float()
    return {"residual": stream, "next_input": stream * norm}


def _embedded(arguments: _Arguments) -> Tensor:
    column = arguments.tensor("column")
    offsets = torch.arange(column.shape[1], device=column.device)
    ids = column + offsets * arguments.number("CODEBOOK_SIZE")
    return F.embedding(ids, arguments.tensor("embedding").float()).sum(1)


def _product(arguments: _Arguments) -> Tensor:
    weight = arguments.tensor("weight").float()
    if arguments.number("IS_INT8"):
        weight *= arguments.tensor("scale").float()[:, None]
    sums = arguments.rows("rows") @ weight.T
    if count := arguments.number("NUM_SQUARES"):
        squares = arguments.tensor("squares").flatten()[: arguments.num_rows * count]
        mean = squares.view(-1, count).sum(1, keepdim=True) / arguments.number("WIDTH")
        sums *= torch.rsqrt(mean + arguments.value("eps"))
    if arguments.number("IS_GATED"):
        gate, up = sums.chunk(2, dim=1)
        sums = F.silu(gate) * up
    return sums


def _attended(arguments: _Arguments) -> Tensor:
    num_rows, head_dim = arguments.num_rows, arguments.number("HEAD_DIM")
    num_kv, group = arguments.number("NUM_KV_HEADS"), arguments.number("GROUP")
    heads = arguments.rows("heads").view(num_rows, -1, head_dim)
    positions = arguments.tensor("counters_of_slots")[:, 0]
    cosines, sines = arguments.tensor("rotation")[positions, 0].float().unbind(1)
    rotated = heads * cosines[:, None] + heads.roll(head_dim // 2, -1) * sines[:, None]
    queries = rotated[:, : num_kv * group].view(num_rows, num_kv, group, head_dim)
    new_keys = rotated[:, num_kv * group : num_kv * (group + 1)]
    new_values = heads[:, num_kv * (group + 1) :]
    cache = arguments.tensor("cache")
    out = torch.empty_like(queries)
    for slot, position in enumerate(positions.tolist()):
        earlier = cache[slot, :, :position].float()
        keys = torch.cat([earlier[:num_kv], new_keys[slot][:, None]], dim=1)
        values = torch.cat([earlier[num_kv:], new_values[slot][:, None]], dim=1)
        scores = queries[slot] @ keys.transpose(1, 2) * head_dim**-0.5
        out[slot] = scores.softmax(-1) @ values
    # The order of the next weight's columns.
    if arguments.value("group_stride") > arguments.value("head_stride"):
        out = out.transpose(1, 2)
    return out.flatten(1)
