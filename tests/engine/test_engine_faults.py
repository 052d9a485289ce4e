"""The engine on a runner that fails: only the sequences concerned fail, all others go on."""

import logging
import threading

import pytest
import torch

from higgs_worker.engine.handle import Handle
from higgs_worker.engine.sequence import Generation
from higgs_worker.errors import EngineBroken, EngineFailed, InvalidCheckpoint
from tests.fakes.engine import (
    TIMEOUT_S,
    ScriptedRunner,
    ask,
    check_result,
    has_ended,
    kinds,
    outcome,
    serve,
)


def arrive_beside(runner: ScriptedRunner, *sizes: int) -> list[Handle]:
    """Submit sequences 1, 2, ... while sequence 0 runs; returns a list that gets the handles."""
    handles: list[Handle] = []

    def arrive() -> None:
        for name, size in enumerate(sizes, 1):
            handles.append(runner.engine.submit(ask(name, num_positions=size, num_frames=30)))

    runner.at["poll", 2] = arrive
    return handles


def test_a_fault_in_begin_fails_one() -> None:
    """Only the sequence that could not enter fails; its slot serves the next one."""
    runner = ScriptedRunner()
    runner.fail("begin", 3)
    with serve(runner) as engine:
        others = arrive_beside(runner, 4, 4, 4)
        check_result(engine.submit(ask(0, num_frames=60)), 0, 60)
        assert kinds(others) == [Generation, EngineFailed, Generation]
        assert "send it again" in outcome(others[1]).message
    assert runner.log.slots == [0, 1, 2, 2]


def test_a_prompt_of_another_model_says_so() -> None:
    """The error that names what is wrong is the outcome of this sequence, and of no other."""
    runner = ScriptedRunner()
    runner.fail("begin", 2, InvalidCheckpoint("the codes are not the model's"))
    with serve(runner) as engine:
        others = arrive_beside(runner, 4, 4)
        check_result(engine.submit(ask(0, num_frames=60)), 0, 60)
        assert kinds(others) == [InvalidCheckpoint, Generation]


def test_a_fault_in_prefill_fails_those_of_its_round() -> None:
    """Prompts of the same pass fail together; running ones and later prompts go on."""
    runner = ScriptedRunner()
    runner.fail("prefill", 2)
    with serve(runner, max_prefill=10) as engine:
        others = arrive_beside(runner, 4, 20, 5)
        check_result(engine.submit(ask(0, num_frames=60)), 0, 60)
        assert kinds(others) == [EngineFailed, EngineFailed, Generation]


def test_a_fault_in_a_move_fails_one() -> None:
    """Only the sequence that could not move fails; both its slots serve the next ones."""
    runner = ScriptedRunner(num_slots=3)
    runner.fail("move", 1)
    with serve(runner) as engine:
        handles = [engine.submit(ask(name, num_frames=n)) for name, n in enumerate((20, 60, 60))]
        assert kinds(handles) == [Generation, Generation, EngineFailed]
        for name in range(3):
            check_result(engine.submit(ask(name)), name)


@pytest.mark.parametrize("method", ["step", "poll"])
def test_a_fault_in_a_step_fails_the_running(method: str) -> None:
    """All running sequences fail; prefilling ones go on, and so do later ones."""
    runner = ScriptedRunner()
    runner.fail(method, 4 if method == "poll" else 25)
    with serve(runner, max_prefill=10) as engine:
        others = arrive_beside(runner, 5, 200)
        assert kinds([engine.submit(ask(0, num_frames=60))]) == [EngineFailed]
        assert kinds(others) == [EngineFailed, Generation]
        check_result(engine.submit(ask(9)), 9)


def test_nan_fails_its_own_row() -> None:
    """A sequence whose logits are not finite fails with what to do; its neighbours go on."""
    runner = ScriptedRunner()
    runner.nan = {2}
    with serve(runner) as engine:
        handles = [engine.submit(ask(name, num_frames=30)) for name in range(6)]
        assert kinds(handles) == [Generation] * 2 + [EngineFailed] + [Generation] * 3
        assert "not a number" in outcome(handles[2]).message
        assert "HIGGS_DTYPE" in outcome(handles[2]).message


def test_garbled_columns_fail_their_own_row() -> None:
    """A sequence whose columns cannot be undelayed fails alone."""
    runner = ScriptedRunner()
    runner.garbled = {1}
    with serve(runner) as engine:
        handles = [engine.submit(ask(name, num_frames=n)) for name, n in enumerate((40, 20, 40))]
        assert kinds(handles) == [Generation, EngineFailed, Generation]


