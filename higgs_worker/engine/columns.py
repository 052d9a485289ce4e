"""The columns of every slot on the device, and how the next one is drawn.

The delay pattern, the forced ids of the ramp and of the end, repetition-aware sampling and the stop
rule, step by step, for all slots at once, without a branch on data and without a host sync.
"""

import torch
from torch import Tensor

from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.model import to_device
from higgs_worker.engine.rows import PromptRows
from higgs_worker.engine.sampling import (
    MAX_WINDOW,
    NARROW_WINDOW,
    Mode,
    draws,
    greedy,
    redraw_repeats,
    sample,
)
from higgs_worker.engine.sequence import Codes, Sampling
from higgs_worker.engine.slot_state import NEVER, SlotState


class Columns:
    """History, random numbers and counters of every slot."""

    def __init__(
        self, config: ModelConfig, num_slots: int, max_length: int, device: torch.device
    ) -> None:
        """Allocate everything; all slots are idle."""
        self._device = device
        self._bos_id, self._eos_id = config.stream_bos_id, config.stream_eos_id
        # Per slot the reference's columns (for RAS), the sequence's own, and one spare row.
        num_rows = MAX_WINDOW + max_length + 1
        shape = (num_slots, num_rows, config.num_codebooks)
        self._history = torch.full(shape, config.stream_bos_id, device=device)
        self._draws = torch.zeros((*shape, 2), device=device)
        slots = torch.arange(num_slots, device=device)
        self._first_history_rows = slots * num_rows + MAX_WINDOW + 1
        """[B], of the first column that is drawn: column 1, as column 0 is all stream BOS."""
        self.state = SlotState.idle(self._first_history_rows, config.num_codebooks)
        self.all_history = self._history.flatten(0, 1)
        self.all_draws = self._draws.flatten(0, 1)
        self._codebooks = torch.arange(config.num_codebooks, device=device)
        self._bos = torch.tensor(config.stream_bos_id, device=device)
        # [2, K]: what `end_counters` become when a codebook draws an end code, see `draw`.
        overdue = self._codebooks - (config.num_codebooks - 1)
        self._end_values = torch.stack([torch.zeros_like(overdue), overdue])
        self._age = torch.arange(MAX_WINDOW, device=device)

    def begin(self, slot: int, rows: PromptRows, sampling: Sampling, max_columns: int) -> None:
        """Set up a slot for a new sequence; its row stays finished until `draw_first`.

        Steps for other slots still write for it, but only to its own last position and first
        column, which are written again later.
        """
        state = self.state
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
        self._history[slot, : MAX_WINDOW + 1] = self._bos_id
        self._history[slot, MAX_WINDOW + 1 - len(past) : MAX_WINDOW + 1] = to_device(
            past, self._device
        )
        uniform = draws(sampling.seed, max_columns, len(self._codebooks))
        if sampling.is_greedy:
            uniform[..., 0] = 0
        self._draws[slot, MAX_WINDOW : MAX_WINDOW + max_columns] = to_device(uniform, self._device)

    def draw_first(self, slots: Tensor, overdue: Tensor, logits: Tensor, mode: Mode) -> None:
        """Draw the first column of some slots, which run from then on.

        Args:
            slots: [N] int64.
            overdue: [N, 1] int64, minus the columns that each needs.
            logits: [N, K, V], after the prompts.
            mode: see `draw`.
        """
        state = self.state.select(slots)
        state.overdue.copy_(overdue)
        state.health.fill_(0.0)
        self.draw(state, logits, mode)
        self.state.store(slots, state)

    def draw(self, state: SlotState, logits: Tensor, mode: Mode) -> None:
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
        codebooks, bos, eos = self._codebooks, self._bos_id, self._eos_id
        # Only the ramp may hold stream BOS, and there it is forced.
        logits.select(-1, bos).fill_(-torch.inf)
        if mode == "greedy":
            ids, peak = greedy(logits)
        else:
            uniform = self.all_draws.index_select(0, state.history_row)
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
                self.all_history[(state.history_row - 1)[:, None] - age],
                age,
                ras_window=state.ras_window,
                ras_max_repeats=state.ras_max_repeats,
                uniform=uniform[..., 1],
                first_stream_id=min(bos, eos),
            )
        ids.masked_fill_(codebooks < state.since_end, eos)
        column = torch.where(codebooks < state.step, ids, self._bos, out=state.column)
        self.all_history.index_copy_(0, state.history_row, column)
        state.health += peak

        is_finished = state.overdue >= 0
        is_ignored = (column != eos).logical_or_(is_finished)
        raised = self._end_values.masked_fill(is_ignored[:, None], -NEVER).amax(-1)
        torch.maximum(state.end_counters, raised, out=state.end_counters)
        state.counters += is_finished.logical_not_()

    def release(self, slot: int) -> None:
        """Make a slot's row finished, wherever it is."""
        self.state.overdue[slot] = 0
        # What the idle row writes from now on lies where the next prompt begins.
        self.state.position[slot] = 0

    def move(self, source: int, target: int) -> None:
        """Move a sequence to another slot, where it goes on as if it had begun there."""
        self._history[target] = self._history[source]
        self._draws[target] = self._draws[source]
        self.state.copy(source, target)
        offset = self._first_history_rows[target] - self._first_history_rows[source]
        self.state.history_row[target] += offset

    def recent(self, num_columns: int) -> Codes:
        """Return the newest columns of every slot, [B, num_columns, K], the newest last.

        Rows of slots that drew fewer begin with older history.
        """
        back = torch.arange(num_columns, 0, -1, device=self._device)
        return self.all_history[self.state.history_row[:, None] - back].cpu().numpy()

    def first(self, slot: int, num_columns: int) -> Codes:
        """Return the first columns of a slot, [num_columns, K]."""
        rows = self._history[slot, MAX_WINDOW : MAX_WINDOW + num_columns]
        # A copy: on a CPU the array would share memory with rows that the next sequence overwrites.
        return rows.cpu().numpy().copy()
