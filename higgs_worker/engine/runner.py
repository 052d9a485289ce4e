"""The slots on the device: prompts are prefilled into them, and one step serves them all.

A step is one computation of fixed shape: forward pass and draw (`columns.py`). All of it is tensors
over slots, without a branch on data and without a host sync. The host reads the outcome with
`poll`, once in several steps.

One thread at a time.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from higgs_worker.cuda import HIGH, Capture, cuda_capture, hold_captures, own_stream
from higgs_worker.engine.columns import Columns
from higgs_worker.engine.graphs import StepGraphs
from higgs_worker.engine.kv_cache import CacheWindow, KVCache, PrefixCache
from higgs_worker.engine.model import LanguageModel, to_device
from higgs_worker.engine.rows import PromptRows, num_positions, pack
from higgs_worker.engine.sampling import Mode, mode_of, widest
from higgs_worker.engine.sequence import (
    Codes,
    PrefillChunk,
    Prompt,
    SlotProgress,
    Submission,
)
from higgs_worker.engine.shapes import StepShapes
from higgs_worker.engine.slot_state import SlotState
from higgs_worker.engine.stats import DeviceMemory, RunnerStats
from higgs_worker.engine.step_choice import StepChoice

USUAL_MODE: Mode = "narrow"
"""The mode of nearly all requests: steps of its shapes are captured before they are needed."""
MAX_EAGER_SHAPES = 32
"""Shapes whose views are kept; each costs some 30 KB of host memory at the real depth."""
MIN_SHARED = 16
"""Positions below which a prefix is cheaper to compute again than to look up."""


@dataclass(slots=True)
class _Prefill:
    """A prompt on its way into a slot."""

    prompt: PromptRows
    num_done: int
    """Positions in the cache."""
    max_columns: int
    mode: Mode
    prefix_key: bytes | None
    """Key under which to save the prefix afterwards; None: nothing to save."""


@dataclass(slots=True)
class _Running:
    """What the host knows of a running slot without asking the device."""

    length: int
    """Upper bound on its positions, the next one included."""
    mode: Mode


class Runner:
    """Model, cache and slot state on one device."""

    def __init__(
        self,
        model: LanguageModel,
        *,
        num_slots: int,
        max_length: int,
        prefix_cache_bytes: int = 1 << 28,
        kernels: str = "torch",
        capture: Capture | None = None,
    ) -> None:
        """Allocate everything; nothing grows with requests afterwards.

        Args:
            model: computes the logits.
            num_slots: sequences that can run at the same time.
            max_length: positions per slot, prompt and columns together. One of them is spare, for
                the step that a finished row may still take.
            prefix_cache_bytes: bound of the saved prefixes.
            kernels: `torch`, `triton` or `auto`, see `step_choice.py`; `prepare` chooses.
            capture: captures steps as graphs; None: CUDA's capture on a GPU, none on a CPU.
        """
        config = model.config
        self.model = model
        self.num_slots = num_slots
        self.num_codebooks = config.num_codebooks
        self.stream_ids = (config.stream_bos_id, config.stream_eos_id)
        self.max_length = max_length
        self.device = model.device
        self.cache = KVCache(config, num_slots, max_length, device=model.device, dtype=model.dtype)
        self.prefixes = PrefixCache(prefix_cache_bytes)
        self._graphs = StepGraphs(capture or cuda_capture(self.device))
        self._shapes = StepShapes(num_slots, max_length, are_captured=self._graphs.enabled)
        self._columns = Columns(config, num_slots, max_length, self.device)
        self._kernels = kernels
        self._steps = StepChoice(model, self.cache, self._columns, self._graphs)
        self._views_by_shape: dict[tuple[int, int], tuple[SlotState, CacheWindow]] = {}
        self._num_steps = 0
        self._prefilling: dict[int, _Prefill] = {}
        self._running: dict[int, _Running] = {}
        self._unsaved_prefixes: dict[int, tuple[bytes, int]] = {}
        """Prefixes to save at the next poll, by slot: key and number of positions."""
        self._healthy: set[int] = set()
        """Running slots whose keys and values were all finite at the last poll."""

    def max_frames(self, prompt: Prompt) -> int:
        """Return how many frames fit behind a prompt; below 1, the prompt is too long."""
        config = self.model.config
        return self.max_length - num_positions(prompt, config) - config.num_codebooks

    @torch.inference_mode()
    def begin(self, slot: int, submission: Submission) -> int:
        """Put a sequence into a free slot, together with its prompt's prefix if that is saved.

        Returns:
            how many positions `prefill` must still compute before the slot runs.
        """
        config, prompt = self.model.config, submission.prompt
        rows = PromptRows.from_prompt(prompt, config)
        max_columns = submission.max_frames + config.num_codebooks
        if rows.num_positions + max_columns > self.max_length:
            raise ValueError(f"{rows.num_positions} + {max_columns} exceed {self.max_length}")
        num_done, key = 0, None
        if rows.num_shared_positions >= MIN_SHARED:
            key = prompt.shared_key()
            saved = self.prefixes.get(key)
            if saved is not None:
                self.cache.restore(slot, saved)
                num_done, key = rows.num_shared_positions, None
        self._prefilling[slot] = _Prefill(
            rows, num_done, max_columns, mode_of(submission.sampling), key
        )
        self._columns.begin(slot, rows, submission.sampling, max_columns)
        return rows.num_positions - num_done

    @torch.inference_mode()
    def prefill(self, chunks: Sequence[PrefillChunk]) -> None:
        """Compute the next positions of some prompts, packed into one pass.

        A prompt that is complete draws its first own column and runs from then on.

        Args:
            chunks: at most one per slot.
        """
        parts = []
        for chunk in chunks:
            prefill = self._prefilling[chunk.slot]
            parts.append(prefill.prompt.chunk(chunk.slot, prefill.num_done, chunk.num_positions))
        batch = pack(parts)
        hidden = self.model.prefill(batch, self.cache)
        complete, last_rows = [], []
        for chunk, sequence in zip(chunks, batch.sequences, strict=True):
            prefill = self._prefilling[chunk.slot]
            prefill.num_done += chunk.num_positions
            if prefill.num_done == prefill.prompt.num_positions:
                complete.append(chunk.slot)
                last_rows.append(sequence.rows[-1])
        if complete:
            rows = to_device(np.array(last_rows), self.device)
            self._start_running(complete, self.model.logits_after(hidden, rows))

    def _start_running(self, slots: list[int], logits: Tensor) -> None:
        """Let slots run whose prompts are complete, from the logits [N, K, V] after them."""
        overdue = []
        for slot in slots:
            prefill = self._prefilling.pop(slot)
            self._running[slot] = _Running(prefill.prompt.num_positions + 1, prefill.mode)
            # Column 0 is there, and no end code came yet: all columns are needed.
            overdue.append([1 - prefill.max_columns])
            if prefill.prefix_key is not None:
                self._unsaved_prefixes[slot] = (
                    prefill.prefix_key,
                    prefill.prompt.num_shared_positions,
                )
        mode = widest(self._running[slot].mode for slot in slots)
        rows = to_device(np.array(slots), self.device)
        self._columns.draw_first(rows, to_device(np.array(overdue), self.device), logits, mode)

    @torch.inference_mode()
    def step(self) -> None:
        """Draw one more column for every running slot."""
        if not self._running:
            return
        self._healthy.clear()
        running = self._running.values()
        shape = self._shapes.fit(max(self._running) + 1, max(each.length for each in running))
        self._run_step(shape, widest(each.mode for each in running))
        for each in running:
            each.length += 1
        self._num_steps += 1

    def _run_step(self, shape: tuple[int, int], mode: Mode) -> None:
        """Run one step of some shape, rows that do not run included."""
        if self._graphs.enabled and mode == "greedy":
            mode = USUAL_MODE  # which draws the same ids, and needs no graphs of its own
        step = self._steps.step_for(shape[0])
        run = partial(step.run, *self._views(*shape), mode)
        self._graphs.run(step.key(*shape, mode), run)

    def own_stream(self) -> AbstractContextManager[None]:
        """Return what the thread must be inside that drives this runner, see `cuda.own_stream`."""
        return own_stream(self.device, HIGH)

    @torch.inference_mode()
    def prepare(self) -> None:
        """Choose the kernels and capture steps of the usual shapes, before any sequence begins."""
        with hold_captures():
            if self._kernels == "triton" or self._graphs.enabled:
                self._steps.choose(self._kernels, self._shapes.row_counts(), self._views)
            for shape in self._shapes.usual():
                if self._is_missing(shape):
                    self._run_step(shape, USUAL_MODE)

    @torch.inference_mode()
    def capture_next(self) -> bool:
        """Capture a step of one more shape while no sequence runs; False: none is missing."""
        for shape in self._shapes.captured():
            if self._is_missing(shape):
                self._run_step(shape, USUAL_MODE)
                return True
        return False

    def _is_missing(self, shape: tuple[int, int]) -> bool:
        return self._graphs.is_missing(self._steps.step_for(shape[0]).key(*shape, USUAL_MODE))

    def _views(self, num_rows: int, length: int) -> tuple[SlotState, CacheWindow]:
        """Return views of state and cache for the first rows, made once per shape.

        Graphs hold the views that they captured, and have few shapes. Eager steps have many shapes,
        of which only the latest ones are kept.
        """
        key = (num_rows, length)
        views = self._views_by_shape
        if key not in views:
            if len(views) >= MAX_EAGER_SHAPES and not self._graphs.enabled:
                del views[next(iter(views))]
            state = self._columns.state.select(slice(0, num_rows))
            views[key] = (state, self.cache.window(num_rows, length))
        return views[key]

    @torch.inference_mode()
    def poll(self) -> SlotProgress:
        """Return how far every slot is. The only host sync.

        Prefixes are saved here, once their keys and values are known to be finite.
        """
        state = self._columns.state
        healthy = torch.isfinite(state.health).all(1, keepdim=True)
        seen = torch.cat([state.overdue >= 0, healthy, state.step], dim=1).T.cpu().numpy()
        failed = ~seen[1].astype(bool)
        self._healthy = {slot for slot in self._running if not failed[slot]}
        for slot in self._healthy & self._unsaved_prefixes.keys():
            key, length = self._unsaved_prefixes.pop(slot)
            self.prefixes.put(key, self.cache.save(slot, length))
        return SlotProgress(seen[0].astype(bool), failed, seen[2])

    def recent(self, num_columns: int) -> Codes:
        """Return the newest columns of every slot, see `Columns.recent`."""
        return self._columns.recent(num_columns)

    def columns(self, slot: int, num_columns: int) -> Codes:
        """Return the first columns of a slot, [num_columns, K]."""
        return self._columns.first(slot, num_columns)

    @torch.inference_mode()
    def release(self, slot: int) -> None:
        """Free a slot at any time; its row stays as it is until the next sequence begins."""
        self._running.pop(slot, None)
        self._unsaved_prefixes.pop(slot, None)
        self._prefilling.pop(slot, None)
        self._columns.release(slot)
        if slot not in self._healthy:
            # A masked position still takes part in attention, and NaN times zero is NaN.
            self.cache.clear(slot)

    @torch.inference_mode()
    def move(self, source: int, target: int) -> None:
        """Move a running sequence to a free slot, where it goes on as if it had begun there."""
        self.cache.copy(source, target, self._running[source].length)
        self._columns.move(source, target)
        self._running[target] = self._running.pop(source)
        if source in self._unsaved_prefixes:
            self._unsaved_prefixes[target] = self._unsaved_prefixes.pop(source)
        self._healthy.discard(target)  # until the next poll
        self.release(source)

    def check_device(self) -> None:
        """Do a little work on the device; raises what the device raises when it is lost."""
        torch.ones(1, device=self.device).sum().item()

    def stats(self) -> RunnerStats:
        """Return its numbers as they are about now. Any thread may call; no device is asked."""
        memory = None
        if self.device.type == "cuda":
            memory = DeviceMemory(
                allocated_bytes=torch.cuda.memory_allocated(self.device),
                reserved_bytes=torch.cuda.memory_reserved(self.device),
                total_bytes=torch.cuda.get_device_properties(self.device).total_memory,
            )
        return RunnerStats(
            num_slots=self.num_slots,
            num_steps=self._num_steps,
            num_prefix_hits=self.prefixes.num_hits,
            num_prefix_misses=self.prefixes.num_misses,
            memory=memory,
        )
