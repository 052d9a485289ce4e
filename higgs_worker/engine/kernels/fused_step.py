"""The decode step as a list of launches: five a layer, and four for what is around the layers.

    embed, layers x (qkv, attend, out, gate_up, down), head, choose, settle

It computes what `LanguageModel.decode` and `Columns.draw` compute, which stay the reference and the
fallback, on the same tensors. It knows no lengths and no kinds of sampling: each slot's own decide,
so one captured graph serves a number of slots, whatever they do.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from higgs_worker.engine.columns import Columns
from higgs_worker.engine.int8_matrix import Int8Matrix
from higgs_worker.engine.kernels.attend import attend_kernel
from higgs_worker.engine.kernels.choose import choose_kernel
from higgs_worker.engine.kernels.embed import embed_kernel
from higgs_worker.engine.kernels.launch import Launch
from higgs_worker.engine.kernels.product import product_kernel
from higgs_worker.engine.kernels.settle import settle_kernel
from higgs_worker.engine.kernels.tiles import MAX_ROWS, Product, attention_splits, padded, tiles_for
from higgs_worker.engine.kv_cache import CacheWindow, KVCache
from higgs_worker.engine.linear import Int8Linear, Linear
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.sampling import MAX_WINDOW, Mode
from higgs_worker.engine.slot_state import NEVER, SlotState

LOG2_E = 1.4426950408889634
POSITION_TILE = 64
"""Positions that attention reads at once: for each of its warps sixteen, as tensor cores do."""
POSITION_STAGES = 2
"""Tiles under way at once: with three, a multiprocessor of an RTX 4090 would hold one program."""
NUM_WARPS = 4
"""Of all kernels but the products."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """The size of a weight, which is the same in all layers."""

    num_outputs: int
    """Of each half."""
    width: int
    """Of a row."""
    num_halves: int = 1
    """2: a gate and what it lets through."""
    norm_of: Product | None = None
    """The product that begins the norm of this one's input; None: the input has no norm."""


def matrices(model: LanguageModel) -> dict[Product, Matrix]:
    """Return the weights of a step by name."""
    config = model.config
    attended = config.num_heads * config.head_dim
    all_heads = (config.num_heads + 2 * config.num_kv_heads) * config.head_dim
    num_logits = config.num_codebooks * config.codebook_size
    return {
        "qkv": Matrix(all_heads, config.width, norm_of="down"),
        "out": Matrix(config.width, attended),
        "gate_up": Matrix(config.mlp_width, config.width, num_halves=2, norm_of="out"),
        "down": Matrix(config.width, config.mlp_width),
        "head": Matrix(num_logits, config.width, norm_of="down"),
    }


