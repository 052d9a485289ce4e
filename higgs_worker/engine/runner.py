"""The slots: their state on the device, prefill into them, and the step that serves them all.

One step is one computation of fixed shape: forward, sampling, forced ids of the ramp and the end,
stop rule, all as tensors over slots, without a branch on data and without a host sync. The host
looks at the outcome with `poll`, once in several steps.

Knows slots, not who asked for them. One thread at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from higgs_worker.engine.delay import delay
from higgs_worker.engine.kv_cache import KVCache
from higgs_worker.engine.model import LanguageModel, PromptRows
from higgs_worker.engine.sampling import (
    MAX_WINDOW,
    NARROW_TOP_K,
    NARROW_WINDOW,
    draws,
    redraw_repeats,
    sample,
)
from higgs_worker.engine.sequence import AudioSegment, Codes, Prompt, Sampling

NEVER = 1 << 30
"""A step that no sequence reaches."""
LENGTH_BUCKET = 256
"""Attention covers the longest live sequence, rounded up to this many positions."""


@dataclass(frozen=True, slots=True)
class Start:
    """A sequence about to enter a slot."""

    slot: int
    prompt: Prompt
    sampling: Sampling
    max_frames: int


@dataclass(slots=True)
class SlotState:
    """What the step keeps per row; all [B] but `column`."""

    column: Tensor
    """[B, K] int64, the newest column, not yet in the cache."""
    position: Tensor
    """Where `column` will stand."""
    step: Tensor
    """Index of the column that is drawn next; column 0 is all stream BOS."""
    eos_step: Tensor
    """Step at which an end code first appeared, or `NEVER`."""
    num_frames: Tensor
    """Frames before the first one that holds an end code, or `NEVER`."""
    max_columns: Tensor
    done: Tensor
    """bool; a row that is done keeps computing and changes nothing that counts."""
    temperature: Tensor
    top_p: Tensor
    top_k: Tensor
    ras_window: Tensor
    ras_max_repeats: Tensor
    row: Tensor
    """The slot itself: first index into the history and the draws."""

    @classmethod
    def idle(cls, num_slots: int, num_codebooks: int, device: torch.device) -> "SlotState":
        """Rows without a sequence: done, at position 0."""

        def whole(value: int) -> Tensor:
            return torch.full((num_slots,), value, device=device)

        return cls(
            column=torch.zeros((num_slots, num_codebooks), dtype=torch.int64, device=device),
            position=whole(0),
            step=whole(0),
            eos_step=whole(NEVER),
            num_frames=whole(NEVER),
            max_columns=whole(0),
            done=torch.ones(num_slots, dtype=torch.bool, device=device),
            temperature=torch.zeros(num_slots, device=device),
            top_p=torch.ones(num_slots, device=device),
            top_k=whole(1),
            ras_window=whole(0),
            ras_max_repeats=whole(1),
            row=torch.arange(num_slots, device=device),
        )

    def select(self, rows: slice | Tensor) -> "SlotState":
        """Give some rows: views for a slice, copies for an index."""
        return SlotState(*(getattr(self, field.name)[rows] for field in fields(self)))

    def store(self, rows: Tensor, other: "SlotState") -> None:
        """Put copies of rows back."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(other, field.name)


@dataclass(frozen=True, slots=True)
class Progress:
    """What `poll` saw, per row on the host."""

    done: NDArray[np.bool_]
    num_columns: NDArray[np.int64]
    """Columns drawn so far, column 0 included."""


