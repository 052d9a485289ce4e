"""The engine on a scripted runner: submitting, waiting, cancelling, closing."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

from higgs_worker.engine.engine import Engine
from higgs_worker.engine.handle import Handle
from higgs_worker.engine.scheduler import IDLE_PREFILL_FACTOR
from higgs_worker.engine.sequence import Generation
from higgs_worker.errors import Cancelled, EngineBroken, PromptTooLong, QueueFull
from tests.fakes.engine import (
    TIMEOUT_S,
    ScriptedRunner,
    StoppedClock,
    ask,
    check_result,
    has_ended,
    kinds,
    serve,
)


def test_results_come_in_the_order_asked_for() -> None:
    """`generate` returns each submission's own result, however long the others take."""
    with serve(ScriptedRunner()) as engine:
        results = engine.generate([ask(name, num_frames=40 - 3 * name) for name in range(9)])
    for name, result in enumerate(results):
        assert np.array_equal(result.codes, np.full((40 - 3 * name, 2), name))
        assert result.finish_reason == "length"
        assert len(result.columns) == len(result.codes) + 2


def test_the_finish_reason_tells_an_end_from_the_cap() -> None:
    """A sequence that ended by itself has "stop"; one that was cut has "length"."""
    requests = [ask(1, num_frames=5, max_frames=9), ask(2, num_frames=50, max_frames=9)]
    with serve(ScriptedRunner()) as engine:
        results = engine.generate(requests)
    assert [(len(r.codes), r.finish_reason) for r in results] == [(5, "stop"), (9, "length")]


def test_the_wait_for_a_slot_is_reported() -> None:
    """`queue_s` is each sequence's own time from submission to its slot."""
    clock, runner = StoppedClock(), ScriptedRunner(num_slots=1)
    late: list[Handle] = []
    runner.at["poll", 2] = lambda: late.append(engine.submit(ask(2)))
    runner.at["poll", 3] = lambda: setattr(clock, "now", 2.5)
    with serve(runner, clock=clock) as engine:
        assert engine.submit(ask(1, num_frames=20)).result(TIMEOUT_S).queue_s == 0.0
        assert late[0].result(TIMEOUT_S).queue_s == 2.5


def test_the_numbers_tell_what_is_under_way() -> None:
    """Slots, sequences that wait and steps, read in another thread than the engine's."""
    runner, seen = ScriptedRunner(num_slots=2), []
    with ThreadPoolExecutor() as reader, serve(runner) as engine:
        runner.at["begin", 1] = lambda: handles.extend(engine.submit(ask(n)) for n in range(1, 5))
        runner.at["poll", 2] = lambda: seen.append(reader.submit(engine.stats).result())
        handles = [engine.submit(ask(0))]
        for name in range(5):
            check_result(handles[name], name)
        end = engine.stats()
    (busy,) = seen
    assert (busy.num_slots_used, busy.num_waiting, busy.runner.num_steps) == (2, 2, 16)
    assert (end.num_slots_used, end.num_waiting) == (0, 0)
    assert end.runner.num_steps == runner.log.calls["step"]


def test_prefill_does_not_starve_running_sequences() -> None:
    """Long prompts beside a running sequence: at most `max_prefill` positions per 8 steps."""
    runner = ScriptedRunner()
    flood: list[Handle] = []
    runner.at["poll", 1] = lambda: flood.extend(
        engine.submit(ask(name, num_positions=900)) for name in range(1, 9)
    )
    with serve(runner, max_prefill=64) as engine:
        check_result(engine.submit(ask(0, num_frames=400)), 0, 400)
        assert set(runner.log.prefill_beside[1:51]) == {64}
        for name, handle in enumerate(flood, 1):
            check_result(handle, name)
    assert runner.log.begun == list(range(9))
    assert max(runner.log.prefill_beside) == 64
    assert runner.log.calls["step"] == 8 * runner.log.calls["poll"]


def test_an_idle_engine_prefills_faster() -> None:
    """Without running sequences a prompt is prefilled in larger chunks."""
    runner = ScriptedRunner()
    with serve(runner, max_prefill=50) as engine:
        check_result(engine.submit(ask(1, num_positions=400)), 1)
    assert runner.log.calls["prefill"] == 400 / (50 * IDLE_PREFILL_FACTOR)


def test_a_full_queue_is_refused() -> None:
    """One more than may wait is refused with the number that wait; the others are served."""
    runner = ScriptedRunner()
    refusals: list[QueueFull] = []
    handles: list[Handle] = []

    def flood() -> None:
        for name in range(1, 4):
            try:
                handles.append(engine.submit(ask(name)))
            except QueueFull as error:
                refusals.append(error)

    runner.at["poll", 2] = flood
    with serve(runner, max_waiting=2) as engine:
        check_result(engine.submit(ask(0, num_frames=20)), 0, 20)
        for name, handle in enumerate(handles, 1):
            check_result(handle, name)
    assert [error.message for error in refusals] == [
        "2 sequences wait already; send this again in a few seconds, or add workers"
    ]


def test_the_queue_counts_only_waiting_sequences() -> None:
    """A sequence with a slot does not count: another one may queue."""
    runner = ScriptedRunner()
    refusals: list[QueueFull] = []
    second: list[Handle] = []

    def arrive() -> None:
        try:
            second.append(engine.submit(ask(2)))
        except QueueFull as error:
            refusals.append(error)

    runner.at["step", 1] = arrive
    with serve(runner, max_waiting=1) as engine:
        check_result(engine.submit(ask(1)), 1)
        assert not refusals, "refused, though nobody waited"
        check_result(second[0], 2)


