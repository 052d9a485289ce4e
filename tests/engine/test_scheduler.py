"""The policy alone: order of arrival, lowest slot first, rations, nothing lost."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from higgs_worker.engine.scheduler import IDLE_PREFILL_FACTOR, Scheduler, Sequence
from tests.fakes.engine import ask


def make(num_slots: int = 2, *, max_prefill: int = 10) -> Scheduler:
    """Make a scheduler with small bounds."""
    return Scheduler(num_slots, max_prefill=max_prefill)


def enter(scheduler: Scheduler, *sizes: int) -> list[Sequence]:
    """Queue sequences and admit as many as there are slots for."""
    sequences = [Sequence(ask(name)) for name, _ in enumerate(sizes)]
    for sequence in sequences:
        scheduler.enqueue(sequence)
    for size in sizes:
        admitted = scheduler.admit()
        if admitted is not None:
            admitted.num_prefill_left = size
    return sequences


def read(scheduler: Scheduler) -> list[tuple[int, int]]:
    """Read one ration; (name, positions) of its pieces."""
    pieces = scheduler.next_prefill()
    for sequence, count in pieces:
        scheduler.record_prefill(sequence, count)
    return [(sequence.submission.sampling.seed, count) for sequence, count in pieces]


def test_admission_is_in_order_of_arrival() -> None:
    """First come, first served, into the lowest slot that is free."""
    scheduler = make(3)
    first, second, third, fourth = enter(scheduler, 1, 1, 1, 1)
    assert [s.slot for s in (first, second, third, fourth)] == [0, 1, 2, None]
    scheduler.remove(third)
    scheduler.remove(first)
    assert scheduler.admit() is fourth
    assert fourth.slot == 0
    assert scheduler.admit() is None


def test_reading_is_rationed_while_others_speak() -> None:
    """A round reads at most `max_prefill` positions beside speakers, of however many prompts."""
    scheduler = make(4)
    enter(scheduler, 5, 25, 3, 4)
    assert read(scheduler) == [(0, 5), (1, 25), (2, 3), (3, 4)]
    scheduler = make(4)
    enter(scheduler, 5)
    read(scheduler)
    _, *late = [Sequence(ask(name)) for name in range(4)]
    for sequence, size in zip(late, (25, 3, 4), strict=True):
        scheduler.enqueue(sequence)
        scheduler.admit().num_prefill_left = size
    assert [read(scheduler) for _ in range(5)] == [
        [(1, 10)],
        [(1, 10)],
        [(1, 5), (2, 3), (3, 2)],
        [(3, 2)],
        [],
    ]


def test_reading_is_faster_while_nobody_speaks() -> None:
    """An idle engine reads `IDLE_PREFILL_FACTOR` times as much: there is nobody to keep waiting."""
    scheduler = make()
    enter(scheduler, 1000)
    assert read(scheduler) == [(0, 10 * IDLE_PREFILL_FACTOR)]


def test_a_prompt_waits_for_those_before_it_and_no_longer() -> None:
    """Behind n positions a prompt is read within n / max_prefill + 1 rounds, and then speaks."""
    scheduler = make(3)
    speaker, long, short = enter(scheduler, 1, 200, 2)
    scheduler.record_prefill(speaker, 1)
    for _ in range(200 // 10):
        assert scheduler.running == {0: speaker}
        read(scheduler)
    assert scheduler.running == {0: speaker, 1: long}
    read(scheduler)
    assert scheduler.running == {0: speaker, 1: long, 2: short}


@pytest.mark.parametrize("stage", ["waiting", "admitted", "reading", "running"])
def test_removal_frees_the_slot(stage: str) -> None:
    """Wherever a sequence is taken out, its slot is the next one's and nothing of it is left."""
    scheduler = make(1)
    sequence, other = Sequence(ask(0)), Sequence(ask(1))
    scheduler.enqueue(sequence)
    if stage != "waiting":
        scheduler.admit().num_prefill_left = 50
    if stage == "reading":
        scheduler.record_prefill(sequence, 20)
    if stage == "running":
        scheduler.record_prefill(sequence, 50)
    scheduler.remove(sequence)
    assert scheduler.is_idle
    assert not scheduler.sequences
    assert not scheduler.next_prefill()
    scheduler.enqueue(other)
    assert scheduler.admit() is other
    assert other.slot == 0


def move_all(scheduler: Scheduler) -> list[tuple[int, int]]:
    """Move all that should; (name, new slot) of each."""
    moves = []
    while (move := scheduler.next_move()) is not None:
        scheduler.record_move(move[0])
        moves.append((move[0].submission.sampling.seed, move[1]))
    return moves