class Runner:
    """Model, cache and slot state on one device.

    A slot holds `max_length` positions: prompt and columns together, one of them spare for the step
    that a finished row may still take.
    """

    def __init__(self, model: LanguageModel, *, num_slots: int, max_length: int) -> None:
        config = model.config
        self.model = model
        self.num_slots = num_slots
        self.max_length = max_length
        self.device = model.device
        self.cache = KVCache(config, num_slots, max_length, device=model.device, dtype=model.dtype)
        self._state = SlotState.idle(num_slots, config.num_codebooks, self.device)
        # Reference columns (for RAS) before the sequence's own, and one spare row after them.
        self._history = torch.full(
            (num_slots, MAX_WINDOW + max_length + 1, config.num_codebooks),
            config.stream_bos_id,
            device=self.device,
        )
        self._draws = torch.zeros(
            (num_slots, max_length + 1, config.num_codebooks, 2), device=self.device
        )
        self._codebooks = torch.arange(config.num_codebooks, device=self.device)
        self._positions = torch.arange(max_length, device=self.device)
        self._lengths = np.zeros(num_slots, dtype=np.int64)
        """Host's bound on each live slot's positions, the one being written included."""
        self._wide = np.zeros(num_slots, dtype=bool)

    def max_frames(self, prompt: Prompt) -> int:
        """How many frames fit behind a prompt; below 1, the prompt is too long."""
        num_positions = self._num_positions(prompt)
        return self.max_length - 1 - num_positions - self.model.config.num_codebooks

    def _num_positions(self, prompt: Prompt) -> int:
        num_extra = self.model.config.num_codebooks + 1
        return sum(
            part.codes.shape[0] + num_extra if isinstance(part, AudioSegment) else len(part.ids)
            for part in prompt.segments
        )

    @torch.inference_mode()
    def prefill(self, starts: Sequence[Start]) -> None:
        """Read prompts into slots and draw each one's first column after the forced one."""
        config = self.model.config
        text_ids: list[int] = []
        text_at: list[tuple[int, int]] = []
        columns: list[Codes] = [np.zeros((0, config.num_codebooks), dtype=np.int64)]
        audio_at: list[tuple[int, int]] = []
        for start in starts:
            position = 0
            first_heard = len(columns)
            for part in start.prompt.segments:
                if isinstance(part, AudioSegment):
                    columns.append(delay(part.codes, config.stream_bos_id, config.stream_eos_id))
                    size = len(columns[-1])
                    audio_at += [(start.slot, position + i) for i in range(size)]
                    position += size
                else:
                    text_ids += part.ids
                    text_at += [(start.slot, position + i) for i in range(len(part.ids))]
                    position += len(part.ids)
            # The forced first column is part of the prompt: its logits draw the second.
            columns.append(np.full((1, config.num_codebooks), config.stream_bos_id))
            audio_at.append((start.slot, position))
            self._enter(start, position, np.concatenate(columns[first_heard:]))

        at = np.array(text_at + audio_at, dtype=np.int64)
        slots, positions = at[:, 0], at[:, 1]
        sequences = []
        for start in starts:
            rows = np.flatnonzero(slots == start.slot)
            rows = rows[np.argsort(positions[rows])]
            sequences.append(PromptRows(start.slot, 0, self._to_device(rows)))
        logits = self.model.prefill(
            self._to_device(np.array(text_ids, dtype=np.int64)),
            self._to_device(np.concatenate(columns)),
            self._to_device(positions),
            self._to_device(slots),
            sequences,
            self.cache,
        )
        rows_ = self._to_device(np.array([start.slot for start in starts]))
        state = self._state.select(rows_)
        self._advance(state, logits, wide=bool(self._wide[[s.slot for s in starts]].any()))
        self._state.store(rows_, state)

    def _enter(self, start: Start, position: int, heard: Codes) -> None:
        """Set a slot's state; the forced first column stands at `position`, the last of `heard`."""
        slot, sampling, state = start.slot, start.sampling, self._state
        max_columns = start.max_frames + self.model.config.num_codebooks
        if position + max_columns + 1 > self.max_length:
            raise ValueError(f"{position} + {max_columns} + 1 exceed {self.max_length} positions")
        state.position[slot] = position
        state.step[slot] = 1
        state.eos_step[slot] = NEVER
        state.num_frames[slot] = NEVER
        state.max_columns[slot] = max_columns
        state.done[slot] = False
        state.temperature[slot] = sampling.temperature
        state.top_p[slot] = sampling.top_p
        state.top_k[slot] = sampling.top_k
        state.ras_window[slot] = sampling.ras_window
        state.ras_max_repeats[slot] = sampling.ras_max_repeats
        heard = heard[-MAX_WINDOW - 1 :]
        self._history[slot, : MAX_WINDOW + 1] = self.model.config.stream_bos_id
        self._history[slot, MAX_WINDOW + 1 - len(heard) : MAX_WINDOW + 1] = self._to_device(heard)
        self._draws[slot, :max_columns] = self._to_device(
            draws(sampling.seed, max_columns, self.model.config.num_codebooks)
        )
        self._lengths[slot] = position + 2
        self._wide[slot] = (
            not 1 <= sampling.top_k <= NARROW_TOP_K or sampling.ras_window > NARROW_WINDOW
        )

    @torch.inference_mode()
    def step(self) -> None:
        """Draw one more column for every slot up to the highest live one."""
        live = np.flatnonzero(self._lengths)
        if not len(live):
            return
        num_rows = int(live[-1]) + 1
        longest = int(self._lengths.max())
        length = min(-(-longest // LENGTH_BUCKET) * LENGTH_BUCKET, self.max_length)
        state = self._state.select(slice(0, num_rows))
        mask = (self._positions[:length] <= state.position[:, None])[:, None, None]
        logits = self.model.decode(state.column, state.position, mask, self.cache, length)
        self._advance(state, logits, wide=bool(self._wide[:num_rows].any()))
        self._lengths[live] = np.minimum(self._lengths[live] + 1, self.max_length)

    def _advance(self, state: SlotState, logits: Tensor, *, wide: bool) -> None:
        """Draw the next column of each row from its logits and update the state in place."""
        config, codebooks = self.model.config, self._codebooks
        bos, eos = config.stream_bos_id, config.stream_eos_id
        # Stream BOS belongs to the ramp alone, where it is forced.
        logits[..., bos] = -torch.inf
        step = state.step[:, None]
        uniform = self._draws[state.row, state.step]
        ids = sample(
            logits,
            temperature=state.temperature,
            top_k=state.top_k,
            top_p=state.top_p,
            uniform=uniform[..., 0],
            wide=wide,
        )
        back = torch.arange(MAX_WINDOW if wide else NARROW_WINDOW, device=self.device)
        window = self._history[state.row[:, None], MAX_WINDOW - 1 + step - back]
        ids = redraw_repeats(
            ids,
            logits,
            window,
            ras_window=state.ras_window,
            ras_max_repeats=state.ras_max_repeats,
            uniform=uniform[..., 1],
            first_stream_id=min(bos, eos),
        )
        # The delay pattern, step-wise: codebook k starts after k + 1 columns and, once any
        # codebook has ended, ends one after the other.
        ids = torch.where(codebooks < step - state.eos_step[:, None], eos, ids)
        ids = torch.where(codebooks >= step, bos, ids)

        active = ~state.done
        ended = (ids == eos) & active[:, None]
        frames_before = torch.where(ended, step - 1 - codebooks, NEVER).amin(1)
        state.num_frames.copy_(torch.minimum(state.num_frames, frames_before))
        first_end = torch.where(ended.any(1), state.step, NEVER)
        state.eos_step.copy_(torch.minimum(state.eos_step, first_end))

        self._history[state.row, MAX_WINDOW + state.step] = ids
        state.column.copy_(ids)
        state.step += active
        state.position += active
        # Frame f is complete with column f + K, so that many columns are all that is needed.
        needed = torch.minimum(state.num_frames + config.num_codebooks, state.max_columns)
        state.done |= state.step >= needed

    def poll(self) -> Progress:
        """Read how far every slot is. The only host sync."""
        seen = torch.stack([self._state.done.long(), self._state.step]).cpu().numpy()
        return Progress(done=seen[0].astype(bool), num_columns=seen[1])

    def columns(self, slot: int, num_columns: int) -> Codes:
        """Fetch the first columns of a slot, [num_columns, K]."""
        rows = self._history[slot, MAX_WINDOW : MAX_WINDOW + num_columns]
        # A copy: on a CPU the array would share memory with rows that the next sequence overwrites.
        return rows.cpu().numpy().copy()

    def release(self, slot: int) -> None:
        """Free a slot; its row stays as it is until the next sequence enters."""
        self._lengths[slot] = 0
        self._wide[slot] = False
        self._state.done[slot] = True

    def _to_device(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(self.device)
