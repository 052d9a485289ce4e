"""A runner without a model: it speaks by script, watches how it is used, and fails on demand.

Every sequence carries a name (its seed) and says its name's number in every code, so a result that
went to the wrong caller shows.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from higgs_worker.engine.delay import delay
from higgs_worker.engine.engine import Engine, Handle
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
from higgs_worker.errors import WorkerError

NUM_CODEBOOKS = 2
BOS, EOS = 1000, 1001
TIMEOUT_S = 5.0
"""Far above what any test takes: whoever still waits then waits for ever."""


def ask(
    name: int, *, num_positions: int = 4, num_frames: int = 3, max_frames: int | None = None
) -> Submission:
    """Ask for a sequence that says `name` for `num_frames` after a prompt of `num_positions`."""
    ids = (num_frames,) + (0,) * (num_positions - 2)
    return Submission(
        Prompt((TextSegment(ids),)),
        Sampling(seed=name),
        num_frames if max_frames is None else max_frames,
    )


class OutOfMemoryError(Exception):
    """Named as torch names its own."""


class DeviceGone(Exception):
    """What every call raises once the device is lost."""


class Misuse(AssertionError):
    """The engine broke the runner's rules."""


class Clock:
    """A clock that stands still until told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


@dataclass
class Occupant:
    """A sequence in a slot."""

    name: int
    num_frames: int
    num_unread: int
    num_columns: int = 0

    @property
    def is_running(self) -> bool:
        """Whether its prompt is read."""
        return self.num_columns > 0

    @property
    def is_done(self) -> bool:
        """Whether all its columns are drawn; like the real step, it draws no more then."""
        return self.num_columns >= self.num_frames + NUM_CODEBOOKS


@dataclass
class Log:
    """What happened."""

    begun: list[int] = field(default_factory=list)
    """Names in order of admission."""
    slots: list[int] = field(default_factory=list)
    """Slots in order of admission."""
    released: list[int] = field(default_factory=list)
    """Names in order of release."""
    read_beside: list[int] = field(default_factory=list)
    """Positions read since the poll before, for each poll of a round that began with speakers."""
    rows: list[int] = field(default_factory=list)
    """Rows that each step served."""
    calls: Counter[str] = field(default_factory=Counter)


class ScriptedRunner:
    """Stands in for `Runner`. Script it before the engine starts, or in a hook.

    `at["step", 3]` is called at the start of the third step (counted from 1), on the engine's
    thread; what it raises, the step raises. The names are those of the methods.
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
        """Names in whose audio a start code stands, which `undelay` refuses."""
        self.is_gone = False
        """Every call raises, `release` included: so does torch once a CUDA device is lost."""
        self.is_broken = False
        """Set by tests in which the engine gives up: slots need not be given back then."""
        self.violations: list[str] = []
        """Kept as well as raised: the engine takes what is raised for a fault of the device."""
        self.used: dict[int, Occupant] = {}
        self.engine: Engine | None = None
        """Who uses it, for hooks; `serve` sets it."""
        self.thread: int | None = None
        self._num_read = 0
        self._has_speakers = False

    def fail(self, method: str, count: int, error: Exception | None = None) -> None:
        """Let the count-th call of a method raise."""
        self.at[method, count] = lambda: _raise(error or RuntimeError(f"{method} {count}"))

    def lose_device(self, method: str, count: int) -> None:
        """Lose the device at the count-th call of a method: it and all later ones raise."""

        def lose() -> None:
            self.is_gone = True

        self.at[method, count] = lose

    def max_frames(self, prompt: Prompt) -> int:
        """As the real one; the only method that any thread may call."""
        return self.max_length - prompt.num_text_ids - 1 - NUM_CODEBOOKS

    def begin(self, slot: int, submission: Submission) -> int:
        """Put a sequence into a slot."""
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
        return self.used[slot].num_unread

    def prefill(self, pieces: list[PrefillChunk]) -> None:
        """Read pieces; a prompt read to its end draws a first column, after the forced one."""
        self._check(len({piece.slot for piece in pieces}) == len(pieces) > 0, "a slot twice")
        for piece in pieces:
            occupant = self.used.get(piece.slot)
            self._check(occupant is not None, f"prefill in slot {piece.slot}, which is free")
            self._check(1 <= piece.num_positions <= occupant.num_unread, "prefill past the prompt")
        self._note_speakers()
        self._num_read += sum(piece.num_positions for piece in pieces)
        self._call("prefill")
        for piece in pieces:
            occupant = self.used[piece.slot]
            occupant.num_unread -= piece.num_positions
            if not occupant.num_unread:
                occupant.num_columns = 2

    def move(self, source: int, target: int) -> None:
        """Let a running sequence go on in a lower slot that is free."""
        occupant = self.used.get(source)
        self._check(occupant is not None and occupant.is_running, f"move from slot {source}")
        self._check(target not in self.used and target < source, f"move to slot {target}")
        self._call("move")
        self.used[target] = self.used.pop(source)

    def step(self) -> None:
        """Draw a column for everyone who speaks."""
        running = [slot for slot, occupant in self.used.items() if occupant.is_running]
        self._check(bool(running), "a step for nobody")
        self.log.rows.append(max(running) + 1)
        self._note_speakers()
        self._call("step")
        for occupant in self.used.values():
            if occupant.is_running and not occupant.is_done:
                occupant.num_columns += 1

    def poll(self) -> SlotProgress:
        """Tell how far each slot is."""
        if self._has_speakers:
            self.log.read_beside.append(self._num_read)
        self._num_read, self._has_speakers = 0, False
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
        """Give what a slot said."""
        occupant = self.used.get(slot)
        self._check(occupant is not None and occupant.is_done, "columns before the end")
        self._check(num_columns == occupant.num_columns, "columns that were not drawn")
        self._call("columns")
        return self._columns(occupant)

    def recent(self, num_columns: int) -> Codes:
        """Give the newest columns of every slot, the newest last."""
        self._check(num_columns > 0, "no columns asked for")
        self._call("recent")
        rows = np.full((self.num_slots, num_columns, NUM_CODEBOOKS), BOS)
        for slot, occupant in self.used.items():
            if occupant.is_running:
                newest = self._columns(occupant)[-num_columns:]
                rows[slot, -len(newest) :] = newest
        return rows

    def release(self, slot: int) -> None:
        """Free a slot; once per `begin`, whether that went well or not."""
        self._check(slot in self.used, f"release of slot {slot}, which is free")
        self._call("release")
        self.log.released.append(self.used.pop(slot).name)
        if not any(occupant.is_running for occupant in self.used.values()):
            self._num_read, self._has_speakers = 0, False  # nobody is left to be kept waiting

    def check_device(self) -> None:
        """Raise when the device is gone."""
        self._call("check_device")

    def _columns(self, occupant: Occupant) -> Codes:
        codes = np.full((occupant.num_frames, NUM_CODEBOOKS), occupant.name)
        columns = delay(codes, BOS, EOS)[: occupant.num_columns]
        if occupant.name in self.garbled:
            columns[NUM_CODEBOOKS:] = BOS
        return columns

    def _note_speakers(self) -> None:
        if not self._num_read:
            self._has_speakers = any(occupant.is_running for occupant in self.used.values())

    def _call(self, method: str) -> None:
        self.thread = self.thread or threading.get_ident()
        self._check(self.thread == threading.get_ident(), f"{method} in another thread")
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
    """Run an engine; in the end it stands still, kept the rules and gave every slot back."""
    with Engine(runner, **options) as engine:
        runner.engine = engine
        yield engine
    assert not any(t.name == "engine" and t.ident == runner.thread for t in threading.enumerate())
    assert runner.violations == []
    assert runner.is_broken or runner.used == {}


def outcome(handle: Handle) -> Generation | WorkerError:
    """Wait for how a sequence ends."""
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
    """Wait for how each of some sequences ends."""
    return [type(outcome(handle)) for handle in handles]


def check_said(handle: Handle, name: int, num_frames: int = 3) -> None:
    """A sequence said what it was asked for."""
    expected = np.full((num_frames, NUM_CODEBOOKS), name)
    assert np.array_equal(handle.result(TIMEOUT_S).codes, expected)
