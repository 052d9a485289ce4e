"""The slots: prompts read into them, and the step that serves them all.

One step is one computation of fixed shape: forward, sampling, forced ids of the ramp and the end,
stop rule, all as tensors over slots, without a branch on data and without a host sync. The host
looks at the outcome with `poll`, once in several steps.

Knows slots, not who asked for them. One thread at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from higgs_worker.cuda_graphs import Capture, cuda_capture
from higgs_worker.engine.graphs import StepGraphs
from higgs_worker.engine.kv_cache import CacheWindow, KVCache, PrefixCache
from higgs_worker.engine.model import LanguageModel, PackedRows
from higgs_worker.engine.rows import Layout, num_positions
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
"""Kept views; each is some 30 KB of bookkeeping at the real depth."""
MIN_SHARED = 16
"""Positions below which a prefix is cheaper to read again than to look up."""


@dataclass(slots=True)
class _Prefill:
    """A prompt on its way into a slot."""

    layout: Layout
    num_read: int
    max_columns: int
    mode: Mode
    shared_key: bytes | None
    """Under which to keep the prefix once it is read."""


@dataclass(slots=True)
class _Running:
    """What the host knows of a slot without asking."""

    length: int
    """A bound on its positions, the next one included."""
    mode: Mode


class Runner:
    """Model, cache and slot state on one device.

    A slot holds `max_length` positions: prompt and columns together, one of them spare for the step
    that a finished row may still take.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        num_slots: int,
        max_length: int,
        prefix_cache_bytes: int = 1 << 28,
        capture: Capture | None = None,
    ) -> None:
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
        num_places = MAX_WINDOW + max_length + 1
        shape = (num_slots, num_places, config.num_codebooks)
        self._history = torch.full(shape, config.stream_bos_id, device=self.device)
        self._draws = torch.zeros((*shape, 2), device=self.device)
        slots = torch.arange(num_slots, device=self.device)
        self._first_places = slots * num_places + MAX_WINDOW + 1
        """Per slot, of the first column that is drawn; column 0 is all stream BOS."""
        self._state = SlotState.idle(self._first_places, config.num_codebooks)
        self._all_history = self._history.flatten(0, 1)
        self._all_draws = self._draws.flatten(0, 1)
        self._codebooks = torch.arange(config.num_codebooks, device=self.device)
        self._bos = torch.tensor(config.stream_bos_id, device=self.device)
        # What an end code says of both of `SlotState.ends`, in the step that draws it.
        # Frame f is complete with column f + K, so that many columns are all that is needed.
        overdue = self._codebooks - (config.num_codebooks - 1)
        self._ends = torch.stack([torch.zeros_like(overdue), overdue])
        self._age = torch.arange(MAX_WINDOW, device=self.device)
        self._shapes: dict[tuple[int, int], tuple[SlotState, CacheWindow]] = {}
        self._reading: dict[int, _Prefill] = {}
        self._running: dict[int, _Running] = {}
        self._unkept: dict[int, tuple[bytes, int]] = {}
        """Prefixes to be kept, by slot: key and number of positions."""
        self._healthy: set[int] = set()
        """Running slots whose keys and values were all finite at the last poll."""

    def max_frames(self, prompt: Prompt) -> int:
        """How many frames fit behind a prompt; below 1, the prompt is too long."""
        config = self.model.config
        return self.max_length - num_positions(prompt, config) - config.num_codebooks

    @torch.inference_mode()
    def begin(self, slot: int, submission: Submission) -> int:
        """Put a sequence into a slot, with what is kept of its prompt's prefix.

        Returns:
            how many positions remain to be read by `prefill` before the slot runs.
        """
        config, prompt = self.model.config, submission.prompt
        layout = Layout.of(prompt, config)
        max_columns = submission.max_frames + config.num_codebooks
        if layout.num_positions + max_columns > self.max_length:
            raise ValueError(f"{layout.num_positions} + {max_columns} exceed {self.max_length}")
        num_read, key = 0, None
        if layout.num_shared >= MIN_SHARED:
            key = prompt.shared_key()
            saved = self.prefixes.get(key)
            if saved is not None:
                self.cache.restore(slot, saved)
                num_read, key = layout.num_shared, None
        self._reading[slot] = _Prefill(
            layout, num_read, max_columns, mode_of(submission.sampling), key
        )
        self._enter(slot, layout, submission.sampling, max_columns)
        return layout.num_positions - num_read

    def _enter(self, slot: int, layout: Layout, sampling: Sampling, max_columns: int) -> None:
        state = self._state
        # The row stays done while its prompt is read. What the steps of others meanwhile write for
        # it lands where its own last position and first column will stand.
        state.position[slot] = layout.num_positions - 1
        state.place[slot] = self._first_places[slot]
        state.step[slot] = 1
        state.since_end[slot] = -NEVER
        state.overdue[slot] = 0
        # Greedy is a top-k of 1 and draws of 0: of those that tie, the first.
        state.temperature[slot] = 1.0 if sampling.is_greedy else sampling.temperature
        state.top_p[slot] = sampling.top_p
        state.top_k[slot] = 1 if sampling.is_greedy else sampling.top_k
        state.ras_window[slot] = sampling.ras_window
        state.ras_max_repeats[slot] = sampling.ras_max_repeats
        heard = layout.heard(MAX_WINDOW + 1)
        self._history[slot, : MAX_WINDOW + 1] = self.model.config.stream_bos_id
        self._history[slot, MAX_WINDOW + 1 - len(heard) : MAX_WINDOW + 1] = self._to_device(heard)
        uniform = draws(sampling.seed, max_columns, self.model.config.num_codebooks)
        if sampling.is_greedy:
            uniform[..., 0] = 0
        self._draws[slot, MAX_WINDOW : MAX_WINDOW + max_columns] = self._to_device(uniform)

    @torch.inference_mode()
    def prefill(self, pieces: Sequence[PrefillChunk]) -> None:
        """Read pieces of prompts, packed; a prompt read to its end draws its first own column."""
        text_ids, columns, positions, slots = [], [], [], []
        for piece in pieces:
            reading = self._reading[piece.slot]
            part = slice(reading.num_read, reading.num_read + piece.num_positions)
            text_ids.append(reading.layout.text_ids[part])
            columns.append(reading.layout.columns[part])
            positions.append(np.arange(part.start, part.start + len(text_ids[-1])))
            slots.append(np.full(len(text_ids[-1]), piece.slot))
        ids = np.concatenate(text_ids)
        is_audio = ids < 0
        order = np.argsort(is_audio, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        ends = np.cumsum([len(part) for part in text_ids])
        sequences = [
            PackedRows(piece.slot, int(first[0]), self._to_device(place[end - len(first) : end]))
            for piece, first, end in zip(pieces, positions, ends, strict=True)
        ]
        hidden = self.model.prefill(
            self._to_device(ids[~is_audio]),
            self._to_device(np.concatenate(columns)[is_audio]),
            self._to_device(np.concatenate(positions)[order]),
            self._to_device(np.concatenate(slots)[order]),
            sequences,
            self.cache,
        )
        read, rows = [], []
        for piece, end in zip(pieces, ends, strict=True):
            reading = self._reading[piece.slot]
            reading.num_read += piece.num_positions
            if reading.num_read == reading.layout.num_positions:
                read.append(piece.slot)
                rows.append(int(place[end - 1]))
        if read:
            self._run(read, self.model.logits_after(hidden, self._to_device(np.array(rows))))

    def _run(self, slots: list[int], logits: Tensor) -> None:
        """Let slots run whose prompts are read."""
        overdue = []
        for slot in slots:
            reading = self._reading.pop(slot)
            self._running[slot] = _Running(reading.layout.num_positions + 1, reading.mode)
            overdue.append([1 - reading.max_columns])
            if reading.shared_key is not None:
                self._unkept[slot] = (reading.shared_key, reading.layout.num_shared)
        rows = self._to_device(np.array(slots))
        state = self._state.select(rows)
        state.overdue.copy_(self._to_device(np.array(overdue)))
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
        """View state and cache of the first rows, once per shape as long as it is in use.

        Graphs hold on to what they captured, and have few shapes; eager shapes are many.
        """
        key = (num_rows, length)
        if key not in self._shapes:
            if len(self._shapes) >= MAX_EAGER_SHAPES and not self._graphs.enabled:
                del self._shapes[next(iter(self._shapes))]
            state = self._state.select(slice(0, num_rows))
            self._shapes[key] = (state, self.cache.window(num_rows, length))
        return self._shapes[key]

    def _advance(self, state: SlotState, logits: Tensor, mode: Mode) -> None:
        """Draw the next column of each row from its logits and update the state in place."""
        config, codebooks = self.model.config, self._codebooks
        bos, eos = config.stream_bos_id, config.stream_eos_id
        # Stream BOS belongs to the ramp alone, where it is forced.
        logits.select(-1, bos).fill_(-torch.inf)
        if mode == "greedy":
            ids, peak = greedy(logits)
        else:
            uniform = self._all_draws.index_select(0, state.place)
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
                self._all_history[(state.place - 1)[:, None] - age],
                age,
                ras_window=state.ras_window,
                ras_max_repeats=state.ras_max_repeats,
                uniform=uniform[..., 1],
                first_stream_id=min(bos, eos),
            )
        # The delay pattern, step-wise: codebook k starts after k + 1 columns and, once any
        # codebook has ended, ends one after the other.
        ids.masked_fill_(codebooks < state.since_end, eos)
        column = torch.where(codebooks < state.step, ids, self._bos, out=state.column)
        self._all_history.index_copy_(0, state.place, column)
        state.health += peak

        is_done = state.overdue >= 0
        goes_on = (column != eos).logical_or_(is_done)
        ends = self._ends.masked_fill(goes_on[:, None], -NEVER).amax(-1)
        torch.maximum(state.ends, ends, out=state.ends)
        state.clock += is_done.logical_not_()

    @torch.inference_mode()
    def poll(self) -> SlotProgress:
        """Read how far every slot is. The only host sync.

        Prefixes are kept from here on, now that what came of them is known to be finite.
        """
        state = self._state
        healthy = torch.isfinite(state.health).all(1, keepdim=True)
        seen = torch.cat([state.overdue >= 0, healthy, state.step], dim=1).T.cpu().numpy()
        failed = ~seen[1].astype(bool)
        self._healthy = {slot for slot in self._running if not failed[slot]}
        for slot in self._healthy & self._unkept.keys():
            key, length = self._unkept.pop(slot)
            self.prefixes.put(key, self.cache.save(slot, length))
        return SlotProgress(seen[0].astype(bool), failed, seen[2])

    def recent(self, num_columns: int) -> Codes:
        """Fetch the newest columns of every slot, [B, num_columns, K], the newest last.

        Rows of slots that drew fewer hold what was before.
        """
        back = torch.arange(num_columns, 0, -1, device=self.device)
        return self._all_history[self._state.place[:, None] - back].cpu().numpy()

    def columns(self, slot: int, num_columns: int) -> Codes:
        """Fetch the first columns of a slot, [num_columns, K]."""
        rows = self._history[slot, MAX_WINDOW : MAX_WINDOW + num_columns]
        # A copy: on a CPU the array would share memory with rows that the next sequence overwrites.
        return rows.cpu().numpy().copy()

    @torch.inference_mode()
    def release(self, slot: int) -> None:
        """Free a slot at any time; its row stays as it is until the next sequence enters."""
        self._running.pop(slot, None)
        self._unkept.pop(slot, None)
        self._reading.pop(slot, None)
        self._state.overdue[slot] = 0
        # What the idle row writes from now on lies where the next prompt begins.
        self._state.position[slot] = 0
        if slot not in self._healthy:
            # A masked position still reaches attention, and NaN times nothing is NaN.
            self.cache.clear(slot)

    @torch.inference_mode()
    def move(self, source: int, target: int) -> None:
        """Let the running sequence of one slot go on in a free one, as if it had begun there."""
        self.cache.copy(source, target, self._running[source].length)
        self._history[target] = self._history[source]
        self._draws[target] = self._draws[source]
        self._state.copy(source, target)
        self._state.place[target] += self._first_places[target] - self._first_places[source]
        self._running[target] = self._running.pop(source)
        if source in self._unkept:
            self._unkept[target] = self._unkept.pop(source)
        self._healthy.discard(target)  # until the next poll
        self.release(source)

    def check_device(self) -> None:
        """Do a little work on the device; raises what it raises when the device is gone."""
        torch.ones(1, device=self.device).sum().item()

    def _to_device(self, array: NDArray[np.generic]) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)
