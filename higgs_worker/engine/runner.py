"""The slots on the device: prompts are prefilled into them, and one step serves them all.

A step is one computation of fixed shape: forward pass, sampling, forced ids of the ramp and of the
end, stop rule. All of it is tensors over slots, without a branch on data and without a host sync.
The host reads the outcome with `poll`, once in several steps.

One thread at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from higgs_worker.cuda import Capture, cuda_capture
from higgs_worker.engine.graphs import StepGraphs
from higgs_worker.engine.kv_cache import CacheWindow, KVCache, PrefixCache
from higgs_worker.engine.model import LanguageModel, to_device
from higgs_worker.engine.rows import PromptRows, num_positions, pack
from higgs_worker.engine.sampling import (
    MAX_WINDOW,
    NARROW_WINDOW,
    Mode,
    draws,
    greedy,
    mode_of,
    redraw_repeats,
    sample,
    widest,
)
from higgs_worker.engine.sequence import (
    Codes,
    PrefillChunk,
    Prompt,
    Sampling,
    SlotProgress,
    Submission,
)
from higgs_worker.engine.slot_state import NEVER, SlotState

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
        capture: Capture | None = None,
    ) -> None:
        """Allocate everything; nothing grows with requests afterwards.

        Args:
            model: computes the logits.
            num_slots: sequences that can run at the same time.
            max_length: positions per slot, prompt and columns together. One of them is spare, for
                the step that a finished row may still take.
            prefix_cache_bytes: bound of the saved prefixes.
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
        # A graph per shape: few, wide buckets. Eager steps may fit closely.
        self._length_bucket = 512 if self._graphs.enabled else 16
        # Per slot the reference's columns (for RAS), the sequence's own, and one spare row.
        num_rows = MAX_WINDOW + max_length + 1
        shape = (num_slots, num_rows, config.num_codebooks)
        self._history = torch.full(shape, config.stream_bos_id, device=self.device)
        self._draws = torch.zeros((*shape, 2), device=self.device)
        slots = torch.arange(num_slots, device=self.device)
        self._first_history_rows = slots * num_rows + MAX_WINDOW + 1
        """[B], of the first column that is drawn: column 1, as column 0 is all stream BOS."""
        self._state = SlotState.idle(self._first_history_rows, config.num_codebooks)
        self._all_history = self._history.flatten(0, 1)
        self._all_draws = self._draws.flatten(0, 1)
        self._codebooks = torch.arange(config.num_codebooks, device=self.device)
        self._bos = torch.tensor(config.stream_bos_id, device=self.device)
        # [2, K]: what `end_counters` become when a codebook draws an end code, see `_advance`.
        overdue = self._codebooks - (config.num_codebooks - 1)
        self._end_values = torch.stack([torch.zeros_like(overdue), overdue])
        self._age = torch.arange(MAX_WINDOW, device=self.device)
        self._shapes: dict[tuple[int, int], tuple[SlotState, CacheWindow]] = {}
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
        self._set_up(slot, rows, submission.sampling, max_columns)
        return rows.num_positions - num_done

    def _set_up(self, slot: int, rows: PromptRows, sampling: Sampling, max_columns: int) -> None:
        """Set a slot's state, history and draws for a new sequence."""
        state = self._state
        # The row stays finished until its prompt is in the cache. Steps for other slots still write
        # for it, but only to its own last position and first column, which are written again later.
        state.position[slot] = rows.num_positions - 1
        state.history_row[slot] = self._first_history_rows[slot]
        state.step[slot] = 1
        state.since_end[slot] = -NEVER
        state.overdue[slot] = 0
        # Greedy is a top-k of 1 and draws of 0: of those that tie, the first.
        state.temperature[slot] = 1.0 if sampling.is_greedy else sampling.temperature
        state.top_p[slot] = sampling.top_p
        state.top_k[slot] = 1 if sampling.is_greedy else sampling.top_k
        state.ras_window[slot] = sampling.ras_window
        state.ras_max_repeats[slot] = sampling.ras_max_repeats
        past = rows.last_audio_columns(MAX_WINDOW + 1)
        self._history[slot, : MAX_WINDOW + 1] = self.model.config.stream_bos_id
        self._history[slot, MAX_WINDOW + 1 - len(past) : MAX_WINDOW + 1] = to_device(
            past, self.device
        )
        uniform = draws(sampling.seed, max_columns, self.model.config.num_codebooks)
        if sampling.is_greedy:
            uniform[..., 0] = 0
        self._draws[slot, MAX_WINDOW : MAX_WINDOW + max_columns] = to_device(uniform, self.device)

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
        rows = to_device(np.array(slots), self.device)
        state = self._state.select(rows)
        state.overdue.copy_(to_device(np.array(overdue), self.device))
        state.health.fill_(0.0)
        self._advance(state, logits, widest(self._running[slot].mode for slot in slots))
        self._state.store(rows, state)

    @torch.inference_mode()
    def step(self) -> None:
        """Draw one more column for every running slot."""
        if not self._running:
            return
        self._healthy.clear()
        num_rows = max(self._running) + 1
        if self._graphs.enabled:
            num_rows = min(1 << (num_rows - 1).bit_length(), self.num_slots)
        running = self._running.values()
        bucket = self._length_bucket
        length = -(-max(each.length for each in running) // bucket) * bucket
        length = min(length, self.max_length)
        mode = widest(each.mode for each in running)
        state, window = self._views(num_rows, length)

        def compute() -> None:
            logits = self.model.decode(state.column, state.position, self.cache, window)
            self._advance(state, logits, mode)

        self._graphs.run((num_rows, length, mode), compute)
        for each in running:
            each.length += 1

    def _views(self, num_rows: int, length: int) -> tuple[SlotState, CacheWindow]:
        """Return views of state and cache for the first rows, made once per shape.

        Graphs hold the views that they captured, and have few shapes. Eager steps have many shapes,
        of which only the latest ones are kept.
        """
        key = (num_rows, length)
        if key not in self._shapes:
            if len(self._shapes) >= MAX_EAGER_SHAPES and not self._graphs.enabled:
                del self._shapes[next(iter(self._shapes))]
            state = self._state.select(slice(0, num_rows))
            self._shapes[key] = (state, self.cache.window(num_rows, length))
        return self._shapes[key]

    def _advance(self, state: SlotState, logits: Tensor, mode: Mode) -> None:
        """Draw the next column of each row from logits [B, K, V] and update the state in place.

        The delay pattern, step by step. Codebook k of the new column holds

            stream BOS   if k >= step: the ramp, in which codebooks start one after the other
            stream EOS   if k < since_end: the tail, in which they end one after the other
            a drawn id   otherwise

        Unless the row is finished (overdue >= 0), an end code in codebook k then raises

            since_end    to 0, if it is below
            overdue      to k - (K - 1), if it is below: in column c the end cuts at frame
                         c - 1 - k, and frame f is complete with column f + K (0-based)

        and all five counters grow by 1. `delay.py` is the slow twin, the same pattern as a table;
        `tests/engine/test_exact.py` compares the two.
        """
        config, codebooks = self.model.config, self._codebooks
        bos, eos = config.stream_bos_id, config.stream_eos_id
        # Only the ramp may hold stream BOS, and there it is forced.
        logits.select(-1, bos).fill_(-torch.inf)
        if mode == "greedy":
            ids, peak = greedy(logits)
        else:
            uniform = self._all_draws.index_select(0, state.history_row)
            ids, peak = sample(
                logits,
                temperature=state.temperature,
                top_k=state.top_k,
                top_p=state.top_p,
                uniform=uniform[..., 0],
                wide=mode == "wide",
            )
            age = self._age[: MAX_WINDOW if mode == "wide" else NARROW_WINDOW]
            ids = redraw_repeats(
                ids,
                logits,
                peak,
                self._all_history[(state.history_row - 1)[:, None] - age],
                age,
                ras_window=state.ras_window,
                ras_max_repeats=state.ras_max_repeats,
                uniform=uniform[..., 1],
                first_stream_id=min(bos, eos),
            )
        ids.masked_fill_(codebooks < state.since_end, eos)
        column = torch.where(codebooks < state.step, ids, self._bos, out=state.column)
        self._all_history.index_copy_(0, state.history_row, column)
        state.health += peak

        is_finished = state.overdue >= 0
        is_ignored = (column != eos).logical_or_(is_finished)
        raised = self._end_values.masked_fill(is_ignored[:, None], -NEVER).amax(-1)
        torch.maximum(state.end_counters, raised, out=state.end_counters)
        state.counters += is_finished.logical_not_()

    @torch.inference_mode()
    def poll(self) -> SlotProgress:
        """Return how far every slot is. The only host sync.

        Prefixes are saved here, once their keys and values are known to be finite.
        """
        state = self._state
        healthy = torch.isfinite(state.health).all(1, keepdim=True)
        seen = torch.cat([state.overdue >= 0, healthy, state.step], dim=1).T.cpu().numpy()
        failed = ~seen[1].astype(bool)
        self._healthy = {slot for slot in self._running if not failed[slot]}
        for slot in self._healthy & self._unsaved_prefixes.keys():
            key, length = self._unsaved_prefixes.pop(slot)
            self.prefixes.put(key, self.cache.save(slot, length))
        return SlotProgress(seen[0].astype(bool), failed, seen[2])

    def recent(self, num_columns: int) -> Codes:
        """Return the newest columns of every slot, [B, num_columns, K], the newest last.

        Rows of slots that drew fewer begin with older history.
        """
        back = torch.arange(num_columns, 0, -1, device=self.device)
        return self._all_history[self._state.history_row[:, None] - back].cpu().numpy()

    def columns(self, slot: int, num_columns: int) -> Codes:
        """Return the first columns of a slot, [num_columns, K]."""
        rows = self._history[slot, MAX_WINDOW : MAX_WINDOW + num_columns]
        # A copy: on a CPU the array would share memory with rows that the next sequence overwrites.
        return rows.cpu().numpy().copy()

    @torch.inference_mode()
    def release(self, slot: int) -> None:
        """Free a slot at any time; its row stays as it is until the next sequence begins."""
        self._running.pop(slot, None)
        self._unsaved_prefixes.pop(slot, None)
        self._prefilling.pop(slot, None)
        self._state.overdue[slot] = 0
        # What the idle row writes from now on lies where the next prompt begins.
        self._state.position[slot] = 0
        if slot not in self._healthy:
            # A masked position still takes part in attention, and NaN times zero is NaN.
            self.cache.clear(slot)

    @torch.inference_mode()
    def move(self, source: int, target: int) -> None:
        """Move a running sequence to a free slot, where it goes on as if it had begun there."""
        self.cache.copy(source, target, self._running[source].length)
        self._history[target] = self._history[source]
        self._draws[target] = self._draws[source]
        self._state.copy(source, target)
        offset = self._first_history_rows[target] - self._first_history_rows[source]
        self._state.history_row[target] += offset
        self._running[target] = self._running.pop(source)
        if source in self._unsaved_prefixes:
            self._unsaved_prefixes[target] = self._unsaved_prefixes.pop(source)
        self._healthy.discard(target)  # until the next poll
        self.release(source)

    def check_device(self) -> None:
        """Do a little work on the device; raises what the device raises when it is lost."""
        torch.ones(1, device=self.device).sum().item()