@pytest.mark.parametrize("method", ["begin", "prefill", "step", "poll", "columns"])
def test_out_of_memory_names_the_settings(method: str) -> None:
    """When memory runs out anywhere, the error says which settings to lower; the engine goes on."""
    runner = ScriptedRunner()
    runner.fail(method, 1, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB."))
    with serve(runner) as engine:
        error = outcome(engine.submit(ask(1)))
        assert isinstance(error, EngineFailed)
        assert "out of memory" in error.message
        assert "HIGGS_MAX_SLOTS or HIGGS_MAX_LENGTH" in error.message
        check_result(engine.submit(ask(2)), 2)


def check_gone(runner: ScriptedRunner, caplog: pytest.LogCaptureFixture) -> None:
    """All sequences fail because the device is gone; later ones are refused; it is logged once."""
    runner.is_broken = True
    caplog.set_level(logging.ERROR)
    with serve(runner, max_prefill=10) as engine:
        others = arrive_beside(runner, 5, 200, 4, 4, 4)
        first = outcome(engine.submit(ask(0, num_frames=60)))
        errors = [first, *map(outcome, others)]
        with pytest.raises(EngineBroken, match=r"device is gone.*replaced"):
            engine.submit(ask(9))
    assert len(errors) == 6
    assert [type(error) for error in errors] == [EngineBroken] * 6
    assert {error.message for error in errors} == {
        "the device is gone; this worker must be replaced"
    }
    messages = [record.message for record in caplog.records]
    assert messages.count("the device is gone") == 1
    assert "the engine met a defect and stops" not in messages


@pytest.mark.parametrize(("method", "count"), [("begin", 3), ("prefill", 3), ("step", 25)])
def test_a_lost_device_ends_everything(
    method: str, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Wherever it is noticed, all sequences fail once, and further ones are refused."""
    runner = ScriptedRunner()
    runner.lose_device(method, count)
    check_gone(runner, caplog)


@pytest.mark.parametrize("method", ["poll", "columns", "release"])
def test_a_device_lost_between_steps_ends_everything(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As CUDA reports what was queued at a later call, any call may be the first to raise."""
    runner = ScriptedRunner()
    runner.lose_device(*{"poll": ("poll", 4), "columns": ("columns", 1)}.get(method, (method, 1)))
    if method != "poll":
        # Sequence 1 ends long before the others.
        runner.at["poll", 5] = lambda: setattr(runner.used[1], "num_columns", 32)
    check_gone(runner, caplog)


def test_a_device_lost_when_a_sequence_is_cancelled() -> None:
    """A cancel on a lost device ends all sequences; the engine's thread survives it."""
    runner = ScriptedRunner()
    runner.is_broken = True
    with serve(runner) as engine:
        others = arrive_beside(runner, 5)

        def cancel() -> None:
            runner.lose_device("release", 1)
            others[0].cancel()

        runner.at["poll", 4] = cancel
        assert kinds([engine.submit(ask(0, num_frames=60))]) == [EngineBroken]
        assert issubclass(kinds(others)[0], Exception)
        with pytest.raises(EngineBroken):
            engine.submit(ask(9))


def test_a_device_lost_when_the_engine_closes() -> None:
    """Closing on a lost device still ends every sequence."""
    runner = ScriptedRunner()
    runner.is_broken = True
    runner.lose_device("release", 1)
    with serve(runner) as engine:
        closing = threading.Thread(target=engine.close)
        runner.at["poll", 2] = closing.start
        handles = [engine.submit(ask(name, num_frames=900)) for name in range(6)]
        assert kinds(handles) == [EngineBroken] * 6
        closing.join(TIMEOUT_S)


def test_a_device_that_hangs_when_the_engine_closes() -> None:
    """Closing waits only so long for a device that hangs; then all sequences fail, once."""
    runner = ScriptedRunner(num_slots=2)
    hangs, go = threading.Event(), threading.Event()
    runner.at["step", 3] = lambda: (hangs.set(), go.wait(TIMEOUT_S))
    runner.is_broken = True
    with serve(runner) as engine:
        handles = [engine.submit(ask(name, num_frames=40)) for name in range(4)]
        assert hangs.wait(TIMEOUT_S)
        handles.append(engine.submit(ask(4)))
        engine.close(timeout_s=0.01)
        assert all(map(has_ended, handles))
        assert {outcome(handle).message for handle in handles} == {
            "the device does not answer; this worker must be replaced"
        }
        go.set()


@pytest.mark.parametrize("method", ["begin", "poll", "columns"])
@pytest.mark.parametrize("answer", [None, "nonsense"])
def test_nonsense_from_the_runner_ends_in_an_error(method: str, answer: object) -> None:
    """Whatever a defective runner returns, every sequence ends and none hangs."""

    class Nonsense(ScriptedRunner):
        """Returns nonsense from one method."""

        def begin(self, *args: object) -> object:
            return self._or_nonsense("begin", *args)

        def poll(self, *args: object) -> object:
            return self._or_nonsense("poll", *args)

        def columns(self, *args: object) -> object:
            return self._or_nonsense("columns", *args)

        def _or_nonsense(self, name: str, *args: object) -> object:
            right = getattr(super(), name)(*args)
            return answer if name == method else right

    runner = Nonsense()
    runner.is_broken = True
    with serve(runner) as engine:
        handles = [engine.submit(ask(name)) for name in range(6)]
        for kind in kinds(handles):
            assert kind in (EngineFailed, EngineBroken)
    assert runner.log.calls["begin"] > 0


def test_refusing_after_the_end_keeps_nothing() -> None:
    """A broken engine refuses a thousand times without growing."""
    runner = ScriptedRunner()
    runner.is_broken = True
    runner.lose_device("check_device", 1)
    runner.fail("begin", 1)
    with serve(runner) as engine:
        outcome(engine.submit(ask(1)))
        depths = []
        for _ in range(20):
            with pytest.raises(EngineBroken) as caught:
                engine.submit(ask(2))
            depths.append(len(caught.traceback))
        assert len(set(depths)) == 1
