"""Before the first sequence and between sequences: shapes are captured, and nobody waits for it."""

import threading

import pytest

from higgs_worker.engine.engine import Engine
from higgs_worker.errors import EngineBroken
from tests.fakes.engine import TIMEOUT_S, ScriptedRunner, ask, check_result, outcome, serve


def test_ready_means_that_the_usual_shapes_are_captured() -> None:
    """Whoever waits for the engine waits for them; a sequence submitted before is served after."""
    runner, may_go = ScriptedRunner(), threading.Event()
    runner.at["prepare", 1] = lambda: may_go.wait(TIMEOUT_S)
    with serve(runner) as engine:
        waits = threading.Thread(target=engine.wait_until_ready)
        waits.start()
        early = engine.submit(ask(1))
        waits.join(0.05)
        assert waits.is_alive()
        assert runner.log.calls["begin"] == 0
        may_go.set()
        waits.join(TIMEOUT_S)
        assert not waits.is_alive()
        check_result(early, 1)


def test_a_runner_that_cannot_step_is_never_ready() -> None:
    """What the first step raises reaches whoever starts the engine; what was submitted fails."""
    runner, may_go = ScriptedRunner(), threading.Event()
    runner.is_broken = True

    def fail() -> None:
        may_go.wait(TIMEOUT_S)
        raise RuntimeError("no kernel image")

    runner.at["prepare", 1] = fail
    with Engine(runner) as engine:
        early = engine.submit(ask(1))
        may_go.set()
        with pytest.raises(RuntimeError, match="no kernel image"):
            engine.wait_until_ready()
        assert isinstance(outcome(early), EngineBroken)
        with pytest.raises(EngineBroken, match="must be replaced"):
            engine.submit(ask(2))


def test_missing_shapes_are_captured_while_nobody_waits() -> None:
    """One after the other until none is missing, then no more; a sequence that arrives is next."""
    runner, all_done, is_served = ScriptedRunner(), threading.Event(), threading.Event()
    runner.num_missing = 5
    during: list[object] = []
    runner.at["capture_next", 1] = lambda: is_served.wait(TIMEOUT_S)
    runner.at["capture_next", 2] = lambda: during.append(runner.engine.submit(ask(1)))
    runner.at["capture_next", 3] = lambda: during.append(runner.log.calls["release"])
    runner.at["capture_next", 6] = all_done.set
    with serve(runner) as engine:
        is_served.set()
        assert all_done.wait(TIMEOUT_S)
        check_result(during[0], 1)
        assert during[1] == 1
        check_result(engine.submit(ask(2)), 2)
    assert runner.log.calls["capture_next"] == 6


def test_a_shape_that_cannot_be_captured_in_an_idle_round_ends_the_attempts() -> None:
    """No sequence fails for it, and the engine does not try for ever."""
    runner = ScriptedRunner()
    runner.num_missing = 5
    runner.fail("capture_next", 2)
    with serve(runner) as engine:
        for name in (1, 2):
            check_result(engine.submit(ask(name)), name)
    assert runner.log.calls["capture_next"] <= 2