def test_what_cannot_fit_is_refused() -> None:
    """Too long a prompt is refused at once, with numbers and the setting; the longest fits."""
    with serve(ScriptedRunner(max_length=1000)) as engine:
        with pytest.raises(PromptTooLong, match=r"needs 499 frames.*has 498;.*HIGGS_MAX_LENGTH"):
            engine.submit(ask(1, num_positions=500, num_frames=499))
        with pytest.raises(PromptTooLong, match="has 0;"):
            engine.submit(ask(1, num_positions=1200, num_frames=1))
        assert engine.max_frames(ask(1, num_positions=500).prompt) == 498
        check_result(engine.submit(ask(1, num_positions=500, num_frames=498)), 1, 498)


@pytest.mark.parametrize("stage", ["waiting", "prefilling", "running"])
def test_cancel_at_any_stage(stage: str) -> None:
    """A cancelled sequence ends within a round and leaves its slot; the others go on."""
    runner = ScriptedRunner(num_slots=2)
    sizes = {"waiting": (4, 4), "prefilling": (200,), "running": (4,)}[stage]
    handles: list[Handle] = []
    ends: list[bool] = []

    def arrive() -> None:
        for name, size in enumerate(sizes, 1):
            handles.append(engine.submit(ask(name, num_positions=size, num_frames=60)))

    def cancel() -> None:
        used = [o.is_running for o in runner.used.values() if o.name == len(sizes)]
        ends.append(used == {"waiting": [], "prefilling": [False], "running": [True]}[stage])
        ends.append(has_ended(handles[-1]))
        handles[-1].cancel()

    runner.at["poll", 2] = arrive
    runner.at["poll", 4] = cancel
    runner.at["poll", 5] = lambda: ends.append(has_ended(handles[-1]))
    with serve(runner, max_prefill=4) as engine:
        check_result(engine.submit(ask(0, num_frames=60)), 0, 60)
        assert kinds(handles) == [Generation] * (len(sizes) - 1) + [Cancelled]
    assert ends == [True, False, True]


@contextmanager
def held(engine: Engine, runner: ScriptedRunner) -> Iterator[None]:
    """Admit all that is submitted inside in one round, after 8 steps of another sequence."""
    begun, go = threading.Event(), threading.Event()
    runner.at["begin", 1] = lambda: (begun.set(), go.wait(TIMEOUT_S))
    engine.submit(ask(99, num_frames=1))
    begun.wait(TIMEOUT_S)
    yield
    go.set()


def test_many_cancels_at_once_free_all_their_slots() -> None:
    """All that are cancelled before a round are gone after it, and waiting ones have the slots."""
    runner = ScriptedRunner(num_slots=8)
    handles: list[Handle] = []
    seen: list[list[int]] = []
    runner.at["poll", 2] = lambda: [handle.cancel() for handle in handles[:8]]
    runner.at["step", 17] = lambda: seen.append(sorted(o.name for o in runner.used.values()))
    with serve(runner) as engine:
        with held(engine, runner):
            handles += [engine.submit(ask(name, num_frames=60)) for name in range(16)]
        assert kinds(handles) == [Cancelled] * 8 + [Generation] * 8
    assert seen == [list(range(8, 16))]


def test_steps_compute_only_as_many_rows_as_run() -> None:
    """When sequences end and none waits, the others move into the lowest slots."""
    runner = ScriptedRunner(num_slots=8)
    lengths = (10, 90, 10, 10, 30, 10, 10, 50)
    with serve(runner) as engine:
        with held(engine, runner):
            handles = [engine.submit(ask(name, num_frames=n)) for name, n in enumerate(lengths)]
        for name, (handle, length) in enumerate(zip(handles, lengths, strict=True)):
            check_result(handle, name, length)
    # In rounds of 8 steps, for 10, 30, 50 and 90 columns after those of the prompt.
    assert runner.log.rows[8:] == [8] * 16 + [3] * 16 + [2] * 24 + [1] * 40
    # Twice when five ended, and once more when the one in slot 0 did.
    assert runner.log.calls["move"] == 3


def test_cancel_after_the_end_changes_nothing() -> None:
    """A sequence that has ended stays as it ended."""
    with serve(ScriptedRunner()) as engine:
        handle = engine.submit(ask(1))
        check_result(handle, 1)
        handle.cancel()
        handle.cancel()
        check_result(engine.submit(ask(2)), 2)
        check_result(handle, 1)


def test_close_ends_all() -> None:
    """Sequences at every stage fail because the worker stops; later ones are refused."""
    runner = ScriptedRunner()
    handles: list[Handle] = []
    runner.at["poll", 2] = lambda: handles.extend(
        engine.submit(ask(name, num_positions=900, num_frames=90)) for name in range(1, 9)
    )
    with serve(runner, max_prefill=1) as engine:
        closing = threading.Thread(target=engine.close)
        runner.at["poll", 5] = closing.start
        assert kinds([engine.submit(ask(0, num_frames=900))]) == [EngineBroken]
        assert kinds(handles) == [EngineBroken] * 8
        closing.join(TIMEOUT_S)
        with pytest.raises(EngineBroken, match="closed"):
            engine.submit(ask(1))
