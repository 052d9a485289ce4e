"""Arrivals, cancels and faults in any order: every sequence ends once and for a reason."""

import random
import threading
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from higgs_worker.engine.handle import Handle
from higgs_worker.engine.sequence import Generation
from higgs_worker.errors import Cancelled, EngineFailed, QueueFull
from tests.fakes.engine import ScriptedRunner, StoppedClock, ask, outcome, serve

DRIVER = 99
"""Name of a sequence that keeps the engine polling."""


@dataclass(frozen=True)
class Arrival:
    """One sequence of a random plan; times in polls."""

    at: int
    num_positions: int
    num_frames: int
    cancel_at: int | None


def maybe(times: st.SearchStrategy[int]) -> st.SearchStrategy[int | None]:
    """Mostly never."""
    return st.one_of(st.none(), st.none(), times)


ARRIVALS = st.lists(
    st.builds(
        Arrival,
        at=st.integers(0, 8),
        num_positions=st.integers(2, 40),
        num_frames=st.integers(0, 30),
        cancel_at=maybe(st.integers(0, 12)),
    ),
    min_size=1,
    max_size=14,
)
FAULTS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "prefill", "move", "step", "poll", "columns"]),
        st.integers(1, 30),
    ),
    max_size=2,
)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    arrivals=ARRIVALS,
    faults=FAULTS,
    nan=st.sets(st.integers(0, 13), max_size=2),
    num_slots=st.integers(1, 4),
    max_waiting=st.integers(1, 6),
    max_prefill=st.integers(1, 16),
)
def test_every_sequence_ends_exactly_once(
    arrivals: list[Arrival],
    faults: list[tuple[str, int]],
    nan: set[int],
    num_slots: int,
    max_waiting: int,
    max_prefill: int,
) -> None:
    """Done, cancelled, refused or failed, for a reason; order kept, no slot lost."""
    runner, clock = ScriptedRunner(num_slots), StoppedClock()
    runner.nan = nan
    for fault in faults:
        runner.fail(*fault)
    ended: list[int] = []
    handles: dict[int, Handle] = {}
    refused: list[int] = []
    one_at_a_time = threading.Lock()

    def tick() -> None:
        with one_at_a_time:
            happen()
            clock.now += 1

    def happen() -> None:
        for name, plan in enumerate(arrivals):
            if plan.at == clock.now:
                request = ask(name, num_positions=plan.num_positions, num_frames=plan.num_frames)
                try:
                    handles[name] = engine.submit(request)
                except QueueFull:
                    refused.append(name)
                else:
                    handles[name]._future.add_done_callback(lambda _, name=name: ended.append(name))
            if plan.cancel_at == clock.now and name in handles:
                handles[name].cancel()

    with serve(runner, max_waiting=max_waiting, max_prefill=max_prefill, clock=clock) as engine:
        runner.on_poll = tick  # on the engine's thread, in the midst of a round
        outcome(engine.submit(ask(DRIVER, num_frames=90)))
        while clock.now < 13:  # a fault ended the driver early: the rest comes from outside
            tick()
        outcomes = {name: outcome(handle) for name, handle in handles.items()}
    faulty = any(runner.log.calls[method] >= count for method, count in faults)
    assert sorted([*handles, *refused]) == list(range(len(arrivals)))
    assert sorted(ended) == sorted(handles)
    for name, result in outcomes.items():
        plan = arrivals[name]
        event(type(result).__name__)
        if isinstance(result, Generation):
            assert np.array_equal(result.codes, np.full((plan.num_frames, 2), name))
        else:
            reasons = {
                Cancelled: plan.cancel_at is not None,
                EngineFailed: faulty or name in nan,
            }
            assert reasons[type(result)], result
    if refused:
        event("QueueFull")
    begun = [name for name in runner.log.begun if name != DRIVER]
    assert begun == sorted(begun, key=lambda name: (arrivals[name].at, name))
    assert sorted(runner.log.released) == sorted(runner.log.begun)
    assert max(runner.log.prefill_beside, default=0) <= max_prefill


@pytest.mark.parametrize("seed", range(3))
def test_many_threads(seed: int) -> None:
    """Callers in threads of their own each get their own answer, once, whatever others do."""
    seen: list[tuple[int, object]] = []

    def call(thread: int) -> None:
        rng = random.Random(seed * 100 + thread)
        for name in range(thread * 20, thread * 20 + 20):
            request = ask(name, num_positions=rng.randint(2, 30), num_frames=rng.randint(1, 20))
            try:
                handle = engine.submit(request)
            except QueueFull as error:
                seen.append((name, error))
                continue
            if rng.random() < 0.3:
                handle.cancel()
            seen.append((name, outcome(handle)))

    threads = [threading.Thread(target=call, args=(i,)) for i in range(8)]
    with serve(ScriptedRunner(), max_waiting=12) as engine:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert sorted(name for name, _ in seen) == list(range(160))
    for name, result in seen:
        if isinstance(result, Generation):
            assert (result.codes == name).all()
        else:
            assert isinstance(result, Cancelled | QueueFull), result
    assert sum(isinstance(result, Generation) for _, result in seen) > 40
