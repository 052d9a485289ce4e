"""A runner without a model: it generates by script, checks how it is used, and fails on demand.

Every sequence has a number as its name (its seed), and each of its codes is that number. So a
result that reaches the wrong caller is noticed.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from higgs_worker.engine.delay import delay
from higgs_worker.engine.engine import Engine
from higgs_worker.engine.handle import Handle
from higgs_worker.engine.sequence import (
    Codes,
    Generation,
    PrefillChunk,
    Prompt,
    Sampling,
    SlotProgress,
    Submission,
    TextSegment,
)
from higgs_worker.engine.stats import RunnerStats
from higgs_worker.errors import WorkerError

NUM_CODEBOOKS = 2
BOS, EOS = 1000, 1001
TIMEOUT_S = 5.0
"""Far longer than any test takes: a call that still waits then would wait for ever."""


def ask(
    name: int, *, num_positions: int = 4, num_frames: int = 3, max_frames: int | None = None
) -> Submission:
    """Return a submission: `num_frames` frames of `name` after a prompt of `num_positions`."""
    ids = (num_frames,) + (0,) * (num_positions - 2)
    return Submission(
        Prompt((TextSegment(ids),)),
        Sampling(seed=name),
        num_frames if max_frames is None else max_frames,
    )


class DeviceGone(Exception):
    """Raised by every call once the device is lost."""


class Misuse(AssertionError):
    """The engine broke the runner's rules."""


class StoppedClock:
    """A clock that moves only when a test sets `now`."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return `now`."""
        return self.now


@dataclass
class Occupant:
    """A sequence in a slot."""

    name: int
    num_frames: int
    num_prefill_left: int
    num_columns: int = 0

    @property
    def is_running(self) -> bool:
        """Whether its prompt is prefilled."""
        return self.num_columns > 0

    @property
    def is_done(self) -> bool:
        """Whether all its columns are drawn; as in the real step, no more are counted then."""
        return self.num_columns >= self.num_frames + NUM_CODEBOOKS


@dataclass
class Log:
    """Records the calls."""

    begun: list[int] = field(default_factory=list)
    """Names in order of admission."""
    slots: list[int] = field(default_factory=list)
    """Slots in order of admission."""
    released: list[int] = field(default_factory=list)
    """Names in order of release."""
    prefill_beside: list[int] = field(default_factory=list)
    """Positions prefilled since the last poll, for each poll of a round that began with running
    sequences."""
    rows: list[int] = field(default_factory=list)
    """Rows that each step computed."""
    calls: Counter[str] = field(default_factory=Counter)