def test_gaps_are_closed_from_above() -> None:
    """The highest running sequence goes into the lowest gap, until there is no gap below one."""
    scheduler = make(6)
    sequences = enter(scheduler, 1, 1, 1, 1, 1, 1)
    read(scheduler)
    assert move_all(scheduler) == []
    for slot in (0, 2, 3):
        scheduler.remove(sequences[slot])
    assert move_all(scheduler) == [(5, 0), (4, 2)]
    assert scheduler.running == {0: sequences[5], 1: sequences[1], 2: sequences[4]}
    assert enter(scheduler, 1)[0].slot == 3


def test_a_prompt_that_is_read_stays_where_it_is() -> None:
    """Only the running move: they go around a slot that is being read, and leave it alone."""
    scheduler = make(4)
    first, reading, last = enter(scheduler, 1, 50, 1)
    for sequence in (first, last):
        scheduler.record_prefill(sequence, 1)
    scheduler.remove(first)
    assert move_all(scheduler) == [(2, 0)]
    scheduler.remove(last)
    assert move_all(scheduler) == []
    assert reading.slot == 1


class AnyOrder(RuleBasedStateMachine):
    """Whatever comes in whatever order."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = make(3)
        self.live: list[Sequence] = []
        self.num_arrived = 0
        self.admitted: list[int] = []

    @rule(size=st.integers(1, 60))
    def arrive(self, size: int) -> None:
        """A new one; its prompt's size is set when it is admitted."""
        sequence = Sequence(ask(self.num_arrived), arrived=size)
        self.num_arrived += 1
        self.scheduler.enqueue(sequence)
        self.live.append(sequence)

    @rule()
    def admit(self) -> None:
        """The oldest that waits enters the lowest free slot, if there is one."""
        used = {s.slot for s in self.live} - {None}
        sequence = self.scheduler.admit()
        if sequence is None:
            assert len(used) == 3 or not self.scheduler.num_waiting
        else:
            assert sequence.slot == min({0, 1, 2} - used)
            sequence.num_prefill_left = int(sequence.arrived)
            self.admitted.append(sequence.submission.sampling.seed)

    @rule()
    def read(self) -> None:
        """A ration is within its bound, never empty without reason, and read oldest first."""
        bound = 10 * (1 if self.scheduler.running else IDLE_PREFILL_FACTOR)
        reading = [s for s in self.live if s.slot is not None and s.num_prefill_left]
        pieces = self.scheduler.next_prefill()
        assert sum(n for _, n in pieces) == min(bound, sum(s.num_prefill_left for s in reading))
        assert [s for s, _ in pieces] == reading[: len(pieces)]
        for sequence, count in pieces:
            assert 1 <= count <= sequence.num_prefill_left
            self.scheduler.record_prefill(sequence, count)

    @rule()
    def move(self) -> None:
        """Afterwards no slot is free below one that runs; who is read stays."""
        reading = {s.slot for s in self.live if s.num_prefill_left}
        num_moves = len(move_all(self.scheduler))
        used = {s.slot for s in self.live} - {None}
        highest = max(self.scheduler.running, default=0)
        assert set(range(highest)) <= used
        assert num_moves <= 2
        assert reading == {s.slot for s in self.live if s.num_prefill_left}

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """One of them ends, at whatever stage."""
        sequence = data.draw(st.sampled_from(self.live))
        self.scheduler.remove(sequence)
        self.live.remove(sequence)

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        """Each sequence stands in one place, each slot holds one, and order is that of arrival."""
        scheduler = self.scheduler
        assert sorted(map(id, scheduler.sequences)) == sorted(map(id, self.live))
        slots = [s.slot for s in self.live if s.slot is not None]
        assert len(set(slots)) == len(slots)
        assert scheduler.num_waiting == len(self.live) - len(slots)
        assert all(sequence.slot == slot for slot, sequence in scheduler.running.items())
        assert all(not sequence.num_prefill_left for sequence in scheduler.running.values())
        assert self.admitted == sorted(self.admitted)
        assert scheduler.is_idle == (not self.live)

    def teardown(self) -> None:
        """No slot has leaked: all can be filled again."""
        for sequence in self.live:
            self.scheduler.remove(sequence)
        enter(self.scheduler, 1, 1, 1)
        assert len({s.slot for s in self.scheduler.sequences} - {None}) == 3


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.__doc__ = "No order of arrivals, readings and endings loses, doubles or starves one."
TestAnyOrder.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, derandomize=True
)
