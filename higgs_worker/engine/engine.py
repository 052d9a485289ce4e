"""The engine: generates many sequences at once, each as if it were alone.

One thread drives the runner, on a stream of its own. Other threads submit and cancel sequences
through an inbox, and wait on a handle. In each round the thread drains the inbox, prefills prompts
up to a budget, runs a few decode steps for all running sequences, polls the device once and ends
what is finished. In a round without sequences it captures a shape of step that is still missing.

Every accepted sequence ends exactly once: finished, cancelled or failed.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

from higgs_worker.engine.delay import undelay
from higgs_worker.engine.frame_feed import FrameFeed, OnFrames
from higgs_worker.engine.handle import Handle
from higgs_worker.engine.scheduler import MAX_PREFILL, Scheduler, Sequence
from higgs_worker.engine.sequence import Generation, PrefillChunk, Prompt, SlotProgress, Submission
from higgs_worker.engine.stats import EngineStats
from higgs_worker.errors import (
    Cancelled,
    EngineBroken,
    EngineFailed,
    InvalidCheckpoint,
    PromptTooLong,
    QueueFull,
    WorkerError,
    is_out_of_memory,
)

if TYPE_CHECKING:
    from higgs_worker.engine.runner import Runner

log = logging.getLogger(__name__)

STEPS_PER_ROUND = 8
"""Decode steps per poll: a poll waits for the device, and new or ended sequences for the poll."""
CLOSE_TIMEOUT_S = 30.0
"""How long `close` waits for the current round; far longer than any round takes."""


class Engine:
    """Drives a `Runner` in a thread of its own. A context manager that closes the engine."""

    def __init__(
        self,
        runner: "Runner",
        *,
        max_waiting: int = 256,
        max_prefill: int = MAX_PREFILL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the thread.

        Args:
            runner: the slots on the device; from now on only the engine may use it.
            max_waiting: sequences that may wait for a slot.
            max_prefill: positions prefilled per round while sequences run.
            clock: seconds, for `Generation.queue_s`.
        """
        self._runner = runner
        self._scheduler = Scheduler(runner.num_slots, max_prefill=max_prefill)
        self._max_waiting = max_waiting
        self._clock = clock
        self._handles: dict[Sequence, Handle] = {}
        self._wake = threading.Condition()
        # Guarded by `_wake`; all else belongs to the engine's thread.
        self._inbox: deque[tuple[Sequence, Handle]] = deque()
        self._cancelled: deque[Handle] = deque()
        self._num_waiting = 0
        self._closing = False
        self._broken: EngineBroken | None = None
        self._ready: Future[None] = Future()
        self._may_capture = True
        self._thread = threading.Thread(target=self._serve, name="engine", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def num_slots(self) -> int:
        """How many sequences can be generated at the same time."""
        return self._runner.num_slots

    def stats(self) -> EngineStats:
        """Return its numbers as they are about now. Any thread may call, and waits for nothing."""
        return EngineStats(
            num_slots_used=self._scheduler.num_slots_used,
            num_waiting=self._num_waiting,
            runner=self._runner.stats(),
        )

    def wait_until_ready(self) -> None:
        """Wait until steps of the usual shapes are captured; raises why they could not even run.

        Sequences may be submitted before.
        """
        self._ready.result()

    def max_frames(self, prompt: Prompt) -> int:
        """Return how many frames can follow a prompt; below 1, the prompt alone fills a slot."""
        return self._runner.max_frames(prompt)

    def submit(
        self,
        submission: Submission,
        *,
        on_frames: OnFrames | None = None,
        num_first_frames: int = 1,
    ) -> Handle:
        """Queue a sequence.

        Args:
            submission: what to generate.
            on_frames: receives frames as they are completed, all of them before the handle ends.
            num_first_frames: frames that `on_frames` needs before the first ones are of use; the
                engine polls as soon as they are complete.

        Raises:
            PromptTooLong: the sequence can never fit into a slot.
            QueueFull: too many sequences wait already.
            EngineBroken: the device is lost, or the engine is closed.
        """
        max_frames = self._runner.max_frames(submission.prompt)
        if submission.max_frames > max_frames:
            raise PromptTooLong(
                f"the text needs {submission.max_frames} frames for its audio, and its slot has "
                f"{max(0, max_frames)}; send a shorter text or a lower max_duration_s, or raise "
                "HIGGS_MAX_LENGTH"
            )
        feed = on_frames and FrameFeed(on_frames, num_first_frames=num_first_frames)
        sequence = Sequence(submission, arrived=self._clock(), feed=feed)
        handle = Handle(self._request_cancel)
        with self._wake:
            if self._broken is not None:
                raise EngineBroken(self._broken.message)
            if self._closing:
                raise EngineBroken("the engine is closed; this worker is stopping")
            if self._num_waiting >= self._max_waiting:
                raise QueueFull(
                    f"{self._num_waiting} sequences wait already; send this again in a few "
                    "seconds, or add workers"
                )
            self._num_waiting += 1
            self._inbox.append((sequence, handle))
            self._wake.notify()
        return handle

    def generate(self, submissions: Iterable[Submission]) -> list[Generation]:
        """Generate sequences in parallel and wait for all; results in the order given."""
        handles = [self.submit(submission) for submission in submissions]
        return [handle.result() for handle in handles]

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Stop the thread; sequences that have not ended fail with EngineBroken.

        If the device hangs for `timeout_s`, the thread is left hanging, and all sequences fail.
        """
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.error("the device does not answer")
            with self._wake:
                self._handles.update(self._inbox)
                self._inbox.clear()
            for sequence in list(self._handles):
                self._resolve(
                    sequence,
                    EngineBroken("the device does not answer; this worker must be replaced"),
                )

    def _request_cancel(self, handle: Handle) -> None:
        with self._wake:
            self._cancelled.append(handle)
            self._wake.notify()

    # Everything below runs in the engine's thread.

    def _serve(self) -> None:
        try:
            with self._runner.own_stream():
                self._runner.prepare()
                self._ready.set_result(None)
                while self._drain_inbox():
                    self._round()
                self._end_all("the worker is stopping; send this again")
        except Exception as error:
            # A defect of the engine itself, or no step can run: fail all, or callers would wait for
            # ever.
            log.exception("the engine met a defect and stops")
            self._break("the engine failed; this worker must be replaced")
            if not self._ready.done():
                self._ready.set_exception(error)

    def _is_idle(self) -> bool:
        waits = self._inbox or self._cancelled or self._closing or self._may_capture
        return self._scheduler.is_idle and not waits

    def _drain_inbox(self) -> bool:
        """Enqueue new sequences and end cancelled ones; wait while idle. False once closing."""
        with self._wake:
            while self._is_idle():
                self._wake.wait()
            arrived, self._inbox = self._inbox, deque()
            cancelled, self._cancelled = self._cancelled, deque()
            broken = self._broken
        for sequence, handle in arrived:
            self._handles[sequence] = handle
            if broken is not None:
                self._end(sequence, EngineBroken(broken.message))
            else:
                self._scheduler.enqueue(sequence)
        if cancelled:
            ids = set(map(id, cancelled))
            for sequence, handle in list(self._handles.items()):
                if id(handle) in ids:
                    self._end(sequence, Cancelled("the request was cancelled"))
        return not self._closing

    def _round(self) -> None:
        while (admitted := self._scheduler.admit()) is not None:
            self._admit(admitted)
        self._count_waiting()
        while (move := self._scheduler.next_move()) is not None:
            self._move(*move)
        self._prefill_round()
        if self._scheduler.running:
            self._run_on_device(list(self._scheduler.running.values()), self._decode_round)
        elif self._scheduler.is_idle and self._may_capture:
            self._may_capture = False  # also where it fails
            self._run_on_device([], self._capture_next)

    def _capture_next(self) -> None:
        """Capture one more shape: nobody waits, and whoever arrives waits for this one alone."""
        self._may_capture = self._runner.capture_next()

    def _admit(self, sequence: Sequence) -> None:
        sequence.admitted = self._clock()

        def begin() -> None:
            sequence.num_prefill_left = self._runner.begin(_slot(sequence), sequence.submission)

        self._run_on_device([sequence], begin)

    def _move(self, sequence: Sequence, slot: int) -> None:
        if self._run_on_device([sequence], lambda: self._runner.move(_slot(sequence), slot)):
            self._scheduler.record_move(sequence)

    def _prefill_round(self) -> None:
        chunks = self._scheduler.next_prefill()
        if chunks and self._run_on_device(
            [sequence for sequence, _ in chunks],
            lambda: self._runner.prefill([PrefillChunk(_slot(s), count) for s, count in chunks]),
        ):
            for sequence, count in chunks:
                self._scheduler.record_prefill(sequence, count)

    def _decode_round(self) -> None:
        for _ in range(self._num_steps()):
            self._runner.step()
        progress = self._runner.poll()
        self._feed_frames(progress)
        for slot, sequence in list(self._scheduler.running.items()):
            if progress.failed[slot]:
                self._end(
                    sequence,
                    EngineFailed(
                        "the model computed a value that is not a number; send this again, and if "
                        "it fails again, check the weights with another HIGGS_DTYPE"
                    ),
                )
            elif progress.done[slot] and self._broken is None:
                num_columns = int(progress.num_columns[slot])
                self._run_on_device([sequence], partial(self._finish, sequence, num_columns))

    def _num_steps(self) -> int:
        """Return the steps until the next poll: fewer if a feed's first frames come sooner."""
        counts = [STEPS_PER_ROUND]
        for sequence in self._scheduler.running.values():
            if sequence.feed is not None:
                counts.append(sequence.feed.steps_to_first(self._runner.num_codebooks))
        return min(count for count in counts if count > 0)

    def _feed_frames(self, progress: SlotProgress) -> None:
        """Pass the columns of the last steps to the feeds."""
        new = [
            (sequence, sequence.feed, int(progress.num_columns[slot]) - sequence.feed.num_columns)
            for slot, sequence in self._scheduler.running.items()
            if sequence.feed is not None and not progress.failed[slot]
        ]
        most = max([count for _, _, count in new], default=0)
        if most == 0:
            return
        recent = self._runner.recent(most)
        for sequence, feed, count in new:
            columns = recent[_slot(sequence), most - count :]
            push = partial(feed.push, columns, *self._runner.stream_ids)
            if not self._run_on_device([sequence], push) and self._broken is not None:
                return

    def _finish(self, sequence: Sequence, num_columns: int) -> None:
        columns = self._runner.columns(_slot(sequence), num_columns)
        codes = undelay(columns, *self._runner.stream_ids)
        capped = len(codes) == sequence.submission.max_frames
        queue_s = sequence.admitted - sequence.arrived
        self._end(sequence, Generation(codes, columns, "length" if capped else "stop", queue_s))

    def _run_on_device(self, sequences: list[Sequence], work: Callable[[], None]) -> bool:
        """Call `work`, which serves some sequences; if it raises, they fail and no others."""
        try:
            work()
        except InvalidCheckpoint as error:  # before the device was touched
            for sequence in sequences:
                self._end(sequence, error)
            return False
        except Exception as error:
            log.exception("work on the device failed", extra={"num_sequences": len(sequences)})
            if self._device_answers():
                if is_out_of_memory(error):
                    advice = (
                        "the device ran out of memory; send a shorter text, or lower "
                        "HIGGS_MAX_SLOTS or HIGGS_MAX_LENGTH"
                    )
                else:
                    advice = "the engine failed while it worked on this; send it again"
                for sequence in sequences:
                    self._end(sequence, EngineFailed(advice))
            return False
        return True

    def _device_answers(self) -> bool:
        """Probe the device after a failure; if it is lost, the engine is broken."""
        if self._broken is None:
            try:
                self._runner.check_device()
            except Exception:
                log.exception("the device is gone")
                self._break("the device is gone; this worker must be replaced")
        return self._broken is None

    def _end(self, sequence: Sequence, outcome: Generation | WorkerError) -> None:
        """End a sequence, once: free its slot, then resolve its handle."""
        if sequence not in self._handles:
            return
        slot = sequence.slot
        if sequence in self._scheduler.sequences:
            self._scheduler.remove(sequence)
        if slot is not None and self._broken is None:
            try:
                self._runner.release(slot)
            except Exception:
                log.exception("a slot could not be freed")
                if not self._device_answers():
                    return  # all handles are resolved already
        self._resolve(sequence, outcome)

    def _resolve(self, sequence: Sequence, outcome: Generation | WorkerError) -> None:
        # Only the thread that pops a handle ends it: `close` may time out just when the device
        # answers.
        handle = self._handles.pop(sequence, None)
        if handle is not None:
            handle.end(outcome)

    def _break(self, reason: str) -> None:
        """Fail all sequences, and refuse new ones from now on."""
        with self._wake:
            self._broken = EngineBroken(reason)
        self._end_all(reason)

    def _end_all(self, reason: str) -> None:
        with self._wake:
            arrived, self._inbox = self._inbox, deque()
        self._handles.update(arrived)
        for sequence in list(self._handles):
            self._end(sequence, EngineBroken(reason))
        self._count_waiting()

    def _count_waiting(self) -> None:
        with self._wake:
            self._num_waiting = self._scheduler.num_waiting + len(self._inbox)


def _slot(sequence: Sequence) -> int:
    if sequence.slot is None:
        raise ValueError("the sequence has no slot")
    return sequence.slot
