"""The policy alone: order of arrival, lowest slot first, prefill budget, nothing lost."""

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


def prefill(scheduler: Scheduler) -> list[tuple[int, int]]:
    """Prefill for one round; returns (name, positions) of each chunk."""
    chunks = scheduler.next_prefill()
    for sequence, count in chunks:
        scheduler.record_prefill(sequence, count)
    return [(sequence.submission.sampling.seed, count) for sequence, count in chunks]


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


def test_prefill_has_a_budget_while_others_run() -> None:
    """A round prefills at most `max_prefill` positions beside running sequences."""
    scheduler = make(4)
    enter(scheduler, 5, 25, 3, 4)
    assert prefill(scheduler) == [(0, 5), (1, 25), (2, 3), (3, 4)]
    scheduler = make(4)
    enter(scheduler, 5)
    prefill(scheduler)
    _, *late = [Sequence(ask(name)) for name in range(4)]
    for sequence, size in zip(late, (25, 3, 4), strict=True):
        scheduler.enqueue(sequence)
        scheduler.admit().num_prefill_left = size
    assert [prefill(scheduler) for _ in range(5)] == [
        [(1, 10)],
        [(1, 10)],
        [(1, 5), (2, 3), (3, 2)],
        [(3, 2)],
        [],
    ]


def test_the_budget_is_larger_while_none_runs() -> None:
    """Without running sequences the budget is `IDLE_PREFILL_FACTOR` times as large."""
    scheduler = make()
    enter(scheduler, 1000)
    assert prefill(scheduler) == [(0, 10 * IDLE_PREFILL_FACTOR)]


def test_a_prompt_waits_for_those_before_it_and_no_longer() -> None:
    """Behind n positions a prompt is complete within n / max_prefill + 1 rounds, and then runs."""
    scheduler = make(3)
    running, long, short = enter(scheduler, 1, 200, 2)
    scheduler.record_prefill(running, 1)
    for _ in range(200 // 10):
        assert scheduler.running == {0: running}
        prefill(scheduler)
    assert scheduler.running == {0: running, 1: long}
    prefill(scheduler)
    assert scheduler.running == {0: running, 1: long, 2: short}


@pytest.mark.parametrize("stage", ["waiting", "admitted", "prefilling", "running"])
def test_removal_frees_the_slot(stage: str) -> None:
    """At whatever stage a sequence is removed, its slot is free for the next one."""
    scheduler = make(1)
    sequence, other = Sequence(ask(0)), Sequence(ask(1))
    scheduler.enqueue(sequence)
    if stage != "waiting":
        scheduler.admit().num_prefill_left = 50
    if stage == "prefilling":
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
    """Make all moves; returns (name, new slot) of each."""
    moves = []
    while (move := scheduler.next_move()) is not None:
        scheduler.record_move(move[0])
        moves.append((move[0].submission.sampling.seed, move[1]))
    return moves


def test_gaps_are_closed_from_above() -> None:
    """The highest running sequence goes into the lowest gap, until there is no gap below one."""
    scheduler = make(6)
    sequences = enter(scheduler, 1, 1, 1, 1, 1, 1)
    prefill(scheduler)
    assert move_all(scheduler) == []
    for slot in (0, 2, 3):
        scheduler.remove(sequences[slot])
    assert move_all(scheduler) == [(5, 0), (4, 2)]
    assert scheduler.running == {0: sequences[5], 1: sequences[1], 2: sequences[4]}
    assert enter(scheduler, 1)[0].slot == 3


def test_a_prefilling_sequence_stays_in_its_slot() -> None:
    """Only running sequences move, past a slot that is still prefilling."""
    scheduler = make(4)
    first, prefilling, last = enter(scheduler, 1, 50, 1)
    for sequence in (first, last):
        scheduler.record_prefill(sequence, 1)
    scheduler.remove(first)
    assert move_all(scheduler) == [(2, 0)]
    scheduler.remove(last)
    assert move_all(scheduler) == []
    assert prefilling.slot == 1


class AnyOrder(RuleBasedStateMachine):
    """Arrivals, prefills, moves and removals in any order."""

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
    def prefill(self) -> None:
        """A round's chunks use the budget as far as there is work, oldest sequence first."""
        bound = 10 * (1 if self.scheduler.running else IDLE_PREFILL_FACTOR)
        prefilling = [s for s in self.live if s.slot is not None and s.num_prefill_left]
        chunks = self.scheduler.next_prefill()
        assert sum(n for _, n in chunks) == min(bound, sum(s.num_prefill_left for s in prefilling))
        assert [s for s, _ in chunks] == prefilling[: len(chunks)]
        for sequence, count in chunks:
            assert 1 <= count <= sequence.num_prefill_left
            self.scheduler.record_prefill(sequence, count)

    @rule()
    def move(self) -> None:
        """Afterwards no slot below a running one is free; prefilling sequences stay."""
        prefilling = {s.slot for s in self.live if s.num_prefill_left}
        num_moves = len(move_all(self.scheduler))
        used = {s.slot for s in self.live} - {None}
        highest = max(self.scheduler.running, default=0)
        assert set(range(highest)) <= used
        assert num_moves <= 2
        assert prefilling == {s.slot for s in self.live if s.num_prefill_left}

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """One of them ends, at whatever stage."""
        sequence = data.draw(st.sampled_from(self.live))
        self.scheduler.remove(sequence)
        self.live.remove(sequence)

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        """Each sequence is at one stage, each slot holds one, the oldest is admitted first."""
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
TestAnyOrder.__doc__ = (
    "No order of arrivals, prefills and removals loses, doubles or starves a sequence."
)
TestAnyOrder.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, derandomize=True
)