class FusedStep:
    """The tensors that pass from kernel to kernel, and the launches of a step."""

    def __init__(
        self,
        model: LanguageModel,
        cache: KVCache,
        columns: Columns,
        *,
        is_dependent: bool = False,
    ) -> None:
        """Allocate for the most slots that a step may have.

        Args:
            model, cache, columns: what a step reads and writes, all on one device.
            is_dependent: let each kernel be set up while the one before it still runs; for compute
                capability 9.0 and newer.
        """
        self._model, self._cache, self._columns = model, cache, columns
        self._config = config = model.config
        self._is_dependent = is_dependent
        self._is_int8 = isinstance(model.layers[0].qkv, Int8Linear)
        self._matrices = matrices(model)
        self._group = config.num_heads // config.num_kv_heads
        self.max_rows = min(MAX_ROWS, len(columns.state.column))

        def new(width: int, dtype: torch.dtype = model.dtype) -> Tensor:
            return torch.zeros((self.max_rows, width), device=model.device, dtype=dtype)

        self._residual = new(config.width, torch.float32)
        self._input = new(config.width)
        self._squares = new(config.width, torch.float32)
        self._heads = new(self._matrices["qkv"].num_outputs)
        self._attended = new(self._matrices["out"].width)
        self._gated = new(config.mlp_width)
        self._logits = new(self._matrices["head"].num_outputs, torch.float32)
        self._ids = new(config.num_codebooks, torch.int64)
        self._peaks = new(config.num_codebooks, torch.float32)
        row_counts = {min(self.max_rows, 1 << power) for power in range(MAX_ROWS.bit_length())}
        num_parts = max(map(self._num_parts, row_counts))
        self._parts = torch.empty(num_parts, device=model.device)
        # One for each tile of a product, and for each slot and KV head.
        num_counters = self.max_rows * config.num_kv_heads + max(
            each.num_outputs for each in self._matrices.values()
        )
        self._counters = torch.zeros(num_counters, device=model.device, dtype=torch.int32)

    def key(self, num_rows: int, length: int, mode: Mode) -> Hashable:
        """Return what a captured step depends on: the number of rows alone."""
        return "fused", num_rows

    def run(self, state: SlotState, window: CacheWindow, mode: Mode) -> None:
        """Draw the next column of each row, whatever the window and the mode."""
        for launch in self.launches(state):
            launch.run()

    def decode(self, state: SlotState) -> Tensor:
        """Compute the logits [B, K, V] float32 of each row's next column alone."""
        for launch in self._forward(state):
            launch.run()
        return self._logits[: len(state.column)].view(*state.column.shape, -1)

    def draw(self, state: SlotState, logits: Tensor) -> None:
        """Draw the next column of each row from logits [B, K, V]."""
        self._logits[: len(logits)] = logits.flatten(1)
        for launch in self._draw(state):
            launch.run()

    def launches(self, state: SlotState) -> list[Launch]:
        """Return all launches of a step, in order."""
        return [*self._forward(state), *self._draw(state)]

    def _forward(self, state: SlotState) -> Iterator[Launch]:
        """Yield the launches up to the logits."""
        model, num_rows = self._model, len(state.column)
        first_norm, *later_norms = [layer.audio.input_norm for layer in model.layers]
        next_norms = [*later_norms, model.last_norm]
        yield self._embed(state, first_norm)
        for index, (layer, next_norm) in enumerate(zip(model.layers, next_norms, strict=True)):
            audio = layer.audio
            yield self._product("qkv", num_rows, self._input, layer.qkv, out=self._heads)
            yield self._attend(index, state)
            yield self._product("out", num_rows, self._attended, layer.out, norm=audio.post_norm)
            yield self._product("gate_up", num_rows, self._input, audio.gate_up, out=self._gated)
            yield self._product("down", num_rows, self._gated, audio.down, norm=next_norm)
        yield self._product("head", num_rows, self._input, model.head, out=self._logits)

    def _draw(self, state: SlotState) -> Iterator[Launch]:
        """Yield the launches from the logits to the new column."""
        config, columns, num_rows = self._config, self._columns, len(state.column)
        sizes = {
            "NUM_CODEBOOKS": config.num_codebooks,
            "NUM_COUNTERS": state.counters.shape[1],
            "STREAM_BOS": config.stream_bos_id,
        }
        state_of_draw = ("temperature", "top_p", "top_k", "ras_window", "ras_max_repeats")
        yield self._launch(
            "choose",
            choose_kernel,
            (num_rows, config.num_codebooks),
            {
                "logits": self._logits,
                **{name: getattr(state, name) for name in (*state_of_draw, "counters")},
                "history": columns.all_history,
                "draws": columns.all_draws,
                "ids": self._ids,
                "peaks": self._peaks,
            },
            {
                **sizes,
                "SIZE": config.codebook_size,
                "FIRST_STREAM_ID": min(config.stream_bos_id, config.stream_eos_id),
                "MAX_WINDOW": MAX_WINDOW,
            },
        )
        yield self._launch(
            "settle",
            settle_kernel,
            (num_rows,),
            {
                "ids": self._ids,
                "peaks": self._peaks,
                **{name: getattr(state, name) for name in ("column", "counters", "health")},
                "history": columns.all_history,
            },
            {**sizes, "STREAM_EOS": config.stream_eos_id, "NEVER": NEVER},
        )

    def _embed(self, state: SlotState, norm: Tensor) -> Launch:
        config, num_rows = self._config, len(state.column)
        # As `down`, which begins the same norm in later layers.
        tile = tiles_for(num_rows, is_int8=self._is_int8)["down"].rows
        return self._launch(
            "embed",
            embed_kernel,
            (-(-config.width // tile),),
            {
                "column": state.column,
                "embedding": self._model.embed_audio_weight,
                **self._of_residual(norm),
                "num_slots": num_rows,
            },
            {
                "NUM_CODEBOOKS": config.num_codebooks,
                "CODEBOOK_SIZE": config.codebook_size,
                "WIDTH": config.width,
                "ROWS": padded(num_rows),
                "TILE": tile,
            },
        )

    def _product(
        self,
        name: Product,
        num_rows: int,
        rows: Tensor,
        linear: Linear | Int8Linear,
        *,
        out: Tensor | None = None,
        norm: Tensor | None = None,
    ) -> Launch:
        """Return a product: into `out`, or added to the stream, whose next norm it begins."""
        matrix, tiles = self._matrices[name], tiles_for(num_rows, is_int8=self._is_int8)
        tile, is_int8 = tiles[name], isinstance(linear, Int8Linear)
        stored = linear.weight
        if isinstance(stored, Int8Matrix):
            weight, scale = stored.values, stored.scale
        else:  # a kernel never looks at what it has no use for
            weight, scale = stored, stored
        num_squares = 0
        if matrix.norm_of is not None:
            num_squares = -(-matrix.width // tiles[matrix.norm_of].rows)
        return self._launch(
            name,
            product_kernel,
            (-(-matrix.num_outputs // tile.rows), tile.splits),
            {
                "rows": rows,
                "weight": weight,
                "scale": scale,
                "squares": self._squares,
                "out": self._residual if out is None else out,
                **self._of_residual(self._model.last_norm if norm is None else norm),
                "parts": self._parts,
                "counters": self._counters,
                "num_slots": num_rows,
                "eps": self._config.norm_eps,
            },
            {
                "WIDTH": matrix.width,
                "NUM_OUTPUTS": matrix.num_outputs,
                "NUM_SQUARES": num_squares,
                "IS_GATED": matrix.num_halves == 2,
                "IS_RESIDUAL": out is None,
                "IS_INT8": is_int8,
                "ROWS": padded(num_rows),
                "TILE": tile.rows,
                "DEPTH": tile.depth,
                "SPLITS": tile.splits,
                "STAGES": tile.num_stages,
            },
            num_warps=tile.num_warps,
        )

    def _attend(self, layer: int, state: SlotState) -> Launch:
        config, model, num_rows = self._config, self._model, len(state.column)
        splits = attention_splits(num_rows, config.num_kv_heads)
        head_dim, num_kv_heads = config.head_dim, config.num_kv_heads
        # The order of the heads in the columns of `out`.
        strides = (num_kv_heads * head_dim, head_dim)
        group_stride, head_stride = (
            strides if model.is_output_by_query else (head_dim, self._group * head_dim)
        )
        cache = self._cache.layer(layer)
        return self._launch(
            "attend",
            attend_kernel,
            (num_rows, num_kv_heads, splits),
            {
                "heads": self._heads,
                "rotation": model.rotation,
                "cache": cache,
                "counters_of_slots": state.counters,
                "out": self._attended,
                "parts": self._parts,
                "counters": self._counters,
                "scale": head_dim**-0.5 * LOG2_E,
                "group_stride": group_stride,
                "head_stride": head_stride,
            },
            {
                "NUM_COUNTERS": state.counters.shape[1],
                "MAX_LENGTH": cache.shape[2],
                "NUM_KV_HEADS": num_kv_heads,
                "GROUP": self._group,
                "ROWS": padded(self._group),
                "HEAD_DIM": head_dim,
                "TILE": POSITION_TILE,
                "STAGES": POSITION_STAGES,
            },
        )

    def _of_residual(self, norm: Tensor) -> dict[str, Tensor]:
        """Return what a kernel writes that adds to the stream."""
        return {
            "residual": self._residual,
            "next_norm": norm,
            "next_input": self._input,
            "next_squares": self._squares,
        }

    def _num_parts(self, num_rows: int) -> int:
        """Return the float32 numbers that programs of one launch exchange, at most."""
        config = self._config
        sizes = [
            matrix.num_halves * (-(-matrix.num_outputs // tile.rows) * tile.rows) * tile.splits
            for name, tile in tiles_for(num_rows, is_int8=self._is_int8).items()
            if (matrix := self._matrices[name])
        ]
        # For each query its sums, its largest score and its weight.
        splits = attention_splits(num_rows, config.num_kv_heads)
        queries = num_rows * config.num_kv_heads * padded(self._group)
        return max(max(sizes) * padded(num_rows), queries * splits * (config.head_dim + 2))

    def _launch(
        self,
        name: str,
        kernel: Any,
        grid: tuple[int, ...],
        arguments: Mapping[str, Tensor | int | float],
        constants: Mapping[str, int | bool],
        num_warps: int = NUM_WARPS,
    ) -> Launch:
        return Launch(name, kernel, grid, arguments, constants, num_warps, self._is_dependent)