class ScriptedRunner:
    """Stands in for `Runner`. Script it before the engine starts, or in a hook.

    `at["step", 3]` is called at the start of the third step (counted from 1), in the engine's
    thread; if it raises, so does the step. Any other method is named in the same way.
    """

    def __init__(self, num_slots: int = 4, *, max_length: int = 1000) -> None:
        self.num_slots = num_slots
        self.max_length = max_length
        self.num_codebooks = NUM_CODEBOOKS
        self.stream_ids = (BOS, EOS)
        self.log = Log()
        self.at: dict[tuple[str, int], Callable[[], object]] = {}
        self.on_poll: Callable[[], object] = lambda: None
        self.nan: set[int] = set()
        """Names whose logits are not finite."""
        self.garbled: set[int] = set()
        """Names whose audio holds a start code, which `undelay` refuses."""
        self.is_gone = False
        """Every call raises, even `release`, as in torch once a CUDA device is lost."""
        self.is_broken = False
        """Set by tests in which the engine breaks: slots need not be released then."""
        self.violations: list[str] = []
        """Recorded as well as raised: the engine treats exceptions as the device's."""
        self.used: dict[int, Occupant] = {}
        self.engine: Engine | None = None
        """The engine that uses it, for hooks; `serve` sets it."""
        self.thread: int | None = None
        self.num_missing = 0
        """Shapes that idle rounds may capture."""
        self.is_on_own_stream = False
        self._num_prefilled = 0
        self._had_running = False

    def fail(self, method: str, count: int, error: Exception | None = None) -> None:
        """Make the count-th call of a method raise."""
        self.at[method, count] = lambda: _raise(error or RuntimeError(f"{method} {count}"))

    def lose_device(self, method: str, count: int) -> None:
        """Lose the device at the count-th call of a method: it and all later ones raise."""

        def lose() -> None:
            self.is_gone = True

        self.at[method, count] = lose

    def max_frames(self, prompt: Prompt) -> int:
        """Return what the real one does; the only method that any thread may call."""
        return self.max_length - prompt.num_text_ids - 1 - NUM_CODEBOOKS

    @contextmanager
    def own_stream(self) -> Iterator[None]:
        """Note that the thread works on the runner's stream."""
        self.is_on_own_stream = True
        yield
        self.is_on_own_stream = False

    def prepare(self) -> None:
        """Capture the usual shapes, before any sequence."""
        self._check(not self.log.calls, "prepared late")
        self._call("prepare")

    def capture_next(self) -> bool:
        """Capture a missing shape, while no sequence is there."""
        self._check(not self.used, "captured beside sequences")
        self._call("capture_next")
        if not self.num_missing:
            return False
        self.num_missing -= 1
        return True

    def begin(self, slot: int, submission: Submission) -> int:
        """Put a sequence into a slot; returns the positions to prefill."""
        self._check(slot not in self.used, f"begin in slot {slot}, which is used")
        self._check(
            slot == min(set(range(self.num_slots)) - set(self.used)), "not the lowest free slot"
        )
        ids = submission.prompt.segments[0].ids
        name = submission.sampling.seed
        self.used[slot] = Occupant(name, min(ids[0], submission.max_frames), len(ids) + 1)
        self.log.begun.append(name)
        self.log.slots.append(slot)
        self._call("begin")
        return self.used[slot].num_prefill_left

    def prefill(self, chunks: list[PrefillChunk]) -> None:
        """Prefill chunks; a complete prompt draws a first column, after the forced one."""
        self._check(len({chunk.slot for chunk in chunks}) == len(chunks) > 0, "a slot twice")
        for chunk in chunks:
            occupant = self.used.get(chunk.slot)
            self._check(occupant is not None, f"prefill in slot {chunk.slot}, which is free")
            self._check(
                1 <= chunk.num_positions <= occupant.num_prefill_left, "prefill past the prompt"
            )
        self._note_running()
        self._num_prefilled += sum(chunk.num_positions for chunk in chunks)
        self._call("prefill")
        for chunk in chunks:
            occupant = self.used[chunk.slot]
            occupant.num_prefill_left -= chunk.num_positions
            if not occupant.num_prefill_left:
                occupant.num_columns = 2

    def move(self, source: int, target: int) -> None:
        """Move a running sequence to a lower slot that is free."""
        occupant = self.used.get(source)
        self._check(occupant is not None and occupant.is_running, f"move from slot {source}")
        self._check(target not in self.used and target < source, f"move to slot {target}")
        self._call("move")
        self.used[target] = self.used.pop(source)

    def step(self) -> None:
        """Draw a column for every running sequence."""
        running = [slot for slot, occupant in self.used.items() if occupant.is_running]
        self._check(bool(running), "a step without a running sequence")
        self.log.rows.append(max(running) + 1)
        self._note_running()
        self._call("step")
        for occupant in self.used.values():
            if occupant.is_running and not occupant.is_done:
                occupant.num_columns += 1

    def poll(self) -> SlotProgress:
        """Return how far each slot is."""
        if self._had_running:
            self.log.prefill_beside.append(self._num_prefilled)
        self._num_prefilled, self._had_running = 0, False
        self.on_poll()
        self._call("poll")
        progress = SlotProgress(
            np.ones(self.num_slots, dtype=bool),
            np.zeros(self.num_slots, dtype=bool),
            np.zeros(self.num_slots, dtype=np.int64),
        )
        for slot, occupant in self.used.items():
            progress.failed[slot] = occupant.name in self.nan and occupant.is_running
            progress.done[slot] = occupant.is_done or progress.failed[slot]
            progress.num_columns[slot] = occupant.num_columns
        return progress

    def columns(self, slot: int, num_columns: int) -> Codes:
        """Return the columns of a slot."""
        occupant = self.used.get(slot)
        self._check(occupant is not None and occupant.is_done, "columns before the end")
        self._check(num_columns == occupant.num_columns, "columns that were not drawn")
        self._call("columns")
        return self._columns(occupant)

    def recent(self, num_columns: int) -> Codes:
        """Return the newest columns of every slot, the newest last."""
        self._check(num_columns > 0, "no columns asked for")
        self._call("recent")
        rows = np.full((self.num_slots, num_columns, NUM_CODEBOOKS), BOS)
        for slot, occupant in self.used.items():
            if occupant.is_running:
                newest = self._columns(occupant)[-num_columns:]
                rows[slot, -len(newest) :] = newest
        return rows

    def release(self, slot: int) -> None:
        """Free a slot; once per `begin`, even if that failed."""
        self._check(slot in self.used, f"release of slot {slot}, which is free")
        self._call("release")
        self.log.released.append(self.used.pop(slot).name)
        if not any(occupant.is_running for occupant in self.used.values()):
            self._num_prefilled, self._had_running = (
                0,
                False,
            )  # no running sequence is left that waits

    def stats(self) -> RunnerStats:
        """Return how many steps were made. Any thread may call."""
        return RunnerStats(
            num_slots=self.num_slots,
            num_steps=self.log.calls["step"],
            num_prefix_hits=0,
            num_prefix_misses=0,
            memory=None,
        )

    def check_device(self) -> None:
        """Raise if the device is lost."""
        self._call("check_device")

    def _columns(self, occupant: Occupant) -> Codes:
        codes = np.full((occupant.num_frames, NUM_CODEBOOKS), occupant.name)
        columns = delay(codes, BOS, EOS)[: occupant.num_columns]
        if occupant.name in self.garbled:
            columns[NUM_CODEBOOKS:] = BOS
        return columns

    def _note_running(self) -> None:
        if not self._num_prefilled:
            self._had_running = any(occupant.is_running for occupant in self.used.values())

    def _call(self, method: str) -> None:
        self.thread = self.thread or threading.get_ident()
        self._check(self.thread == threading.get_ident(), f"{method} in another thread")
        self._check(self.is_on_own_stream, f"{method} on another stream")
        self.log.calls[method] += 1
        self.at.get((method, self.log.calls[method]), lambda: None)()
        if self.is_gone:
            raise DeviceGone(method)

    def _check(self, holds: bool, rule: str) -> None:
        if not holds:
            self.violations.append(rule)
            raise Misuse(rule)


def _raise(error: Exception) -> None:
    raise error


@contextmanager
def serve(runner: ScriptedRunner, **options: object) -> Iterator[Engine]:
    """Run an engine; check at the end that it stopped, kept the rules and released every slot."""
    with Engine(runner, **options) as engine:
        runner.engine = engine
        yield engine
    assert not any(t.name == "engine" and t.ident == runner.thread for t in threading.enumerate())
    assert runner.violations == []
    assert runner.is_broken or runner.used == {}


def outcome(handle: Handle) -> Generation | WorkerError:
    """Wait for a sequence's result or error."""
    try:
        return handle.result(TIMEOUT_S)
    except WorkerError as error:
        return error


def has_ended(handle: Handle) -> bool:
    """Whether a sequence has ended by now, in whatever way."""
    try:
        handle.result(0)
    except TimeoutError:
        return False
    except WorkerError:
        return True
    return True


def kinds(handles: list[Handle]) -> list[type]:
    """Wait for some sequences; return the type of each one's result or error."""
    return [type(outcome(handle)) for handle in handles]


def check_result(handle: Handle, name: int, num_frames: int = 3) -> None:
    """Check that a sequence generated what it was asked for."""
    expected = np.full((num_frames, NUM_CODEBOOKS), name)
    assert np.array_equal(handle.result(TIMEOUT_S).codes, expected)
